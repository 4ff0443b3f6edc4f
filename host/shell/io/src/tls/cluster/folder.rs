//! The folder `cluster/` of a data folder: that a broker is a cluster's, which number it has, and what proves it.
//!
//! ```text
//! cluster/
//! ├── identity         cluster, number, addresses, seeds: plain lines, which an operator may edit
//! ├── node.pem         the broker's certificate and its key
//! ├── authorities.pem  the authorities whose brokers are believed
//! ├── authority.pem    where the cluster was begun: the authority, which may be moved to a safe place,
//! └── authority.key    its key with it
//! ```
//!
//! **What it decides.** When a folder may become a cluster's: it belongs to none, or to the same one under the same number, and then
//! its certificate is renewed. `identity` is of lines and not of RON: six of them need no parser of a language.
//! A certificate and its key are in one file, so that one renaming exchanges both.
//!
//! **Invariants.** 1. The folder is there whole, or not at all: it is renamed into its place. A renewal exchanges one file after the
//! other, and fits together in between. 2. All of it is durable before anybody hears of success.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use brooklet_types::BrokerId;
use rustix::fs::FlockOperation;
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;

use super::{
    AUTHORITY_CERTIFICATE, AUTHORITY_KEY, ClusterAuthority, ClusterError, JoinToken, SEEDS_MAX,
    address, checked, checked_id, checked_node, is_id, node_number, node_of, written,
};
use crate::tls::identity::PeerIdentity;
use crate::tls::issue::{Eyes, write_new};
use crate::tls::{ClientAuth, TlsError, TlsFiles};
use crate::{Clock, follow};

/// The folder's name in a data folder; the authority is looked for in it unless it has been moved.
pub const FOLDER: &str = "cluster";
/// Where it is made before it is there.
const FRESH: &str = "cluster.new";
/// Where a broker keeps the id of the cluster that its data is of.
const STORED: &str = "cluster-id";
const IDENTITY: &str = "identity";
const NODE: &str = "node.pem";
const AUTHORITIES: &str = "authorities.pem";
/// The format of the lines in `identity`.
const FORMAT: &str = "1";

/// Where other brokers reach a broker: hosts and ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Addresses {
    /// What it listens on.
    pub listen: (String, u16),
    /// What others are told.
    pub advertised: (String, u16),
}

/// A broker as one of its cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterIdentity {
    /// The cluster: 22 characters.
    pub cluster_id: String,
    /// This broker.
    pub node: BrokerId,
    /// Where other brokers reach it.
    pub addresses: Addresses,
    /// Brokers to find the cluster by: hosts and ports. None where the cluster was begun.
    pub seeds: Vec<(String, u16)>,
    /// What it serves other brokers with, and shows them; all of them have to show theirs. Certificate and key are in one file.
    pub files: TlsFiles,
}

impl ClusterIdentity {
    /// Reads what `data` is in a cluster; none if it is in none. A folder that is not whole is an error: a broker of a cluster
    /// must not start as one alone.
    pub fn read(data: &Path) -> Result<Option<ClusterIdentity>, ClusterError> {
        let Some(identity) = recorded(data)? else { return Ok(None) };
        let path = identity.files.certificate.clone();
        let content = follow::read(&path).map_err(reading(&path))?;
        let damaged = |reason: String| ClusterError::Damaged { path: path.clone(), reason };
        let own = CertificateDer::from_pem_slice(&content);
        let own = own.map_err(|error| damaged(error.to_string()))?;
        let own = PeerIdentity::of(&[own]);
        let own = own.ok_or_else(|| damaged("there is no certificate in it".to_owned()))?;
        // Files of two folders may have been mixed by hand.
        match node_of(&own, &identity.cluster_id) {
            Ok(node) if node == identity.node => Ok(Some(identity)),
            Ok(node) => {
                let ours = identity.node;
                Err(damaged(format!("the certificate of node {node}, and this is node {ours}")))
            }
            Err(error) => Err(damaged(error.to_string())),
        }
    }
}

/// Begins a cluster: makes its authority, and of `data` its broker `node`. Nothing that is there is written over.
pub fn init(
    data: &Path,
    cluster_id: &str,
    node: BrokerId,
    addresses: &Addresses,
    clock: &Clock,
) -> Result<ClusterIdentity, ClusterError> {
    checked_id(cluster_id)?;
    checked_node(node)?;
    addresses.check()?;
    let _alone = alone(data)?;
    if let Some(known) = recorded(data)? {
        return Err(known.member(data));
    }
    check_stored(data, cluster_id)?;
    establish(data, |fresh| {
        let made = ClusterAuthority::make(cluster_id, clock)?;
        write_new(&fresh.join(AUTHORITY_KEY), made.key.as_bytes(), Eyes::Owner)?;
        write_new(&fresh.join(AUTHORITY_CERTIFICATE), made.certificate.as_bytes(), Eyes::All)?;
        let authority = ClusterAuthority::read(fresh)?;
        let own = JoinToken::issued(&authority, node, &[], clock)?;
        write_member(fresh, &own, addresses, write_new)
    })?;
    whole(data)
}

