//! Metadata: who leads what, and topics that come to be by being asked for.
//!
//! **Decides** which topics an answer names and which are created for it. **Invariant**: a request for
//! all topics creates none.
//!
//! Unlike Kafka, which answers UNKNOWN_TOPIC_OR_PARTITION while it creates, we create and then
//! answer: one round trip less, and nothing that a client could be confused by.

use std::collections::BTreeSet;

use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_meta::{Cluster, Topic};
use brooklet_types::{BrokerId, ErrorCode, TopicId, TopicName};
use brooklet_wire::message::{
    MetadataRequest, MetadataResponse, Uuid, make, metadata_request, metadata_response,
};

use super::place;
use crate::context::Call;
use crate::translate::cluster::{OPERATIONS_OF_CLUSTER, OPERATIONS_OF_TOPIC, OPERATIONS_UNKNOWN};

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
    if !all && may_create && call.context.auto_create {
        create_missing(call, wanted).await;
    }
    let cluster = call.cluster();
    let (host, port) = call.address();
    make(|it: &mut MetadataResponse| {
        it.brokers = vec![make(|broker: &mut metadata_response::MetadataResponseBroker| {
            broker.node_id = call.context.node.0;
            broker.host = host;
            broker.port = port;
        })];
        it.cluster_id = Some(call.context.cluster_id.as_str().into());
        it.controller_id = call.context.node.0;
        // Nothing is forbidden to anybody yet.
        let asked = request.include_cluster_authorized_operations;
        it.cluster_authorized_operations =
            if asked { OPERATIONS_OF_CLUSTER } else { OPERATIONS_UNKNOWN };
        it.topics = if all {
            cluster.topics().map(|topic| described(topic)).collect()
        } else {
            let mut seen = BTreeSet::new();
            let once = wanted.iter().filter(|it| seen.insert((&it.name, it.topic_id.to_bytes())));
            once.map(|topic| find(call, &cluster, topic)).collect()
        };
        if request.include_topic_authorized_operations {
            for topic in it.topics.iter_mut().filter(|topic| topic.error_code == 0) {
                topic.topic_authorized_operations = OPERATIONS_OF_TOPIC;
            }
        }
    })
}

async fn create_missing(call: &Call, wanted: &[metadata_request::MetadataRequestTopic]) {
    let cluster = call.cluster();
    let names = wanted.iter().filter_map(|topic| topic.name.as_ref());
    let missing = names.filter(|name| {
        // An internal topic has settings of its own, and is made with them.
        cluster.topic(name).is_none() && TopicName::new(name).is_ok_and(|name| !name.is_internal())
    });
    let mut names: Vec<String> = missing.map(|name| name.to_string()).collect();
    names.sort();
    names.dedup();
    // What comes before a handshake is complete may be a replay: it is answered, and makes nothing.
    if names.is_empty() || !call.peer.is_proved().await {
        return;
    }
    let new = names.into_iter().map(|name| new_topic(name, -1, Vec::new())).collect();
    create(call, new).await;
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
    cluster: &Cluster,
    wanted: &metadata_request::MetadataRequestTopic,
) -> metadata_response::MetadataResponseTopic {
    let id = TopicId::from_wire(wanted.topic_id.to_bytes());
    let found = match (&wanted.name, id) {
        // Where both are given, the id counts.
        (_, Some(id)) if call.version >= IDS_SINCE => {
            cluster.topic_by_id(id).ok_or(ErrorCode::UnknownTopicId)
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
            it.name = wanted.name.clone();
            if it.name.is_none() && call.version < IDS_SINCE {
                it.name = Some("".into());
            }
            it.is_internal = wanted
                .name
                .as_ref()
                .is_some_and(|name| TopicName::new(name).is_ok_and(|name| name.is_internal()));
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
