//! What every client of the simulated cluster has: a way to ask, and answers or their absence.

use std::sync::Arc;

use brooklet_meta::{Cluster, Partition};
use brooklet_types::{BrokerId, Instant, Timestamp, TopicPartition};

use crate::cluster::network::{Answer, Question};
use crate::cluster::oracles::Oracles;
use crate::prng::Prng;

/// Somebody who talks to brokers.
pub(crate) trait Client: std::fmt::Debug {
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
    fn settled(&self, view: &Cluster) -> Result<(), String>;
}

/// The surroundings of a client while it acts.
pub(crate) struct Context<'a> {
    pub(crate) prng: &'a mut Prng,
    pub(crate) now: Instant,
    pub(crate) clock: Timestamp,
    /// The cluster as the client knows it.
    pub(crate) view: &'a Arc<Cluster>,
    pub(crate) nodes: i32,
    pub(crate) oracles: &'a mut Oracles,
    /// Nothing goes wrong any more, and nobody begins anything new.
    pub(crate) calm: bool,
    /// Questions, in order, with the client's own numbers, and who is asked.
    pub(crate) asks: Vec<(u64, BrokerId, Question)>,
    /// For the history.
    pub(crate) notes: Vec<String>,
    /// When to be woken, in microseconds from now.
    pub(crate) wake_after: Option<u64>,
}

impl Context<'_> {
    pub(crate) fn ask(&mut self, number: u64, to: BrokerId, question: Question) {
        self.asks.push((number, to, question));
    }

    /// To be woken within so many milliseconds.
    pub(crate) fn wake_within(&mut self, millis: u64) {
        self.wake_after = Some(1 + self.prng.below(1000 * millis.max(1)));
    }

    pub(crate) fn anybody(&mut self) -> BrokerId {
        let count = u64::try_from(self.nodes).expect("few");
        BrokerId(1 + i32::try_from(self.prng.below(count)).expect("few"))
    }

    /// Every partition of the topics that `wanted` likes.
    pub(crate) fn partitions(&self, wanted: impl Fn(&str) -> bool) -> Vec<TopicPartition> {
        let topics = self.view.topics().filter(|topic| wanted(topic.name.as_str()));
        let ids = topics.flat_map(|topic| {
            let id = topic.id;
            topic.indexed().map(move |(partition, _)| TopicPartition { topic: id, partition })
        });
        ids.collect()
    }

    /// What is known of a partition.
    pub(crate) fn known(&self, id: TopicPartition) -> Option<&Partition> {
        self.view.partition(id)
    }
}
