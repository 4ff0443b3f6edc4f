//! OffsetForLeaderEpoch: where leader epochs ended, for clients that check their positions.
//!
//! **Decides** nothing: the partition's epochs do.

use brooklet_meta::{Cluster, Topic};
use brooklet_shard::input::{EpochQuery, Slot};
use brooklet_types::{ErrorCode, LeaderEpoch, Offset, Operation, TopicPartition};
use brooklet_wire::message::{
    OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, Uuid, make,
    offset_for_leader_epoch_request, offset_for_leader_epoch_response,
};

use super::place;
use crate::context::Call;

/// Answers OffsetForLeaderEpoch.
pub(crate) async fn handle(
    call: &Call,
    request: OffsetForLeaderEpochRequest,
) -> OffsetForLeaderEpochResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    // Who does what brokers do to each other is a broker, and may know all.
    let is_broker = may.sees_cluster(Operation::ClusterAction);
    let mut queries = Vec::new();
    let mut places = Vec::new();
    let mut response = OffsetForLeaderEpochResponse::default();
    for topic in &request.topics {
        let mut answered =
            make(|it: &mut offset_for_leader_epoch_response::OffsetForLeaderTopicResult| {
                it.topic = topic.topic.clone();
            });
        let named = (&*topic.topic, Uuid::default());
        let found = match is_broker {
            true => place::topic(&cluster, named.0, named.1, false),
            false => place::permitted(&may, Operation::Describe, &cluster, named, false),
        };
        for partition in &topic.partitions {
            let mut line = make(|it: &mut offset_for_leader_epoch_response::EpochEndOffset| {
                it.partition = partition.partition;
                it.leader_epoch = -1;
                it.end_offset = -1;
            });
            match found.and_then(|topic| query(call, &cluster, topic, partition)) {
                Ok(Some(query)) => {
                    let slot = Slot::try_from(places.len()).expect("requests are limited");
                    places.push((response.topics.len(), answered.partitions.len()));
                    queries.push((slot, query));
                }
                Ok(None) => {}
                Err(code) => line.error_code = call.code(code),
            }
            answered.partitions.push(line);
        }
        response.topics.push(answered);
    }
    let Ok(ends) = call.context.shards.epoch_ends(queries).await else { return response };
    for (slot, end) in ends {
        let (topic, partition) = places[slot as usize];
        let line = &mut response.topics[topic].partitions[partition];
        match end {
            Ok(end) => {
                line.leader_epoch = end.epoch.map_or(-1, LeaderEpoch::to_wire);
                line.end_offset = end.end.map_or(-1, Offset::to_wire);
            }
            Err(code) => line.error_code = call.code(code),
        }
    }
    response
}

/// `None` asks for an epoch that nothing can have been written in.
fn query(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    partition: &offset_for_leader_epoch_request::OffsetForLeaderPartition,
) -> Result<Option<(TopicPartition, EpochQuery)>, ErrorCode> {
    let found = place::partition(topic, partition.partition)?;
    let Some(epoch) = LeaderEpoch::from_wire(partition.leader_epoch) else {
        return place::led(call, cluster, topic, found).map(|()| None);
    };
    let current_epoch = LeaderEpoch::from_wire(partition.current_leader_epoch);
    Ok(Some((found, EpochQuery { epoch, current_epoch })))
}
