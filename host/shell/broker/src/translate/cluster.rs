//! DescribeCluster and DescribeTopicPartitions.

use std::collections::BTreeSet;

use brooklet_meta::{Cluster, Partition, Topic};
use brooklet_types::{BrokerId, ErrorCode, PartitionIndex, TopicName};
use brooklet_wire::message::{
    DescribeClusterRequest, DescribeClusterResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, StrBytes, Uuid,
    describe_cluster_response::DescribeClusterBroker,
    describe_topic_partitions_response::{
        Cursor, DescribeTopicPartitionsResponsePartition, DescribeTopicPartitionsResponseTopic,
    },
    make,
};

use super::nodes::{Node, Nodes};

/// Kafka's "nobody asked what is allowed".
pub(crate) const OPERATIONS_UNKNOWN: i32 = i32::MIN;
/// The most partitions in one answer. Kafka's `max.request.partition.size.limit`.
const PARTITIONS_MAX: usize = 2000;
/// The endpoints that are brokers; others are controllers, which do not listen on their own here.
const BROKERS: i8 = 1;
const CONTROLLERS: i8 = 2;

/// Answers a DescribeCluster of a client that has reached broker `this`, reaches these nodes, and may do `operations`.
/// Fenced brokers are named to who asks for them, and marked.
pub fn describe(
    request: &DescribeClusterRequest,
    cluster_id: &str,
    this: BrokerId,
    nodes: &Nodes<'_>,
    operations: i32,
) -> DescribeClusterResponse {
    make(|response: &mut DescribeClusterResponse| {
        response.endpoint_type = BROKERS;
        response.cluster_authorized_operations = OPERATIONS_UNKNOWN;
        if request.endpoint_type != BROKERS {
            let code = match request.endpoint_type {
                CONTROLLERS => ErrorCode::MismatchedEndpointType,
                _ => ErrorCode::UnsupportedEndpointType,
            };
            response.error_code = code.to_wire();
            response.error_message = Some(StrBytes::from(code.message()));
            return;
        }
        if request.include_cluster_authorized_operations {
            response.cluster_authorized_operations = operations;
        }
        response.cluster_id = StrBytes::from(cluster_id);
        response.controller_id = this.0;
        response.brokers = nodes.reached().map(|node| broker(node, false)).collect();
        if request.include_fenced_brokers {
            response.brokers.extend(nodes.fenced().iter().map(|node| broker(node, true)));
        }
    })
}

fn broker(node: &Node, is_fenced: bool) -> DescribeClusterBroker {
    make(|broker: &mut DescribeClusterBroker| {
        (broker.broker_id, broker.host, broker.port) = (node.id.0, node.host.clone(), node.port);
        (broker.rack, broker.is_fenced) = (node.rack.clone(), is_fenced);
    })
}

