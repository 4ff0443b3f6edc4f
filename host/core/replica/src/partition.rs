//! What the metadata says of one partition, and of the brokers that hold it.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_types::{BrokerId, LeaderEpoch};

/// One start of one broker, given out by the controller when it registers; a later one is larger.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerEpoch(pub u64);

/// Counts the changes of a partition's state: leader, in-sync set, replicas.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionEpoch(pub u32);

/// A partition as the metadata has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Partition {
    /// Who leads; none while nobody can.
    pub leader: Option<BrokerId>,
    /// The term of the leader, or of having none.
    pub leader_epoch: LeaderEpoch,
    /// Counts all changes, this state being the last.
    pub partition_epoch: PartitionEpoch,
    /// Who holds a copy.
    pub replicas: BTreeSet<BrokerId>,
    /// Whose copies have everything that was acknowledged.
    pub in_sync: BTreeSet<BrokerId>,
    /// `min.insync.replicas` of the topic.
    pub min_in_sync: u32,
}

impl Partition {
    /// How many copies an acknowledged record has at least: no more are asked for than there are replicas, which is
    /// Kafka's effective minimum.
    pub fn in_sync_min(&self) -> usize {
        usize::try_from(self.min_in_sync).unwrap_or(usize::MAX).min(self.replicas.len())
    }
}

/// A registered broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LiveBroker {
    /// Its present incarnation.
    pub epoch: BrokerEpoch,
    /// Whether it may join in-sync sets: it is neither fenced nor shutting down.
    pub can_join: bool,
}

/// The registered brokers; those that hold no copy are of no interest here.
pub type Brokers = BTreeMap<BrokerId, LiveBroker>;
