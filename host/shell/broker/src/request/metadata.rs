//! Metadata: who leads what, and topics that come to be by being asked for.
//!
//! **Decides** which topics an answer names and which are created for it. **Invariant**: a request for
//! all topics creates none.
//!
//! Any broker takes what an administrator asks for, so each names itself as the controller, where Kafka names one of them
//! by chance.
//!
//! Unlike Kafka, which answers UNKNOWN_TOPIC_OR_PARTITION while it creates, we create and then
//! answer: one round trip less, and nothing that a client could be confused by.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_meta::{Cluster, Partition, Topic};
use brooklet_types::permission::CLUSTER_NAME;
use brooklet_types::{
    BrokerId, ErrorCode, Operation, PartitionIndex, ResourceType, TopicId, TopicName,
};
use brooklet_wire::message::{
    MetadataRequest, MetadataResponse, Uuid, make, metadata_request, metadata_response,
};

use super::place;
use crate::access::May;
use crate::context::Call;
use crate::peers::forward;
use crate::translate::cluster::OPERATIONS_UNKNOWN;
use crate::translate::nodes::{Node, Nodes};

/// From here on null means all topics; before, an empty list did.
const NULL_IS_ALL_SINCE: i16 = 1;
/// From here on brokers say where they stand.
const RACKS_SINCE: i16 = 1;
/// From here on there is a place for replicas that are not reached.
const OFFLINE_SINCE: i16 = 5;
/// From here on clients are told that a leader does not have the listener that they came in by.
const LISTENERS_SINCE: i16 = 6;
/// From here on topics may be named by id.
const IDS_SINCE: i16 = 12;

/// Answers Metadata.
pub(crate) async fn handle(call: &Call, request: MetadataRequest) -> MetadataResponse {
    let all = match &request.topics {
        None => true,
        Some(topics) => call.version < NULL_IS_ALL_SINCE && topics.is_empty(),
    };
    let wanted = request.topics.as_deref().unwrap_or_default();
    let may_create = call.version < 4 || request.allow_auto_topic_creation;
    let refused = match !all && may_create && call.context.auto_create {
        true => create_missing(call, wanted).await,
        false => BTreeSet::new(),
    };
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let nodes = call.nodes(&cluster);
    make(|it: &mut MetadataResponse| {
        it.brokers = nodes.reached().map(|node| broker(node, call.version)).collect();
        it.cluster_id = Some(call.context.cluster_id.as_str().into());
        it.controller_id = call.context.node.0;
        let asked = request.include_cluster_authorized_operations;
        it.cluster_authorized_operations =
            if asked { operations_of_cluster(&may) } else { OPERATIONS_UNKNOWN };
        it.topics = if all {
            let seen = |topic: &&Arc<Topic>| {
                may.sees(Operation::Describe, ResourceType::Topic, topic.name.as_str())
            };
            let told = |topic: &Arc<Topic>| described(topic, &nodes, call.version);
            cluster.topics().filter(seen).map(told).collect()
        } else {
            let mut seen = BTreeSet::new();
            let once = wanted.iter().filter(|it| seen.insert((&it.name, it.topic_id.to_bytes())));
            once.map(|topic| find(call, &may, &refused, (&cluster, &nodes), topic)).collect()
        };
        if request.include_topic_authorized_operations {
            for topic in it.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                let name = topic.name.as_deref().unwrap_or_default();
                topic.topic_authorized_operations = may.operations(ResourceType::Topic, name);
            }
        }
    })
}

/// What one may do to the cluster, for who may know.
pub(crate) fn operations_of_cluster(may: &May<'_>) -> i32 {
    match may.sees_cluster(Operation::Describe) {
        true => may.operations(ResourceType::Cluster, CLUSTER_NAME),
        false => 0,
    }
}

/// Creates what is asked for and is not there. Hands back what the client may not create: it is told so, where
/// others would be told that there is no such topic.
async fn create_missing(
    call: &Call,
    wanted: &[metadata_request::MetadataRequestTopic],
) -> BTreeSet<String> {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let names = wanted.iter().filter_map(|topic| topic.name.as_ref());
    let missing = names.filter(|name| {
        cluster.topic(name).is_none()
            && may.sees(Operation::Describe, ResourceType::Topic, name.as_str())
    });
    let missing: BTreeSet<String> = missing.map(|name| name.to_string()).collect();
    let creates_any = missing.is_empty() || may.sees_cluster(Operation::Create);
    let (names, refused): (BTreeSet<String>, BTreeSet<String>) = missing
        .into_iter()
        .partition(|name| creates_any || may.check(Operation::Create, ResourceType::Topic, name));
    // An internal topic has settings of its own, and is made with them.
    let is_ordinary = |name: &String| TopicName::new(name).is_ok_and(|name| !name.is_internal());
    let names: Vec<String> = names.into_iter().filter(is_ordinary).collect();
    // What comes before a handshake is complete may be a replay: it is answered, and makes nothing.
    if names.is_empty() || !call.peer.is_proved().await {
        return refused;
    }
    let new = names.into_iter().map(|name| new_topic(name, -1, Vec::new())).collect();
    create(call, new).await;
    refused
}

/// A topic with the broker's defaults but for these.
pub(crate) fn new_topic(
    name: String,
    partitions: i32,
    settings: Vec<(String, Option<String>)>,
) -> NewTopic {
    NewTopic {
        refused: None,
        id: TopicId::from_random(brooklet_io::entropy::bytes()),
        name,
        partitions,
        replication_factor: -1,
        assignments: Vec::new(),
        settings,
    }
}

