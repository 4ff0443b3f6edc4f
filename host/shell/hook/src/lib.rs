//! The door for plugins on the record path.
//!
//! **Where it sits.** Between the broker's requests, which call it at exactly two places (a batch on its way
//! in, records on their way out), and whatever runs plugins. The broker never links a plugin engine.
//!
//! **What it decides.** Nothing: a [`Checked`] or a [`Shown`] does.
//!
//! **Invariants.** Calls happen on the client's own task, so that a slow hook slows only the client that chose
//! the topic. A hook may wait, and must have a deadline of its own. Batches that passed one version of a topic's
//! plugins are in line before the next version sees its first: see [`ProduceHook::enter`].

pub mod task;

use std::collections::BTreeSet;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use brooklet_log::compaction::Policy;
use brooklet_types::{PartitionIndex, TopicName};
use bytes::Bytes;

/// An answer that may take a while.
pub type Answer<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Those who are asked about records.
pub trait Hooks: fmt::Debug + Send + Sync {
    /// Who judges what a cleaning of this partition leaves; Kafka's own policy where there is nobody. Asked
    /// as a cleaning begins, on the cleaner's thread, which everything that the policy does may hold up, and
    /// so must have a deadline. One that cannot be had just now is a policy that fails as it begins: the
    /// topic is then left alone for a while, and not cleaned by another.
    fn compaction(
        &self,
        _topic: &TopicName,
        _partition: PartitionIndex,
    ) -> Option<Box<dyn Policy>> {
        None
    }

    /// Waits until other policies than before are in place for topics: another was bound or configured, or a
    /// version was exchanged. Asked by one, again and again; what happens between two questions is not lost.
    fn policies_changed(&self) -> Answer<'_, BTreeSet<TopicName>> {
        Box::pin(std::future::pending())
    }

    /// Who wants to see what is produced to `topic`. Asked per request and answered without waiting: where
    /// there is nobody, the record path does no further work.
    fn on_produce(&self, topic: &TopicName) -> Option<Arc<dyn ProduceHook>>;

    /// Who wants to see what is fetched from `topic`.
    fn on_fetch(&self, topic: &TopicName) -> Option<Arc<dyn FetchHook>>;

    /// Whether a topic may have these plugins: the value that `brooklet.plugins` is to get. The error is for
    /// the administrator.
    fn check<'a>(&'a self, topic: &'a TopicPlugins) -> Answer<'a, Result<(), String>>;

    /// The topics that have plugins now; all others have none. What is answered after this was awaited is
    /// answered under the new plugins.
    fn follow(&self, topics: Vec<TopicPlugins>) -> Answer<'_, ()>;
}

/// What a topic says about its plugins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicPlugins {
    /// Its name.
    pub name: TopicName,
    /// Whether it shows another topic's records.
    pub is_view: bool,
    /// The value of `brooklet.plugins`.
    pub plugins: String,
}

/// Where records are.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic's name.
    pub topic: &'a TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
    /// How many partitions the topic has.
    pub partitions: u32,
    /// Whether the topic's own partitioner has put them there.
    pub is_placed: bool,
}

/// The plugins that see a topic's records before they are stored.
pub trait ProduceHook: fmt::Debug + Send + Sync {
    /// Comes in with a request. Whoever is in has its batches in line before it goes out, and while anybody
    /// is in the topic's plugins stay what they are. Topics are entered in the order of their names.
    fn enter(self: Arc<Self>) -> Answer<'static, Box<dyn Entered>>;
}

/// A request that has come in. Dropping it goes out.
pub trait Entered: fmt::Debug + Send + Sync {
    /// A batch, whole and valid, is about to be stored.
    fn check<'a>(&'a self, place: Place<'a>, batch: &'a Bytes) -> Answer<'a, Checked>;

    /// Whether the topic has a partitioner.
    fn has_partitioner(&self) -> bool;

    /// Distributes the records of a batch that has no partition yet, in a topic that has a partitioner.
    fn place<'a>(&'a self, place: Place<'a>, batch: &'a Bytes) -> Answer<'a, Placed>;
}

/// The plugins that see a view's records before they leave.
pub trait FetchHook: fmt::Debug + Send + Sync {
    /// Whole batches, as they lie in the log, are about to leave for a client that can take `bytes_max`. What is
    /// shown may be fewer of them, from the first on, but one at least.
    fn show<'a>(
        &'a self,
        place: Place<'a>,
        batches: &'a [Bytes],
        bytes_max: usize,
    ) -> Answer<'a, Shown>;

    /// The dead letters that came with an answer are stored: they need not be written again when the same
    /// records are shown another time.
    fn buried(&self, place: Place<'_>, letters: &[DeadLetter]);
}

/// What becomes of a batch that is to be stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checked {
    /// It stays as it is.
    Pass,
    /// This takes its place.
    Replace(Replacement),
    /// It is refused.
    Reject(Rejection),
}

/// A batch in place of another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Replacement {
    /// Spans the same offsets and sequences; records may be missing from it.
    pub batch: Bytes,
    /// To be stored first, elsewhere.
    pub dead_letters: Vec<DeadLetter>,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejection {
    /// For the producer.
    pub message: String,
    /// Indexes of the records it is about, with what is wrong with each; empty if it is about all.
    pub records: Vec<(u32, String)>,
    /// It says nothing of the records: the same batch may pass in a moment.
    pub is_of_the_moment: bool,
}

impl Rejection {
    /// Of all records, for good.
    pub fn whole(message: String) -> Rejection {
        Rejection { message, records: Vec::new(), is_of_the_moment: false }
    }
}

/// Where the records of a batch belong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Placed {
    /// Batches by partition, each partition once: one for each that gets any records. Of a numbered batch one for
    /// every partition there is, with or without records, each with all its sequences: so a batch that is sent
    /// again is recognised by every partition, and one that is missing is missed.
    Batches(Vec<(PartitionIndex, Bytes)>),
    /// It is refused.
    Reject(Rejection),
}

/// What a consumer is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The records as they are.
    Pass,
    /// These batches, at the same offsets: instead of as many of those that were to leave, or of the first ones.
    Replace(Vec<Bytes>, Vec<DeadLetter>),
    /// Nothing, for this reason.
    Refuse(String),
}

/// A record that a plugin could not handle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The topic for such records.
    pub topic: String,
    /// Its time, milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Vec<u8>>,
    /// Its value.
    pub value: Option<Vec<u8>>,
    /// Its headers, and behind them why it is here.
    pub headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Nobody is asked: every record passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn on_produce(&self, _topic: &TopicName) -> Option<Arc<dyn ProduceHook>> {
        None
    }

    fn on_fetch(&self, _topic: &TopicName) -> Option<Arc<dyn FetchHook>> {
        None
    }

    fn check<'a>(&'a self, topic: &'a TopicPlugins) -> Answer<'a, Result<(), String>> {
        let refused = !topic.plugins.trim().is_empty();
        let message = "this broker was built without plugins".to_owned();
        Box::pin(std::future::ready(if refused { Err(message) } else { Ok(()) }))
    }

    fn follow(&self, _topics: Vec<TopicPlugins>) -> Answer<'_, ()> {
        Box::pin(std::future::ready(()))
    }
}
