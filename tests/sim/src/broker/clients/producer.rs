//! A producer: idempotent with up to five requests under way, which it repeats in order until they are
//! answered; or a plain one, which never sends anything twice.

use std::collections::{BTreeMap, VecDeque};
use std::ops::Range;
use std::time::Duration;

use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::decide::producer_id::allot_producer_ids;
use brooklet_shard::MetadataRequest;
use brooklet_shard::input::{Acks, Produce, Request, Slot};
use brooklet_shard::output::{Produced, Refusal, Reply};
use brooklet_types::{ErrorCode, Instant, ProducerEpoch, ProducerId, TopicPartition};

use crate::broker::client::{Answer, Client, Context};
use crate::broker::promises::records::{NewBatch, RecordId, place};

/// What a producer gives other brokers to store a copy: Java's default.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Java producers keep at most so many in flight, because brokers remember so many batches.
const IN_FLIGHT_MAX: usize = 5;

/// Partitions written to in one go. More than four on a shard, and the journal has its turn.
const PARTITIONS_MAX: u64 = 9;

/// A producer.
#[derive(Debug)]
pub(crate) struct Producer {
    name: String,
    idempotent: bool,
    id: Option<ProducerId>,
    /// The question for an id.
    asking: Option<u64>,
    queues: BTreeMap<TopicPartition, Queue>,
    in_flight: BTreeMap<u64, Sent>,
    next_number: u64,
}

/// What one partition is to get, in order.
#[derive(Debug, Default)]
struct Queue {
    next_sequence: i32,
    /// The broker knows the producer here. One that it does not know may begin anywhere (KIP-360), so that of
    /// several batches the second could be stored where the first was refused.
    is_known: bool,
    batches: VecDeque<Batch>,
}

#[derive(Debug)]
struct Batch {
    ids: Vec<RecordId>,
    batch: ValidatedBatch,
    /// The question it is part of.
    sent: Option<u64>,
}

/// A question under way.
#[derive(Debug)]
struct Sent {
    at: Instant,
    acks: Acks,
    /// By slot; and whether every batch before it had been acknowledged by then.
    parts: Vec<(TopicPartition, bool)>,
}

impl Producer {
    pub(crate) fn new(name: String, idempotent: bool) -> Producer {
        Producer {
            name,
            idempotent,
            id: None,
            asking: None,
            queues: BTreeMap::new(),
            in_flight: BTreeMap::new(),
            next_number: 0,
        }
    }

    fn number(&mut self) -> u64 {
        self.next_number += 1;
        self.next_number
    }

    fn ask_for_id(&mut self, ctx: &mut Context<'_>) {
        let number = self.number();
        self.asking = Some(number);
        let decide = |cluster: &brooklet_meta::Cluster| {
            allot_producer_ids(cluster).expect("few are given out")
        };
        ctx.ask(number, 0, Request::Metadata(MetadataRequest::new(decide)));
    }

    fn send(&mut self, ctx: &mut Context<'_>) {
        let all = ctx.partitions(|name| name.starts_with("data"));
        self.queues.retain(|partition, _| all.contains(partition));
        let several = if ctx.prng.chance(50) { 1 } else { PARTITIONS_MAX };
        let mut chosen = Vec::new();
        for _ in 0..=ctx.prng.below(several) {
            let partition = ctx.prng.pick(&all).copied();
            chosen.extend(partition.filter(|partition| !chosen.contains(partition)));
        }
        // One question for each shard.
        let mut by_shard: BTreeMap<u32, Vec<TopicPartition>> = BTreeMap::new();
        for partition in chosen {
            by_shard.entry(ctx.shard_of(partition)).or_default().push(partition);
        }
        let acks = match ctx.prng.below(10) {
            0 if !self.idempotent => Acks::None,
            1..5 if !self.idempotent => Acks::Leader,
            _ => Acks::All,
        };
        for (shard, partitions) in by_shard {
            self.send_to(ctx, shard, &partitions, acks);
        }
    }

    fn send_to(
        &mut self,
        ctx: &mut Context<'_>,
        shard: u32,
        partitions: &[TopicPartition],
        acks: Acks,
    ) {
        let number = self.number();
        let mut sent = Sent { at: ctx.now, acks, parts: Vec::new() };
        let mut batches: Vec<(Slot, TopicPartition, ValidatedBatch)> = Vec::new();
        for partition in partitions {
            let Some((batch, first)) = self.next_batch(ctx, *partition, number) else { continue };
            let slot = Slot::try_from(batches.len()).expect("few");
            sent.parts.push((*partition, first));
            batches.push((slot, *partition, batch));
        }
        if !batches.is_empty() {
            self.in_flight.insert(number, sent);
            ctx.ask(number, shard, Request::Produce(Produce { batches, acks, timeout: TIMEOUT }));
        }
    }