/// Answers a DescribeTopicPartitions of a client that reaches these nodes: topics by name, cut where the limit is reached, of
/// those that may be `seen`. What one may do to each is told by `operations`.
pub fn topic_partitions(
    request: &DescribeTopicPartitionsRequest,
    (cluster, nodes): (&Cluster, &Nodes<'_>),
    seen: impl Fn(&str) -> bool,
    operations: impl Fn(&str) -> i32,
) -> DescribeTopicPartitionsResponse {
    if !makes_sense(request) {
        return make(|response: &mut DescribeTopicPartitionsResponse| {
            let refused = |name: &StrBytes| refused(name, ErrorCode::InvalidRequest);
            response.topics = request.topics.iter().map(|topic| refused(&topic.name)).collect();
        });
    }
    let from = request.cursor.as_ref().map_or("", |cursor| &*cursor.topic_name);
    let all: BTreeSet<String> = if request.topics.is_empty() {
        cluster.topics_from(from).map(|topic| topic.name.to_string()).collect()
    } else {
        let named = request.topics.iter().map(|topic| topic.name.to_string());
        named.filter(|name| name.as_str() >= from).collect()
    };
    let (names, hidden): (BTreeSet<String>, BTreeSet<String>) =
        all.into_iter().partition(|name| seen(name));
    // Only what was asked for by name is refused.
    let hidden = if request.topics.is_empty() { BTreeSet::new() } else { hidden };
    let hidden = hidden
        .into_iter()
        .map(|name| refused(&StrBytes::from(name), ErrorCode::TopicAuthorizationFailed));
    let (mut topics, next_cursor) = cut(request, (cluster, nodes), names);
    for topic in &mut topics {
        topic.topic_authorized_operations = operations(topic.name.as_deref().unwrap_or_default());
    }
    topics.extend(hidden);
    make(|response: &mut DescribeTopicPartitionsResponse| {
        response.topics = topics;
        response.next_cursor = next_cursor;
    })
}

/// The topics of these names up to the limit, and where to go on.
fn cut(
    request: &DescribeTopicPartitionsRequest,
    (cluster, nodes): (&Cluster, &Nodes<'_>),
    names: BTreeSet<String>,
) -> (Vec<DescribeTopicPartitionsResponseTopic>, Option<Cursor>) {
    let asked = usize::try_from(request.response_partition_limit).unwrap_or(0);
    let mut room = asked.clamp(1, PARTITIONS_MAX);
    let mut topics = Vec::new();
    for name in names {
        // The cursor's partition counts for the cursor's topic only.
        let cursor = request.cursor.as_ref().filter(|cursor| *cursor.topic_name == *name);
        let first = cursor.map_or(0, |cursor| cursor.partition_index.max(0));
        let first = usize::try_from(first).unwrap_or(usize::MAX);
        if room == 0 {
            return (topics, Some(cursor_at(&name, 0)));
        }
        let Some(topic) = cluster.topic(&name) else {
            topics.push(unknown(&name));
            continue;
        };
        topics.push(described(topic, nodes, (first, room)));
        let end = first.saturating_add(room);
        if end < topic.partitions.len() {
            return (topics, Some(cursor_at(&name, end)));
        }
        room -= topic.partitions.len().saturating_sub(first);
    }
    (topics, None)
}

fn refused(name: &StrBytes, code: ErrorCode) -> DescribeTopicPartitionsResponseTopic {
    make(|answer: &mut DescribeTopicPartitionsResponseTopic| {
        answer.error_code = code.to_wire();
        answer.name = Some(name.clone());
        answer.topic_authorized_operations = OPERATIONS_UNKNOWN;
    })
}

/// Whether the cursor, if there is one, is at a partition of something that is asked for.
fn makes_sense(request: &DescribeTopicPartitionsRequest) -> bool {
    let Some(cursor) = &request.cursor else { return true };
    let asked = request.topics.iter().any(|topic| topic.name == cursor.topic_name);
    cursor.partition_index >= 0 && (request.topics.is_empty() || asked)
}

fn cursor_at(name: &str, partition: usize) -> Cursor {
    make(|cursor: &mut Cursor| {
        cursor.topic_name = StrBytes::from(name);
        cursor.partition_index = i32::try_from(partition).expect("partitions are limited");
    })
}

fn unknown(name: &str) -> DescribeTopicPartitionsResponseTopic {
    let code = match TopicName::new(name) {
        Ok(_) => ErrorCode::UnknownTopicOrPartition,
        Err(_) => ErrorCode::InvalidTopicException,
    };
    make(|answer: &mut DescribeTopicPartitionsResponseTopic| {
        answer.error_code = code.to_wire();
        answer.name = Some(StrBytes::from(name));
    })
}

fn described(
    topic: &Topic,
    nodes: &Nodes<'_>,
    (first, room): (usize, usize),
) -> DescribeTopicPartitionsResponseTopic {
    let partitions = topic.indexed().skip(first).take(room);
    make(|answer: &mut DescribeTopicPartitionsResponseTopic| {
        answer.name = Some(StrBytes::from(topic.name.as_str()));
        answer.topic_id = Uuid::from_bytes(topic.id.0);
        answer.is_internal = topic.name.is_internal();
        answer.partitions = partitions.map(|(index, one)| partition(index, one, nodes)).collect();
    })
}

fn partition(
    index: PartitionIndex,
    partition: &Partition,
    nodes: &Nodes<'_>,
) -> DescribeTopicPartitionsResponsePartition {
    let leader = nodes.leader(partition);
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    make(|answer: &mut DescribeTopicPartitionsResponsePartition| {
        answer.error_code = leader.err().unwrap_or(ErrorCode::None).to_wire();
        answer.partition_index = index.to_wire();
        answer.leader_id = leader.map_or(-1, |leader| leader.0);
        answer.leader_epoch = partition.leader_epoch.to_wire();
        answer.replica_nodes = numbers(&partition.replicas);
        answer.isr_nodes = numbers(&partition.in_sync);
        answer.eligible_leader_replicas = Some(numbers(&partition.eligible));
        answer.last_known_elr = Some(numbers(&partition.last_known));
        answer.offline_replicas = numbers(&nodes.offline(partition));
    })
}
