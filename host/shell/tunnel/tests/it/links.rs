//! Who a tunnel says it is, and over what it goes.

use brooklet_client::IdentityFiles;
use brooklet_io::Clock;
use brooklet_io::tls::issue::{Authority, Purpose, Subject, self_signed};

use super::*;

fn subject(name: &str, purpose: Purpose) -> Subject {
    let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    Subject { name: name.to_owned(), organization: None, hosts, days: 30, purpose }
}

/// An authority, a broker's certificate, and a tunnel's.
fn papers() -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let clock = Clock::start();
    let made = self_signed(&subject("authority", Purpose::Authority), &clock).unwrap();
    std::fs::write(path("ca.pem"), &made.certificate).unwrap();
    std::fs::write(path("ca.key"), &made.key).unwrap();
    let authority = Authority::read(&path("ca.pem"), &path("ca.key")).unwrap();
    for (name, purpose) in [("server", Purpose::Server), ("tunnel", Purpose::Client)] {
        let issued = authority.issue(&subject(name, purpose), &clock).unwrap();
        std::fs::write(path(&format!("{name}.pem")), &issued.certificate).unwrap();
        std::fs::write(path(&format!("{name}.key")), &issued.key).unwrap();
    }
    folder
}

#[tokio::test(flavor = "multi_thread")]
async fn brokers_that_ask_for_a_certificate_are_shown_the_tunnels_also_where_udp_is_not_answered() {
    let (papers, data) = (papers(), tempfile::tempdir().unwrap());
    let path = |name: &str| papers.path().join(name);
    let text = |name: &str| path(name).display().to_string();
    let section = format!(
        "(certificate: {:?}, key: {:?}, client_ca: {:?}, client_auth: \"required\")",
        text("server.pem"),
        text("server.key"),
        text("ca.pem")
    );
    let one = |url: &str| format!("(url: {url:?}, tls: {section})");
    let listeners = format!("[{}, {}]", one("quic://127.0.0.1:0"), one("tls://127.0.0.1:0"));
    let broker = broker(data.path(), &listeners).await;
    let [quic, tls] = [0, 1].map(|at| broker.ready.listeners[at].address);
    // Taken, and never read.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let silent = silent.local_addr().map(|it| (silent, it)).unwrap();
    let known = TlsConfig { authorities: Some(path("ca.pem")), ..TlsConfig::default() };
    let identity = IdentityFiles { certificate: path("tunnel.pem"), key: path("tunnel.key") };
    let with_identity = TlsConfig { identity: Some(identity), ..known.clone() };
    for to in [format!("quic://{quic}"), format!("quic://{}?tls={}", silent.1, tls.port())] {
        let tunnel = tunnel_as(&[&to], with_identity.clone()).await;
        let door = tunnel.ready.doors[0];
        let metadata = Raw::connect(door).await.metadata("flights").await;
        assert_eq!(metadata.topics[0].error_code, 0, "{to}");
        // One door, whatever it is reached over.
        assert_eq!(metadata.brokers[0].port, i32::from(door.port()), "{to}");
        tunnel.stop().await;
    }
    // Without one nobody is let in.
    let tunnel = tunnel_as(&[&format!("quic://{quic}")], known).await;
    assert!(Raw::connect(tunnel.ready.doors[0]).await.closes().await);
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_stops_half_way_holds_up_none_of_its_neighbours() {
    let data = tempfile::tempdir().unwrap();
    let broker = broker(data.path(), r#"["quic://127.0.0.1:0"]"#).await;
    let tunnel = tunnel(&broker.ready.listeners[0].to_string()).await;
    let door = tunnel.ready.doors[0];
    let mut clients = Vec::new();
    for _ in 0..40 {
        clients.push(Raw::connect(door).await);
    }
    // Half a request on the one, whole ones on the others.
    clients[0].send(&[0, 0, 0, 40, 0, 3]).await;
    for client in &mut clients[1..] {
        let metadata = client.metadata("flights").await;
        assert_eq!(metadata.brokers[0].port, i32::from(door.port()));
    }
    tunnel.stop().await;
    broker.stop().await;
}

#[tokio::test]
async fn what_cannot_be_listened_on_is_named() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (listen, expected) in [
        (address.as_str(), format!("listen on {address}: Address already in use")),
        ("nowhere", "listen on nowhere: invalid socket address".to_owned()),
    ] {
        let config = Config {
            listen: listen.to_owned(),
            to: vec!["quic://127.0.0.1:1".parse().unwrap()],
            tls: TlsConfig::default(),
            connect_timeout: Duration::from_secs(1),
        };
        let ready = |_: &Ready| panic!("it listens");
        let error = soon(run(config, CancellationToken::new(), ready)).await.unwrap_err();
        assert!(error.to_string().starts_with(&expected), "{expected} is not in {error}");
    }
}
