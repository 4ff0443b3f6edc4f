//! Topics come, grow and go, and are described: CreateTopics, DeleteTopics, CreatePartitions,
//! DescribeTopicPartitions.
//!
//! **Decides** nothing: `meta` does, between the two halves of a translation.

use brooklet_meta::Cluster;
use brooklet_meta::decide::partition::create_partitions as decide_partitions;
use brooklet_meta::decide::topic::{create_topics, delete_topics};
use brooklet_types::{ErrorCode, TopicId};
use brooklet_wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, create_partitions_response, create_topics_response,
    delete_topics_response, make,
};

use super::plugins;
use crate::context::Call;
use crate::translate::{cluster as translate_cluster, topics as translate};

/// Answers CreateTopics.
pub(crate) async fn create(call: &Call, request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut topics =
        translate::new_topics(&request, || TopicId::from_random(brooklet_io::entropy::bytes()));
    for topic in &mut topics {
        topic.refused = plugins::check_new(call, topic).await.err();
    }
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| create_topics(cluster, &topics, validate_only);
    match call.change(decide).await {
        Ok(results) => translate::created(&request, &call.cluster(), call.context.node, &results),
        Err(code) => make(|response: &mut CreateTopicsResponse| {
            response.topics = request
                .topics
                .iter()
                .map(|topic| {
                    make(|it: &mut create_topics_response::CreatableTopicResult| {
                        it.name = topic.name.clone();
                        it.error_code = call.code(code);
                    })
                })
                .collect();
        }),
    }
}

/// Answers DeleteTopics.
pub(crate) async fn delete(call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let topics = translate::doomed_topics(&request);
    let doomed = topics.clone();
    let decide = move |cluster: &Cluster| delete_topics(cluster, &doomed);
    match call.change(decide).await {
        Ok(results) => translate::deleted(&topics, &results),
        Err(code) => refused_deletion(call, &request, code),
    }
}

fn refused_deletion(
    call: &Call,
    request: &DeleteTopicsRequest,
    code: ErrorCode,
) -> DeleteTopicsResponse {
    let names = request.topic_names.iter().map(|name| (Some(name.clone()), Default::default()));
    let states = request.topics.iter().map(|topic| (topic.name.clone(), topic.topic_id));
    make(|response: &mut DeleteTopicsResponse| {
        for (name, id) in names.chain(states) {
            response.responses.push(make(
                |it: &mut delete_topics_response::DeletableTopicResult| {
                    it.name = name;
                    it.topic_id = id;
                    it.error_code = call.code(code);
                },
            ));
        }
    })
}

/// Answers CreatePartitions.
pub(crate) async fn create_partitions(
    call: &Call,
    request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let topics = translate::larger_topics(&request);
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| decide_partitions(cluster, &topics, validate_only);
    match call.change(decide).await {
        Ok(results) => translate::enlarged(&request, &results),
        Err(code) => make(|response: &mut CreatePartitionsResponse| {
            for topic in &request.topics {
                response.results.push(make(
                    |it: &mut create_partitions_response::CreatePartitionsTopicResult| {
                        it.name = topic.name.clone();
                        it.error_code = call.code(code);
                    },
                ));
            }
        }),
    }
}

/// Answers DescribeTopicPartitions.
pub(crate) async fn describe_partitions(
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    translate_cluster::topic_partitions(&request, &call.cluster())
}
