//! Clients who say who they are, and those who only pretend.

use std::path::Path;

use brooklet_auth::mechanism::Secret;
use brooklet_auth::scram::{self, ScramClient};
use brooklet_io::tls::issue::Purpose;
use brooklet_types::{ErrorCode, ScramHash};
use rustls::version::{TLS12, TLS13};

use super::scene::{Papers, SOON, endpoint, over_quic, over_tls, quic_config};
use super::*;

pub(crate) const ALL: &str = r#"sasl: (mechanisms: ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"])"#;
pub(crate) const AGAIN: &str =
    r#"sasl: (mechanisms: ["PLAIN", "SCRAM-SHA-256"], session_ms_max: 1500)"#;

/// A broker that knows ada, whose password is `pencil`.
async fn start_with_ada(folder: &Path, listener: &str) -> Running {
    let file = folder.join("ada.password");
    std::fs::write(&file, "pencil\n").unwrap();
    let users = format!("access: (first_users: {{ \"ada\": {:?} }})", file.display().to_string());
    let data = folder.join("data");
    start_on(&data, &format!("[({listener})]"), &users, Arc::new(NoHooks)).await
}

pub(crate) async fn start_sasl(folder: &Path, sasl: &str) -> Running {
    start_with_ada(folder, &format!("url: \"tcp://127.0.0.1:0\", {sasl}")).await
}

async fn connect(running: &Running) -> Client {
    Client::connect(running.ready.listeners[0].address).await
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    async fn handshake(&mut self, version: i16, mechanism: &str) -> SaslHandshakeResponse {
        let request = make(|it: &mut SaslHandshakeRequest| it.mechanism = mechanism.into());
        self.ask(version, &request).await
    }

    async fn token(&mut self, token: &[u8]) -> SaslAuthenticateResponse {
        let token = Bytes::copy_from_slice(token);
        self.ask(2, &make(|it: &mut SaslAuthenticateRequest| it.auth_bytes = token)).await
    }

    pub(crate) async fn plain(&mut self, user: &str, password: &str) -> SaslAuthenticateResponse {
        assert_eq!(self.handshake(1, "PLAIN").await.error_code, 0);
        self.token(format!("\0{user}\0{password}").as_bytes()).await
    }

    /// All of SCRAM, with what the server has to say last.
    async fn scram(
        &mut self,
        hash: ScramHash,
        user: &str,
        password: &str,
    ) -> SaslAuthenticateResponse {
        let name = if hash == ScramHash::Sha256 { "SCRAM-SHA-256" } else { "SCRAM-SHA-512" };
        assert_eq!(self.handshake(1, name).await.error_code, 0);
        let (mut prover, first) = prover(hash, user, password);
        let challenge = self.token(&first).await;
        assert_eq!(challenge.error_code, 0, "{:?}", challenge.error_message);
        let proof = prover.step(&challenge.auth_bytes).unwrap().unwrap();
        let last = self.token(&proof).await;
        if last.error_code == 0 {
            assert_eq!(prover.step(&last.auth_bytes), Ok(None), "the broker proves itself too");
        }
        last
    }

    /// Whether the broker has an answer to this.
    async fn hears_of(&mut self, frame: &[u8]) -> bool {
        if self.stream.write_all(frame).await.is_err() {
            return false;
        }
        let Ok(length) = self.stream.read_u32().await else { return false };
        let mut answer = vec![0; length as usize];
        self.stream.read_exact(&mut answer).await.is_ok()
    }

    /// Whether the broker says no more, and closes.
    async fn is_closed(&mut self) -> bool {
        let mut byte = [0];
        let read = tokio::time::timeout(SOON, self.stream.read(&mut byte)).await;
        matches!(read.expect("it closes soon"), Ok(0) | Err(_))
    }
}

fn prover(hash: ScramHash, user: &str, password: &str) -> (ScramClient, Vec<u8>) {
    ScramClient::new(hash, user, Secret::new(password), brooklet_io::entropy::bytes())
}

fn is_refused(answer: &SaslAuthenticateResponse) -> bool {
    answer.error_code == ErrorCode::SaslAuthenticationFailed.to_wire()
}

