//! Leaders are elected because somebody asks (ElectLeaders), because the first replicas are there again, or because
//! an unclean leader is better than none where the topic says so.

use brooklet_types::{ErrorCode, PartitionIndex, TopicName};

use super::change::{Change, Election, stored_topics};
use super::{Decision, Draft, RECORDS_MAX, stored_topic};
use crate::cluster::{Cluster, Topic};
use crate::partition::Partition;
use crate::record::ClusterRecord;

/// What kind of election is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ElectionType {
    /// The first replica is to lead, if it is complete.
    Preferred,
    /// Somebody is to lead where nobody does, at the price of records.
    Unclean,
}

/// Why nobody was elected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ElectionError {
    /// No topic of that name.
    #[error("No such topic as {0}")]
    UnknownTopic(String),
    /// It has no such partition.
    #[error("No such partition as {topic}-{partition}")]
    UnknownPartition { topic: String, partition: i32 },
    /// It has the leader it should have.
    #[error("{}", ErrorCode::ElectionNotNeeded.message())]
    NotNeeded,
    /// The first replica is not there, or not complete.
    #[error("{}", ErrorCode::PreferredLeaderNotAvailable.message())]
    NoPreferred,
    /// No replica is there.
    #[error("{}", ErrorCode::EligibleLeadersNotAvailable.message())]
    NoEligible,
    /// More than one decision may come to.
    #[error("Unable to perform excessively large batch operation.")]
    TooMany,
}

impl ElectionError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ElectionError::UnknownTopic(_) | ElectionError::UnknownPartition { .. } => {
                ErrorCode::UnknownTopicOrPartition
            }
            ElectionError::NotNeeded => ErrorCode::ElectionNotNeeded,
            ElectionError::NoPreferred => ErrorCode::PreferredLeaderNotAvailable,
            ElectionError::NoEligible => ErrorCode::EligibleLeadersNotAvailable,
            ElectionError::TooMany => ErrorCode::PolicyViolation,
        }
    }
}

/// What became of the partitions of one topic.
pub type TopicElections = (String, Vec<(i32, Result<(), ElectionError>)>);

/// Elects leaders; of all partitions, where none are named. Of all, those that need none are not told of.
pub fn elect_leaders(
    cluster: &Cluster,
    election: ElectionType,
    partitions: Option<&[(String, Vec<i32>)]>,
) -> Decision<Vec<TopicElections>> {
    let mut draft = Draft::of(cluster);
    let reply = match partitions {
        Some(named) => {
            let topics = named.iter().map(|(name, partitions)| {
                let each = partitions.iter();
                let elected = each.map(|one| (*one, elect_named(&mut draft, election, name, *one)));
                (name.clone(), elected.collect())
            });
            topics.collect()
        }
        None => {
            let topics = cluster.topics().filter(|topic| topic.view_of.is_none());
            topics.map(|topic| elect_all(&mut draft, election, topic)).collect()
        }
    };
    draft.decide(false, reply)
}

fn elect_all(draft: &mut Draft, election: ElectionType, topic: &Topic) -> TopicElections {
    let mut elected = Vec::new();
    for (index, _) in topic.indexed() {
        let result = elect(draft, election, &topic.name, index);
        if result != Err(ElectionError::NotNeeded) {
            elected.push((index.to_wire(), result));
        }
    }
    (topic.name.as_str().to_owned(), elected)
}

fn elect_named(
    draft: &mut Draft,
    election: ElectionType,
    name: &str,
    partition: i32,
) -> Result<(), ElectionError> {
    let topic = stored_topic(draft.cluster.topic(name));
    let topic = topic.ok_or_else(|| ElectionError::UnknownTopic(name.to_owned()))?;
    let index = PartitionIndex::from_wire(partition);
    let index = index.filter(|index| topic.partition(*index).is_some());
    let unknown = || ElectionError::UnknownPartition { topic: name.to_owned(), partition };
    let (name, index) = (topic.name.clone(), index.ok_or_else(unknown)?);
    elect(draft, election, &name, index)
}

/// Elects a leader of a partition that exists.
fn elect(
    draft: &mut Draft,
    election: ElectionType,
    name: &TopicName,
    index: PartitionIndex,
) -> Result<(), ElectionError> {
    let cluster = &draft.cluster;
    let topic = cluster.topic(name.as_str()).expect("the caller looked it up");
    let before = topic.partition(index).expect("the caller looked it up");
    let (is_needed, election, unavailable) = match election {
        ElectionType::Preferred => {
            let is_needed = before.leader != before.preferred_leader();
            (is_needed, Election::Preferred, ElectionError::NoPreferred)
        }
        ElectionType::Unclean => {
            (before.leader.is_none(), Election::Unclean, ElectionError::NoEligible)
        }
    };
    if !is_needed {
        return Err(ElectionError::NotNeeded);
    }
    if draft.records.len() == RECORDS_MAX {
        return Err(ElectionError::TooMany);
    }
    let mut change = Change::of(cluster, cluster.replication(topic), before);
    change.election = election;
    let now = change.build().ok_or(unavailable)?;
    let (topic, partition) = (topic.id, index);
    draft.push(ClusterRecord::PartitionChanged { topic, partition, now });
    Ok(())
}

/// Gives partitions back to their first replicas, `most` of them. Says whether there may be more to do.
pub fn balance_leaders(cluster: &Cluster, most: usize) -> Decision<bool> {
    elect_where(cluster, most, Election::Preferred, |_, partition| {
        partition.leader != partition.preferred_leader()
    })
}

/// Elects unclean leaders where nobody leads and the topic's `unclean.leader.election.enable` says so, `most` of
/// them. Says whether there may be more to do.
pub fn elect_unclean_leaders(cluster: &Cluster, most: usize) -> Decision<bool> {
    elect_where(cluster, most, Election::Unclean, |permitted, partition| {
        permitted && partition.leader.is_none()
    })
}

fn elect_where(
    cluster: &Cluster,
    most: usize,
    election: Election,
    is_wanted: impl Fn(bool, &Partition) -> bool,
) -> Decision<bool> {
    let mut draft = Draft::of(cluster);
    for (topic, settings) in stored_topics(cluster) {
        for (partition, before) in topic.indexed() {
            if !is_wanted(settings.unclean_elections, before) {
                continue;
            }
            if draft.records.len() == most.min(RECORDS_MAX) {
                return draft.decide(false, true);
            }
            let mut change = Change::of(cluster, settings, before);
            change.election = election;
            if let Some(now) = change.build() {
                draft.push(ClusterRecord::PartitionChanged { topic: topic.id, partition, now });
            }
        }
    }
    draft.decide(false, false)
}
