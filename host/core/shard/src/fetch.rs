//! Reads: what a fetch finds now, and fetches that wait for more.
//!
//! A fetch is answered when enough bytes are there, when something is wrong with one of its
//! partitions, or when its time is up. Nothing is read here: the answer is a plan of byte ranges,
//! carried out by whoever asked, off this thread.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_log::Disk;
use brooklet_types::{ByteSize, ErrorCode, Instant, Offset, TopicPartition};

use crate::input::{Fetch, FetchPartition, Slot, Ticket};
use crate::output::{EpochEnd, Fetched, Output, Reply};
use crate::partition::Partition;
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
    fetch: Fetch,
    deadline: Instant,
}

/// What a fetch finds now.
struct Found<D: Disk> {
    partitions: Vec<(Slot, Fetched<D>)>,
    bytes: u64,
    /// Something the reader should hear of at once: an error or a divergence.
    urgent: bool,
}

impl WaitingFetches {
    fn park(&mut self, ticket: Ticket, fetch: Fetch, deadline: Instant) {
        self.deadlines.insert((deadline, ticket));
        for partition in &fetch.partitions {
            self.interests.insert((partition.partition, ticket));
        }
        self.fetches.insert(ticket, WaitingFetch { fetch, deadline });
    }

    fn remove(&mut self, ticket: Ticket) -> Option<Fetch> {
        let waiting = self.fetches.remove(&ticket)?;
        self.deadlines.remove(&(waiting.deadline, ticket));
        for partition in &waiting.fetch.partitions {
            self.interests.remove(&(partition.partition, ticket));
        }
        Some(waiting.fetch)
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
        let found = self.look(&fetch);
        if found.urgent || found.bytes >= fetch.min.0 || fetch.wait_max.is_zero() {
            outbox.push(Output::Reply { ticket, reply: Reply::Fetched(found.partitions) });
        } else {
            let deadline = now + fetch.wait_max;
            self.waiting.park(ticket, fetch, deadline);
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
            let min = waiting.fetch.min.0;
            if min <= 1 || self.look(&waiting.fetch).bytes >= min {
                self.answer_fetch(ticket, outbox);
            }
        }
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
        let Some(fetch) = self.waiting.remove(ticket) else { return };
        let found = self.look(&fetch);
        outbox.push(Output::Reply { ticket, reply: Reply::Fetched(found.partitions) });
    }

    fn look(&self, fetch: &Fetch) -> Found<D> {
        let mut found = Found {
            partitions: Vec::with_capacity(fetch.partitions.len()),
            bytes: 0,
            urgent: false,
        };
        for wanted in &fetch.partitions {
            let left = ByteSize(fetch.max.0.saturating_sub(found.bytes));
            let fetched = match self.partitions.get(&wanted.partition) {
                Some(partition) => look_at(partition, wanted, left, found.bytes == 0),
                None => Fetched::error(ErrorCode::NotLeaderOrFollower, None),
            };
            found.bytes += fetched.plan.as_ref().map_or(0, |plan| plan.bytes());
            found.urgent |= fetched.error.is_some() || fetched.diverging.is_some();
            found.partitions.push((wanted.slot, fetched));
        }
        found
    }
}

impl<D: Disk> Fetched<D> {
    fn error(code: ErrorCode, partition: Option<&Partition<D>>) -> Fetched<D> {
        Fetched {
            error: Some(code),
            high_watermark: partition.map(|partition| partition.high_watermark),
            log_start: partition.map(|partition| partition.log.start_offset()),
            diverging: None,
            plan: None,
        }
    }
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
