//! TLS: certificates and keys from files, and the handshakes of clients.
//!
//! **Where it sits.** Between a listening socket and a connection: what comes out is a stream of bytes and,
//! where a client has shown a certificate, whose it is.
//!
//! **What it decides.** Which files are good enough to be served with ([`credentials`]), how long a
//! handshake may take and how many there are at once ([`handshake`]), how a certificate's
//! owner is called ([`identity`]), and how brokers of one cluster know each other ([`cluster`]).
//!
//! **Never** reads what is sent over a stream, and never asks who may do what. Revocation lists are not
//! consulted: a client's certificate is taken back by taking back its authority.

pub mod cluster;
pub mod credentials;
pub mod handshake;
pub mod identity;
pub mod issue;

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

/// What a client must offer on QUIC. Over TCP nothing is negotiated: Kafka's clients offer nothing.
pub const ALPN: &[u8] = b"kafka";

/// Where a listener's certificate and its key are, and whose clients it takes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsFiles {
    /// The certificate, and behind it those between it and its authority, in PEM.
    pub certificate: PathBuf,
    /// The certificate's key in PEM: PKCS #8, PKCS #1 or SEC 1, without a password.
    pub key: PathBuf,
    /// Which clients need a certificate.
    pub client_auth: ClientAuth,
}

/// Whether clients show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked.
    None,
    /// They are asked; one that shows a certificate must have it from an authority in the file.
    Requested(PathBuf),
    /// They are asked, and not served without.
    Required(PathBuf),
}

impl ClientAuth {
    /// The file with the authorities whose clients are taken.
    pub fn authorities(&self) -> Option<&Path> {
        match self {
            ClientAuth::None => None,
            ClientAuth::Requested(file) | ClientAuth::Required(file) => Some(file),
        }
    }
}

/// SHA-256 of a certificate as it is sent (DER). Written as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Fingerprint(pub [u8; 32]);

impl Fingerprint {
    /// The fingerprint of one certificate.
    pub fn of(certificate: &[u8]) -> Fingerprint {
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, certificate);
        Fingerprint(digest.as_ref().try_into().expect("SHA-256 has 32 bytes"))
    }
}

impl fmt::Display for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Fingerprint {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

/// Why files cannot be served with.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It is not there, or not ours to read, or longer than any certificate.
    #[error("read {}: {source}", path.display())]
    Read { path: PathBuf, source: io::Error },
    /// It cannot be written.
    #[error("write {}: {source}", path.display())]
    Write { path: PathBuf, source: io::Error },
    /// It is not PEM, or breaks off.
    #[error("{}: not in PEM: {reason}", path.display())]
    Pem { path: PathBuf, reason: String },
    /// It is PEM, and there is no certificate in it.
    #[error("{}: there is no certificate in it", path.display())]
    NoCertificate { path: PathBuf },
    /// It is PEM, and there is no key in it.
    #[error("{}: there is no private key in it that is without a password", path.display())]
    NoKey { path: PathBuf },
    /// What is called a certificate is none.
    #[error("{}: certificate {number}: {reason}", path.display())]
    Certificate { path: PathBuf, number: usize, reason: String },
    /// The key is another certificate's.
    #[error("{} is not the key of {}", key.display(), certificate.display())]
    KeyMismatch { certificate: PathBuf, key: PathBuf },
    /// The key or the certificate is of a kind that is not served with.
    #[error("{}: {reason}", path.display())]
    Unsupported { path: PathBuf, reason: String },
    /// A certificate cannot be made.
    #[error("make a certificate: {reason}")]
    Issue { reason: String },
}

/// The one provider of cryptography, named wherever a configuration is made: other crates may bring
/// another one along, and then nobody's default would be known.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}
