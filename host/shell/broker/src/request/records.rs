//! DeleteRecords: the start of a log moves forward.
//!
//! **Decides** nothing: the partition does.

use brooklet_shard::input::Slot;
use brooklet_types::{ErrorCode, Offset, Operation, TopicPartition};
use brooklet_wire::message::{
    DeleteRecordsRequest, DeleteRecordsResponse, Uuid, delete_records_response, make,
};

use super::place;
use crate::context::Call;

/// Kafka's "everything that is readable".
const HIGH_WATERMARK: i64 = -1;

/// Answers DeleteRecords.
pub(crate) async fn delete(call: &Call, request: DeleteRecordsRequest) -> DeleteRecordsResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let mut response = DeleteRecordsResponse::default();
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    for topic in &request.topics {
        let mut answered = make(|it: &mut delete_records_response::DeleteRecordsTopicResult| {
            it.name = topic.name.clone();
        });
        let named = (&*topic.name, Uuid::default());
        let permitted = place::permitted(&may, Operation::Delete, &cluster, named, false);
        for partition in &topic.partitions {
            let mut line =
                make(|it: &mut delete_records_response::DeleteRecordsPartitionResult| {
                    it.partition_index = partition.partition_index;
                    it.low_watermark = -1;
                });
            let found = permitted
                .and_then(|topic| Ok((topic, place::partition(topic, partition.partition_index)?)))
                .and_then(|(topic, found)| {
                    if topic.name.is_internal() {
                        return Err(ErrorCode::InvalidTopicException);
                    }
                    if topic.view_of.is_some() {
                        return Err(ErrorCode::PolicyViolation);
                    }
                    place::led(call, &cluster, topic, found)?;
                    // Compaction keeps the last record of every key, wherever it lies.
                    match cluster.effective(call.context.node, topic).delete {
                        true => before(found, partition.offset),
                        false => Err(ErrorCode::PolicyViolation),
                    }
                });
            match found {
                Ok(one) => {
                    let slot = Slot::try_from(places.len()).expect("requests are limited");
                    places.push((response.topics.len(), answered.partitions.len()));
                    wanted.push((slot, one));
                }
                Err(code) => line.error_code = call.code(code),
            }
            answered.partitions.push(line);
        }
        response.topics.push(answered);
    }
    let Ok(starts) = call.context.shards.delete_records(wanted).await else { return response };
    for (slot, result) in starts {
        let (topic, partition) = places[slot as usize];
        let line = &mut response.topics[topic].partitions[partition];
        match result {
            Ok(start) => line.low_watermark = start.to_wire(),
            Err(code) => line.error_code = call.code(code),
        }
    }
    response
}

fn before(
    partition: TopicPartition,
    offset: i64,
) -> Result<(TopicPartition, Option<Offset>), ErrorCode> {
    if offset == HIGH_WATERMARK {
        return Ok((partition, None));
    }
    let offset = Offset::from_wire(offset).ok_or(ErrorCode::OffsetOutOfRange)?;
    Ok((partition, Some(offset)))
}
