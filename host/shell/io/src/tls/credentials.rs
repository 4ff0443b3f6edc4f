//! A listener's certificate, its key and the authorities of its clients; read again when they change.
//!
//! **Decides** what is served with. What is read is checked as a whole and exchanged as a whole: files that
//! do not fit together, or cannot be read, leave what was there before. Connections that are open stay
//! as they are. A change is seen by its content: a copy may keep its time.
//!
//! **Invariant.** [`Credentials::current`] could always be served with.

use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::hmac;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoClientAuth, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{InconsistentKeys, RootCertStore, ServerConfig};
use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{ALPN, ClientAuth, Fingerprint, TlsError, TlsFiles, provider};
use crate::follow::{self, follow};

/// What carries the handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// TLS 1.2 and 1.3 over TCP.
    Tls,
    /// TLS 1.3 within QUIC, with [`ALPN`].
    Quic,
}

/// What a listener is served with, and whoever exchanges it. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Credentials {
    files: Arc<TlsFiles>,
    purpose: Purpose,
    current: Arc<watch::Sender<Arc<Current>>>,
}

/// What is served with now.
#[derive(Debug)]
pub struct Current {
    /// For the handshake.
    pub config: Arc<ServerConfig>,
    /// Of the listener's own certificate.
    pub fingerprint: Fingerprint,
    /// The last second in which the certificate is good, since 1970.
    pub expires: i64,
    /// Who has the certificate's key has this one too, also after a restart; it says nothing of that key.
    pub(crate) resets: hmac::Key,
    /// Of all that was read.
    content: Fingerprint,
}

impl Credentials {
    /// Reads the files.
    pub fn open(files: TlsFiles, purpose: Purpose) -> Result<Credentials, TlsError> {
        let current = Content::read(&files)?.check(&files, purpose)?;
        let (current, _) = watch::channel(Arc::new(current));
        Ok(Credentials { files: Arc::new(files), purpose, current: Arc::new(current) })
    }

    /// What is served with now.
    pub fn current(&self) -> Arc<Current> {
        Arc::clone(&self.current.borrow())
    }

    /// Learns of every exchange.
    pub fn subscribe(&self) -> watch::Receiver<Arc<Current>> {
        self.current.subscribe()
    }

    /// Which files these are.
    pub fn files(&self) -> &TlsFiles {
        &self.files
    }

    /// Whether a client's certificate is asked for.
    pub fn asks_clients(&self) -> bool {
        self.files.client_auth != ClientAuth::None
    }

    /// Looks at the files once. What is served with from now on, if they have changed.
    pub fn look(&self) -> Result<Option<Arc<Current>>, TlsError> {
        let content = Content::read(&self.files)?;
        if content.fingerprint() == self.current().content {
            return Ok(None);
        }
        let exchanged = Arc::new(content.check(&self.files, self.purpose)?);
        self.current.send_replace(Arc::clone(&exchanged));
        Ok(Some(exchanged))
    }

    /// Looks at the files until `stop` fires. `seen` is told of every exchange, and of a failure when it is another
    /// than at the look before.
    pub async fn follow(
        self,
        stop: CancellationToken,
        seen: impl FnMut(Result<Arc<Current>, &str>),
    ) {
        follow(stop, move || self.look(), seen).await;
    }
}

/// The files as they are, unchecked.
struct Content {
    certificate: Vec<u8>,
    key: Vec<u8>,
    authorities: Vec<u8>,
}

impl Content {
    fn read(files: &TlsFiles) -> Result<Content, TlsError> {
        let authorities = files.client_auth.authorities().map(read).transpose()?;
        Ok(Content {
            certificate: read(&files.certificate)?,
            key: read(&files.key)?,
            authorities: authorities.unwrap_or_default(),
        })
    }

    fn fingerprint(&self) -> Fingerprint {
        let Content { certificate, key, authorities } = self;
        let each = [certificate, key, authorities].map(|bytes| Fingerprint::of(bytes).0);
        Fingerprint::of(each.as_flattened())
    }

