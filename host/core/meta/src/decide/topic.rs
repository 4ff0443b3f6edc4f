//! Topics come and go.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_types::{BrokerId, ErrorCode, NameError, TopicId, TopicName, limits};

use super::partition::{self, AssignmentError};
use super::setting::{AlterError, check_topic_settings};
use super::{Decision, Draft};
use crate::cluster::{Cluster, Topic};
use crate::partition::Assignment;
use crate::placement::PlacementError;
use crate::record::{CLUSTER_LEVEL, ClusterRecord, MetaRecord};
use crate::setting::topic;

/// One topic somebody wants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTopic {
    /// Its id, if it comes to be.
    pub id: TopicId,
    /// Its name, unchecked.
    pub name: String,
    /// How many partitions; -1 for the default.
    pub partitions: i32,
    /// How many copies; -1 for the default.
    pub replication_factor: i16,
    /// Partitions and who is to keep them; empty leaves it to us.
    pub assignments: Vec<(i32, Vec<i32>)>,
    /// Its own settings.
    pub settings: Vec<(String, Option<String>)>,
    /// Why its plugins can't be used, if they can't.
    pub refused: Option<String>,
}

/// Which topic is meant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum TopicRef {
    /// The one of that name now.
    Name(String),
    /// That very incarnation.
    Id(TopicId),
    /// Both at once, or neither.
    Unclear { name: Option<String>, id: Option<TopicId> },
}

/// Why a topic was not created.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CreateTopicError {
    /// The request names it twice.
    #[error("Duplicate topic name.")]
    Duplicate,
    /// There is one.
    #[error("Topic '{0}' already exists.")]
    Exists(TopicName),
    /// The name cannot be a topic's.
    #[error("{}", name_message(.name, .error))]
    Name { name: String, error: NameError },
    /// The metadata's log is kept under that name.
    #[error("Creation of internal topic {0} is prohibited.")]
    Reserved(TopicName),
    /// Kafka's metrics cannot tell `.` from `_`, so names that differ in nothing else collide.
    #[error("Topic '{name}' collides with existing topic: {other}")]
    Collides { name: TopicName, other: TopicName },
    /// Zero, or below -1.
    #[error("Number of partitions was set to an invalid non-positive value.")]
    NoPartitions,
    /// More than one request may ask for, or one topic may have.
    #[error("Excessively large number of partitions per request.")]
    TooManyPartitions,
    /// Zero, or below -1.
    #[error("Replication factor must be larger than 0, or -1 to use the default value.")]
    NoReplicas,
    /// More copies than there are brokers.
    #[error(
        "Unable to replicate the partition {wanted} time(s): The target replication factor of \
         {wanted} cannot be reached because only {brokers} broker(s) are registered."
    )]
    TooManyReplicas { wanted: i16, brokers: usize },
    /// The cluster has not the brokers.
    #[error("Unable to replicate the partition {wanted} time(s): {error}")]
    Placement { wanted: u16, error: PlacementError },
    /// Numbers besides an assignment.
    #[error("A manual partition assignment was specified, but {what} was not set to -1.")]
    NumbersAndAssignment { what: &'static str },
    /// The assignment makes no sense.
    #[error(transparent)]
    Assignment(#[from] AssignmentError),
    /// Its settings make no sense.
    #[error(transparent)]
    Setting(#[from] AlterError),
    /// Its plugins can't be used.
    #[error("{name}: {0}", name = topic::PLUGINS)]
    Plugins(String),
    /// It would show what can't be shown.
    #[error("{name}: {0}", name = topic::VIEW_OF)]
    View(String),
}

/// Why a topic was not deleted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeleteTopicError {
    /// None of that name.
    #[error("This server does not host this topic-partition.")]
    UnknownName,
    /// None of that id.
    #[error("This server does not host this topic ID.")]
    UnknownId,
    /// The request names it twice, by name, id or both.
    #[error("The provided topic name maps to an ID that was already supplied.")]
    Duplicate,
    /// Others show its records.
    #[error("Topic {name} is shown by the views {views}: delete them first.")]
    HasViews { name: TopicName, views: String },
    /// A name and an id, or neither.
    #[error("You may not specify both topic name and topic id, nor neither.")]
    Unclear,
}

/// What the creator of a topic is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CreatedTopic {
    /// The topic as it is, or would be.
    pub topic: Topic,
}

