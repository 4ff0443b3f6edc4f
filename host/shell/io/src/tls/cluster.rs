//! Which cluster a data folder belongs to, and the certificates by which its brokers know each other.
//!
//! **Where it sits.** In `DATA/cluster/`: the cluster's authority at the broker that it began with, and everywhere the broker's own
//! certificate, its key, and a file that says who and where it is.
//!
//! **What it decides.** That nothing is enrolled over the network: a token, made where the authority is, has all that a joining
//! broker needs, for one broker number. It is a secret. The authority's key is needed for that alone and can be kept elsewhere.
//!
//! **Invariants.** Nothing is written over but a broker's own certificate, by another one for the same broker of the same cluster.
//! Keys are for their owner's eyes.

use std::fmt::{self, Write as _};
use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use brooklet_types::BrokerId;

use super::identity::PeerIdentity;
use super::issue::{Authority, Eyes, Purpose, Subject, self_signed, write_new};
use super::{ClientAuth, TlsError, TlsFiles};
use crate::Clock;

const FOLDER: &str = "cluster";
const IDENTITY: &str = "identity";
const AUTHORITY: &str = "authority.pem";
const AUTHORITY_KEY: &str = "authority.key";
/// Whose brokers are believed.
const AUTHORITIES: &str = "authorities.pem";
const NODE: &str = "node.pem";
const NODE_KEY: &str = "node.key";

/// The name that every broker's certificate has, and behind its own.
const NAME: &str = "brooklet.internal";

/// Ten years: who has the authority can make others at any time, and a cluster that stops for an expired certificate is
/// worse than one that keeps it long.
const DAYS: u32 = 3650;

/// The longest identity that is read, and the longest token.
const TEXT_BYTES_MAX: u64 = 16 << 10;
/// Brokers that a joining one is told of.
const SEEDS_MAX: usize = 16;
/// The longest name of a host (RFC 1035).
const HOST_BYTES_MAX: usize = 253;

/// What a token begins with: what it is, and in which version.
const TOKEN: &str = "brooklet-join-1.";

/// A host and a port.
pub type HostPort = (String, u16);

/// Who a broker is to its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The cluster.
    pub cluster_id: String,
    /// The broker's number.
    pub node: BrokerId,
    /// Where it listens for other brokers, over UDP and TCP.
    pub listen: HostPort,
    /// Where others reach it.
    pub advertised: HostPort,
    /// Brokers that it was told of when it joined; nobody for the one that the cluster began with.
    pub seeds: Vec<HostPort>,
    /// Its certificate, and whose are believed.
    pub files: TlsFiles,
}

/// What a joining broker needs. A secret: whoever has it is believed to be that broker.
#[derive(Clone, PartialEq, Eq)]
pub struct JoinToken {
    /// The cluster.
    pub cluster_id: String,
    /// The number of the broker that it is for.
    pub node: BrokerId,
    seeds: Vec<HostPort>,
    authorities: String,
    certificate: String,
    key: String,
}

/// Why a folder does not belong to a cluster, or cannot.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It does already.
    #[error("{} belongs to cluster {cluster_id} as broker {node}", folder.display())]
    Already { folder: PathBuf, cluster_id: String, node: BrokerId },
    /// There is no authority in it.
    #[error(
        "{} has no cluster authority; tokens are made in the data folder of the broker that began the cluster",
        folder.display()
    )]
    NoAuthority { folder: PathBuf },
    /// What says who the broker is says something else.
    #[error("{}: line {line}: {problem}", path.display())]
    Identity { path: PathBuf, line: usize, problem: String },
    /// A file cannot be read or written.
    #[error("{}: {source}", path.display())]
    File { path: PathBuf, source: io::Error },
    /// A certificate cannot be made or read.
    #[error(transparent)]
    Tls(#[from] TlsError),
}

/// Why a text is not a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It begins otherwise.
    #[error("this is no join token, which begins with {TOKEN}")]
    NotOne,
    /// A part of it is missing or mistyped.
    #[error("the join token is cut short or mistyped")]
    Damaged,
}

/// Why a certificate is not a broker's of this cluster.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the certificate of {subject:?} is not a broker's of cluster {cluster_id}")]
pub struct NotOurs {
    subject: String,
    cluster_id: String,
}

