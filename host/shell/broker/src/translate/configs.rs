//! DescribeConfigs, IncrementalAlterConfigs and AlterConfigs.

use brooklet_meta::Cluster;
use brooklet_meta::decide::setting::{AlterError, Alteration, Operation, Resource};
use brooklet_meta::decide::topic::name_message;
use brooklet_meta::setting::{
    Described, describe_broker, describe_broker_defaults, describe_topic,
};
use brooklet_types::{BrokerId, ErrorCode, ResourceType, TopicName};
use brooklet_wire::message::{
    DescribeConfigsRequest, DescribeConfigsResponse, StrBytes,
    describe_configs_request::DescribeConfigsResource,
    describe_configs_response::{
        DescribeConfigsResourceResult, DescribeConfigsResult, DescribeConfigsSynonym,
    },
    make,
};

/// Kafka's number for a topic's settings.
const TOPIC: i8 = 2;
/// Kafka's number for a broker's settings.
const BROKER: i8 = 4;
/// Kafka's numbers for what else is the cluster's.
const BROKER_LOGGER: i8 = 8;
const CLIENT_METRICS: i8 = 16;

/// What rules protect the settings of: a topic's, or those of whatever belongs to the cluster. None for a kind that
/// nobody knows.
pub fn protected(kind: i8) -> Option<ResourceType> {
    match kind {
        TOPIC => Some(ResourceType::Topic),
        BROKER | BROKER_LOGGER | CLIENT_METRICS => Some(ResourceType::Cluster),
        _ => None,
    }
}

/// Whose settings are meant; none for a kind that this broker has no settings of.
pub fn resource(kind: i8, name: &str) -> Option<Resource> {
    match kind {
        TOPIC => Some(Resource::Topic(name.to_owned())),
        BROKER => Some(Resource::Broker(name.to_owned())),
        _ => None,
    }
}

/// One change of an IncrementalAlterConfigs; none for an operation that Kafka does not know.
pub fn alteration(name: &str, operation: i8, value: Option<&str>) -> Option<Alteration> {
    let operation = match operation {
        0 => Operation::Set,
        1 => Operation::Delete,
        2 => Operation::Append,
        3 => Operation::Subtract,
        _ => return None,
    };
    Some(Alteration { name: name.to_owned(), operation, value: value.map(str::to_owned) })
}

/// The code and the text of a change, as both alter responses carry them.
pub fn altered(result: &Result<(), AlterError>) -> (i16, Option<StrBytes>) {
    super::outcome(result, AlterError::code)
}

/// Answers a DescribeConfigs, of the resources that are `permitted`. Nothing waits: the cluster is at hand.
pub fn describe(
    request: &DescribeConfigsRequest,
    cluster: &Cluster,
    this: BrokerId,
    permitted: impl Fn(i8, &str) -> Result<(), ErrorCode>,
) -> DescribeConfigsResponse {
    let results = request.resources.iter().map(|wanted| {
        let found = match permitted(wanted.resource_type, &wanted.resource_name) {
            Ok(()) => find(wanted, cluster, this),
            Err(code) => Err((code, code.message().to_owned())),
        };
        make(|answer: &mut DescribeConfigsResult| {
            answer.resource_type = wanted.resource_type;
            answer.resource_name = wanted.resource_name.clone();
            match found {
                Ok(settings) => {
                    let asked = settings.into_iter().filter(|one| is_asked_for(wanted, one));
                    answer.configs = asked.map(|one| described(request, one)).collect();
                }
                Err((code, message)) => {
                    answer.error_code = code.to_wire();
                    answer.error_message = Some(StrBytes::from(message));
                }
            }
        })
    });
    let results = results.collect();
    make(|response: &mut DescribeConfigsResponse| response.results = results)
}

fn find(
    wanted: &DescribeConfigsResource,
    cluster: &Cluster,
    this: BrokerId,
) -> Result<Vec<Described>, (ErrorCode, String)> {
    let name = wanted.resource_name.to_string();
    match resource(wanted.resource_type, &name) {
        Some(Resource::Topic(name)) => {
            let checked = TopicName::new(&name)
                .map_err(|error| (ErrorCode::InvalidTopicException, name_message(&name, &error)))?;
            let unknown = ErrorCode::UnknownTopicOrPartition;
            let topic = cluster.topic(checked.as_str());
            let topic = topic.ok_or_else(|| (unknown, unknown.message().to_owned()))?;
            Ok(describe_topic(cluster, this, topic))
        }
        Some(Resource::Broker(name)) if name.is_empty() => Ok(describe_broker_defaults(cluster)),
        Some(Resource::Broker(name)) => match name.parse() {
            Ok(id) if BrokerId(id) == this => Ok(describe_broker(cluster, this)),
            Ok(id) => {
                let message = format!("Unexpected broker id, expected {this} but received {id}");
                Err((ErrorCode::InvalidRequest, message))
            }
            Err(_) => {
                let message = format!("Broker id must be an integer, but it is: {name}");
                Err((ErrorCode::InvalidRequest, message))
            }
        },
        None => {
            let message = format!("Unsupported resource type: {}", wanted.resource_type);
            Err((ErrorCode::InvalidRequest, message))
        }
    }
}

/// No list of keys, like an empty one, asks for everything.
fn is_asked_for(wanted: &DescribeConfigsResource, one: &Described) -> bool {
    match &wanted.configuration_keys {
        Some(keys) if !keys.is_empty() => keys.iter().any(|key| &**key == one.setting.name),
        Some(_) | None => true,
    }
}

fn described(request: &DescribeConfigsRequest, one: Described) -> DescribeConfigsResourceResult {
    make(|answer: &mut DescribeConfigsResourceResult| {
        answer.name = StrBytes::from(one.setting.name.to_owned());
        answer.read_only = one.is_read_only();
        answer.config_source = one.source.to_wire();
        answer.config_type = one.setting.kind.to_wire();
        let documented = request.include_documentation.then(|| one.documentation());
        answer.documentation = documented.map(|text| StrBytes::from(text.into_owned()));
        let told = |value: &str| StrBytes::from(one.setting.kind.told(value));
        answer.value = one.value.as_deref().map(told);
        if request.include_synonyms {
            let synonyms = one.synonyms.into_iter().map(|synonym| {
                make(|answer: &mut DescribeConfigsSynonym| {
                    answer.name = StrBytes::from(synonym.name.to_owned());
                    answer.value = Some(told(&synonym.value));
                    answer.source = synonym.source.to_wire();
                })
            });
            answer.synonyms = synonyms.collect();
        }
    })
}
