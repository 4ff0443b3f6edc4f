//! What is written down about a log's compaction: how far it is clean, and which segments were last
//! replaced by which.
//!
//! **Where it sits.** As `brooklet-compaction` in the partition's folder. The cleaner's thread writes the
//! next one beside it, the shard renames it, recovery reads it.
//!
//! **What it decides.** Whether a replacement happened. Cleaned files have names of their own until a
//! record that names them is durable; from then on the replacement is carried out, by the log or, after
//! a crash, by the next start: [`Compacted::recover`]. It does so again at each start, which changes
//! nothing. Of several replacements in one record all happen or none.
//!
//! **What it never does.** Bring back a segment that retention removed meanwhile.
//!
//! ```text
//! "brkcomp2" · serial u64 · clean until u64 · gaps until u64 · replacements u32 · for each of them
//!  · base u64 · size u64 · segments replaced u32 · for each of these: its base u64
//!  · crc32c u32, all big-endian
//! ```

use std::io;

use brooklet_types::Offset;

use crate::disk::{Disk, DiskFile, read_small, replace};
use crate::frame::crc;
use crate::segment::{self, UNFINISHED};

const NAME: &str = "brooklet-compaction";
const MAGIC: &[u8; 8] = b"brkcomp2";
const HEAD_BYTES: usize = 36;
const REPLACEMENT_BYTES: usize = 20;

/// The most segments that one replaces: what keeps a record to a few pages.
pub(crate) const REPLACED_MAX: usize = 1024;

/// The most segments that one record replaces, where several have to happen together. A record is a
/// quarter of a megabyte then, and the partition has a terabyte in segments of Kafka's size.
pub(crate) const REPLACED_TOGETHER_MAX: usize = 8 * REPLACED_MAX;

const RECORD_BYTES_MAX: usize = HEAD_BYTES + REPLACED_TOGETHER_MAX * (REPLACEMENT_BYTES + 8) + 4;

/// The files of a segment that compaction replaces.
const EXTENSIONS: [&str; 3] = ["log", "index", "timeindex"];

/// What is remembered of a log's compaction.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Compacted {
    /// Grows with each record.
    pub(crate) serial: u64,
    /// Every key's records before this offset have been seen by a cleaning.
    pub(crate) clean_until: Offset,
    /// Behind this offset no record was ever taken out.
    pub(crate) gaps_until: Offset,
    /// What the last cleaning has put in the place of what, last.
    pub(crate) replacements: Vec<Replacement>,
}

/// Segments side by side that became one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Replacement {
    /// The first of them, whose name the new one has.
    pub(crate) base: Offset,
    /// How long the new one is; nothing took their place if it is empty.
    pub(crate) size: u64,
    /// All of them, the first included.
    pub(crate) replaced: Vec<Offset>,
}

impl Compacted {
    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        for number in [self.serial, self.clean_until.value(), self.gaps_until.value()] {
            bytes.extend(number.to_be_bytes());
        }
        let count = |of: usize| u32::try_from(of).expect("bounded when it was made").to_be_bytes();
        bytes.extend(count(self.replacements.len()));
        for Replacement { base, size, replaced } in &self.replacements {
            bytes.extend(base.value().to_be_bytes());
            bytes.extend(size.to_be_bytes());
            bytes.extend(count(replaced.len()));
            bytes.extend(replaced.iter().flat_map(|base| base.value().to_be_bytes()));
        }
        bytes.extend(crc(&bytes).to_be_bytes());
        bytes
    }

    fn parse(bytes: &[u8]) -> Option<Compacted> {
        let (body, sum) = bytes.split_last_chunk::<4>()?;
        if crc(body) != u32::from_be_bytes(*sum) {
            return None;
        }
        let mut fields = Fields(body);
        if fields.take::<8>()? != *MAGIC {
            return None;
        }
        let (serial, clean_until) = (fields.number()?, fields.offset()?);
        let (gaps_until, count) = (fields.offset()?, fields.count()?);
        // Not believed as a size: each takes some bytes, or there is none.
        let mut replacements = Vec::new();
        for _ in 0..count {
            let (base, size, replaced) = (fields.offset()?, fields.number()?, fields.count()?);
            let replaced = (0..replaced).map(|_| fields.offset()).collect::<Option<_>>()?;
            replacements.push(Replacement { base, size, replaced });
        }
        let is_whole = fields.0.is_empty();
        is_whole.then_some(Compacted { serial, clean_until, gaps_until, replacements })
    }

    /// Writes the record beside the one that counts; gives back the file, to be synced.
    pub(crate) fn prepare<D: Disk>(&self, disk: &D, folder: &str) -> io::Result<D::File> {
        let file = disk.create(&format!("{folder}/{NAME}{UNFINISHED}"))?;
        file.write_at(&[&self.to_bytes()], 0)?;
        Ok(file)
    }

    /// Makes the prepared record the one that counts, as soon as the folder is synced.
    pub(crate) fn commit<D: Disk>(disk: &D, folder: &str) -> io::Result<()> {
        disk.rename(&format!("{folder}/{NAME}{UNFINISHED}"), &format!("{folder}/{NAME}"))
    }

    /// Makes this the record that counts, at once and durably, with no replacement under way.
    pub(crate) fn store<D: Disk>(&self, disk: &D, folder: &str) -> io::Result<()> {
        replace(disk, folder, NAME, &self.to_bytes())
    }

    /// Reads the record of a log that is being opened, and carries out what it says. What was cleaned
    /// without such a record never happened.
    pub(crate) fn recover<D: Disk>(disk: &D, folder: &str) -> io::Result<Compacted> {
        let bytes = read_small(disk, &format!("{folder}/{NAME}"), RECORD_BYTES_MAX)?;
        let compacted = bytes.and_then(|bytes| Compacted::parse(&bytes)).unwrap_or_default();
        for replacement in &compacted.replacements {
            replacement.resume(disk, folder, compacted.serial)?;
        }
        for name in disk.list(folder)?.iter().filter(|name| name.ends_with(UNFINISHED)) {
            disk.remove(&format!("{folder}/{name}"))?;
        }
        Ok(compacted)
    }
}

