//! The real disk: system calls under the data folder.
//!
//! **What it decides.** Nothing but how to ask the operating system: positional reads and vectored
//! writes on shared descriptors, space reserved with `fallocate`, `fdatasync` for files and `fsync`
//! for folders.
//!
//! **What it never does.** Leave the data folder: a path with `..` or a leading `/` is refused,
//! whoever made it.

use std::fs::{self, File};
use std::io::{self, IoSlice, IoSliceMut};
use std::ops::Range;
use std::os::unix::fs::FileExt;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use brooklet_log::{Disk, DiskFile};
use brooklet_types::ByteSize;
use rustix::fs::{FallocateFlags, FlockOperation, SeekFrom};
use rustix::io::ReadWriteFlags;

/// The data folder of this broker. Cheap to clone. While one is held, no other broker can have
/// the folder.
#[derive(Clone, Debug)]
pub struct DataFolder {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    root: PathBuf,
    /// Locked for as long as the folder is ours; the lock goes with the descriptor, so also when
    /// the process is killed.
    _lock: File,
}

/// Why a data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DataFolderError {
    /// Another broker has it.
    #[error(
        "{folder}: in use by another broker (process {holder}); stop it or choose another --data"
    )]
    InUse { folder: String, holder: String },
    /// It cannot be created, opened or locked.
    #[error("{folder}: {source}")]
    Unusable { folder: String, source: io::Error },
}

/// A file in the data folder.
#[derive(Clone, Debug)]
pub struct DataFile {
    file: Arc<File>,
}

/// The most parts of one vectored write: Linux's `IOV_MAX`.
const PARTS_MAX: usize = 1024;

impl DataFolder {
    /// Opens `root`, creating it if need be, and locks it against other brokers.
    pub fn open(root: &Path) -> Result<DataFolder, DataFolderError> {
        let folder = root.display().to_string();
        let unusable = |source| DataFolderError::Unusable { folder: folder.clone(), source };
        fs::create_dir_all(root).map_err(unusable)?;
        let path = root.join("lock");
        let mut options = File::options();
        let lock = options.read(true).write(true).create(true).truncate(false).open(&path);
        let lock = lock.map_err(unusable)?;
        match rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let holder = fs::read_to_string(&path).unwrap_or_default();
                let holder = if holder.is_empty() { "unknown".to_owned() } else { holder };
                return Err(DataFolderError::InUse { folder, holder });
            }
            Err(error) => return Err(unusable(error.into())),
        }
        // For whoever is refused; the lock itself is what counts.
        lock.set_len(0).map_err(unusable)?;
        lock.write_all_at(std::process::id().to_string().as_bytes(), 0).map_err(unusable)?;
        Ok(DataFolder { inner: Arc::new(Inner { root: root.to_owned(), _lock: lock }) })
    }

    fn path(&self, path: &str) -> io::Result<PathBuf> {
        let relative = Path::new(path);
        let inside = relative.components().all(|part| matches!(part, Component::Normal(_)));
        if !inside {
            let message = format!("{path}: not a path inside the data folder");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
        Ok(self.inner.root.join(relative))
    }
}

impl Disk for DataFolder {
    type File = DataFile;

    fn open(&self, path: &str) -> io::Result<DataFile> {
        DataFile::new(File::options().read(true).write(true).open(self.path(path)?)?)
    }

    fn create(&self, path: &str) -> io::Result<DataFile> {
        let mut options = File::options();
        options.read(true).write(true).create(true).truncate(true);
        DataFile::new(options.open(self.path(path)?)?)
    }

    fn create_folder(&self, path: &str) -> io::Result<()> {
        fs::create_dir_all(self.path(path)?)
    }

