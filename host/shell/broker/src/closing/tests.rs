//! Logs on a disk whose syncs wait for each other, and on one that refuses.

use std::io;
use std::sync::{Arc, Condvar};
use std::time::Duration;

use brooklet_log::disk::memory::{MemoryDisk, MemoryFile};
use brooklet_log::{DiskFile, LogSettings, TailBudget};
use brooklet_types::ByteSize;

use super::*;

/// A disk that carries out syncs only when so many wait for it.
#[derive(Clone, Debug)]
struct Together {
    disk: MemoryDisk,
    gate: Arc<Gate>,
}

#[derive(Clone, Debug)]
struct TogetherFile {
    file: MemoryFile,
    gate: Arc<Gate>,
}

/// Lets nobody through before `wanted` have been here at once; afterwards everybody.
#[derive(Debug)]
struct Gate {
    wanted: usize,
    waiting: Mutex<usize>,
    changed: Condvar,
}

impl Gate {
    fn pass(&self) -> io::Result<()> {
        let mut waiting = self.waiting.lock().unwrap();
        *waiting += 1;
        self.changed.notify_all();
        let too_few = |waiting: &mut usize| *waiting < self.wanted;
        let patience = Duration::from_secs(20);
        let (waiting, waited) =
            self.changed.wait_timeout_while(waiting, patience, too_few).unwrap();
        drop(waiting);
        if waited.timed_out() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}

impl Together {
    fn file(&self, file: MemoryFile) -> TogetherFile {
        TogetherFile { file, gate: Arc::clone(&self.gate) }
    }
}

impl Disk for Together {
    type File = TogetherFile;

    fn open(&self, path: &str) -> io::Result<TogetherFile> {
        self.disk.open(path).map(|file| self.file(file))
    }

    fn create(&self, path: &str) -> io::Result<TogetherFile> {
        self.disk.create(path).map(|file| self.file(file))
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        self.disk.create_folder(path)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        self.disk.list(folder)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.disk.rename(from, to)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        self.disk.remove(path)
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        self.disk.sync_folder(folder)
    }

    fn free(&self) -> io::Result<ByteSize> {
        self.disk.free()
    }
}

impl DiskFile for TogetherFile {
    fn len(&self) -> io::Result<u64> {
        self.file.len()
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_at(buffer, position)
    }

    fn read_ready_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.file.read_ready_at(buffer, position)
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        self.file.write_at(parts, position)
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        self.file.allocate(end)
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.truncate(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.gate.pass()?;
        self.file.sync()
    }
}

fn open<D: Disk>(disk: &D, count: usize) -> Vec<Log<D>> {
    let one = |number| {
        let folder = format!("topics/flights-{number}");
        disk.create_folder(&folder).unwrap();
        Log::open(disk.clone(), &folder, LogSettings::default(), TailBudget::new(0)).unwrap()
    };
    (0..count).map(one).collect()
}

fn checkpoints(disk: &MemoryDisk) -> usize {
    disk.files().keys().filter(|name| name.ends_with("/brooklet-checkpoint")).count()
}

#[test]
fn eight_logs_wait_for_the_disk_at_once_and_none_is_left_out() {
    let waiting = Mutex::new(0);
    let gate = Arc::new(Gate { wanted: CLOSING_MAX, waiting, changed: Condvar::new() });
    let disk = MemoryDisk::default();
    let logs = open(&Together { disk: disk.clone(), gate }, 3 * CLOSING_MAX);
    assert_eq!(checkpoints(&disk), 0);
    assert!(close(logs), "one after the other they would wait for ever");
    assert_eq!(checkpoints(&disk), 3 * CLOSING_MAX);
}

#[test]
fn one_that_cannot_be_closed_is_told_and_the_others_are_closed() {
    let (good, bad) = (MemoryDisk::default(), MemoryDisk::default());
    let mut logs = open(&bad, 1);
    logs.extend(open(&good, 20));
    bad.refuse_after(0);
    assert!(!close(logs));
    assert_eq!(checkpoints(&good), 20);
}

#[test]
fn where_there_is_no_log_all_are_closed() {
    assert!(close(Vec::<Log<MemoryDisk>>::new()));
}
