//! Committed offsets: OffsetCommit, OffsetFetch, OffsetDelete.
//!
//! **Decides** which topics exist, which the coordinator does not know, and how names and ids are
//! exchanged. **Invariant**: every partition of a request has its line in the response.

use brooklet_group::{
    CommitOffset, CommitRequest, CommittedOffset, FetchReply, FetchRequest, Generation,
    OffsetValue, Reply, Request,
};
use brooklet_meta::Cluster;
use brooklet_types::{
    ErrorCode, LeaderEpoch, Operation, PartitionIndex, ResourceType, TopicId, TopicName,
};
use brooklet_wire::message::{
    OffsetCommitRequest, OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse,
    OffsetFetchRequest, OffsetFetchResponse, StrBytes, Uuid, make, offset_commit_request,
    offset_commit_response, offset_delete_response, offset_fetch_request, offset_fetch_response,
};

use super::group::{ask, ask_named, mismatched, optional, text};
use super::place;
use crate::access::May;
use crate::context::Call;

/// From here on OffsetFetch has a place for an error that concerns the whole group.
const GROUP_ERRORS_SINCE: i16 = 2;
/// From here on OffsetCommit and OffsetFetch name topics by id.
const IDS_SINCE: i16 = 10;

/// Answers OffsetCommit.
pub(crate) async fn commit(call: &Call, request: OffsetCommitRequest) -> OffsetCommitResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let group = may.need_group(Operation::Read, &request.group_id);
    let by_id = call.version >= IDS_SINCE;
    let mut response = OffsetCommitResponse::default();
    let mut offsets = Vec::new();
    let mut places = Vec::new();
    for topic in &request.topics {
        let named = (&*topic.name, topic.topic_id);
        let found = match group {
            Ok(()) => place::permitted(&may, Operation::Read, &cluster, named, by_id),
            Err(code) => Err(code),
        };
        let mut answered = make(|it: &mut offset_commit_response::OffsetCommitResponseTopic| {
            it.name = topic.name.clone();
            it.topic_id = topic.topic_id;
        });
        for partition in &topic.partitions {
            let commit = found.and_then(|topic| {
                let id = place::partition(topic, partition.partition_index)?;
                Ok(commit_offset(&topic.name, id.topic, id.partition, partition))
            });
            let mut code = ErrorCode::None;
            match commit {
                Ok(commit) => {
                    places.push((response.topics.len(), answered.partitions.len()));
                    offsets.push(commit);
                }
                Err(error) => code = error,
            }
            answered.partitions.push(make(
                |it: &mut offset_commit_response::OffsetCommitResponsePartition| {
                    it.partition_index = partition.partition_index;
                    it.error_code = call.code(code);
                },
            ));
        }
        response.topics.push(answered);
    }
    if offsets.is_empty() {
        return response;
    }
    let asked = CommitRequest {
        group: text(&request.group_id),
        generation: Generation::from_wire(request.generation_id_or_member_epoch),
        member_id: text(&request.member_id),
        instance_id: optional(&request.group_instance_id),
        retention_ms: (call.version <= 4 && request.retention_time_ms >= 0)
            .then_some(request.retention_time_ms),
        knows_group_id_not_found: call.version >= 9,
        offsets,
    };
    let codes = match ask(call, &request.group_id, Request::CommitOffsets(asked)).await {
        Ok(Reply::CommitOffsets(codes)) => codes,
        Ok(other) => mismatched(&other),
        Err(code) => vec![code; places.len()],
    };
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        response.topics[topic].partitions[partition].error_code = call.code(code);
    }
    response
}

fn commit_offset(
    name: &TopicName,
    id: TopicId,
    partition: PartitionIndex,
    asked: &offset_commit_request::OffsetCommitRequestPartition,
) -> CommitOffset {
    CommitOffset {
        topic: name.clone(),
        topic_id: Some(id),
        partition,
        offset: CommittedOffset::from_wire(asked.committed_offset),
        leader_epoch: LeaderEpoch::from_wire(asked.committed_leader_epoch),
        metadata: asked.committed_metadata.as_ref().map_or_else(|| "".into(), text),
    }
}

