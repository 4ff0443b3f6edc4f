//! The part of a cleaning that reads and writes batches, and waits for the disk.
//!
//! **Where it sits.** On the cleaner's thread, while the log goes on. A [`Job`] is one stretch of work;
//! what has come of it goes back to the log as a [`Cleaning`], and the log hands out the next stretch.
//!
//! **What it decides.** Which segments become one: those side by side whose batches fit into one.
//!
//! **What it never does.** Touch a file of the log: it writes beside them, under names of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use brooklet_types::{Offset, ProducerId, Timestamp};
use brooklet_wire::batch::{BatchError, BatchHeader};

use super::batch::{Kept, Rules, What, with_records};
use super::policy::LatestByKey;
use super::record::{Compacted, REPLACED_MAX, Replacement};
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::frame::{Frame, Gaps, SEGMENT_OFFSETS_MAX, Step as Found, Walk};
use crate::offset_index::Named;
use crate::segment::{self, Active, Closed};
use crate::settings::LogSettings;

/// Bytes gathered before they are written.
const WRITE_BYTES: usize = 1 << 20;

/// How often, in bytes written, the disk is asked whether it has room: what is written between two
/// questions is small against the reserve.
const ROOM_EVERY_BYTES: u64 = 8 << 20;

/// A stretch of work for the cleaner's thread.
#[derive(Debug)]
pub struct Job<D: Disk> {
    pub(super) disk: D,
    pub(super) cleaning: Cleaning,
}

/// One cleaning of one log: what it knows, and how far it has come.
#[derive(Debug)]
pub struct Cleaning {
    pub(super) folder: String,
    pub(super) settings: LogSettings,
    /// Segments with their ends, oldest first, that were not looked at yet.
    pub(super) segments: VecDeque<(Closed, Offset)>,
    /// Everything before is clean; keys are learnt from here on.
    pub(super) dirty_from: Offset,
    /// Where each producer's last batch ends.
    pub(super) producers: BTreeMap<ProducerId, Offset>,
    pub(super) policy: LatestByKey,
    /// The policy has seen every record before this offset.
    pub(super) learnt_until: Option<Offset>,
    pub(super) now: Timestamp,
    pub(super) generation: u64,
    /// The record on the disk.
    pub(super) compacted: Compacted,
    pub(super) step: Step,
    /// Records that did not survive.
    pub records_removed: u64,
}

/// What has to be done next with a cleaning, and by whom.
#[derive(Debug)]
pub(super) enum Step {
    /// The cleaner: make the next replacement.
    Clean,
    /// The log: commit it, unless the log has moved on.
    Offered(Swap),
    /// The cleaner: make the commit durable.
    Commit(Swap),
    /// The log: put it in place.
    Committed(Swap),
    /// The log: note how far it is clean. There is nothing left to replace.
    Finished(Compacted),
}

/// One replacement, with what the log has to know of it.
#[derive(Debug)]
pub(super) struct Swap {
    /// The record that commits it.
    pub(super) record: Compacted,
    pub(super) replacement: Replacement,
    pub(super) old: Vec<Closed>,
    /// What takes their place; none when nothing is left.
    pub(super) new: Option<Closed>,
}

/// Why a log could not be cleaned. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The disk refused.
    #[error("compact {folder}: {source}")]
    Disk { folder: String, source: io::Error },
    /// Too little would be left on the disk.
    #[error("compact {folder}: no space left")]
    Full { folder: String },
    /// Nobody knows what is on the disk: end the process.
    #[error("compact {folder}: sync: {source}")]
    Sync { folder: String, source: io::Error },
    /// A batch is damaged.
    #[error("compact {file}: no whole batch at byte {position}")]
    Damaged { file: String, position: u64 },
    /// A batch cannot be written again.
    #[error("compact {file}: {source}")]
    Batch { file: String, source: BatchError },
    /// Segments were removed meanwhile: by retention, or with the topic.
    #[error("compact {folder}: segments were removed meanwhile")]
    Outdated { folder: String },
    /// The process is ending.
    #[error("compact {folder}: interrupted")]
    Interrupted { folder: String },
}

/// The segment in the making.
struct Target<F> {
    active: Active<F>,
    /// Batches that are not in the file yet.
    pending: Vec<u8>,
    written: u64,
    room_asked_at: u64,
}

impl<D: Disk> Job<D> {
    /// Does the work, as long as `go_on` says so; it is asked before every batch.
    pub fn run(mut self, go_on: &dyn Fn() -> bool) -> Result<Cleaning, CompactError> {
        self.cleaning.step = match std::mem::replace(&mut self.cleaning.step, Step::Clean) {
            Step::Commit(swap) => {
                self.sync_names()?;
                Step::Committed(swap)
            }
            Step::Clean => self.clean(go_on)?,
            Step::Offered(_) | Step::Committed(_) | Step::Finished(_) => {
                unreachable!("the log hands out no step of its own")
            }
        };
        Ok(self.cleaning)
    }

