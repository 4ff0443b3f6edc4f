//! Topics come, grow and go, and are described: CreateTopics, DeleteTopics, CreatePartitions,
//! DescribeTopicPartitions.
//!
//! **Decides** nothing: `meta` does, between the two halves of a translation, and quotas put off what is too much at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_meta::Cluster;
use brooklet_meta::decide::partition::create_partitions as decide_partitions;
use brooklet_meta::decide::topic::{
    CreatedTopic, NewTopic, TopicRef, create_topics, delete_topics,
};
use brooklet_types::{ErrorCode, Operation, ResourceType, TopicId, TopicName};
use brooklet_wire::message::{
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeTopicPartitionsRequest,
    DescribeTopicPartitionsResponse, StrBytes, Uuid, create_partitions_response,
    create_topics_response, delete_topics_response, make,
};

use super::changes::{Changes, exceeded};
use super::{place, plugins};
use crate::context::Call;
use crate::throttle::Throttled;
use crate::translate::{cluster as translate_cluster, topics as translate};

/// Answers CreateTopics.
pub(crate) async fn create(call: &Call, mut request: CreateTopicsRequest) -> CreateTopicsResponse {
    let refused = refuse_creation(call, &mut request);
    let mut response = create_permitted(call, request).await;
    response.topics.extend(refused);
    response
}

/// Takes out of a request what the client may not create, and says what it is told of that.
fn refuse_creation(
    call: &Call,
    request: &mut CreateTopicsRequest,
) -> Vec<create_topics_response::CreatableTopicResult> {
    let may = call.may(&call.cluster());
    if may.sees_cluster(Operation::Create) {
        return Vec::new();
    }
    let clear = named_once(request.topics.iter().map(|topic| &*topic.name));
    let mut refused = Vec::new();
    request.topics.retain(|topic| {
        let permitted = !clear.contains(topic.name.as_str())
            || may.check(Operation::Create, ResourceType::Topic, &topic.name);
        if !permitted {
            refused.push(make(|it: &mut create_topics_response::CreatableTopicResult| {
                it.name = topic.name.clone();
                (it.error_code, it.error_message) = not_authorized(call);
                (it.num_partitions, it.replication_factor) = (-1, -1);
            }));
        }
        permitted
    });
    refused
}

/// The names that occur once. What is named twice is refused for that, whoever asks.
fn named_once<'a>(names: impl Iterator<Item = &'a str>) -> BTreeSet<String> {
    let mut times: BTreeMap<&str, usize> = BTreeMap::new();
    names.for_each(|name| *times.entry(name).or_default() += 1);
    times.into_iter().filter(|(_, times)| *times == 1).map(|(name, _)| name.to_owned()).collect()
}

/// The code and the text for a topic that is not the client's.
fn not_authorized(call: &Call) -> (i16, Option<StrBytes>) {
    let code = ErrorCode::TopicAuthorizationFailed;
    (call.code(code), Some(code.message().into()))
}

/// What a topic's settings are is told to who may know it.
fn hide_settings(call: &Call, cluster: &Cluster, response: &mut CreateTopicsResponse) {
    let may = call.may(cluster);
    for topic in response.topics.iter_mut().filter(|topic| topic.error_code == 0) {
        if !may.sees(Operation::DescribeConfigs, ResourceType::Topic, &topic.name) {
            topic.topic_config_error_code = ErrorCode::TopicAuthorizationFailed.to_wire();
            topic.configs = Some(Vec::new());
            (topic.num_partitions, topic.replication_factor) = (-1, -1);
        }
    }
}

async fn create_permitted(call: &Call, mut request: CreateTopicsRequest) -> CreateTopicsResponse {
    let mut topics =
        translate::new_topics(&request, || TopicId::from_random(brooklet_io::entropy::bytes()));
    for topic in &mut topics {
        topic.refused = plugins::check_new(call, topic).await.err();
    }
    let (put_off, wait) = put_off_creation(call, &mut request, &mut topics);
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| create_topics(cluster, &topics, validate_only);
    let mut response = match call.change(decide).await {
        Ok(results) => {
            let cluster = call.cluster();
            let mut response = translate::created(&request, &cluster, call.context.node, &results);
            hide_settings(call, &cluster, &mut response);
            response
        }
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
    };
    response.topics.extend(put_off);
    response.tell(wait);
    response
}

