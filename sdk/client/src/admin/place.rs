//! Where partitions are: moved, led by their first replicas, and how large each copy is.
//!
//! Of many partitions each succeeds or fails by itself. Any broker takes these requests and brings them to the controller;
//! only sizes are asked of the broker that has the copies.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::{
    AlterPartitionReassignmentsRequest, DescribeLogDirsRequest, ElectLeadersRequest,
    ListPartitionReassignmentsRequest, StrBytes,
    alter_partition_reassignments_request::{ReassignablePartition, ReassignableTopic},
    elect_leaders_request::TopicPartitions,
    make,
};

use super::{Admin, check, timeout_ms};
use crate::client::Lane;
use crate::connection::Connection;
use crate::error::{ApiError, Code};
use crate::offsets::Partition;
use crate::request::Call;

/// Who is to lead.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Election {
    /// The first replica, if it is there and in sync.
    Preferred,
    /// Whoever is there, where nobody leads: at the price of the records that it lacks.
    Unclean,
}

/// What became of one of several partitions.
pub type Outcome = (Partition, Result<(), ApiError>);

/// A partition that is being moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reassignment {
    /// Which.
    pub partition: Partition,
    /// Everybody who has, gets or loses a copy.
    pub replicas: Vec<BrokerId>,
    /// Who gets one.
    pub adding: Vec<BrokerId>,
    /// Who loses it.
    pub removing: Vec<BrokerId>,
}

