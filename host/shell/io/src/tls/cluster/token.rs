//! What makes a machine a cluster's member: one text, made where the authority's key is.
//!
//! **What it decides.** How it is written: `brooklet-join-1.`, then in base64 parts that each say how long they are, then a checksum. What
//! was cut or mistyped is told from what is something else.
//!
//! **Invariants.** 1. A token is a secret: whoever has it can be that broker. It is never in what is printed for debugging.
//! 2. What is read is what was written, or an error; nothing is allocated on the word of a length in it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_types::BrokerId;
use rustls::RootCertStore;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer, ServerName, UnixTime};

use super::{
    ClusterAuthority, ClusterError, NodeError, SEEDS_MAX, checked, checked_node, is_id, node_of,
    server_name,
};
use crate::Clock;
use crate::tls::identity::PeerIdentity;
use crate::tls::{Fingerprint, TlsError, provider};

/// How a token begins. The number is that of what follows; another one is not read.
const PREFIX: &str = "brooklet-join-1.";
/// What tokens of all times begin with.
const PREFIX_OF_ANY: &str = "brooklet-join-";
/// Characters of a token: certificates and a key have some 1,300 bytes, seeds with the longest of names 4,000 more.
const LENGTH_MAX: usize = 16 << 10;
/// Bytes of a certificate and of a key: ours have 600 and 150.
const PART_MAX: usize = 2048;
/// Bytes of the checksum: one mistyped token in 4 billion goes unnoticed, to be refused for what is in it.
const SUM_BYTES: usize = 4;

/// Everything that a machine needs to be one broker of a cluster.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    pub(super) cluster_id: String,
    pub(super) node: BrokerId,
    pub(super) seeds: Vec<(String, u16)>,
    pub(super) authority: CertificateDer<'static>,
    pub(super) certificate: CertificateDer<'static>,
    /// The certificate's key: PKCS #8 in DER.
    pub(super) key: Vec<u8>,
}

/// Why a text is not a token.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is something else.
    #[error("not a token to join with, which begins with {PREFIX}")]
    NoToken,
    /// It is one of another version of Brooklet.
    #[error("a token that this version does not read: it should begin with {PREFIX}")]
    Version,
    /// It is longer than any token.
    #[error("longer than any token: {LENGTH_MAX} characters")]
    TooLong,
    /// It was cut, or mistyped.
    #[error("the token is not whole: it was cut off or mistyped")]
    NotWhole,
    /// It is whole, and nobody of us has made it.
    #[error("the token makes no sense: {0}")]
    Nonsense(&'static str),
    /// The certificate in it is not that of the broker that it names.
    #[error("the token contradicts itself: {0}")]
    Node(#[from] NodeError),
}

impl JoinToken {
    /// Makes one for the broker `node`, with the authority whose certificate and key are in `folder`. `seeds` are brokers to find
    /// the cluster by, as others reach them. A second one for the same number has another key; both are good.
    pub fn make(
        folder: &Path,
        node: BrokerId,
        seeds: &[(String, u16)],
        clock: &Clock,
    ) -> Result<JoinToken, ClusterError> {
        checked_node(node)?;
        if !(1..=SEEDS_MAX).contains(&seeds.len()) {
            return Err(ClusterError::Seeds(seeds.len()));
        }
        seeds.iter().try_for_each(checked)?;
        let token = JoinToken::issued(&ClusterAuthority::read(folder)?, node, seeds, clock)?;
        // An authority whose key is another's would make tokens that nobody takes.
        token.check(clock)?;
        Ok(token)
    }

    /// The same, for seeds that have been looked at.
    pub(super) fn issued(
        authority: &ClusterAuthority,
        node: BrokerId,
        seeds: &[(String, u16)],
        clock: &Clock,
    ) -> Result<JoinToken, ClusterError> {
        let issued = authority.issue(node, clock)?;
        let failed =
            |error: rustls_pki_types::pem::Error| TlsError::Issue { reason: error.to_string() };
        let certificate = CertificateDer::from_pem_slice(issued.certificate.as_bytes());
        let key = PrivateKeyDer::from_pem_slice(issued.key.as_bytes()).map_err(failed)?;
        Ok(JoinToken {
            cluster_id: authority.cluster_id.clone(),
            node,
            seeds: seeds.to_vec(),
            authority: authority.certificate.clone(),
            certificate: certificate.map_err(failed)?,
            key: key.secret_der().to_vec(),
        })
    }

    /// The cluster that it leads into.
    pub fn cluster_id(&self) -> &str {
        &self.cluster_id
    }

    /// The broker that it makes of whoever has it.
    pub fn node(&self) -> BrokerId {
        self.node
    }

    /// Brokers to find the cluster by: hosts and ports.
    pub fn seeds(&self) -> &[(String, u16)] {
        &self.seeds
    }

    /// The token as it is handed on: one word, of letters, digits and `. - _`. A secret.
    pub fn to_text(&self) -> String {
        let mut bytes = Vec::new();
        put(&mut bytes, self.cluster_id.as_bytes());
        bytes.extend(self.node.0.to_be_bytes());
        bytes.push(u8::try_from(self.seeds.len()).expect("no more than SEEDS_MAX"));
        for (host, port) in &self.seeds {
            put(&mut bytes, host.as_bytes());
            bytes.extend(port.to_be_bytes());
        }
        put(&mut bytes, &self.authority);
        put(&mut bytes, &self.certificate);
        put(&mut bytes, &self.key);
        let sum = sum(&bytes);
        bytes.extend(sum);
        format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes))
    }

    /// Whether others will believe that certificate, as of now, and the key is its own.
    pub(super) fn check(&self, clock: &Clock) -> Result<(), ClusterError> {
        self.verify(clock).map_err(|error| ClusterError::Disbelieved {
            node: self.node,
            reason: error.to_string(),
        })
    }

    fn verify(&self, clock: &Clock) -> Result<(), rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add(self.authority.clone())?;
        let verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider());
        let verifier =
            verifier.build().map_err(|error| rustls::Error::General(error.to_string()))?;
        let name = ServerName::try_from(server_name(Some(self.node)));
        let name = name.expect("letters, digits, hyphens and dots");
        let millis = u64::try_from(clock.timestamp().0).unwrap_or(0);
        let time = UnixTime::since_unix_epoch(Duration::from_millis(millis));
        verifier.verify_server_cert(&self.certificate, &[], &name, &[], time)?;
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(self.key.clone()));
        CertifiedKey::from_der(vec![self.certificate.clone()], key, &provider()).map(|_| ())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let JoinToken { cluster_id, node, seeds, .. } = self;
        let mut shown = formatter.debug_struct("JoinToken");
        shown.field("cluster_id", cluster_id).field("node", node).field("seeds", seeds);
        shown.finish_non_exhaustive()
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    /// Reads what [`JoinToken::to_text`] wrote. Space within it is left out: terminals break long lines.
    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        if text.len() > LENGTH_MAX {
            return Err(TokenError::TooLong);
        }
        let text: String = text.split_ascii_whitespace().collect();
        let Some(encoded) = text.strip_prefix(PREFIX) else {
            return Err(match text.starts_with(PREFIX_OF_ANY) {
                true if PREFIX.starts_with(&text) => TokenError::NotWhole,
                true => TokenError::Version,
                false => TokenError::NoToken,
            });
        };
        let bytes = URL_SAFE_NO_PAD.decode(encoded).map_err(|_| TokenError::NotWhole)?;
        let (bytes, found) = bytes.split_last_chunk::<SUM_BYTES>().ok_or(TokenError::NotWhole)?;
        if sum(bytes) != *found {
            return Err(TokenError::NotWhole);
        }
        let token = read(bytes)?;
        let identity = PeerIdentity::of(std::slice::from_ref(&token.certificate));
        let identity = identity.ok_or(TokenError::Nonsense("there is no certificate in it"))?;
        let named = node_of(&identity, &token.cluster_id)?;
        if named != token.node {
            return Err(TokenError::Nonsense("the certificate is another broker's"));
        }
        Ok(token)
    }
}

