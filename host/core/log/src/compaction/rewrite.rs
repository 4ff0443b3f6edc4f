//! A group of segments read, and what stays of it written beside it as one segment.
//!
//! **Where it sits.** The part of a [`Job`] that looks at every batch.
//!
//! **What it decides.** Nothing: the policy judges, the [rules](Rules) have the last word, the job says
//! which segments.
//!
//! **What it never does.** Leave files of a group that it could not finish.

use std::io;

use brooklet_types::Offset;
use brooklet_wire::batch::{BatchError, BatchHeader};

use super::batch::{Kept, Rules, What, with_records};
use super::error::CompactError;
use super::job::{Job, Part};
use super::judge::Judge;
use super::policy::PolicyError;
use super::record::Replacement;
use crate::disk::{Disk, DiskFile};
use crate::frame::Frame;
use crate::segment::{self, Active, Closed};

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// How often, in bytes written, the disk is asked whether it has room: what is written between two
/// questions is small against the reserve.
const ROOM_EVERY_BYTES: u64 = 8 << 20;

/// The segment in the making.
struct Target<F> {
    active: Active<F>,
    /// Batches that are not in the file yet.
    pending: Vec<u8>,
    written: u64,
    room_asked_at: u64,
}

impl<D: Disk> Job<D> {
    /// Writes the survivors of a group beside it. None when the one segment it has stays as it is.
    pub(super) fn clean_group(
        &mut self,
        judge: &mut Judge,
        group: Vec<(Closed, Offset)>,
        serial: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Part>, CompactError> {
        let base = group[0].0.base;
        let replaced = group.iter().map(|(segment, _)| segment.base).collect();
        let mut replacement = Replacement { base, size: 0, replaced };
        let written = self.write_group(judge, &group, serial, go_on);
        let is_wanted =
            written.as_ref().is_ok_and(|new| new.as_ref().is_some_and(|it| it.size > 0));
        if !is_wanted {
            self.discard(&replacement, serial);
        }
        let written = written?;
        let bytes: u64 = group.iter().map(|(segment, _)| segment.size).sum();
        self.cleaning.cleaned.bytes_before += bytes;
        self.cleaning.cleaned.bytes_after += written.as_ref().map_or(bytes, |new| new.size);
        let Some(new) = written else { return Ok(None) };
        replacement.size = new.size;
        let old = group.into_iter().map(|(segment, _)| segment).collect();
        Ok(Some(Part { replacement, old, new: is_wanted.then_some(new) }))
    }

    /// Writes what stays of a group into one new segment; none when nothing has changed.
    fn write_group(
        &mut self,
        judge: &mut Judge,
        group: &[(Closed, Offset)],
        serial: u64,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Closed>, CompactError> {
        let base = group[0].0.base;
        let path = |extension| Replacement::path(&self.cleaning.folder, base, extension, serial);
        let failed = |source| self.disk_error(source);
        let file = self.disk.create(&path("log")).map_err(failed)?;
        let mut target = Target::new(Active::new(base, file, 0));
        let mut changed = group.len() > 1;
        let mut removed = 0;
        for (closed, end) in group {
            self.each_batch(closed, *end, go_on, |_, batch| {
                let kept = self.survivors(judge, closed.base, batch)?;
                removed += kept.removed;
                changed |= !matches!(kept.what, What::Whole);
                let bytes = match &kept.what {
                    What::Whole => batch,
                    What::Rewritten(bytes) => bytes,
                    What::Nothing => return Ok(()),
                };
                self.put(&mut target, bytes)
            })?;
        }
        if !changed {
            return Ok(None);
        }
        target.flush().map_err(failed)?;
        let (offsets, times) = target.active.index_bytes();
        for (extension, bytes) in [("index", offsets), ("timeindex", times)] {
            let file = self.disk.create(&path(extension)).map_err(failed)?;
            file.write_at(&[&bytes], 0).map_err(failed)?;
            file.sync().map_err(|source| self.sync_error(source))?;
        }
        target.active.file.sync().map_err(|source| self.sync_error(source))?;
        let new = target.active.closed();
        self.cleaning.cleaned.records_removed += removed;
        Ok(Some(new))
    }

    /// What stays of one batch of the segment at `base`.
    fn survivors(
        &self,
        judge: &mut Judge,
        base: Offset,
        batch: &[u8],
    ) -> Result<Kept, CompactError> {
        let damaged = |source| CompactError::Batch { file: self.path(base), source };
        let header = BatchHeader::parse(batch).map_err(damaged)?;
        let cleaning = &self.cleaning;
        let rules = Rules {
            learnt_until: cleaning.learnt_until.expect("learnt before anything is cleaned"),
            now: cleaning.now,
            delete_retention_ms: cleaning.settings.delete_retention_ms,
        };
        let last = header.producer_id.and_then(|id| cleaning.producers.get(&id));
        let is_last_of_producer = last.is_some_and(|last| *last == header.last_offset());
        let kept = with_records(batch, |records| {
            let judged = judge.decide(records).map_err(|source| self.policy_error(source))?;
            let kept = rules.apply(&header, records, &judged, is_last_of_producer);
            let kept = kept.map_err(damaged)?;
            let longest = batch.len().max(cleaning.settings.batch_bytes_max as usize);
            if kept.what.bytes() > longest && !judged.verdict.replace.is_empty() {
                let problem = "whose values make a batch longer than `max.message.bytes`";
                return Err(self.policy_error(PolicyError::Verdict { problem }));
            }
            Ok(kept)
        });
        kept.unwrap_or(Ok(Kept { what: What::Whole, removed: 0 }))
    }

    /// Adds a batch to the new segment.
    fn put(&self, target: &mut Target<D::File>, batch: &[u8]) -> Result<(), CompactError> {
        let failed = |problem| {
            let (file, source) = (self.path(target.active.base), BatchError::Build { problem });
            CompactError::Batch { file, source }
        };
        let frame = Frame::parse(batch, target.active.size);
        let frame = frame.ok_or_else(|| failed("too long once it is compressed anew"))?;
        if frame.end() > u64::from(u32::MAX) {
            return Err(failed("beyond what an index can point to"));
        }
        target.pending.extend_from_slice(batch);
        target.active.note(&frame, self.cleaning.settings.index_interval_bytes);
        if target.pending.len() < WRITE_BYTES {
            return Ok(());
        }
        if target.active.size >= target.room_asked_at + ROOM_EVERY_BYTES {
            target.room_asked_at = target.active.size;
            let free = self.disk.free().map_err(|source| self.disk_error(source))?;
            if free < self.cleaning.settings.disk_reserve {
                return Err(CompactError::Full { folder: self.cleaning.folder.clone() });
            }
        }
        target.flush().map_err(|source| self.disk_error(source))
    }

    fn path(&self, base: Offset) -> String {
        segment::path(&self.cleaning.folder, base, "log")
    }
}

impl<F: DiskFile> Target<F> {
    fn new(active: Active<F>) -> Target<F> {
        Target { active, pending: Vec::new(), written: 0, room_asked_at: 0 }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.active.file.write_at(&[&self.pending], self.written)?;
        self.written += self.pending.len() as u64;
        self.pending.clear();
        Ok(())
    }
}