    /// The next batch of a partition, old or new, now part of `number`; and whether it is the first that
    /// was not acknowledged.
    fn next_batch(
        &mut self,
        ctx: &mut Context<'_>,
        partition: TopicPartition,
        number: u64,
    ) -> Option<(ValidatedBatch, bool)> {
        let queue = self.queues.entry(partition).or_default();
        if let Some(place) = queue.batches.iter().position(|batch| batch.sent.is_none()) {
            let batch = &mut queue.batches[place];
            batch.sent = Some(number);
            return Some((batch.batch.clone(), place == 0));
        }
        let most = if queue.is_known { IN_FLIGHT_MAX } else { 1 };
        if queue.batches.len() >= most || ctx.calm && ctx.prng.chance(80) {
            return None;
        }
        let producer = self.id.map(|id| (id, ProducerEpoch(0), queue.next_sequence));
        let made = ctx.promises.records.make(ctx.prng, partition, ctx.clock, producer);
        let NewBatch { ids, batch } = made;
        queue.next_sequence += i32::try_from(ids.len()).expect("few");
        queue.batches.push_back(Batch { ids, batch: batch.clone(), sent: Some(number) });
        Some((batch, queue.batches.len() == 1))
    }

    fn produced(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        results: Vec<(Slot, Result<Produced, Refusal>)>,
    ) -> Result<(), String> {
        let Some(sent) = self.in_flight.remove(&number) else { return Ok(()) };
        if results.len() != sent.parts.len() {
            return Err(format!("{} batches have {} results", sent.parts.len(), results.len()));
        }
        for (slot, result) in results {
            let (partition, first) = sent.parts[usize::try_from(slot).expect("few")];
            let Some(queue) = self.queues.get_mut(&partition) else { continue };
            let place = queue.batches.iter().position(|batch| batch.sent == Some(number));
            let Some(place) = place else { continue };
            match result {
                Ok(produced) => {
                    let batch = queue.batches.remove(place).expect("just found");
                    queue.is_known = true;
                    stored(ctx, &sent, partition, &batch, produced)?;
                }
                Err(refusal) => self.refused(ctx, partition, place, first, &refusal)?,
            }
        }
        Ok(())
    }

    fn refused(
        &mut self,
        ctx: &mut Context<'_>,
        partition: TopicPartition,
        place_in_queue: usize,
        first: bool,
        refusal: &Refusal,
    ) -> Result<(), String> {
        let queue = self.queues.get_mut(&partition).expect("the caller found it");
        if self.idempotent {
            queue.batches[place_in_queue].sent = None;
        } else {
            queue.batches.remove(place_in_queue);
        }
        let refuses = ctx.promises.disk_refuses;
        let facts = ctx.promises.topics.get(partition.topic);
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
        match refusal.code {
            ErrorCode::KafkaStorageError => Ok(()),
            ErrorCode::NotLeaderOrFollower if facts.deleted || refuses => Ok(()),
            ErrorCode::OutOfOrderSequenceNumber if self.idempotent => {
                if facts.was_os || facts.damaged {
                    // With the records their producer's place is gone: a client begins anew.
                    (self.id, self.queues) = (None, BTreeMap::new());
                    return Ok(());
                }
                if !first {
                    return Ok(());
                }
                let here = place(partition);
                Err(format!("{here} has forgotten a producer: {}", refusal.message))
            }
            code => {
                Err(format!("{} refuses a batch: {code:?} {}", place(partition), refusal.message))
            }
        }
    }
}

/// A batch has been acknowledged.
fn stored(
    ctx: &mut Context<'_>,
    sent: &Sent,
    partition: TopicPartition,
    batch: &Batch,
    produced: Produced,
) -> Result<(), String> {
    let facts = ctx.promises.topics.get(partition.topic);
    let durable = sent.acks == Acks::All && facts.sync_since.is_some_and(|since| since <= sent.at);
    let records = &mut ctx.promises.records;
    records.acknowledged(partition, produced.base, &batch.ids, durable)?;
    records.starts_at(partition, produced.log_start, facts)
}

impl Client for Producer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        if self.idempotent && self.id.is_none() {
            if self.asking.is_none() {
                self.ask_for_id(ctx);
            }
        } else if self.in_flight.len() < IN_FLIGHT_MAX {
            self.send(ctx);
        }
        ctx.wake_within(30);
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        match answer {
            Answer::Gone => {
                if self.asking == Some(number) {
                    self.asking = None;
                }
                self.in_flight.remove(&number);
                for queue in self.queues.values_mut() {
                    if !self.idempotent {
                        queue.batches.retain(|batch| batch.sent != Some(number));
                    }
                    for batch in queue.batches.iter_mut().filter(|it| it.sent == Some(number)) {
                        batch.sent = None;
                    }
                }
                Ok(())
            }
            Answer::Reply(Reply::Metadata { reply, .. }) => {
                self.asking = None;
                let Ok(reply) = reply else { return Ok(()) };
                let ids = reply.downcast::<Range<u64>>().map_err(|_| "not a block of ids")?;
                ctx.promises.producer_ids.given_out(&ids)?;
                self.id = Some(ProducerId(ids.start));
                Ok(())
            }
            Answer::Reply(Reply::Produced(results)) => self.produced(ctx, number, results),
            Answer::Reply(other) => Err(format!("a producer is answered {other:?}")),
        }
    }
}