fn sum(bytes: &[u8]) -> [u8; SUM_BYTES] {
    let [a, b, c, d, ..] = Fingerprint::of(bytes).0;
    [a, b, c, d]
}

fn put(bytes: &mut Vec<u8>, part: &[u8]) {
    let length = u16::try_from(part.len()).expect("parts are checked, and shorter than 64 KiB");
    bytes.extend(length.to_be_bytes());
    bytes.extend(part);
}

/// Takes parts from the front of what is left.
struct Parts<'a>(&'a [u8]);

impl<'a> Parts<'a> {
    fn bytes<const COUNT: usize>(&mut self) -> Result<[u8; COUNT], TokenError> {
        let (taken, rest) =
            self.0.split_first_chunk().ok_or(TokenError::Nonsense("it ends too early"))?;
        self.0 = rest;
        Ok(*taken)
    }

    fn part(&mut self, max: usize) -> Result<&'a [u8], TokenError> {
        let length = usize::from(u16::from_be_bytes(self.bytes()?));
        if length > max {
            return Err(TokenError::Nonsense("a part is too long"));
        }
        let (taken, rest) =
            self.0.split_at_checked(length).ok_or(TokenError::Nonsense("it ends too early"))?;
        self.0 = rest;
        Ok(taken)
    }

    fn text(&mut self, max: usize) -> Result<String, TokenError> {
        let text = std::str::from_utf8(self.part(max)?);
        text.map(str::to_owned).map_err(|_| TokenError::Nonsense("a name is not text"))
    }
}

fn read(bytes: &[u8]) -> Result<JoinToken, TokenError> {
    let mut parts = Parts(bytes);
    let cluster_id = parts.text(super::ID_LENGTH)?;
    if !is_id(&cluster_id) {
        return Err(TokenError::Nonsense("the cluster's id is none"));
    }
    let node = BrokerId(i32::from_be_bytes(parts.bytes()?));
    checked_node(node).map_err(|_| TokenError::Nonsense("the broker's number is none"))?;
    let [count] = parts.bytes()?;
    if !(1..=SEEDS_MAX).contains(&usize::from(count)) {
        return Err(TokenError::Nonsense("it names too few or too many brokers"));
    }
    let mut seeds = Vec::new();
    for _ in 0..count {
        let seed = (parts.text(super::HOST_MAX)?, u16::from_be_bytes(parts.bytes()?));
        checked(&seed).map_err(|_| TokenError::Nonsense("a broker's address is none"))?;
        seeds.push(seed);
    }
    let authority = CertificateDer::from(parts.part(PART_MAX)?.to_vec());
    let certificate = CertificateDer::from(parts.part(PART_MAX)?.to_vec());
    let key = parts.part(PART_MAX)?.to_vec();
    if !parts.0.is_empty() {
        return Err(TokenError::Nonsense("there is more behind its end"));
    }
    Ok(JoinToken { cluster_id, node, seeds, authority, certificate, key })
}

#[cfg(test)]
mod tests;