    /// Makes the next replacement, or finds that none is left.
    fn clean(&mut self, go_on: &dyn Fn() -> bool) -> Result<Step, CompactError> {
        // What was put in place before must not depend on the record that is replaced next.
        self.sync_names()?;
        let learnt_until = match self.cleaning.learnt_until {
            Some(learnt_until) => learnt_until,
            None => self.begin(go_on)?,
        };
        let before = &self.cleaning.compacted;
        let mut record = Compacted {
            serial: before.serial + 1,
            clean_until: before.clean_until,
            gaps_until: before.gaps_until.max(learnt_until),
            replacement: None,
        };
        while let Some(group) = self.next_group() {
            if let Some(mut swap) = self.clean_group(group, record.clone(), go_on)? {
                record.replacement = Some(swap.replacement.clone());
                swap.record = record;
                // The record may reach the disk as soon as it is renamed: all that it names first.
                let prepared = self.prepare(&swap.record).and_then(|()| self.sync_names());
                prepared.inspect_err(|_| self.discard(&swap.replacement, swap.record.serial))?;
                return Ok(Step::Offered(swap));
            }
        }
        record.clean_until = record.clean_until.max(learnt_until);
        self.prepare(&record)?;
        Ok(Step::Finished(record))
    }

    /// Makes what the cleaning relies on durable, and learns the dirty records.
    fn begin(&mut self, go_on: &dyn Fn() -> bool) -> Result<Offset, CompactError> {
        // An older recovery point may lie within what is about to be replaced, and a start would walk it.
        let file = Checkpoint::open(&self.disk, &self.cleaning.folder);
        let file = file.map_err(|source| self.disk_error(source))?;
        file.sync().map_err(|source| self.sync_error(source))?;
        let learnt_until = self.learn(go_on)?;
        self.cleaning.segments.retain(|(segment, _)| segment.base < learnt_until);
        self.cleaning.learnt_until = Some(learnt_until);
        Ok(learnt_until)
    }

    /// Shows the policy every dirty record; says before which offset it has seen all of them.
    fn learn(&mut self, go_on: &dyn Fn() -> bool) -> Result<Offset, CompactError> {
        let dirty_from = self.cleaning.dirty_from;
        let mut policy = std::mem::replace(&mut self.cleaning.policy, LatestByKey::within(0));
        let mut until = dirty_from;
        for (closed, end) in self.cleaning.segments.iter().filter(|(_, end)| *end > dirty_from) {
            let mut full = None;
            self.each_batch(closed, *end, go_on, |_, batch| {
                if full.is_none() {
                    full = with_records(batch, |records| {
                        policy.observe(records.iter().filter(|record| record.offset >= dirty_from))
                    })
                    .flatten();
                }
                Ok(())
            })?;
            until = full.unwrap_or(*end);
            if full.is_some() {
                break;
            }
        }
        self.cleaning.policy = policy;
        Ok(until)
    }

    /// The next segments that become one: as many as fit, so that what compaction leaves of many
    /// segments does not stay as many files.
    fn next_group(&mut self) -> Option<Vec<(Closed, Offset)>> {
        let segments = &mut self.cleaning.segments;
        let mut group = vec![segments.pop_front()?];
        let (base, mut bytes) = (group[0].0.base, group[0].0.size);
        let fits = |bytes: u64, end: Offset| {
            bytes <= u64::from(self.cleaning.settings.segment_bytes)
                && end.distance_from(base) <= SEGMENT_OFFSETS_MAX
        };
        while let Some(next) = segments.pop_front_if(|next| fits(bytes + next.0.size, next.1)) {
            bytes += next.0.size;
            group.push(next);
            if group.len() == REPLACED_MAX {
                break;
            }
        }
        Some(group)
    }

