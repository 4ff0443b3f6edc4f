//! Leading a partition that others copy: producers who wait for them, and their fetches.
//!
//! **Where it sits.** Between requests and `brooklet_replica::Leader`, which decides; what it says is carried out here.
//!
//! **What it decides.** When a request of several batches is answered: when the last of them is, some by a sync and
//! some by followers; and what a follower finds, which reads to the log's end and not to the high watermark.
//!
//! **Invariants.** A request waits at each of its partitions once, and is answered once. A follower's wait ends with
//! new records, with a high watermark that it does not know, or with its time.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_log::{Disk, Log};
use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::decide::alter_partition::AlterPartition;
use brooklet_meta::partition::{LeaderRecovery, PartitionEpoch};
use brooklet_replica::{
    self as replica, Altered, FetchOutcome, FetchRefusal, FollowerFetch, Leader, LeaderOutput,
    RequestId, Unacknowledged,
};
use brooklet_types::{ByteSize, ErrorCode, Instant, LeaderEpoch, Offset, TopicPartition};

use crate::fetch::{Asked, Found};
use crate::input::{AlterAnswer, ReplicaFetch, ReplicaFetchPartition, Slot, Ticket};
use crate::output::{Alter, EpochEnd, Fetched, Output, Produced, Refusal, Reply};
use crate::partition::{Partition, Role, history};
use crate::shard::{Shard, Waiting};

/// Produce requests that wait for followers.
#[derive(Debug, Default)]
pub(crate) struct Producing {
    requests: BTreeMap<Ticket, Pending>,
    deadlines: BTreeSet<(Instant, Ticket)>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Pending {
    /// As they are if all goes well.
    pub(crate) results: Vec<(Slot, Result<Produced, Refusal>)>,
    /// Which of them wait for followers: the partition, the place in `results`, and where the batch ends.
    pub(crate) copied: Vec<(TopicPartition, usize, Offset)>,
    /// Some wait for a sync.
    pub(crate) needs_sync: bool,
    /// When the wait for followers is over.
    pub(crate) deadline: Instant,
}

impl Producing {
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Takes out a request if nothing of it waits any more.
    fn take_done(&mut self, ticket: Ticket) -> Option<Pending> {
        let pending = self.requests.get(&ticket)?;
        if pending.needs_sync || !pending.copied.is_empty() {
            return None;
        }
        self.deadlines.remove(&(pending.deadline, ticket));
        self.requests.remove(&ticket)
    }
}

impl<D: Disk> Shard<D> {
    /// Has a request wait for its partitions' followers, and for the next sync if it needs that too.
    pub(crate) fn await_copies(
        &mut self,
        now: Instant,
        ticket: Ticket,
        pending: Pending,
        outbox: &mut Vec<Output<D>>,
    ) {
        if pending.needs_sync {
            self.syncs.park(Waiting::Produce(ticket));
        }
        let waits = pending.copied.clone();
        self.copies.producing.deadlines.insert((pending.deadline, ticket));
        self.copies.producing.requests.insert(ticket, pending);
        for (id, _, end) in waits {
            self.with_leader(id, outbox, |leader, _, said| {
                leader.wait(RequestId(ticket), end, now, said);
            });
        }
    }

    /// What a request wrote to partitions without followers is durable.
    pub(crate) fn produce_synced(&mut self, ticket: Ticket, outbox: &mut Vec<Output<D>>) {
        if let Some(pending) = self.copies.producing.requests.get_mut(&ticket) {
            pending.needs_sync = false;
        }
        self.answer_produce(ticket, outbox);
    }

    /// Gives up waiting for followers where the time for that is over.
    pub(crate) fn expire_produces(&mut self, now: Instant, outbox: &mut Vec<Output<D>>) {
        while let Some((at, ticket)) = self.copies.producing.deadlines.first().copied() {
            if at > now {
                return;
            }
            self.copies.producing.deadlines.remove(&(at, ticket));
            let pending = self.copies.producing.requests.get_mut(&ticket);
            let waits = pending.expect("it has a deadline").copied.clone();
            for (id, _, _) in waits {
                self.with_leader(id, outbox, |leader, _, _| leader.withdraw(RequestId(ticket)));
                let message = "followers have not stored it in time";
                let refusal = Refusal::new(ErrorCode::RequestTimedOut, message);
                self.acknowledged(id, ticket, Err(refusal), outbox);
            }
        }
    }

