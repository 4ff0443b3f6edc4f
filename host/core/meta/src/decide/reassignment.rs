//! Partitions move to other brokers (AlterPartitionReassignments, KIP-455).
//!
//! A move goes in three steps: who is to have a copy is added to the replicas; they fetch until they are in sync;
//! then who is to have none is removed. A move that waits for nobody is done at once. Another move of the same
//! partition takes the place of the first: who was only being added by that, and is not wanted any more, is dropped,
//! unless nobody else is complete.

use brooklet_types::{BrokerId, ErrorCode, PartitionIndex, TopicId};

use super::change::Change;
use super::partition::{AssignmentError, check_assignment};
use super::{Decision, Draft, RECORDS_MAX, stored_topic};
use crate::cluster::{Cluster, Topic};
use crate::partition::{LeaderRecovery, Partition};
use crate::record::ClusterRecord;

/// Where one topic's partitions are to go; none ends a move.
pub type TopicMoves = (String, Vec<(i32, Option<Vec<i32>>)>);

/// What became of them.
pub type TopicMoved = (String, Vec<(i32, Result<(), ReassignError>)>);

/// Why a partition was not moved.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReassignError {
    /// No topic of that name.
    #[error("Unable to find a topic named {0}.")]
    UnknownTopic(String),
    /// It has no such partition.
    #[error("Unable to find partition {topic}:{partition}.")]
    UnknownPartition { topic: String, partition: i32 },
    /// It is not being moved.
    #[error("{}", ErrorCode::NoReassignmentInProgress.message())]
    NotMoving,
    /// Who had the copies before has none that is complete.
    #[error(
        "Unable to revert partition assignment for {topic}:{partition} because it would require an \
         unclean leader election."
    )]
    UncleanRevert { topic: String, partition: i32 },
    /// There would be more or fewer copies, and that was not wanted (KIP-860).
    #[error("The replication factor is changed from {from} to {to}")]
    ReplicationFactor { from: usize, to: usize },
    /// The brokers cannot keep it.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// More than one decision may come to.
    #[error("Unable to perform excessively large batch operation.")]
    TooMany,
}

/// A partition that is being moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Its number.
    pub partition: PartitionIndex,
    /// Everybody who has, gets or loses a copy.
    pub replicas: Vec<BrokerId>,
    /// Who gets one.
    pub adding: Vec<BrokerId>,
    /// Who loses it.
    pub removing: Vec<BrokerId>,
}

impl ReassignError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ReassignError::UnknownTopic(_) | ReassignError::UnknownPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            ReassignError::NotMoving => ErrorCode::NoReassignmentInProgress,
            ReassignError::UncleanRevert { .. } => ErrorCode::InvalidReplicaAssignment,
            ReassignError::ReplicationFactor { .. } => ErrorCode::InvalidReplicationFactor,
            ReassignError::Assignment(error) => error.code(),
            ReassignError::TooMany => ErrorCode::PolicyViolation,
        }
    }
}

/// Begins, changes or ends moves, each by itself. `any_factor` says whether a move may change how many copies there
/// are.
pub fn alter_reassignments(
    cluster: &Cluster,
    any_factor: bool,
    moves: &[TopicMoves],
) -> Decision<Vec<TopicMoved>> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::with_capacity(moves.len());
    for (name, partitions) in moves {
        let mut moved = Vec::with_capacity(partitions.len());
        for (partition, target) in partitions {
            let result = alter(&mut draft, any_factor, name, *partition, target.as_deref());
            moved.push((*partition, result));
        }
        reply.push((name.clone(), moved));
    }
    draft.decide(false, reply)
}

fn alter(
    draft: &mut Draft,
    any_factor: bool,
    name: &str,
    partition: i32,
    target: Option<&[i32]>,
) -> Result<(), ReassignError> {
    let cluster = &draft.cluster;
    let topic = stored_topic(cluster.topic(name));
    let topic = topic.ok_or_else(|| ReassignError::UnknownTopic(name.to_owned()))?;
    let index = PartitionIndex::from_wire(partition);
    let before = index.and_then(|index| Some((index, topic.partition(index)?)));
    let unknown = || ReassignError::UnknownPartition { topic: name.to_owned(), partition };
    let (index, before) = before.ok_or_else(unknown)?;
    if draft.records.len() == RECORDS_MAX {
        return Err(ReassignError::TooMany);
    }
    let mut change = Change::of(cluster, cluster.replication(topic), before);
    match target {
        None => cancel(cluster, topic, partition, &mut change)?,
        Some(target) => {
            check_assignment(cluster, target)?;
            let from = wanted_replicas(before).count();
            if !any_factor && from != target.len() {
                return Err(ReassignError::ReplicationFactor { from, to: target.len() });
            }
            retarget(&mut change.after, target);
        }
    }
    let (topic, partition) = (topic.id, index);
    if let Some(now) = change.build() {
        draft.push(ClusterRecord::PartitionChanged { topic, partition, now });
    }
    Ok(())
}

