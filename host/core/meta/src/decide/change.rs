//! What becomes of one partition when something about it changes: who is eligible, who leads, which epochs grow.
//!
//! Every change of a partition is made here. What Kafka's `PartitionChangeBuilder` does, with eligible leader
//! replicas (KIP-966), but for two things. A last known leader is elected only where an unclean election is
//! permitted: Kafka elects it without asking. And who is no replica any more is not eligible.
//!
//! **Invariants.** The partition epoch grows by one with every change, the leader epoch by one when the leader
//! changes or a replica is dropped. A leader that may lack acknowledged records is elected only by
//! [`Election::Unclean`], and is then recovering.

use brooklet_types::{BrokerId, LeaderEpoch};

use crate::cluster::{Cluster, Topic};
use crate::partition::{LeaderRecovery, Partition};
use crate::setting::effective::ReplicationSettings;

/// Who may become leader, and who comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Election {
    /// The leader stays if it can; else who has every acknowledged record.
    Online,
    /// The same, but the first replica comes before the leader.
    Preferred,
    /// As a last resort anybody who is there, at the price of records.
    Unclean,
}

/// A change of one partition.
pub(super) struct Change<'a> {
    cluster: &'a Cluster,
    before: &'a Partition,
    /// What is wanted; what follows from it is filled in.
    pub(super) after: Partition,
    pub(super) election: Election,
    /// A broker whose copy may lack acknowledged records, or is gone.
    pub(super) lost: Option<BrokerId>,
    min_in_sync: usize,
}

/// Who was elected, and whether it has every acknowledged record.
struct Elected {
    leader: BrokerId,
    clean: bool,
}

impl<'a> Change<'a> {
    /// A change that changes nothing yet, of a partition of a topic with these settings.
    pub(super) fn of(
        cluster: &'a Cluster,
        settings: ReplicationSettings,
        before: &'a Partition,
    ) -> Change<'a> {
        let election =
            if settings.unclean_elections { Election::Unclean } else { Election::Online };
        Change {
            cluster,
            before,
            after: before.clone(),
            election,
            lost: None,
            min_in_sync: usize::try_from(settings.min_in_sync_replicas).unwrap_or(usize::MAX),
        }
    }

    /// Takes a broker out of the in-sync set.
    pub(super) fn remove_in_sync(&mut self, broker: BrokerId) {
        self.after.in_sync.retain(|one| *one != broker);
    }

    /// The partition as it will be; none if nothing changes.
    pub(super) fn build(mut self) -> Option<Partition> {
        self.complete_reassignment();
        self.keep_eligible();
        let elected = self.elect();
        // What `acks=all` waits for, Kafka's effective minimum: leaders count the same.
        let min = self.min_in_sync.min(self.after.replicas.len());
        let before = self.before;
        let mut after = self.after;
        after.leader = elected.as_ref().map(|elected| elected.leader);
        let is_dropped = |replica: &BrokerId| !after.replicas.contains(replica);
        let is_other =
            after.leader != before.leader || elected.as_ref().is_some_and(|it| !it.clean);
        let is_new_term = is_other || before.replicas.iter().any(is_dropped);
        if let Some(Elected { leader, clean }) = elected.filter(|_| is_other) {
            lead(&mut after, leader, clean);
        }
        if after.in_sync.len() >= min {
            // There are enough: from here on more is acknowledged, and others lack it.
            after.eligible.clear();
        }
        if after.leader.is_some() {
            after.last_known.clear();
        } else if let Some(leader) = before.leader.filter(|_| after.in_sync.is_empty()) {
            after.last_known = vec![leader];
        }
        if after == *before {
            return None;
        }
        after.epoch = before.epoch.next();
        if is_new_term {
            after.leader_epoch = LeaderEpoch(before.leader_epoch.0 + 1);
        }
        after.assert_sound();
        Some(after)
    }

    /// A reassignment is done once everybody who is to stay is in sync.
    fn complete_reassignment(&mut self) {
        let after = &mut self.after;
        if !after.is_reassigning() {
            return;
        }
        let stays = |broker: &&BrokerId| !after.removing.contains(broker);
        let in_sync: Vec<BrokerId> = after.in_sync.iter().filter(stays).copied().collect();
        let replicas: Vec<BrokerId> = after.replicas.iter().filter(stays).copied().collect();
        if replicas.is_empty() || !replicas.iter().all(|replica| in_sync.contains(replica)) {
            return;
        }
        after.in_sync = in_sync;
        after.replicas = replicas;
        after.adding.clear();
        after.removing.clear();
    }

    /// Who leaves the in-sync set stays complete, as long as too few are left to acknowledge anything.
    fn keep_eligible(&mut self) {
        let (before, lost, after) = (self.before, self.lost, &mut self.after);
        let is_eligible = |replica: &&BrokerId| {
            let is_complete = before.is_complete_on(**replica);
            is_complete && lost != Some(**replica) && !after.in_sync.contains(replica)
        };
        after.eligible = after.replicas.iter().filter(is_eligible).copied().collect();
    }

    fn elect(&self) -> Option<Elected> {
        let is_preferred = self.election == Election::Preferred;
        let preferred = self.after.preferred_leader().filter(|_| is_preferred);
        let in_order = preferred.into_iter().chain(self.before.leader);
        let mut in_order = in_order.chain(self.after.replicas.iter().copied());
        if let Some(leader) = in_order.find(|broker| self.may_lead(*broker)) {
            return Some(Elected { leader, clean: true });
        }
        if self.election != Election::Unclean {
            return None;
        }
        // Who led last has most of the records.
        let mut anybody = self.after.last_known.iter().chain(&self.after.replicas);
        let is_there = |broker: &&BrokerId| {
            self.cluster.is_active(**broker) && self.after.replicas.contains(broker)
        };
        anybody.find(is_there).map(|leader| Elected { leader: *leader, clean: false })
    }

    fn may_lead(&self, broker: BrokerId) -> bool {
        let Partition { in_sync, eligible, .. } = &self.after;
        let is_complete =
            in_sync.contains(&broker) || (in_sync.is_empty() && eligible.contains(&broker));
        is_complete && self.cluster.is_active(broker)
    }
}

/// Makes `leader`, which did not lead, the leader.
fn lead(partition: &mut Partition, leader: BrokerId, clean: bool) {
    if !clean {
        // Records that only others have are given up: nobody else is complete any more.
        partition.in_sync = vec![leader];
        partition.eligible.clear();
        partition.recovery = LeaderRecovery::Recovering;
    } else if partition.in_sync.is_empty() {
        partition.in_sync = vec![leader];
        partition.eligible.retain(|one| *one != leader);
    }
}

/// The stored topics, each with what the controller asks of its settings. Views have no partitions of their own.
pub(super) fn stored_topics(
    cluster: &Cluster,
) -> impl Iterator<Item = (&Topic, ReplicationSettings)> {
    let stored = cluster.topics().filter(|topic| topic.view_of.is_none());
    stored.map(|topic| (topic.as_ref(), cluster.replication(topic)))
}