/// One group of an OffsetFetch, whatever the version.
struct Wanted {
    group: StrBytes,
    topics: Option<Vec<(StrBytes, Uuid, Vec<i32>)>>,
}

/// One group's answer, whatever the version.
struct Answered {
    group: StrBytes,
    error: ErrorCode,
    topics: Vec<offset_fetch_response::OffsetFetchResponseTopics>,
}

/// Answers OffsetFetch. `require_stable` asks for nothing here: without transactions every
/// committed offset is.
pub(crate) async fn fetch(call: &Call, request: OffsetFetchRequest) -> OffsetFetchResponse {
    let cluster = call.cluster();
    let mut answered = Vec::new();
    for wanted in wanted(call.version, request) {
        answered.push(fetch_group(call, &cluster, wanted).await);
    }
    let mut response = OffsetFetchResponse::default();
    if call.version < 8 {
        if let Some(only) = answered.pop() {
            response.error_code = call.code(only.error);
            response.topics = only.topics.into_iter().map(plain_topic).collect();
        }
        return response;
    }
    for group in answered {
        response.groups.push(make(|it: &mut offset_fetch_response::OffsetFetchResponseGroup| {
            it.error_code = call.code(group.error);
            it.group_id = group.group;
            it.topics = group.topics;
        }));
    }
    response
}

fn wanted(version: i16, request: OffsetFetchRequest) -> Vec<Wanted> {
    if version < 8 {
        let topics = request.topics.map(|topics| {
            let topic = |it: offset_fetch_request::OffsetFetchRequestTopic| {
                (it.name, Uuid::default(), it.partition_indexes)
            };
            topics.into_iter().map(topic).collect()
        });
        return vec![Wanted { group: request.group_id, topics }];
    }
    let group = |it: offset_fetch_request::OffsetFetchRequestGroup| Wanted {
        group: it.group_id,
        topics: it.topics.map(|topics| {
            let topic = |it: offset_fetch_request::OffsetFetchRequestTopics| {
                (it.name, it.topic_id, it.partition_indexes)
            };
            topics.into_iter().map(topic).collect()
        }),
    };
    request.groups.into_iter().map(group).collect()
}

async fn fetch_group(call: &Call, cluster: &Cluster, wanted: Wanted) -> Answered {
    let by_id = call.version >= IDS_SINCE;
    let may = call.may(cluster);
    let group = may.need_group(Operation::Describe, &wanted.group);
    let mut topics = Vec::new();
    let mut places = Vec::new();
    let mut asked = Vec::new();
    for (name, id, indexes) in wanted.topics.iter().flatten() {
        let mut lines = Vec::new();
        let topic_name = match group {
            Ok(()) => topic_name(&may, cluster, name, *id, by_id),
            Err(code) => Err(code),
        };
        for &index in indexes {
            let mut line = blank(index);
            match (&topic_name, PartitionIndex::from_wire(index)) {
                (Ok(name), Some(partition)) => {
                    places.push((topics.len(), lines.len()));
                    asked.push((name.clone(), partition));
                }
                // Without ids an unknown partition has no offset; that is no error.
                (Err(code), _) if by_id || *code == ErrorCode::TopicAuthorizationFailed => {
                    line.error_code = call.code(*code);
                }
                (Err(_) | Ok(_), _) => {}
            }
            lines.push(line);
        }
        topics.push(make(|it: &mut offset_fetch_response::OffsetFetchResponseTopics| {
            it.name = name.clone();
            it.topic_id = *id;
            it.partitions = lines;
        }));
    }
    let all = wanted.topics.is_none();
    let request = FetchRequest { group: text(&wanted.group), partitions: (!all).then_some(asked) };
    let reply = match group {
        Ok(()) => ask(call, &wanted.group, Request::FetchOffsets(request)).await,
        Err(code) => Err(code),
    };
    let reply = match reply {
        Ok(Reply::FetchOffsets(mut reply)) => {
            forget_deleted(cluster, &mut reply);
            reply
        }
        Ok(other) => mismatched(&other),
        Err(error) => FetchReply { error, offsets: Vec::new() },
    };
    if !reply.error.is_none() {
        if call.version >= GROUP_ERRORS_SINCE {
            topics.clear();
        }
        for line in topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
            line.error_code = call.code(reply.error);
        }
        return Answered { group: wanted.group, error: reply.error, topics };
    }
    if all {
        topics = all_topics(&may, cluster, reply.offsets, by_id);
    } else {
        for ((topic, partition), (_, _, value)) in places.into_iter().zip(reply.offsets) {
            fill(&mut topics[topic].partitions[partition], value);
        }
    }
    Answered { group: wanted.group, error: ErrorCode::None, topics }
}

