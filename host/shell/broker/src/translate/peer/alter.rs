//! AlterPartition: a leader asks the controller for other in-sync sets.
//!
//! Answers find what was asked by their partition. A response that has an error as a whole answers none of it: it is
//! asked again, of whoever is the controller by then, as Kafka's `AlterPartitionManager` does.

use std::collections::{BTreeMap, VecDeque};

use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::decide::alter_partition::{AlterPartition, AlterPartitionReply};
use brooklet_meta::partition::{LeaderRecovery, Partition, PartitionEpoch};
use brooklet_shard::input::AlterAnswer;
use brooklet_shard::output::Alter;
use brooklet_shard::{self as shard, Altered};
use brooklet_types::{BrokerId, ErrorCode, TopicPartition};
use brooklet_wire::message::{
    AlterPartitionRequest, AlterPartitionResponse, Uuid, alter_partition_request as request,
    alter_partition_response as response, make,
};

use super::{
    Malformed, broker, broker_epoch, error, leader_epoch, number, partition_index,
    raw_broker_epoch, topic,
};

/// Kafka's "that member has not said which registration it is of".
const EPOCH_UNKNOWN: i64 = -1;

/// What a leader asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Asked {
    /// Who.
    pub broker: BrokerId,
    /// By which registration.
    pub epoch: BrokerEpoch,
    /// Which sets, in its order.
    pub wanted: Vec<AlterPartition>,
}

/// The request.
pub fn ask(broker: BrokerId, epoch: BrokerEpoch, wanted: &[Alter]) -> AlterPartitionRequest {
    make(|it: &mut AlterPartitionRequest| {
        it.broker_id = broker.0;
        it.broker_epoch = raw_broker_epoch(epoch);
        for Alter { wanted, .. } in wanted {
            let topic_id = Uuid::from_bytes(wanted.topic.0);
            // In the order asked: only neighbours share a topic.
            if it.topics.last().is_none_or(|last| last.topic_id != topic_id) {
                it.topics.push(make(|topic: &mut request::TopicData| topic.topic_id = topic_id));
            }
            let topic = it.topics.last_mut().expect("there is at least the one that was added");
            topic.partitions.push(partition(wanted));
        }
    })
}

/// Reads the request.
///
/// # Errors
/// If a number in it is none. Whether a set may be is `meta`'s to say.
pub fn asked(request: &AlterPartitionRequest) -> Result<Asked, Malformed> {
    let mut wanted = Vec::new();
    for topic_data in &request.topics {
        let topic = topic("topic_id", topic_data.topic_id)?;
        for data in &topic_data.partitions {
            let recovery = LeaderRecovery::from_wire(data.leader_recovery_state);
            let in_sync: Result<Vec<_>, Malformed> =
                data.new_isr_with_epochs.iter().map(member).collect();
            wanted.push(AlterPartition {
                topic,
                partition: partition_index("partition_index", data.partition_index)?,
                leader_epoch: leader_epoch("leader_epoch", data.leader_epoch)?,
                epoch: partition_epoch(data.partition_epoch)?,
                in_sync: in_sync?,
                recovery: recovery
                    .ok_or_else(|| number("leader_recovery_state", data.leader_recovery_state))?,
            });
        }
    }
    Ok(Asked {
        broker: broker("broker_id", request.broker_id)?,
        epoch: broker_epoch("broker_epoch", request.broker_epoch)?,
        wanted,
    })
}

/// The response to what was `wanted`: of each what came of it, or one error for all.
pub fn answer(
    wanted: &[AlterPartition],
    outcome: Result<&AlterPartitionReply, ErrorCode>,
) -> AlterPartitionResponse {
    make(|it: &mut AlterPartitionResponse| {
        let outcomes = match outcome {
            Ok(outcomes) => outcomes,
            Err(code) => {
                it.error_code = code.to_wire();
                return;
            }
        };
        assert_eq!(wanted.len(), outcomes.len(), "one outcome of each");
        for (wanted, outcome) in wanted.iter().zip(outcomes) {
            let topic_id = Uuid::from_bytes(wanted.topic.0);
            if it.topics.last().is_none_or(|last| last.topic_id != topic_id) {
                it.topics.push(make(|topic: &mut response::TopicData| topic.topic_id = topic_id));
            }
            let topic = it.topics.last_mut().expect("there is at least the one that was added");
            let told = outcome.as_ref().map_err(|error| error.code());
            topic.partitions.push(outcome_of(wanted, told));
        }
    })
}

