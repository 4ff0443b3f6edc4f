//! Positions by name or by time: what ListOffsets answers.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, Timestamp};
use brooklet_wire::message::{
    ListOffsetsRequest,
    list_offsets_request::{ListOffsetsPartition, ListOffsetsTopic},
    make,
};

use crate::client::{Client, Lane};
use crate::error::{ApiError, Code};
use crate::request::Call;

/// Which position of a partition is meant.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OffsetSpec {
    /// The first record that is still there.
    Earliest,
    /// Behind the last record that may be read.
    Latest,
    /// The first record of this time or later.
    At(Timestamp),
    /// The record with the highest timestamp.
    MaxTimestamp,
}

/// A position found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetAt {
    /// The offset; none if no record is that late.
    pub offset: Option<i64>,
    /// The time of that record, where a time was asked for.
    pub timestamp: Option<Timestamp>,
}

/// A partition of a named topic.
pub type Partition = (String, u32);

impl OffsetSpec {
    fn to_wire(self) -> i64 {
        match self {
            OffsetSpec::Latest => -1,
            OffsetSpec::Earliest => -2,
            OffsetSpec::MaxTimestamp => -3,
            OffsetSpec::At(timestamp) => timestamp.0.max(0),
        }
    }
}

impl Client {
    /// Finds positions in many partitions, each from its leader.
    pub async fn offsets(
        &self,
        wanted: &[(Partition, OffsetSpec)],
    ) -> Result<BTreeMap<Partition, OffsetAt>, ApiError> {
        self.retry_known(|| self.offsets_once(wanted)).await
    }

    async fn offsets_once(
        &self,
        wanted: &[(Partition, OffsetSpec)],
    ) -> Result<BTreeMap<Partition, OffsetAt>, ApiError> {
        let mut leaders: BTreeMap<BrokerId, Vec<&(Partition, OffsetSpec)>> = BTreeMap::new();
        for one in wanted {
            let (topic, partition) = &one.0;
            let (leader, _) = self.leader(topic, *partition).await?;
            leaders.entry(leader).or_default().push(one);
        }
        let mut found = BTreeMap::new();
        for (leader, wanted) in leaders {
            self.offsets_of_leader(leader, &wanted, &mut found).await?;
        }
        Ok(found)
    }

    async fn offsets_of_leader(
        &self,
        leader: BrokerId,
        wanted: &[&(Partition, OffsetSpec)],
        found: &mut BTreeMap<Partition, OffsetAt>,
    ) -> Result<(), ApiError> {
        let connection = self.broker(leader, &Lane::COMMON).await?;
        let mut topics: BTreeMap<&str, Vec<ListOffsetsPartition>> = BTreeMap::new();
        for ((topic, partition), spec) in wanted {
            topics.entry(topic).or_default().push(make(|one: &mut ListOffsetsPartition| {
                one.partition_index = i32::try_from(*partition).unwrap_or(i32::MAX);
                one.timestamp = spec.to_wire();
            }));
        }
        let request = make::<ListOffsetsRequest>(|request| {
            request.replica_id = -1;
            let topics = topics.into_iter().map(|(name, partitions)| {
                make(|topic: &mut ListOffsetsTopic| {
                    topic.name = name.into();
                    topic.partitions = partitions;
                })
            });
            request.topics = topics.collect();
        });
        let response = connection.call(&request).await?;
        let peer = connection.peer().clone();
        let api = ListOffsetsRequest::API;
        for topic in &response.topics {
            for result in &topic.partitions {
                let subject = format!("partition {} of {}", result.partition_index, topic.name);
                Code(result.error_code).check().map_err(|code| ApiError::Refused {
                    peer: peer.clone(),
                    api,
                    subject,
                    code,
                    message: None,
                })?;
                let Ok(index) = u32::try_from(result.partition_index) else { continue };
                let at = OffsetAt {
                    offset: Some(result.offset).filter(|offset| *offset >= 0),
                    timestamp: Some(result.timestamp).filter(|time| *time >= 0).map(Timestamp),
                };
                found.insert((topic.name.to_string(), index), at);
            }
        }
        for (partition, _) in wanted {
            if !found.contains_key(partition) {
                let subject = format!("partition {} of {}", partition.1, partition.0);
                return Err(ApiError::Incomplete { peer, api, subject });
            }
        }
        Ok(())
    }
}
