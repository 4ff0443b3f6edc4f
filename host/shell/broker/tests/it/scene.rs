//! Clients of TLS and QUIC, and the certificates for them.

use std::path::{Path, PathBuf};

use brooklet_io::Clock;
use brooklet_io::tls::issue::{Authority, Issued, Purpose, Subject, self_signed};
use brooklet_wire::message::ApiVersionsRequest;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::aws_lc_rs::default_provider;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::Join;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::*;

/// A deadline for whatever must not take long, on a machine that does other things as well.
pub(crate) const SOON: Duration = Duration::from_secs(15);

/// A folder with an authority, and what it has issued.
pub(crate) struct Papers {
    pub(crate) folder: tempfile::TempDir,
    authority: Authority,
}

impl Papers {
    pub(crate) fn new() -> Papers {
        let folder = tempfile::tempdir().unwrap();
        let made = self_signed(&subject("authority", Purpose::Authority), &Clock::start()).unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::write(path("ca.pem"), &made.certificate).unwrap();
        std::fs::write(path("ca.key"), &made.key).unwrap();
        let authority = Authority::read(&path("ca.pem"), &path("ca.key")).unwrap();
        let papers = Papers { folder, authority };
        papers.write("server", &papers.issue("server", Purpose::Server));
        papers
    }

    pub(crate) fn issue(&self, name: &str, purpose: Purpose) -> Issued {
        self.authority.issue(&subject(name, purpose), &Clock::start()).unwrap()
    }

    pub(crate) fn write(&self, name: &str, issued: &Issued) {
        std::fs::write(self.path(&format!("{name}.pem")), &issued.certificate).unwrap();
        std::fs::write(self.path(&format!("{name}.key")), &issued.key).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What a listener is configured with.
    pub(crate) fn section(&self, client_auth: &str) -> String {
        let path = |name: &str| self.path(name).display().to_string();
        let (pem, key) = (path("server.pem"), path("server.key"));
        let authority = if client_auth == "none" { String::new() } else { path("ca.pem") };
        format!(
            "(certificate: {pem:?}, key: {key:?}, client_ca: {authority:?}, client_auth: {client_auth:?})"
        )
    }

    /// A client that trusts the authority, and shows a certificate if it has one.
    pub(crate) fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Issued>,
    ) -> ClientConfig {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiServerVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        client(versions, verifier.build().unwrap(), own)
    }
}

fn client(
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ServerCertVerifier>,
    own: Option<&Issued>,
) -> ClientConfig {
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match own {
        None => builder.with_no_client_auth(),
        Some(own) => {
            let certificate = CertificateDer::from_pem_slice(own.certificate.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(own.key.as_bytes()).unwrap();
            builder.with_client_auth_cert(vec![certificate], key).unwrap()
        }
    }
}

pub(crate) fn subject(name: &str, purpose: Purpose) -> Subject {
    let hosts = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    Subject { name: name.to_owned(), organization: None, hosts, days: 30, purpose }
}

pub(crate) async fn over_tls(
    address: SocketAddr,
    config: ClientConfig,
) -> std::io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

/// What a QUIC client is made of; cloned for another that remembers the same sessions.
pub(crate) fn quic_config(mut config: ClientConfig, alpn: &[&[u8]]) -> quinn::ClientConfig {
    config.alpn_protocols = alpn.iter().map(|it| it.to_vec()).collect();
    config.enable_early_data = true;
    let crypto = quinn::crypto::rustls::QuicClientConfig::try_from(config).unwrap();
    quinn::ClientConfig::new(Arc::new(crypto))
}

pub(crate) fn endpoint() -> quinn::Endpoint {
    quinn::Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap()
}

pub(crate) async fn over_quic(
    endpoint: &quinn::Endpoint,
    address: SocketAddr,
    config: quinn::ClientConfig,
) -> Result<quinn::Connection, quinn::ConnectionError> {
    let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
    tokio::time::timeout(SOON, connecting).await.unwrap()
}

pub(crate) type Stream = Join<quinn::RecvStream, quinn::SendStream>;

pub(crate) async fn stream(connection: &quinn::Connection) -> Client<Stream> {
    let (writer, reader) = connection.open_bi().await.unwrap();
    Client::over(tokio::io::join(reader, writer))
}

/// Starts a broker with one listener.
pub(crate) async fn start_one(folder: &Path, url: &str, section: &str, more: &str) -> Running {
    let listeners = format!("[(url: {url:?}, tls: {section})]");
    start_on(folder, &listeners, more, Arc::new(NoHooks)).await
}

pub(crate) fn api_versions() -> ApiVersionsRequest {
    make(|it: &mut ApiVersionsRequest| {
        it.client_software_name = "it".into();
        it.client_software_version = "1".into();
    })
}

/// One line of the broker's metrics, as a number.
pub(crate) async fn metric(running: &Running, line: &str) -> f64 {
    let text = get(running.ready.admin.unwrap(), "metrics").await;
    let found = text.lines().find_map(|it| it.strip_prefix(line));
    found.unwrap_or_else(|| panic!("{line} is not in {text}")).trim().parse().unwrap()
}
