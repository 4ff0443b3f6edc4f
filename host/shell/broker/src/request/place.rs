//! From a client's word for a partition to the partition.
//!
//! **Decides** which error names what is missing. **Never** creates anything.

use std::sync::Arc;

use brooklet_meta::{Cluster, Topic};
use brooklet_types::{ErrorCode, Operation, PartitionIndex, TopicId, TopicPartition};
use brooklet_wire::message::Uuid;

use crate::access::May;
use crate::context::Call;

/// The topic that a request means: by id if the version has ids, else by name.
pub(crate) fn topic<'a>(
    cluster: &'a Cluster,
    name: &str,
    id: Uuid,
    by_id: bool,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    if by_id {
        let id = TopicId::from_wire(id.to_bytes()).ok_or(ErrorCode::UnknownTopicId)?;
        cluster.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)
    } else {
        cluster.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition)
    }
}

/// The same for a client that does something to it. Who may not is not told whether there is one of that name; the
/// ids of topics are no secret.
pub(crate) fn permitted<'a>(
    may: &May<'_>,
    operation: Operation,
    cluster: &'a Cluster,
    named: (&str, Uuid),
    by_id: bool,
) -> Result<&'a Arc<Topic>, ErrorCode> {
    let (name, id) = named;
    if !by_id {
        may.need_topic(operation, name)?;
        return topic(cluster, name, id, by_id);
    }
    let found = topic(cluster, name, id, by_id)?;
    may.need_topic(operation, found.name.as_str())?;
    Ok(found)
}

/// A partition of a topic: where its records are, which for a view is another topic's partition.
pub(crate) fn partition(topic: &Topic, index: i32) -> Result<TopicPartition, ErrorCode> {
    let partition = PartitionIndex::from_wire(index).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    topic.partition(partition).ok_or(ErrorCode::UnknownTopicOrPartition)?;
    Ok(TopicPartition { topic: topic.stored_in(), partition })
}

/// Refuses what only a partition's leader may be asked, where the image of the cluster says that it is another broker. A shard
/// knows that better: this is for what happens before one is asked.
pub(crate) fn led(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    id: TopicPartition,
) -> Result<(), ErrorCode> {
    let leader = topic.partition(id.partition).and_then(|partition| partition.leader);
    let is_led = cluster.level() == 0 || leader == Some(call.context.node);
    is_led.then_some(()).ok_or(ErrorCode::NotLeaderOrFollower)
}

/// A topic's id as the wire has it.
pub(crate) fn uuid(id: TopicId) -> Uuid {
    Uuid::from_bytes(id.0)
}