/// Makes of `data` the broker that `token` is for. Where it is that broker already, what it proves it with and its addresses are
/// renewed; whoever follows its files need not start anew.
pub fn join(
    data: &Path,
    token: &JoinToken,
    addresses: &Addresses,
    clock: &Clock,
) -> Result<ClusterIdentity, ClusterError> {
    addresses.check()?;
    token.check(clock)?;
    let _alone = alone(data)?;
    match recorded(data)? {
        Some(known) if known.cluster_id == token.cluster_id && known.node == token.node => {
            write_member(&data.join(FOLDER), token, addresses, replace)?;
            sync_folder(&data.join(FOLDER))?;
        }
        Some(known) => return Err(known.member(data)),
        None => {
            check_stored(data, &token.cluster_id)?;
            establish(data, |fresh| write_member(fresh, token, addresses, write_new))?;
        }
    }
    whole(data)
}

/// What has just been written, read as a broker reads it.
fn whole(data: &Path) -> Result<ClusterIdentity, ClusterError> {
    let missing = || {
        let path = data.join(FOLDER).join(IDENTITY);
        ClusterError::Damaged { path, reason: "taken away as soon as it was written".to_owned() }
    };
    ClusterIdentity::read(data)?.ok_or_else(missing)
}

/// Keeps others from making the folder a cluster's meanwhile. A running broker is not disturbed: its lock is another.
fn alone(data: &Path) -> Result<File, ClusterError> {
    fs::create_dir_all(data).map_err(writing(data))?;
    let folder = File::open(data).map_err(reading(data))?;
    match rustix::fs::flock(&folder, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(folder),
        Err(rustix::io::Errno::WOULDBLOCK) => Err(ClusterError::Busy { data: data.to_owned() }),
        Err(error) => Err(writing(data)(error.into()).into()),
    }
}

/// Refuses a folder whose data is another cluster's.
fn check_stored(data: &Path, wanted: &str) -> Result<(), ClusterError> {
    let path = data.join(STORED);
    let found = match follow::read(&path) {
        Ok(found) => String::from_utf8_lossy(&found).into_owned(),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(reading(&path)(error).into()),
    };
    if found == wanted {
        return Ok(());
    }
    Err(ClusterError::Foreign { data: data.to_owned(), found, wanted: wanted.to_owned() })
}

/// Has the folder filled under another name, and renames it when all of it is on the disk.
fn establish(
    data: &Path,
    fill: impl FnOnce(&Path) -> Result<(), ClusterError>,
) -> Result<(), ClusterError> {
    let fresh = data.join(FRESH);
    match fs::remove_dir_all(&fresh) {
        // What was left by one that was cut off.
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(writing(&fresh)(error).into()),
    }
    fs::DirBuilder::new().mode(0o700).create(&fresh).map_err(writing(&fresh))?;
    fill(&fresh)?;
    sync_folder(&fresh)?;
    let folder = data.join(FOLDER);
    fs::rename(&fresh, &folder).map_err(writing(&folder))?;
    sync_folder(data)
}

/// Writes what a broker has of its cluster. Whichever of the files is still an older one: it goes with the others.
fn write_member(
    folder: &Path,
    token: &JoinToken,
    addresses: &Addresses,
    write: impl Fn(&Path, &[u8], Eyes) -> Result<(), TlsError>,
) -> Result<(), ClusterError> {
    let authorities = believed(&folder.join(AUTHORITIES), &token.authority);
    write(&folder.join(AUTHORITIES), authorities.as_bytes(), Eyes::All)?;
    let own = pem("CERTIFICATE", &token.certificate) + &pem("PRIVATE KEY", &token.key);
    write(&folder.join(NODE), own.as_bytes(), Eyes::Owner)?;
    let identity = lines(token, addresses);
    Ok(write(&folder.join(IDENTITY), identity.as_bytes(), Eyes::All)?)
}

/// The authorities that are believed, with one more unless it is among them: while one takes the place of another, brokers have
/// certificates of both. What cannot be read was of no use.
fn believed(path: &Path, authority: &CertificateDer<'_>) -> String {
    let there = follow::read(path).unwrap_or_default();
    let there = CertificateDer::pem_slice_iter(&there).filter_map(Result::ok);
    let mut all: Vec<CertificateDer<'_>> = there.collect();
    if !all.contains(authority) {
        all.push(authority.clone());
    }
    all.iter().map(|certificate| pem("CERTIFICATE", certificate)).collect()
}

fn pem(label: &str, content: &[u8]) -> String {
    /// As RFC 7468 has it.
    const LINE: usize = 64;
    let encoded = STANDARD.encode(content);
    let mut text = format!("-----BEGIN {label}-----\n");
    for line in encoded.as_bytes().chunks(LINE) {
        text.extend(line.iter().copied().map(char::from));
        text.push('\n');
    }
    text + &format!("-----END {label}-----\n")
}

