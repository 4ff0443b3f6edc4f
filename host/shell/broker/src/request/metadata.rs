//! Metadata: who leads what, and topics that come to be by being asked for.
//!
//! **Decides** which topics an answer names and which are created for it. **Invariant**: a request for
//! all topics creates none.
//!
//! Unlike Kafka, which answers UNKNOWN_TOPIC_OR_PARTITION while it creates, we create and then
//! answer: one round trip less, and nothing that a client could be confused by.

use std::collections::BTreeSet;
use std::sync::Arc;

use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_meta::{Cluster, Topic};
use brooklet_types::permission::CLUSTER_NAME;
use brooklet_types::{BrokerId, ErrorCode, Operation, ResourceType, TopicId, TopicName};
use brooklet_wire::message::{
    MetadataRequest, MetadataResponse, Uuid, make, metadata_request, metadata_response,
};

use super::place;
use crate::access::May;
use crate::context::Call;
use crate::translate::cluster::OPERATIONS_UNKNOWN;

/// From here on null means all topics; before, an empty list did.
const NULL_IS_ALL_SINCE: i16 = 1;
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
    let (host, port) = call.address();
    make(|it: &mut MetadataResponse| {
        it.brokers = vec![make(|broker: &mut metadata_response::MetadataResponseBroker| {
            broker.node_id = call.context.node.0;
            broker.host = host;
            broker.port = port;
        })];
        it.cluster_id = Some(call.context.cluster_id.as_str().into());
        it.controller_id = call.context.node.0;
        let asked = request.include_cluster_authorized_operations;
        it.cluster_authorized_operations =
            if asked { operations_of_cluster(&may) } else { OPERATIONS_UNKNOWN };
        it.topics = if all {
            let seen = |topic: &&Arc<Topic>| {
                may.sees(Operation::Describe, ResourceType::Topic, topic.name.as_str())
            };
            cluster.topics().filter(seen).map(|topic| described(topic)).collect()
        } else {
            let mut seen = BTreeSet::new();
            let once = wanted.iter().filter(|it| seen.insert((&it.name, it.topic_id.to_bytes())));
            once.map(|topic| find(call, &may, &refused, &cluster, topic)).collect()
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
    cluster: &Cluster,
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
        Ok(topic) => described(topic),
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

fn described(topic: &Topic) -> metadata_response::MetadataResponseTopic {
    let ids = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    make(|it: &mut metadata_response::MetadataResponseTopic| {
        it.name = Some(topic.name.as_str().into());
        it.topic_id = place::uuid(topic.id);
        it.is_internal = topic.name.is_internal();
        it.topic_authorized_operations = OPERATIONS_UNKNOWN;
        for (index, partition) in topic.indexed() {
            it.partitions.push(make(|line: &mut metadata_response::MetadataResponsePartition| {
                if partition.leader.is_none() {
                    line.error_code = ErrorCode::LeaderNotAvailable.to_wire();
                }
                line.partition_index = index.to_wire();
                line.leader_id = partition.leader.map_or(-1, |leader| leader.0);
                line.leader_epoch = partition.leader_epoch.to_wire();
                line.replica_nodes = ids(&partition.replicas);
                line.isr_nodes = ids(&partition.in_sync);
            }));
        }
    })
}