    fn check(self, files: &TlsFiles, purpose: Purpose) -> Result<Current, TlsError> {
        let content = self.fingerprint();
        let chain = certificates(&files.certificate, &self.certificate)?;
        let expires = expiry_of_all(&files.certificate, &chain)?;
        let fingerprint = chain.first().map(|own| Fingerprint::of(own)).expect("at least one");
        let key = PrivateKeyDer::from_pem_slice(&self.key).map_err(|error| {
            if matches!(error, pem::Error::NoItemsFound) {
                return TlsError::NoKey { path: files.key.clone() };
            }
            not_pem(&files.key, &error)
        })?;
        let secret = hmac::Key::new(hmac::HMAC_SHA256, key.secret_der());
        let resets = hmac::sign(&secret, b"brooklet quic resets");
        let resets = hmac::Key::new(hmac::HMAC_SHA256, resets.as_ref());
        let verifier = verifier(&files.client_auth, &self.authorities)?;
        let versions: &[_] = match purpose {
            Purpose::Tls => &[&TLS13, &TLS12],
            Purpose::Quic => &[&TLS13],
        };
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(versions)
            .expect("our provider has suites for both versions")
            .with_client_cert_verifier(verifier)
            .with_single_cert(chain, key)
            .map_err(|error| {
                let mismatch = rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch);
                if error == mismatch {
                    let (certificate, key) = (files.certificate.clone(), files.key.clone());
                    return TlsError::KeyMismatch { certificate, key };
                }
                unsupported(&files.key, &error)
            })?;
        if purpose == Purpose::Quic {
            config.alpn_protocols = vec![ALPN.to_vec()];
            // Who a client is, is known only at the handshake's end: nothing is taken before it.
            if files.client_auth == ClientAuth::None {
                config.max_early_data_size = u32::MAX;
            }
        }
        Ok(Current { config: Arc::new(config), fingerprint, expires, resets, content })
    }
}

/// Who judges the certificates of clients.
fn verifier(
    client_auth: &ClientAuth,
    authorities_pem: &[u8],
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let Some(path) = client_auth.authorities() else { return Ok(Arc::new(NoClientAuth)) };
    let roots = Arc::new(authorities(path, authorities_pem)?);
    let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
    let verifier = match client_auth {
        ClientAuth::Requested(_) => verifier.allow_unauthenticated(),
        ClientAuth::None | ClientAuth::Required(_) => verifier,
    };
    verifier.build().map_err(|error| unsupported(path, &error))
}

fn unsupported(path: &Path, error: &dyn std::fmt::Display) -> TlsError {
    TlsError::Unsupported { path: path.to_owned(), reason: error.to_string() }
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    follow::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

fn not_pem(path: &Path, error: &pem::Error) -> TlsError {
    TlsError::Pem { path: path.to_owned(), reason: error.to_string() }
}

fn certificates(path: &Path, pem: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    let chain = read.map_err(|error| not_pem(path, &error))?;
    if chain.is_empty() {
        return Err(TlsError::NoCertificate { path: path.to_owned() });
    }
    Ok(chain)
}

fn authorities(path: &Path, pem: &[u8]) -> Result<RootCertStore, TlsError> {
    let mut roots = RootCertStore::empty();
    for (place, certificate) in certificates(path, pem)?.into_iter().enumerate() {
        roots.add(certificate).map_err(|error| TlsError::Certificate {
            path: path.to_owned(),
            number: place + 1,
            reason: error.to_string(),
        })?;
    }
    Ok(roots)
}

/// When the first of a chain's certificates is no longer good: clients check them all.
fn expiry_of_all(path: &Path, chain: &[CertificateDer<'_>]) -> Result<i64, TlsError> {
    let mut first = i64::MAX;
    for (place, certificate) in chain.iter().enumerate() {
        let (_, parsed) =
            X509Certificate::from_der(certificate).map_err(|error| TlsError::Certificate {
                path: path.to_owned(),
                number: place + 1,
                reason: error.to_string(),
            })?;
        first = first.min(parsed.validity().not_after.timestamp());
    }
    Ok(first)
}

#[cfg(test)]
mod tests;
