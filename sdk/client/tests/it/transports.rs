//! Whom the client believes over TLS and QUIC, what it says when it does not, and where it goes when UDP is not answered.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use brooklet_client::transport::Dialer;
use brooklet_client::{
    Address, Client, ClientConfig, ConnectError, IdentityFiles, TlsConfig, Transport,
};
use brooklet_wire::message::{
    ApiVersionsResponse, MetadataRequest, MetadataResponse, api_versions_response::ApiVersion,
    encode_response, make, metadata_response::MetadataResponseBroker,
};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    SanType, date_time_ymd,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;

/// An authority and what it has issued, in files.
pub(crate) struct Papers {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

fn parameters(name: &str) -> CertificateParams {
    let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut parameters = CertificateParams::new(hosts).unwrap();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters
}

impl Papers {
    pub(crate) fn new() -> Papers {
        Papers::by("authority")
    }

    fn by(name: &str) -> Papers {
        let folder = tempfile::tempdir().unwrap();
        let mut authority = parameters(name);
        authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let made = authority.self_signed(&key).unwrap();
        std::fs::write(folder.path().join("ca.pem"), made.pem()).unwrap();
        Papers { folder, issuer: Issuer::new(authority, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A certificate, whose files are called `name`.
    pub(crate) fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> String {
        let key = KeyPair::generate().unwrap();
        let mut parameters = parameters(name);
        change(&mut parameters);
        let made = parameters.signed_by(&key, &self.issuer).unwrap();
        std::fs::write(self.path(&format!("{name}.pem")), made.pem()).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), key.serialize_pem()).unwrap();
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, made.der());
        digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    pub(crate) fn server(&self, name: &str, asks: bool) -> ServerConfig {
        let provider = Arc::new(default_provider());
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .unwrap();
        let builder = if asks {
            let mut roots = rustls::RootCertStore::empty();
            roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            builder.with_client_cert_verifier(verifier.build().unwrap())
        } else {
            builder.with_no_client_auth()
        };
        let chain = CertificateDer::from_pem_file(self.path(&format!("{name}.pem"))).unwrap();
        let key = PrivateKeyDer::from_pem_file(self.path(&format!("{name}.key"))).unwrap();
        let mut config = builder.with_single_cert(vec![chain], key).unwrap();
        config.alpn_protocols = vec![b"kafka".to_vec()];
        config.max_early_data_size = u32::MAX;
        config
    }

    /// A client that believes the authority.
    pub(crate) fn client(&self, address: &str) -> ClientConfig {
        let mut config = ClientConfig::new(vec![address.parse().unwrap()]);
        config.connect_timeout = Duration::from_secs(10);
        config.tls.authorities = Some(self.path("ca.pem"));
        config
    }
}

/// What brokers here say that they can do.
pub(crate) fn versions() -> ApiVersionsResponse {
    let range =
        |(key, max)| make(|range: &mut ApiVersion| (range.api_key, range.max_version) = (key, max));
    make(|it: &mut ApiVersionsResponse| it.api_keys = [(3, 9), (18, 4)].map(range).into())
}

/// Answers ApiVersions and Metadata until the client leaves, as a broker at `port`.
async fn answer(mut stream: impl AsyncRead + AsyncWrite + Unpin, port: u16) {
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        let key = i16::from_be_bytes([request[0], request[1]]);
        let version = i16::from_be_bytes([request[2], request[3]]);
        let correlation = i32::from_be_bytes(request[4..8].try_into().unwrap());
        let frame = if key == 18 {
            encode_response(correlation, version, &versions())
        } else {
            let metadata = make(|it: &mut MetadataResponse| {
                it.brokers = vec![make(|broker: &mut MetadataResponseBroker| {
                    (broker.node_id, broker.host, broker.port) =
                        (1, "127.0.0.1".into(), port.into());
                })];
            });
            encode_response(correlation, version, &metadata)
        };
        stream.write_all(&frame.unwrap()).await.unwrap();
        stream.flush().await.unwrap();
    }
}

/// Serves TLS; returns its port.
async fn serve_tls(config: ServerConfig) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let accepting = acceptor.accept(stream);
            tokio::spawn(async move {
                if let Ok(stream) = accepting.await {
                    answer(stream, port).await;
                }
            });
        }
    });
    port
}

