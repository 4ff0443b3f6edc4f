//! Consumer groups from outside: who is in them, where they are, where they should be.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_wire::message::{
    DecodeLimits, DeleteGroupsRequest, DescribeGroupsRequest, ListGroupsRequest,
    OffsetCommitRequest, OffsetDeleteRequest, OffsetFetchRequest,
    decode_consumer_protocol_assignment,
    describe_groups_response::DescribedGroupMember,
    make,
    offset_commit_request::{OffsetCommitRequestPartition, OffsetCommitRequestTopic},
    offset_delete_request::{OffsetDeleteRequestPartition, OffsetDeleteRequestTopic},
    offset_fetch_request::{OffsetFetchRequestGroup, OffsetFetchRequestTopics},
};

use super::{Admin, check, incomplete};
use crate::client::{Client, Lane};
use crate::error::ApiError;
use crate::offsets::Partition;

/// A group in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupListing {
    /// Its id.
    pub id: String,
    /// `consumer` for consumers.
    pub protocol_type: String,
    /// Its state, from brokers that say.
    pub state: String,
}

/// A group and its members.
#[derive(Clone, Debug)]
pub struct GroupDescription {
    /// Its id.
    pub id: String,
    /// `Stable`, `Empty`, `PreparingRebalance`, `CompletingRebalance` or `Dead`.
    pub state: String,
    /// How partitions are spread.
    pub protocol: String,
    /// Who is in it.
    pub members: Vec<GroupMember>,
}

/// A member of a group.
#[derive(Clone, Debug)]
pub struct GroupMember {
    /// The broker's name for it.
    pub id: String,
    /// Its own name, if it is a static member.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it is.
    pub host: String,
    /// What it reads; empty for members that are not ordinary consumers.
    pub assigned: Vec<Partition>,
}

/// How far a group is in one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The next record it wants.
    pub offset: i64,
    /// The leader's term when it was committed; -1 if not known.
    pub leader_epoch: i32,
    /// A note of the client.
    pub metadata: String,
}

impl Admin {
    /// Every group of the cluster.
    pub async fn list_groups(&self) -> Result<Vec<GroupListing>, ApiError> {
        self.client.retry(|| self.list_groups_once()).await
    }

    async fn list_groups_once(&self) -> Result<Vec<GroupListing>, ApiError> {
        // Each broker knows the groups it coordinates.
        let cluster = self.client.metadata(Some(&[])).await?;
        let mut groups = BTreeMap::new();
        for id in cluster.brokers.keys() {
            let connection = self.client.broker(*id, &Lane::COMMON).await?;
            let response = connection.call(&ListGroupsRequest::default()).await?;
            check::<ListGroupsRequest>(&connection, "groups", response.error_code, &None)?;
            for group in &response.groups {
                let listing = GroupListing {
                    id: group.group_id.to_string(),
                    protocol_type: group.protocol_type.to_string(),
                    state: group.group_state.to_string(),
                };
                groups.insert(listing.id.clone(), listing);
            }
        }
        Ok(groups.into_values().collect())
    }

