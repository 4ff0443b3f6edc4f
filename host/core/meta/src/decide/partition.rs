//! Topics grow.

use brooklet_types::{BrokerId, ErrorCode, TopicId, TopicName, limits};

use super::{Decision, Draft};
use crate::cluster::{Cluster, Topic};
use crate::partition::Assignment;
use crate::placement::{PlacementError, place, usable};
use crate::record::{CLUSTER_LEVEL, ClusterRecord, MetaRecord};

/// One topic that somebody wants to be larger.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MorePartitions {
    /// The topic's name.
    pub name: String,
    /// How many partitions it is to have in all.
    pub total: i32,
    /// Who is to keep each new one; none leaves it to us.
    pub assignments: Option<Vec<Vec<i32>>>,
}

/// Why somebody cannot be given a partition.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AssignmentError {
    /// Nobody is to keep it.
    #[error("The manual partition assignment includes an empty replica list.")]
    Empty,
    /// There is no such broker.
    #[error(
        "The manual partition assignment includes broker {0}, but no such broker is registered."
    )]
    UnknownBroker(i32),
    /// One broker is to keep two copies.
    #[error("The manual partition assignment includes the broker {0} more than once.")]
    Twice(i32),
    /// The partitions are not 0, 1, 2 and so on.
    #[error("partitions should be a consecutive 0-based integer sequence")]
    NotConsecutive,
    /// One partition is assigned twice.
    #[error("Found multiple manual partition assignments for partition {0}")]
    PartitionTwice(i32),
    /// Not as many copies as of the others.
    #[error(
        "The manual partition assignment includes a partition with {got} replica(s), but this is \
         not consistent with previous partitions, which have {expected} replica(s)."
    )]
    Uneven { got: usize, expected: usize },
    /// Nobody could lead it.
    #[error(
        "All brokers specified in the manual partition assignment for partition {0} are fenced or \
         in controlled shutdown."
    )]
    AllFenced(usize),
    /// Not one list for each new partition.
    #[error(
        "Attempted to add {added} additional partition(s), but only {assigned} assignment(s) were \
         specified."
    )]
    Count { added: u32, assigned: usize },
}

/// Why a topic was not made larger.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreatePartitionsError {
    /// There is none of that name.
    #[error("This server does not host this topic-partition.")]
    UnknownTopic,
    /// The request names it twice.
    #[error("Duplicate topic in request.")]
    Duplicate,
    /// It has the partitions of what it shows.
    #[error("Topic {0} is a view: it has the partitions of the topic it shows.")]
    View(TopicName),
    /// It is just that large.
    #[error("Topic already has {0} partition(s).")]
    Same(usize),
    /// It would shrink.
    #[error(
        "The topic {name} currently has {current} partition(s); {wanted} would not be an increase."
    )]
    NoIncrease { name: TopicName, current: usize, wanted: i32 },
    /// More than one topic may have. Kafka answers UNKNOWN_SERVER_ERROR here, which some clients
    /// take for the end of the world.
    #[error("{0} partitions are more than one topic may have ({limit})", limit = limits::PARTITIONS_PER_TOPIC_MAX)]
    TooMany(u32),
    /// The assignment makes no sense.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// There are not the brokers for as many copies as the topic has.
    #[error(transparent)]
    Placement(#[from] PlacementError),
}

impl AssignmentError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::InvalidReplicaAssignment
    }
}

impl CreatePartitionsError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CreatePartitionsError::UnknownTopic => ErrorCode::UnknownTopicOrPartition,
            CreatePartitionsError::Duplicate => ErrorCode::InvalidRequest,
            CreatePartitionsError::View(_)
            | CreatePartitionsError::Same(_)
            | CreatePartitionsError::NoIncrease { .. }
            | CreatePartitionsError::TooMany(_) => ErrorCode::InvalidPartitions,
            CreatePartitionsError::Assignment(error) => error.code(),
            CreatePartitionsError::Placement(error) => error.code(),
        }
    }
}

/// Makes topics larger, each by itself.
pub fn create_partitions(
    cluster: &Cluster,
    topics: &[MorePartitions],
    validate_only: bool,
) -> Decision<Vec<Result<(), CreatePartitionsError>>> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::with_capacity(topics.len());
    for topic in topics {
        if topics.iter().filter(|other| other.name == topic.name).count() > 1 {
            reply.push(Err(CreatePartitionsError::Duplicate));
        } else {
            reply.push(grow(&mut draft, topic));
        }
    }
    draft.decide(validate_only, reply)
}

