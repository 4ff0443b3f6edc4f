//! A disk in memory, for tests and as the base of the simulation's.
//!
//! **Where it sits.** Beside the real disk; it is handed out only in tests.
//!
//! **What it decides.** What is left after a loss of power: for each file the content of its last
//! sync, under the names of the last sync of its folder. [`MemoryDisk::crash`] keeps a prefix of
//! the writes since then, as an operating system does that was writing back while the power went;
//! [`MemoryDisk::crash_by_page`] keeps any of them, page by page. [`MemoryDisk::settle_names`] before either
//! does the same to names.
//!
//! **What it never does.** Order the write-back of different files: each file keeps its own prefix.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
#[expect(
    clippy::disallowed_types,
    reason = "stands in for the kernel, which every thread may ask"
)]
use std::sync::Mutex;
use std::sync::{Arc, MutexGuard, PoisonError};

use brooklet_types::ByteSize;

use super::Disk;

mod file;

/// A folder tree in memory. Clones share it.
#[derive(Clone)]
pub struct MemoryDisk {
    #[expect(clippy::disallowed_types, reason = "stands in for the kernel")]
    tree: Arc<Mutex<Tree>>,
}

/// An open file of a [`MemoryDisk`].
#[derive(Clone)]
pub struct MemoryFile {
    #[expect(clippy::disallowed_types, reason = "stands in for the kernel")]
    tree: Arc<Mutex<Tree>>,
    node: u64,
}

impl fmt::Debug for MemoryDisk {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("MemoryDisk")
    }
}

impl fmt::Debug for MemoryFile {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "MemoryFile({})", self.node)
    }
}

struct Tree {
    /// Name to node, as a running program sees it.
    names: BTreeMap<String, u64>,
    /// Name to node, as a loss of power leaves it.
    names_durable: BTreeMap<String, u64>,
    /// What happened to names since the last sync of their folder, oldest first.
    names_pending: Vec<NameChange>,
    /// Folders that were removed and not created again.
    removed: BTreeSet<String>,
    nodes: BTreeMap<u64, Node>,
    next_node: u64,
    capacity: u64,
    writes: u64,
    /// How many more changes there will be before everything is refused.
    fuse: Option<u64>,
}

/// What a disk writes whole or not at all.
const PAGE_BYTES: usize = 4096;

#[derive(Clone, Default)]
struct Node {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    /// Changes since the last sync, oldest first.
    pending: Vec<Change>,
}

#[derive(Clone)]
enum Change {
    Write { position: usize, bytes: Vec<u8> },
    Resize { len: usize },
}

#[derive(Clone)]
enum NameChange {
    Created { path: String, node: u64 },
    Renamed { from: String, to: String },
    Removed { path: String },
}

impl NameChange {
    fn apply(self, names: &mut BTreeMap<String, u64>) {
        match self {
            NameChange::Created { path, node } => {
                names.insert(path, node);
            }
            NameChange::Renamed { from, to } => {
                if let Some(node) = names.remove(&from) {
                    names.insert(to, node);
                }
            }
            NameChange::Removed { path } => {
                names.remove(&path);
            }
        }
    }

    fn path(&self) -> &str {
        match self {
            NameChange::Created { path, .. } | NameChange::Removed { path } => path,
            NameChange::Renamed { to, .. } => to,
        }
    }
}

impl Node {
    fn change(bytes: &mut Vec<u8>, change: &Change) {
        match change {
            Change::Write { position, bytes: written } => {
                let end = position + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*position..end].copy_from_slice(written);
            }
            Change::Resize { len } => bytes.resize(*len, 0),
        }
    }

    fn settle_by_page(&mut self, pick: &mut impl FnMut(usize) -> usize) {
        let mut moments = vec![std::mem::take(&mut self.durable)];
        for change in std::mem::take(&mut self.pending) {
            let mut next = moments.last().expect("begins with one").clone();
            Node::change(&mut next, &change);
            moments.push(next);
        }
        let changes = moments.len() - 1;
        let mut bytes = vec![0; moments[pick(changes)].len()];
        for (number, page) in bytes.chunks_mut(PAGE_BYTES).enumerate() {
            let source = &moments[pick(changes)];
            let start = (number * PAGE_BYTES).min(source.len());
            let end = (start + page.len()).min(source.len());
            page[..end - start].copy_from_slice(&source[start..end]);
        }
        self.durable.clone_from(&bytes);
        self.bytes = bytes;
    }

    fn apply(&mut self, change: Change) {
        Node::change(&mut self.bytes, &change);
        self.pending.push(change);
    }
}

