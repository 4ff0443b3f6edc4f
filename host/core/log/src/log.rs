//! One partition's log: append, roll, truncate, delete, and the plans for reading it.
//!
//! **Where it sits.** A shard owns it and calls it from one thread. `recovery` makes one from
//! whatever is on the disk; `plan` reads it from any thread.
//!
//! **What it decides.** The offset of every batch, and which segment it goes to.
//!
//! **What it never does.** Sync on the append path, or make more system calls there than the one
//! write, except where space runs out or a segment is full.
//!
//! **Invariants.**
//! 1. `start_offset <= end_offset`, `durable_end <= end_offset`, and only `truncate_to` and
//!    `restart_at` move the end back.
//! 2. The active segment holds no stale bytes: behind its end lie zeroes, or the file ends.
//! 3. A failed write leaves the log as it was: what it left in the file is overwritten next.

use std::collections::BTreeMap;
use std::io;

use brooklet_types::{ErrorCode, LeaderEpoch, Offset};
use bytes::{Bytes, BytesMut};

use crate::append::Remembered;
use crate::checkpoint::Checkpoint;
use crate::compaction::Compacted;
use crate::disk::{Disk, DiskFile};
use crate::epoch::Epochs;
use crate::frame::{Frame, Gaps, HEADER_BYTES, Hole};
use crate::offset_index::{self, Named};
use crate::plan::{FilePiece, Piece, ReadError, ReadPlan};
use crate::segment::{self, Active, Closed};
use crate::settings::LogSettings;
use crate::sync::Unsynced;
use crate::tail::{COPY_BYTES_MAX, Cached, Tail};

/// Segments a plan may reach into. Each is a file to open, and one usually fills an answer.
const PLAN_SEGMENTS_MAX: usize = 16;

/// One partition's log.
#[derive(Debug)]
pub struct Log<D: Disk> {
    pub(crate) disk: D,
    pub(crate) folder: String,
    pub(crate) settings: LogSettings,
    pub(crate) start: Offset,
    pub(crate) end: Offset,
    pub(crate) durable: Offset,
    pub(crate) closed: BTreeMap<Offset, Closed>,
    pub(crate) active: Active<D::File>,
    pub(crate) epochs: Epochs,
    /// What the file of epochs says.
    pub(crate) epochs_stored: Option<Epochs>,
    pub(crate) holes: Vec<Hole>,
    pub(crate) tail: Tail,
    pub(crate) checkpoint: Checkpoint,
    pub(crate) unsynced: Unsynced<D::File>,
    pub(crate) remembered: Remembered,
    /// What was written down about its last compaction.
    pub(crate) compacted: Compacted,
    /// When a job was handed out that has not come to its end: how often the log had been cut.
    pub(crate) compaction_under_way: Option<u64>,
}

/// Where a batch went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its first and last offset.
    pub base: Offset,
    pub last: Offset,
    /// The patched header and the rest, as they are in the file; for the journal.
    pub header: [u8; HEADER_BYTES],
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Too little is left on the disk. Reads, and what frees space, go on.
    #[error("append to {file}: no space left")]
    StorageFull { file: String },
    /// The disk refused.
    #[error("append to {file}: {source}")]
    Disk { file: String, source: io::Error },
    /// The bytes are no batch; whoever validated them was wrong.
    #[error("append to {folder}: {bytes} bytes that are no batch")]
    NotABatch { folder: String, bytes: usize },
}

impl WriteError {
    /// What a client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            WriteError::StorageFull { .. } | WriteError::Disk { .. } => {
                ErrorCode::KafkaStorageError
            }
            WriteError::NotABatch { .. } => ErrorCode::CorruptMessage,
        }
    }
}

impl<D: Disk> Log<D> {
    /// Stores one validated batch at the end: the offset and the epoch are written into its first
    /// bytes, which no CRC covers, and everything goes to the page cache in one call.
    ///
    /// Only a leader writes, in an epoch that is newer than any in which something was cut.
    pub fn write(&mut self, batch: &Bytes, epoch: LeaderEpoch) -> Result<Stored, WriteError> {
        if !self.may_be_journaled(epoch) {
            self.lead(epoch).map_err(|source| self.write_error(source))?;
        }
        let Some(mut header) = batch.first_chunk().copied() else {
            return Err(self.not_a_batch(batch));
        };
        header[..8].copy_from_slice(&self.end.to_wire().to_be_bytes());
        header[12..16].copy_from_slice(&epoch.to_wire().to_be_bytes());
        let frame = self.put(&header, batch)?;
        Ok(Stored { base: frame.base, last: frame.last, header })
    }

