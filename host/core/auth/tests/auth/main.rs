//! What a peer that nobody knows can make the broker remember: a constant factor of what it sent, and no more.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_auth::Mechanism;
use brooklet_auth::oauth::{KeySet, TokenRules, TokenVerifier};
use brooklet_auth::sasl::{Outcome, Said, Sasl, SaslSettings, TOKEN_BYTES_MAX, World};
use brooklet_auth::scram::{NONCE_BYTES, Users};
use brooklet_types::{Instant, ScramHash, Timestamp};

#[global_allocator]
static COUNTING: dhat::Alloc = dhat::Alloc;

/// The most memory that one token may take, in terms of its bytes. The worst are the elements of a list in a web
/// token's header: two bytes that become a value of thirty-two, at the moment the list doubles its room.
const EXPANSION_MAX: usize = 64;

fn settings() -> SaslSettings {
    let keys = r#"{"keys": [{"kty": "EC", "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
    let keys = KeySet::parse(keys.as_bytes()).unwrap();
    let tokens = Some(TokenVerifier { rules: TokenRules::default(), keys });
    SaslSettings { mechanisms: Mechanism::ALL.to_vec(), session_max: None, tokens }
}

fn said(settings: &SaslSettings, mechanism: Mechanism, token: &[u8]) -> Outcome {
    let nobody = |_: &str, _| None;
    let users = Users::new(&nobody, &[7; 32], 1);
    let (now, clock) = (Instant::from_millis(0), Timestamp(0));
    let world = World { now, clock, random: [1; NONCE_BYTES], users };
    let mut sasl = Sasl::default();
    let mechanism = mechanism.name();
    sasl.step(settings, world, Said::Handshake { version: 1, mechanism });
    sasl.step(settings, world, Said::Authenticate { token })
}

/// `head`, `body` as often as fits into the largest token, `tail`.
fn filled(head: &str, body: &str, tail: &str) -> Vec<u8> {
    let times = (TOKEN_BYTES_MAX - head.len() - tail.len()) / body.len();
    format!("{head}{}{tail}", body.repeat(times)).into_bytes()
}

/// A web token whose header is `json`, as a client says it.
fn bearer(json: &str) -> Vec<u8> {
    let header = URL_SAFE_NO_PAD.encode(json);
    format!("n,,\u{1}auth=Bearer {header}.e30.AAAA\u{1}\u{1}").into_bytes()
}

#[test]
fn a_token_costs_no_more_than_a_factor_of_its_bytes() {
    let scram = Mechanism::Scram(ScramHash::Sha256);
    let list = format!("[{}1]", "1,".repeat(TOKEN_BYTES_MAX * 3 / 8 - 40));
    let deep = "[".repeat(TOKEN_BYTES_MAX * 3 / 4 - 80);
    let members: String = (0..4000).map(|number| format!("\"{number}\":1,")).collect();
    let cases = [
        (Mechanism::Plain, filled("", "\0", "")),
        (Mechanism::Plain, filled("\0ada\0", "x", "")),
        (Mechanism::Plain, filled("\0", "\u{fffd}", "\0secret")),
        (scram, filled("n,,n=ada,r=", "x", "")),
        (scram, filled("n,,n=", "=2C", ",r=abc")),
        (scram, filled("n,,n=ada,r=abc", ",a=b", "")),
        (scram, filled("", ",", "")),
        (Mechanism::OauthBearer, filled("n,,\u{1}auth=Bearer ", "a", "\u{1}\u{1}")),
        (Mechanism::OauthBearer, filled("n,,\u{1}", "a=b\u{1}", "\u{1}")),
        (Mechanism::OauthBearer, filled("n,,\u{1}auth=Bearer ", ".", "\u{1}\u{1}")),
        (Mechanism::OauthBearer, bearer(&format!("{{\"alg\":\"ES256\",\"x\":{list}}}"))),
        (Mechanism::OauthBearer, bearer(&format!("{{\"alg\":{deep}"))),
        (Mechanism::OauthBearer, bearer(&format!("{{{members}\"alg\":\"none\"}}"))),
    ];
    let settings = settings();
    for (mechanism, token) in cases {
        assert!(token.len() <= TOKEN_BYTES_MAX, "{mechanism}: {}", token.len());
        let profiler = dhat::Profiler::builder().testing().build();
        let outcome = said(&settings, mechanism, &token);
        let peak = dhat::HeapStats::get().max_bytes;
        drop(profiler);
        let start = String::from_utf8_lossy(&token[..token.len().min(24)]).into_owned();
        assert!(!matches!(outcome, Outcome::Authenticated(..) | Outcome::Admit), "{start:?}");
        let limit = token.len() * EXPANSION_MAX;
        assert!(peak <= limit, "{mechanism} {start:?}: {peak} bytes, the limit is {limit}");
    }
}
