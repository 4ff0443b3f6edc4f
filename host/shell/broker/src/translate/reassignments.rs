//! AlterPartitionReassignments and ListPartitionReassignments.

use brooklet_meta::decide::reassignment::{ReassignError, Reassignment, TopicMoved, TopicMoves};
use brooklet_types::{BrokerId, ErrorCode, TopicId};
use brooklet_wire::message::alter_partition_reassignments_response::{
    ReassignablePartitionResponse, ReassignableTopicResponse,
};
use brooklet_wire::message::list_partition_reassignments_response::{
    OngoingPartitionReassignment, OngoingTopicReassignment,
};
use brooklet_wire::message::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse, StrBytes, make,
};

use super::outcome;

/// Which partitions are to go where; no list of replicas ends a move.
pub fn moves(request: &AlterPartitionReassignmentsRequest) -> Vec<TopicMoves> {
    let topics = request.topics.iter().map(|topic| {
        let partitions = topic.partitions.iter();
        let moves = partitions.map(|one| (one.partition_index, one.replicas.clone()));
        (topic.name.to_string(), moves.collect())
    });
    topics.collect()
}

/// What whoever moves partitions is told.
pub fn moved(
    request: &AlterPartitionReassignmentsRequest,
    topics: &[TopicMoved],
) -> AlterPartitionReassignmentsResponse {
    let partition = |(index, result): &(i32, Result<(), ReassignError>)| {
        make(|it: &mut ReassignablePartitionResponse| {
            it.partition_index = *index;
            (it.error_code, it.error_message) = outcome(result, ReassignError::code);
            // Kafka has nothing to add to this one.
            it.error_message.take_if(|_| *result == Err(ReassignError::NotMoving));
        })
    };
    let topic = |(name, partitions): &TopicMoved| {
        make(|it: &mut ReassignableTopicResponse| {
            it.name = StrBytes::from(name.clone());
            it.partitions = partitions.iter().map(partition).collect();
        })
    };
    let responses: Vec<_> = topics.iter().map(topic).collect();
    make(|response: &mut AlterPartitionReassignmentsResponse| {
        // Where nothing is asked for, Kafka fills in nothing.
        if !responses.is_empty() {
            response.allow_replication_factor_change = request.allow_replication_factor_change;
            response.error_message = None;
        }
        response.responses = responses;
    })
}

/// The same error for everything that is to be moved.
pub fn refused(
    request: &AlterPartitionReassignmentsRequest,
    code: ErrorCode,
) -> AlterPartitionReassignmentsResponse {
    let message = Some(StrBytes::from(code.message()));
    let partition = |index: i32| {
        make(|it: &mut ReassignablePartitionResponse| {
            (it.partition_index, it.error_code) = (index, code.to_wire());
            it.error_message = message.clone();
        })
    };
    make(|response: &mut AlterPartitionReassignmentsResponse| {
        response.error_code = code.to_wire();
        response.error_message = message.clone();
        for asked in &request.topics {
            let indexes = asked.partitions.iter().map(|one| one.partition_index);
            response.responses.push(make(|it: &mut ReassignableTopicResponse| {
                it.name = asked.name.clone();
                it.partitions = indexes.map(partition).collect();
            }));
        }
    })
}

/// Which partitions are asked about; none for all.
pub fn named(request: &ListPartitionReassignmentsRequest) -> Option<Vec<(String, Vec<i32>)>> {
    let topics = request.topics.as_ref()?.iter();
    Some(topics.map(|topic| (topic.name.to_string(), topic.partition_indexes.clone())).collect())
}

/// The moves under way, as they are told.
pub fn listed(
    topics: Vec<(TopicId, String, Vec<Reassignment>)>,
) -> ListPartitionReassignmentsResponse {
    let numbers = |brokers: &[BrokerId]| brokers.iter().map(|broker| broker.0).collect();
    let partition = |one: &Reassignment| {
        make(|it: &mut OngoingPartitionReassignment| {
            it.partition_index = one.partition.to_wire();
            it.replicas = numbers(&one.replicas);
            it.adding_replicas = numbers(&one.adding);
            it.removing_replicas = numbers(&one.removing);
        })
    };
    let topics = topics.into_iter().map(|(_, name, moves)| {
        make(|it: &mut OngoingTopicReassignment| {
            it.name = StrBytes::from(name);
            it.partitions = moves.iter().map(partition).collect();
        })
    });
    let topics = topics.collect();
    make(|response: &mut ListPartitionReassignmentsResponse| {
        response.error_message = None;
        response.topics = topics;
    })
}

/// An error, with what was asked about, of which nothing is told.
pub fn not_listed(
    request: &ListPartitionReassignmentsRequest,
    code: ErrorCode,
) -> ListPartitionReassignmentsResponse {
    let partition =
        |index: &i32| make(|it: &mut OngoingPartitionReassignment| it.partition_index = *index);
    make(|response: &mut ListPartitionReassignmentsResponse| {
        response.error_code = code.to_wire();
        response.error_message = Some(StrBytes::from(code.message()));
        for asked in request.topics.iter().flatten() {
            response.topics.push(make(|it: &mut OngoingTopicReassignment| {
                it.name = asked.name.clone();
                it.partitions = asked.partition_indexes.iter().map(partition).collect();
            }));
        }
    })
}