/// The replicas as they will be when the move under way is done.
fn wanted_replicas(partition: &Partition) -> impl Iterator<Item = BrokerId> {
    partition.replicas.iter().filter(move |one| !partition.removing.contains(one)).copied()
}

/// The replicas as they were before the move under way.
fn original_replicas(partition: &Partition) -> Vec<BrokerId> {
    partition.replicas.iter().filter(|one| !partition.adding.contains(one)).copied().collect()
}

fn retarget(partition: &mut Partition, target: &[i32]) {
    let target: Vec<BrokerId> = target.iter().copied().map(BrokerId).collect();
    let original = original_replicas(partition);
    let is_kept = |broker: &BrokerId| target.contains(broker) || original.contains(broker);
    let mut removing = original.clone();
    let complete = [partition.in_sync.as_slice(), &partition.eligible].concat();
    if !complete.iter().any(is_kept) {
        removing.extend(complete);
    }
    removing.retain(|broker| !target.contains(broker));
    removing.sort_unstable();
    let mut adding = target.clone();
    adding.retain(|broker| !original.contains(broker));
    adding.sort_unstable();
    partition.replicas = [target, removing.clone()].concat();
    partition.in_sync.retain(|broker| partition.replicas.contains(broker));
    partition.adding = adding;
    partition.removing = removing;
}

/// Takes a move back: who was being added goes, who was being removed stays.
fn cancel(
    cluster: &Cluster,
    topic: &Topic,
    partition: i32,
    change: &mut Change<'_>,
) -> Result<(), ReassignError> {
    if !change.after.is_reassigning() {
        return Err(ReassignError::NotMoving);
    }
    let settings = cluster.replication(topic);
    let after = &mut change.after;
    after.replicas = original_replicas(after);
    let mut complete = [after.in_sync.as_slice(), &after.eligible].concat();
    let is_lost = complete.is_empty();
    complete.retain(|broker| after.replicas.contains(broker));
    after.in_sync.retain(|broker| after.replicas.contains(broker));
    if complete.is_empty() && !is_lost {
        // Only who was being added is complete.
        let Some(first) = after.replicas.first().filter(|_| settings.unclean_elections) else {
            let topic = topic.name.as_str().to_owned();
            return Err(ReassignError::UncleanRevert { topic, partition });
        };
        after.in_sync = vec![*first];
        after.recovery = LeaderRecovery::Recovering;
    }
    after.adding.clear();
    after.removing.clear();
    Ok(())
}

/// The partitions that are being moved, of these topics or of all.
pub fn list_reassignments(
    cluster: &Cluster,
    named: Option<&[(String, Vec<i32>)]>,
) -> Vec<(TopicId, String, Vec<Reassignment>)> {
    let all = |topic: &Topic| topic.indexed().map(|(index, _)| index).collect::<Vec<_>>();
    let wanted: Vec<(&Topic, Vec<PartitionIndex>)> = match named {
        None => {
            let stored = cluster.topics().filter_map(|topic| stored_topic(Some(topic)));
            stored.map(|topic| (topic, all(topic))).collect()
        }
        Some(named) => {
            let topic = |(name, partitions): &(String, Vec<i32>)| {
                let indexes = partitions.iter().filter_map(|one| PartitionIndex::from_wire(*one));
                Some((stored_topic(cluster.topic(name))?, indexes.collect()))
            };
            named.iter().filter_map(topic).collect()
        }
    };
    let moving = wanted.into_iter().map(|(topic, indexes)| {
        let moves = indexes.into_iter().filter_map(|index| reassignment(topic, index));
        (topic.id, topic.name.as_str().to_owned(), moves.collect::<Vec<_>>())
    });
    moving.filter(|(.., moves)| !moves.is_empty()).collect()
}

fn reassignment(topic: &Topic, index: PartitionIndex) -> Option<Reassignment> {
    let partition = topic.partition(index).filter(|partition| partition.is_reassigning())?;
    let Partition { replicas, adding, removing, .. } = partition.clone();
    Some(Reassignment { partition: index, replicas, adding, removing })
}
