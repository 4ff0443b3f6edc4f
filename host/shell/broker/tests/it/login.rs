//! Our own client logs in, stays logged in, and administrates users.

use brooklet_client::admin::{NewPassword, NewTopic};
use brooklet_client::{
    Address, Admin, ApiError, Client, ClientConfig, ConnectError, SaslConfig, SaslMechanism, Secret,
};
use brooklet_types::ErrorCode;

use super::sasl::{AGAIN, ALL, start_sasl};
use super::{AsyncReadExt, Duration, Running};

fn config(running: &Running, mechanism: SaslMechanism, user: &str, password: &str) -> ClientConfig {
    let address: Address = running.ready.listeners[0].address.to_string().parse().unwrap();
    let mut config = ClientConfig::new(vec![address]);
    config.sasl = Some(SaslConfig {
        mechanism,
        user: user.to_owned(),
        password: Secret::new(password).into(),
    });
    config
}

fn admin(running: &Running, mechanism: SaslMechanism, user: &str, password: &str) -> Admin {
    Admin::new(Client::new(config(running, mechanism, user, password)))
}

const MECHANISMS: [SaslMechanism; 3] =
    [SaslMechanism::Plain, SaslMechanism::ScramSha256, SaslMechanism::ScramSha512];

#[tokio::test(flavor = "multi_thread")]
async fn the_client_logs_in_by_every_mechanism() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    for mechanism in MECHANISMS {
        let admin = admin(&running, mechanism, "ada", "pencil");
        let name = mechanism.name().to_lowercase();
        let topic = NewTopic { name, ..NewTopic::default() };
        // To the first contact, and then to the controller where it says it is.
        admin.create_topic(&topic, false).await.unwrap();
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_not_tried_again() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let expected = ["Invalid username or password", "invalid credentials", "invalid credentials"];
    for (mechanism, expected) in MECHANISMS.into_iter().zip(expected) {
        let admin = admin(&running, mechanism, "ada", "rubber");
        let error = admin.users().await.unwrap_err();
        let ApiError::NoBroker { tried } = &error else { panic!("{error:?}") };
        assert!(matches!(&tried[..], [ConnectError::NotAuthenticated { .. }]), "{error:?}");
        assert!(error.to_string().contains(expected), "{error}");
        let line =
            format!("brooklet_authentication_failures_total{{mechanism=\"{}\"}}", mechanism.name());
        assert_eq!(super::scene::metric(&running, &line).await, 1.0, "{mechanism}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mechanism_the_broker_does_not_have_is_named_with_those_it_has() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), AGAIN).await;
    let error = admin(&running, SaslMechanism::ScramSha512, "ada", "pencil").users().await;
    let error = error.unwrap_err().to_string();
    let expected =
        "SCRAM-SHA-512: UNSUPPORTED_SASL_MECHANISM; the broker offers [PLAIN, SCRAM-SHA-256]";
    assert!(error.contains(expected), "{error}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_session_is_renewed_on_the_connection_that_is_in_use() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), AGAIN).await;
    let client = Client::new(config(&running, SaslMechanism::ScramSha256, "ada", "pencil"));
    let connection = client.any().await.unwrap();
    let admin = Admin::new(client);
    // A session lasts for a second and a half; several end while a crowd asks.
    let until = std::time::Instant::now() + Duration::from_millis(3500);
    while std::time::Instant::now() < until {
        let asked = tokio::join!(admin.users(), admin.users(), admin.describe_cluster());
        assert_eq!(asked.0.unwrap().len(), 1);
        assert_eq!(asked.1.unwrap().len(), 1);
        asked.2.unwrap();
    }
    assert!(!connection.is_closed());
    let line = "brooklet_authentications_total{mechanism=\"SCRAM-SHA-256\"}";
    let logins = super::scene::metric(&running, line).await;
    assert!(logins >= 3.0, "{logins}");
    assert_eq!(super::scene::metric(&running, "brooklet_connections_opened_total").await, 1.0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn users_are_created_listed_and_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let ada = admin(&running, SaslMechanism::ScramSha512, "ada", "pencil");
    let mut new = NewPassword::new("bob", Secret::new("rubber"));
    new.mechanisms = vec![SaslMechanism::ScramSha256];
    ada.set_password(&new).await.unwrap();
    let users = ada.users().await.unwrap();
    let names: Vec<_> =
        users.iter().map(|user| (user.name.as_str(), user.mechanisms.len())).collect();
    assert_eq!(names, [("ada", 2), ("bob", 1)]);
    for mechanism in [SaslMechanism::ScramSha256, SaslMechanism::Plain] {
        admin(&running, mechanism, "bob", "rubber").users().await.unwrap();
    }
    // Nothing was kept for the other hash.
    admin(&running, SaslMechanism::ScramSha512, "bob", "rubber").users().await.unwrap_err();
    let mut other = NewPassword::new("bob", Secret::new("paper"));
    other.iterations = std::num::NonZeroU32::new(8192).unwrap();
    ada.set_password(&other).await.unwrap();
    for mechanism in MECHANISMS {
        // PLAIN is right if either hash is.
        admin(&running, mechanism, "bob", "paper").users().await.unwrap();
        admin(&running, mechanism, "bob", "rubber").users().await.unwrap_err();
    }
    ada.delete_user("bob").await.unwrap();
    admin(&running, SaslMechanism::Plain, "bob", "paper").users().await.unwrap_err();
    let error = ada.delete_user("bob").await.unwrap_err();
    assert_eq!(error.code(), Some(ErrorCode::ResourceNotFound), "{error}");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_comes_from_the_same_process_is_not_asked_who_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let running = start_sasl(folder.path(), ALL).await;
    let inner = running.ready.inner.clone();
    let mut client = super::Client::over(inner.enter().unwrap());
    assert_eq!(client.metadata("within").await.topics.len(), 1);
    running.stop().await;
    let eof = client.stream.read(&mut [0]).await.unwrap();
    assert_eq!(eof, 0, "the broker takes leave");
    let refused = inner.enter().unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::NotConnected);
}
