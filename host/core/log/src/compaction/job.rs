//! The part of a cleaning that reads and writes batches, and waits for the disk.
//!
//! **Where it sits.** On the cleaner's thread, while the log goes on. A [`Job`] is one stretch of work;
//! what has come of it goes back to the log as a [`Cleaning`], and the log hands out the next stretch.
//!
//! **What it decides.** Which segments become one: those side by side whose batches fit into one. And how
//! much changes at a time: one such group, or, where values are merged, all of them together. A value that
//! has been taken up by another must not be there once more after a crash, nor be gone with it.
//!
//! **What it never does.** Touch a file of the log: it writes beside them, under names of its own.

use std::collections::{BTreeMap, VecDeque};
use std::io;

use brooklet_types::{Offset, ProducerId, Timestamp};

use super::batch::with_records;
use super::error::CompactError;
use super::judge::Judge;
use super::policy::{Pass, Policy, PolicyError};
use super::record::{Compacted, REPLACED_MAX, REPLACED_TOGETHER_MAX, Replacement};
use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::frame::{Frame, Gaps, SEGMENT_OFFSETS_MAX, Step as Found, Walk};
use crate::offset_index::Named;
use crate::segment::{self, Closed};
use crate::settings::LogSettings;

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
    /// Everything before is clean.
    pub(super) dirty_from: Offset,
    /// The first offset that could be read when the cleaning began.
    pub(super) start: Offset,
    /// Where each producer's last batch ends.
    pub(super) producers: BTreeMap<ProducerId, Offset>,
    /// Away only while a job runs.
    pub(super) judge: Option<Judge>,
    /// The policy has seen every record before this offset.
    pub(super) learnt_until: Option<Offset>,
    pub(super) now: Timestamp,
    pub(super) generation: u64,
    /// The record on the disk.
    pub(super) compacted: Compacted,
    pub(super) step: Step,
    /// What has come of it so far.
    pub cleaned: Cleaned,
}

/// What a cleaning has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cleaned {
    /// Records that did not survive.
    pub records_removed: u64,
    /// Bytes of the segments that were cleaned, whether there was anything to be done or not.
    pub bytes_before: u64,
    /// What they have now.
    pub bytes_after: u64,
}

/// What has to be done next with a cleaning, and by whom.
#[derive(Debug)]
pub(super) enum Step {
    /// The cleaner: make the next replacements.
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

/// Replacements that happen together, with what the log has to know of them.
#[derive(Debug)]
pub(super) struct Swap {
    /// The record that commits them.
    pub(super) record: Compacted,
    pub(super) parts: Vec<Part>,
}

/// One of them.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) replacement: Replacement,
    pub(super) old: Vec<Closed>,
    /// What takes their place; none when nothing is left.
    pub(super) new: Option<Closed>,
}

impl<D: Disk> Job<D> {
    /// Whether the cleaning is at its beginning, and may be given another policy than Kafka's own.
    pub fn is_first(&self) -> bool {
        self.cleaning.learnt_until.is_none()
    }

    /// Has `policy` judge. For the first job of a cleaning; it stays with it to the end.
    pub fn choose(&mut self, policy: Box<dyn Policy>) {
        self.cleaning.judge.as_mut().expect("away only while a job runs").choose(policy);
    }

    /// Does the work, as long as `go_on` says so; it is asked before every batch.
    pub fn run(mut self, go_on: &dyn Fn() -> bool) -> Result<Cleaning, CompactError> {
        let mut judge = self.cleaning.judge.take().expect("given back by the job before");
        let step = match std::mem::replace(&mut self.cleaning.step, Step::Clean) {
            Step::Commit(swap) => self.sync_names().map(|()| Step::Committed(swap)),
            Step::Clean => self.clean(&mut judge, go_on),
            Step::Offered(_) | Step::Committed(_) | Step::Finished(_) => {
                unreachable!("the log hands out no step of its own")
            }
        };
        if matches!(step, Err(_) | Ok(Step::Finished(_))) {
            judge.end();
        }
        self.cleaning.step = step?;
        self.cleaning.judge = Some(judge);
        Ok(self.cleaning)
    }

    /// Makes the next replacements, or finds that none is left.
    fn clean(&mut self, judge: &mut Judge, go_on: &dyn Fn() -> bool) -> Result<Step, CompactError> {
        // What was put in place before must not depend on the record that is replaced next.
        self.sync_names()?;
        let learnt_until = match self.cleaning.learnt_until {
            Some(learnt_until) => learnt_until,
            None => self.begin(judge, go_on)?,
        };
        let before = &self.cleaning.compacted;
        let mut record = Compacted {
            serial: before.serial + 1,
            clean_until: before.clean_until,
            gaps_until: before.gaps_until.max(learnt_until),
            replacements: Vec::new(),
        };
        let mut parts = Vec::new();
        let made = self.make_parts(judge, record.serial, &mut parts, go_on).and_then(|()| {
            if parts.is_empty() {
                record.clean_until = record.clean_until.max(learnt_until);
                return self.prepare(&record);
            }
            record.replacements = parts.iter().map(|part| part.replacement.clone()).collect();
            // The record may reach the disk as soon as it is renamed: all that it names first.
            self.prepare(&record).and_then(|()| self.sync_names())
        });
        if let Err(error) = made {
            parts.iter().for_each(|part| self.discard(&part.replacement, record.serial));
            return Err(error);
        }
        if parts.is_empty() {
            return Ok(Step::Finished(record));
        }
        Ok(Step::Offered(Swap { record, parts }))
    }