#[tokio::test(flavor = "multi_thread")]
async fn who_knows_the_password_is_served_by_every_mechanism_and_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    for round in 0..2 {
        let running = start_sasl(folder.path(), ALL).await;
        assert!(running.ready.listeners[0].sasl);
        let mut client = connect(&running).await;
        let versions: ApiVersionsResponse = client.ask(3, &scene::api_versions()).await;
        assert_eq!(versions.error_code, 0);
        let answer = client.plain("ada", "pencil").await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 0));
        client.metadata("flights").await;
        assert_eq!(client.produce("flights", "one").await, round * 3);
        for (index, hash) in ScramHash::ALL.into_iter().enumerate() {
            let mut client = connect(&running).await;
            assert_eq!(client.scram(hash, "ada", "pencil").await.error_code, 0);
            assert_eq!(client.produce("flights", "more").await, round * 3 + 1 + index as i64);
        }
        for mechanism in ["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] {
            let line = format!("brooklet_authentications_total{{mechanism=\"{mechanism}\"}}");
            assert_eq!(scene::metric(&running, &line).await, 1.0, "{mechanism}");
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_late_and_ends_the_connection() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    for (user, password) in [("ada", "rubber"), ("eve", "pencil")] {
        let mut client = connect(&running).await;
        assert_eq!(client.handshake(1, "PLAIN").await.error_code, 0);
        let began = std::time::Instant::now();
        let answer = client.token(format!("\0{user}\0{password}").as_bytes()).await;
        assert!(is_refused(&answer));
        let message = answer.error_message.unwrap();
        assert_eq!(&*message, "Authentication failed: Invalid username or password");
        assert!(began.elapsed() >= Duration::from_millis(100));
        assert!(client.is_closed().await);
        for hash in ScramHash::ALL {
            let mut client = connect(&running).await;
            assert!(is_refused(&client.scram(hash, user, password).await));
            assert!(client.is_closed().await);
        }
    }
    let failures = "brooklet_authentication_failures_total{mechanism=\"PLAIN\"}";
    assert_eq!(scene::metric(&running, failures).await, 2.0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_who_is_a_user_not_even_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let mut challenges = Vec::new();
    for _ in 0..2 {
        let running = start_sasl(folder.path(), ALL).await;
        for user in ["ada", "eve"] {
            let mut client = connect(&running).await;
            client.handshake(1, "SCRAM-SHA-512").await;
            let (_, first) = prover(ScramHash::Sha512, user, "pencil");
            let challenge = client.token(&first).await;
            let challenge = String::from_utf8(challenge.auth_bytes.to_vec()).unwrap();
            let (_, salt) = challenge.split_once(",s=").unwrap();
            challenges.push(salt.to_owned());
        }
        running.stop().await;
    }
    let [ada, eve, ada_again, eve_again] = &challenges[..] else { panic!("{challenges:?}") };
    assert_eq!((ada, eve), (ada_again, eve_again));
    assert_eq!(ada.len(), eve.len());
    assert_ne!(ada, eve);
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_cut_forged_or_said_before_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let hash = ScramHash::Sha256;
    let begin = async || {
        let mut client = connect(&running).await;
        client.handshake(1, "SCRAM-SHA-256").await;
        client
    };
    // An exchange that went well, overheard.
    let (mut prover, first) = prover(hash, "ada", "pencil");
    let mut client = begin().await;
    let challenge = client.token(&first).await;
    let proof = prover.step(&challenge.auth_bytes).unwrap().unwrap();
    assert_eq!(client.token(&proof).await.error_code, 0);
    // The same messages once more: the broker's nonce is another.
    let mut client = begin().await;
    assert_ne!(client.token(&first).await.auth_bytes, challenge.auth_bytes);
    assert!(is_refused(&client.token(&proof).await));
    assert!(client.is_closed().await);
    // Cut anywhere, the first and the last one.
    for cut in [0, 3, "n,,n=ada,r".len()] {
        let mut client = begin().await;
        assert!(is_refused(&client.token(&first[..cut]).await), "{cut}");
        assert!(client.is_closed().await);
    }
    for left in [0, proof.len() / 2, proof.len() - 1] {
        let mut client = begin().await;
        let (mut prover, first) = self::prover(hash, "ada", "pencil");
        let challenge = client.token(&first).await.auth_bytes;
        let proof = prover.step(&challenge).unwrap().unwrap();
        let cut = left.min(proof.len() - 1);
        assert!(is_refused(&client.token(&proof[..cut]).await), "{cut}");
        assert!(client.is_closed().await);
    }
    // A proof for another nonce than the broker's.
    let (mut prover, first) = self::prover(hash, "ada", "pencil");
    let mut client = begin().await;
    let challenge = client.token(&first).await.auth_bytes;
    let proof = String::from_utf8(prover.step(&challenge).unwrap().unwrap()).unwrap();
    let forged = proof.replacen(",r=", ",r=x", 1);
    assert!(is_refused(&client.token(forged.as_bytes()).await));
    assert!(client.is_closed().await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_gets_nothing_but_versions_and_no_large_frames() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    // A frame that is too large is not waited for: its length is enough.
    let mut client = connect(&running).await;
    client.send(&8193u32.to_be_bytes()).await;
    assert!(client.is_closed().await);
    // Nor is a request that has no place, or versions a second time.
    let mut client = connect(&running).await;
    let request = make(|it: &mut MetadataRequest| it.topics = None);
    client.send(&encode_request(1, 9, None, &request).unwrap()).await;
    assert!(client.is_closed().await);
    let mut client = connect(&running).await;
    let _: ApiVersionsResponse = client.ask(3, &scene::api_versions()).await;
    client.send(&encode_request(2, 3, None, &scene::api_versions()).unwrap()).await;
    assert!(client.is_closed().await);
    // Once it is known, a frame is as large as anybody's.
    let mut client = connect(&running).await;
    assert_eq!(client.plain("ada", "pencil").await.error_code, 0);
    client.metadata("flights").await;
    assert_eq!(client.produce("flights", &"x".repeat(900_000)).await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_behind_a_failure_is_not_carried_out() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let mut client = connect(&running).await;
    // All at once, as if everything went well.
    let hello = make(|it: &mut SaslHandshakeRequest| it.mechanism = "PLAIN".into());
    let wrong = make(|it: &mut SaslAuthenticateRequest| it.auth_bytes = "\0ada\0x".into());
    let mut frames = encode_request(1, 1, None, &hello).unwrap().to_vec();
    frames.extend(encode_request(2, 2, None, &wrong).unwrap());
    let create = make(|it: &mut MetadataRequest| {
        it.allow_auto_topic_creation = true;
        let named = |it: &mut metadata_request::MetadataRequestTopic| it.name = Some("x".into());
        it.topics = Some(vec![make(named)]);
    });
    frames.extend(encode_request(3, 9, None, &create).unwrap());
    client.send(&frames).await;
    let (_, answer): (_, SaslHandshakeResponse) =
        decode_response(client.receive().await, 1).unwrap();
    assert_eq!(answer.error_code, 0);
    let (_, answer) = decode_response(client.receive().await, 2).unwrap();
    assert!(is_refused(&answer));
    assert!(client.is_closed().await);
    let mut client = connect(&running).await;
    client.plain("ada", "pencil").await;
    assert!(client.topics().await.is_empty());
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_ends_unless_it_is_renewed_as_the_same_user() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), AGAIN).await;
    let (mut idle, mut renewed) = (connect(&running).await, connect(&running).await);
    for client in [&mut idle, &mut renewed] {
        let answer = client.plain("ada", "pencil").await;
        assert_eq!((answer.error_code, answer.session_lifetime_ms), (0, 1500));
        assert_eq!(client.topics().await.len(), 0);
    }
    let request = make(|it: &mut MetadataRequest| it.topics = None);
    let request = encode_request(9, 9, None, &request).unwrap();
    let began = std::time::Instant::now();
    while idle.hears_of(&request).await {
        assert!(began.elapsed() < SOON, "the session does not end");
        tokio::time::sleep(Duration::from_millis(20)).await; // polls
    }
    assert!(began.elapsed() > Duration::from_secs(1));
    // The other session, begun a moment later, may still be renewed.
    assert_eq!(renewed.plain("ada", "pencil").await.error_code, 0);
    assert_eq!(renewed.topics().await.len(), 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn bare_tokens_are_taken_after_a_handshake_of_version_0() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    for (password, is_right) in [("pencil", true), ("rubber", false)] {
        let mut client = connect(&running).await;
        assert_eq!(client.handshake(0, "PLAIN").await.error_code, 0);
        let token = format!("\0ada\0{password}");
        client.send(&(token.len() as u32).to_be_bytes()).await;
        client.send(token.as_bytes()).await;
        if is_right {
            assert!(client.receive().await.is_empty());
            client.metadata("flights").await;
            assert_eq!(client.produce("flights", "one").await, 0);
        } else {
            assert!(client.is_closed().await);
        }
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_come_and_go_while_the_broker_runs() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let mut ada = connect(&running).await;
    ada.plain("ada", "pencil").await;
    let iterations = std::num::NonZeroU32::new(4096).unwrap();
    let salted = scram::salted_password(ScramHash::Sha256, "rubber", b"salt", iterations);
    let create = make(|it: &mut AlterUserScramCredentialsRequest| {
        it.upsertions = vec![make(
            |it: &mut alter_user_scram_credentials_request::ScramCredentialUpsertion| {
                (it.name, it.mechanism, it.iterations) = ("bob".into(), 1, 4096);
                (it.salt, it.salted_password) = ("salt".into(), salted.into());
            },
        )];
    });
    let answer: AlterUserScramCredentialsResponse = ada.ask(0, &create).await;
    assert_eq!(answer.results[0].error_code, 0, "{:?}", answer.results[0].error_message);
    let mut bob = connect(&running).await;
    assert_eq!(bob.scram(ScramHash::Sha256, "bob", "rubber").await.error_code, 0);
    assert_eq!(connect(&running).await.plain("bob", "rubber").await.error_code, 0);
    let all = DescribeUserScramCredentialsRequest::default();
    let described: DescribeUserScramCredentialsResponse = bob.ask(0, &all).await;
    let named: Vec<_> = described
        .results
        .iter()
        .map(|it| (it.user.to_string(), it.credential_infos.len()))
        .collect();
    assert_eq!(named, [("ada".to_owned(), 2), ("bob".to_owned(), 1)]);
    let delete = make(|it: &mut AlterUserScramCredentialsRequest| {
        it.deletions =
            vec![make(|it: &mut alter_user_scram_credentials_request::ScramCredentialDeletion| {
                (it.name, it.mechanism) = ("bob".into(), 1);
            })];
    });
    let answer: AlterUserScramCredentialsResponse = ada.ask(0, &delete).await;
    assert_eq!(answer.results[0].error_code, 0);
    assert!(is_refused(&connect(&running).await.plain("bob", "rubber").await));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_listener_without_sasl_says_that_it_has_none() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = connect(&running).await;
    let answer = client.handshake(1, "PLAIN").await;
    let expected = ErrorCode::IllegalSaslState.to_wire();
    assert_eq!((answer.error_code, answer.mechanisms.len()), (expected, 0));
    assert_eq!(client.token(b"\0ada\0pencil").await.error_code, expected);
    client.metadata("flights").await;
    assert_eq!(client.produce("flights", "one").await, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sasl_is_spoken_over_tls_and_quic() {
    let (papers, folder) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    for (round, transport) in ["tls", "quic"].into_iter().enumerate() {
        let listener = format!("url: \"{transport}://127.0.0.1:0\", tls: {section}, {ALL}");
        let running = start_with_ada(folder.path(), &listener).await;
        let address = running.ready.listeners[0].address;
        let hash = ScramHash::Sha512;
        let large = "x".repeat(900_000);
        if transport == "tls" {
            let stream = over_tls(address, papers.client(&[&TLS13], None)).await.unwrap();
            let mut client = Client::over(stream);
            assert_eq!(client.scram(hash, "ada", "pencil").await.error_code, 0);
            client.metadata("flights").await;
            assert_eq!(client.produce("flights", &large).await, round as i64);
        } else {
            let endpoint = endpoint();
            let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
            let connection = over_quic(&endpoint, address, config).await.unwrap();
            let mut wrong = scene::stream(&connection).await;
            assert!(is_refused(&wrong.scram(hash, "ada", "rubber").await));
            // Another stream is another connection.
            let mut client = scene::stream(&connection).await;
            assert_eq!(client.scram(hash, "ada", "pencil").await.error_code, 0);
            assert_eq!(client.produce("flights", &large).await, round as i64);
        }
        running.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn certificates_that_no_rule_makes_a_user_of_are_nobodys() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("required");
    let rules = r#"principals: "RULE:^CN=(sensor-[0-9]+)$/$1/""#;
    let listeners = format!(r#"[(url: "tls://127.0.0.1:0", tls: {section}, {rules})]"#);
    let running = start_on(data.path(), &listeners, "", Arc::new(NoHooks)).await;
    let address = running.ready.listeners[0].address;
    for (name, is_user) in [("sensor-7", true), ("camera-7", false)] {
        let own = papers.issue(name, Purpose::Client);
        let config = papers.client(&[&TLS12, &TLS13], Some(&own));
        let mut client = Client::over(over_tls(address, config).await.unwrap());
        if is_user {
            client.metadata("flights").await;
            assert_eq!(client.produce("flights", "one").await, 0);
        } else {
            assert!(client.is_closed().await);
        }
    }
    for counter in ["authentications", "authentication_failures"] {
        let line = format!("brooklet_{counter}_total{{mechanism=\"certificate\"}}");
        assert_eq!(scene::metric(&running, &line).await, 1.0, "{counter}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn first_users_are_created_once_and_their_files_are_needed_no_more() {
    let folder = tempfile::tempdir().unwrap();
    start_sasl(folder.path(), ALL).await.stop().await;
    // Another password in the file is not another password: the user is the cluster's.
    let file = folder.path().join("ada.password");
    let users = format!("access: (first_users: {{ \"ada\": {:?} }})", file.display().to_string());
    std::fs::remove_file(&file).unwrap();
    let listeners = format!("[(url: \"tcp://127.0.0.1:0\", {ALL})]");
    let data = folder.path().join("data");
    let running = start_on(&data, &listeners, &users, Arc::new(NoHooks)).await;
    assert_eq!(connect(&running).await.plain("ada", "pencil").await.error_code, 0);
    running.stop().await;
}