    /// Writes the survivors of a group beside it. None when the one segment it has stays as it is.
    fn clean_group(
        &mut self,
        group: Vec<(Closed, Offset)>,
        record: Compacted,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Option<Swap>, CompactError> {
        let base = group[0].0.base;
        let replaced = group.iter().map(|(segment, _)| segment.base).collect();
        let mut replacement = Replacement { base, size: 0, replaced };
        let written = self.write_group(&group, record.serial, go_on);
        let is_wanted =
            written.as_ref().is_ok_and(|new| new.as_ref().is_some_and(|it| it.size > 0));
        if !is_wanted {
            self.discard(&replacement, record.serial);
        }
        let Some(new) = written? else { return Ok(None) };
        replacement.size = new.size;
        let old = group.into_iter().map(|(segment, _)| segment).collect();
        Ok(Some(Swap { record, replacement, old, new: is_wanted.then_some(new) }))
    }

    /// Writes what stays of a group into one new segment; none when nothing has changed.
    fn write_group(
        &mut self,
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
                let kept = self.survivors(batch).map_err(|source| {
                    let file = segment::path(&self.cleaning.folder, closed.base, "log");
                    CompactError::Batch { file, source }
                })?;
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
        self.cleaning.records_removed += removed;
        Ok(Some(new))
    }

    /// What stays of one batch.
    fn survivors(&self, batch: &[u8]) -> Result<Kept, BatchError> {
        let header = BatchHeader::parse(batch)?;
        let cleaning = &self.cleaning;
        let rules = Rules {
            learnt_until: cleaning.learnt_until.expect("learnt before anything is cleaned"),
            now: cleaning.now,
            delete_retention_ms: cleaning.settings.delete_retention_ms,
        };
        let last = header.producer_id.and_then(|id| cleaning.producers.get(&id));
        let is_last_of_producer = last.is_some_and(|last| *last == header.last_offset());
        let kept = with_records(batch, |records| {
            let survives = cleaning.policy.decide(records);
            rules.apply(&header, records, &survives, is_last_of_producer)
        });
        kept.unwrap_or(Ok(Kept { what: What::Whole, removed: 0 }))
    }

    /// Adds a batch to the new segment.
    fn put(&self, target: &mut Target<D::File>, batch: &[u8]) -> Result<(), CompactError> {
        let frame = Frame::parse(batch, target.active.size).ok_or_else(|| {
            let file = segment::path(&self.cleaning.folder, target.active.base, "log");
            let source = BatchError::Build { problem: "too long once it is compressed anew" };
            CompactError::Batch { file, source }
        })?;
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

    /// Calls `each` with every batch of a segment. Damage ends the job: a [`Hole`](crate::Hole) is for
    /// people, not for a cleaner.
    fn each_batch(
        &self,
        closed: &Closed,
        end: Offset,
        go_on: &dyn Fn() -> bool,
        mut each: impl FnMut(&Frame, &[u8]) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        let folder = &self.cleaning.folder;
        let path = segment::path(folder, closed.base, "log");
        let failed = |source| self.disk_error(source);
        let file = self.disk.open(&path).map_err(failed)?;
        let gaps = match self.disk.open(&segment::path(folder, closed.base, "index")) {
            Ok(index) => Gaps::Named(Named::new(index, closed.base)),
            Err(_) if closed.base < self.cleaning.compacted.gaps_until => Gaps::Anywhere,
            Err(_) => Gaps::Nowhere,
        };
        let mut walk = Walk::new(&file, 0, closed.size, closed.base, gaps);
        loop {
            if !go_on() {
                return Err(CompactError::Interrupted { folder: folder.clone() });
            }
            match walk.step().map_err(failed)? {
                Found::Batch(frame) if frame.last < end => {
                    each(&frame, walk.bytes(&frame).map_err(failed)?)?;
                }
                Found::End { position } if position == closed.size => return Ok(()),
                Found::Batch(Frame { position, .. })
                | Found::End { position }
                | Found::Bad { position, .. } => {
                    return Err(CompactError::Damaged { file: path, position });
                }
            }
        }
    }

    /// Removes files that nobody wants. One that cannot be removed takes space until the next start.
    fn discard(&self, replacement: &Replacement, serial: u64) {
        let _ = replacement.discard(&self.disk, &self.cleaning.folder, serial);
    }

    fn prepare(&self, record: &Compacted) -> Result<(), CompactError> {
        let file = record.prepare(&self.disk, &self.cleaning.folder);
        let file = file.map_err(|source| self.disk_error(source))?;
        file.sync().map_err(|source| self.sync_error(source))
    }

    fn sync_names(&self) -> Result<(), CompactError> {
        let synced = self.disk.sync_folder(&self.cleaning.folder);
        synced.map_err(|source| self.sync_error(source))
    }

    fn sync_error(&self, source: io::Error) -> CompactError {
        let folder = self.cleaning.folder.clone();
        if source.kind() == io::ErrorKind::NotFound {
            return CompactError::Outdated { folder };
        }
        CompactError::Sync { folder, source }
    }

    fn disk_error(&self, source: io::Error) -> CompactError {
        let folder = self.cleaning.folder.clone();
        #[expect(clippy::wildcard_enum_match_arm, reason = "there are forty, and more to come")]
        match source.kind() {
            io::ErrorKind::StorageFull => CompactError::Full { folder },
            io::ErrorKind::NotFound => CompactError::Outdated { folder },
            _ => CompactError::Disk { folder, source },
        }
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