    /// One partition's batch of a request is safe, or is not known to be.
    fn acknowledged(
        &mut self,
        id: TopicPartition,
        ticket: Ticket,
        outcome: Result<(), Refusal>,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(pending) = self.copies.producing.requests.get_mut(&ticket) else { return };
        let Some(place) = pending.copied.iter().position(|waits| waits.0 == id) else { return };
        let (_, result, _) = pending.copied.swap_remove(place);
        if let (Err(refusal), Some(result)) = (outcome, pending.results.get_mut(result)) {
            result.1 = Err(refusal);
        }
        self.answer_produce(ticket, outbox);
    }

    fn answer_produce(&mut self, ticket: Ticket, outbox: &mut Vec<Output<D>>) {
        if let Some(pending) = self.copies.producing.take_done(ticket) {
            outbox.push(Output::Reply { ticket, reply: Reply::Produced(pending.results) });
        }
    }

    /// Asks or tells a partition's leader something, if it is led here and has followers.
    pub(crate) fn with_leader<T>(
        &mut self,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
        tell: impl FnOnce(&mut Leader, &Log<D>, &mut Vec<LeaderOutput>) -> T,
    ) -> Option<T> {
        let Partition { role: Role::Leader(leader), log, .. } = self.partitions.get_mut(&id)?
        else {
            return None;
        };
        let mut said = Vec::new();
        let answer = tell(leader, log, &mut said);
        self.leader_said(id, said, outbox);
        Some(answer)
    }

    /// The log of a partition that is led here got another end, or more of it is durable.
    pub(crate) fn tell_leader(
        &mut self,
        now: Instant,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(ends) = self.partitions.get(&id).map(Partition::ends) else { return };
        self.with_leader(id, outbox, |leader, _, said| leader.local(ends, now, said));
    }

    /// Does what a leader says.
    pub(crate) fn leader_said(
        &mut self,
        id: TopicPartition,
        said: Vec<LeaderOutput>,
        outbox: &mut Vec<Output<D>>,
    ) {
        self.copies.touched.insert(id);
        for output in said {
            match output {
                LeaderOutput::HighWatermark(to) => {
                    self.reveal(id, to, outbox);
                    if self.copies.groups.contains_key(&id) || self.awaits_groups(id) {
                        self.copies.committed.insert(id);
                    }
                }
                LeaderOutput::Answer { request, outcome } => {
                    let outcome = outcome.map_err(|why| self.unacknowledged(id, why));
                    self.acknowledged(id, request.0, outcome, outbox);
                }
                LeaderOutput::Alter(asked) => self.copies.altering.push(alter(id, asked)),
            }
        }
    }

    fn unacknowledged(&self, id: TopicPartition, why: Unacknowledged) -> Refusal {
        let log_start = self.partitions.get(&id).map(|partition| partition.log.start_offset());
        Refusal { code: why.code(), message: why.to_string(), log_start }
    }

    /// The controller has answered, or has not.
    pub(crate) fn altered(
        &mut self,
        now: Instant,
        answers: Vec<AlterAnswer>,
        outbox: &mut Vec<Output<D>>,
    ) {
        for AlterAnswer { partition, leader_epoch, change, outcome } in answers {
            self.with_leader(partition, outbox, |leader, _, said| {
                // What is no news and was asked in another term is about another change of that number.
                let is_news = matches!(outcome, Altered::Applied { .. });
                if is_news || leader.leader_epoch() == leader_epoch {
                    leader.altered(change, outcome, now, said);
                }
            });
        }
    }

    /// A follower asks for records.
    pub(crate) fn replicate(
        &mut self,
        now: Instant,
        ticket: Ticket,
        fetch: ReplicaFetch,
        outbox: &mut Vec<Output<D>>,
    ) {
        let mut refused = BTreeMap::new();
        for wanted in &fetch.partitions {
            if let Err(fetched) = self.hear_follower(now, &fetch, wanted, outbox) {
                refused.insert(wanted.slot, *fetched);
            }
        }
        let mut found = self.look_as_follower(&fetch);
        for (slot, fetched) in &mut found.partitions {
            if let Some(refused) = refused.remove(slot) {
                *fetched = refused;
                found.urgent = true;
            }
        }
        self.answer_or_park(now, ticket, Asked::Copy(fetch), found, outbox);
    }

