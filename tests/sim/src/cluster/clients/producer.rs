//! A producer: idempotent, with `acks=all`, one batch under way to each partition, which it repeats until it is
//! acknowledged.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::Cluster;
use brooklet_meta::lifecycle;
use brooklet_shard::input::{Acks, Produce, Request};
use brooklet_shard::output::{Produced, Refusal, Reply};
use brooklet_types::{ErrorCode, Offset, ProducerId, TopicPartition};

use crate::cluster::client::{Client, Context};
use crate::cluster::decisions::taken;
use crate::cluster::network::{Answer, Question};
use crate::cluster::records::{self, RecordId};

/// How long a leader waits for followers.
const TIMEOUT: Duration = Duration::from_secs(2);

/// A producer.
#[derive(Debug)]
pub(crate) struct Producer {
    number: u64,
    every_ms: u64,
    id: Option<ProducerId>,
    /// The question for an id.
    asking: Option<u64>,
    queues: BTreeMap<TopicPartition, Queue>,
    under_way: BTreeMap<u64, TopicPartition>,
    next_number: u64,
    next_record: RecordId,
}

#[derive(Debug, Default)]
struct Queue {
    sequence: i32,
    batch: Option<Batch>,
}

#[derive(Debug)]
struct Batch {
    ids: Vec<RecordId>,
    batch: ValidatedBatch,
    /// The question it is part of.
    sent: Option<u64>,
}

impl Producer {
    pub(crate) fn new(number: u64, every_ms: u64) -> Producer {
        Producer {
            number,
            every_ms,
            id: None,
            asking: None,
            queues: BTreeMap::new(),
            under_way: BTreeMap::new(),
            next_number: 0,
            next_record: number << 32,
        }
    }

    fn send(&mut self, ctx: &mut Context<'_>, id: ProducerId) {
        let all = ctx.partitions(|name| name.starts_with("data"));
        // What waits goes first; nothing new is begun when it is to become quiet.
        let waiting =
            |it: &&TopicPartition| self.queues.get(it).is_some_and(|it| it.batch.is_some());
        let waiting: Vec<TopicPartition> = all.iter().filter(waiting).copied().collect();
        let from = if ctx.calm || ctx.prng.chance(30) { &waiting } else { &all };
        let Some(partition) = ctx.prng.pick(from).copied() else { return };
        let Some(leader) = ctx.known(partition).and_then(|known| known.leader) else { return };
        let queue = self.queues.entry(partition).or_default();
        if queue.batch.is_none() {
            let count = 1 + ctx.prng.below(3);
            let ids: Vec<RecordId> = (self.next_record..).take(count as usize).collect();
            self.next_record += count;
            let batch = records::batch_of(&ids, ctx.clock, (id, queue.sequence));
            queue.sequence += i32::try_from(count).expect("few");
            queue.batch = Some(Batch { ids, batch, sent: None });
        }
        let batch = queue.batch.as_mut().expect("made above");
        if batch.sent.is_some() {
            return;
        }
        self.next_number += 1;
        let number = self.next_number;
        batch.sent = Some(number);
        let batches = vec![(0, partition, batch.batch.clone())];
        let produce = Produce { batches, acks: Acks::All, timeout: TIMEOUT };
        self.under_way.insert(number, partition);
        // Whoever led before, and has not heard of that, would take what comes after for out of order, as Kafka does.
        ctx.ask(number, leader, Question::Ask(partition, Request::Produce(produce)));
    }

    fn produced(
        &mut self,
        ctx: &mut Context<'_>,
        partition: TopicPartition,
        result: Result<Produced, Refusal>,
    ) -> Result<(), String> {
        let queue = self.queues.get_mut(&partition).expect("it was sent");
        match result {
            Ok(produced) => {
                let Some(Batch { ids, .. }) = queue.batch.take() else { return Ok(()) };
                ctx.notes.push(format!(
                    "producer{} has {ids:?} at {} of {partition:?}",
                    self.number, produced.base
                ));
                ctx.oracles.acknowledged.add(partition, produced.base, &ids)?;
                for offset in (produced.base.value()..).take(ids.len()).map(Offset::new) {
                    if let Some(safe) = ctx.oracles.agreement.at(partition, offset) {
                        ctx.oracles.acknowledged.safe(partition, safe)?;
                    }
                }
                Ok(())
            }
            Err(refusal) => {
                ctx.notes.push(format!(
                    "producer{} is refused at {partition:?}: {:?} {}",
                    self.number, refusal.code, refusal.message
                ));
                if is_retriable(refusal.code) {
                    return Ok(());
                }
                Err(format!("{partition:?}: {:?} {}", refusal.code, refusal.message))
            }
        }
    }
}

/// Whether a batch of which this is said is sent again.
fn is_retriable(code: ErrorCode) -> bool {
    matches!(
        code,
        ErrorCode::NotLeaderOrFollower
            | ErrorCode::NotEnoughReplicas
            | ErrorCode::NotEnoughReplicasAfterAppend
            | ErrorCode::RequestTimedOut
    )
}

impl Client for Producer {
    fn name(&self) -> String {
        format!("producer{}", self.number)
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(self.every_ms);
        match self.id {
            Some(id) => self.send(ctx, id),
            None if self.asking.is_none() => {
                self.next_number += 1;
                self.asking = Some(self.next_number);
                let to = ctx.anybody();
                ctx.ask(self.next_number, to, Question::ProducerIds);
            }
            None => {}
        }
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        if self.asking == Some(number) {
            self.asking = None;
            if let lifecycle::Answer::Ok(ids) = taken::<Range<u64>>(answer)? {
                ctx.oracles.producer_ids.given_out(&ids)?;
                self.id = Some(ProducerId(ids.start));
            }
            return Ok(());
        }
        let partition = self.under_way.remove(&number).ok_or("an answer to no question")?;
        let queue = self.queues.get_mut(&partition).expect("it was sent");
        if let Some(batch) = &mut queue.batch {
            batch.sent = None;
        }
        let Answer::Reply(reply) = answer else { return Ok(()) };
        let Reply::Produced(mut results) = *reply else {
            return Err(format!("a producer is answered {reply:?}"));
        };
        self.produced(ctx, partition, results.remove(0).1)
    }

    fn settled(&self, _: &Cluster) -> Result<(), String> {
        let waiting = self.queues.iter().find(|(_, queue)| queue.batch.is_some());
        match waiting {
            None => Ok(()),
            Some((partition, queue)) => {
                let ids = queue.batch.as_ref().map(|batch| &batch.ids);
                Err(format!("{}: {ids:?} of {partition:?} are not acknowledged", self.name()))
            }
        }
    }
}