/// What is left of a record's fields.
struct Fields<'a>(&'a [u8]);

impl Fields<'_> {
    fn take<const BYTES: usize>(&mut self) -> Option<[u8; BYTES]> {
        let (field, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*field)
    }

    fn number(&mut self) -> Option<u64> {
        u64::try_from(i64::from_be_bytes(self.take()?)).ok()
    }

    fn offset(&mut self) -> Option<Offset> {
        Offset::from_wire(i64::from_be_bytes(self.take()?))
    }

    fn count(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }
}

impl Replacement {
    /// Where a file of the new segment is until it has its name.
    pub(crate) fn path(folder: &str, base: Offset, extension: &str, serial: u64) -> String {
        format!("{}.{serial}{UNFINISHED}", segment::path(folder, base, extension))
    }

    /// Gives the new files their names and removes the old ones. In whatever order a crash lets this
    /// happen, [`Replacement::resume`] ends it.
    pub(crate) fn put_in_place<D: Disk>(
        &self,
        disk: &D,
        folder: &str,
        serial: u64,
    ) -> io::Result<()> {
        if self.size > 0 {
            for extension in EXTENSIONS {
                let from = Replacement::path(folder, self.base, extension, serial);
                disk.rename(&from, &segment::path(folder, self.base, extension))?;
            }
        }
        self.remove_replaced(disk, folder)
    }

    /// Removes the new files: they are not wanted.
    pub(crate) fn discard<D: Disk>(&self, disk: &D, folder: &str, serial: u64) -> io::Result<()> {
        let paths = EXTENSIONS.map(|it| Replacement::path(folder, self.base, it, serial));
        paths.iter().try_for_each(|path| disk.remove(path))
    }

    /// Carries out what a crash may have interrupted. Until the folder is synced another crash may undo
    /// any part of it, and the next start does it again.
    fn resume<D: Disk>(&self, disk: &D, folder: &str, serial: u64) -> io::Result<()> {
        if self.size == 0 {
            return self.remove_replaced(disk, folder);
        }
        let names = disk.list(folder)?;
        let there = |path: &str| names.iter().any(|name| path.ends_with(&format!("/{name}")));
        let log = segment::path(folder, self.base, "log");
        let cleaned = |extension| Replacement::path(folder, self.base, extension, serial);
        // Where retention took the first of the segments, what is left of the others stays as it is.
        let wanted =
            there(&log) && (there(&cleaned("log")) || disk.open(&log)?.len()? == self.size);
        if !wanted {
            return Ok(());
        }
        for extension in EXTENSIONS.iter().filter(|extension| there(&cleaned(extension))) {
            disk.rename(&cleaned(extension), &segment::path(folder, self.base, extension))?;
        }
        self.remove_replaced(disk, folder)
    }

    fn remove_replaced<D: Disk>(&self, disk: &D, folder: &str) -> io::Result<()> {
        for base in self.left_over() {
            for extension in EXTENSIONS {
                disk.remove(&segment::path(folder, base, extension))?;
            }
        }
        Ok(())
    }

    /// The segments whose names nothing bears any more.
    fn left_over(&self) -> impl Iterator<Item = Offset> {
        self.replaced.iter().copied().filter(|base| self.size == 0 || *base != self.base)
    }
}
