//! Who chooses the partition of a record that names none.
//!
//! **What it decides.** Nothing: it asks. A broker with a partitioner for the topic takes batches for
//! partition -1 and distributes their records, which Kafka does not know. So a batch of nothing is sent there
//! once, before the first record: who has no such partition says so, as Kafka does, and who has says what it
//! thinks of the batch. It is asked again with each new image of the topic.
//!
//! **Order and repetitions.** What the broker distributes is one line of batches, in the order in which they
//! were sent, so that records of one key keep theirs. Each numbered batch is seen by all partitions, with all its
//! numbers: what is sent again is recognised, as long as the partitioner places a record where it did before.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    ProduceRequest, StrBytes, make,
    produce_request::{PartitionProduceData, TopicProduceData},
};

use super::ProduceError;
use crate::client::{Client, Lane};
use crate::error::{ApiError, Code};
use crate::metadata::TopicMetadata;
use crate::request::Call;

/// The broker's "wherever your partitioner says".
const UNPLACED: i32 = -1;

/// Where a batch is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// This partition.
    Partition(u32),
    /// Wherever the topic's partitioner says.
    Partitioner,
}

impl Target {
    /// The partition, if it is known.
    pub fn partition(self) -> Option<u32> {
        match self {
            Target::Partition(partition) => Some(partition),
            Target::Partitioner => None,
        }
    }

    /// The partition whose leader takes the batch.
    pub(crate) fn led_by(self) -> u32 {
        self.partition().unwrap_or(0)
    }

    pub(crate) fn to_wire(self) -> i32 {
        let known = self.partition();
        known.map_or(UNPLACED, |it| i32::try_from(it).expect("partition numbers come from an i32"))
    }
}

impl fmt::Display for Target {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Target::Partition(partition) => write!(formatter, "partition {partition}"),
            Target::Partitioner => formatter.write_str("partitioner"),
        }
    }
}

/// What is known of topics' partitioners.
#[derive(Default)]
pub(crate) struct Placing {
    /// Protects the answers, by topic.
    topics: Mutex<BTreeMap<Arc<str>, Answer>>,
}

/// What was said of one topic.
struct Answer {
    /// The image that was current when it was asked for.
    seen: Arc<TopicMetadata>,
    is_brokers: bool,
}

impl Placing {
    /// Whether a record of the topic without a partition is placed by the broker.
    pub(crate) async fn is_brokers(
        &self,
        client: &Client,
        name: &Arc<str>,
        topic: &Arc<TopicMetadata>,
    ) -> Result<bool, ProduceError> {
        if let Some(known) = self.known(name, topic) {
            return Ok(known);
        }
        let asked = client.retry(|| ask(client, name)).await;
        let is_brokers = asked.map_err(|error| ProduceError::Topic(Box::new(error)))?;
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        topics.insert(Arc::clone(name), Answer { seen: Arc::clone(topic), is_brokers });
        Ok(is_brokers)
    }

    fn known(&self, name: &str, topic: &Arc<TopicMetadata>) -> Option<bool> {
        let topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        let answer = topics.get(name)?;
        Arc::ptr_eq(&answer.seen, topic).then_some(answer.is_brokers)
    }
}

async fn ask(client: &Client, name: &Arc<str>) -> Result<bool, ApiError> {
    let (leader, _) = client.leader(name, Target::Partitioner.led_by()).await?;
    let connection = client.broker(leader, &Lane::COMMON).await?;
    let request = make::<ProduceRequest>(|request| {
        request.acks = 1;
        request.timeout_ms =
            i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX);
        request.topic_data = vec![make(|data: &mut TopicProduceData| {
            data.name = StrBytes::from(&**name);
            data.partition_data = vec![make(|data: &mut PartitionProduceData| {
                data.index = Target::Partitioner.to_wire();
                data.records = Some(bytes::Bytes::new());
            })];
        })];
    });
    let response = connection.call(&request).await?;
    let answer = response.responses.first().and_then(|it| it.partition_responses.first());
    let Some(answer) = answer else {
        let (peer, api) = (connection.peer().clone(), ProduceRequest::API);
        return Err(ApiError::Incomplete { peer, api, subject: format!("partitioner of {name}") });
    };
    let has_none = Code(answer.error_code).known() == Some(ErrorCode::UnknownTopicOrPartition);
    Ok(!has_none)
}
