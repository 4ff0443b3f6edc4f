//! The way from request handlers to the shards: which shard, one queue, one answer.
//!
//! A request that concerns several shards is split, sent to each, and its answers are put together.
//! A slot in a shard's queue is waited for, never made: full means that the connection stops
//! reading.
//!
//! **Invariant.** The image of the cluster that connections see is one that every shard has opened
//! its partitions for. A client that has just been told of a topic can write to it at once.

mod brokers;

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brooklet_group as group;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Disk, Log};
use brooklet_meta::Cluster;
use brooklet_meta::decide::Decision;
use brooklet_shard::input::{
    Acks, EpochQuery, Fetch, Input, OffsetQuery, Produce, Request, Slot, Ticket,
};
use brooklet_shard::output::{
    CommittedOffset, EpochEnd, Fetched, FoundOffset, LogDescription, Produced, ProducerDescription,
    Refusal, Reply,
};
use brooklet_shard::{MetadataRequest, QuorumDescription, shard_of};
use brooklet_types::{ByteSize, ErrorCode, Offset, PartitionIndex, TopicName, TopicPartition};
use tokio::sync::watch;

use crate::seat::{Answer, Seat};

/// All shards of this broker. Cheap to clone.
#[derive(Debug)]
pub struct Shards<D: Disk> {
    inner: Arc<Inner<D>>,
}

impl<D: Disk> Clone for Shards<D> {
    fn clone(&self) -> Shards<D> {
        Shards { inner: Arc::clone(&self.inner) }
    }
}

#[derive(Debug)]
struct Inner<D: Disk> {
    seats: Vec<Arc<Seat<D>>>,
    next_ticket: AtomicU64,
    cluster: watch::Receiver<Arc<Cluster>>,
}

/// The process is stopping: a shard takes nothing any more. The connection is about to close.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the broker is stopping")]
pub struct Stopping;

/// Results of one kind, each with the slot it was asked under.
pub type Slots<T> = Vec<(Slot, T)>;

/// What is still to come of a produce whose batches have their place in line.
#[derive(Debug)]
pub struct Producing<D: Disk> {
    parts: Vec<Answer<D>>,
}

impl<D: Disk> Producing<D> {
    /// Waits until every batch is as durable as was asked for, or refused.
    pub async fn results(self) -> Result<Slots<Result<Produced, Refusal>>, Stopping> {
        let mut results = Vec::new();
        for part in self.parts {
            let Reply::Produced(part) = part.wait().await? else { unexpected() };
            results.extend(part);
        }
        Ok(results)
    }
}

impl<D: Disk> Shards<D> {
    pub(crate) fn new(
        seats: Vec<Arc<Seat<D>>>,
        cluster: watch::Receiver<Arc<Cluster>>,
    ) -> Shards<D> {
        Shards { inner: Arc::new(Inner { seats, next_ticket: AtomicU64::new(1), cluster }) }
    }

    /// Whether the cluster has any quotas. Asked for every request.
    pub(crate) fn has_quotas(&self) -> bool {
        !self.inner.cluster.borrow().quotas().is_empty()
    }

    /// The cluster as every shard knows it.
    pub fn cluster(&self) -> Arc<Cluster> {
        Arc::clone(&self.inner.cluster.borrow())
    }

    /// Gives each batch its place in line. Returns once it has one, so that batches of one
    /// connection reach a partition in the order in which they were sent.
    pub async fn produce(
        &self,
        batches: Slots<(TopicPartition, ValidatedBatch)>,
        (acks, timeout): (Acks, Duration),
    ) -> Result<Producing<D>, Stopping> {
        let mut by_shard: BTreeMap<u32, Vec<(Slot, TopicPartition, ValidatedBatch)>> =
            BTreeMap::new();
        for (slot, (partition, batch)) in batches {
            by_shard.entry(self.shard_of(partition)).or_default().push((slot, partition, batch));
        }
        let mut parts = Vec::with_capacity(by_shard.len());
        for (shard, batches) in by_shard {
            let request = Request::Produce(Produce { batches, acks, timeout });
            parts.push(self.ask(shard, request).await?.answer);
        }
        Ok(Producing { parts })
    }