/// The topic whose offsets are asked for. A name need not be a topic's any more: what was committed for it is still
/// there.
fn topic_name(
    may: &May<'_>,
    cluster: &Cluster,
    name: &str,
    id: Uuid,
    by_id: bool,
) -> Result<TopicName, ErrorCode> {
    if by_id {
        let topic = place::permitted(may, Operation::Describe, cluster, (name, id), true)?;
        return Ok(topic.name.clone());
    }
    may.need_topic(Operation::Describe, name)?;
    TopicName::new(name).map_err(|_| ErrorCode::UnknownTopicOrPartition)
}

/// What was committed for a topic that is gone goes with it, a moment after whoever deleted the topic
/// is answered: until then it is not shown, lest it be taken for a position in the next of that name.
fn forget_deleted(cluster: &Cluster, reply: &mut FetchReply) {
    for (.., value) in &mut reply.offsets {
        let topic = value.as_ref().and_then(|value| value.topic_id);
        if topic.is_some_and(|topic| cluster.topic_by_id(topic).is_none()) {
            *value = None;
        }
    }
}

/// Everything a group has committed that the client may see, by topic. By id only what still exists can be named.
fn all_topics(
    may: &May<'_>,
    cluster: &Cluster,
    offsets: Vec<(TopicName, PartitionIndex, Option<OffsetValue>)>,
    by_id: bool,
) -> Vec<offset_fetch_response::OffsetFetchResponseTopics> {
    let mut topics: Vec<offset_fetch_response::OffsetFetchResponseTopics> = Vec::new();
    for (name, partition, value) in offsets {
        if value.is_none() || !may.sees(Operation::Describe, ResourceType::Topic, name.as_str()) {
            continue;
        }
        let id = cluster.topic(name.as_str()).map(|topic| place::uuid(topic.id));
        if by_id && id.is_none() {
            continue;
        }
        if topics.last().is_none_or(|topic| &*topic.name != name.as_str()) {
            topics.push(make(|it: &mut offset_fetch_response::OffsetFetchResponseTopics| {
                it.name = name.as_str().into();
                it.topic_id = id.unwrap_or_default();
            }));
        }
        let mut line = blank(partition.to_wire());
        fill(&mut line, value);
        if let Some(topic) = topics.last_mut() {
            topic.partitions.push(line);
        }
    }
    topics
}

fn blank(index: i32) -> offset_fetch_response::OffsetFetchResponsePartitions {
    make(|it: &mut offset_fetch_response::OffsetFetchResponsePartitions| {
        it.partition_index = index;
        it.committed_offset = -1;
        it.committed_leader_epoch = -1;
        it.metadata = Some(StrBytes::default());
    })
}

fn fill(
    line: &mut offset_fetch_response::OffsetFetchResponsePartitions,
    value: Option<OffsetValue>,
) {
    let Some(value) = value else { return };
    line.committed_offset = value.offset.to_wire();
    line.committed_leader_epoch = value.leader_epoch.map_or(-1, LeaderEpoch::to_wire);
    line.metadata = Some(StrBytes::from(&*value.metadata));
}

