//! CreateTopics, DeleteTopics and CreatePartitions.

use std::collections::BTreeSet;

use brooklet_meta::Cluster;
use brooklet_meta::decide::partition::{CreatePartitionsError, MorePartitions};
use brooklet_meta::decide::topic::{
    CreateTopicError, CreatedTopic, DeleteTopicError, NewTopic, TopicRef,
};
use brooklet_meta::setting::describe_topic;
use brooklet_types::{BrokerId, TopicId, TopicName};
use brooklet_wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, StrBytes, Uuid, create_partitions_response,
    create_topics_response, delete_topics_response, make,
};

use super::outcome;

/// The topics a CreateTopics asks for. Each gets an id from `next_id`, used or not.
pub fn new_topics(
    request: &CreateTopicsRequest,
    mut next_id: impl FnMut() -> TopicId,
) -> Vec<NewTopic> {
    let topics = request.topics.iter().map(|topic| {
        let assignments = topic.assignments.iter();
        let settings = topic.configs.iter();
        NewTopic {
            id: next_id(),
            name: topic.name.to_string(),
            partitions: topic.num_partitions,
            replication_factor: topic.replication_factor,
            assignments: assignments
                .map(|one| (one.partition_index, one.broker_ids.clone()))
                .collect(),
            settings: settings
                .map(|one| (one.name.to_string(), one.value.as_ref().map(ToString::to_string)))
                .collect(),
            refused: None,
        }
    });
    topics.collect()
}

/// What the creator of topics is told: of a topic that is named twice, once. Version 5 and later carry the settings, which are those of
/// `cluster` with the topic's own on top.
pub fn created(
    request: &CreateTopicsRequest,
    cluster: &Cluster,
    this: BrokerId,
    results: &[Result<CreatedTopic, CreateTopicError>],
) -> CreateTopicsResponse {
    let mut named = BTreeSet::new();
    let once = request.topics.iter().zip(results).filter(|(topic, _)| named.insert(&topic.name));
    let topics = once.map(|(topic, result)| {
        make(|answer: &mut create_topics_response::CreatableTopicResult| {
            answer.name = topic.name.clone();
            (answer.error_code, answer.error_message) = outcome(result, CreateTopicError::code);
            match result {
                Ok(created) => {
                    answer.topic_id = Uuid::from_bytes(created.topic.id.0);
                    let count = created.topic.partitions.len();
                    answer.num_partitions = i32::try_from(count).expect("partitions are limited");
                    answer.replication_factor = created.replication_factor();
                    answer.configs = Some(settings(cluster, this, created));
                }
                Err(_) => {
                    answer.num_partitions = -1;
                    answer.replication_factor = -1;
                }
            }
        })
    });
    let topics = topics.collect();
    make(|response: &mut CreateTopicsResponse| response.topics = topics)
}

fn settings(
    cluster: &Cluster,
    this: BrokerId,
    created: &CreatedTopic,
) -> Vec<create_topics_response::CreatableTopicConfigs> {
    let described = describe_topic(cluster, this, &created.topic).into_iter();
    let settings = described.map(|one| {
        make(|answer: &mut create_topics_response::CreatableTopicConfigs| {
            answer.name = StrBytes::from(one.setting.name.to_owned());
            answer.read_only = one.is_read_only();
            answer.config_source = one.source.to_wire();
            answer.value = one.value.map(StrBytes::from);
        })
    });
    settings.collect()
}

/// The topics a DeleteTopics names: by name up to version 5, by either later.
pub fn doomed_topics(request: &DeleteTopicsRequest) -> Vec<TopicRef> {
    let names = request.topic_names.iter().map(|name| TopicRef::Name(name.to_string()));
    let states = request.topics.iter().map(|topic| {
        match (&topic.name, TopicId::from_wire(*topic.topic_id.as_bytes())) {
            (Some(name), None) => TopicRef::Name(name.to_string()),
            (None, Some(id)) => TopicRef::Id(id),
            (name, id) => TopicRef::Unclear { name: name.as_ref().map(ToString::to_string), id },
        }
    });
    names.chain(states).collect()
}

/// What the deleter of topics is told.
pub fn deleted(
    topics: &[TopicRef],
    results: &[Result<(TopicName, TopicId), DeleteTopicError>],
) -> DeleteTopicsResponse {
    let mut named = BTreeSet::new();
    let once = topics.iter().zip(results).filter(|(topic, _)| named.insert(*topic));
    let responses = once.map(|(topic, result)| {
        make(|answer: &mut delete_topics_response::DeletableTopicResult| {
            (answer.error_code, answer.error_message) = outcome(result, DeleteTopicError::code);
            match (result, topic) {
                (Ok((name, id)), _) => {
                    answer.name = Some(StrBytes::from(name.to_string()));
                    answer.topic_id = Uuid::from_bytes(id.0);
                }
                (Err(_), TopicRef::Name(name)) => {
                    answer.name = Some(StrBytes::from(name.clone()));
                }
                (Err(_), TopicRef::Id(id)) => {
                    answer.name = None;
                    answer.topic_id = Uuid::from_bytes(id.0);
                }
                (Err(_), TopicRef::Unclear { name, id }) => {
                    answer.name = name.clone().map(StrBytes::from);
                    answer.topic_id = id.map_or(Uuid::default(), |id| Uuid::from_bytes(id.0));
                }
            }
        })
    });
    let responses = responses.collect();
    make(|response: &mut DeleteTopicsResponse| response.responses = responses)
}

/// The topics a CreatePartitions wants to be larger.
pub fn larger_topics(request: &CreatePartitionsRequest) -> Vec<MorePartitions> {
    let topics = request.topics.iter().map(|topic| MorePartitions {
        name: topic.name.to_string(),
        total: topic.count,
        assignments: topic
            .assignments
            .as_ref()
            .map(|all| all.iter().map(|one| one.broker_ids.clone()).collect()),
    });
    topics.collect()
}

/// What whoever wanted larger topics is told.
pub fn enlarged(
    request: &CreatePartitionsRequest,
    results: &[Result<(), CreatePartitionsError>],
) -> CreatePartitionsResponse {
    let mut named = BTreeSet::new();
    let once = request.topics.iter().zip(results).filter(|(topic, _)| named.insert(&topic.name));
    let results = once.map(|(topic, result)| {
        make(|answer: &mut create_partitions_response::CreatePartitionsTopicResult| {
            answer.name = topic.name.clone();
            (answer.error_code, answer.error_message) =
                outcome(result, CreatePartitionsError::code);
        })
    });
    let results = results.collect();
    make(|response: &mut CreatePartitionsResponse| response.results = results)
}
