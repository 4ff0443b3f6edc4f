//! Decisions about the cluster, one file per kind of change.
//!
//! `&Cluster` is the proof that deciding changes nothing. Where one request asks for several
//! changes, each is decided on a scratch copy that has the earlier ones in it.
//!
//! The texts of the errors here are Kafka's, with its capitals and full stops: clients show them
//! to people and tests compare them.

pub mod alter_partition;
pub mod broker;
mod change;
pub mod election;
pub mod feature;
pub mod heartbeat;
pub mod partition;
pub mod permission;
pub mod producer_id;
pub mod quota;
pub mod reassignment;
pub mod setting;
pub mod topic;
pub mod user;

#[cfg(test)]
mod cluster_tests;
#[cfg(test)]
mod security_tests;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::cluster::{Cluster, Topic};
use crate::record::MetaRecord;

/// The most records one request may come to: what they are one batch of. Kafka's
/// `QuorumController.MAX_RECORDS_PER_USER_OP`.
pub const RECORDS_MAX: usize = 10_000;

/// What a decision hands back: facts to write down, and what to say once they are safe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<Reply> {
    /// To be appended to the metadata log, in this order, as one batch.
    pub records: Vec<MetaRecord>,
    /// To be sent when `records` are committed, not before.
    pub reply: Reply,
}

/// The state as it will be after the records decided so far.
struct Draft {
    cluster: Cluster,
    records: Vec<MetaRecord>,
}

impl Draft {
    fn of(cluster: &Cluster) -> Draft {
        Draft { cluster: cluster.clone(), records: Vec::new() }
    }

    fn push(&mut self, record: impl Into<MetaRecord>) {
        let record = record.into();
        self.cluster.apply(&record);
        // A release that does not know the record must never find it.
        assert!(record.level() <= self.cluster.level(), "{record:?}");
        self.records.push(record);
    }

    /// The decision; without its records if the request was only to be validated.
    fn decide<Reply>(self, validate_only: bool, reply: Reply) -> Decision<Reply> {
        let records = if validate_only { Vec::new() } else { self.records };
        Decision { records, reply }
    }
}

/// A topic with partitions of its own: what a view has can be changed only where it is stored.
fn stored_topic(topic: Option<&Arc<Topic>>) -> Option<&Topic> {
    topic.map(Arc::as_ref).filter(|topic| topic.view_of.is_none())
}