/// The name that the certificate of a broker has, or that of any, where it is not known which one answers.
pub fn server_name(node: Option<BrokerId>) -> String {
    node.map_or_else(|| NAME.to_owned(), |node| format!("node-{node}.{NAME}"))
}

/// Whose certificate this is: it was believed, so our authority has issued it.
pub fn node_of(identity: &PeerIdentity, cluster_id: &str) -> Result<BrokerId, NotOurs> {
    let subject = identity.subject.as_str();
    let node = subject.strip_prefix("CN=node-").and_then(|rest| rest.split_once(' '));
    let node = node.filter(|(_, of)| *of == of_cluster(cluster_id));
    let node = node.and_then(|(node, _)| node.parse().ok()).filter(|node| *node >= 0);
    node.map(BrokerId)
        .ok_or_else(|| NotOurs { subject: subject.to_owned(), cluster_id: cluster_id.to_owned() })
}

fn of_cluster(cluster_id: &str) -> String {
    format!("of brooklet cluster {cluster_id}")
}

/// Makes a cluster's authority, and `node` its first broker, in the data folder `data`.
pub fn found(
    data: &Path,
    cluster_id: &str,
    node: BrokerId,
    (listen, advertised): (HostPort, HostPort),
    clock: &Clock,
) -> Result<ClusterIdentity, ClusterError> {
    let folder = new_folder(data)?;
    let name = of_cluster(cluster_id).trim_start_matches("of ").to_owned();
    let subject = Subject { name, hosts: Vec::new(), days: DAYS, purpose: Purpose::Authority };
    let authority = self_signed(&subject, clock)?;
    write_new(&folder.join(AUTHORITY_KEY), authority.key.as_bytes(), Eyes::Owner)?;
    write_new(&folder.join(AUTHORITY), authority.certificate.as_bytes(), Eyes::All)?;
    let token = JoinToken::make(data, cluster_id, node, Vec::new(), clock)?;
    write(&folder, &token, listen, advertised)
}

/// Makes the data folder `data` that of a broker of the token's cluster. Where it is that already its certificate becomes the
/// token's.
pub fn join(
    data: &Path,
    token: &JoinToken,
    (listen, advertised): (HostPort, HostPort),
) -> Result<ClusterIdentity, ClusterError> {
    if let Some(known) = read(data)? {
        if (&known.cluster_id, known.node) != (&token.cluster_id, token.node) {
            return Err(already(data, known));
        }
        let folder = data.join(FOLDER);
        for (name, content, eyes) in token.files() {
            let fresh = folder.join(format!("{name}.tmp"));
            remove(&fresh)?;
            write_new(&fresh, content.as_bytes(), eyes)?;
            let path = folder.join(name);
            fs::rename(&fresh, &path).map_err(|source| ClusterError::File { path, source })?;
        }
        return Ok(known);
    }
    write(&new_folder(data)?, token, listen, advertised)
}

/// Which cluster the data folder `data` belongs to, if any.
pub fn read(data: &Path) -> Result<Option<ClusterIdentity>, ClusterError> {
    let path = data.join(FOLDER).join(IDENTITY);
    let mut text = String::new();
    let file = match fs::File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(ClusterError::File { path, source }),
    };
    let read = file.take(TEXT_BYTES_MAX).read_to_string(&mut text);
    if let Err(source) = read {
        return Err(ClusterError::File { path, source });
    }
    let parsed = parse(&text, &data.join(FOLDER));
    parsed.map(Some).map_err(|(line, problem)| ClusterError::Identity { path, line, problem })
}

fn already(data: &Path, known: ClusterIdentity) -> ClusterError {
    let ClusterIdentity { cluster_id, node, .. } = known;
    ClusterError::Already { folder: data.to_owned(), cluster_id, node }
}

