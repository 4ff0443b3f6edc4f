//! Compaction: of each key the latest record stays, or what a policy says, and nothing that stays moves.
//!
//! **Where it sits.** Beside a log. The shard asks [`Log::begin_compaction`] for a [`Job`], any thread
//! runs it over closed segments, and [`Log::advance_compaction`] takes what came of it and says what
//! is next, until nothing is. Whatever waits for the disk is in the job.
//!
//! **What it decides.** Whether there is enough to clean, and when what a job made takes the place of
//! what it read. Which records survive is the [policy](Policy)'s and [`batch`]'s.
//!
//! **What it never does.** Touch the active segment or a control batch, change an offset, or clean a
//! segment with damage in it: a [`Hole`](crate::Hole) is for people, not for a cleaner.
//!
//! **Gaps.** Where all of a batch goes, its neighbours do not adjoin any more. The new segment's index
//! has an entry for every batch behind such a gap, so that a gap is told from a damaged offset
//! ([`Gaps`](crate::frame::Gaps)).
//!
//! **A crash** at any step leaves the old segments or the new one. The new files are synced under names
//! of their own. The shard renames the [record](record) that names them, which the job makes durable:
//! from here on the next start would put them in place. The shard does so now, and looks again before
//! each step whether the segments are still what the job has read. No step relies on the order in
//! which names reach the disk without a sync.
//!
//! **Passes.** One job learns keys in a bounded memory. What does not fit waits for the next, and what is
//! cleaned at a time is at most a segment long, which is the space that it needs. Not so where a policy
//! has to see everything, or merges: [`Scope::All`], [`Policy::merges`].

mod batch;
mod error;
mod job;
mod judge;
mod keys;
mod policy;
mod record;
mod rewrite;

use std::io;

use brooklet_types::{Offset, ProducerId, Timestamp};

pub use self::error::CompactError;
pub use self::job::{Cleaned, Cleaning, Job};
pub use self::keys::Keys;
pub use self::policy::{Entry, Latest, Pass, Policy, PolicyError, Scope, Verdict};
pub(crate) use self::record::Compacted;

use self::job::{Step, Swap};
use self::judge::Judge;
use crate::disk::Disk;
use crate::log::Log;
use crate::producer::Producer;
use crate::segment::Closed;
use crate::settings::LogSettings;

/// Whether a log wants to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleanable {
    /// Now; so many thousandths of it are dirty.
    Now { dirty_permille: u64 },
    /// Not yet, but in so many milliseconds though nothing is written until then.
    In { ms: i64 },
    /// Not before something is written.
    No,
}

/// Looks at closed segments, each with its end: how many of them, from the first on, a cleaning may
/// take, and whether there is to be one. As Kafka: none from the first that is too young, and enough
/// of them must be dirty, or dirty for too long.
fn assess<'a>(
    closed: impl Iterator<Item = (&'a Closed, Offset)>,
    dirty_from: Offset,
    settings: &LogSettings,
    now: Timestamp,
) -> (usize, Cleanable) {
    let (mut count, mut bytes, mut dirty_bytes) = (0, 0, 0);
    let mut wait_ms: Option<i64> = None;
    let mut waits = |ms: i64| wait_ms = Some(wait_ms.map_or(ms, |least| least.min(ms)));
    let mut oldest: Option<Timestamp> = None;
    for (segment, end) in closed {
        let is_dirty = end > dirty_from;
        let age = segment.newest.map_or(i64::MAX, |newest| now.millis_since(newest.0));
        if is_dirty && age < settings.min_compaction_lag_ms {
            waits(settings.min_compaction_lag_ms - age);
            break;
        }
        count += 1;
        bytes += segment.size;
        if is_dirty {
            dirty_bytes += segment.size;
            oldest = [oldest, segment.oldest].into_iter().flatten().min();
        }
    }
    let dirty_for = oldest.filter(|_| dirty_bytes > 0).map(|oldest| now.millis_since(oldest));
    let overdue = dirty_for.is_some_and(|ms| ms > settings.max_compaction_lag_ms);
    let ratio = dirty_bytes * 1000 > bytes * u64::from(settings.min_cleanable_dirty_permille);
    if dirty_bytes > 0 && (ratio || overdue) {
        return (count, Cleanable::Now { dirty_permille: dirty_bytes * 1000 / bytes });
    }
    if let Some(dirty_for) = dirty_for.filter(|_| settings.max_compaction_lag_ms < i64::MAX) {
        waits(settings.max_compaction_lag_ms.saturating_sub(dirty_for).saturating_add(1));
    }
    (count, wait_ms.map_or(Cleanable::No, |ms| Cleanable::In { ms }))
}

impl<D: Disk> Log<D> {
    /// Whether the log wants to be cleaned.
    pub fn cleanable(&self, now: Timestamp) -> Cleanable {
        if !self.settings.compact || self.compaction_under_way.is_some() {
            return Cleanable::No;
        }
        let waits_for_sync = self.closed.range(self.checkpoint.segment..).next().is_some();
        match self.assess(now).1 {
            Cleanable::In { .. } | Cleanable::No if waits_for_sync => Cleanable::In { ms: 0 },
            cleanable @ (Cleanable::Now { .. } | Cleanable::In { .. } | Cleanable::No) => cleanable,
        }
    }

    fn assess(&self, now: Timestamp) -> (usize, Cleanable) {
        // What is not durable yet may be cut at the next start: the cleaner keeps away from it.
        let closed = self.closed.range(..self.checkpoint.segment).map(|(_, segment)| segment);
        let closed = closed.map(|segment| (segment, self.next_base(segment.base)));
        assess(closed, self.compacted.clean_until, &self.settings, now)
    }