    /// Reads, waiting as the fetch says. Results are in the order of its partitions, shard by
    /// shard. With several shards each waits for `min` by itself; the first that has it, or has
    /// something else to say, ends the wait of all.
    pub async fn fetch(&self, fetch: Fetch) -> Result<Slots<Fetched<D>>, Stopping> {
        let mut by_shard: BTreeMap<u32, Fetch> = BTreeMap::new();
        let Fetch { partitions, min, max, wait_max, of_followers } = fetch;
        for wanted in partitions {
            let shard = self.shard_of(wanted.partition);
            let part = by_shard.entry(shard).or_insert_with(|| Fetch {
                partitions: Vec::new(),
                min,
                max,
                wait_max,
                of_followers,
            });
            part.partitions.push(wanted);
        }
        if by_shard.len() > 1 && !wait_max.is_zero() {
            return self.fetch_from_several(by_shard).await;
        }
        let mut found = Vec::new();
        for (shard, part) in by_shard {
            found.extend(self.fetch_part(shard, part).await?);
        }
        Ok(found)
    }

    /// Waits on every shard until one has something, then takes what each has.
    async fn fetch_from_several(
        &self,
        by_shard: BTreeMap<u32, Fetch>,
    ) -> Result<Slots<Fetched<D>>, Stopping> {
        let mut waits = tokio::task::JoinSet::new();
        for (shard, part) in &by_shard {
            let (shards, shard, part) = (self.clone(), *shard, part.clone());
            waits.spawn(async move { shards.fetch_part(shard, part).await.map(|_| ()) });
        }
        if let Some(first) = waits.join_next().await {
            first.map_err(|_| Stopping)??;
        }
        // The other waits are dropped, which takes them back from their shards.
        drop(waits);
        let mut found: Slots<Fetched<D>> = Vec::new();
        let mut left = by_shard.values().next().map_or(ByteSize(0), |part| part.max);
        for (shard, mut part) in by_shard {
            part.wait_max = Duration::ZERO;
            part.max = left;
            let part = self.fetch_part(shard, part).await?;
            let bytes: u64 =
                part.iter().filter_map(|(_, one)| one.plan.as_ref()).map(|plan| plan.bytes()).sum();
            left = ByteSize(left.0.saturating_sub(bytes));
            found.extend(part);
        }
        Ok(found)
    }

    async fn fetch_part(&self, shard: u32, part: Fetch) -> Result<Slots<Fetched<D>>, Stopping> {
        let Reply::Fetched(found) = self.ask(shard, Request::Fetch(part)).await?.wait().await?
        else {
            unexpected()
        };
        Ok(found)
    }

    /// Offsets by time, or one of Kafka's special places.
    pub async fn list_offsets(
        &self,
        queries: Slots<(TopicPartition, OffsetQuery)>,
    ) -> Result<Slots<Result<FoundOffset, ErrorCode>>, Stopping> {
        self.spread(queries, Request::ListOffsets, |reply| {
            let Reply::Offsets(found) = reply else { unexpected() };
            found
        })
        .await
    }

    /// Where leader epochs ended.
    pub async fn epoch_ends(
        &self,
        queries: Slots<(TopicPartition, EpochQuery)>,
    ) -> Result<Slots<Result<EpochEnd, ErrorCode>>, Stopping> {
        self.spread(queries, Request::EpochEnds, |reply| {
            let Reply::EpochEnds(found) = reply else { unexpected() };
            found
        })
        .await
    }

    /// Moves log starts forward; `None` means to the high watermark. Answers the new log starts.
    pub async fn delete_records(
        &self,
        wanted: Slots<(TopicPartition, Option<Offset>)>,
    ) -> Result<Slots<Result<Offset, ErrorCode>>, Stopping> {
        self.spread(wanted, Request::DeleteRecords, |reply| {
            let Reply::RecordsDeleted(starts) = reply else { unexpected() };
            starts
        })
        .await
    }

