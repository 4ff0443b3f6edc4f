//! ElectLeaders.

use brooklet_meta::decide::election::{ElectionError, ElectionType, TopicElections};
use brooklet_types::ErrorCode;
use brooklet_wire::message::elect_leaders_response::{PartitionResult, ReplicaElectionResult};
use brooklet_wire::message::{ElectLeadersRequest, ElectLeadersResponse, StrBytes, make};

use super::outcome;

/// Partitions by topic.
pub type Named = Vec<(String, Vec<i32>)>;

/// Which election is asked for; none for a number that Kafka gives no meaning. Version 0 has no number: preferred leaders are meant.
pub fn election_type(number: i8) -> Option<ElectionType> {
    match number {
        0 => Some(ElectionType::Preferred),
        1 => Some(ElectionType::Unclean),
        _ => None,
    }
}

/// Where leaders are to be elected; none for everywhere.
pub fn named(request: &ElectLeadersRequest) -> Option<Named> {
    let topics = request.topic_partitions.as_ref()?.iter();
    Some(topics.map(|topic| (topic.topic.to_string(), topic.partitions.clone())).collect())
}

/// What whoever asked for elections is told.
pub fn elected(topics: &[TopicElections]) -> ElectLeadersResponse {
    let partition = |(index, result): &(i32, Result<(), ElectionError>)| {
        make(|it: &mut PartitionResult| {
            it.partition_id = *index;
            (it.error_code, it.error_message) = outcome(result, ElectionError::code);
        })
    };
    let topic = |(name, partitions): &TopicElections| {
        make(|it: &mut ReplicaElectionResult| {
            it.topic = StrBytes::from(name.clone());
            it.partition_result = partitions.iter().map(partition).collect();
        })
    };
    let results = topics.iter().map(topic).collect();
    make(|response: &mut ElectLeadersResponse| response.replica_election_results = results)
}

/// The same error for everything that is asked for, with a text.
pub fn refused(
    request: &ElectLeadersRequest,
    code: ErrorCode,
    message: &str,
) -> ElectLeadersResponse {
    let partition = |index: &i32| {
        make(|it: &mut PartitionResult| {
            (it.partition_id, it.error_code) = (*index, code.to_wire());
            it.error_message = Some(StrBytes::from(message));
        })
    };
    make(|response: &mut ElectLeadersResponse| {
        response.error_code = code.to_wire();
        for asked in request.topic_partitions.iter().flatten() {
            response.replica_election_results.push(make(|it: &mut ReplicaElectionResult| {
                it.topic = asked.topic.clone();
                it.partition_result = asked.partitions.iter().map(partition).collect();
            }));
        }
    })
}