/// Reads the response to what was asked. What it does not name is left out: it is asked for again.
///
/// # Errors
/// If something in it means nothing. Then nothing in it is believed.
pub fn answered(
    asked: &[Alter],
    response: &AlterPartitionResponse,
) -> Result<Vec<AlterAnswer>, Malformed> {
    if error(response.error_code)?.is_some() {
        return Ok(lost(asked));
    }
    let mut told: BTreeMap<TopicPartition, VecDeque<Altered>> = BTreeMap::new();
    for topic_data in &response.topics {
        let topic = topic("topic_id", topic_data.topic_id)?;
        for data in &topic_data.partitions {
            let partition = partition_index("partition_index", data.partition_index)?;
            let partition = TopicPartition { topic, partition };
            told.entry(partition).or_default().push_back(altered(data)?);
        }
    }
    let answers = asked.iter().filter_map(|alter| {
        // Of several for one partition the first answer is to the first of them.
        let outcome = told.get_mut(&partition_of(alter))?.pop_front()?;
        Some(answer_to(alter, outcome))
    });
    Ok(answers.collect())
}

/// The answers where there is no response, or none that is believed.
pub fn lost(asked: &[Alter]) -> Vec<AlterAnswer> {
    asked.iter().map(|alter| answer_to(alter, Altered::Lost)).collect()
}

fn partition_of(alter: &Alter) -> TopicPartition {
    TopicPartition { topic: alter.wanted.topic, partition: alter.wanted.partition }
}

fn answer_to(alter: &Alter, outcome: Altered) -> AlterAnswer {
    let (leader_epoch, change) = (alter.wanted.leader_epoch, alter.change);
    AlterAnswer { partition: partition_of(alter), leader_epoch, change, outcome }
}

fn partition(wanted: &AlterPartition) -> request::PartitionData {
    let AlterPartition { topic: _, partition, leader_epoch, epoch, in_sync, recovery } = wanted;
    make(|data: &mut request::PartitionData| {
        data.partition_index = partition.to_wire();
        data.leader_epoch = leader_epoch.to_wire();
        data.partition_epoch = epoch.to_wire();
        data.leader_recovery_state = recovery.to_wire();
        let members = in_sync.iter().map(|(broker, epoch)| {
            make(|member: &mut request::BrokerState| {
                member.broker_id = broker.0;
                member.broker_epoch = epoch.map_or(EPOCH_UNKNOWN, raw_broker_epoch);
            })
        });
        data.new_isr_with_epochs = members.collect();
    })
}

fn member(state: &request::BrokerState) -> Result<(BrokerId, Option<BrokerEpoch>), Malformed> {
    let epoch = match state.broker_epoch {
        EPOCH_UNKNOWN => None,
        raw => Some(broker_epoch("isr.broker_epoch", raw)?),
    };
    Ok((broker("isr.broker_id", state.broker_id)?, epoch))
}

fn partition_epoch(raw: i32) -> Result<PartitionEpoch, Malformed> {
    PartitionEpoch::from_wire(raw).ok_or_else(|| number("partition_epoch", raw))
}

fn outcome_of(
    wanted: &AlterPartition,
    outcome: Result<&Partition, ErrorCode>,
) -> response::PartitionData {
    make(|data: &mut response::PartitionData| {
        data.partition_index = wanted.partition.to_wire();
        match outcome {
            Ok(now) => {
                data.leader_id = now.leader.map_or(-1, |leader| leader.0);
                data.leader_epoch = now.leader_epoch.to_wire();
                data.isr = now.in_sync.iter().map(|broker| broker.0).collect();
                data.leader_recovery_state = now.recovery.to_wire();
                data.partition_epoch = now.epoch.to_wire();
            }
            Err(code) => data.error_code = code.to_wire(),
        }
    })
}

fn altered(data: &response::PartitionData) -> Result<Altered, Malformed> {
    match error(data.error_code)? {
        // Whoever is not the controller any more has not judged it.
        Some(ErrorCode::NotController) => Ok(Altered::Lost),
        Some(code) => Ok(Altered::Refused(code)),
        None => {
            let in_sync: Result<_, Malformed> =
                data.isr.iter().map(|raw| broker("isr.broker_id", *raw)).collect();
            let epoch = partition_epoch(data.partition_epoch)?;
            Ok(Altered::Applied {
                leader_epoch: leader_epoch("leader_epoch", data.leader_epoch)?,
                partition_epoch: shard::PartitionEpoch(epoch.0),
                in_sync: in_sync?,
            })
        }
    }
}

#[cfg(test)]
mod tests;