    /// A group and its members.
    pub async fn describe_group(&self, group: &str) -> Result<GroupDescription, ApiError> {
        let request = make::<DescribeGroupsRequest>(|request| request.groups = vec![group.into()]);
        let once = || async {
            let connection = self.client.coordinator(group, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            let subject = format!("group {group}");
            let found = response.groups.first();
            let found =
                found.ok_or_else(|| incomplete::<DescribeGroupsRequest>(&connection, &subject))?;
            let (code, message) = (found.error_code, &found.error_message);
            check::<DescribeGroupsRequest>(&connection, subject, code, message)?;
            Ok(GroupDescription {
                id: group.to_owned(),
                state: found.group_state.to_string(),
                protocol: found.protocol_data.to_string(),
                members: found.members.iter().map(member).collect(),
            })
        };
        self.client.retry(once).await
    }

    /// Removes a group without members, and its offsets.
    pub async fn delete_group(&self, group: &str) -> Result<(), ApiError> {
        let request =
            make::<DeleteGroupsRequest>(|request| request.groups_names = vec![group.into()]);
        let once = || async {
            let connection = self.client.coordinator(group, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            let subject = format!("group {group}");
            let result = response.results.first();
            let result =
                result.ok_or_else(|| incomplete::<DeleteGroupsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<DeleteGroupsRequest>(&connection, subject, code, message)
        };
        self.client.retry(once).await
    }

    /// How far a group is, in every partition it ever committed.
    pub async fn group_offsets(
        &self,
        group: &str,
    ) -> Result<BTreeMap<Partition, CommittedOffset>, ApiError> {
        self.client.retry(|| committed(&self.client, &Lane::COMMON, group, None)).await
    }

    /// Sets where a group without members continues.
    pub async fn set_group_offsets(
        &self,
        group: &str,
        offsets: &BTreeMap<Partition, i64>,
    ) -> Result<(), ApiError> {
        let request = make::<OffsetCommitRequest>(|request| {
            request.group_id = group.into();
            request.generation_id_or_member_epoch = -1;
            request.topics = commit_topics(offsets.iter().map(|(at, offset)| (at, *offset, -1)));
        });
        let once = || async {
            let connection = self.client.coordinator(group, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            for topic in &response.topics {
                for result in &topic.partitions {
                    let index = result.partition_index;
                    let subject = format!("partition {index} of {} for group {group}", topic.name);
                    check::<OffsetCommitRequest>(&connection, subject, result.error_code, &None)?;
                }
            }
            Ok(())
        };
        self.client.retry_known(once).await
    }

    /// Forgets how far a group is in these partitions.
    pub async fn delete_group_offsets(
        &self,
        group: &str,
        partitions: &BTreeSet<Partition>,
    ) -> Result<(), ApiError> {
        let mut topics: BTreeMap<&str, Vec<OffsetDeleteRequestPartition>> = BTreeMap::new();
        for (topic, index) in partitions {
            topics.entry(topic).or_default().push(make(
                |one: &mut OffsetDeleteRequestPartition| {
                    one.partition_index = i32::try_from(*index).unwrap_or(i32::MAX);
                },
            ));
        }
        let request = make::<OffsetDeleteRequest>(|request| {
            request.group_id = group.into();
            let topics = topics.into_iter().map(|(name, partitions)| {
                make(|topic: &mut OffsetDeleteRequestTopic| {
                    topic.name = name.into();
                    topic.partitions = partitions;
                })
            });
            request.topics = topics.collect();
        });
        let once = || async {
            let connection = self.client.coordinator(group, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            let subject = format!("group {group}");
            check::<OffsetDeleteRequest>(&connection, subject, response.error_code, &None)?;
            for topic in &response.topics {
                for result in &topic.partitions {
                    let index = result.partition_index;
                    let subject = format!("partition {index} of {} for group {group}", topic.name);
                    check::<OffsetDeleteRequest>(&connection, subject, result.error_code, &None)?;
                }
            }
            Ok(())
        };
        self.client.retry_known(once).await
    }
}

/// One OffsetFetch: every partition, or those given.
pub(crate) async fn committed(
    client: &Client,
    lane: &Lane,
    group: &str,
    partitions: Option<&[Partition]>,
) -> Result<BTreeMap<Partition, CommittedOffset>, ApiError> {
    let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
    for (topic, index) in partitions.unwrap_or_default() {
        let index = i32::try_from(*index).unwrap_or(i32::MAX);
        topics.entry(topic).or_default().push(index);
    }
    let named = topics.into_iter().map(|(name, indexes)| {
        make(|topic: &mut OffsetFetchRequestTopics| {
            topic.name = name.into();
            topic.partition_indexes = indexes;
        })
    });
    let request = make::<OffsetFetchRequest>(|request| {
        request.groups = vec![make(|wire: &mut OffsetFetchRequestGroup| {
            wire.group_id = group.into();
            wire.topics = partitions.map(|_| named.collect());
        })];
        // An offset that a transaction may still take back is not where to continue.
        request.require_stable = true;
    });
    let connection = client.coordinator(group, lane).await?;
    let response = connection.call(&request).await?;
    let subject = format!("group {group}");
    let found = response.groups.first();
    let found = found.ok_or_else(|| incomplete::<OffsetFetchRequest>(&connection, &subject))?;
    check::<OffsetFetchRequest>(&connection, subject, found.error_code, &None)?;
    let mut offsets = BTreeMap::new();
    for topic in &found.topics {
        for result in &topic.partitions {
            let index = result.partition_index;
            let subject = format!("partition {index} of {} for group {group}", topic.name);
            check::<OffsetFetchRequest>(&connection, subject, result.error_code, &None)?;
            let Ok(index) = u32::try_from(index) else { continue };
            if result.committed_offset >= 0 {
                let metadata = result.metadata.as_ref();
                let at = CommittedOffset {
                    offset: result.committed_offset,
                    leader_epoch: result.committed_leader_epoch,
                    metadata: metadata.map(ToString::to_string).unwrap_or_default(),
                };
                offsets.insert((topic.name.to_string(), index), at);
            }
        }
    }
    Ok(offsets)
}

/// Offsets and leader epochs as OffsetCommit wants them.
pub(crate) fn commit_topics<'a>(
    offsets: impl Iterator<Item = (&'a Partition, i64, i32)>,
) -> Vec<OffsetCommitRequestTopic> {
    let mut topics: BTreeMap<&str, Vec<OffsetCommitRequestPartition>> = BTreeMap::new();
    for ((topic, index), offset, epoch) in offsets {
        topics.entry(topic).or_default().push(make(|one: &mut OffsetCommitRequestPartition| {
            one.partition_index = i32::try_from(*index).unwrap_or(i32::MAX);
            one.committed_offset = offset;
            one.committed_leader_epoch = epoch;
            one.committed_metadata = Some("".into());
        }));
    }
    let topics = topics.into_iter().map(|(name, partitions)| {
        make(|topic: &mut OffsetCommitRequestTopic| {
            topic.name = name.into();
            topic.partitions = partitions;
        })
    });
    topics.collect()
}

fn member(wire: &DescribedGroupMember) -> GroupMember {
    GroupMember {
        id: wire.member_id.to_string(),
        instance_id: wire.group_instance_id.as_ref().map(ToString::to_string),
        client_id: wire.client_id.to_string(),
        host: wire.client_host.trim_start_matches('/').to_owned(),
        assigned: assigned(wire.member_assignment.clone()),
    }
}

/// What a member reads. What is not in the consumers' format (Connect, a group that is changing) is
/// nothing to us.
fn assigned(bytes: bytes::Bytes) -> Vec<Partition> {
    let decoded = decode_consumer_protocol_assignment(bytes, DecodeLimits::default());
    let Ok((_, assignment)) = decoded else { return Vec::new() };
    let mut partitions = Vec::new();
    for topic in &assignment.assigned_partitions {
        let indexes = topic.partitions.iter().filter_map(|index| u32::try_from(*index).ok());
        partitions.extend(indexes.map(|index| (topic.topic.to_string(), index)));
    }
    partitions.sort();
    partitions
}