/// The folder of a broker that belongs to no cluster yet. What an attempt that was cut off has left there goes.
fn new_folder(data: &Path) -> Result<PathBuf, ClusterError> {
    if let Some(known) = read(data)? {
        return Err(already(data, known));
    }
    let path = data.join(FOLDER);
    let failed = |source| ClusterError::File { path: path.clone(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(&path).map_err(failed)?;
    for name in [AUTHORITY, AUTHORITY_KEY, AUTHORITIES, NODE, NODE_KEY] {
        remove(&path.join(name))?;
    }
    Ok(path)
}

fn remove(path: &Path) -> Result<(), ClusterError> {
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(ClusterError::File { path: path.to_owned(), source })
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Writes what a broker has. Who it is comes last: with it, all is there.
fn write(
    folder: &Path,
    token: &JoinToken,
    listen: HostPort,
    advertised: HostPort,
) -> Result<ClusterIdentity, ClusterError> {
    for (name, content, eyes) in token.files() {
        write_new(&folder.join(name), content.as_bytes(), eyes)?;
    }
    let identity = ClusterIdentity {
        cluster_id: token.cluster_id.clone(),
        node: token.node,
        listen,
        advertised,
        seeds: token.seeds.clone(),
        files: files(folder),
    };
    let (fresh, path) = (folder.join("identity.tmp"), folder.join(IDENTITY));
    remove(&fresh)?;
    write_new(&fresh, identity.to_string().as_bytes(), Eyes::All)?;
    let done = fs::rename(&fresh, &path).and_then(|()| fs::File::open(folder)?.sync_all());
    done.map_err(|source| ClusterError::File { path, source })?;
    Ok(identity)
}

fn files(folder: &Path) -> TlsFiles {
    TlsFiles {
        certificate: folder.join(NODE),
        key: folder.join(NODE_KEY),
        client_auth: ClientAuth::Required(folder.join(AUTHORITIES)),
    }
}

/// The file that says who a broker is: a name and a value on each line.
impl fmt::Display for ClusterIdentity {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(formatter, "cluster {}", self.cluster_id)?;
        writeln!(formatter, "node {}", self.node)?;
        writeln!(formatter, "listen {}", shown(&self.listen))?;
        writeln!(formatter, "advertised {}", shown(&self.advertised))?;
        self.seeds.iter().try_for_each(|seed| writeln!(formatter, "seed {}", shown(seed)))
    }
}

fn shown((host, port): &HostPort) -> String {
    if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
}

/// Reads a host and a port, `HOST:PORT` or `[V6]:PORT`.
pub fn host_port(text: &str) -> Option<HostPort> {
    let (host, port) = text.rsplit_once(':')?;
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let host = bare.unwrap_or(host);
    let fits = !host.is_empty() && host.len() <= HOST_BYTES_MAX && !host.contains(['[', ']', ' ']);
    let is_clear = bare.is_some() || !host.contains(':');
    (fits && is_clear).then_some(())?;
    Some((host.to_owned(), port.parse().ok()?))
}

fn parse(text: &str, folder: &Path) -> Result<ClusterIdentity, (usize, String)> {
    let (mut cluster_id, mut node, mut listen, mut advertised) = (None, None, None, None);
    let mut seeds = Vec::new();
    let mut last = 0;
    for (line, content) in (1..).zip(text.lines()) {
        let no = |problem: &str| (line, problem.to_owned());
        last = line;
        let (name, value) = content.split_once(' ').ok_or_else(|| no("has no value"))?;
        let address = || host_port(value).ok_or_else(|| no("is no HOST:PORT"));
        match name {
            "cluster" => cluster_id = Some(value.to_owned()),
            "node" => {
                let number = value.parse().ok().filter(|it| *it >= 0);
                node = Some(BrokerId(number.ok_or_else(|| no("is no broker's number"))?));
            }
            "listen" => listen = Some(address()?),
            "advertised" => advertised = Some(address()?),
            "seed" if seeds.len() < SEEDS_MAX => seeds.push(address()?),
            _ => return Err(no("means nothing")),
        }
    }
    let missing = |what: &str| (last + 1, format!("{what} is missing"));
    Ok(ClusterIdentity {
        cluster_id: cluster_id.ok_or_else(|| missing("cluster"))?,
        node: node.ok_or_else(|| missing("node"))?,
        listen: listen.ok_or_else(|| missing("listen"))?,
        advertised: advertised.ok_or_else(|| missing("advertised"))?,
        seeds,
        files: files(folder),
    })
}

impl JoinToken {
    /// Makes one for broker `node` with the authority in the data folder `data`; `seeds` are brokers that it can ask.
    pub fn make(
        data: &Path,
        cluster_id: &str,
        node: BrokerId,
        seeds: Vec<HostPort>,
        clock: &Clock,
    ) -> Result<JoinToken, ClusterError> {
        let folder = data.join(FOLDER);
        let (certificate, key) = (folder.join(AUTHORITY), folder.join(AUTHORITY_KEY));
        if !key.exists() {
            return Err(ClusterError::NoAuthority { folder: data.to_owned() });
        }
        let authority = Authority::read(&certificate, &key)?;
        let subject = Subject {
            name: format!("node-{node} {}", of_cluster(cluster_id)),
            hosts: vec![server_name(Some(node)), server_name(None)],
            days: DAYS,
            purpose: Purpose::Node,
        };
        let issued = authority.issue(&subject, clock)?;
        let authorities = fs::read_to_string(&certificate);
        let authorities =
            authorities.map_err(|source| ClusterError::File { path: certificate, source })?;
        Ok(JoinToken {
            cluster_id: cluster_id.to_owned(),
            node,
            seeds: seeds.into_iter().take(SEEDS_MAX).collect(),
            authorities,
            certificate: issued.certificate,
            key: issued.key,
        })
    }

    fn files(&self) -> [(&'static str, &str, Eyes); 3] {
        [
            (AUTHORITIES, &self.authorities, Eyes::All),
            (NODE_KEY, &self.key, Eyes::Owner),
            (NODE, &self.certificate, Eyes::All),
        ]
    }

    /// Its parts, each a line or several, with a line that is empty between them.
    fn parts(&self) -> String {
        let mut text = format!("cluster {}\nnode {}\n", self.cluster_id, self.node);
        for seed in &self.seeds {
            // Writing to a string does not fail.
            let _ = writeln!(text, "seed {}", shown(seed));
        }
        for (_, content, _) in self.files() {
            let _ = write!(text, "\n{}\n", content.trim());
        }
        text
    }
}

/// The first bytes of a digest: what is mistyped does not have them.
fn checksum(bytes: &[u8]) -> [u8; 8] {
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, bytes);
    *digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes")
}

impl fmt::Display for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut bytes = self.parts().into_bytes();
        let checksum = checksum(&bytes);
        bytes.extend(checksum);
        write!(formatter, "{TOKEN}{}", URL_SAFE_NO_PAD.encode(bytes))
    }
}