    /// The producers that partitions remember.
    pub async fn describe_producers(
        &self,
        wanted: Slots<TopicPartition>,
    ) -> Result<Slots<Result<Vec<ProducerDescription>, ErrorCode>>, Stopping> {
        let wanted = wanted.into_iter().map(|(slot, partition)| (slot, (partition, ()))).collect();
        let request = |part: Vec<(Slot, TopicPartition, ())>| {
            let plain = part.into_iter().map(|(slot, partition, ())| (slot, partition));
            Request::DescribeProducers(plain.collect())
        };
        self.spread(wanted, request, |reply| {
            let Reply::Producers(producers) = reply else { unexpected() };
            producers
        })
        .await
    }

    /// Every partition of every shard.
    pub async fn describe_logs(&self) -> Result<Vec<LogDescription>, Stopping> {
        let mut logs = Vec::new();
        for shard in self.all() {
            let Reply::Logs(part) = self.ask(shard, Request::DescribeLogs).await?.wait().await?
            else {
                unexpected()
            };
            logs.extend(part);
        }
        Ok(logs)
    }

    /// Asks the coordinator of the group that lives on `partition` of `__consumer_offsets`.
    pub async fn group(
        &self,
        offsets_topic: TopicPartition,
        request: group::Request,
        entropy: [u8; 16],
    ) -> Result<group::Reply, Stopping> {
        let partition: PartitionIndex = offsets_topic.partition;
        let request = Request::Group { partition, request, entropy };
        let Reply::Group(reply) =
            self.ask(self.shard_of(offsets_topic), request).await?.wait().await?
        else {
            unexpected()
        };
        Ok(reply)
    }

    /// Asks every coordinator of this broker the same.
    pub async fn all_groups(
        &self,
        request: &group::ListRequest,
    ) -> Result<Vec<group::ListedGroup>, Stopping> {
        let mut listed = Vec::new();
        for shard in self.all() {
            let request = Request::Groups(request.clone());
            let Reply::Groups(part) = self.ask(shard, request).await?.wait().await? else {
                unexpected()
            };
            listed.extend(part);
        }
        Ok(listed)
    }

    /// What all groups have committed.
    pub async fn committed(&self) -> Result<Vec<CommittedOffset>, Stopping> {
        let mut committed = Vec::new();
        for shard in self.all() {
            let Reply::Committed(part) = self.ask(shard, Request::Committed).await?.wait().await?
            else {
                unexpected()
            };
            committed.extend(part);
        }
        Ok(committed)
    }

