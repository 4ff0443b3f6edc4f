//! Clients that come with a token, and those whose token is none for this broker.

use std::path::Path;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_client::{Address, Admin, ClientConfig, Password, SaslConfig, SaslMechanism, Secret};
use serde_json::{Value, json};

use super::*;

/// Somebody who signs tokens.
struct Issuer {
    key: EcdsaKeyPair,
}

impl Issuer {
    fn new() -> Issuer {
        Issuer { key: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    /// Its public key, as issuers publish it.
    fn keys(&self) -> String {
        let point = self.key.public_key().as_ref();
        let (x, y) = (encode(&point[1..33]), encode(&point[33..]));
        json!({ "keys": [{ "kty": "EC", "crv": "P-256", "x": x, "y": y }] }).to_string()
    }

    fn token(&self, claims: &Value) -> String {
        let signed = unsigned("ES256", claims);
        let signature = self.key.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", encode(signature.as_ref()))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn unsigned(algorithm: &str, claims: &Value) -> String {
    let header = json!({ "alg": algorithm, "typ": "JWT" }).to_string();
    format!("{}.{}", encode(header.as_bytes()), encode(claims.to_string().as_bytes()))
}

/// What a good token says, good for `seconds` from now on.
fn claims(seconds: i64) -> Value {
    let now = brooklet_io::Clock::start().timestamp().0 / 1000;
    json!({ "sub": "ada", "iss": "https://issuer.example", "aud": "brooklet", "iat": now - 60, "exp": now + seconds })
}

fn with(name: &str, value: Value) -> Value {
    let mut claims = claims(600);
    claims[name] = value;
    claims
}

async fn start_with_tokens(folder: &Path, keys: &str) -> Running {
    let listeners = format!(
        r#"[(url: "tcp://127.0.0.1:0", sasl: (mechanisms: ["OAUTHBEARER"], oauth: (
            {keys}, issuer: "https://issuer.example", audiences: ["brooklet"], clock_skew_seconds: 5,
        )))]"#
    );
    let access = r#"access: (authorizer: "acls", super_users: ["User:ada"])"#;
    start_on(&folder.join("data"), &listeners, access, Arc::new(NoHooks)).await
}

fn admin(running: &Running, token: String) -> Admin {
    Admin::new(client(running, Secret::new(token).into()))
}