    /// Puts a batch at the end, its first bytes replaced by `header`, which says where it belongs: there, or
    /// behind a gap.
    pub(crate) fn put(
        &mut self,
        header: &[u8; HEADER_BYTES],
        batch: &Bytes,
    ) -> Result<Frame, WriteError> {
        let frame = self.place(header, batch)?;
        let frame = Frame { position: self.active.size, ..frame };
        let parts: [&[u8]; 2] = [header, &batch[HEADER_BYTES..]];
        let written = self.active.file.write_at(&parts, frame.position);
        let named = written.and_then(|()| self.name_gap(&frame));
        named.map_err(|source| self.write_error(source))?;
        self.stored(&frame);
        self.tail.push(batch.len(), || cached(&frame, header, batch));
        Ok(frame)
    }

    /// Where offsets are missing before a batch, its entry goes to the index before it counts.
    fn name_gap(&mut self, frame: &Frame) -> io::Result<()> {
        if frame.base == self.end {
            return Ok(());
        }
        // The index may be new.
        self.unsynced.folder |= self.active.index.is_none();
        self.active.name(frame, &self.disk, &self.folder)?;
        self.checkpoint.gaps = true;
        Ok(())
    }

    /// Sees to it that there is room for so many bytes of records, as far as the disk can promise that.
    pub fn make_room(&mut self, bytes: usize) -> Result<(), WriteError> {
        /// What a batch and its only record have around that.
        const AROUND: u64 = 128;
        self.reserve(bytes as u64 + AROUND)
    }

    fn reserve(&mut self, bytes: u64) -> Result<(), WriteError> {
        let (disk, reserve) = (&self.disk, self.settings.disk_reserve.0);
        let room = || Ok(disk.free()?.0.saturating_sub(reserve));
        let segment_bytes = u64::from(self.settings.segment_bytes);
        let reserved = self.active.reserve(bytes, segment_bytes, room);
        reserved.map_err(|source| self.write_error(source))
    }

    /// Makes room for a batch, in a new segment if need be.
    fn place(&mut self, header: &[u8; HEADER_BYTES], batch: &Bytes) -> Result<Frame, WriteError> {
        let frame = Frame::parse(header, self.active.size);
        let frame = frame.filter(|frame| frame.bytes == batch.len() as u64);
        let frame = frame.ok_or_else(|| self.not_a_batch(batch))?;
        let newest = frame.max_timestamp;
        if self.active.is_full_for(frame.bytes, frame.last, newest, &self.settings) {
            self.roll().map_err(|source| self.write_error(source))?;
        }
        self.reserve(frame.bytes)?;
        Ok(frame)
    }

    /// Counts a batch that is in the file.
    pub(crate) fn stored(&mut self, frame: &Frame) {
        assert!(frame.base >= self.end, "offsets only grow");
        let interval = self.settings.index_interval_bytes;
        if frame.base > self.end {
            self.active.note_named(frame, interval);
        } else {
            self.active.note(frame, interval);
        }
        self.epochs.note_appended(frame.epoch, frame.base);
        self.end = frame.last.next();
        self.unsynced.active = true;
    }

    fn not_a_batch(&self, batch: &Bytes) -> WriteError {
        WriteError::NotABatch { folder: self.folder.clone(), bytes: batch.len() }
    }

    pub(crate) fn write_error(&self, source: io::Error) -> WriteError {
        let file = self.path(self.active.base, "log");
        if source.kind() == io::ErrorKind::StorageFull {
            return WriteError::StorageFull { file };
        }
        WriteError::Disk { file, source }
    }

    pub(crate) fn path(&self, base: Offset, extension: &str) -> String {
        segment::path(&self.folder, base, extension)
    }