pub(crate) fn quic_config(config: ServerConfig) -> quinn::ServerConfig {
    let crypto = quinn::crypto::rustls::QuicServerConfig::try_from(config).unwrap();
    quinn::ServerConfig::with_crypto(Arc::new(crypto))
}

/// Serves QUIC and counts connections; returns its endpoint.
fn serve_quic(config: ServerConfig) -> (quinn::Endpoint, Arc<AtomicUsize>) {
    let address = "127.0.0.1:0".parse().unwrap();
    let endpoint = quinn::Endpoint::server(quic_config(config), address).unwrap();
    let port = endpoint.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let (accepting, count) = (endpoint.clone(), Arc::clone(&connections));
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok((connection, _)) = incoming.accept().unwrap().into_0rtt() else { continue };
            count.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                while let Ok((writer, reader)) = connection.accept_bi().await {
                    tokio::spawn(answer(tokio::io::join(reader, writer), port));
                }
            });
        }
    });
    (endpoint, connections)
}

async fn ask(config: ClientConfig) -> Result<Address, String> {
    let client = Client::new(config);
    let asked = client.metadata(Some(&[])).await;
    let metadata = asked.map_err(|error| error.to_string())?;
    Ok(metadata.brokers.into_values().next().unwrap().address)
}

#[tokio::test]
async fn a_broker_is_believed_by_its_authority_or_by_its_pin_and_else_it_is_said_why_not() {
    let papers = Papers::new();
    let good = papers.issue("good", |_| {});
    let old = papers.issue("old", |it| it.not_after = date_time_ymd(2020, 1, 1));
    papers.issue("elsewhere", |it| it.subject_alt_names.clear());
    let stranger = Papers::by("another authority");
    stranger.issue("stranger", |_| {});
    let wrong = "0".repeat(64);
    for transport in ["tls", "quic"] {
        let mut endpoints = Vec::new();
        let mut serve = async |papers: &Papers, name| {
            let config = papers.server(name, false);
            if transport == "tls" {
                serve_tls(config).await
            } else {
                let (endpoint, _) = serve_quic(config);
                let port = endpoint.local_addr().unwrap().port();
                endpoints.push(endpoint);
                port
            }
        };
        let good_port = serve(&papers, "good").await;
        let old_port = serve(&papers, "old").await;
        let elsewhere_port = serve(&papers, "elsewhere").await;
        let stranger_port = serve(&stranger, "stranger").await;
        let not_pinned = format!("fingerprint {good}, which is not pinned");
        let table = [
            (good_port, None, Ok(())),
            (good_port, Some(&good), Ok(())),
            (old_port, Some(&old), Ok(())),
            (good_port, Some(&wrong), Err(not_pinned.as_str())),
            (old_port, None, Err("certificate expired")),
            (elsewhere_port, None, Err("not valid for")),
            (stranger_port, None, Err("UnknownIssuer")),
        ];
        for (port, pin, expected) in table {
            let pin = pin.map(|pin| format!("?pin={pin}")).unwrap_or_default();
            let address = format!("{transport}://127.0.0.1:{port}{pin}");
            let outcome = ask(papers.client(&address)).await;
            match (outcome, expected) {
                (Ok(found), Ok(())) => {
                    // What it advertises is reached as it was.
                    assert_eq!(found.to_string(), format!("{transport}://127.0.0.1:{port}"));
                }
                (Err(error), Err(expected)) => {
                    assert!(error.contains(expected), "{address}: {expected} is not in {error}");
                }
                (outcome, _) => panic!("{address}: {outcome:?} instead of {expected:?}"),
            }
        }
    }
}

