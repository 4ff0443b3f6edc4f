//! One segment: a `.log` of batches with its two indexes.
//!
//! **Where it sits.** Below the log, which has one active segment and any number of closed ones.
//!
//! **What it decides.** When a segment is full, how far space is reserved ahead of the writes, and
//! when an index gets an entry: as in Kafka after `index.interval.bytes`, and for each batch behind a
//! gap in the offsets, which is how a gap that compaction left is told from damage. An entry of the latter
//! kind is in the file with its batch, and synced with it; the others are there when the log checkpoints.
//!
//! **What it never does.** Keep a file of a closed segment open, or read one.
//!
//! **Space.** Reserved in steps that double from [`STEP_BYTES_MIN`] to [`STEP_BYTES_MAX`] while
//! they are used up, and halve with every idle [`Active::relax`], which also cuts idle padding. The
//! file grows with the reservation, so that a sync carries no new length. Freed files are not kept
//! for later (`host/decisions/0002`): behind a log's end lie zeroes or nothing, never stale batches.

use std::io;

use brooklet_types::{Offset, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile, read_small};
use crate::frame::{Frame, SEGMENT_OFFSETS_MAX};
use crate::settings::LogSettings;
use crate::{offset_index, time_index};

/// The first reservation: a trickle does not need more for hours.
const STEP_BYTES_MIN: u64 = 16 << 10;

/// The largest step: a quarter second's worth at the speed of a flash disk's page cache writes.
const STEP_BYTES_MAX: u64 = 8 << 20;

/// The end of the name of a file that waits to take another's place. A start removes what has it.
pub(crate) const UNFINISHED: &str = ".cleaned";

/// The file that holds the batches from `base` on.
pub(crate) fn path(folder: &str, base: Offset, extension: &str) -> String {
    format!("{folder}/{:020}.{extension}", base.value())
}

/// A segment that is no longer written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Closed {
    /// The offset it is named after.
    pub base: Offset,
    /// Bytes of batches.
    pub size: u64,
    /// Its newest record's timestamp, and the last offset of the batch that holds it.
    pub newest: Option<(Timestamp, Offset)>,
    /// The first batch's timestamp.
    pub oldest: Option<Timestamp>,
}

/// The segment that is being written.
#[derive(Debug)]
pub(crate) struct Active<F> {
    pub(crate) base: Offset,
    pub(crate) file: F,
    pub(crate) size: u64,
    pub(crate) newest: Option<(Timestamp, Offset)>,
    /// The first batch's timestamp, from which `segment.ms` counts, as in Kafka.
    pub(crate) oldest: Option<Timestamp>,
    /// The offset behind its last batch.
    next: Offset,
    /// Whether there are gaps between its batches, as far as it was walked or written.
    gaps: bool,
    pub(crate) offsets: Vec<offset_index::Entry>,
    times: Vec<time_index::Entry>,
    offsets_stored: usize,
    times_stored: usize,
    /// The file of offsets, where it may name batches behind gaps.
    pub(crate) index: Option<F>,
    bytes_since_entry: u64,
    allocated: u64,
    step: u64,
    grown: bool,
    written: bool,
}

impl<F: DiskFile> Active<F> {
    /// A segment without batches; `file` may hold some, which are then [`Active::note`]d.
    pub(crate) fn new(base: Offset, file: F, allocated: u64) -> Active<F> {
        Active {
            base,
            file,
            size: 0,
            newest: None,
            oldest: None,
            next: base,
            gaps: false,
            offsets: Vec::new(),
            times: Vec::new(),
            offsets_stored: 0,
            times_stored: 0,
            index: None,
            bytes_since_entry: 0,
            allocated,
            step: STEP_BYTES_MIN,
            grown: false,
            written: false,
        }
    }

    /// Takes over what the index files and a recovery point say about the batches before it.
    pub(crate) fn restore(
        &mut self,
        point: &Checkpoint,
        offsets: Vec<offset_index::Entry>,
        times: Vec<time_index::Entry>,
    ) {
        let size = point.position;
        self.size = size;
        self.next = point.recovered;
        (self.offsets_stored, self.times_stored) = (offsets.len(), times.len());
        self.bytes_since_entry = size - offsets.last().map_or(0, |entry| u64::from(entry.position));
        (self.offsets, self.times) = (offsets, times);
        (self.newest, self.oldest) = (point.newest, point.oldest);
    }

    /// Whether a batch of `bytes` ending at `last` belongs into a new segment.
    pub(crate) fn is_full_for(
        &self,
        bytes: u64,
        last: Offset,
        newest: Timestamp,
        settings: &LogSettings,
    ) -> bool {
        let entries = u64::from(settings.segment_index_bytes) / time_index::ENTRY_BYTES as u64;
        let too_big = self.size + bytes > u64::from(settings.segment_bytes);
        let too_wide = last.distance_from(self.base) > SEGMENT_OFFSETS_MAX;
        let index_full = self.offsets.len().max(self.times.len()) as u64 + 1 >= entries.max(2);
        let too_old = self.oldest.is_some_and(|oldest| {
            newest > oldest && newest.millis_since(oldest) > settings.segment_ms
        });
        self.size > 0 && (too_big || too_wide || index_full || too_old)
    }