fn plain_topic(
    topic: offset_fetch_response::OffsetFetchResponseTopics,
) -> offset_fetch_response::OffsetFetchResponseTopic {
    make(|it: &mut offset_fetch_response::OffsetFetchResponseTopic| {
        it.name = topic.name;
        let line = |from: offset_fetch_response::OffsetFetchResponsePartitions| {
            make(|it: &mut offset_fetch_response::OffsetFetchResponsePartition| {
                it.partition_index = from.partition_index;
                it.committed_offset = from.committed_offset;
                it.committed_leader_epoch = from.committed_leader_epoch;
                it.metadata = from.metadata;
                it.error_code = from.error_code;
            })
        };
        it.partitions = topic.partitions.into_iter().map(line).collect();
    })
}

/// Answers OffsetDelete.
pub(crate) async fn delete(call: &Call, request: OffsetDeleteRequest) -> OffsetDeleteResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    if let Err(code) = may.need_group(Operation::Delete, &request.group_id) {
        return make(|it: &mut OffsetDeleteResponse| it.error_code = call.code(code));
    }
    let mut response = OffsetDeleteResponse::default();
    let mut partitions = Vec::new();
    let mut places = Vec::new();
    for topic in &request.topics {
        let named = (&*topic.name, Uuid::default());
        let found = place::permitted(&may, Operation::Read, &cluster, named, false);
        let mut answered = make(|it: &mut offset_delete_response::OffsetDeleteResponseTopic| {
            it.name = topic.name.clone();
        });
        for partition in &topic.partitions {
            let id = found
                .and_then(|topic| Ok((topic, place::partition(topic, partition.partition_index)?)));
            let mut line =
                make(|it: &mut offset_delete_response::OffsetDeleteResponsePartition| {
                    it.partition_index = partition.partition_index;
                });
            match id {
                Ok((topic, id)) => {
                    places.push((response.topics.len(), answered.partitions.len()));
                    partitions.push((topic.name.clone(), id.partition));
                }
                Err(code) => line.error_code = call.code(code),
            }
            answered.partitions.push(line);
        }
        response.topics.push(answered);
    }
    let asked = Request::DeleteOffsets { group: text(&request.group_id), partitions };
    let (error, codes) = match ask_named(call, &request.group_id, asked).await {
        Ok(Reply::DeleteOffsets { error, partitions }) => (error, partitions),
        Ok(other) => mismatched(&other),
        Err(code) => (code, Vec::new()),
    };
    if !error.is_none() {
        return make(|it: &mut OffsetDeleteResponse| it.error_code = call.code(error));
    }
    for ((topic, partition), code) in places.into_iter().zip(codes) {
        response.topics[topic].partitions[partition].error_code = call.code(code);
    }
    response
}

#[cfg(test)]
mod tests {
    use brooklet_group::CommittedOffset;
    use brooklet_meta::MetaRecord;
    use brooklet_types::{BrokerId, Timestamp};

    use super::*;

    #[test]
    fn what_was_committed_for_a_deleted_topic_is_not_shown_for_the_next_of_its_name() {
        const OLD: TopicId = TopicId([1; 16]);
        const NEW: TopicId = TopicId([2; 16]);
        let name = TopicName::new("t").unwrap();
        let mut cluster = Cluster::default();
        cluster.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true });
        let settings = Vec::new();
        let created =
            MetaRecord::TopicCreated { id: NEW, name: name.clone(), partitions: 3, settings };
        cluster.apply(&created);
        let value = |topic_id| OffsetValue {
            offset: CommittedOffset::from_wire(7),
            leader_epoch: None,
            metadata: "".into(),
            commit_timestamp: Timestamp(0),
            expire_timestamp: None,
            topic_id,
        };
        // Read from the log again, a position does not know which topic it was.
        let known = [Some(OLD), Some(NEW), None];
        let offsets = (0..).zip(known).map(|(index, id)| {
            (name.clone(), PartitionIndex::from_wire(index).unwrap(), Some(value(id)))
        });
        let mut reply = FetchReply { error: ErrorCode::None, offsets: offsets.collect() };
        forget_deleted(&cluster, &mut reply);
        let shown: Vec<bool> = reply.offsets.iter().map(|(.., value)| value.is_some()).collect();
        assert_eq!(shown, [false, true, true]);
    }
}
