//! Compaction of this shard's logs: when to look for a dirty one, and which is cleaned.
//!
//! **Where it sits.** Beside retention. The log knows whether it wants to be cleaned and what a cleaning
//! is; the shell has one thread for all shards that runs the jobs.
//!
//! **What it decides.** The dirtiest log is next, one at a time: so a shard asks for one job's memory,
//! whatever the number of its logs. After a cleaning the next follows at once; where nothing is to be
//! done, a look costs nothing until something is written, or a log has said when its time comes.
//!
//! **What it never does.** Wait for a job. A log whose cleaning failed is left alone: with damage until
//! its settings or its start change, else for a while, so that it keeps no other from its turn.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_log::compaction::{Cleanable, Cleaning, CompactError, Job, LatestByKey};
use brooklet_types::{Instant, Offset, Timestamp, TopicPartition};

use crate::output::{Event, Output};
use crate::shard::Shard;

/// How long a log is left alone whose cleaning the disk refused, as when it is full.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// What an operator may set about compaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Where nothing was to be cleaned, the next look is no sooner than this. Kafka's
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// Memory for the keys of one cleaning. Kafka's `log.cleaner.dedupe.buffer.size`.
    pub key_bytes_max: usize,
}

/// Kafka's interval, and memory for the keys of a few hundred thousand devices.
impl Default for CompactionSettings {
    fn default() -> CompactionSettings {
        CompactionSettings { backoff: Duration::from_secs(15), key_bytes_max: 32 << 20 }
    }
}

/// The shard's cleaning, and when there is another.
#[derive(Debug)]
pub(crate) struct Compaction {
    settings: CompactionSettings,
    /// The log that a job is under way for.
    under_way: Option<TopicPartition>,
    /// No look before this.
    earliest: Instant,
    /// When a log's time comes; none before something is written.
    wanted: Option<Instant>,
    refused: BTreeMap<TopicPartition, Refused>,
}

/// A log that could not be cleaned.
#[derive(Clone, Copy, Debug)]
struct Refused {
    /// Where it began then.
    start: Offset,
    /// When it has another turn; none for not as it is.
    until: Option<Instant>,
}

impl Compaction {
    pub(crate) fn new(settings: CompactionSettings, now: Instant) -> Compaction {
        let earliest = now + settings.backoff;
        Compaction { settings, under_way: None, earliest, wanted: None, refused: BTreeMap::new() }
    }

    /// When to look for a log to be cleaned, if nothing else happens before.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let wanted = self.wanted.filter(|_| self.under_way.is_none());
        wanted.map(|wanted| wanted.max(self.earliest))
    }

    /// Something has changed that may make a log dirty enough.
    pub(crate) fn look_soon(&mut self) {
        self.wanted = Some(self.earliest);
    }

    /// The log of `id` is another, or is to be treated otherwise.
    pub(crate) fn changed(&mut self, id: TopicPartition) {
        self.refused.remove(&id);
        self.look_soon();
    }

    /// Whether the log of `id`, which begins at `start`, is left alone, and until when.
    fn refuses(&self, id: TopicPartition, start: Offset, now: Instant) -> Option<Refused> {
        let refused = self.refused.get(&id).filter(|refused| refused.start == start);
        refused.filter(|refused| refused.until.is_none_or(|until| until > now)).copied()
    }
}

impl<D: Disk> Shard<D> {
    /// Begins to clean the dirtiest log, if one is dirty enough.
    pub(crate) fn look_for_dirt(
        &mut self,
        now: Instant,
        clock: Timestamp,
        outbox: &mut Vec<Output<D>>,
    ) {
        let mut dirtiest: Option<(u64, TopicPartition)> = None;
        let mut wanted: Option<Instant> = None;
        let mut comes = |at: Instant| wanted = Some(wanted.map_or(at, |first| first.min(at)));
        for (id, partition) in &self.partitions {
            let log = &partition.log;
            match (log.cleanable(clock), self.compaction.refuses(*id, log.start_offset(), now)) {
                (Cleanable::No, _) => {}
                (_, Some(refused)) => refused.until.into_iter().for_each(&mut comes),
                (Cleanable::In { ms }, None) => {
                    comes(now + Duration::from_millis(u64::try_from(ms).unwrap_or_default()));
                }
                (Cleanable::Now { dirty_permille }, None) => {
                    dirtiest = dirtiest.max(Some((dirty_permille, *id)));
                }
            }
        }
        self.compaction.earliest = now + self.compaction.settings.backoff;
        self.compaction.wanted = wanted;
        let Some((_, id)) = dirtiest else { return };
        let partition = self.partitions.get_mut(&id).expect("looked at just now");
        let policy = LatestByKey::within(self.compaction.settings.key_bytes_max);
        let job = partition.log.begin_compaction(clock, policy);
        let job = job.expect("a log that wants to be cleaned can be");
        self.hand_out(id, job, outbox);
    }

    fn hand_out(&mut self, partition: TopicPartition, job: Job<D>, outbox: &mut Vec<Output<D>>) {
        self.compaction.under_way = Some(partition);
        outbox.push(Output::Compact { partition, job: Box::new(job) });
    }

    /// A job is done, or cannot be.
    pub(crate) fn compacted(
        &mut self,
        now: Instant,
        id: TopicPartition,
        outcome: Result<Box<Cleaning>, CompactError>,
        outbox: &mut Vec<Output<D>>,
    ) {
        assert_eq!(self.compaction.under_way.take(), Some(id), "one job at a time");
        // Others may have waited for this one.
        self.compaction.wanted = Some(now);
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let folder = partition.log.folder().to_owned();
        let cleaning = match outcome {
            Ok(cleaning) => cleaning,
            Err(error) => {
                let start = partition.log.start_offset();
                if let Some(error) = partition.log.abandon_compaction(error) {
                    self.refuse(now, id, start, &error);
                    outbox.push(Output::Event(Event::NotCompacted { folder, error }));
                }
                return;
            }
        };
        let records_removed = cleaning.records_removed;
        match partition.log.advance_compaction(*cleaning) {
            Ok(Some(job)) => self.hand_out(id, job, outbox),
            Ok(None) => {
                self.compaction.earliest = now;
                outbox.push(Output::Event(Event::Compacted { folder, records_removed }));
            }
            Err(error) => {
                // Which files are in place is for the next start to find out.
                self.give_up(id, outbox);
                let problem = format!("compact: {error}");
                outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            }
        }
    }

    fn refuse(&mut self, now: Instant, id: TopicPartition, start: Offset, error: &CompactError) {
        let until = match error {
            CompactError::Damaged { .. } | CompactError::Batch { .. } => None,
            CompactError::Disk { .. }
            | CompactError::Full { .. }
            | CompactError::Sync { .. }
            | CompactError::Outdated { .. }
            | CompactError::Interrupted { .. } => Some(now + RETRY_AFTER),
        };
        self.compaction.refused.insert(id, Refused { start, until });
    }
}