    /// Changes the cluster. Returns once the change is durable and every shard has followed it.
    ///
    /// The outer error is ours, the inner one the disk's.
    pub async fn change<Decided: Send + 'static>(
        &self,
        decide: impl FnOnce(&Cluster) -> Decision<Decided> + Send + 'static,
    ) -> Result<Result<Decided, ErrorCode>, Stopping> {
        let request = Request::Metadata(MetadataRequest::new(decide));
        let answer = self.ask(0, request).await?.wait().await?;
        let Reply::Metadata { reply, version } = answer else { unexpected() };
        let mut cluster = self.inner.cluster.clone();
        let followed = cluster.wait_for(|cluster| cluster.version() >= version).await;
        followed.map_err(|_| Stopping)?;
        let taken = |reply: Box<dyn Any + Send>| {
            *reply.downcast().expect("a decision answers with its own kind of reply")
        };
        Ok(reply.map(taken))
    }

    /// The metadata's quorum, as its member here sees it.
    pub async fn describe_quorum(&self) -> Result<QuorumDescription, Stopping> {
        let answer = self.ask(0, Request::DescribeQuorum).await?.wait().await?;
        let Reply::Quorum(quorum) = answer else { unexpected() };
        Ok(quorum)
    }

    /// Tells every shard of `cluster` and waits until all have followed.
    pub(crate) async fn follow(&self, cluster: &Arc<Cluster>) -> Result<(), Stopping> {
        let mut followed = Vec::with_capacity(self.inner.seats.len());
        for seat in &self.inner.seats {
            followed.push(seat.follow(self.ticket(), Arc::clone(cluster)).await?);
        }
        for answer in followed {
            answer.await.map_err(|_| Stopping)?;
        }
        Ok(())
    }

    /// Tells every shard that other policies judge what is left of these topics.
    pub(crate) async fn change_policies(
        &self,
        topics: BTreeSet<TopicName>,
    ) -> Result<(), Stopping> {
        for topic in topics {
            for seat in &self.inner.seats {
                seat.tell_in_turn(Input::PolicyChanged { topic: topic.clone() }).await?;
            }
        }
        Ok(())
    }

    /// Has every shard end, and hand over its logs, which are to be closed.
    pub(crate) async fn stop(&self) -> Result<Vec<Log<D>>, Stopping> {
        let mut stopped = Vec::new();
        for seat in &self.inner.seats {
            stopped.push(seat.stop().await?);
        }
        let mut logs = Vec::new();
        for handed_over in stopped {
            logs.extend(handed_over.await.map_err(|_| Stopping)?);
        }
        Ok(logs)
    }

    /// Sends each item to the shard that holds its partition and puts the answers together.
    async fn spread<Query, Answer>(
        &self,
        queries: Slots<(TopicPartition, Query)>,
        request: impl Fn(Vec<(Slot, TopicPartition, Query)>) -> Request,
        open: impl Fn(Reply<D>) -> Slots<Answer>,
    ) -> Result<Slots<Answer>, Stopping> {
        let mut by_shard: BTreeMap<u32, Vec<(Slot, TopicPartition, Query)>> = BTreeMap::new();
        for (slot, (partition, query)) in queries {
            by_shard.entry(self.shard_of(partition)).or_default().push((slot, partition, query));
        }
        let mut answers = Vec::new();
        for (shard, part) in by_shard {
            answers.extend(open(self.ask(shard, request(part)).await?.wait().await?));
        }
        Ok(answers)
    }

    async fn ask(&self, shard: u32, request: Request) -> Result<Asked<D>, Stopping> {
        let seat = &self.inner.seats[shard as usize];
        let ticket = self.ticket();
        let is_fetch = matches!(request, Request::Fetch(_) | Request::Replicate(_));
        let answer = seat.ask(ticket, request).await?;
        let waits = is_fetch && matches!(answer, Answer::Later(_));
        let abandon = waits.then(|| Abandon { ticket, seat: Arc::clone(seat), armed: true });
        Ok(Asked { answer, abandon })
    }

    fn shard_of(&self, partition: TopicPartition) -> u32 {
        shard_of(partition, self.count())
    }

    /// The numbers of all of them.
    pub(crate) fn all(&self) -> impl Iterator<Item = u32> + use<D> {
        0..self.count()
    }

    fn count(&self) -> u32 {
        u32::try_from(self.inner.seats.len()).expect("a broker has a handful of shards")
    }

    fn ticket(&self) -> Ticket {
        // Only uniqueness matters, so no ordering is asked for.
        self.inner.next_ticket.fetch_add(1, Ordering::Relaxed)
    }
}

/// A request that has its place in line. Dropped before its answer, it is taken back.
struct Asked<D: Disk> {
    answer: Answer<D>,
    abandon: Option<Abandon<D>>,
}

impl<D: Disk> Asked<D> {
    async fn wait(self) -> Result<Reply<D>, Stopping> {
        let Asked { answer, mut abandon } = self;
        let reply = answer.wait().await?;
        if let Some(abandon) = &mut abandon {
            abandon.armed = false;
        }
        Ok(reply)
    }
}

/// Tells a shard that nobody waits for a parked fetch any more, when dropped while armed.
struct Abandon<D: Disk> {
    ticket: Ticket,
    seat: Arc<Seat<D>>,
    armed: bool,
}

impl<D: Disk> Drop for Abandon<D> {
    fn drop(&mut self) {
        if self.armed {
            self.seat.abandon(self.ticket);
        }
    }
}

/// A shard answered a question of another kind: our own mistake, and nothing to go on from.
fn unexpected() -> ! {
    panic!("a shard answers with the kind of reply that was asked for")
}
