//! Reads: what a fetch finds now, and fetches that wait for more.
//!
//! A fetch is answered when enough bytes are there, when something is wrong with one of its
//! partitions, or when its time is up. A consumer may read from a follower too, up to the high watermark that is known
//! there, and is sent to one by the leader (KIP-392). Nothing is read here: the answer is a plan of byte ranges,
//! carried out by whoever asked, off this thread.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_types::{ByteSize, ErrorCode, Instant, Offset, TopicPartition};

use crate::input::{Fetch, FetchPartition, ReplicaFetch, Slot, Ticket};
use crate::output::{EpochEnd, Fetched, Output, Reply};
use crate::partition::{Partition, Role};
use crate::shard::Shard;

/// More partitions than this are not looked at twice.
const NEAR_PARTITIONS_MAX: usize = 64;

/// Fetches that found too little and have time left.
#[derive(Debug, Default)]
pub(crate) struct WaitingFetches {
    fetches: BTreeMap<Ticket, WaitingFetch>,
    deadlines: BTreeSet<(Instant, Ticket)>,
    /// Who waits for which partition, so that an append wakes only those.
    interests: BTreeSet<(TopicPartition, Ticket)>,
}

#[derive(Debug)]
struct WaitingFetch {
    asked: Asked,
    deadline: Instant,
}

/// Who reads what.
#[derive(Debug)]
pub(crate) enum Asked {
    /// A consumer, up to the high watermark.
    Read(Fetch),
    /// A follower, up to the log's end.
    Copy(ReplicaFetch),
}

/// What a fetch finds now.
pub(crate) struct Found<D: Disk> {
    pub(crate) partitions: Vec<(Slot, Fetched<D>)>,
    pub(crate) bytes: u64,
    /// Something the reader should hear of at once: an error, a divergence, or that it should ask elsewhere.
    pub(crate) urgent: bool,
}

impl Asked {
    fn partitions(&self) -> Vec<TopicPartition> {
        match self {
            Asked::Read(fetch) => fetch.partitions.iter().map(|one| one.partition).collect(),
            Asked::Copy(fetch) => fetch.partitions.iter().map(|one| one.partition).collect(),
        }
    }

    fn min(&self) -> u64 {
        match self {
            Asked::Read(Fetch { min, .. }) | Asked::Copy(ReplicaFetch { min, .. }) => min.0,
        }
    }

    fn wait_max(&self) -> Duration {
        match self {
            Asked::Read(Fetch { wait_max, .. }) | Asked::Copy(ReplicaFetch { wait_max, .. }) => {
                *wait_max
            }
        }
    }
}

impl<D: Disk> Found<D> {
    pub(crate) fn new(partitions: usize) -> Found<D> {
        Found { partitions: Vec::with_capacity(partitions), bytes: 0, urgent: false }
    }

    pub(crate) fn add(&mut self, slot: Slot, fetched: Fetched<D>) {
        self.bytes += fetched.plan.as_ref().map_or(0, |plan| plan.bytes());
        let is_sent_away = fetched.diverging.is_some() || fetched.nearer.is_some();
        self.urgent |= fetched.error.is_some() || is_sent_away;
        self.partitions.push((slot, fetched));
    }
}

impl WaitingFetches {
    fn park(&mut self, ticket: Ticket, asked: Asked, deadline: Instant) {
        self.deadlines.insert((deadline, ticket));
        for partition in asked.partitions() {
            self.interests.insert((partition, ticket));
        }
        self.fetches.insert(ticket, WaitingFetch { asked, deadline });
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Asked> {
        let waiting = self.fetches.remove(&ticket)?;
        self.deadlines.remove(&(waiting.deadline, ticket));
        for partition in waiting.asked.partitions() {
            self.interests.remove(&(partition, ticket));
        }
        Some(waiting.asked)
    }

    fn interested_in(&self, partition: TopicPartition) -> Vec<Ticket> {
        let interested = self.interests.range((partition, Ticket::MIN)..=(partition, Ticket::MAX));
        interested.map(|(_, ticket)| *ticket).collect()
    }

    fn due(&self, now: Instant) -> Vec<Ticket> {
        self.deadlines.iter().take_while(|(at, _)| *at <= now).map(|(_, ticket)| *ticket).collect()
    }

    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }
}