    /// Begins a cleaning of the closed segments, if the log wants one. The job is to be run, and what
    /// comes of it handed to [`Log::advance_compaction`], or an error to [`Log::abandon_compaction`]. Kafka's
    /// own policy judges, unless the job is given another: [`Job::choose`].
    pub fn begin_compaction(&mut self, now: Timestamp, keys: Keys) -> Option<Job<D>> {
        let Cleanable::Now { .. } = self.cleanable(now) else { return None };
        let (count, _) = self.assess(now);
        let last = |(id, producer): (ProducerId, &Producer)| {
            producer.last_offset().map(|offset| (id, offset))
        };
        let segments = self.closed.values().take(count);
        let cleaning = Cleaning {
            folder: self.folder.clone(),
            settings: self.settings.clone(),
            segments: segments.map(|it| (it.clone(), self.next_base(it.base))).collect(),
            dirty_from: self.compacted.clean_until,
            start: self.start,
            producers: self.producers().iter().filter_map(last).collect(),
            judge: Some(Judge::new(keys)),
            learnt_until: None,
            now,
            generation: self.unsynced.generation,
            compacted: self.compacted.clone(),
            step: Step::Clean,
            cleaned: Cleaned::default(),
        };
        self.compaction_under_way = Some(self.unsynced.generation);
        Some(Job { disk: self.disk.clone(), cleaning })
    }

    /// Takes what a job has made one step further, and hands out the next stretch of work; none when
    /// the cleaning is at its end. After an error nobody knows which of two segments is in place:
    /// the log may not be used any more, and the next start finds out.
    pub fn advance_compaction(&mut self, mut cleaning: Cleaning) -> io::Result<Option<Job<D>>> {
        let current = cleaning.generation == self.unsynced.generation;
        let step = std::mem::replace(&mut cleaning.step, Step::Clean);
        match step {
            Step::Offered(swap) if current && self.holds(&swap) => {
                Compacted::commit(&self.disk, &self.folder)?;
                self.compacted = swap.record.clone();
                cleaning.compacted = swap.record.clone();
                cleaning.step = Step::Commit(swap);
            }
            Step::Offered(swap) => self.discard(&swap)?,
            Step::Committed(swap) if current && self.holds(&swap) => self.put_in_place(swap)?,
            Step::Committed(swap) => {
                // The next start must not do it either. A truncation has seen to that already.
                if current {
                    self.withdraw_replacement()?;
                    cleaning.compacted = self.compacted.clone();
                }
                self.discard(&swap)?;
            }
            Step::Finished(record) => {
                if current {
                    Compacted::commit(&self.disk, &self.folder)?;
                    self.compacted = record;
                    self.unsynced.folder = true;
                }
                self.compaction_under_way = None;
                return Ok(None);
            }
            Step::Clean | Step::Commit(_) => unreachable!("a job ends with a step of the log's"),
        }
        if !current {
            self.compaction_under_way = None;
            return Ok(None);
        }
        Ok(Some(Job { disk: self.disk.clone(), cleaning }))
    }

    /// The job has ended with an error, and another may begin. Gives the error back unless it is explained:
    /// the process is ending, or the log was changed while the job was reading it.
    pub fn abandon_compaction(&mut self, error: CompactError) -> Option<CompactError> {
        let began = self.compaction_under_way.take();
        let was_cut = began.is_none_or(|generation| generation != self.unsynced.generation);
        let is_explained = match error {
            CompactError::Outdated { .. } | CompactError::Interrupted { .. } => true,
            CompactError::Damaged { .. } | CompactError::Batch { .. } => was_cut,
            CompactError::Disk { .. }
            | CompactError::Full { .. }
            | CompactError::Sync { .. }
            | CompactError::Policy { .. } => false,
        };
        (!is_explained).then_some(error)
    }

    /// Whether the segments that replacements were made of are still here.
    fn holds(&self, swap: &Swap) -> bool {
        let mut old = swap.parts.iter().flat_map(|part| &part.old);
        old.all(|old| self.closed.get(&old.base) == Some(old))
    }

    fn put_in_place(&mut self, swap: Swap) -> io::Result<()> {
        for part in swap.parts {
            part.replacement.put_in_place(&self.disk, &self.folder, swap.record.serial)?;
            for old in &part.old {
                // Readers at the head see what others see.
                self.tail.forget_before(self.next_base(old.base));
                self.closed.remove(&old.base);
            }
            self.closed.extend(part.new.map(|new| (new.base, new)));
        }
        self.unsynced.folder = true;
        Ok(())
    }

    fn discard(&self, swap: &Swap) -> io::Result<()> {
        let mut parts = swap.parts.iter();
        parts
            .try_for_each(|it| it.replacement.discard(&self.disk, &self.folder, swap.record.serial))
    }

    /// Sees to it that the next start carries out no replacement.
    fn withdraw_replacement(&mut self) -> io::Result<()> {
        self.compacted.replacements.clear();
        self.compacted.serial += 1;
        self.compacted.store(&self.disk, &self.folder)
    }

    /// The log is about to be cut within the segment at `base`, in which there may be gaps still. What comes
    /// behind will be dirty and whole, and no replacement may bring back what is there now.
    pub(crate) fn forget_compaction(&mut self, base: Offset) -> io::Result<()> {
        if self.compacted == Compacted::default() {
            return Ok(());
        }
        // The last replacement may hang on its record still.
        self.disk.sync_folder(&self.folder)?;
        self.compacted.clean_until = self.compacted.clean_until.min(base);
        self.compacted.gaps_until = self.compacted.gaps_until.min(base.next());
        self.withdraw_replacement()
    }
}

#[cfg(test)]
mod tests;
