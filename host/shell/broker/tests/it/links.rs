//! The same requests over TLS and QUIC, and clients that are not let in.

use brooklet_io::tls::issue::{Purpose, self_signed};
use rustls::version::{TLS12, TLS13};

use super::scene::{self, Papers, SOON, endpoint, over_quic, over_tls, quic_config, start_one};
use super::*;

const BOTH: &[&rustls::SupportedProtocolVersion] = &[&TLS12, &TLS13];

#[tokio::test(flavor = "multi_thread")]
async fn tls_carries_what_tcp_carries_in_both_versions() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "tls://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    assert_eq!(running.ready.listeners[0].to_string(), format!("tls://{address}"));
    for (round, version) in [&TLS12, &TLS13].into_iter().enumerate() {
        let stream = over_tls(address, papers.client(&[version], None)).await.unwrap();
        let agreed = stream.get_ref().1.protocol_version().unwrap();
        assert_eq!(agreed, version.version);
        let mut client = Client::over(stream);
        let metadata = client.metadata("flights").await;
        assert_eq!(metadata.brokers[0].port, i32::from(address.port()));
        // More than TLS keeps for a socket that is full.
        let large = "x".repeat(900_000);
        assert_eq!(client.produce("flights", &large).await, round as i64);
        assert_eq!(client.fetch("flights", round as i64).await, [large.as_bytes()]);
    }
    let left = format!("brooklet_certificate_days{{listener=\"tls://{address}\"}}");
    let left = scene::metric(&running, &left).await;
    assert!((29.9..=30.0).contains(&left), "{left} days");
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_without_the_certificate_that_is_asked_for_are_not_let_in() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("required");
    let listeners = format!(
        r#"[(url: "tls://127.0.0.1:0", tls: {section}), (url: "quic://127.0.0.1:0", tls: {section})]"#
    );
    let running = start_on(data.path(), &listeners, "", Arc::new(NoHooks)).await;
    let [tls, quic] = [0, 1].map(|at| running.ready.listeners[at].address);
    let good = papers.issue("sensor-7", Purpose::Client);
    let stranger =
        self_signed(&scene::subject("stranger", Purpose::Client), &brooklet_io::Clock::start());
    let not_for_clients = papers.issue("server", Purpose::Server);
    let stranger = stranger.unwrap();
    // Under TLS 1.2 the client learns it in the handshake, under 1.3 with its first read.
    for (own, alert) in [
        (None, "CertificateRequired"),
        (Some(&stranger), "UnknownCA"),
        (Some(&not_for_clients), "UnsupportedCertificate"),
    ] {
        let config = papers.client(&[&TLS13], own);
        let mut stream = over_tls(tls, config.clone()).await.unwrap();
        let error = tokio::time::timeout(SOON, stream.read_u8()).await.unwrap().unwrap_err();
        assert!(error.to_string().contains(alert), "{alert} is not in {error}");
        let endpoint = endpoint();
        let connection = over_quic(&endpoint, quic, quic_config(config, &[b"kafka"])).await;
        let error = match connection {
            Ok(connection) => tokio::time::timeout(SOON, connection.closed()).await.unwrap(),
            Err(error) => error,
        };
        assert!(error.to_string().contains("cryptographic handshake failed"), "{error}");
    }
    let config = papers.client(BOTH, Some(&good));
    let mut client = Client::over(over_tls(tls, config.clone()).await.unwrap());
    assert_eq!(client.metadata("flights").await.brokers[0].port, i32::from(tls.port()));
    let endpoint = endpoint();
    let connection = over_quic(&endpoint, quic, quic_config(config, &[b"kafka"])).await.unwrap();
    let mut client = scene::stream(&connection).await;
    assert_eq!(client.produce("flights", "one").await, 0);
    for transport in ["tls", "quic"] {
        let failures = format!("brooklet_handshake_failures_total{{transport=\"{transport}\"}}");
        assert_eq!(scene::metric(&running, &failures).await, 3.0, "{transport}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_stream_of_quic_is_as_good_as_a_connection_of_tcp() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    let endpoint = endpoint();
    let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
    let connection = over_quic(&endpoint, address, config).await.unwrap();
    let mut one = scene::stream(&connection).await;
    let metadata = one.metadata("flights").await;
    assert_eq!(metadata.brokers[0].port, i32::from(address.port()));
    // What a connection may have under way before it has asked anything would not hold it.
    let large = "x".repeat(900_000);
    assert_eq!(one.produce("flights", &large).await, 0);
    // A fetch that waits holds up its own stream, and no other.
    let waiting = make(|it: &mut FetchRequest| {
        *it = fetch("flights", 1);
        it.max_wait_ms = 30_000;
    });
    one.send(&encode_request(7, 12, None, &waiting).unwrap()).await;
    let mut other = scene::stream(&connection).await;
    assert_eq!(other.fetch("flights", 0).await, [large.as_bytes()]);
    assert_eq!(other.produce("flights", "two").await, 1);
    let frame = tokio::time::timeout(SOON, one.receive()).await.unwrap();
    let (correlation, answer) = decode_response::<FetchResponse>(frame, 12).unwrap();
    assert_eq!((correlation, answer.responses[0].partitions[0].high_watermark), (7, 2));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_answers_what_streams_have_asked_and_says_so() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    let endpoint = endpoint();
    let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
    let connection = over_quic(&endpoint, address, config).await.unwrap();
    let mut client = scene::stream(&connection).await;
    client.metadata("flights").await;
    let waiting = make(|it: &mut FetchRequest| {
        *it = fetch("flights", 0);
        it.max_wait_ms = 30_000;
    });
    client.send(&encode_request(7, 12, None, &waiting).unwrap()).await;
    // Behind it in the same stream: the fetch is being carried out when it is answered.
    let mut other = scene::stream(&connection).await;
    let _: ApiVersionsResponse = other.ask(3, &scene::api_versions()).await;
    let stopping = tokio::spawn(running.stop());
    let frame = tokio::time::timeout(SOON, client.receive()).await.unwrap();
    assert_eq!(decode_response::<FetchResponse>(frame, 12).unwrap().0, 7);
    let reason = tokio::time::timeout(SOON, connection.closed()).await.unwrap();
    assert!(reason.to_string().contains("the broker is stopping"), "{reason}");
    stopping.await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_of_quic_that_does_not_offer_kafka_is_told_so() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    let endpoint = endpoint();
    for alpn in [&[][..], &[b"h3".as_slice()]] {
        let config = quic_config(papers.client(&[&TLS13], None), alpn);
        let error = over_quic(&endpoint, address, config).await.unwrap_err().to_string();
        assert!(error.contains("error 120") || error.contains("application protocol"), "{error}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn quic_without_a_certificate_has_one_that_stays() {
    let data = tempfile::tempdir().unwrap();
    let mut pins = Vec::new();
    for _ in 0..2 {
        let running = start_on(
            data.path(),
            r#"["tcp://127.0.0.1:0", "quic://127.0.0.1:0"]"#,
            "",
            Arc::new(NoHooks),
        )
        .await;
        let [tcp, quic] = [0, 1].map(|at| running.ready.listeners[at]);
        assert_eq!(tcp.pin, None);
        let pin = quic.pin.unwrap();
        assert_eq!(quic.to_string(), format!("quic://{}?pin={pin}", quic.address));
        pins.push(pin);
        running.stop().await;
    }
    assert_eq!(pins[0], pins[1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_that_cannot_be_served_with_ends_the_start_with_its_name() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    std::fs::write(papers.path("server.key"), "").unwrap();
    let (folder, section) = (data.path().display().to_string(), papers.section("none"));
    let text = format!(
        "(data: {folder:?}, admin: \"none\", listeners: [(url: \"tls://127.0.0.1:0\", tls: {section})])"
    );
    let config = Config::read("test.ron", &text).unwrap();
    let stop = CancellationToken::new();
    let error = run(config, Arc::new(NoHooks), stop, |_| panic!("it serves")).await.unwrap_err();
    let expected = format!(
        "tls://127.0.0.1:0: {}: there is no private key in it that is without a password",
        papers.path("server.key").display()
    );
    assert_eq!(error.to_string(), expected);
}