/// Without what is secret.
impl fmt::Debug for JoinToken {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "JoinToken({} of {})", self.node, self.cluster_id)
    }
}

impl FromStr for JoinToken {
    type Err = TokenError;

    fn from_str(text: &str) -> Result<JoinToken, TokenError> {
        let text = text.trim().strip_prefix(TOKEN).ok_or(TokenError::NotOne)?;
        let fits = u64::try_from(text.len()).is_ok_and(|bytes| bytes <= TEXT_BYTES_MAX);
        let bytes = URL_SAFE_NO_PAD.decode(text).ok().filter(|_| fits);
        let bytes = bytes.ok_or(TokenError::Damaged)?;
        let (content, sum) = bytes.split_last_chunk::<8>().ok_or(TokenError::Damaged)?;
        if *sum != checksum(content) {
            return Err(TokenError::Damaged);
        }
        let content = std::str::from_utf8(content).map_err(|_| TokenError::Damaged)?;
        read_parts(content).ok_or(TokenError::Damaged)
    }
}

fn read_parts(text: &str) -> Option<JoinToken> {
    let mut parts = text.split("\n\n");
    let mut cluster_id = None;
    let mut node = None;
    let mut seeds = Vec::new();
    for line in parts.next()?.lines() {
        match line.split_once(' ')? {
            ("cluster", value) => cluster_id = Some(value.to_owned()),
            ("node", value) => node = value.parse().ok().filter(|it| *it >= 0).map(BrokerId),
            ("seed", value) if seeds.len() < SEEDS_MAX => seeds.push(host_port(value)?),
            _ => return None,
        }
    }
    let mut pem = || parts.next().map(|part| format!("{}\n", part.trim()));
    let (authorities, key, certificate) = (pem()?, pem()?, pem()?);
    Some(JoinToken { cluster_id: cluster_id?, node: node?, seeds, authorities, certificate, key })
}

#[cfg(test)]
mod tests;