    /// Tells a leader how far a follower is. What the follower is told if it gets no records.
    fn hear_follower(
        &mut self,
        now: Instant,
        fetch: &ReplicaFetch,
        wanted: &ReplicaFetchPartition,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<(), Box<Fetched<D>>> {
        let ReplicaFetchPartition { offset, leader_epoch, last_epoch, .. } = *wanted;
        let (follower, broker_epoch) = (fetch.broker, replica_epoch(fetch.epoch));
        let asked = FollowerFetch { follower, broker_epoch, leader_epoch, offset, last_epoch };
        let heard = self.with_leader(wanted.partition, outbox, |leader, log, said| {
            let before = |asked: LeaderEpoch| history(log, asked);
            leader.fetched(&asked, log.start_offset(), before, now, said)
        });
        let partition = self.partitions.get(&wanted.partition);
        let with_end = |error, end: EpochEnd| {
            Err(Box::new(Fetched { diverging: Some(end), ..Fetched::told(error, partition) }))
        };
        match heard {
            Some(Ok(FetchOutcome::Records)) => Ok(()),
            Some(Ok(FetchOutcome::Diverging(at))) => {
                with_end(None, EpochEnd { epoch: Some(at.epoch), end: Some(at.end) })
            }
            Some(Err(FetchRefusal::OutOfRange { log_end, .. })) => {
                let end = EpochEnd { epoch: Some(leader_epoch), end: Some(log_end) };
                with_end(Some(ErrorCode::OffsetOutOfRange), end)
            }
            Some(Err(refusal)) => Err(Box::new(Fetched::told(Some(refusal.code()), None))),
            None => Err(Box::new(Fetched::told(Some(ErrorCode::NotLeaderOrFollower), None))),
        }
    }

    /// What a follower finds now, having been heard.
    pub(crate) fn look_as_follower(&self, fetch: &ReplicaFetch) -> Found<D> {
        let mut found = Found::new(fetch.partitions.len());
        for wanted in &fetch.partitions {
            let left = ByteSize(fetch.max.0.saturating_sub(found.bytes));
            let partition = self.partitions.get(&wanted.partition);
            let copied = partition.map(|partition| copy(partition, wanted, left, found.bytes == 0));
            let (fetched, has_news) = copied.unwrap_or_else(|| {
                (Fetched::told(Some(ErrorCode::NotLeaderOrFollower), None), true)
            });
            found.urgent |= has_news;
            found.add(wanted.slot, fetched);
        }
        found
    }
}

/// What a follower finds in a partition, at most `left` bytes, and whether it is to hear of it at once.
fn copy<D: Disk>(
    partition: &Partition<D>,
    wanted: &ReplicaFetchPartition,
    left: ByteSize,
    first: bool,
) -> (Fetched<D>, bool) {
    let refused = |code| (Fetched::told(Some(code), None), true);
    let Role::Leader(leader) = &partition.role else {
        return refused(ErrorCode::NotLeaderOrFollower);
    };
    if wanted.leader_epoch < leader.leader_epoch() {
        return refused(ErrorCode::FencedLeaderEpoch);
    }
    if wanted.leader_epoch > leader.leader_epoch() {
        return refused(ErrorCode::UnknownLeaderEpoch);
    }
    let (offset, end) = (wanted.offset, partition.log.end_offset());
    if offset < partition.log.start_offset() || offset > end {
        return (Fetched::told(Some(ErrorCode::OffsetOutOfRange), Some(partition)), true);
    }
    let high_watermark = leader.high_watermark();
    let told = Fetched::told(None, Some(partition));
    let mut fetched = Fetched { high_watermark: Some(high_watermark), ..told };
    // Of what it does not have a follower can not know that it is safe.
    let is_news = wanted.high_watermark.is_some_and(|known| known < high_watermark.min(offset));
    if offset == end || left.0 == 0 && !first {
        return (fetched, is_news);
    }
    let max = u32::try_from(left.min(wanted.max).0).unwrap_or(u32::MAX);
    match partition.log.read(offset, end, max, first) {
        Ok(plan) => fetched.plan = (plan.bytes() > 0).then_some(plan),
        Err(error) => return (Fetched::told(Some(error.code()), Some(partition)), true),
    }
    (fetched, is_news)
}

fn replica_epoch(epoch: BrokerEpoch) -> replica::BrokerEpoch {
    replica::BrokerEpoch(epoch.0)
}

/// What a leader asks for, as the controller wants to hear it. Nothing is left to be made good after an unclean
/// election: what the leader has is what there is.
fn alter(id: TopicPartition, asked: replica::AlterPartition) -> Alter {
    let member = |(id, epoch): (_, Option<replica::BrokerEpoch>)| {
        (id, epoch.map(|epoch| BrokerEpoch(epoch.0)))
    };
    let wanted = AlterPartition {
        topic: id.topic,
        partition: id.partition,
        leader_epoch: asked.leader_epoch,
        epoch: PartitionEpoch(asked.partition_epoch.0),
        in_sync: asked.in_sync.into_iter().map(member).collect(),
        recovery: LeaderRecovery::Recovered,
    };
    Alter { change: asked.change, wanted }
}
