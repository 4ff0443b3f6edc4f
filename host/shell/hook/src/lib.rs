//! The door for plugins on the record path.
//!
//! **Where it sits.** Between the broker's requests, which call it at exactly two places (a batch
//! on its way in, records on their way out), and whatever runs plugins. The broker never links a
//! plugin engine.
//!
//! **What it decides.** Nothing: a [`Verdict`] does.
//!
//! **Invariants.** Calls happen on the client's own task, so that a slow hook slows only the client
//! that chose the topic. A hook may wait, and must have a deadline of its own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use brooklet_log::compaction::Policy;
use brooklet_types::{PartitionIndex, TopicName};
use bytes::Bytes;

/// What becomes of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Leave it as it is.
    Pass,
    /// Take this batch in its place: as many records in the same order, so that offsets and
    /// sequences hold. The broker validates it as if it had come from the client.
    Replace(Bytes),
    /// Refuse it, for this reason.
    Reject(String),
}

/// A verdict that may take a while.
pub type VerdictFuture<'a> = Pin<Box<dyn Future<Output = Verdict> + Send + 'a>>;

/// Which partition a batch belongs to.
#[derive(Clone, Copy, Debug)]
pub struct Place<'a> {
    /// The topic's name.
    pub topic: &'a TopicName,
    /// The partition within it.
    pub partition: PartitionIndex,
}

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

    /// Whether `topic` has a hook at all. Asked per batch and answered without waiting: where
    /// there is none, the record path does no further work.
    fn concern(&self, topic: &TopicName) -> bool;

    /// A batch has arrived from a client and is about to be validated and stored.
    fn on_produce<'a>(&'a self, place: Place<'a>, batch: &'a Bytes) -> VerdictFuture<'a>;

    /// Whole batches, as they lie in the log, are about to leave for a client.
    fn on_fetch<'a>(&'a self, place: Place<'a>, batches: &'a Bytes) -> VerdictFuture<'a>;
}

/// Nobody is asked: every record passes.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoHooks;

impl Hooks for NoHooks {
    fn concern(&self, _topic: &TopicName) -> bool {
        false
    }

    fn on_produce<'a>(&'a self, _place: Place<'a>, _batch: &'a Bytes) -> VerdictFuture<'a> {
        Box::pin(std::future::ready(Verdict::Pass))
    }

    fn on_fetch<'a>(&'a self, _place: Place<'a>, _batches: &'a Bytes) -> VerdictFuture<'a> {
        Box::pin(std::future::ready(Verdict::Pass))
    }
}
