//! How brokers of one cluster know each other: by certificates of an authority that the cluster has for itself.
//!
//! **Where it sits.** Above [`issue`](super::issue), which makes certificates, and beside [`credentials`](super::credentials), which
//! serves with them. The folder that a broker keeps them in is `folder`, the text that makes a machine a
//! member is `token`.
//!
//! **What it decides.** What a broker's certificate says: its number as its common name, its cluster as its organization, and names
//! under [`DOMAIN`], which nobody looks up. A broker moves between machines, and its certificate goes with it: the address
//! that was dialled is in no certificate.
//!
//! **Never** asks who may do what, and enrols nobody over the network: a certificate is made where the authority's key is.

mod folder;
mod token;

use std::path::{Path, PathBuf};

use brooklet_types::BrokerId;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

pub use self::folder::{Addresses, ClusterIdentity, FOLDER, init, join};
pub use self::token::{JoinToken, TokenError};
use super::TlsError;
use super::identity::PeerIdentity;
use super::issue::{Authority, Issued, Purpose, Subject, self_signed};
use crate::Clock;

/// What all brokers' names end in. `internal` is reserved for what is private, so nobody else can have it.
pub const DOMAIN: &str = "brooklet.internal";
/// How clusters are called in certificates, before their ids.
const CLUSTER: &str = "brooklet cluster ";
/// How brokers are called in certificates, before their numbers.
const NODE: &str = "node-";
/// Ten years. Nobody looks after these certificates, and one that ends at night takes its broker out of the cluster. Who is not to be
/// believed any longer is shut out by another authority, and not by waiting.
const NODE_DAYS: u32 = 3650;
/// What the authority issues in its tenth year is good for ten more.
const AUTHORITY_DAYS: u32 = 2 * NODE_DAYS;
/// Characters of a cluster's id: sixteen bytes in base64.
const ID_LENGTH: usize = 22;
/// Characters of a host's name, as DNS has it.
const HOST_MAX: usize = 253;
/// Brokers that one is told of to find the cluster by. One that is up is enough.
pub const SEEDS_MAX: usize = 16;
/// The authority's files in its folder.
const AUTHORITY_CERTIFICATE: &str = "authority.pem";
const AUTHORITY_KEY: &str = "authority.key";

/// Why a broker cannot be made a cluster's member, or its folder not be read.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// A file cannot be read, written or made.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Somebody else is making this folder a member.
    #[error("{}: another process is about to make it a cluster's", data.display())]
    Busy { data: PathBuf },
    /// The folder is a member's already.
    #[error(
        "{}: belongs to cluster {cluster_id} as node {node} already; choose another --data", data.display()
    )]
    Member { data: PathBuf, cluster_id: String, node: BrokerId },
    /// What is stored in the folder is another cluster's.
    #[error(
        "{}: what is stored there is of cluster {found}, not of {wanted}; choose another --data", data.display()
    )]
    Foreign { data: PathBuf, found: String, wanted: String },
    /// A file is not as it was written.
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: String },
    /// What is called an authority is none of a cluster.
    #[error("{}: not the authority of a cluster; `brooklet cluster init` makes one", path.display())]
    NoAuthority { path: PathBuf },
    /// What the authority issued, or a token brings along, would not be believed by others.
    #[error("the certificate of node {node} would not be believed: {reason}")]
    Disbelieved { node: BrokerId, reason: String },
    /// It cannot be a cluster's id.
    #[error("{text:?} is not a cluster's id, which has 22 letters, digits, - and _")]
    Id { text: String },
    /// It cannot be a broker's number.
    #[error("a broker's number is 0 or more, and not {0}")]
    Number(BrokerId),
    /// It cannot be dialled.
    #[error(transparent)]
    Address(#[from] AddressError),
    /// There is nobody to find the cluster by, or there are more than are needed.
    #[error("a token names 1 to {SEEDS_MAX} brokers to find the cluster by, and not {0}")]
    Seeds(usize),
}

/// It cannot be dialled.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not an address, such as 10.0.0.1:9095")]
pub struct AddressError(pub String);

/// Why a certificate is not that of a broker of this cluster.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NodeError {
    /// It is no broker's.
    #[error("{subject:?} is not a broker of a cluster")]
    NoNode { subject: String },
    /// It is a broker's of another cluster.
    #[error("node {node} belongs to cluster {theirs}, and this is cluster {ours}")]
    Foreign { node: BrokerId, theirs: String, ours: String },
}