    /// Reserves room for `bytes` more; `room` says how much the disk can spare.
    pub(crate) fn reserve(
        &mut self,
        bytes: u64,
        segment_bytes: u64,
        room: impl FnOnce() -> io::Result<u64>,
    ) -> io::Result<()> {
        let needed = self.size + bytes;
        if needed <= self.allocated {
            return Ok(());
        }
        // Not beyond the end of a full segment, which would be cut again at once.
        let generous = (self.allocated.max(self.size) + self.step).min(segment_bytes).max(needed);
        let room = room()?;
        let target = if generous - self.allocated <= room { generous } else { needed };
        if target - self.allocated > room {
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        self.file.allocate(target)?;
        self.allocated = target;
        self.step = (self.step * 2).min(STEP_BYTES_MAX);
        self.grown = true;
        Ok(())
    }

    /// Counts a batch that lies at the end of the file.
    pub(crate) fn note(&mut self, frame: &Frame, interval: u32) {
        assert_eq!(frame.position, self.size, "batches adjoin in a segment");
        let known = self.newest.map_or(Timestamp::NONE, |newest| newest.0);
        if frame.max_timestamp > known {
            self.newest = Some((frame.max_timestamp, frame.last));
        }
        if self.oldest.is_none() && frame.max_timestamp > Timestamp::NONE {
            self.oldest = Some(frame.max_timestamp);
        }
        let behind_gap = frame.base > self.next;
        if behind_gap || self.bytes_since_entry > u64::from(interval) {
            self.add_entry(frame);
        }
        self.gaps |= behind_gap;
        self.next = frame.last.next();
        self.bytes_since_entry += frame.bytes;
        self.size += frame.bytes;
        self.allocated = self.allocated.max(self.size);
        self.written = true;
    }

    /// Counts a stretch that is no batch and reaches to the batch at `end`, whose offset is `next`.
    pub(crate) fn skip(&mut self, end: u64, next: Offset) {
        (self.size, self.next) = (end, next);
    }

    /// Whether there are gaps between its batches, as far as it was walked or written.
    pub(crate) fn has_gaps(&self) -> bool {
        self.gaps
    }

    /// Writes the entry of a batch behind a gap, and those before it, ahead of [`Active::note_named`].
    /// Changes nothing that counts: what it leaves when the batch fails is overwritten.
    pub(crate) fn name<D: Disk<File = F>>(
        &mut self,
        frame: &Frame,
        disk: &D,
        folder: &str,
    ) -> io::Result<()> {
        let file = match &self.index {
            Some(file) => file.clone(),
            None => open_or_create(disk, &path(folder, self.base, "index"))?,
        };
        let entries = &self.offsets[self.offsets_stored..];
        let entries = entries.iter().copied().chain(self.entry(frame));
        let bytes: Vec<u8> = entries.flat_map(offset_index::Entry::to_bytes).collect();
        store(&file, self.offsets_stored * offset_index::ENTRY_BYTES, &bytes)?;
        self.index = Some(file);
        Ok(())
    }

    /// Cuts from the file of offsets what power that was lost may have left behind the entries that count:
    /// a reader would stumble over it. Where there are gaps it is needed until it is replaced.
    pub(crate) fn trim_index(&self) -> io::Result<()> {
        let Some(index) = self.index.as_ref().filter(|_| !self.gaps) else { return Ok(()) };
        let length = (self.offsets_stored * offset_index::ENTRY_BYTES) as u64;
        if index.len()? > length { index.truncate(length) } else { Ok(()) }
    }

    /// Counts a batch behind a gap, whose entry is in the file.
    pub(crate) fn note_named(&mut self, frame: &Frame, interval: u32) {
        self.note(frame, interval);
        self.offsets_stored = self.offsets.len();
    }

    fn entry(&self, frame: &Frame) -> Option<offset_index::Entry> {
        let position = u32::try_from(frame.position).ok()?;
        Some(offset_index::Entry { relative: self.relative(frame.last), position })
    }

    fn add_entry(&mut self, frame: &Frame) {
        let Some(entry) = self.entry(frame) else { return };
        self.offsets.push(entry);
        self.add_time_entry();
        self.bytes_since_entry = 0;
    }

    fn add_time_entry(&mut self) {
        let Some((timestamp, offset)) = self.newest else { return };
        if self.times.last().is_none_or(|last| last.timestamp < timestamp) {
            let relative = self.relative(offset);
            self.times.push(time_index::Entry { timestamp, relative });
        }
    }

    fn relative(&self, offset: Offset) -> u32 {
        u32::try_from(offset.distance_from(self.base)).expect("rolled before it is too wide")
    }

    /// The last entry at or before `offset`, as position and offset.
    pub(crate) fn hint(&self, offset: Offset) -> Option<(u64, Offset)> {
        let entry = offset_index::floor(&self.offsets, self.base, offset)?;
        let last = Offset::new(self.base.value() + u64::from(entry.relative));
        Some((u64::from(entry.position), last))
    }

    /// The offset before which every record is older than `timestamp`.
    pub(crate) fn offset_before(&self, timestamp: Timestamp) -> Offset {
        time_index::offset_before(&self.times, self.base, timestamp)
    }

    /// Writes the index entries that are not in the files yet; gives back the files.
    pub(crate) fn store_indexes<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        folder: &str,
    ) -> io::Result<[F; 2]> {
        let offsets = open_or_create(disk, &path(folder, self.base, "index"))?;
        let bytes: Vec<u8> =
            self.offsets[self.offsets_stored..].iter().flat_map(|e| e.to_bytes()).collect();
        store(&offsets, self.offsets_stored * offset_index::ENTRY_BYTES, &bytes)?;
        self.offsets_stored = self.offsets.len();

        let times = open_or_create(disk, &path(folder, self.base, "timeindex"))?;
        let bytes: Vec<u8> =
            self.times[self.times_stored..].iter().flat_map(|e| e.to_bytes()).collect();
        store(&times, self.times_stored * time_index::ENTRY_BYTES, &bytes)?;
        self.times_stored = self.times.len();
        Ok([offsets, times])
    }