fn client(running: &Running, password: Password) -> brooklet_client::Client {
    let address: Address = running.ready.listeners[0].address.to_string().parse().unwrap();
    let mechanism = SaslMechanism::OauthBearer;
    let sasl = Some(SaslConfig { mechanism, user: String::new(), password });
    brooklet_client::Client::new(ClientConfig { sasl, ..ClientConfig::new(vec![address]) })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_is_taken_if_it_is_the_issuers_for_this_broker_and_for_now() {
    let folder = tempfile::tempdir().unwrap();
    let (issuer, forger) = (Issuer::new(), Issuer::new());
    let file = folder.path().join("keys.json");
    std::fs::write(&file, issuer.keys()).unwrap();
    let keys = format!("jwks_file: {:?}", file.display().to_string());
    let running = start_with_tokens(folder.path(), &keys).await;
    // Who the token says is above the rules.
    admin(&running, issuer.token(&claims(600))).users().await.unwrap();
    let nobody = format!("{}.", unsigned("none", &claims(600)));
    for (what, token) in [
        ("expired", issuer.token(&claims(-60))),
        ("forged", forger.token(&claims(600))),
        ("another audience", issuer.token(&with("aud", json!("kafka")))),
        ("another issuer", issuer.token(&with("iss", json!("https://other.example")))),
        ("no subject", issuer.token(&with("sub", json!("")))),
        ("alg none", nobody),
    ] {
        let error = admin(&running, token).users().await.unwrap_err().to_string();
        assert!(error.contains("invalid_token"), "{what}: {error}");
    }
    let failures = "brooklet_authentication_failures_total{mechanism=\"OAUTHBEARER\"}";
    assert_eq!(scene::metric(&running, failures).await, 6.0);
    let bob = admin(&running, issuer.token(&with("sub", json!("bob")))).users().await.unwrap_err();
    let refused = brooklet_types::ErrorCode::ClusterAuthorizationFailed;
    assert_eq!(bob.code(), Some(refused), "somebody, but not above the rules: {bob}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_issuers_new_keys_are_taken_from_the_file_and_bad_ones_are_not() {
    let folder = tempfile::tempdir().unwrap();
    let (old, new) = (Issuer::new(), Issuer::new());
    let file = folder.path().join("keys.json");
    std::fs::write(&file, old.keys()).unwrap();
    let keys = format!("jwks_file: {:?}", file.display().to_string());
    let running = start_with_tokens(folder.path(), &keys).await;
    std::fs::write(&file, "{}").unwrap();
    let failures = format!(
        "brooklet_token_key_failures_total{{listener=\"{}\"}} 1",
        running.ready.listeners[0]
    );
    let until = std::time::Instant::now() + Duration::from_secs(60);
    while !get(running.ready.admin.unwrap(), "metrics").await.contains(&failures) {
        assert!(std::time::Instant::now() < until, "{failures}");
        tokio::time::sleep(Duration::from_millis(100)).await; // polls
    }
    admin(&running, old.token(&claims(600))).users().await.unwrap();
    std::fs::write(&file, new.keys()).unwrap();
    while admin(&running, new.token(&claims(600))).users().await.is_err() {
        assert!(std::time::Instant::now() < until, "the new keys are not taken");
        tokio::time::sleep(Duration::from_millis(100)).await; // polls
    }
    admin(&running, old.token(&claims(600))).users().await.unwrap_err();
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_may_stand_in_the_configuration() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let keys = format!("jwks: {:?}", issuer.keys());
    let running = start_with_tokens(folder.path(), &keys).await;
    admin(&running, issuer.token(&claims(600))).users().await.unwrap();
    running.stop().await;
}

/// A token is over long before a connection is: whoever keeps it fresh is asked each time.
#[tokio::test(flavor = "multi_thread")]
async fn a_client_asks_for_its_token_whenever_it_says_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let running = start_with_tokens(folder.path(), &format!("jwks: {:?}", issuer.keys())).await;
    let tokens = [issuer.token(&claims(3)), issuer.token(&claims(600))];
    let (tell, mut asked) = tokio::sync::mpsc::unbounded_channel();
    let count = std::sync::atomic::AtomicUsize::new(0);
    let password = Password::Asked(Arc::new(move || {
        let number = count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        tell.send(number).unwrap();
        Ok(Secret::new(tokens[number.min(1)].clone()))
    }));
    let client = client(&running, password);
    let connection = client.any().await.unwrap();
    assert_eq!(asked.recv().await, Some(0));
    let admin = Admin::new(client);
    let until = std::time::Instant::now() + Duration::from_secs(5);
    while std::time::Instant::now() < until {
        admin.users().await.unwrap();
        tokio::time::sleep(Duration::from_millis(100)).await; // polls
    }
    assert!(!connection.is_closed(), "its session goes on with the other token");
    assert_eq!(asked.try_recv(), Ok(1));
    asked.try_recv().expect_err("the other token is still good");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_in_a_file_is_read_whenever_the_client_says_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = Issuer::new();
    let running = start_with_tokens(folder.path(), &format!("jwks: {:?}", issuer.keys())).await;
    let file = folder.path().join("token");
    let write = |seconds: i64| std::fs::write(&file, issuer.token(&claims(seconds))).unwrap();
    let password = Password::File(file.clone());
    let missing = client(&running, password.clone()).any().await.map(|_| ()).unwrap_err();
    assert!(missing.to_string().contains("token: No such file"), "{missing}");
    write(3);
    let admin = Admin::new(client(&running, password));
    admin.users().await.unwrap();
    // What is in the file now counts, and not what was there when the client was made.
    write(-60);
    let until = std::time::Instant::now() + Duration::from_secs(30);
    let is_refused = |error: brooklet_client::ApiError| error.to_string().contains("invalid_token");
    while !admin.users().await.is_err_and(is_refused) {
        assert!(std::time::Instant::now() < until, "the first token is still taken");
        tokio::time::sleep(Duration::from_millis(100)).await; // polls
    }
    write(600);
    admin.users().await.unwrap();
    running.stop().await;
}