    /// Closes the active segment and begins one at the end of the log.
    pub(crate) fn roll(&mut self) -> io::Result<()> {
        // The new file first: a disk that refuses it leaves the log as it was.
        let fresh = self.disk.create(&self.path(self.end, "log"))?;
        let indexes = self.active.close(&self.disk, &self.folder)?;
        let fresh = Active::new(self.end, fresh, 0);
        let old = std::mem::replace(&mut self.active, fresh);
        self.closed.insert(old.base, old.closed());
        self.unsynced.files.push(old.file);
        self.unsynced.files.extend(indexes);
        self.unsynced.folder = true;
        self.unsynced.active = true;
        Ok(())
    }

    /// Plans a read of whole batches: from the one that holds `from`, only such as end before
    /// `up_to`, at most `max_bytes` unless `at_least_one` wants the first whatever its size.
    pub fn read(
        &self,
        from: Offset,
        up_to: Offset,
        max_bytes: u32,
        at_least_one: bool,
    ) -> Result<ReadPlan<D::File>, ReadError> {
        if from < self.start || from > self.end {
            let (offset, start, end) = (from, self.start, self.end);
            return Err(ReadError::OutOfRange { offset, start, end });
        }
        let mut up_to = up_to.min(self.end);
        // An answer ends before what is known to be missing, so that nobody passes it unawares.
        for hole in self.holes.iter().filter(|hole| hole.next > from) {
            if hole.from <= from {
                let (file, position) = (hole.file.clone(), hole.position);
                return Err(ReadError::Corrupt { file, position, offset: from, next: hole.next });
            }
            up_to = up_to.min(hole.from);
        }
        let epochs = self.epochs.clone();
        let pieces = Vec::new();
        let mut plan = ReadPlan { pieces, from, up_to, max_bytes, at_least_one, epochs };
        if from >= up_to || (max_bytes == 0 && !at_least_one) {
            return Ok(plan);
        }
        plan.pieces = match self.cached_pieces(&plan) {
            Some(cached) => cached,
            None => self.file_pieces(&plan)?,
        };
        Ok(plan)
    }

    fn cached_pieces(&self, plan: &ReadPlan<D::File>) -> Option<Vec<Piece<D::File>>> {
        let mut pieces = Vec::new();
        let mut bytes = 0;
        for batch in self.tail.from(plan.from)? {
            let first = pieces.is_empty() && plan.at_least_one;
            bytes += batch.bytes() as u64;
            if batch.last >= plan.up_to || (bytes > u64::from(plan.max_bytes) && !first) {
                break;
            }
            pieces.push(Piece::Cached(batch.header.clone()));
            if !batch.rest.is_empty() {
                pieces.push(Piece::Cached(batch.rest.clone()));
            }
        }
        Some(pieces)
    }

    fn file_pieces(&self, plan: &ReadPlan<D::File>) -> Result<Vec<Piece<D::File>>, ReadError> {
        let first = self.closed.range(..=plan.from).next_back().map_or(plan.from, |(b, _)| *b);
        let closed = self.closed.range(first..).map(|(_, segment)| segment);
        let mut pieces = Vec::new();
        let mut bytes = 0;
        let enough = u64::from(plan.max_bytes);
        for segment in closed {
            let until = self.next_base(segment.base);
            if until <= plan.from || segment.size == 0 {
                continue;
            }
            let full = bytes > enough || pieces.len() == PLAN_SEGMENTS_MAX;
            if segment.base >= plan.up_to || full {
                return Ok(pieces);
            }
            let (piece, answers) = self.closed_piece(segment, plan.from, until)?;
            // The offset may lie behind the last batch, where compaction took the rest.
            if answers || !pieces.is_empty() {
                bytes += piece.end - piece.hint.map_or(0, |hint| hint.0);
            }
            pieces.push(Piece::File(piece));
        }
        if self.active.base < plan.up_to && self.active.size > 0 && bytes <= enough {
            pieces.push(Piece::File(FilePiece {
                path: self.path(self.active.base, "log"),
                file: self.active.file.clone(),
                end: self.active.size,
                base: self.active.base,
                until: self.end,
                hint: self.active.hint(plan.from),
                gaps: match self.active.index.clone() {
                    Some(index) => Gaps::Named(Named::new(index, self.active.base)),
                    None => Gaps::Nowhere,
                },
            }));
        }
        Ok(pieces)
    }

