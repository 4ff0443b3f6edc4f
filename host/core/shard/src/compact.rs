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
//! its settings or its start change, else for a while, so that it keeps no other from its turn. A policy
//! that fails again and again is asked less and less often.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_log::compaction::{Cleanable, Cleaning, CompactError, Job, Keys, PolicyError};
use brooklet_types::{Instant, Offset, Timestamp, TopicName, TopicPartition};

use crate::output::{Event, Output};
use crate::shard::Shard;

/// How long a log is left alone whose cleaning the disk refused, as when it is full.
const RETRY_AFTER: Duration = Duration::from_secs(300);

/// How long a log is left alone whose policy has failed; twice as long each time it fails again.
const POLICY_RETRY_AFTER: Duration = Duration::from_secs(15);

/// No longer than this, so that a policy that is mended is found out about within the hour.
const POLICY_RETRY_AFTER_MAX: Duration = Duration::from_secs(3600);

/// What an operator may set about compaction, and what it needs of chance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CompactionSettings {
    /// Where nothing was to be cleaned, the next look is no sooner than this. Kafka's
    /// `log.cleaner.backoff.ms`.
    pub backoff: Duration,
    /// Memory for the keys of one cleaning. Kafka's `log.cleaner.dedupe.buffer.size`.
    pub key_bytes_max: usize,
    /// Random: what keeps clients from making two keys that are taken for one.
    pub key_seed: [u8; 32],
}

/// Kafka's interval, and memory for the keys of a few hundred thousand devices.
impl Default for CompactionSettings {
    fn default() -> CompactionSettings {
        let (backoff, key_bytes_max) = (Duration::from_secs(15), 32 << 20);
        CompactionSettings { backoff, key_bytes_max, key_seed: [0; 32] }
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
    /// Where it began then, if it is a reason to look again that it begins elsewhere.
    start: Option<Offset>,
    /// When it has another turn; none for not as it is.
    until: Option<Instant>,
    /// How often its policy has failed, one time after the other.
    failures: u32,
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
        let same = |refused: &&Refused| refused.start.is_none_or(|then| then == start);
        let refused = self.refused.get(&id).filter(same);
        refused.filter(|refused| refused.until.is_none_or(|until| until > now)).copied()
    }
}

impl Compaction {
    /// Leaves a log alone; says for how long, if not for good.
    fn refuse(
        &mut self,
        now: Instant,
        id: TopicPartition,
        start: Offset,
        error: &CompactError,
    ) -> Option<Duration> {
        let before = self.refused.get(&id).map_or(0, |refused| refused.failures);
        let (start, again, failures) = match error {
            CompactError::Damaged { .. } | CompactError::Batch { .. } => (Some(start), None, 0),
            CompactError::Policy { source, .. } => {
                let wait = POLICY_RETRY_AFTER.saturating_mul(2_u32.saturating_pow(before));
                let asked = match source {
                    PolicyError::Failed { retry_after, .. } => *retry_after,
                    PolicyError::Verdict { .. }
                    | PolicyError::NoRoom { .. }
                    | PolicyError::TooManySegments { .. } => Duration::ZERO,
                };
                let wait = wait.max(asked).min(POLICY_RETRY_AFTER_MAX);
                (None, Some(wait), before.saturating_add(1))
            }
            CompactError::Disk { .. }
            | CompactError::Full { .. }
            | CompactError::Sync { .. }
            | CompactError::Outdated { .. }
            | CompactError::Interrupted { .. } => (Some(start), Some(RETRY_AFTER), 0),
        };
        let until = again.map(|again| now + again);
        self.refused.insert(id, Refused { start, until, failures });
        again
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
                (Cleanable::Now { .. }, None) if !partition.may_lose_segments() => {
                    comes(now + self.compaction.settings.backoff);
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
        let settings = &self.compaction.settings;
        let keys = Keys::within(settings.key_bytes_max, settings.key_seed);
        let job = partition.log.begin_compaction(clock, keys);
        let job = job.expect("a log that wants to be cleaned can be");
        let topic = partition.topic.clone();
        self.hand_out(id, topic, job, outbox);
    }

    /// The logs of a topic have another policy, which gets its turn however often the one before has failed.
    pub(crate) fn policy_changed(&mut self, topic: &TopicName) {
        let judged = self.partitions.values().filter(|partition| partition.topic == *topic);
        for id in judged.map(|partition| partition.id).collect::<Vec<_>>() {
            self.compaction.changed(id);
        }
    }

    fn hand_out(
        &mut self,
        partition: TopicPartition,
        topic: TopicName,
        job: Job<D>,
        outbox: &mut Vec<Output<D>>,
    ) {
        self.compaction.under_way = Some(partition);
        outbox.push(Output::Compact { partition, topic, job: Box::new(job) });
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
        let (folder, topic) = (partition.log.folder().to_owned(), partition.topic.clone());
        let cleaning = match outcome {
            Ok(cleaning) => cleaning,
            Err(error) => {
                let start = partition.log.start_offset();
                if let Some(error) = partition.log.abandon_compaction(error) {
                    let again = self.compaction.refuse(now, id, start, &error);
                    let event = Event::NotCompacted { folder, topic, error, again };
                    outbox.push(Output::Event(event));
                }
                return;
            }
        };
        let cleaned = cleaning.cleaned;
        match partition.log.advance_compaction(*cleaning) {
            Ok(Some(job)) => self.hand_out(id, topic, job, outbox),
            Ok(None) => {
                self.compaction.earliest = now;
                self.compaction.refused.remove(&id);
                outbox.push(Output::Event(Event::Compacted { folder, topic, cleaned }));
            }
            Err(error) => {
                // Which files are in place is for the next start to find out.
                self.give_up(id, outbox);
                let problem = format!("compact: {error}");
                outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            }
        }
    }
}
