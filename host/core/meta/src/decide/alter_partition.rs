//! Leaders say who is in sync (AlterPartition). The checks and their order are Kafka's
//! `ReplicationControlManager.validateAlterPartitionData`.

use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId};

use super::broker::{BrokerEpochError, check_epoch};
use super::change::Change;
use super::{Decision, Draft, stored_topic};
use crate::broker::BrokerEpoch;
use crate::cluster::Cluster;
use crate::partition::{LeaderRecovery, Partition, PartitionEpoch};
use crate::record::ClusterRecord;

/// Who a leader wants to be in sync with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartition {
    /// The topic.
    pub topic: TopicId,
    /// Its partition.
    pub partition: PartitionIndex,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// The state it knows.
    pub epoch: PartitionEpoch,
    /// The new in-sync set, each with the registration that fetched; none where it was not told.
    pub in_sync: Vec<(BrokerId, Option<BrokerEpoch>)>,
    /// Whether it is still making good an unclean election.
    pub recovery: LeaderRecovery,
}

/// Why a partition was not changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AlterPartitionError {
    /// No topic of that id.
    #[error("This server does not host this topic ID.")]
    UnknownTopic,
    /// It has no such partition.
    #[error("This server does not host this topic-partition.")]
    UnknownPartition,
    /// The leader knows more than we do: somebody else is the controller.
    #[error("the partition is in a later state than this controller knows of")]
    NotController,
    /// The leader's term is over.
    #[error("the leader epoch is {0}")]
    FencedLeaderEpoch(LeaderEpoch),
    /// It never led.
    #[error("broker {0} does not lead the partition")]
    NotLeader(BrokerId),
    /// The partition has changed since.
    #[error("the partition epoch is {}", .0.0)]
    StalePartitionEpoch(PartitionEpoch),
    /// Not a set of replicas with the leader.
    #[error("the in-sync set is not one of replicas, each once, with the leader")]
    InvalidSet,
    /// A leader that is recovering is in sync with nobody, and one that has recovered has.
    #[error("the leader recovery state does not fit")]
    Recovery,
    /// Somebody in the new set may not be.
    #[error("broker {broker} is not eligible: {reason}")]
    Ineligible { broker: BrokerId, reason: &'static str },
    /// It is done; and it came to another leader, so whoever asked has to look again.
    #[error("the change completed a reassignment, and another leader was elected")]
    NewLeaderElected,
}

impl AlterPartitionError {
    /// What the leader is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            AlterPartitionError::UnknownTopic => ErrorCode::UnknownTopicId,
            AlterPartitionError::UnknownPartition => ErrorCode::UnknownTopicOrPartition,
            AlterPartitionError::NotController => ErrorCode::NotController,
            AlterPartitionError::FencedLeaderEpoch(_) => ErrorCode::FencedLeaderEpoch,
            AlterPartitionError::NotLeader(_)
            | AlterPartitionError::InvalidSet
            | AlterPartitionError::Recovery => ErrorCode::InvalidRequest,
            AlterPartitionError::StalePartitionEpoch(_) => ErrorCode::InvalidUpdateVersion,
            AlterPartitionError::Ineligible { .. } => ErrorCode::IneligibleReplica,
            AlterPartitionError::NewLeaderElected => ErrorCode::NewLeaderElected,
        }
    }
}

/// Each partition as it is now, or why it was not changed.
pub type AlterPartitionReply = Vec<Result<Partition, AlterPartitionError>>;

/// Changes who is in sync, each partition by itself.
pub fn alter_partitions(
    cluster: &Cluster,
    broker: BrokerId,
    epoch: BrokerEpoch,
    wanted: &[AlterPartition],
) -> Result<Decision<AlterPartitionReply>, BrokerEpochError> {
    check_epoch(cluster, broker, epoch)?;
    let mut draft = Draft::of(cluster);
    let reply = wanted.iter().map(|one| alter(&mut draft, broker, one)).collect();
    Ok(draft.decide(false, reply))
}

fn alter(
    draft: &mut Draft,
    broker: BrokerId,
    wanted: &AlterPartition,
) -> Result<Partition, AlterPartitionError> {
    let cluster = &draft.cluster;
    let topic =
        stored_topic(cluster.topic_by_id(wanted.topic)).ok_or(AlterPartitionError::UnknownTopic)?;
    let before = topic.partition(wanted.partition).ok_or(AlterPartitionError::UnknownPartition)?;
    check(broker, before, wanted)?;
    check_eligible(cluster, wanted)?;
    let mut change = Change::of(cluster, cluster.replication(topic), before);
    change.after.in_sync = wanted.in_sync.iter().map(|(broker, _)| *broker).collect();
    change.after.recovery = wanted.recovery;
    let Some(now) = change.build() else { return Ok(before.clone()) };
    let (topic, partition) = (wanted.topic, wanted.partition);
    draft.push(ClusterRecord::PartitionChanged { topic, partition, now: now.clone() });
    // Usually a leader does not depose itself; it does when this was what a reassignment waited for.
    if now.leader == Some(broker) { Ok(now) } else { Err(AlterPartitionError::NewLeaderElected) }
}

fn check(
    broker: BrokerId,
    before: &Partition,
    wanted: &AlterPartition,
) -> Result<(), AlterPartitionError> {
    if wanted.leader_epoch > before.leader_epoch || wanted.epoch > before.epoch {
        return Err(AlterPartitionError::NotController);
    }
    if wanted.leader_epoch < before.leader_epoch {
        return Err(AlterPartitionError::FencedLeaderEpoch(before.leader_epoch));
    }
    if before.leader != Some(broker) {
        return Err(AlterPartitionError::NotLeader(broker));
    }
    if wanted.epoch < before.epoch {
        return Err(AlterPartitionError::StalePartitionEpoch(before.epoch));
    }
    let mut brokers: Vec<BrokerId> = wanted.in_sync.iter().map(|(broker, _)| *broker).collect();
    let is_leader_in = brokers.contains(&broker);
    brokers.sort_unstable();
    let is_set = brokers.is_sorted_by(|one, other| one < other);
    let are_replicas = brokers.iter().all(|broker| before.replicas.contains(broker));
    if !is_leader_in || !is_set || !are_replicas {
        return Err(AlterPartitionError::InvalidSet);
    }
    let is_recovering = wanted.recovery == LeaderRecovery::Recovering;
    let had_recovered = before.recovery == LeaderRecovery::Recovered;
    if is_recovering && (wanted.in_sync.len() > 1 || had_recovered) {
        return Err(AlterPartitionError::Recovery);
    }
    Ok(())
}

fn check_eligible(cluster: &Cluster, wanted: &AlterPartition) -> Result<(), AlterPartitionError> {
    for (broker, epoch) in &wanted.in_sync {
        let reason = match cluster.registration(*broker) {
            None => "not registered",
            Some(known) if known.shutting_down => "shutting down",
            Some(known) if known.fenced => "fenced",
            Some(known) if epoch.is_some_and(|epoch| epoch != known.epoch) => {
                "broker epoch mismatch"
            }
            Some(_) => continue,
        };
        return Err(AlterPartitionError::Ineligible { broker: *broker, reason });
    }
    Ok(())
}