/// Whose certificate it is, of one that has been verified. One of another cluster is refused also where its authority is
/// believed: two clusters may have been given the same.
pub fn node_of(identity: &PeerIdentity, cluster_id: &str) -> Result<BrokerId, NodeError> {
    let subject = identity.subject.as_str();
    let no_node = || NodeError::NoNode { subject: subject.to_owned() };
    let rest = subject.strip_prefix("CN=").and_then(|rest| rest.strip_prefix(NODE));
    let (number, organization) =
        rest.and_then(|rest| rest.split_once(",O=")).ok_or_else(no_node)?;
    let node = node_number(number).ok_or_else(no_node)?;
    let theirs = organization.strip_prefix(CLUSTER).filter(|id| is_id(id)).ok_or_else(no_node)?;
    if theirs == cluster_id {
        return Ok(node);
    }
    let (theirs, ours) = (theirs.to_owned(), cluster_id.to_owned());
    Err(NodeError::Foreign { node, theirs, ours })
}

/// The name that the certificate of a broker has; without a number, the one that those of all brokers have.
pub fn server_name(node: Option<BrokerId>) -> String {
    node.map_or_else(|| DOMAIN.to_owned(), |node| format!("{NODE}{node}.{DOMAIN}"))
}

/// Reads `host:port`, and `[host]:port` for a host with colons.
pub fn address(text: &str) -> Result<(String, u16), AddressError> {
    let wrong = || AddressError(text.to_owned());
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = match bare {
        Some(bare) => bare,
        None if host.contains(':') => return Err(wrong()),
        None => host,
    };
    let read = (host.to_owned(), port.parse().map_err(|_| wrong())?);
    checked(&read).map(|()| read.clone()).map_err(|_| wrong())
}

/// Writes what [`address`] reads.
fn written((host, port): &(String, u16)) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Whether an address can be written down and dialled.
fn checked(it: &(String, u16)) -> Result<(), AddressError> {
    let (host, port) = it;
    let plain = |letter: char| {
        letter.is_ascii_alphanumeric() || matches!(letter, '.' | '-' | '_' | ':' | '%')
    };
    let good = (1..=HOST_MAX).contains(&host.len()) && host.chars().all(plain) && *port != 0;
    if good { Ok(()) } else { Err(AddressError(written(it))) }
}

/// A number as it is written, and in no other way: what is read may be compared as text.
fn node_number(text: &str) -> Option<BrokerId> {
    let number = text.parse().ok().map(BrokerId).filter(|node| node.0 >= 0)?;
    (number.to_string() == text).then_some(number)
}

fn is_id(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    text.len() == ID_LENGTH && text.bytes().all(plain)
}

fn checked_id(text: &str) -> Result<(), ClusterError> {
    if is_id(text) { Ok(()) } else { Err(ClusterError::Id { text: text.to_owned() }) }
}

fn checked_node(node: BrokerId) -> Result<(), ClusterError> {
    if node.0 >= 0 { Ok(()) } else { Err(ClusterError::Number(node)) }
}

/// The authority of one cluster.
struct ClusterAuthority {
    authority: Authority,
    certificate: CertificateDer<'static>,
    cluster_id: String,
}

impl ClusterAuthority {
    /// A certificate and a key for an authority that there is not yet.
    fn make(cluster_id: &str, clock: &Clock) -> Result<Issued, TlsError> {
        let subject = Subject {
            name: format!("{CLUSTER}{cluster_id}"),
            organization: None,
            hosts: Vec::new(),
            days: AUTHORITY_DAYS,
            purpose: Purpose::Authority,
        };
        self_signed(&subject, clock)
    }

    /// Reads the authority in `folder`, and from its name the cluster's id: nothing else needs to be where it is.
    fn read(folder: &Path) -> Result<ClusterAuthority, ClusterError> {
        let (path, key) = (folder.join(AUTHORITY_CERTIFICATE), folder.join(AUTHORITY_KEY));
        let authority = Authority::read(&path, &key)?;
        let certificate = CertificateDer::from_pem_file(&path).map_err(|error| {
            ClusterError::Damaged { path: path.clone(), reason: error.to_string() }
        })?;
        let identity = PeerIdentity::of(std::slice::from_ref(&certificate));
        let cluster_id = identity.as_ref().and_then(|identity| {
            let name = identity.subject.strip_prefix("CN=")?.strip_prefix(CLUSTER)?;
            is_id(name).then(|| name.to_owned())
        });
        let cluster_id = cluster_id.ok_or(ClusterError::NoAuthority { path })?;
        Ok(ClusterAuthority { authority, certificate, cluster_id })
    }

    /// A certificate and a key for one broker.
    fn issue(&self, node: BrokerId, clock: &Clock) -> Result<Issued, TlsError> {
        let subject = Subject {
            name: format!("{NODE}{node}"),
            organization: Some(format!("{CLUSTER}{}", self.cluster_id)),
            hosts: vec![server_name(Some(node)), server_name(None)],
            days: NODE_DAYS,
            purpose: Purpose::Node,
        };
        self.authority.issue(&subject, clock)
    }
}

#[cfg(test)]
mod tests;
