//! The one capability a core is handed: files under the data folder.
//!
//! **Where it sits.** Below everything in this crate. `shell/io` implements it with system calls,
//! [`memory`] in memory, and the simulation wraps that one to tear, lose and flip.
//!
//! **What it decides.** Nothing: it is the boundary. Paths are relative to the data folder, with
//! `/` between folders; no path is absolute or contains `..`.
//!
//! **What an implementation promises.**
//! 1. `write_at` writes everything or says why not; `read_at` is short only at the end of a file.
//! 2. After `sync` of a file, what was written to it before survives a loss of power, its length
//!    included. The file's *name* survives only after `sync_folder` of its folder.
//! 3. What lies between the written end and an allocated end reads as zeroes.
//! 4. A full disk is [`io::ErrorKind::StorageFull`], so that callers can tell it from a broken one.

pub mod memory;

use std::fmt::Debug;
use std::io;
use std::ops::Range;

use brooklet_types::ByteSize;

/// Files by name. Cheap to clone; each clone names the same folder.
pub trait Disk: Clone + Debug + Send + 'static {
    /// An open file.
    type File: DiskFile;

    /// Opens an existing file for reading and writing.
    fn open(&self, path: &str) -> io::Result<Self::File>;

    /// Creates an empty file, or empties the one that is there. Its folder must exist.
    fn create(&self, path: &str) -> io::Result<Self::File>;

    /// Creates a folder and those above it. One that is there is no error.
    fn create_folder(&self, path: &str) -> io::Result<()>;

    /// The names (not paths) in a folder, sorted; empty when there is no such folder.
    fn list(&self, folder: &str) -> io::Result<Vec<String>>;

    /// Gives a file or a folder another name; a file that has the name already is replaced.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes a file, or a folder with everything in it. What is not there is no error.
    fn remove(&self, path: &str) -> io::Result<()>;

    /// Makes the names in a folder durable.
    fn sync_folder(&self, folder: &str) -> io::Result<()>;

    /// Bytes that can still be written.
    fn free(&self) -> io::Result<ByteSize>;
}

/// One open file: positional reads and writes, no cursor, so that clones may be used from any
/// thread at once.
pub trait DiskFile: Clone + Debug + Send + Sync + 'static {
    /// The file's length, allocated padding included.
    fn len(&self) -> io::Result<u64>;

    /// Reads from `position` until `buffer` is full or the file ends; says how many bytes.
    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// The same, but only as far as it needs no waiting: what is not in memory is not read.
    fn read_ready_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize>;

    /// Writes `parts` back to back at `position`, in one system call where there is one.
    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()>;

    /// Extends the file to `end` with zeroes and reserves the space, so that a sync after a write
    /// below `end` carries little metadata. Never shortens.
    fn allocate(&self, end: u64) -> io::Result<()>;

    /// Cuts the file to `len`.
    fn truncate(&self, len: u64) -> io::Result<()>;

    /// Makes everything written so far survive a loss of power.
    fn sync(&self) -> io::Result<()>;

    /// The first stretch at or behind `position` that was ever written to, as far as is known without
    /// reading: what lies before it and, when there is none, everything behind `position`, reads as zeroes.
    fn written_from(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.len()?;
        Ok((position < end).then_some(position..end))
    }

    /// Whether nothing is in the file.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// Reads a whole small file, or `None` when it is not there or longer than `limit`: a checkpoint
/// that has grown beyond any sense is as good as missing.
pub fn read_small<D: Disk>(disk: &D, path: &str, limit: usize) -> io::Result<Option<Vec<u8>>> {
    let file = match disk.open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = usize::try_from(file.len()?).unwrap_or(usize::MAX);
    if length > limit {
        return Ok(None);
    }
    let mut bytes = vec![0; length];
    let read = file.read_at(&mut bytes, 0)?;
    bytes.truncate(read);
    Ok(Some(bytes))
}

/// Replaces a small file so that a crash leaves the old one or the new one, never a mixture:
/// write beside it, sync, rename, sync the folder.
pub fn replace<D: Disk>(disk: &D, folder: &str, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = format!("{folder}/{name}.tmp");
    let file = disk.create(&fresh)?;
    file.write_at(&[bytes], 0)?;
    file.sync()?;
    disk.rename(&fresh, &format!("{folder}/{name}"))?;
    disk.sync_folder(folder)
}
