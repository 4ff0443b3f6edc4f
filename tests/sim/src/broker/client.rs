//! What every client of the simulated broker has: a way to ask, and answers or their absence.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::Cluster;
use brooklet_shard::input::Request;
use brooklet_shard::output::Reply;
use brooklet_types::{Instant, Timestamp, TopicPartition};

use crate::broker::promises::Promises;
use crate::prng::Prng;

/// Somebody who talks to the broker, over one connection at a time.
pub(crate) trait Client {
    /// What it is, for the trace.
    fn name(&self) -> String;

    /// Its time to do something has come.
    fn wake(&mut self, ctx: &mut Context<'_>);

    /// The answer to its question `number`; an error is a broken promise.
    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String>;

    /// Whether it has what it wants, once nothing goes wrong any more; or what it still waits for.
    fn settled(&self) -> Result<(), String> {
        Ok(())
    }
}

/// What has come of a question.
#[derive(Debug)]
pub(crate) enum Answer {
    /// The broker's word.
    Reply(Reply<MemoryDisk>),
    /// The connection is gone: it may have been done or not, or may yet be.
    Gone,
}

/// A question on its way.
#[derive(Debug)]
pub(crate) struct Ask {
    /// The client's own number for it.
    pub(crate) number: u64,
    /// Which shard is asked.
    pub(crate) shard: u32,
    /// What it is.
    pub(crate) request: Request,
}

/// The surroundings of a client while it acts.
pub(crate) struct Context<'a> {
    pub(crate) prng: &'a mut Prng,
    pub(crate) now: Instant,
    pub(crate) clock: Timestamp,
    /// The cluster as the broker's connections see it.
    pub(crate) cluster: &'a Cluster,
    pub(crate) shards: u32,
    pub(crate) promises: &'a mut Promises,
    /// Nothing goes wrong any more, and nobody begins anything new that would upset others.
    pub(crate) calm: bool,
    /// Questions, in order.
    pub(crate) asks: Vec<Ask>,
    /// For the history.
    pub(crate) notes: Vec<String>,
    /// When to be woken, in microseconds from now.
    pub(crate) wake_after: Option<u64>,
}

impl Context<'_> {
    pub(crate) fn ask(&mut self, number: u64, shard: u32, request: Request) {
        self.asks.push(Ask { number, shard, request });
    }

    pub(crate) fn shard_of(&self, partition: TopicPartition) -> u32 {
        brooklet_shard::shard_of(partition, self.shards)
    }

    /// To be woken within so many milliseconds.
    pub(crate) fn wake_within(&mut self, millis: u64) {
        self.wake_after = Some(1 + self.prng.below(1000 * millis.max(1)));
    }

    /// Every partition of the topics that `wanted` likes.
    pub(crate) fn partitions(&self, wanted: impl Fn(&str) -> bool) -> Vec<TopicPartition> {
        let topics = self.cluster.topics().filter(|topic| wanted(topic.name.as_str()));
        let ids = topics.flat_map(|topic| {
            let id = topic.id;
            topic.indexed().map(move |(partition, _)| TopicPartition { topic: id, partition })
        });
        ids.collect()
    }
}
