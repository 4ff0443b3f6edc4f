//! Conversations as transcripts: what a client says, and what becomes of it.

mod again;

use std::fmt::Write;

use brooklet_types::ScramCredential;
use expect_test::{Expect, expect};
use proptest::prelude::*;

use super::*;
use crate::mechanism::Secret;
use crate::scram::ScramClient;
use crate::scram::tests::{SECRET, credential};

fn find(user: &str, hash: ScramHash) -> Option<ScramCredential> {
    match user {
        "ada" | "bob" => Some(credential(hash, "pencil")),
        _ => None,
    }
}

fn settings(session_max: Option<Duration>) -> SaslSettings {
    let mechanisms = vec![
        Mechanism::Scram(ScramHash::Sha512),
        Mechanism::Scram(ScramHash::Sha256),
        Mechanism::Plain,
    ];
    SaslSettings { mechanisms, session_max, tokens: None }
}

/// A connection, and the client's half of a SCRAM exchange.
struct Connection {
    sasl: Sasl,
    settings: SaslSettings,
    now: Instant,
    client: Option<ScramClient>,
    /// What the client says next.
    next: Vec<u8>,
}

impl Connection {
    fn new(settings: SaslSettings) -> Connection {
        let now = Instant::from_millis(1000);
        Connection { sasl: Sasl::default(), settings, now, client: None, next: Vec::new() }
    }

    fn step(&mut self, said: Said<'_>) -> Outcome {
        let world = World {
            now: self.now,
            clock: Timestamp(0),
            random: [5; NONCE_BYTES],
            users: Users::new(&find, &SECRET, scram::ITERATIONS),
        };
        self.sasl.step(&self.settings, world, said)
    }

    /// One line of a script:
    /// `versions`, `bad versions`, `handshake VERSION MECHANISM`, `plain USER PASSWORD`, `other`, `after MS`,
    /// `scram USER PASSWORD` the first message, `prove` the second, `token TEXT`.
    fn line(&mut self, line: &str) -> Option<Outcome> {
        let words: Vec<&str> = line.split(' ').collect();
        let said = match words[..] {
            ["after", ms] => {
                self.now = self.now + Duration::from_millis(ms.parse().unwrap());
                return None;
            }
            ["versions"] => Said::ApiVersions { answerable: true },
            ["bad", "versions"] => Said::ApiVersions { answerable: false },
            ["handshake", version, mechanism] => {
                Said::Handshake { version: version.parse().unwrap(), mechanism }
            }
            ["other"] => Said::Other,
            ["plain", user, password] => {
                self.next = format!("\0{user}\0{password}").into_bytes();
                return Some(self.token());
            }
            ["scram", user, password] => {
                let (hash, password) = (ScramHash::Sha256, Secret::new(password));
                let (client, first) = ScramClient::new(hash, user, password, [1; NONCE_BYTES]);
                (self.client, self.next) = (Some(client), first);
                return Some(self.token());
            }
            ["prove"] => return Some(self.token()),
            ["token", text] => {
                self.next = text.as_bytes().to_vec();
                return Some(self.token());
            }
            _ => panic!("{line}"),
        };
        Some(self.step(said))
    }

    /// Sends what is next, framed as the server expects it, and lets the client hear the answer.
    fn token(&mut self) -> Outcome {
        let token = std::mem::take(&mut self.next);
        let outcome = match self.sasl.expects() {
            Expected::Token => self.step(Said::Token(&token)),
            Expected::Request => self.step(Said::Authenticate { token: &token }),
        };
        if let Outcome::Reply(answer) | Outcome::Authenticated(answer, _) = &outcome
            && let Answer::Authenticate { token, .. } | Answer::Token(token) = answer
            && let Some(client) = &mut self.client
        {
            self.next = client.step(token).expect("the server is honest").unwrap_or_default();
        }
        outcome
    }
}

#[track_caller]
fn check(settings: SaslSettings, script: &str, expected: Expect) {
    let mut connection = Connection::new(settings);
    let mut transcript = String::new();
    for line in script.lines().map(str::trim) {
        writeln!(transcript, "{line}").unwrap();
        let Some(outcome) = connection.line(line) else { continue };
        match outcome {
            Outcome::Admit => writeln!(transcript, "    → admit").unwrap(),
            Outcome::Reply(answer) => writeln!(transcript, "    → {answer:?}").unwrap(),
            Outcome::Authenticated(answer, session) => {
                let Session { principal, mechanism, expires } = session;
                writeln!(transcript, "    → {answer:?}").unwrap();
                let until =
                    expires.map_or("ever".to_owned(), |at| (at.as_micros() / 1000).to_string());
                writeln!(transcript, "    → {principal} by {mechanism} until {until}").unwrap();
            }
            Outcome::Refuse(answer, refusal) => {
                if let Some(answer) = answer {
                    writeln!(transcript, "    → {answer:?}").unwrap();
                }
                writeln!(transcript, "    → close: {refusal}").unwrap();
            }
        }
    }
    expected.assert_eq(&transcript);
}