impl Default for MemoryDisk {
    fn default() -> MemoryDisk {
        MemoryDisk::new(ByteSize::gib(1))
    }
}

impl MemoryDisk {
    /// An empty disk on which `capacity` bytes fit.
    pub fn new(capacity: ByteSize) -> MemoryDisk {
        let tree = Tree {
            names: BTreeMap::new(),
            names_durable: BTreeMap::new(),
            names_pending: Vec::new(),
            removed: BTreeSet::new(),
            nodes: BTreeMap::new(),
            next_node: 0,
            capacity: capacity.0,
            writes: 0,
            fuse: None,
        };
        #[expect(clippy::disallowed_types, reason = "stands in for the kernel")]
        let tree = Mutex::new(tree);
        MemoryDisk { tree: Arc::new(tree) }
    }

    /// Changes how much fits, to play a disk that fills up.
    pub fn set_capacity(&self, capacity: ByteSize) {
        self.tree().capacity = capacity.0;
    }

    /// After so many more changes to files and names each is refused, as if the process had been killed
    /// there; a crash lifts it.
    pub fn refuse_after(&self, changes: u64) {
        self.tree().fuse = Some(changes);
    }

    /// Some changes of names since the last sync of their folder are on the disk all the same: those that
    /// `pick` picks, asked about one after the other. To be followed by a crash.
    pub fn settle_names(&self, mut pick: impl FnMut() -> bool) {
        let mut tree = self.tree();
        let Tree { names_durable, names_pending, .. } = &mut *tree;
        for change in std::mem::take(names_pending).into_iter().filter(|_| pick()) {
            change.apply(names_durable);
        }
    }

    /// The power goes. Of each file's unsynced changes the first `keep(path, count)` are kept, the
    /// last of these torn after half its bytes when `tear` says so. Open files become strangers.
    pub fn crash(&self, mut keep: impl FnMut(&str, usize) -> usize, tear: bool) {
        let mut tree = self.tree();
        tree.restart();
        let names = tree.names.clone();
        let mut kept = BTreeMap::new();
        for (name, number) in &names {
            let Some(mut node) = tree.nodes.remove(number) else { continue };
            let count = keep(name, node.pending.len()).min(node.pending.len());
            let mut bytes = std::mem::take(&mut node.durable);
            for (index, change) in node.pending.iter().take(count).enumerate() {
                let torn = tear && index + 1 == count;
                if let (true, Change::Write { position, bytes: written }) = (torn, change) {
                    let half = written[..written.len() / 2].to_vec();
                    let change = Change::Write { position: *position, bytes: half };
                    Node::change(&mut bytes, &change);
                } else {
                    Node::change(&mut bytes, change);
                }
            }
            kept.insert(*number, Node { durable: bytes.clone(), bytes, pending: Vec::new() });
        }
        tree.nodes = kept;
    }

    /// The power goes, and each page of each file is what it was at some moment since its last
    /// sync, as is the file's length: write-back keeps no order. `pick(count)` chooses the moment,
    /// by how many of `count` changes had happened.
    pub fn crash_by_page(&self, mut pick: impl FnMut(usize) -> usize) {
        let mut tree = self.tree();
        tree.restart();
        let named: BTreeSet<u64> = tree.names.values().copied().collect();
        tree.nodes.retain(|number, _| named.contains(number));
        for node in tree.nodes.values_mut() {
            node.settle_by_page(&mut pick);
        }
    }

    /// Everything in the tree survives: what a `kill -9` leaves, where the kernel lives on.
    pub fn settle(&self) {
        let mut tree = self.tree();
        tree.names_durable = tree.names.clone();
        tree.names_pending.clear();
        tree.fuse = None;
        for node in tree.nodes.values_mut() {
            node.durable = node.bytes.clone();
            node.pending.clear();
        }
    }