fn grow(draft: &mut Draft, wanted: &MorePartitions) -> Result<(), CreatePartitionsError> {
    let topic = draft.cluster.topic(&wanted.name).ok_or(CreatePartitionsError::UnknownTopic)?;
    if topic.view_of.is_some() {
        return Err(CreatePartitionsError::View(topic.name.clone()));
    }
    let (id, current) = (topic.id, topic.partitions.len());
    let no_increase = || CreatePartitionsError::NoIncrease {
        name: topic.name.clone(),
        current,
        wanted: wanted.total,
    };
    let total = u32::try_from(wanted.total).map_err(|_| no_increase())?;
    let known = u32::try_from(current).expect("partitions are limited");
    if total == known {
        return Err(CreatePartitionsError::Same(current));
    }
    let added = total.checked_sub(known).ok_or_else(no_increase)?;
    if total > limits::PARTITIONS_PER_TOPIC_MAX {
        return Err(CreatePartitionsError::TooMany(total));
    }
    if let Some(assignments) = &wanted.assignments {
        let assigned = assignments.len();
        if u32::try_from(assigned) != Ok(added) {
            return Err(AssignmentError::Count { added, assigned }.into());
        }
        for replicas in assignments {
            check_assignment(&draft.cluster, replicas)?;
        }
    }
    if draft.cluster.level() < CLUSTER_LEVEL {
        draft.push(MetaRecord::PartitionsAdded { id, total });
        return Ok(());
    }
    let partitions = more_partitions(&draft.cluster, topic, added, wanted.assignments.as_deref())?;
    draft.push(ClusterRecord::PartitionsPlaced { id, partitions });
    Ok(())
}

/// Who keeps the partitions that a topic grows by: as many copies of each as of its first one.
fn more_partitions(
    cluster: &Cluster,
    topic: &Topic,
    added: u32,
    assignments: Option<&[Vec<i32>]>,
) -> Result<Vec<Assignment>, CreatePartitionsError> {
    let known = topic.partitions.len();
    let copies = topic.partitions.first().map_or(1, |first| first.replicas.len());
    if let Some(assignments) = assignments {
        let assigned = (known..).zip(assignments);
        let assigned = assigned.map(|(index, replicas)| {
            let even = replicas.len() == copies;
            let uneven = AssignmentError::Uneven { got: replicas.len(), expected: copies };
            even.then_some(()).ok_or(uneven)?;
            assigned_partition(cluster, index, replicas)
        });
        return Ok(assigned.collect::<Result<_, _>>()?);
    }
    let copies = u16::try_from(copies).unwrap_or(u16::MAX);
    Ok(placed_partitions(cluster, added, copies, entropy(topic.id, known))?)
}

/// Where the turns of a placement begin: a topic's id is drawn by chance, and is another for each topic.
pub(super) fn entropy(id: TopicId, partitions: usize) -> u64 {
    let drawn = u128::from_be_bytes(id.0);
    let folded = u64::try_from((drawn >> 64) ^ (drawn & u128::from(u64::MAX)));
    let grown = u64::try_from(partitions).expect("partitions are limited");
    folded.expect("64 bits").wrapping_add(grown)
}

/// Has new partitions kept by whoever it suits.
pub(super) fn placed_partitions(
    cluster: &Cluster,
    partitions: u32,
    copies: u16,
    entropy: u64,
) -> Result<Vec<Assignment>, PlacementError> {
    let placed = place(&usable(cluster), partitions, copies, entropy)?;
    let assigned = placed.into_iter().map(|replicas| {
        let active = replicas.iter().filter(|broker| cluster.is_active(**broker));
        Assignment { in_sync: active.copied().collect(), replicas }
    });
    Ok(assigned.collect())
}

/// Has one new partition kept by these brokers, who have been checked.
pub(super) fn assigned_partition(
    cluster: &Cluster,
    index: usize,
    replicas: &[i32],
) -> Result<Assignment, AssignmentError> {
    let replicas: Vec<BrokerId> = replicas.iter().copied().map(BrokerId).collect();
    let active = replicas.iter().filter(|broker| cluster.is_active(**broker));
    let in_sync: Vec<BrokerId> = active.copied().collect();
    if in_sync.is_empty() {
        return Err(AssignmentError::AllFenced(index));
    }
    Ok(Assignment { replicas, in_sync })
}

/// Whether these brokers can keep a partition.
pub(super) fn check_assignment(cluster: &Cluster, replicas: &[i32]) -> Result<(), AssignmentError> {
    if replicas.is_empty() {
        return Err(AssignmentError::Empty);
    }
    for (place, replica) in replicas.iter().enumerate() {
        if cluster.broker(BrokerId(*replica)).is_none() {
            return Err(AssignmentError::UnknownBroker(*replica));
        }
        if replicas.iter().take(place).any(|earlier| earlier == replica) {
            return Err(AssignmentError::Twice(*replica));
        }
    }
    Ok(())
}