#[test]
fn a_client_that_knows_the_password() {
    check(
        settings(None),
        "versions
         handshake 1 SCRAM-SHA-256
         scram ada pencil
         prove
         other
         versions",
        expect![[r#"
            versions
                → admit
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pencil
                → authenticate NONE "" 92 bytes, 0 ms
            prove
                → authenticate NONE "" 46 bytes, 0 ms
                → User:ada by SCRAM-SHA-256 until ever
            other
                → admit
            versions
                → admit
        "#]],
    );
}

#[test]
fn a_password_as_it_is() {
    check(
        settings(None),
        "handshake 1 PLAIN
         plain ada pencil",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pencil
                → authenticate NONE "" 0 bytes, 0 ms
                → User:ada by PLAIN until ever
        "#]],
    );
}

#[test]
fn a_wrong_password_and_a_user_that_is_not_there_are_the_same() {
    check(
        settings(None),
        "handshake 1 SCRAM-SHA-256
         scram ada pen
         prove
         other",
        expect![[r#"
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pen
                → authenticate NONE "" 92 bytes, 0 ms
            prove
                → authenticate SASL_AUTHENTICATION_FAILED "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256" 0 bytes, 0 ms
                → close: authentication by SCRAM-SHA-256 failed: there is no such user, or the password is another
            other
                → close: the connection has failed before
        "#]],
    );
    check(
        settings(None),
        "handshake 1 SCRAM-SHA-256
         scram eve pencil
         prove",
        expect![[r#"
            handshake 1 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram eve pencil
                → authenticate NONE "" 92 bytes, 0 ms
            prove
                → authenticate SASL_AUTHENTICATION_FAILED "Authentication failed during authentication due to invalid credentials with SASL mechanism SCRAM-SHA-256" 0 bytes, 0 ms
                → close: authentication by SCRAM-SHA-256 failed: there is no such user, or the password is another
        "#]],
    );
    check(
        settings(None),
        "handshake 1 PLAIN
         plain eve pencil",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain eve pencil
                → authenticate SASL_AUTHENTICATION_FAILED "Authentication failed: Invalid username or password" 0 bytes, 0 ms
                → close: authentication by PLAIN failed: Authentication failed: Invalid username or password
        "#]],
    );
}

#[test]
fn bare_tokens_after_the_oldest_handshake() {
    check(
        settings(None),
        "handshake 0 SCRAM-SHA-256
         scram ada pencil
         prove",
        expect![[r#"
            handshake 0 SCRAM-SHA-256
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            scram ada pencil
                → token of 92 bytes
            prove
                → token of 46 bytes
                → User:ada by SCRAM-SHA-256 until ever
        "#]],
    );
    check(
        settings(None),
        "handshake 0 PLAIN
         plain ada pen",
        expect![[r#"
            handshake 0 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            plain ada pen
                → close: authentication by PLAIN failed: Authentication failed: Invalid username or password
        "#]],
    );
}

#[test]
fn a_mechanism_that_is_not_enabled() {
    check(
        settings(None),
        "versions
         handshake 1 OAUTHBEARER",
        expect![[r#"
            versions
                → admit
            handshake 1 OAUTHBEARER
                → handshake UNSUPPORTED_SASL_MECHANISM ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
                → close: the client asks for the mechanism "OAUTHBEARER", which is not enabled
        "#]],
    );
    check(
        settings(None),
        "handshake 0 GSSAPI",
        expect![[r#"
        handshake 0 GSSAPI
            → handshake UNSUPPORTED_SASL_MECHANISM ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            → close: the client asks for the mechanism "GSSAPI", which is not enabled
    "#]],
    );
}

#[test]
fn what_has_no_place_before_authentication() {
    check(
        settings(None),
        "other",
        expect![[r#"
        other
            → close: a request that has no place before authentication
    "#]],
    );
    check(
        settings(None),
        "token x",
        expect![[r#"
        token x
            → close: a request that has no place before authentication
    "#]],
    );
    check(
        settings(None),
        "bad versions
         bad versions
         versions
         versions",
        expect![[r#"
            bad versions
                → admit
            bad versions
                → admit
            versions
                → admit
            versions
                → close: a request that has no place before authentication
        "#]],
    );
    check(
        settings(None),
        "handshake 1 PLAIN
         other",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            other
                → error ILLEGAL_SASL_STATE
                → close: a request that has no place before authentication
        "#]],
    );
    check(
        settings(None),
        "handshake 1 PLAIN
         versions",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            versions
                → error ILLEGAL_SASL_STATE
                → close: a request that has no place before authentication
        "#]],
    );
    check(
        settings(None),
        "handshake 1 PLAIN
         handshake 1 PLAIN",
        expect![[r#"
            handshake 1 PLAIN
                → handshake NONE ["SCRAM-SHA-512", "SCRAM-SHA-256", "PLAIN"]
            handshake 1 PLAIN
                → error ILLEGAL_SASL_STATE
                → close: a request that has no place before authentication
        "#]],
    );
}

#[test]
fn a_token_that_is_not_accepted_is_told_twice() {
    let bearer = {
        let keys = r#"{"keys": [{"kty": "EC", "crv": "P-256",
            "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
            "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;
        let keys = oauth::KeySet::parse(keys.as_bytes()).unwrap();
        let tokens = Some(TokenVerifier { rules: Default::default(), keys });
        SaslSettings { mechanisms: vec![Mechanism::OauthBearer], session_max: None, tokens }
    };
    let mut connection = Connection::new(bearer);
    connection.line("handshake 1 OAUTHBEARER");
    connection.next = oauth::message(&Secret::new("a.b.c")).unwrap();
    let Outcome::Reply(Answer::Authenticate { code, token, .. }) = connection.token() else {
        panic!("a token that is not accepted is answered with a challenge");
    };
    assert_eq!((code, token), (ErrorCode::None, oauth::INVALID_TOKEN.as_bytes().to_vec()));
    connection.next = vec![1];
    let Outcome::Refuse(Some(Answer::Authenticate { code, message, .. }), refusal) =
        connection.token()
    else {
        panic!("what the client acknowledges is over");
    };
    assert_eq!(code, ErrorCode::SaslAuthenticationFailed);
    assert_eq!(message, oauth::INVALID_TOKEN);
    let reason = "authentication by OAUTHBEARER failed: the token is not a signed JSON web token";
    assert_eq!(refusal.to_string(), reason);
}

#[test]
fn a_session_lasts_as_long_as_its_credential_does_and_no_longer_than_it_may() {
    let clock = Timestamp(1000);
    let seconds = |seconds| Some(Duration::from_secs(seconds));
    assert_eq!(lifetime(None, None, clock), None);
    assert_eq!(lifetime(seconds(5), None, clock), seconds(5));
    assert_eq!(lifetime(None, Some(Timestamp(8000)), clock), seconds(7));
    assert_eq!(lifetime(seconds(5), Some(Timestamp(8000)), clock), seconds(5));
    assert_eq!(lifetime(seconds(5), Some(Timestamp(2000)), clock), seconds(1));
    assert_eq!(lifetime(seconds(5), Some(Timestamp(0)), clock), seconds(0));
}

/// Anything at all that a peer may say.
fn said() -> impl Strategy<Value = (u8, Vec<u8>, i16)> {
    (0..5u8, proptest::collection::vec(any::<u8>(), 0..40), 0..2i16)
}

proptest! {
    #[test]
    fn nobody_is_admitted_without_a_proof_whatever_is_said(
        script in proptest::collection::vec(said(), 0..12),
    ) {
        let mut connection = Connection::new(settings(Some(Duration::from_secs(1))));
        let mut closed = false;
        for (kind, bytes, version) in script {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            let mechanism = Mechanism::ALL[usize::from(bytes.first().copied().unwrap_or(0)) % 4].name();
            let said = match (kind, connection.sasl.expects()) {
                (_, Expected::Token) => Said::Token(&bytes),
                (0, _) => Said::ApiVersions { answerable: version == 1 },
                (1, _) => Said::Handshake { version, mechanism },
                (2, _) => Said::Handshake { version, mechanism: &text },
                (3, _) => Said::Authenticate { token: &bytes },
                _ => Said::Other,
            };
            let outcome = connection.step(said);
            let authenticated = matches!(outcome, Outcome::Authenticated(..));
            prop_assert!(!authenticated);
            prop_assert!(connection.sasl.session().is_none());
            if matches!(outcome, Outcome::Admit) {
                let versions = matches!(said, Said::ApiVersions { .. });
                prop_assert!(versions && !closed);
            }
            closed |= matches!(outcome, Outcome::Refuse(..));
            if closed {
                prop_assert!(matches!(outcome, Outcome::Refuse(..)), "it is over");
            }
        }
    }
}