    /// A disk of its own with the same content, synced or not.
    pub fn copy(&self) -> MemoryDisk {
        let tree = self.tree();
        let copy = MemoryDisk::new(ByteSize(tree.capacity));
        let mut fresh = copy.tree();
        fresh.names = tree.names.clone();
        fresh.names_durable = tree.names_durable.clone();
        fresh.names_pending = tree.names_pending.clone();
        fresh.next_node = tree.next_node;
        for (number, node) in &tree.nodes {
            fresh.nodes.insert(*number, node.clone());
        }
        drop(fresh);
        copy
    }

    /// Every file with its content.
    pub fn files(&self) -> BTreeMap<String, Vec<u8>> {
        let tree = self.tree();
        let named = tree.names.iter();
        named.map(|(name, node)| (name.clone(), tree.nodes[node].bytes.clone())).collect()
    }

    /// Replaces a file's content behind everyone's back, or creates it.
    pub fn put(&self, path: &str, bytes: Vec<u8>) {
        let mut tree = self.tree();
        let number = match tree.names.get(path) {
            Some(number) => *number,
            None => tree.add(path),
        };
        tree.names_durable.insert(path.to_owned(), number);
        tree.nodes.insert(number, Node { durable: bytes.clone(), bytes, pending: Vec::new() });
    }

    /// How many changes were made to files: the points at which a crash test may cut.
    pub fn writes(&self) -> u64 {
        self.tree().writes
    }

    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tree {
    fn add(&mut self, path: &str) -> u64 {
        let number = self.next_node;
        self.next_node += 1;
        self.nodes.insert(number, Node::default());
        self.names.insert(path.to_owned(), number);
        self.names_pending.push(NameChange::Created { path: path.to_owned(), node: number });
        number
    }

    /// What a process finds after the power has come back.
    fn restart(&mut self) {
        self.names = self.names_durable.clone();
        self.names_pending.clear();
        self.removed.clear();
        self.fuse = None;
    }

    /// Burns the fuse, if there is one, a little further.
    fn burn(&mut self) -> io::Result<()> {
        let Some(left) = &mut self.fuse else { return Ok(()) };
        *left = left.checked_sub(1).ok_or_else(|| io::Error::other("refused, as asked for"))?;
        Ok(())
    }

    fn used(&self) -> u64 {
        self.nodes.values().map(|node| node.bytes.len() as u64).sum()
    }

    /// Refuses what would not fit.
    fn reserve(&self, node: u64, end: usize) -> io::Result<()> {
        let grows = end.saturating_sub(self.nodes.get(&node).map_or(0, |node| node.bytes.len()));
        if grows > 0 && self.used() + grows as u64 > self.capacity {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    fn change(&mut self, node: u64, change: Change) -> io::Result<()> {
        self.burn()?;
        self.writes += 1;
        let node = self.nodes.get_mut(&node).ok_or_else(|| not_found("file of a crashed disk"))?;
        node.apply(change);
        Ok(())
    }
}

fn not_found(path: &str) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("{path}: not found"))
}

fn folder_of(path: &str) -> &str {
    path.rsplit_once('/').map_or("", |(folder, _)| folder)
}

impl Disk for MemoryDisk {
    type File = MemoryFile;

    fn open(&self, path: &str) -> io::Result<MemoryFile> {
        let node = self.tree().names.get(path).copied().ok_or_else(|| not_found(path))?;
        Ok(MemoryFile { tree: Arc::clone(&self.tree), node })
    }

