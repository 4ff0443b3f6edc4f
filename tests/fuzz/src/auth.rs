//! What a peer says before anybody knows who it is, and what a server says that nobody knows yet.

use std::num::NonZeroU32;
use std::sync::LazyLock;

use brooklet_auth::oauth::{KeySet, TokenRules, TokenVerifier};
use brooklet_auth::principal::mapping::PrincipalMapping;
use brooklet_auth::sasl::{Outcome, Said, Sasl, SaslSettings, World};
use brooklet_auth::scram::{self, NONCE_BYTES, ScramClient, Users};
use brooklet_auth::{Mechanism, Secret};
use brooklet_types::{Instant, ScramCredential, ScramHash, Timestamp};

use crate::part;

/// Public halves of keys whose private halves are in RFC 7515 and 7517: no input can be signed by chance.
const KEYS: &str = r#"{"keys": [
    {"kty": "EC", "crv": "P-256", "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
     "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
/// In the seeds' tokens too.
const NONCE: [u8; NONCE_BYTES] = [1; NONCE_BYTES];
/// In the middle of the lives of the seeds' tokens.
const CLOCK: Timestamp = Timestamp(1_800_000_000_000);
/// Frames of one conversation: an honest one has five.
const FRAMES_MAX: usize = 12;

static SETTINGS: LazyLock<SaslSettings> = LazyLock::new(|| SaslSettings {
    mechanisms: Mechanism::ALL.to_vec(),
    session_max: None,
    tokens: Some(verifier()),
});
/// Of `ada`, whose password is `secret`. As few rounds as clients take, so that a seed can prove it.
static ADA: LazyLock<ScramCredential> = LazyLock::new(|| {
    let iterations = NonZeroU32::new(scram::ITERATIONS).expect("thousands");
    scram::credential(ScramHash::Sha256, "secret", vec![9; scram::SALT_BYTES], iterations)
});

fn verifier() -> TokenVerifier {
    let keys = KeySet::parse(KEYS.as_bytes()).expect("it is a key set");
    TokenVerifier { rules: TokenRules::default(), keys }
}

/// A conversation: frames with `|` between them, of which the first byte says what it is and the rest what is in it.
///
/// What is not in its place is never carried out, and what has failed stays so.
pub fn sasl(bytes: &[u8]) {
    converse(bytes);
}

/// The same; whether somebody was known at its end.
pub fn converse(bytes: &[u8]) -> bool {
    let find = |user: &str, hash: ScramHash| {
        (user == "ada" && hash == ScramHash::Sha256).then(|| ADA.clone())
    };
    let users = Users::new(&find, &[7; 32], 1);
    let world = World { now: Instant::from_millis(0), clock: CLOCK, random: NONCE, users };
    let (mut sasl, mut rest) = (Sasl::default(), bytes);
    let (mut known, mut failed, mut told) = (false, false, false);
    for _ in 0..FRAMES_MAX {
        if rest.is_empty() {
            break;
        }
        let Some((kind, content)) = part(&mut rest).split_first() else { continue };
        let said = match kind {
            b'v' => Said::ApiVersions { answerable: content.is_empty() },
            b'0' | b'1' => {
                let mechanism = std::str::from_utf8(content).unwrap_or_default();
                Said::Handshake { version: i16::from(*kind - b'0'), mechanism }
            }
            b'a' => Said::Authenticate { token: content },
            b't' => Said::Token(content),
            _ => Said::Other,
        };
        let is_versions = matches!(said, Said::ApiVersions { .. });
        match sasl.step(&SETTINGS, world, said) {
            Outcome::Admit => assert!(!failed && (known || is_versions && !told), "{said:?}"),
            Outcome::Reply(_) => assert!(!failed),
            Outcome::Authenticated(_, session) => {
                assert!(!failed && sasl.session() == Some(&session));
                let token = content;
                // Only who knows the password can have said this.
                let proof = token.windows(6).any(|word| word == b"secret");
                assert!(proof || session.mechanism == Mechanism::Scram(ScramHash::Sha256));
                known = true;
            }
            Outcome::Refuse(..) => failed = true,
        }
        told |= matches!(said, Said::ApiVersions { answerable: true });
    }
    known
}

/// A web token, as it stands behind `Bearer`. None of them is signed by the key, and so none is good.
pub fn token(bytes: &[u8]) {
    static VERIFIER: LazyLock<TokenVerifier> = LazyLock::new(verifier);
    let Ok(token) = std::str::from_utf8(bytes) else { return };
    assert!(VERIFIER.verify(token, CLOCK).is_err(), "{token} is taken");
}

/// What a server answers to our client's SCRAM, up to two messages. It does not know the password.
pub fn scram_server(bytes: &[u8]) {
    let secret = Secret::new("secret");
    let (mut client, _) = ScramClient::new(ScramHash::Sha256, "ada", secret, NONCE);
    let mut rest = bytes;
    let first = client.step(part(&mut rest));
    if first.is_ok() {
        assert!(client.step(part(&mut rest)).is_err(), "a server that knows nothing is believed");
    }
    assert!(client.step(b"v=AAAA").is_err());
}

/// A certificate's subject, whose user is looked for by rules with groups, cases and a fallback.
pub fn subject(bytes: &[u8]) {
    static MAPPING: LazyLock<PrincipalMapping> = LazyLock::new(|| {
        let rules = "RULE:^CN=([a-z0-9-]+).*$/$1/, RULE:^OU=(.*?),(.*)$/$2-$1/L, RULE:^UID=(.+)$/$1/U, DEFAULT";
        PrincipalMapping::parse(rules).expect("they are rules")
    });
    let Ok(subject) = std::str::from_utf8(bytes) else { return };
    // The last rule takes everything.
    assert!(MAPPING.name(subject).is_ok(), "{subject}");
}