    /// Makes the next replacement; where values are merged, all of them.
    fn make_parts(
        &mut self,
        judge: &mut Judge,
        serial: u64,
        parts: &mut Vec<Part>,
        go_on: &dyn Fn() -> bool,
    ) -> Result<(), CompactError> {
        while let Some(group) = self.next_group() {
            parts.extend(self.clean_group(judge, group, serial, go_on)?);
            if !parts.is_empty() && !judge.merges() {
                break;
            }
        }
        Ok(())
    }

    /// Makes what the cleaning relies on durable, and has the policy learn.
    fn begin(
        &mut self,
        judge: &mut Judge,
        go_on: &dyn Fn() -> bool,
    ) -> Result<Offset, CompactError> {
        // An older recovery point may lie within what is about to be replaced, and a start would walk it.
        let file = Checkpoint::open(&self.disk, &self.cleaning.folder);
        let file = file.map_err(|source| self.disk_error(source))?;
        file.sync().map_err(|source| self.sync_error(source))?;
        let Cleaning { now, start, dirty_from, ref segments, .. } = self.cleaning;
        if judge.merges() && segments.len() > REPLACED_TOGETHER_MAX {
            let (segments, limit) = (segments.len(), REPLACED_TOGETHER_MAX);
            return Err(self.policy_error(PolicyError::TooManySegments { segments, limit }));
        }
        let dirty_end = segments.back().map_or(dirty_from, |(_, end)| *end);
        let delete_horizon = now.plus_millis(-self.cleaning.settings.delete_retention_ms);
        let pass = Pass { now, start, dirty_from, dirty_end, delete_horizon };
        judge.begin(pass).map_err(|source| self.policy_error(source))?;
        let learnt_until = self.learn(judge, go_on)?;
        self.cleaning.segments.retain(|(segment, _)| segment.base < learnt_until);
        self.cleaning.learnt_until = Some(learnt_until);
        Ok(learnt_until)
    }

    /// Shows the policy every record that it wants to see; says before which offset it has seen all of
    /// them.
    fn learn(&self, judge: &mut Judge, go_on: &dyn Fn() -> bool) -> Result<Offset, CompactError> {
        let from = judge.observes_from();
        let mut until = self.cleaning.dirty_from;
        for (closed, end) in self.cleaning.segments.iter().filter(|(_, end)| *end > from) {
            let mut full = None;
            self.each_batch(closed, *end, go_on, |_, batch| {
                if full.is_none() {
                    let observed = with_records(batch, |records| judge.observe(records));
                    let observed = observed.unwrap_or(Ok(None));
                    full = observed.map_err(|source| self.policy_error(source))?;
                }
                Ok(())
            })?;
            until = full.unwrap_or((*end).max(until));
            if full.is_some() {
                break;
            }
        }
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

    /// Calls `each` with every batch of a segment. Damage ends the job: a [`Hole`](crate::Hole) is for
    /// people, not for a cleaner.
    pub(super) fn each_batch(
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
    pub(super) fn discard(&self, replacement: &Replacement, serial: u64) {
        let _ = replacement.discard(&self.disk, &self.cleaning.folder, serial);
    }

    fn prepare(&self, record: &Compacted) -> Result<(), CompactError> {
        let file = record.prepare(&self.disk, &self.cleaning.folder);
        let file = file.map_err(|source| self.disk_error(source))?;
        file.sync().map_err(|source| self.sync_error(source))
    }

    pub(super) fn policy_error(&self, source: PolicyError) -> CompactError {
        CompactError::Policy { folder: self.cleaning.folder.clone(), source }
    }

    fn sync_names(&self) -> Result<(), CompactError> {
        let synced = self.disk.sync_folder(&self.cleaning.folder);
        synced.map_err(|source| self.sync_error(source))
    }

    pub(super) fn sync_error(&self, source: io::Error) -> CompactError {
        let folder = self.cleaning.folder.clone();
        if source.kind() == io::ErrorKind::NotFound {
            return CompactError::Outdated { folder };
        }
        CompactError::Sync { folder, source }
    }

    pub(super) fn disk_error(&self, source: io::Error) -> CompactError {
        let folder = self.cleaning.folder.clone();
        #[expect(clippy::wildcard_enum_match_arm, reason = "there are forty, and more to come")]
        match source.kind() {
            io::ErrorKind::StorageFull => CompactError::Full { folder },
            io::ErrorKind::NotFound => CompactError::Outdated { folder },
            _ => CompactError::Disk { folder, source },
        }
    }
}