impl CreateTopicError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            CreateTopicError::Duplicate | CreateTopicError::Reserved(_) => {
                ErrorCode::InvalidRequest
            }
            CreateTopicError::Exists(_) => ErrorCode::TopicAlreadyExists,
            CreateTopicError::Name { .. } | CreateTopicError::Collides { .. } => {
                ErrorCode::InvalidTopicException
            }
            CreateTopicError::NoPartitions => ErrorCode::InvalidPartitions,
            CreateTopicError::TooManyPartitions => ErrorCode::PolicyViolation,
            CreateTopicError::NoReplicas | CreateTopicError::TooManyReplicas { .. } => {
                ErrorCode::InvalidReplicationFactor
            }
            CreateTopicError::Placement { error, .. } => error.code(),
            CreateTopicError::NumbersAndAssignment { .. } => ErrorCode::InvalidRequest,
            CreateTopicError::Assignment(error) => error.code(),
            CreateTopicError::Setting(error) => error.code(),
            CreateTopicError::Plugins(_) | CreateTopicError::View(_) => ErrorCode::InvalidConfig,
        }
    }
}

impl DeleteTopicError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            DeleteTopicError::UnknownName => ErrorCode::UnknownTopicOrPartition,
            DeleteTopicError::UnknownId => ErrorCode::UnknownTopicId,
            DeleteTopicError::Duplicate | DeleteTopicError::Unclear => ErrorCode::InvalidRequest,
            DeleteTopicError::HasViews { .. } => ErrorCode::PolicyViolation,
        }
    }
}

/// Kafka's sentence about a name that is not a topic's.
pub fn name_message(name: &str, error: &NameError) -> String {
    match error {
        NameError::Empty => "Topic name is invalid: the empty string is not allowed".to_owned(),
        NameError::Dots { .. } => format!("Topic name is invalid: '{name}' is not allowed"),
        NameError::TooLong { limit, .. } => format!(
            "Topic name is invalid: the length of '{name}' is longer than the max allowed length \
             {limit}"
        ),
        NameError::IllegalCharacter { .. } => format!(
            "Topic name is invalid: '{name}' contains one or more characters other than ASCII \
             alphanumerics, '.', '_' and '-'"
        ),
    }
}

/// Creates topics, each by itself: one that cannot be does not hinder the others.
pub fn create_topics(
    cluster: &Cluster,
    topics: &[NewTopic],
    validate_only: bool,
) -> Decision<Vec<Result<CreatedTopic, CreateTopicError>>> {
    let mut draft = Draft::of(cluster);
    let asked = topics.iter().map(|topic| asked_partitions(cluster, topic));
    let excessive =
        asked.fold(0u64, u64::saturating_add) > u64::from(limits::PARTITIONS_PER_TOPIC_MAX);
    let mut reply = Vec::with_capacity(topics.len());
    for topic in topics {
        if topics.iter().filter(|other| other.name == topic.name).count() > 1 {
            reply.push(Err(CreateTopicError::Duplicate));
        } else if excessive {
            reply.push(Err(CreateTopicError::TooManyPartitions));
        } else {
            reply.push(create_topic(&mut draft, topic));
        }
    }
    draft.decide(validate_only, reply)
}

fn create_topic(draft: &mut Draft, wanted: &NewTopic) -> Result<CreatedTopic, CreateTopicError> {
    let name = TopicName::new(&wanted.name)
        .map_err(|error| CreateTopicError::Name { name: wanted.name.clone(), error })?;
    if name.as_str() == TopicName::CLUSTER_METADATA {
        return Err(CreateTopicError::Reserved(name));
    }
    if draft.cluster.topic(name.as_str()).is_some() {
        return Err(CreateTopicError::Exists(name));
    }
    if let Some(other) = colliding(&draft.cluster, &name) {
        return Err(CreateTopicError::Collides { name, other });
    }
    let settings = check_topic_settings(&wanted.settings)?;
    let base = settings.iter().find(|(name, _)| name == topic::VIEW_OF).map(|(_, base)| base);
    let id = wanted.id;
    let record = if base.is_none() && draft.cluster.level() >= CLUSTER_LEVEL {
        let partitions = placed_topic(&draft.cluster, wanted)?;
        ClusterRecord::TopicPlaced { id, name, partitions, settings }.into()
    } else {
        let partitions = match base {
            Some(base) => shown_partitions(&draft.cluster, base, wanted)?,
            None => partition_count(&draft.cluster, wanted)?,
        };
        MetaRecord::TopicCreated { id, name, partitions, settings }
    };
    if let Some(problem) = &wanted.refused {
        return Err(CreateTopicError::Plugins(problem.clone()));
    }
    draft.push(record);
    let topic = draft.cluster.topic_by_id(wanted.id).expect("it was just created");
    Ok(CreatedTopic { topic: topic.as_ref().clone() })
}