impl<D: Disk> Shard<D> {
    pub(crate) fn fetch(
        &mut self,
        now: Instant,
        ticket: Ticket,
        fetch: Fetch,
        outbox: &mut Vec<Output<D>>,
    ) {
        let found = self.look_as_reader(&fetch);
        self.answer_or_park(now, ticket, Asked::Read(fetch), found, outbox);
    }

    /// Answers a fetch with what it has found, if that is enough.
    pub(crate) fn answer_or_park(
        &mut self,
        now: Instant,
        ticket: Ticket,
        asked: Asked,
        found: Found<D>,
        outbox: &mut Vec<Output<D>>,
    ) {
        if found.urgent || found.bytes >= asked.min() || asked.wait_max().is_zero() {
            outbox.push(Output::Reply { ticket, reply: Reply::Fetched(found.partitions) });
        } else {
            let deadline = now + asked.wait_max();
            self.waiting.park(ticket, asked, deadline);
        }
    }

    /// Whether a fetch is of few partitions and planning it opens no file: its offsets lie in active
    /// segments, whose indexes are in memory.
    pub(crate) fn is_near_the_head(&self, fetch: &Fetch) -> bool {
        let near = |wanted: &FetchPartition| {
            let partition = self.partitions.get(&wanted.partition);
            partition.is_none_or(|partition| partition.log.is_in_active_segment(wanted.offset))
        };
        fetch.partitions.len() <= NEAR_PARTITIONS_MAX && fetch.partitions.iter().all(near)
    }

    /// Answers the fetches that have enough, now that more of `partition` can be read.
    pub(crate) fn wake_readers(&mut self, partition: TopicPartition, outbox: &mut Vec<Output<D>>) {
        for ticket in self.waiting.interested_in(partition) {
            let waiting = self.waiting.fetches.get(&ticket).expect("an interest is of a fetch");
            let asked = &waiting.asked;
            let has_enough = match asked {
                Asked::Read(Fetch { min: ByteSize(0..=1), .. }) => true,
                Asked::Read(_) => self.look(asked).bytes >= asked.min(),
                Asked::Copy(_) => self.is_enough(asked),
            };
            if has_enough {
                self.answer_fetch(ticket, outbox);
            }
        }
    }

    /// Answers the followers that have enough, now that there is more of `partition`.
    pub(crate) fn wake_followers(
        &mut self,
        partition: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        for ticket in self.waiting.interested_in(partition) {
            let waiting = self.waiting.fetches.get(&ticket).expect("an interest is of a fetch");
            if matches!(waiting.asked, Asked::Copy(_)) && self.is_enough(&waiting.asked) {
                self.answer_fetch(ticket, outbox);
            }
        }
    }

    fn is_enough(&self, asked: &Asked) -> bool {
        let found = self.look(asked);
        found.urgent || found.bytes >= asked.min()
    }

    /// Answers every fetch that waits for `partition`, because it is going away or has changed.
    pub(crate) fn release_readers(
        &mut self,
        partition: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        for ticket in self.waiting.interested_in(partition) {
            self.answer_fetch(ticket, outbox);
        }
    }

    /// Answers the fetches whose time is up.
    pub(crate) fn expire_fetches(&mut self, now: Instant, outbox: &mut Vec<Output<D>>) {
        for ticket in self.waiting.due(now) {
            self.answer_fetch(ticket, outbox);
        }
    }

    /// Forgets a fetch whose reader has gone.
    pub(crate) fn abandon(&mut self, ticket: Ticket) {
        self.waiting.remove(ticket);
    }

    fn answer_fetch(&mut self, ticket: Ticket, outbox: &mut Vec<Output<D>>) {
        let Some(asked) = self.waiting.remove(ticket) else { return };
        let found = self.look(&asked);
        outbox.push(Output::Reply { ticket, reply: Reply::Fetched(found.partitions) });
    }

    fn look(&self, asked: &Asked) -> Found<D> {
        match asked {
            Asked::Read(fetch) => self.look_as_reader(fetch),
            Asked::Copy(fetch) => self.look_as_follower(fetch),
        }
    }

    fn look_as_reader(&self, fetch: &Fetch) -> Found<D> {
        let mut found = Found::new(fetch.partitions.len());
        for wanted in &fetch.partitions {
            let left = ByteSize(fetch.max.0.saturating_sub(found.bytes));
            let fetched = match self.partitions.get(&wanted.partition) {
                Some(partition) if fetch.of_followers || partition.leads() => {
                    look_at(partition, wanted, left, found.bytes == 0)
                }
                Some(partition) => not_led(partition, wanted),
                None => Fetched::error(ErrorCode::NotLeaderOrFollower, None),
            };
            found.add(wanted.slot, fetched);
        }
        found
    }
}

