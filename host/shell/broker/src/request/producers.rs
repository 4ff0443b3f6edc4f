//! Idempotent producers: InitProducerId gives them their ids, DescribeProducers shows who is known.
//!
//! **Decides** that nobody gets a transactional id: there is no coordinator for one. **Invariant**: an
//! id is given out once; whole blocks are taken from the cluster, so most requests wait for nothing.

use std::ops::Range;

use brooklet_meta::decide::producer_id::allot_producer_ids;
use brooklet_meta::{Cluster, Decision};
use brooklet_shard::input::Slot;
use brooklet_shard::output::ProducerDescription;
use brooklet_types::{ErrorCode, Operation, ResourceType, TopicName};
use brooklet_wire::message::{
    DescribeProducersRequest, DescribeProducersResponse, InitProducerIdRequest,
    InitProducerIdResponse, Uuid, describe_producers_response, make,
};

use super::place;
use crate::context::Call;
use crate::peers::forward;

/// Answers InitProducerId.
pub(crate) async fn init(call: &Call, request: InitProducerIdRequest) -> InitProducerIdResponse {
    let half = (request.producer_id < 0) != (request.producer_epoch < 0);
    let given = if let Err(code) = permitted(call, request.transactional_id.as_deref()) {
        Err(code)
    } else if half || request.transactional_id.as_deref() == Some("") {
        Err(ErrorCode::InvalidRequest)
    } else if request.transactional_id.is_some() {
        // As FindCoordinator says: nobody coordinates transactions here.
        Err(ErrorCode::CoordinatorNotAvailable)
    } else {
        next_id(call).await
    };
    make(|it: &mut InitProducerIdResponse| {
        it.ongoing_txn_producer_id = -1;
        it.ongoing_txn_producer_epoch = -1;
        match given {
            Ok(id) => {
                it.producer_id = id;
                it.producer_epoch = 0;
            }
            Err(code) => {
                it.error_code = call.code(code);
                it.producer_id = -1;
                it.producer_epoch = -1;
            }
        }
    })
}

/// Who may write to any topic at all may do so idempotently.
fn permitted(call: &Call, transactional_id: Option<&str>) -> Result<(), ErrorCode> {
    let may = call.may(&call.cluster());
    if let Some(id) = transactional_id {
        return may.need(Operation::Write, ResourceType::TransactionalId, id);
    }
    if may.any(Operation::Write, ResourceType::Topic) {
        return Ok(());
    }
    may.need_cluster(Operation::IdempotentWrite)
}

async fn next_id(call: &Call) -> Result<i64, ErrorCode> {
    let mut block = call.context.producer_ids.lock().await;
    if block.is_empty() {
        if let Some(peers) = &call.context.peers
            && peers.other_controller().is_some()
        {
            *block = forward::allocate(peers).await?;
            return give(&mut block);
        }
        let decide = |cluster: &Cluster| match allot_producer_ids(cluster) {
            Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
            Err(exhausted) => Decision { records: Vec::new(), reply: Err(exhausted) },
        };
        let allotted: Result<Range<u64>, _> = call.change(decide).await?;
        *block = allotted.map_err(|_exhausted| ErrorCode::UnknownServerError)?;
    }
    give(&mut block)
}

fn give(block: &mut Range<u64>) -> Result<i64, ErrorCode> {
    let id = block.next().expect("a block that was just allotted has ids");
    Ok(i64::try_from(id).expect("ids are allotted within the wire's range"))
}

/// Answers DescribeProducers.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeProducersRequest,
) -> DescribeProducersResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let mut response = DescribeProducersResponse::default();
    let mut wanted = Vec::new();
    let mut places = Vec::new();
    for topic in &request.topics {
        let mut answered = make(|it: &mut describe_producers_response::TopicResponse| {
            it.name = topic.name.clone();
        });
        let named = (&*topic.name, Uuid::default());
        let permitted = match TopicName::new(&topic.name) {
            Ok(_) => place::permitted(&may, Operation::Read, &cluster, named, false),
            Err(_) => Err(ErrorCode::InvalidTopicException),
        };
        for &index in &topic.partition_indexes {
            let mut line = make(|it: &mut describe_producers_response::PartitionResponse| {
                it.partition_index = index;
            });
            match permitted.and_then(|topic| place::partition(topic, index)) {
                Ok(partition) => {
                    let slot = Slot::try_from(places.len()).expect("requests are limited");
                    places.push((response.topics.len(), answered.partitions.len()));
                    wanted.push((slot, partition));
                }
                Err(code) => {
                    line.error_code = call.code(code);
                    line.error_message = Some(code.message().into());
                }
            }
            answered.partitions.push(line);
        }
        response.topics.push(answered);
    }
    let Ok(found) = call.context.shards.describe_producers(wanted).await else { return response };
    for (slot, result) in found {
        let (topic, partition) = places[slot as usize];
        let line = &mut response.topics[topic].partitions[partition];
        match result {
            Ok(producers) => line.active_producers = producers.iter().map(state).collect(),
            Err(code) => {
                line.error_code = call.code(code);
                line.error_message = Some(code.message().into());
            }
        }
    }
    response
}

fn state(producer: &ProducerDescription) -> describe_producers_response::ProducerState {
    let sequence = producer.last_sequence.and_then(|sequence| i32::try_from(sequence).ok());
    make(|it: &mut describe_producers_response::ProducerState| {
        it.producer_id = i64::try_from(producer.id).unwrap_or(-1);
        it.producer_epoch = i32::from(producer.epoch);
        it.last_sequence = sequence.unwrap_or(-1);
        it.last_timestamp = producer.last_timestamp.0;
        it.coordinator_epoch = -1;
        it.current_txn_start_offset = -1;
    })
}