#[tokio::test]
async fn a_broker_has_to_have_the_name_that_is_asked_for_whatever_was_dialled() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    let by_name = |it: &mut CertificateParams| {
        let name = "node-1.brooklet.internal".to_owned().try_into().unwrap();
        it.subject_alt_names = vec![SanType::DnsName(name)];
    };
    papers.issue("node-1", by_name);
    // One that is reached by its address, and is not who is meant.
    let mut ports = Vec::new();
    let mut endpoints = Vec::new();
    for name in ["node-1", "good"] {
        ports.push(("tls", name, serve_tls(papers.server(name, false)).await));
        let (endpoint, _) = serve_quic(papers.server(name, false));
        ports.push(("quic", name, endpoint.local_addr().unwrap().port()));
        endpoints.push(endpoint);
    }
    for (transport, broker, port) in ports {
        for (asked, believed) in [
            (Some("node-1.brooklet.internal"), broker == "node-1"),
            (Some("node-2.brooklet.internal"), false),
            (None, broker == "good"),
        ] {
            let mut config = papers.client(&format!("{transport}://127.0.0.1:{port}"));
            config.tls.server_name = asked.map(str::to_owned);
            match ask(config).await {
                Ok(_) => assert!(believed, "{transport}, {broker} for {asked:?}"),
                Err(error) => {
                    assert!(!believed, "{transport}, {broker} for {asked:?}: {error}");
                    assert!(error.contains("not valid for"), "{error}");
                }
            }
        }
    }
}

#[tokio::test]
async fn a_client_shows_its_certificate_to_a_broker_that_asks() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    papers.issue("sensor", |it| {
        it.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    });
    let port = serve_tls(papers.server("good", true)).await;
    let (endpoint, _) = serve_quic(papers.server("good", true));
    let quic = endpoint.local_addr().unwrap().port();
    for address in [format!("tls://localhost:{port}"), format!("quic://127.0.0.1:{quic}")] {
        let mut config = papers.client(&address);
        let error = ask(config.clone()).await.unwrap_err();
        assert!(error.contains("CertificateRequired") || error.contains("error 116"), "{error}");
        let (certificate, key) = (papers.path("sensor.pem"), papers.path("sensor.key"));
        config.tls.identity = Some(IdentityFiles { certificate, key });
        ask(config).await.unwrap();
    }
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named() {
    let papers = Papers::new();
    let mut config = papers.client("tls://127.0.0.1:1");
    config.tls.authorities = Some(papers.path("nowhere.pem"));
    let error = ask(config.clone()).await.unwrap_err();
    assert!(error.contains("nowhere.pem: "), "{error}");
    std::fs::write(papers.path("empty.pem"), "").unwrap();
    config.tls.authorities = Some(papers.path("empty.pem"));
    let error = ask(config).await.unwrap_err();
    assert!(error.contains("empty.pem: there is no certificate in it"), "{error}");
}

#[tokio::test]
async fn where_udp_is_not_answered_tls_is_used_and_remembered() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    // Taken, and never read.
    let silent = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let quic = silent.local_addr().unwrap().port();
    let port = serve_tls(papers.server("good", false)).await;
    let address: Address = format!("quic://127.0.0.1:{quic}?tls={port}").parse().unwrap();
    let peer = brooklet_client::Peer { address, id: None };
    let tls = TlsConfig { authorities: Some(papers.path("ca.pem")), ..TlsConfig::default() };
    let dialer = Dialer::new(tls, std::collections::BTreeSet::new());
    let early = brooklet_client::transport::Early::Tried;
    let limit = Duration::from_secs(10);
    let began = std::time::Instant::now();
    let stream = dialer.dial(&peer, limit, early).await.unwrap();
    assert_eq!(stream.transport, Transport::Tls);
    let first = began.elapsed();
    let stream = dialer.dial(&peer, limit, early).await.unwrap();
    assert_eq!(stream.transport, Transport::Tls);
    assert!(began.elapsed() - first < first / 2, "UDP was tried again at once");

    // Neither: both are named, and the client does not wait for longer than it should.
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let error = ask(papers.client(&format!("quic://127.0.0.1:{quic}?tls={closed}"))).await;
    let error = error.unwrap_err();
    assert!(error.contains("no answer within 3s; over TLS instead: connect to"), "{error}");
    // What is advertised by a broker that was reached over TLS is TLS.
    let found = ask(papers.client(&format!("quic://127.0.0.1:{quic}?tls={port}"))).await;
    assert_eq!(found.unwrap().to_string(), format!("tls://127.0.0.1:{port}"));
}

