//! Topics: made, grown, emptied, removed.

use brooklet_types::TopicId;
use brooklet_wire::message::{
    CreatePartitionsRequest, CreateTopicsRequest, DeleteRecordsRequest, DeleteTopicsRequest,
    create_partitions_request::CreatePartitionsTopic,
    create_topics_request::{CreatableTopic, CreatableTopicConfig},
    delete_records_request::{DeleteRecordsPartition, DeleteRecordsTopic},
    delete_topics_request::DeleteTopicState,
    make,
};

use super::{Admin, check, incomplete, timeout_ms};
use crate::client::Lane;
use crate::error::ApiError;
use crate::offsets::Partition;

/// A topic to be made.
#[derive(Clone, Debug, Default)]
pub struct NewTopic {
    /// Its name.
    pub name: String,
    /// How many partitions; the broker's default if absent.
    pub partitions: Option<u32>,
    /// How many copies of each; the broker's default if absent.
    pub replication: Option<u16>,
    /// Settings that differ from the broker's.
    pub settings: Vec<(String, String)>,
}

impl Admin {
    /// Makes a topic, or with `validate_only` asks whether it could be made. When this returns, the
    /// topic can be written to.
    pub async fn create_topic(
        &self,
        topic: &NewTopic,
        validate_only: bool,
    ) -> Result<Option<TopicId>, ApiError> {
        let request = make::<CreateTopicsRequest>(|request| {
            request.topics = vec![creatable(topic)];
            request.timeout_ms = timeout_ms(&self.client);
            request.validate_only = validate_only;
        });
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(&request).await?;
            let subject = format!("topic {}", topic.name);
            let result = response.topics.first();
            let result =
                result.ok_or_else(|| incomplete::<CreateTopicsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<CreateTopicsRequest>(&connection, subject, code, message)?;
            Ok(TopicId::from_wire(*result.topic_id.as_bytes()))
        };
        let id = self.client.retry(once).await?;
        self.client.forget_topic(&topic.name);
        if !validate_only {
            // The controller answers before the other brokers have heard of the topic.
            self.client.retry(|| self.is_led(&topic.name)).await?;
        }
        Ok(id)
    }

    /// Looks whether every partition of a topic has a leader.
    async fn is_led(&self, name: &str) -> Result<(), ApiError> {
        let metadata = self.client.topic(name).await?;
        // A topic without partitions has not got them yet.
        let count = u32::try_from(metadata.partitions.len()).unwrap_or(u32::MAX).max(1);
        for partition in 0..count {
            self.client.leader(name, partition).await?;
        }
        Ok(())
    }

    /// Removes a topic and all its records.
    pub async fn delete_topic(&self, name: &str) -> Result<(), ApiError> {
        let once = || async {
            let connection = self.client.controller().await?;
            let version = connection.version::<DeleteTopicsRequest>()?;
            let request = make::<DeleteTopicsRequest>(|request| {
                request.timeout_ms = timeout_ms(&self.client);
                // From version 6 on a topic may be named by its id, and has a structure for it.
                if version >= 6 {
                    let state = |state: &mut DeleteTopicState| state.name = Some(name.into());
                    request.topics = vec![make(state)];
                } else {
                    request.topic_names = vec![name.into()];
                }
            });
            let response = connection.call(&request).await?;
            let subject = format!("topic {name}");
            let result = response.responses.first();
            let result =
                result.ok_or_else(|| incomplete::<DeleteTopicsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<DeleteTopicsRequest>(&connection, subject, code, message)
        };
        let outcome = self.client.retry_known(once).await;
        self.client.forget_topic(name);
        outcome
    }

    /// Grows a topic to `count` partitions.
    pub async fn create_partitions(&self, name: &str, count: u32) -> Result<(), ApiError> {
        let request = make::<CreatePartitionsRequest>(|request| {
            request.timeout_ms = timeout_ms(&self.client);
            request.topics = vec![make(|topic: &mut CreatePartitionsTopic| {
                topic.name = name.into();
                topic.count = i32::try_from(count).unwrap_or(i32::MAX);
                topic.assignments = None;
            })];
        });
        let once = || async {
            let connection = self.client.controller().await?;
            let response = connection.call(&request).await?;
            let subject = format!("topic {name}");
            let result = response.results.first();
            let result = result
                .ok_or_else(|| incomplete::<CreatePartitionsRequest>(&connection, &subject))?;
            let (code, message) = (result.error_code, &result.error_message);
            check::<CreatePartitionsRequest>(&connection, subject, code, message)
        };
        let outcome = self.client.retry_known(once).await;
        self.client.forget_topic(name);
        outcome
    }

    /// Drops all records of a partition before `offset` (all there are with `None`) and says where
    /// it begins now.
    pub async fn delete_records(
        &self,
        partition: &Partition,
        offset: Option<i64>,
    ) -> Result<i64, ApiError> {
        let (topic, index) = partition;
        let request = make::<DeleteRecordsRequest>(|request| {
            request.timeout_ms = timeout_ms(&self.client);
            let one = make(|one: &mut DeleteRecordsPartition| {
                one.partition_index = i32::try_from(*index).unwrap_or(i32::MAX);
                one.offset = offset.unwrap_or(-1);
            });
            request.topics = vec![make(|wire: &mut DeleteRecordsTopic| {
                wire.name = topic.as_str().into();
                wire.partitions = vec![one];
            })];
        });
        let once = || async {
            let (leader, _) = self.client.leader(topic, *index).await?;
            let connection = self.client.broker(leader, &Lane::COMMON).await?;
            let response = connection.call(&request).await?;
            let subject = format!("partition {index} of {topic}");
            let result = response.topics.first().and_then(|topic| topic.partitions.first());
            let result =
                result.ok_or_else(|| incomplete::<DeleteRecordsRequest>(&connection, &subject))?;
            check::<DeleteRecordsRequest>(&connection, subject, result.error_code, &None)?;
            Ok(result.low_watermark)
        };
        self.client.retry_known(once).await
    }
}

fn creatable(topic: &NewTopic) -> CreatableTopic {
    make(|wire: &mut CreatableTopic| {
        wire.name = topic.name.as_str().into();
        let partitions = topic.partitions.map(|count| i32::try_from(count).unwrap_or(i32::MAX));
        wire.num_partitions = partitions.unwrap_or(-1);
        let copies = topic.replication.map(|count| i16::try_from(count).unwrap_or(i16::MAX));
        wire.replication_factor = copies.unwrap_or(-1);
        let setting = |(name, value): &(String, String)| {
            make(|wire: &mut CreatableTopicConfig| {
                wire.name = name.as_str().into();
                wire.value = Some(value.as_str().into());
            })
        };
        wire.configs = topic.settings.iter().map(setting).collect();
    })
}