    fn list(&self, folder: &str) -> io::Result<Vec<String>> {
        let entries = match fs::read_dir(self.path(folder)?) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(error),
        };
        let mut names = Vec::new();
        for entry in entries {
            // A name that is not text is not one of ours.
            names.extend(entry?.file_name().into_string().ok());
        }
        names.sort();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from)?, self.path(to)?)
    }

    fn remove(&self, path: &str) -> io::Result<()> {
        let path = self.path(path)?;
        let removed = match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&path),
            Ok(_) => fs::remove_file(&path),
            Err(error) => Err(error),
        };
        match removed {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            other => other,
        }
    }

    fn sync_folder(&self, folder: &str) -> io::Result<()> {
        File::open(self.path(folder)?)?.sync_all()
    }

    fn free(&self) -> io::Result<ByteSize> {
        let stat = rustix::fs::statvfs(&self.inner.root)?;
        Ok(ByteSize(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }
}

impl DataFile {
    fn new(file: File) -> io::Result<DataFile> {
        Ok(DataFile { file: Arc::new(file) })
    }

    /// Writes everything, in one system call unless the system takes less; says where it ended.
    fn write_slices(&self, slices: &mut [IoSlice<'_>], position: u64) -> io::Result<u64> {
        let (mut left, mut position) = (slices, position);
        IoSlice::advance_slices(&mut left, 0);
        while !left.is_empty() {
            match rustix::io::pwritev(&*self.file, left, position) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(written) => {
                    position = position.saturating_add(written as u64);
                    IoSlice::advance_slices(&mut left, written);
                }
                Err(rustix::io::Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(position)
    }
}

impl DiskFile for DataFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.file.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let at = position.saturating_add(done as u64);
            match self.file.read_at(&mut buffer[done..], at) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    fn read_ready_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let mut done = 0;
        while done < buffer.len() {
            let at = position.saturating_add(done as u64);
            let mut rest = [IoSliceMut::new(&mut buffer[done..])];
            match rustix::io::preadv2(&*self.file, &mut rest, at, ReadWriteFlags::NOWAIT) {
                Ok(0) => break,
                Ok(read) => done += read,
                Err(rustix::io::Errno::INTR) => {}
                // The rest is on the disk, or this file system cannot say.
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::OPNOTSUPP) => break,
                Err(error) => return Err(error.into()),
            }
        }
        Ok(done)
    }

    fn written_from(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        let end = self.len()?;
        // All reads and writes name their position: that the file's own moves means nothing.
        let seek = |to| rustix::fs::seek(&*self.file, to);
        match seek(SeekFrom::Data(position)) {
            Ok(start) => Ok(Some(start..seek(SeekFrom::Hole(start)).unwrap_or(end))),
            // Behind the end, or nothing but zeroes before it.
            Err(rustix::io::Errno::NXIO) => Ok(None),
            // A file system that cannot say.
            Err(rustix::io::Errno::INVAL | rustix::io::Errno::OPNOTSUPP) => {
                Ok((position < end).then_some(position..end))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        // An append has two parts: no list of slices is allocated for so few.
        if let [first, second] = parts {
            let mut slices = [IoSlice::new(first), IoSlice::new(second)];
            return self.write_slices(&mut slices, position).map(|_| ());
        }
        let mut position = position;
        for group in parts.chunks(PARTS_MAX) {
            let mut slices: Vec<IoSlice<'_>> =
                group.iter().map(|part| IoSlice::new(part)).collect();
            position = self.write_slices(&mut slices, position)?;
        }
        Ok(())
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        let length = self.len()?;
        if end <= length {
            return Ok(());
        }
        let added = end - length;
        match rustix::fs::fallocate(&*self.file, FallocateFlags::empty(), length, added) {
            Ok(()) => Ok(()),
            // A file system without it grows the file instead; a sync then costs a little more.
            Err(rustix::io::Errno::OPNOTSUPP) => self.file.set_len(end),
            Err(error) => Err(error.into()),
        }
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        self.file.set_len(len)
    }

    fn sync(&self) -> io::Result<()> {
        self.file.sync_data()
    }
}

#[cfg(test)]
mod tests {
    use brooklet_log::compaction::{CompactError, Keys};
    use brooklet_log::{Log, LogSettings, TailBudget};
    use brooklet_types::{LeaderEpoch, Timestamp};
    use brooklet_wire::batch::BatchBuilder;
    use brooklet_wire::compress::Codec;

    use super::*;

    #[test]
    fn a_second_broker_on_the_same_folder_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let held = DataFolder::open(folder.path()).unwrap();
        let refused = DataFolder::open(folder.path()).unwrap_err().to_string();
        assert!(refused.contains("in use by another broker"), "{refused}");
        assert!(refused.contains(&std::process::id().to_string()), "{refused}");
        drop(held);
        DataFolder::open(folder.path()).unwrap();
    }

    #[test]
    fn paths_stay_inside_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DataFolder::open(folder.path()).unwrap();
        for path in ["../outside", "/etc/passwd", "a/../../b", "."] {
            let error = disk.create(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput, "{path}");
        }
    }

    #[test]
    fn what_is_written_in_parts_is_read_back_whole() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DataFolder::open(folder.path()).unwrap();
        disk.create_folder("topics/flights-0").unwrap();
        let file = disk.create("topics/flights-0/0.log").unwrap();
        file.allocate(4096).unwrap();
        file.write_at(&[b"one", b"", b"two"], 10).unwrap();
        let many: Vec<&[u8]> = vec![b"x"; PARTS_MAX + 5];
        file.write_at(&many, 100).unwrap();
        let mut read = [0; 6];
        assert_eq!(file.read_at(&mut read, 10).unwrap(), 6);
        assert_eq!(&read, b"onetwo");
        assert_eq!(file.len().unwrap(), 4096);
        file.truncate(12).unwrap();
        assert_eq!(file.read_at(&mut read, 10).unwrap(), 2, "short only at the end");
        file.sync().unwrap();
        disk.sync_folder("topics/flights-0").unwrap();
        assert_eq!(disk.list("topics/flights-0").unwrap(), ["0.log"]);
        assert_eq!(disk.list("nowhere").unwrap(), Vec::<String>::new());
        disk.remove("topics").unwrap();
        disk.remove("topics").unwrap();
    }

    #[test]
    fn what_was_reserved_and_never_written_to_is_known_without_reading() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DataFolder::open(folder.path()).unwrap();
        let file = disk.create("journal").unwrap();
        assert_eq!(file.written_from(0).unwrap(), None);
        file.allocate(16 << 20).unwrap();
        file.write_at(&[b"one"], 4 << 20).unwrap();
        file.write_at(&[b"two"], 8 << 20).unwrap();
        for sync in [false, true] {
            if sync {
                file.sync().unwrap();
            }
            let mut stretches = Vec::new();
            let mut position = 0;
            while let Some(stretch) = file.written_from(position).unwrap() {
                assert!(stretch.start >= position && stretch.end > stretch.start);
                position = stretch.end;
                stretches.push(stretch);
            }
            let holds = |at: u64| stretches.iter().any(|it| it.contains(&at));
            assert!(holds(4 << 20) && holds(8 << 20), "{stretches:?}");
            let mut before = vec![7; usize::try_from(stretches[0].start).unwrap()];
            assert_eq!(file.read_at(&mut before, 0).unwrap(), before.len());
            assert!(before.iter().all(|byte| *byte == 0), "{stretches:?}");
        }
        assert_eq!(file.written_from(17 << 20).unwrap(), None);
    }

    #[test]
    fn a_log_may_be_gone_before_it_is_compacted() {
        let folder = tempfile::tempdir().unwrap();
        let disk = DataFolder::open(folder.path()).unwrap();
        let settings = LogSettings { segment_bytes: 100, compact: true, ..LogSettings::default() };
        let mut log = Log::open(disk.clone(), "topics/t-0", settings, TailBudget::new(0)).unwrap();
        for _ in 0..3 {
            let mut builder = BatchBuilder::new(Codec::None);
            builder.push(Timestamp(1), Some(b"key"), Some(b"value"), &[]).unwrap();
            log.write(&builder.build().unwrap(), LeaderEpoch(0)).unwrap();
        }
        log.sync().unwrap();
        let job = log.begin_compaction(Timestamp(1), Keys::within(100, [7; 32])).unwrap();
        disk.remove("topics/t-0").unwrap();
        let error = job.run(&|| true).unwrap_err();
        assert!(matches!(error, CompactError::Outdated { .. }), "{error}");
        assert!(log.abandon_compaction(error).is_none());
    }
}