/// How many partitions a view has: as many as what it shows.
fn shown_partitions(
    cluster: &Cluster,
    base: &str,
    wanted: &NewTopic,
) -> Result<u32, CreateTopicError> {
    let refuse = |problem: String| Err(CreateTopicError::View(problem));
    let Some(shown) = cluster.topic(base) else {
        return refuse(format!("there is no topic {base:?} to show"));
    };
    if shown.view_of.is_some() || shown.name.is_internal() {
        return refuse(format!(
            "{base:?} can't be shown: it is a view itself, or the broker's own"
        ));
    }
    let partitions = shown.partitions.len();
    let fits = wanted.partitions == -1 || usize::try_from(wanted.partitions) == Ok(partitions);
    if !fits || !wanted.assignments.is_empty() {
        return refuse(format!("a view of {base:?} has its {partitions} partitions"));
    }
    Ok(u32::try_from(partitions).expect("partitions are limited"))
}

fn asked_partitions(cluster: &Cluster, topic: &NewTopic) -> u64 {
    if !topic.assignments.is_empty() {
        return u64::try_from(topic.assignments.len()).unwrap_or(u64::MAX);
    }
    u64::try_from(topic.partitions).unwrap_or_else(|_| u64::from(default_partitions(cluster)))
}

/// Another topic whose name is the same once `.` is written `_`.
fn colliding(cluster: &Cluster, name: &TopicName) -> Option<TopicName> {
    let folded = name.as_str().replace('.', "_");
    if !folded.contains('_') {
        return None;
    }
    let same = |other: &str| other.replace('.', "_") == folded;
    cluster.topics().map(|topic| &topic.name).find(|other| same(other.as_str())).cloned()
}

/// How many partitions a topic has on a broker that is alone.
fn partition_count(cluster: &Cluster, wanted: &NewTopic) -> Result<u32, CreateTopicError> {
    if !wanted.assignments.is_empty() {
        return check_assignments(cluster, wanted);
    }
    let (partitions, copies) = numbers(cluster, wanted)?;
    // One broker, one copy: the default is taken as what can be had, the number as a demand.
    if copies.is_some_and(|copies| copies > 1) {
        let brokers = cluster.brokers().len();
        return Err(CreateTopicError::TooManyReplicas {
            wanted: wanted.replication_factor,
            brokers,
        });
    }
    Ok(partitions)
}

/// Who keeps the partitions of a topic in a cluster.
fn placed_topic(cluster: &Cluster, wanted: &NewTopic) -> Result<Vec<Assignment>, CreateTopicError> {
    if wanted.assignments.is_empty() {
        let (partitions, copies) = numbers(cluster, wanted)?;
        let copies = copies.unwrap_or_else(|| default_copies(cluster));
        let entropy = partition::entropy(wanted.id, 0);
        let placed = partition::placed_partitions(cluster, partitions, copies, entropy);
        return placed.map_err(|error| CreateTopicError::Placement { wanted: copies, error });
    }
    check_assignments(cluster, wanted)?;
    let mut assignments: Vec<&(i32, Vec<i32>)> = wanted.assignments.iter().collect();
    assignments.sort_unstable_by_key(|(number, _)| *number);
    let assigned = assignments.into_iter().enumerate();
    let assigned = assigned
        .map(|(index, (_, replicas))| partition::assigned_partition(cluster, index, replicas));
    Ok(assigned.collect::<Result<_, _>>()?)
}

/// How many partitions, and how many copies of each; none leaves that to us.
fn numbers(cluster: &Cluster, wanted: &NewTopic) -> Result<(u32, Option<u16>), CreateTopicError> {
    let copies = match wanted.replication_factor {
        -1 => None,
        copies => {
            let copies = u16::try_from(copies).ok().filter(|copies| *copies > 0);
            Some(copies.ok_or(CreateTopicError::NoReplicas)?)
        }
    };
    let partitions = match wanted.partitions {
        -1 => default_partitions(cluster),
        count => {
            let count = u32::try_from(count).ok().filter(|count| *count > 0);
            count.ok_or(CreateTopicError::NoPartitions)?
        }
    };
    Ok((partitions, copies))
}

