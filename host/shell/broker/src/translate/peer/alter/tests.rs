//! In-sync sets asked for and answered, and what means nothing in between.

use std::collections::BTreeSet;

use brooklet_meta::decide::alter_partition::AlterPartitionError;
use brooklet_shard::ChangeId;
use brooklet_types::{LeaderEpoch, PartitionIndex, TopicId};

use super::*;

const BROKER: BrokerId = BrokerId(1);
const EPOCH: BrokerEpoch = BrokerEpoch(41);

fn alter(topic: u8, partition: u32, change: u64) -> Alter {
    Alter {
        change: ChangeId(change),
        wanted: AlterPartition {
            topic: TopicId([topic; 16]),
            partition: PartitionIndex(partition),
            leader_epoch: LeaderEpoch(7),
            epoch: PartitionEpoch(9),
            in_sync: vec![(BrokerId(1), Some(EPOCH)), (BrokerId(2), None)],
            recovery: LeaderRecovery::Recovered,
        },
    }
}

/// Two topics, one of them twice and not together.
fn alters() -> Vec<Alter> {
    vec![alter(1, 0, 10), alter(1, 4, 11), alter(2, 0, 12), alter(1, 2, 13)]
}

fn wanted(alters: &[Alter]) -> Vec<AlterPartition> {
    alters.iter().map(|alter| alter.wanted.clone()).collect()
}

fn now() -> Partition {
    Partition {
        leader: Some(BROKER),
        leader_epoch: LeaderEpoch(7),
        epoch: PartitionEpoch(10),
        in_sync: vec![BrokerId(1), BrokerId(2)],
        ..Partition::default()
    }
}

fn applied() -> Altered {
    Altered::Applied {
        leader_epoch: LeaderEpoch(7),
        partition_epoch: shard::PartitionEpoch(10),
        in_sync: BTreeSet::from([BrokerId(1), BrokerId(2)]),
    }
}

#[test]
fn what_is_wanted_is_what_is_asked_in_its_order() {
    let alters = alters();
    let request = ask(BROKER, EPOCH, &alters);
    assert_eq!(request.topics.len(), 3);
    let expected = Asked { broker: BROKER, epoch: EPOCH, wanted: wanted(&alters) };
    assert_eq!(asked(&request), Ok(expected));
    let none = Asked { broker: BROKER, epoch: EPOCH, wanted: Vec::new() };
    assert_eq!(asked(&ask(BROKER, EPOCH, &[])), Ok(none));
}

#[test]
fn each_outcome_comes_to_its_change() {
    let alters = alters();
    let stale = AlterPartitionError::StalePartitionEpoch(PartitionEpoch(10));
    let outcomes = vec![
        Ok(now()),
        Err(stale),
        Err(AlterPartitionError::NotController),
        Err(AlterPartitionError::UnknownTopic),
    ];
    let response = answer(&wanted(&alters), Ok(&outcomes));
    let answers = answered(&alters, &response).unwrap();
    let expected = [
        applied(),
        Altered::Refused(ErrorCode::InvalidUpdateVersion),
        Altered::Lost,
        Altered::Refused(ErrorCode::UnknownTopicId),
    ];
    assert_eq!(answers.len(), expected.len());
    for ((answer, alter), outcome) in answers.iter().zip(&alters).zip(expected) {
        assert_eq!((answer.partition, answer.change), (partition_of(alter), alter.change));
        assert_eq!((answer.leader_epoch, &answer.outcome), (LeaderEpoch(7), &outcome));
    }
}

#[test]
fn two_changes_of_one_partition_are_answered_in_their_order() {
    let alters = [alter(1, 0, 10), alter(1, 0, 11)];
    let outcomes = vec![Ok(now()), Err(AlterPartitionError::InvalidSet)];
    let answers = answered(&alters, &answer(&wanted(&alters), Ok(&outcomes))).unwrap();
    assert_eq!((answers[0].change, &answers[0].outcome), (ChangeId(10), &applied()));
    let refused = Altered::Refused(ErrorCode::InvalidRequest);
    assert_eq!((answers[1].change, &answers[1].outcome), (ChangeId(11), &refused));
}