/// Exchanges a file for another, whole.
fn replace(path: &Path, content: &[u8], eyes: Eyes) -> Result<(), TlsError> {
    let fresh = path.with_extension("tmp");
    match fs::remove_file(&fresh) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(writing(&fresh)(error)),
    }
    write_new(&fresh, content, eyes)?;
    fs::rename(&fresh, path).map_err(writing(path))
}

fn sync_folder(path: &Path) -> Result<(), ClusterError> {
    let synced = File::open(path).and_then(|folder| folder.sync_all());
    Ok(synced.map_err(writing(path))?)
}

fn reading(path: &Path) -> impl Fn(io::Error) -> TlsError {
    move |source| TlsError::Read { path: path.to_owned(), source }
}

fn writing(path: &Path) -> impl Fn(io::Error) -> TlsError {
    move |source| TlsError::Write { path: path.to_owned(), source }
}

impl Addresses {
    fn check(&self) -> Result<(), ClusterError> {
        checked(&self.listen)?;
        Ok(checked(&self.advertised)?)
    }
}

impl ClusterIdentity {
    fn member(self, data: &Path) -> ClusterError {
        let ClusterIdentity { cluster_id, node, .. } = self;
        ClusterError::Member { data: data.to_owned(), cluster_id, node }
    }
}

/// What `identity` says.
fn lines(token: &JoinToken, addresses: &Addresses) -> String {
    let mut text = format!(
        "# Written by `brooklet cluster`. Addresses and seeds may be edited; the broker reads them when it starts.\n\
         format = {FORMAT}\ncluster = {}\nnode = {}\nlisten = {}\nadvertised = {}\n",
        token.cluster_id,
        token.node,
        written(&addresses.listen),
        written(&addresses.advertised),
    );
    for seed in &token.seeds {
        text += &format!("seed = {}\n", written(seed));
    }
    text
}

/// What is recorded of a folder, whatever has become of its certificate; none of one that belongs to no cluster.
fn recorded(data: &Path) -> Result<Option<ClusterIdentity>, ClusterError> {
    let folder = data.join(FOLDER);
    let path = folder.join(IDENTITY);
    let damaged = |reason: String| ClusterError::Damaged { path: path.clone(), reason };
    let content = match follow::read(&path) {
        Ok(content) => content,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if folder.try_exists().map_err(reading(&folder))? {
                return Err(damaged("missing; restore it from a backup".to_owned()));
            }
            return Ok(None);
        }
        Err(error) => return Err(reading(&path)(error).into()),
    };
    let text = String::from_utf8(content).map_err(|_| damaged("not text".to_owned()))?;
    parsed(&text, &folder).map(Some).map_err(damaged)
}

fn parsed(text: &str, folder: &Path) -> Result<ClusterIdentity, String> {
    let mut values = BTreeMap::new();
    let mut seeds = Vec::new();
    let lines = text.lines().map(str::trim).enumerate();
    for (number, line) in lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#')) {
        let at = |reason: &str| format!("line {}: {reason}", number + 1);
        let Some((name, value)) = line.split_once('=') else {
            return Err(at("not a name, =, and a value"));
        };
        let (name, value) = (name.trim(), value.trim());
        match name {
            "seed" if seeds.len() == SEEDS_MAX => return Err(at("too many seeds")),
            "seed" => seeds.push(address(value).map_err(|error| at(&error.to_string()))?),
            "format" | "cluster" | "node" | "listen" | "advertised" => {
                if values.insert(name, value).is_some() {
                    return Err(at(&format!("{name} for a second time")));
                }
            }
            _ => return Err(at(&format!("nothing is called {name}"))),
        }
    }
    let value = |name: &str| values.get(name).copied().ok_or(format!("{name} is missing"));
    let dialled = |name: &str| address(value(name)?).map_err(|error| format!("{name}: {error}"));
    if value("format")? != FORMAT {
        return Err(format!("format {}, which this version does not read", value("format")?));
    }
    let cluster_id = value("cluster")?;
    if !is_id(cluster_id) {
        return Err(format!("cluster: {cluster_id:?} is not a cluster's id"));
    }
    let node = value("node")?;
    let node = node_number(node).ok_or(format!("node: {node:?} is not a broker's number"))?;
    let own = folder.join(NODE);
    Ok(ClusterIdentity {
        cluster_id: cluster_id.to_owned(),
        node,
        addresses: Addresses { listen: dialled("listen")?, advertised: dialled("advertised")? },
        seeds,
        files: TlsFiles {
            certificate: own.clone(),
            key: own,
            client_auth: ClientAuth::Required(folder.join(AUTHORITIES)),
        },
    })
}

#[cfg(test)]
mod tests;
