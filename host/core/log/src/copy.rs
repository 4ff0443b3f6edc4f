//! Copying a leader's batches as they stand in its log, gaps included.
//!
//! **Where it sits.** A follower's way in, beside [`Log::append`], which is a leader's.
//!
//! **What it decides.** Whether a batch can stand behind what is here. Its checksum is checked here, whoever
//! brought it.
//!
//! **What it never does.** Change a byte, or judge a producer's sequence: the leader has.
//!
//! **Gaps.** A compacted leader has thousands. A batch behind one gets its entry in the segment's index as it is
//! written, and a sync covers both files. A gap that is wider than a segment ends the segment.

use std::io;

use brooklet_types::{ErrorCode, LeaderEpoch, Offset};
use brooklet_wire::batch::BatchHeader;
use bytes::Bytes;

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::frame::{Frame, HEADER_BYTES, SEGMENT_OFFSETS_MAX};
use crate::log::{Log, WriteError};

/// Where a leader's batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Copied {
    /// Where the log ended before, or, behind a gap that is wider than a segment, its first offset: the base
    /// of its entry in a journal.
    pub from: Offset,
    /// Its last offset.
    pub last: Offset,
    /// How it begins, for the journal. None when no journal may vouch for it, and its own files have to be
    /// synced: it is of an epoch of which batches were cut, and a start could not tell it from those.
    pub header: Option<[u8; HEADER_BYTES]>,
}

/// Why a leader's batch was not copied.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The bytes are no whole batch, or not those that its checksum was made of.
    #[error("copy to {folder}: {bytes} bytes that are no whole batch")]
    Damaged { folder: String, bytes: usize },
    /// There is something at its offset already.
    #[error("copy to {folder}: a batch at {base}, the log ends at {end}")]
    Overlaps { folder: String, base: Offset, end: Offset },
    /// A later leader has written what is here: it has to be cut first, or the batch is not its leader's.
    #[error("copy to {folder}: a batch of epoch {epoch} behind one of epoch {latest}")]
    StaleEpoch { folder: String, epoch: LeaderEpoch, latest: LeaderEpoch },
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl CopyError {
    /// What somebody who asked for it is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CopyError::Damaged { .. } => ErrorCode::CorruptMessage,
            CopyError::Overlaps { .. } => ErrorCode::OffsetOutOfRange,
            CopyError::StaleEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            CopyError::Write(error) => error.code(),
        }
    }
}

impl<D: Disk> Log<D> {
    /// Appends one whole batch as its leader has it, byte for byte. It may begin behind the end of the log,
    /// where compaction has taken what was between.
    pub fn copy(&mut self, batch: &Bytes) -> Result<Copied, CopyError> {
        let folder = &self.folder;
        let damaged = || CopyError::Damaged { folder: folder.clone(), bytes: batch.len() };
        let head: [u8; HEADER_BYTES] =
            *batch.first_chunk().filter(|_| Frame::is_intact(batch)).ok_or_else(damaged)?;
        let frame = Frame::parse(&head, 0).filter(|frame| frame.bytes == batch.len() as u64);
        let Frame { base, last, epoch, .. } = frame.ok_or_else(damaged)?;
        let header = BatchHeader::parse(batch).map_err(|_| damaged())?;
        if base < self.end {
            return Err(CopyError::Overlaps { folder: folder.clone(), base, end: self.end });
        }
        if let Some(latest) = self.latest_epoch().filter(|latest| epoch < *latest) {
            return Err(CopyError::StaleEpoch { folder: folder.clone(), epoch, latest });
        }
        if last.distance_from(self.end) > SEGMENT_OFFSETS_MAX {
            self.leap(base).map_err(|source| self.write_error(source))?;
        }
        let from = self.end;
        self.put(&head, batch)?;
        self.remembered.producers.record(&header, base);
        let header = self.may_be_journaled(epoch).then_some(head);
        Ok(Copied { from, last, header })
    }

    /// Whether an entry of the journal with a batch of `epoch` can only have been written since the log was
    /// last cut.
    pub(crate) fn may_be_journaled(&self, epoch: LeaderEpoch) -> bool {
        self.checkpoint.cut_epoch.is_none_or(|cut| cut < epoch)
    }

    /// Every entry that a journal has by now is of what has been synced, or is about to go: none will be
    /// believed, as soon as the next checkpoint is durable.
    pub(crate) fn void_journal(&mut self) {
        // What a file says may be all that is left of epochs whose records were deleted.
        let stored = self.epochs_stored.as_ref().and_then(|epochs| epochs.latest());
        let known = [self.checkpoint.cut_epoch, self.latest_epoch(), stored];
        self.checkpoint.cut_epoch = known.into_iter().flatten().max();
    }

    /// A leader's epoch is newer than all that were. An epoch on record that is not came from a header that was
    /// damaged where no CRC covers it, and the journal is to be believed from this one on.
    pub(crate) fn lead(&mut self, epoch: LeaderEpoch) -> io::Result<()> {
        let (serial, cut_epoch) = (self.checkpoint.serial + 1, epoch.0.checked_sub(1));
        let cut_epoch = cut_epoch.map(LeaderEpoch);
        let checkpoint = Checkpoint { serial, cut_epoch, ..self.checkpoint };
        checkpoint.store(&self.disk, &self.folder)?.sync()?;
        self.disk.sync_folder(&self.folder)?;
        self.checkpoint = checkpoint;
        Ok(())
    }

    /// Begins a segment at `base`, further behind the end of the log than a segment reaches; durably, so that a
    /// start does not take for lost what was never there.
    pub(crate) fn leap(&mut self, base: Offset) -> io::Result<()> {
        self.sync()?;
        self.end = base;
        self.roll()?;
        // Both slots, so that one that goes bad does not take what follows along.
        self.sync()?;
        self.sync()?;
        Checkpoint::open(&self.disk, &self.folder)?.sync()
    }
}

#[cfg(test)]
mod tests;