/// Takes out of a request the topics that have too many partitions for now, and says what the client is told of them, and how long it
/// waits.
fn put_off_creation(
    call: &Call,
    request: &mut CreateTopicsRequest,
    topics: &mut Vec<NewTopic>,
) -> (Vec<create_topics_response::CreatableTopicResult>, Duration) {
    /// The first version that knows the error.
    const STRICT_SINCE: i16 = 6;
    let Some(mut changes) = Changes::of(call, STRICT_SINCE) else {
        return (Vec::new(), Duration::ZERO);
    };
    let results = create_topics(&call.cluster(), topics, request.validate_only).reply;
    let may = |result: &Result<CreatedTopic, _>| match result {
        Ok(created) => changes.may(created.topic.partitions.len()),
        Err(_) => true,
    };
    let kept: Vec<bool> = results.iter().map(may).collect();
    let mut put_off = Vec::new();
    for (topic, _) in request.topics.iter().zip(&kept).filter(|(_, kept)| !**kept) {
        put_off.push(make(|it: &mut create_topics_response::CreatableTopicResult| {
            it.name = topic.name.clone();
            (it.error_code, it.error_message) = exceeded(call);
            (it.num_partitions, it.replication_factor) = (-1, -1);
        }));
    }
    retain_where(&mut request.topics, &kept);
    retain_where(topics, &kept);
    (put_off, changes.settle())
}

/// Keeps those that `kept` says.
fn retain_where<T>(all: &mut Vec<T>, kept: &[bool]) {
    let mut kept = kept.iter();
    all.retain(|_| kept.next().is_none_or(|kept| *kept));
}

/// Answers DeleteTopics.
pub(crate) async fn delete(call: &Call, request: DeleteTopicsRequest) -> DeleteTopicsResponse {
    let mut topics = translate::doomed_topics(&request);
    let refused = refuse_deletion(call, &mut topics);
    let (put_off, wait) = put_off_deletion(call, &mut topics);
    let doomed = topics.clone();
    let decide = move |cluster: &Cluster| delete_topics(cluster, &doomed);
    let mut response = match call.change(decide).await {
        Ok(results) => {
            let mut response = translate::deleted(&topics, &results);
            response.responses.extend(refused);
            response.responses.extend(put_off);
            response
        }
        Err(code) => refused_deletion(call, &request, code),
    };
    response.tell(wait);
    response
}

/// Takes out the topics that have too many partitions for now, and says what the client is told of them, and how long it waits.
fn put_off_deletion(
    call: &Call,
    topics: &mut Vec<TopicRef>,
) -> (Vec<delete_topics_response::DeletableTopicResult>, Duration) {
    /// The first version that knows the error.
    const STRICT_SINCE: i16 = 5;
    let Some(mut changes) = Changes::of(call, STRICT_SINCE) else {
        return (Vec::new(), Duration::ZERO);
    };
    let cluster = call.cluster();
    let mut put_off = Vec::new();
    let may = |result: Result<(TopicName, TopicId), _>| {
        let Ok((name, id)) = result else { return true };
        let partitions = cluster.topic_by_id(id).map_or(0, |topic| topic.partitions.len());
        let may = changes.may(partitions);
        if !may {
            put_off.push(make(|it: &mut delete_topics_response::DeletableTopicResult| {
                it.name = Some(name.to_string().into());
                it.topic_id = place::uuid(id);
                (it.error_code, it.error_message) = exceeded(call);
            }));
        }
        may
    };
    let kept: Vec<bool> = delete_topics(&cluster, topics).reply.into_iter().map(may).collect();
    retain_where(topics, &kept);
    (put_off, changes.settle())
}