    /// Both indexes as bytes, with the entry that ends a segment.
    pub(crate) fn index_bytes(&mut self) -> (Vec<u8>, Vec<u8>) {
        self.add_time_entry();
        let offsets = self.offsets.iter().flat_map(|entry| entry.to_bytes()).collect();
        let times = self.times.iter().flat_map(|entry| entry.to_bytes()).collect();
        (offsets, times)
    }

    /// What is left of it once nobody writes to it.
    pub(crate) fn closed(&self) -> Closed {
        let Active { base, size, newest, oldest, .. } = *self;
        Closed { base, size, newest, oldest }
    }

    /// Cuts the padding, so that Kafka's tools read the file to its end.
    pub(crate) fn cut_padding(&mut self) -> io::Result<()> {
        self.file.truncate(self.size)?;
        self.allocated = self.size;
        Ok(())
    }

    /// Ends the segment: its newest record gets a time entry, as in Kafka, and the padding goes.
    pub(crate) fn close<D: Disk<File = F>>(
        &mut self,
        disk: &D,
        folder: &str,
    ) -> io::Result<[F; 2]> {
        self.add_time_entry();
        self.cut_padding()?;
        // Half an index costs a longer walk, or, behind a gap, a batch: there it is written whole.
        if self.gaps {
            self.replace_indexes(disk, folder)
        } else {
            self.store_indexes(disk, folder)
        }
    }

    fn replace_indexes<D: Disk<File = F>>(&mut self, disk: &D, folder: &str) -> io::Result<[F; 2]> {
        let (offsets, times) = self.index_bytes();
        let replace = |extension, bytes: &[u8]| -> io::Result<F> {
            let path = path(folder, self.base, extension);
            // A segment of which only emptied batches are left is walked by each start.
            if read_small(disk, &path, bytes.len())?.as_deref() == Some(bytes) {
                return disk.open(&path);
            }
            let fresh = format!("{path}{UNFINISHED}");
            let file = disk.create(&fresh)?;
            file.write_at(&[bytes], 0)?;
            file.sync()?;
            disk.rename(&fresh, &path)?;
            Ok(file)
        };
        let files = [replace("index", &offsets)?, replace("timeindex", &times)?];
        (self.offsets_stored, self.times_stored) = (self.offsets.len(), self.times.len());
        Ok(files)
    }

    /// Called now and then: an idle segment reserves less, and gives back what it does not use.
    pub(crate) fn relax(&mut self) -> io::Result<()> {
        if !self.grown {
            self.step = (self.step / 2).max(STEP_BYTES_MIN);
        }
        if !self.written && self.allocated - self.size > STEP_BYTES_MIN {
            self.cut_padding()?;
        }
        (self.grown, self.written) = (false, false);
        Ok(())
    }
}

/// Opens a file that may not be there yet.
pub(crate) fn open_or_create<D: Disk>(disk: &D, path: &str) -> io::Result<D::File> {
    match disk.open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => disk.create(path),
        other => other,
    }
}

/// Puts `bytes` at `position` and ends the file there.
fn store<F: DiskFile>(file: &F, position: usize, bytes: &[u8]) -> io::Result<()> {
    if !bytes.is_empty() {
        file.write_at(&[bytes], position as u64)?;
    }
    let end = (position + bytes.len()) as u64;
    if file.len()? != end { file.truncate(end) } else { Ok(()) }
}