/// Creates topics by our own wish. What cannot be created is found missing afterwards.
pub(crate) async fn create(call: &Call, topics: Vec<NewTopic>) {
    if forward::create_topics(&call.context, &topics).await {
        return;
    }
    let decide = move |cluster: &Cluster| create_topics(cluster, &topics, false);
    match call.context.shards.change(decide).await {
        Ok(Ok(results)) => {
            for error in results.iter().filter_map(|result| result.as_ref().err()) {
                tracing::debug!(%error, "create a topic that was asked for");
            }
        }
        Ok(Err(code)) => tracing::warn!(code = code.name(), "create a topic: metadata log"),
        Err(stopping) => tracing::debug!(%stopping, "create a topic"),
    }
}

fn find(
    call: &Call,
    may: &May<'_>,
    refused: &BTreeSet<String>,
    (cluster, nodes): (&Cluster, &Nodes<'_>),
    wanted: &metadata_request::MetadataRequestTopic,
) -> metadata_response::MetadataResponseTopic {
    let id = TopicId::from_wire(wanted.topic_id.to_bytes());
    let found = match (&wanted.name, id) {
        // Where both are given, the id counts.
        (_, Some(id)) if call.version >= IDS_SINCE => {
            let topic = cluster.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId);
            topic.and_then(|topic| {
                may.need_topic(Operation::Describe, topic.name.as_str())?;
                Ok(topic)
            })
        }
        (Some(name), None) if refused.contains(name.as_str()) => {
            Err(ErrorCode::TopicAuthorizationFailed)
        }
        // Who may not see a topic is not told whether it could be one.
        (Some(name), None) if !may.check(Operation::Describe, ResourceType::Topic, name) => {
            Err(ErrorCode::TopicAuthorizationFailed)
        }
        (Some(name), None) => match TopicName::new(name) {
            Err(_) => Err(ErrorCode::InvalidTopicException),
            Ok(_) => cluster.topic(name).ok_or(ErrorCode::UnknownTopicOrPartition),
        },
        (None, _) | (Some(_), Some(_)) => Err(ErrorCode::InvalidRequest),
    };
    match found {
        Ok(topic) => described(topic, nodes, call.version),
        Err(code) => make(|it: &mut metadata_response::MetadataResponseTopic| {
            it.error_code = call.code(code);
            let is_refused = code == ErrorCode::TopicAuthorizationFailed;
            // By id it is not told what a topic is called.
            it.name = wanted.name.clone().filter(|_| !is_refused || id.is_none());
            if it.name.is_none() && call.version < IDS_SINCE {
                it.name = Some("".into());
            }
            let is_internal = wanted
                .name
                .as_ref()
                .is_some_and(|name| TopicName::new(name).is_ok_and(|name| name.is_internal()));
            it.is_internal = is_internal && !is_refused;
            it.topic_id = if id.is_some() { wanted.topic_id } else { Uuid::default() };
            it.topic_authorized_operations = OPERATIONS_UNKNOWN;
        }),
    }
}

fn broker(node: &Node, version: i16) -> metadata_response::MetadataResponseBroker {
    make(|it: &mut metadata_response::MetadataResponseBroker| {
        (it.node_id, it.host, it.port) = (node.id.0, node.host.clone(), node.port);
        it.rack = node.rack.clone().filter(|_| version >= RACKS_SINCE);
    })
}

fn described(
    topic: &Topic,
    nodes: &Nodes<'_>,
    version: i16,
) -> metadata_response::MetadataResponseTopic {
    let partitions = topic.indexed();
    let line = |(index, one): (PartitionIndex, &Partition)| partition(index, one, nodes, version);
    make(|it: &mut metadata_response::MetadataResponseTopic| {
        it.name = Some(topic.name.as_str().into());
        it.topic_id = place::uuid(topic.id);
        it.is_internal = topic.name.is_internal();
        it.topic_authorized_operations = OPERATIONS_UNKNOWN;
        it.partitions = partitions.map(line).collect();
    })
}

/// One partition, with Kafka's errors: the first version leaves out replicas that are not reached, and says that something is
/// missing; the first ones do not tell a leader without the client's listener from none.
fn partition(
    index: PartitionIndex,
    partition: &Partition,
    nodes: &Nodes<'_>,
    version: i16,
) -> metadata_response::MetadataResponsePartition {
    let told = |brokers: &[BrokerId]| -> Vec<i32> {
        let is_told = |id: &&BrokerId| version > 0 || nodes.get(**id).is_some();
        brokers.iter().filter(is_told).map(|broker| broker.0).collect()
    };
    let (replicas, in_sync) = (told(&partition.replicas), told(&partition.in_sync));
    let are_all_told =
        replicas.len() == partition.replicas.len() && in_sync.len() == partition.in_sync.len();
    let leader = nodes.leader(partition);
    let code = match leader {
        Ok(_) if are_all_told => ErrorCode::None,
        Ok(_) => ErrorCode::ReplicaNotAvailable,
        Err(ErrorCode::ListenerNotFound) if version < LISTENERS_SINCE => {
            ErrorCode::LeaderNotAvailable
        }
        Err(code) => code,
    };
    make(|line: &mut metadata_response::MetadataResponsePartition| {
        line.error_code = code.to_wire();
        line.partition_index = index.to_wire();
        line.leader_id = leader.map_or(-1, |leader| leader.0);
        line.leader_epoch = partition.leader_epoch.to_wire();
        (line.replica_nodes, line.isr_nodes) = (replicas, in_sync);
        if version >= OFFLINE_SINCE {
            line.offline_replicas = nodes.offline(partition).into_iter().map(|id| id.0).collect();
        }
    })
}

#[cfg(test)]
mod tests;