    /// The whole of a closed segment, entered where its index says; and whether it is known to
    /// hold a batch behind `from`.
    pub(crate) fn closed_piece(
        &self,
        segment: &Closed,
        from: Offset,
        until: Offset,
    ) -> Result<(FilePiece<D::File>, bool), ReadError> {
        let path = self.path(segment.base, "log");
        let disk = |source| ReadError::Disk { file: path.clone(), source };
        let file = self.disk.open(&path).map_err(disk)?;
        // A lost or unreadable index costs a longer walk, no answer.
        let index = self.disk.open(&self.path(segment.base, "index")).ok();
        let found = index.as_ref().map(|it| offset_index::floor_in_file(it, segment.base, from));
        let (entry, answers) = found.and_then(Result::ok).unwrap_or((None, false));
        let hint = entry.filter(|entry| u64::from(entry.position) < segment.size).map(|entry| {
            let last = Offset::new(segment.base.value() + u64::from(entry.relative));
            (u64::from(entry.position), last)
        });
        let (base, end, gaps) = (segment.base, segment.size, self.gaps(segment.base, index));
        Ok((FilePiece { path, file, end, base, until, hint, gaps }, answers))
    }

    /// Where offsets may be missing in a closed segment, whose index is this or lost.
    pub(crate) fn gaps(&self, base: Offset, index: Option<D::File>) -> Gaps<D::File> {
        match index {
            Some(index) => Gaps::Named(Named::new(index, base)),
            None if self.checkpoint.gaps || base < self.compacted.gaps_until => Gaps::Anywhere,
            None => Gaps::Nowhere,
        }
    }

    pub(crate) fn next_base(&self, base: Offset) -> Offset {
        let next = self.closed.range(base.next()..).next();
        next.map_or(self.active.base, |(base, _)| *base)
    }

    /// The first offset that can be read.
    pub fn start_offset(&self) -> Offset {
        self.start
    }

    /// The offset of the next record.
    pub fn end_offset(&self) -> Offset {
        self.end
    }

    /// Everything before this offset survives a loss of power.
    pub fn durable_end(&self) -> Offset {
        self.durable
    }

    /// Where epoch `epoch` ends: Kafka's `endOffsetFor`.
    pub fn epoch_end(&self, epoch: LeaderEpoch) -> Option<(LeaderEpoch, Offset)> {
        self.epochs.end_of(epoch, self.end)
    }

    /// The epoch that wrote `offset`.
    pub fn epoch_at(&self, offset: Offset) -> Option<LeaderEpoch> {
        self.epochs.at(offset)
    }

    /// The newest epoch of which there is a batch.
    pub fn latest_epoch(&self) -> Option<LeaderEpoch> {
        self.epochs.latest()
    }

    /// Damage that recovery found. What lies behind it is served.
    pub fn holes(&self) -> &[Hole] {
        &self.holes
    }

    /// Whether `offset` lies in or behind the segment that is being written.
    pub fn is_in_active_segment(&self, offset: Offset) -> bool {
        offset >= self.active.base
    }

    /// Bytes of batches.
    pub fn size(&self) -> u64 {
        self.active.size + self.closed.values().map(|segment| segment.size).sum::<u64>()
    }

    /// How many segments there are.
    pub fn segment_count(&self) -> usize {
        self.closed.len() + 1
    }

    /// The partition's folder, relative to the data folder.
    pub fn folder(&self) -> &str {
        &self.folder
    }

    /// The values in effect.
    pub fn settings(&self) -> &LogSettings {
        &self.settings
    }

    /// Puts other values into effect, from the next append on.
    pub fn set_settings(&mut self, settings: LogSettings) {
        self.settings = settings;
    }
}

/// A batch for the tail: copied when it is small, so that it does not pin its whole request.
fn cached(frame: &Frame, header: &[u8; HEADER_BYTES], batch: &Bytes) -> Cached {
    let (base, last) = (frame.base, frame.last);
    if batch.len() > COPY_BYTES_MAX {
        let header = Bytes::copy_from_slice(header);
        return Cached { base, last, header, rest: batch.slice(HEADER_BYTES..) };
    }
    let mut whole = BytesMut::with_capacity(batch.len());
    whole.extend_from_slice(header);
    whole.extend_from_slice(&batch[HEADER_BYTES..]);
    Cached { base, last, header: whole.freeze(), rest: Bytes::new() }
}

#[cfg(test)]
mod tests;
