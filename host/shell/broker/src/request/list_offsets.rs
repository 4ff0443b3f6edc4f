//! ListOffsets: offsets by time, or one of Kafka's special places.
//!
//! **Decides** which place a negative timestamp means, by version. **Never** looks into a log.
//!
//! Isolation makes no difference: without transactions the last stable offset is the high watermark.

use std::collections::BTreeMap;

use brooklet_meta::{Cluster, Topic};
use brooklet_shard::input::{OffsetQuery, Place, Slot};
use brooklet_types::{ErrorCode, LeaderEpoch, Offset, Operation, Timestamp, TopicPartition};
use brooklet_wire::message::{
    ListOffsetsRequest, ListOffsetsResponse, Uuid, list_offsets_request, list_offsets_response,
    make,
};

use super::place;
use crate::context::Call;

/// What a timestamp asks for.
#[derive(Debug, PartialEq, Eq)]
enum Sought {
    Place(Place),
    /// Something only tiered storage has: found to be nowhere.
    Nothing,
}

/// How often a request names a partition: one that is named more than once is refused, once.
#[derive(Default)]
struct Times {
    asked: u32,
    answered: bool,
}

/// Answers ListOffsets.
pub(crate) async fn handle(call: &Call, request: ListOffsetsRequest) -> ListOffsetsResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let mut queries = Vec::new();
    let mut places = Vec::new();
    let mut response = ListOffsetsResponse::default();
    let mut times: BTreeMap<(&str, i32), Times> = BTreeMap::new();
    for topic in &request.topics {
        for partition in &topic.partitions {
            times.entry((&topic.name, partition.partition_index)).or_default().asked += 1;
        }
    }
    for topic in &request.topics {
        let mut answered = make(|it: &mut list_offsets_response::ListOffsetsTopicResponse| {
            it.name = topic.name.clone();
        });
        let named = (&*topic.name, Uuid::default());
        let permitted = place::permitted(&may, Operation::Describe, &cluster, named, false);
        for partition in &topic.partitions {
            let times = times.entry((&topic.name, partition.partition_index)).or_default();
            if std::mem::replace(&mut times.answered, true) {
                continue;
            }
            let found = match permitted {
                Err(ErrorCode::TopicAuthorizationFailed) => {
                    Err(ErrorCode::TopicAuthorizationFailed)
                }
                Ok(_) | Err(_) if times.asked > 1 || !is_known(request.isolation_level) => {
                    Err(ErrorCode::InvalidRequest)
                }
                Ok(topic) => query(call, &cluster, topic, partition),
                Err(code) => Err(code),
            };
            let mut line = blank(partition.partition_index);
            match found {
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
        if !answered.partitions.is_empty() {
            response.topics.push(answered);
        }
    }
    let Ok(found) = call.context.shards.list_offsets(queries).await else {
        return response;
    };
    for (slot, result) in found {
        let (topic, partition) = places[slot as usize];
        let line = &mut response.topics[topic].partitions[partition];
        match result {
            Ok(found) => {
                line.offset = found.offset.map_or(-1, Offset::to_wire);
                line.timestamp = found.timestamp.map_or(-1, |timestamp| timestamp.0);
                // Earlier versions have no place for it.
                let epoch = found.epoch.filter(|_| call.version >= 4);
                line.leader_epoch = epoch.map_or(-1, LeaderEpoch::to_wire);
            }
            Err(code) => line.error_code = call.code(unsure(code, call.version)),
        }
    }
    response
}

/// What a client of that version is told where a new leader is not sure yet: the first ones do not know the error, and ask again
/// after another (KIP-207).
fn unsure(code: ErrorCode, version: i16) -> ErrorCode {
    const KNOWN_SINCE: i16 = 5;
    let is_unknown = code == ErrorCode::OffsetNotAvailable && version < KNOWN_SINCE;
    if is_unknown { ErrorCode::LeaderNotAvailable } else { code }
}

/// Uncommitted or committed. Kafka answers UNKNOWN_SERVER_ERROR to anything else.
fn is_known(isolation_level: i8) -> bool {
    matches!(isolation_level, 0 | 1)
}

fn query(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    partition: &list_offsets_request::ListOffsetsPartition,
) -> Result<Option<(TopicPartition, OffsetQuery)>, ErrorCode> {
    let found = place::partition(topic, partition.partition_index)?;
    let Sought::Place(place) = sought(partition.timestamp, call.version)? else {
        return place::led(call, cluster, topic, found).map(|()| None);
    };
    let current_epoch = LeaderEpoch::from_wire(partition.current_leader_epoch);
    Ok(Some((found, OffsetQuery { place, current_epoch })))
}

/// Negative timestamps name places; each came with a version.
fn sought(timestamp: i64, version: i16) -> Result<Sought, ErrorCode> {
    match timestamp {
        0.. => Ok(Sought::Place(Place::At(Timestamp(timestamp)))),
        -1 => Ok(Sought::Place(Place::Latest)),
        -2 => Ok(Sought::Place(Place::Earliest)),
        -3 if version >= 7 => Ok(Sought::Place(Place::MaxTimestamp)),
        // The earliest on local disks: all of ours are.
        -4 if version >= 8 => Ok(Sought::Place(Place::Earliest)),
        // The last that was tiered, and the first that waits to be: there is no such thing.
        -5 if version >= 9 => Ok(Sought::Nothing),
        -6 if version >= 11 => Ok(Sought::Nothing),
        _ => Err(ErrorCode::UnsupportedVersion),
    }
}

fn blank(index: i32) -> list_offsets_response::ListOffsetsPartitionResponse {
    make(|it: &mut list_offsets_response::ListOffsetsPartitionResponse| {
        it.partition_index = index;
        it.timestamp = -1;
        it.offset = -1;
        it.leader_epoch = -1;
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_does_not_know_that_a_leader_may_be_unsure_is_told_that_there_is_none() {
        let table = [
            (ErrorCode::OffsetNotAvailable, 4, ErrorCode::LeaderNotAvailable),
            (ErrorCode::OffsetNotAvailable, 5, ErrorCode::OffsetNotAvailable),
            (ErrorCode::NotLeaderOrFollower, 4, ErrorCode::NotLeaderOrFollower),
        ];
        for (code, version, told) in table {
            assert_eq!(unsure(code, version), told, "{code:?} v{version}");
        }
    }

    #[test]
    fn a_place_is_known_from_the_version_that_has_it() {
        let table = [
            (5, 1, Ok(Sought::Place(Place::At(Timestamp(5))))),
            (-1, 1, Ok(Sought::Place(Place::Latest))),
            (-2, 1, Ok(Sought::Place(Place::Earliest))),
            (-3, 6, Err(ErrorCode::UnsupportedVersion)),
            (-3, 7, Ok(Sought::Place(Place::MaxTimestamp))),
            (-4, 7, Err(ErrorCode::UnsupportedVersion)),
            (-4, 8, Ok(Sought::Place(Place::Earliest))),
            (-5, 8, Err(ErrorCode::UnsupportedVersion)),
            (-5, 9, Ok(Sought::Nothing)),
            (-6, 11, Ok(Sought::Nothing)),
            (-7, 11, Err(ErrorCode::UnsupportedVersion)),
        ];
        for (timestamp, version, expected) in table {
            assert_eq!(sought(timestamp, version), expected, "{timestamp} v{version}");
        }
    }
}