#[test]
fn what_an_answer_does_not_name_is_left_out_and_what_nobody_asked_is_passed_over() {
    let alters = alters();
    let some = wanted(&alters[2..]);
    let response = answer(&some, Ok(&vec![Ok(now()), Ok(now())]));
    let answers = answered(&alters[..3], &response).unwrap();
    assert_eq!(answers.iter().map(|answer| answer.change.0).collect::<Vec<_>>(), [12]);
}

#[test]
fn an_error_of_the_whole_answers_none_of_it() {
    let alters = alters();
    for code in [ErrorCode::NotController, ErrorCode::StaleBrokerEpoch] {
        let answers = answered(&alters, &answer(&wanted(&alters), Err(code))).unwrap();
        assert_eq!(answers.len(), alters.len());
        assert!(answers.iter().all(|answer| answer.outcome == Altered::Lost));
    }
}

type SpoilAsked = fn(&mut AlterPartitionRequest);

#[test]
fn a_request_that_means_nothing_is_refused_by_name() {
    let missing = |field| Malformed::Missing { field };
    let table: &[(SpoilAsked, Malformed)] = &[
        (|it| it.broker_id = -1, number("broker_id", -1)),
        (|it| it.broker_epoch = -1, number("broker_epoch", -1)),
        (|it| it.topics[0].topic_id = Uuid::ZERO, missing("topic_id")),
        (|it| part(it).partition_index = -5, number("partition_index", -5)),
        (|it| part(it).leader_epoch = -1, number("leader_epoch", -1)),
        (|it| part(it).partition_epoch = i32::MIN, number("partition_epoch", i32::MIN)),
        (|it| part(it).leader_recovery_state = 2, number("leader_recovery_state", 2)),
        (|it| part(it).leader_recovery_state = -1, number("leader_recovery_state", -1)),
        (|it| part(it).new_isr_with_epochs[1].broker_id = -2, number("isr.broker_id", -2)),
        (|it| part(it).new_isr_with_epochs[0].broker_epoch = -2, number("isr.broker_epoch", -2)),
    ];
    for (spoil, malformed) in table {
        let mut request = ask(BROKER, EPOCH, &alters());
        spoil(&mut request);
        assert_eq!(asked(&request), Err(malformed.clone()));
    }
}

fn part(request: &mut AlterPartitionRequest) -> &mut request::PartitionData {
    &mut request.topics[1].partitions[0]
}

type SpoilAnswer = fn(&mut response::PartitionData);

#[test]
fn a_response_that_means_nothing_is_not_believed() {
    let table: &[(SpoilAnswer, Malformed)] = &[
        (|it| it.partition_index = -1, number("partition_index", -1)),
        (|it| it.error_code = 999, Malformed::Code(999)),
        (|it| it.leader_epoch = -1, number("leader_epoch", -1)),
        (|it| it.partition_epoch = -1, number("partition_epoch", -1)),
        (|it| it.isr = vec![1, -1], number("isr.broker_id", -1)),
    ];
    let alters = alters();
    let outcomes = vec![Ok(now()); alters.len()];
    for (spoil, malformed) in table {
        let mut response = answer(&wanted(&alters), Ok(&outcomes));
        spoil(&mut response.topics[1].partitions[0]);
        assert_eq!(answered(&alters, &response).unwrap_err(), malformed.clone());
    }
    let mut response = answer(&wanted(&alters), Ok(&outcomes));
    response.topics[0].topic_id = Uuid::ZERO;
    let missing = Malformed::Missing { field: "topic_id" };
    assert_eq!(answered(&alters, &response).unwrap_err(), missing);
    response.error_code = 999;
    assert_eq!(answered(&alters, &response).unwrap_err(), Malformed::Code(999));
}