impl Admin {
    /// Begins to move partitions, each to those brokers; with none the move under way is taken back. Who has a copy keeps
    /// it until everybody who gets one is in sync.
    ///
    /// # Errors
    /// If the request as a whole is refused; what became of each partition is in the outcomes.
    pub async fn reassign(
        &self,
        moves: &[(Partition, Option<Vec<BrokerId>>)],
    ) -> Result<Vec<Outcome>, ApiError> {
        let mut topics: BTreeMap<&str, Vec<ReassignablePartition>> = BTreeMap::new();
        for ((topic, index), target) in moves {
            let numbers = |brokers: &Vec<BrokerId>| brokers.iter().map(|it| it.0).collect();
            topics.entry(topic).or_default().push(make(|wire: &mut ReassignablePartition| {
                wire.partition_index = number(*index);
                wire.replicas = target.as_ref().map(numbers);
            }));
        }
        let topic = |(name, partitions): (&str, Vec<ReassignablePartition>)| {
            make(|wire: &mut ReassignableTopic| {
                (wire.name, wire.partitions) = (name.into(), partitions);
            })
        };
        let request = make(|request: &mut AlterPartitionReassignmentsRequest| {
            request.timeout_ms = timeout_ms(&self.client);
            request.topics = topics.into_iter().map(topic).collect();
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let subject = format!("{} partitions", moves.len());
            let (code, message) = (response.error_code, &response.error_message);
            check::<AlterPartitionReassignmentsRequest>(&connection, subject, code, message)?;
            let lines = response.responses.iter().flat_map(|topic| {
                let lines = topic.partitions.iter();
                lines.map(|line| {
                    (&topic.name, line.partition_index, line.error_code, &line.error_message)
                })
            });
            let outcome = |line| outcome::<AlterPartitionReassignmentsRequest>(&connection, line);
            Ok(lines.filter_map(outcome).collect())
        };
        self.client.retry(once).await
    }

    /// The partitions that are being moved.
    ///
    /// # Errors
    /// If it is refused.
    pub async fn reassignments(&self) -> Result<Vec<Reassignment>, ApiError> {
        let request = make(|request: &mut ListPartitionReassignmentsRequest| {
            request.timeout_ms = timeout_ms(&self.client);
            request.topics = None;
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let (code, message) = (response.error_code, &response.error_message);
            check::<ListPartitionReassignmentsRequest>(&connection, "moves", code, message)?;
            let brokers = |ids: &[i32]| ids.iter().copied().map(BrokerId).collect();
            let lines = response.topics.iter().flat_map(|topic| {
                topic.partitions.iter().filter_map(|line| {
                    Some(Reassignment {
                        partition: (topic.name.to_string(), index(line.partition_index)?),
                        replicas: brokers(&line.replicas),
                        adding: brokers(&line.adding_replicas),
                        removing: brokers(&line.removing_replicas),
                    })
                })
            });
            Ok(lines.collect())
        };
        self.client.retry(once).await
    }

    /// Has each partition led by who is to lead it. That it is led so already is no error.
    ///
    /// # Errors
    /// If the request as a whole is refused; what became of each partition is in the outcomes.
    pub async fn elect_leaders(
        &self,
        election: Election,
        partitions: &[Partition],
    ) -> Result<Vec<Outcome>, ApiError> {
        let mut topics: BTreeMap<&str, Vec<i32>> = BTreeMap::new();
        for (topic, index) in partitions {
            topics.entry(topic).or_default().push(number(*index));
        }
        let topic = |(name, partitions): (&str, Vec<i32>)| {
            make(|wire: &mut TopicPartitions| {
                (wire.topic, wire.partitions) = (name.into(), partitions);
            })
        };
        let request = make(|request: &mut ElectLeadersRequest| {
            request.election_type = election.to_wire();
            request.timeout_ms = timeout_ms(&self.client);
            request.topic_partitions = Some(topics.into_iter().map(topic).collect());
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let subject = format!("{} partitions", partitions.len());
            check::<ElectLeadersRequest>(&connection, subject, response.error_code, &None)?;
            let lines = response.replica_election_results.iter().flat_map(|topic| {
                let lines = topic.partition_result.iter();
                lines.map(|line| {
                    let is_led = Code(line.error_code) == ErrorCode::ElectionNotNeeded;
                    let code = if is_led { 0 } else { line.error_code };
                    (&topic.topic, line.partition_id, code, &line.error_message)
                })
            });
            let outcome = |line| outcome::<ElectLeadersRequest>(&connection, line);
            Ok(lines.filter_map(outcome).collect())
        };
        let outcomes = self.client.retry(once).await;
        for (topic, _) in partitions {
            self.client.forget_topic(topic);
        }
        outcomes
    }

    /// How many bytes each of a broker's copies takes on its disk.
    ///
    /// # Errors
    /// If it is refused, or the broker is not reached.
    pub async fn log_sizes(&self, broker: BrokerId) -> Result<BTreeMap<Partition, u64>, ApiError> {
        let request = make(|request: &mut DescribeLogDirsRequest| request.topics = None);
        let once = || async {
            let connection = self.client.broker(broker, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            let mut sizes = BTreeMap::new();
            let subject = || format!("broker {broker}");
            check::<DescribeLogDirsRequest>(&connection, subject(), response.error_code, &None)?;
            for folder in &response.results {
                check::<DescribeLogDirsRequest>(&connection, subject(), folder.error_code, &None)?;
                for topic in &folder.topics {
                    sizes.extend(topic.partitions.iter().filter_map(|line| {
                        let size = u64::try_from(line.partition_size).ok()?;
                        Some(((topic.name.to_string(), index(line.partition_index)?), size))
                    }));
                }
            }
            Ok(sizes)
        };
        self.client.retry(once).await
    }
}

impl Election {
    fn to_wire(self) -> i8 {
        match self {
            Election::Preferred => 0,
            Election::Unclean => 1,
        }
    }
}

fn number(index: u32) -> i32 {
    i32::try_from(index).unwrap_or(i32::MAX)
}

fn index(number: i32) -> Option<u32> {
    u32::try_from(number).ok()
}

/// A line of an answer; none for a partition that cannot have been asked for.
fn outcome<R: Call>(
    connection: &Connection,
    (topic, partition, code, message): (&StrBytes, i32, i16, &Option<StrBytes>),
) -> Option<Outcome> {
    let subject = format!("partition {partition} of {topic}");
    let result = check::<R>(connection, subject, code, message);
    Some(((topic.to_string(), index(partition)?), result))
}
