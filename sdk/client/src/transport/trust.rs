//! Whom a client believes. Files are read when the first broker is dialled that needs them.
//!
//! **Decides** whether a broker is who it should be: by its certificate's fingerprint where one is pinned, else by
//! the authorities of a file or of this machine, and its name: that of the host that was dialled, or another that is set.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use quinn::crypto::rustls::QuicClientConfig;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;

use crate::config::{IdentityFiles, Pin, TlsConfig};
use crate::error::{ConnectError, Peer};

/// What a broker must speak over QUIC.
const ALPN: &[u8] = b"kafka";

/// Whom a client believes.
pub(super) struct Trust {
    config: TlsConfig,
    pins: BTreeSet<Pin>,
    made: OnceLock<Result<Made, Arc<str>>>,
}

#[derive(Clone)]
struct Made {
    tls: Arc<ClientConfig>,
    quic: Arc<QuicClientConfig>,
}

impl Trust {
    pub(super) fn new(config: TlsConfig, pins: BTreeSet<Pin>) -> Trust {
        Trust { config, pins, made: OnceLock::new() }
    }

    /// For TLS 1.2 and 1.3 over TCP.
    pub(super) fn tls(&self, peer: &Peer) -> Result<Arc<ClientConfig>, ConnectError> {
        Ok(Arc::clone(&self.made(peer)?.tls))
    }

    /// For QUIC.
    pub(super) fn quic(&self, peer: &Peer) -> Result<Arc<QuicClientConfig>, ConnectError> {
        Ok(Arc::clone(&self.made(peer)?.quic))
    }

    /// What the certificate of `peer` has to be called.
    pub(super) fn name<'a>(&'a self, peer: &'a Peer) -> &'a str {
        self.config.server_name.as_deref().unwrap_or(&peer.address.host)
    }

    fn made(&self, peer: &Peer) -> Result<&Made, ConnectError> {
        let made = self.made.get_or_init(|| self.make().map_err(Arc::from));
        made.as_ref().map_err(|reason| {
            let (peer, reason) = (peer.clone(), Arc::clone(reason));
            ConnectError::Unusable { peer, reason }
        })
    }

    fn make(&self) -> Result<Made, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier: Arc<dyn ServerCertVerifier> = if self.pins.is_empty() {
            let roots = Arc::new(roots(self.config.authorities.as_deref())?);
            let verifier = WebPkiServerVerifier::builder_with_provider(roots, provider.clone());
            verifier.build().map_err(|error| error.to_string())?
        } else {
            Arc::new(Pinned { pins: self.pins.clone(), provider: provider.clone() })
        };
        let make = |versions: &[&'static _]| {
            let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
                .with_protocol_versions(versions)
                .expect("our provider has suites for both versions")
                .dangerous()
                .with_custom_certificate_verifier(Arc::clone(&verifier));
            match &self.config.identity {
                None => Ok(builder.with_no_client_auth()),
                Some(files) => {
                    let (chain, key) = identity(files)?;
                    let made = builder.with_client_auth_cert(chain, key);
                    made.map_err(|error| format!("{}: {error}", files.key.display()))
                }
            }
        };
        let tls = make(&[&TLS13, &TLS12])?;
        let mut quic = make(&[&TLS13])?;
        quic.alpn_protocols = vec![ALPN.to_vec()];
        quic.enable_early_data = true;
        let quic = QuicClientConfig::try_from(quic);
        let quic = quic.expect("our provider has the suite that QUIC begins with");
        Ok(Made { tls: Arc::new(tls), quic: Arc::new(quic) })
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, String> {
    let failed = |error: rustls_pki_types::pem::Error| format!("{}: {error}", path.display());
    let chain: Result<Vec<_>, _> = CertificateDer::pem_file_iter(path).map_err(failed)?.collect();
    let chain = chain.map_err(failed)?;
    if chain.is_empty() {
        return Err(format!("{}: there is no certificate in it", path.display()));
    }
    Ok(chain)
}

fn identity(
    files: &IdentityFiles,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), String> {
    let key = PrivateKeyDer::from_pem_file(&files.key);
    let key = key.map_err(|error| format!("{}: {error}", files.key.display()))?;
    Ok((certificates(&files.certificate)?, key))
}

fn roots(file: Option<&Path>) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    if let Some(path) = file {
        for certificate in certificates(path)? {
            roots.add(certificate).map_err(|error| format!("{}: {error}", path.display()))?;
        }
        return Ok(roots);
    }
    let found = rustls_native_certs::load_native_certs();
    // A machine's store has some that are too old to be read; the others count.
    roots.add_parsable_certificates(found.certs);
    if roots.is_empty() {
        let errors: Vec<String> = found.errors.iter().map(ToString::to_string).collect();
        let reason = format!("this machine trusts no authority; name one in a file {errors:?}");
        return Err(reason.trim_end_matches(" []").to_owned());
    }
    Ok(roots)
}

/// Believes whoever has one of some certificates, and its key.
#[derive(Debug)]
struct Pinned {
    pins: BTreeSet<Pin>,
    provider: Arc<CryptoProvider>,
}

/// Another certificate than the pinned ones.
#[derive(thiserror::Error)]
#[error("the broker's certificate has the fingerprint {found}, which is not pinned")]
struct NotPinned {
    found: Pin,
}

/// What rustls shows of it.
impl std::fmt::Debug for NotPinned {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, formatter)
    }
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        certificate: &CertificateDer<'_>,
        _between: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        let found = Pin::new(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"));
        if self.pins.contains(&found) {
            return Ok(ServerCertVerified::assertion());
        }
        let error = rustls::OtherError(Arc::new(NotPinned { found }));
        Err(rustls::Error::InvalidCertificate(rustls::CertificateError::Other(error)))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