/// Takes out what the client may not delete, and says what it is told of that: a topic's name only if it may know it.
fn refuse_deletion(
    call: &Call,
    topics: &mut Vec<TopicRef>,
) -> Vec<delete_topics_response::DeletableTopicResult> {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let mut refused = Vec::new();
    topics.retain(|topic| {
        let (name, id) = match topic {
            TopicRef::Name(name) => (name.as_str(), None),
            TopicRef::Id(id) => match cluster.topic_by_id(*id) {
                Some(topic) => (topic.name.as_str(), Some(*id)),
                None => return true,
            },
            TopicRef::Unclear { .. } => return true,
        };
        let permitted = may.check(Operation::Delete, ResourceType::Topic, name);
        if !permitted {
            let is_told = id.is_none() || may.sees(Operation::Describe, ResourceType::Topic, name);
            refused.push(make(|it: &mut delete_topics_response::DeletableTopicResult| {
                it.name = is_told.then(|| name.into());
                it.topic_id = id.map_or(Uuid::default(), place::uuid);
                (it.error_code, it.error_message) = not_authorized(call);
            }));
        }
        permitted
    });
    refused
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
    mut request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let may = call.may(&call.cluster());
    let clear = named_once(request.topics.iter().map(|topic| &*topic.name));
    let mut refused = Vec::new();
    request.topics.retain(|topic| {
        let permitted = !clear.contains(topic.name.as_str())
            || may.check(Operation::Alter, ResourceType::Topic, &topic.name);
        if !permitted {
            refused.push(make(
                |it: &mut create_partitions_response::CreatePartitionsTopicResult| {
                    it.name = topic.name.clone();
                    it.error_code = call.code(ErrorCode::TopicAuthorizationFailed);
                },
            ));
        }
        permitted
    });
    let mut response = create_permitted_partitions(call, request).await;
    response.results.extend(refused);
    response
}

async fn create_permitted_partitions(
    call: &Call,
    mut request: CreatePartitionsRequest,
) -> CreatePartitionsResponse {
    let (put_off, wait) = put_off_partitions(call, &mut request);
    let topics = translate::larger_topics(&request);
    let validate_only = request.validate_only;
    let decide = move |cluster: &Cluster| decide_partitions(cluster, &topics, validate_only);
    let mut response = match call.change(decide).await {
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
    };
    response.results.extend(put_off);
    response.tell(wait);
    response
}

/// Takes out of a request the topics that get too many partitions for now, and says what the client is told of them, and how long it
/// waits.
fn put_off_partitions(
    call: &Call,
    request: &mut CreatePartitionsRequest,
) -> (Vec<create_partitions_response::CreatePartitionsTopicResult>, Duration) {
    /// The first version that knows the error.
    const STRICT_SINCE: i16 = 3;
    let Some(mut changes) = Changes::of(call, STRICT_SINCE) else {
        return (Vec::new(), Duration::ZERO);
    };
    let cluster = call.cluster();
    let topics = translate::larger_topics(request);
    let mut results = decide_partitions(&cluster, &topics, true).reply.into_iter();
    let mut put_off = Vec::new();
    request.topics.retain(|topic| {
        if !matches!(results.next(), Some(Ok(()))) {
            return true;
        }
        let now = cluster.topic(&topic.name).map_or(0, |topic| topic.partitions.len());
        let total = usize::try_from(topic.count).unwrap_or(0);
        let may = changes.may(total.saturating_sub(now));
        if !may {
            put_off.push(make(
                |it: &mut create_partitions_response::CreatePartitionsTopicResult| {
                    it.name = topic.name.clone();
                    (it.error_code, it.error_message) = exceeded(call);
                },
            ));
        }
        may
    });
    (put_off, changes.settle())
}

/// Answers DescribeTopicPartitions.
pub(crate) async fn describe_partitions(
    call: &Call,
    request: DescribeTopicPartitionsRequest,
) -> DescribeTopicPartitionsResponse {
    let cluster = call.cluster();
    let may = call.may(&cluster);
    let named = !request.topics.is_empty();
    let seen = |name: &str| match named {
        true => may.check(Operation::Describe, ResourceType::Topic, name),
        false => may.sees(Operation::Describe, ResourceType::Topic, name),
    };
    let operations = |name: &str| may.operations(ResourceType::Topic, name);
    let nodes = call.nodes(&cluster);
    translate_cluster::topic_partitions(&request, (&cluster, &nodes), seen, operations)
}