fn default_copies(cluster: &Cluster) -> u16 {
    let configured = cluster.configured().get("default.replication.factor");
    configured.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
}

fn default_partitions(cluster: &Cluster) -> u32 {
    let configured = cluster.configured().get("num.partitions");
    configured.and_then(|value| value.trim().parse().ok()).unwrap_or(1)
}

/// Checks who is to keep a topic's partitions, and counts them.
fn check_assignments(cluster: &Cluster, wanted: &NewTopic) -> Result<u32, CreateTopicError> {
    if wanted.replication_factor != -1 {
        return Err(CreateTopicError::NumbersAndAssignment { what: "replication factor" });
    }
    if wanted.partitions != -1 {
        return Err(CreateTopicError::NumbersAndAssignment { what: "numPartitions" });
    }
    let mut numbers = BTreeSet::new();
    let expected = wanted.assignments.first().map_or(0, |(_, replicas)| replicas.len());
    for (number, replicas) in &wanted.assignments {
        if !numbers.insert(*number) {
            return Err(AssignmentError::PartitionTwice(*number).into());
        }
        partition::check_assignment(cluster, replicas)?;
        if replicas.len() != expected {
            return Err(AssignmentError::Uneven { got: replicas.len(), expected }.into());
        }
    }
    let in_order = (0i32..).zip(&numbers).all(|(expected, number)| expected == *number);
    if !in_order {
        return Err(AssignmentError::NotConsecutive.into());
    }
    Ok(u32::try_from(numbers.len()).map_err(|_| AssignmentError::NotConsecutive)?)
}

/// Deletes topics, each by itself.
pub fn delete_topics(
    cluster: &Cluster,
    topics: &[TopicRef],
) -> Decision<Vec<Result<(TopicName, TopicId), DeleteTopicError>>> {
    let mut draft = Draft::of(cluster);
    let mut reply = Vec::with_capacity(topics.len());
    let mut times: BTreeMap<Meant<'_>, u32> = BTreeMap::new();
    for topic in topics {
        *times.entry(meant(cluster, topic)).or_default() += 1;
    }
    for topic in topics {
        // Who names a topic twice may have meant another: nothing is lost by asking again.
        let twice = times.get(&meant(cluster, topic)) > Some(&1);
        let unclear = twice.then_some(DeleteTopicError::Duplicate);
        let deleted = unclear.map_or_else(|| delete_topic(cluster, &mut draft, topic), Err);
        reply.push(deleted);
    }
    draft.decide(false, reply)
}

/// What two names of one topic have in common.
type Meant<'a> = Result<TopicId, &'a TopicRef>;

fn meant<'a>(cluster: &Cluster, topic: &'a TopicRef) -> Meant<'a> {
    let found = match topic {
        TopicRef::Name(name) => cluster.topic(name),
        TopicRef::Id(id) => cluster.topic_by_id(*id),
        TopicRef::Unclear { .. } => None,
    };
    found.map(|topic| topic.id).ok_or(topic)
}

fn delete_topic(
    before: &Cluster,
    draft: &mut Draft,
    wanted: &TopicRef,
) -> Result<(TopicName, TopicId), DeleteTopicError> {
    let (found, unknown) = match wanted {
        TopicRef::Name(name) => (before.topic(name), DeleteTopicError::UnknownName),
        TopicRef::Id(id) => (before.topic_by_id(*id), DeleteTopicError::UnknownId),
        TopicRef::Unclear { .. } => (None, DeleteTopicError::Unclear),
    };
    let topic = found.ok_or(unknown)?;
    // Views that the same request deletes before it are no hindrance.
    let views: Vec<&str> = draft.cluster.views_of(topic.id).map(|it| it.name.as_str()).collect();
    if !views.is_empty() {
        let (name, views) = (topic.name.clone(), views.join(", "));
        return Err(DeleteTopicError::HasViews { name, views });
    }
    draft.push(MetaRecord::TopicDeleted { id: topic.id });
    Ok((topic.name.clone(), topic.id))
}

impl CreatedTopic {
    /// Copies of each partition.
    pub fn replication_factor(&self) -> i16 {
        let replicas: &[BrokerId] = self.topic.partitions.first().map_or(&[], |one| &one.replicas);
        i16::try_from(replicas.len()).expect("a cluster has few brokers")
    }
}