    fn create(&self, path: &str) -> io::Result<MemoryFile> {
        let mut tree = self.tree();
        let node = match tree.names.get(path).copied() {
            Some(node) => {
                tree.change(node, Change::Resize { len: 0 })?;
                node
            }
            None => {
                tree.burn()?;
                tree.add(path)
            }
        };
        Ok(MemoryFile { tree: Arc::clone(&self.tree), node })
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.tree().removed.remove(path);
        Ok(())
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let tree = self.tree();
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        let below = tree.names.keys().filter_map(|name| name.strip_prefix(&prefix));
        let mut names: Vec<_> =
            below.filter_map(|rest| rest.split('/').next()).map(str::to_owned).collect();
        names.dedup();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        let mut tree = self.tree();
        tree.burn()?;
        if let Some(node) = tree.names.remove(from) {
            tree.names.insert(to.to_owned(), node);
            let (from, to) = (from.to_owned(), to.to_owned());
            tree.names_pending.push(NameChange::Renamed { from, to });
            return Ok(());
        }
        let prefix = format!("{from}/");
        let moved: Vec<_> =
            tree.names.keys().filter(|name| name.starts_with(&prefix)).cloned().collect();
        if moved.is_empty() {
            return Err(not_found(from));
        }
        for name in moved {
            let node = tree.names.remove(&name).expect("listed under the same lock");
            tree.names.insert(format!("{to}/{}", &name[prefix.len()..]), node);
        }
        Ok(())
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let mut tree = self.tree();
        tree.burn()?;
        let prefix = format!("{path}/");
        let Tree { names, names_pending, removed, .. } = &mut *tree;
        names.retain(|name, _| {
            if name.starts_with(&prefix) {
                removed.insert(path.to_owned());
            }
            let stays = name != path && !name.starts_with(&prefix);
            if !stays {
                names_pending.push(NameChange::Removed { path: name.clone() });
            }
            stays
        });
        Ok(())
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        let mut tree = self.tree();
        tree.burn()?;
        if tree.removed.contains(folder) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let Tree { names, names_durable, names_pending, .. } = &mut *tree;
        names_pending.retain(|change| folder_of(change.path()) != folder);
        names_durable.retain(|name, _| folder_of(name) != folder || names.contains_key(name));
        for (name, node) in names.iter().filter(|(name, _)| folder_of(name) == folder) {
            names_durable.insert(name.clone(), *node);
        }
        Ok(())
    }

    fn free(&self) -> io::Result<ByteSize> {
        let tree = self.tree();
        Ok(ByteSize(tree.capacity.saturating_sub(tree.used())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::DiskFile;

    #[test]
    fn what_was_not_synced_is_gone_after_a_crash() {
        let disk = MemoryDisk::default();
        let file = disk.create("a/one").unwrap();
        file.write_at(&[b"safe"], 0).unwrap();
        file.sync().unwrap();
        disk.sync_folder("a").unwrap();
        file.write_at(&[b"lost"], 4).unwrap();
        disk.create("a/nameless").unwrap().sync().unwrap();
        disk.crash(|_, _| 0, false);
        assert_eq!(disk.list("a").unwrap(), ["one"]);
        assert_eq!(disk.files()["a/one"], b"safe");
    }

    #[test]
    fn names_may_survive_without_a_sync_and_one_by_one() {
        let written = |path: &str, disk: &MemoryDisk| {
            let file = disk.create(path).unwrap();
            file.write_at(&[path.as_bytes()], 0).unwrap();
            file.sync().unwrap();
        };
        for (picks, expected) in [
            ([false, false, false], &["a", "b"][..]),
            ([true, false, false], &["a", "b", "c"]),
            ([false, true, false], &["a"]),
            ([false, false, true], &["b"]),
            ([true, true, true], &["b", "c"]),
        ] {
            let disk = MemoryDisk::default();
            written("f/a", &disk);
            written("f/b", &disk);
            disk.sync_folder("f").unwrap();
            written("f/c", &disk);
            disk.remove("f/b").unwrap();
            disk.rename("f/a", "f/b").unwrap();
            let mut picks = picks.into_iter();
            disk.settle_names(|| picks.next().unwrap());
            disk.crash(|_, _| 0, false);
            assert_eq!(disk.list("f").unwrap(), expected);
        }
    }

    #[test]
    fn a_full_disk_says_so_and_still_serves() {
        let disk = MemoryDisk::new(ByteSize(6));
        let file = disk.create("a").unwrap();
        file.write_at(&[b"1234"], 0).unwrap();
        let error = file.write_at(&[b"567"], 4).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::StorageFull);
        let mut buffer = [0; 8];
        assert_eq!(file.read_at(&mut buffer, 1).unwrap(), 3);
    }
}
