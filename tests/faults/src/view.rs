//! What a broker says of the cluster, asked over a connection of its own: nothing is remembered, and nobody else answers for it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::Duration;

use brooklet_types::TopicName;
use brooklet_wire::message::{
    DescribeQuorumRequest, KafkaRequest, KafkaResponse, MetadataRequest, MetadataResponse,
    RequestResponsePair, decode_response, describe_quorum_request as quorum, encode_request, make,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::failure::{Failure, context};
use crate::network::BROKERS;

/// For an answer of a broker that is well; one that is not is asked again.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(2);
/// Answers here are a few kilobytes.
const ANSWER_BYTES_MAX: u32 = 16 << 20;
/// Versions that both products serve.
const METADATA_VERSION: i16 = 12;
const DESCRIBE_QUORUM_VERSION: i16 = 1;

/// A partition as a broker sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct PartitionView {
    /// Who leads it, as a place; none if nobody does.
    pub(crate) leader: Option<usize>,
    pub(crate) epoch: i32,
    /// Who is in sync, as places.
    pub(crate) in_sync: BTreeSet<usize>,
    pub(crate) replicas: usize,
}

/// The cluster as a broker sees it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct View {
    /// Brokers that are not fenced, as places.
    pub(crate) brokers: BTreeSet<usize>,
    /// All partitions of all topics.
    pub(crate) partitions: BTreeMap<(String, i32), PartitionView>,
}

impl View {
    /// Asks a broker.
    pub(crate) async fn of(address: SocketAddr) -> Result<View, Failure> {
        let request = make(|request: &mut MetadataRequest| request.topics = None);
        let answer: MetadataResponse = ask(address, METADATA_VERSION, &request).await?;
        let mut view = View {
            brokers: answer.brokers.iter().filter_map(|broker| place(broker.node_id)).collect(),
            ..View::default()
        };
        for topic in &answer.topics {
            let name = topic.name.as_ref().map(ToString::to_string).unwrap_or_default();
            for partition in &topic.partitions {
                let seen = PartitionView {
                    leader: place(partition.leader_id),
                    epoch: partition.leader_epoch,
                    in_sync: partition.isr_nodes.iter().copied().filter_map(place).collect(),
                    replicas: partition.replica_nodes.len(),
                };
                view.partitions.insert((name.clone(), partition.partition_index), seen);
            }
        }
        Ok(view)
    }

    /// The partitions of `topic` that the broker at `place` leads.
    pub(crate) fn led_by(&self, place: usize, topic: &str) -> BTreeSet<i32> {
        let of_topic = self.partitions.iter().filter(|((name, _), _)| name == topic);
        let led = of_topic.filter(|(_, seen)| seen.leader == Some(place));
        led.map(|((_, index), _)| *index).collect()
    }

    /// What is missing until all is well; none if nothing is.
    pub(crate) fn lacks(&self, topic: &str, partitions: usize) -> Option<String> {
        if self.brokers.len() < BROKERS {
            return Some(format!("it knows of brokers {}", numbers(&self.brokers)));
        }
        let of_topic = self.partitions.keys().filter(|(name, _)| name == topic).count();
        if of_topic < partitions {
            return Some(format!("it knows {of_topic} partitions of {topic}"));
        }
        let lacking = self.partitions.iter().find(|(_, seen)| {
            seen.leader.is_none() || seen.in_sync.len() < seen.replicas.min(BROKERS)
        });
        lacking.map(|((name, index), seen)| {
            let leader = seen.leader.map_or("nobody".to_owned(), |place| (place + 1).to_string());
            let in_sync = numbers(&seen.in_sync);
            format!("{name}-{index}: led by {leader} in epoch {}, in sync {in_sync}", seen.epoch)
        })
    }
}

/// Who leads the metadata quorum, as a place, by the word of one broker.
pub(crate) async fn quorum_leader(address: SocketAddr) -> Result<Option<usize>, Failure> {
    let request = make(|request: &mut DescribeQuorumRequest| {
        request.topics = vec![make(|topic: &mut quorum::TopicData| {
            topic.topic_name = TopicName::CLUSTER_METADATA.into();
            topic.partitions = vec![quorum::PartitionData::default()];
        })];
    });
    let answer = ask(address, DESCRIBE_QUORUM_VERSION, &request).await?;
    let partition = answer.topics.iter().flat_map(|topic| &topic.partitions).next();
    Ok(partition.and_then(|partition| place(partition.leader_id)))
}

/// Broker numbers, for people.
pub(crate) fn numbers(places: &BTreeSet<usize>) -> String {
    let numbers = places.iter().map(|place| (place + 1).to_string()).collect::<Vec<_>>();
    format!("[{}]", numbers.join(", "))
}

fn place(number: i32) -> Option<usize> {
    usize::try_from(number).ok().and_then(|number| number.checked_sub(1))
}

async fn ask<R>(address: SocketAddr, version: i16, request: &R) -> Result<R::Response, Failure>
where
    R: KafkaRequest + RequestResponsePair,
    R::Response: KafkaResponse,
{
    let failed = |error: &dyn std::fmt::Display| Failure(format!("ask {address}: {error}"));
    let frame = encode_request(1, version, Some("faults"), request);
    let frame = frame.map_err(|error| failed(&error))?;
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(&frame).await?;
        let length = stream.read_u32().await?;
        if length > ANSWER_BYTES_MAX {
            return Err(std::io::Error::other(format!("an answer of {length} bytes")));
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await?;
        Ok(answer)
    };
    let answer = timeout(ANSWER_MAX, exchange).await;
    let answer = answer.map_err(|_| failed(&format!("no answer within {ANSWER_MAX:?}")))?;
    let answer = answer.map_err(context(&format!("ask {address}")))?;
    let (_, response) = decode_response(answer.into(), version).map_err(|error| failed(&error))?;
    Ok(response)
}