#[tokio::test]
async fn whoever_sends_nothing_early_shares_a_connection_all_the_same() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    let (endpoint, connections) = serve_quic(papers.server("good", false));
    let port = endpoint.local_addr().unwrap().port();
    let address = format!("quic://127.0.0.1:{port}").parse().unwrap();
    let peer = brooklet_client::Peer { address, id: None };
    let tls = TlsConfig { authorities: Some(papers.path("ca.pem")), ..TlsConfig::default() };
    let dialer = Dialer::new(tls, std::collections::BTreeSet::new());
    let limit = Duration::from_secs(10);
    let never = brooklet_client::transport::Early::Never;
    // In the second round there is a session that would allow it.
    for round in 1..=2 {
        let one = dialer.dial(&peer, limit, never).await.unwrap();
        let two = dialer.dial(&peer, limit, never).await.unwrap();
        assert!(!one.early && !two.early);
        // A stream is known to a broker by what is sent on it, and a connection before that.
        assert_eq!(connections.load(Ordering::SeqCst), round);
        drop((one, two));
    }
}

#[tokio::test]
async fn where_a_connection_has_no_more_streams_there_is_another_one_and_no_talk_of_tls() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    let (endpoint, connections) = serve_quic(papers.server("good", false));
    let mut config = quic_config(papers.server("good", false));
    let mut settings = quinn::TransportConfig::default();
    settings.max_concurrent_bidi_streams(2_u32.into());
    config.transport_config(Arc::new(settings));
    endpoint.set_server_config(Some(config));
    let port = endpoint.local_addr().unwrap().port();
    let address = format!("quic://127.0.0.1:{port}").parse().unwrap();
    let peer = brooklet_client::Peer { address, id: None };
    let tls = TlsConfig { authorities: Some(papers.path("ca.pem")), ..TlsConfig::default() };
    let dialer = Dialer::new(tls, std::collections::BTreeSet::new());
    let mut streams = Vec::new();
    for _ in 0..5 {
        let never = brooklet_client::transport::Early::Never;
        let stream = dialer.dial(&peer, Duration::from_secs(10), never).await.unwrap();
        assert_eq!(stream.transport, Transport::Quic);
        streams.push(stream);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn all_lanes_to_a_broker_share_one_connection_also_to_one_that_was_started_anew() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    let (endpoint, connections) = serve_quic(papers.server("good", false));
    let port = endpoint.local_addr().unwrap().port();
    let client = Client::new(papers.client(&format!("quic://127.0.0.1:{port}")));
    client.metadata(Some(&[])).await.unwrap();
    let id = brooklet_types::BrokerId(1);
    let lanes = [client.new_lane(), client.new_lane(), client.new_lane()];
    let mut open = Vec::new();
    for lane in lanes {
        let connection = client.broker(id, &lane).await.unwrap();
        connection.call(&MetadataRequest::default()).await.unwrap();
        open.push(connection);
    }
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    // It knows nothing of sessions from before: what comes early is refused, and sent again.
    endpoint.set_server_config(Some(quic_config(papers.server("good", false))));
    for connection in &open {
        connection.close();
    }
    let (closing, limit) = (endpoint.clone(), Duration::from_secs(5));
    drop(open);
    closing.close(0u32.into(), b"");
    tokio::time::timeout(limit, closing.wait_idle()).await.unwrap();
    drop((closing, endpoint));
    let again = async {
        loop {
            let address = format!("127.0.0.1:{port}").parse().unwrap();
            let config = quic_config(papers.server("good", false));
            if let Ok(endpoint) = quinn::Endpoint::server(config, address) {
                return endpoint;
            }
            tokio::task::yield_now().await;
        }
    };
    let endpoint = tokio::time::timeout(limit, again).await.unwrap();
    let accepting = endpoint.clone();
    tokio::spawn(async move {
        while let Some(incoming) = accepting.accept().await {
            let Ok((connection, _)) = incoming.accept().unwrap().into_0rtt() else { continue };
            tokio::spawn(async move {
                while let Ok((writer, reader)) = connection.accept_bi().await {
                    tokio::spawn(answer(tokio::io::join(reader, writer), port));
                }
            });
        }
    });
    client.metadata(Some(&[])).await.unwrap();
    client.close().await;
    let gone = matches!(
        client.broker(id, &client.new_lane()).await,
        Ok(_)
            | Err(brooklet_client::ApiError::AdvertisedUnreachable {
                source: ConnectError::NotTrusted { .. },
                ..
            })
    );
    assert!(gone, "a client that took leave can begin anew");
}