impl<D: Disk> Fetched<D> {
    fn error(code: ErrorCode, partition: Option<&Partition<D>>) -> Fetched<D> {
        Fetched::told(Some(code), partition)
    }

    /// No records, and what there is to say of the partition.
    pub(crate) fn told(error: Option<ErrorCode>, partition: Option<&Partition<D>>) -> Fetched<D> {
        Fetched {
            error,
            high_watermark: partition.map(|partition| partition.high_watermark),
            log_start: partition.map(|partition| partition.log.start_offset()),
            diverging: None,
            nearer: None,
            plan: None,
        }
    }
}

/// What a reader of leaders is told by a follower.
fn not_led<D: Disk>(partition: &Partition<D>, wanted: &FetchPartition) -> Fetched<D> {
    let is_current = partition.check_epoch(wanted.current_epoch);
    Fetched::error(is_current.err().unwrap_or(ErrorCode::NotLeaderOrFollower), None)
}

/// Whether any follower that is in sync has what is at `offset`, or is the next to get it.
fn is_copied<D: Disk>(partition: &Partition<D>, offset: Offset) -> bool {
    let is_led = matches!(partition.role, Role::Leader(_));
    is_led && (partition.log.start_offset()..=partition.high_watermark).contains(&offset)
}

/// What `wanted` finds in `partition`, at most `left` bytes. The first batch of an answer is
/// returned whole however large it is, or a reader with a small limit would never get past it
/// (KIP-74).
fn look_at<D: Disk>(
    partition: &Partition<D>,
    wanted: &FetchPartition,
    left: ByteSize,
    first: bool,
) -> Fetched<D> {
    if let Err(code) = partition.check_epoch(wanted.current_epoch) {
        return Fetched::error(code, None);
    }
    if wanted.nearer.is_some() && is_copied(partition, wanted.offset) {
        return Fetched { nearer: wanted.nearer, ..Fetched::told(None, Some(partition)) };
    }
    if wanted.last_fetched_epoch.is_some_and(|last| last > partition.epoch) {
        // Its history is of another log than this: nothing here says where they parted.
        return Fetched::error(ErrorCode::OffsetOutOfRange, Some(partition));
    }
    let (start, end) = (partition.log.start_offset(), partition.log.end_offset());
    let mut fetched = Fetched {
        error: None,
        high_watermark: Some(partition.high_watermark),
        log_start: Some(start),
        diverging: diverging(partition, wanted),
        nearer: None,
        plan: None,
    };
    if fetched.diverging.is_some() {
        return fetched;
    }
    if wanted.offset < start || wanted.offset > end {
        return Fetched::error(ErrorCode::OffsetOutOfRange, Some(partition));
    }
    let nothing_left = left.0 == 0 && !first;
    if wanted.offset >= partition.high_watermark || nothing_left {
        return fetched;
    }
    let max = u32::try_from(left.min(wanted.max).0).unwrap_or(u32::MAX);
    match partition.log.read(wanted.offset, partition.high_watermark, max, first) {
        Ok(plan) => fetched.plan = (plan.bytes() > 0).then_some(plan),
        Err(error) => return Fetched::error(error.code(), Some(partition)),
    }
    fetched
}

/// Whether the reader's history parted from ours before the offset it asks for (KIP-595).
fn diverging<D: Disk>(partition: &Partition<D>, wanted: &FetchPartition) -> Option<EpochEnd> {
    let last = wanted.last_fetched_epoch?;
    let end = epoch_end(partition, last);
    let parted = match (end.epoch, end.end) {
        (Some(epoch), Some(offset)) => epoch < last || offset < wanted.offset,
        _ => return None,
    };
    parted.then_some(end)
}

/// Where `epoch` ended in `partition` (Kafka's `LeaderEpochFileCache.endOffsetFor`).
pub(crate) fn epoch_end<D: Disk>(
    partition: &Partition<D>,
    epoch: brooklet_types::LeaderEpoch,
) -> EpochEnd {
    // Our own term has not ended: it ends, for now, where the log does.
    let found = if epoch == partition.epoch {
        Some((epoch, partition.log.end_offset()))
    } else {
        partition.log.epoch_end(epoch)
    };
    EpochEnd { epoch: found.map(|(epoch, _)| epoch), end: found.map(|(_, end): (_, Offset)| end) }
}
