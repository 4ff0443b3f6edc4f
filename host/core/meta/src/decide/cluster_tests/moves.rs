//! Partitions move: in steps, at once, elsewhere after all, and back.

use brooklet_types::ErrorCode;

use super::{alter_reassignments, check, cluster, create, live, moved, step, topic};
use crate::decide::reassignment::list_reassignments;

#[test]
fn a_move_is_done_when_everybody_who_stays_is_in_sync() {
    check(
        &[1, 2, 3],
        &[],
        &[
            ("move 1,2,4", "1@0.1 of 1,2,4,3 in 1,2,3 adding 4 removing 3"),
            ("in-sync 1,2,3,4", "1@1.2 of 1,2,4 in 1,2,4"),
        ],
    );
    check(
        &[1, 2, 3],
        &[],
        &[
            ("move 4,5", "1@0.1 of 4,5,1,2,3 in 1,2,3 adding 4,5 removing 1,2,3"),
            ("in-sync 1,2,3,4", "1@0.2 of 4,5,1,2,3 in 1,2,3,4 adding 4,5 removing 1,2,3"),
            ("in-sync 1,2,3,4,5", "4@1.3 of 4,5 in 4,5"),
        ],
    );
}

#[test]
fn a_move_that_waits_for_nobody_is_done_at_once() {
    check(&[1, 2, 3], &[], &[("move 3,2,1", "1@0.1 of 3,2,1 in 1,2,3")]);
    check(&[1, 2, 3], &[], &[("move 1,2", "1@1.1 of 1,2 in 1,2")]);
    check(&[1, 2, 3], &[], &[("move 2,3", "2@1.1 of 2,3 in 2,3")]);
    check(&[1, 2, 3], &[], &[("move 1,2,3", "1@0.0 of 1,2,3 in 1,2,3")]);
}

#[test]
fn a_fenced_broker_that_stays_is_waited_for() {
    check(
        &[1, 2, 3],
        &[],
        &[
            ("fence 2", "1@0.1 of 1,2,3 in 1,3"),
            ("move 1,2", "1@0.2 of 1,2,3 in 1,3 removing 3"),
            ("back 2", "1@0.2 of 1,2,3 in 1,3 removing 3"),
            ("in-sync 1,3,2", "1@1.3 of 1,2 in 1,2"),
        ],
    );
}

#[test]
fn a_move_can_be_taken_back_or_go_elsewhere() {
    let begun = ("move 1,2,4", "1@0.1 of 1,2,4,3 in 1,2,3 adding 4 removing 3");
    let back = "1@1.2 of 1,2,3 in 1,2,3";
    check(&[1, 2, 3], &[], &[begun, ("cancel", back)]);
    check(&[1, 2, 3], &[], &[begun, ("move 1,2,3", back)]);
    let elsewhere = "1@1.2 of 1,2,5,3 in 1,2,3 adding 5 removing 3";
    check(&[1, 2, 3], &[], &[begun, ("move 1,2,5", elsewhere)]);
    // Broker 4 has all there is: it is not dropped before somebody else has it.
    check(
        &[1],
        &[],
        &[
            ("move 4,5", "1@0.1 of 4,5,1 in 1 adding 4,5 removing 1"),
            ("in-sync 1,4", "1@0.2 of 4,5,1 in 1,4 adding 4,5 removing 1"),
            ("fence 1", "4@1.3 of 4,5,1 in 4 adding 4,5 removing 1"),
            ("move 2", "4@2.4 of 2,1,4 in 4 adding 2 removing 1,4"),
            ("in-sync 4,2", "2@3.5 of 2 in 2"),
        ],
    );
}

#[test]
fn taking_back_what_would_cost_records_needs_permission() {
    let script = [
        ("move 4,5", "1@0.1 of 4,5,1,2 in 1,2 adding 4,5 removing 1,2"),
        ("in-sync 1,2,4", "1@0.2 of 4,5,1,2 in 1,2,4 adding 4,5 removing 1,2"),
        ("fence 1", "4@1.3 of 4,5,1,2 in 2,4 adding 4,5 removing 1,2"),
        ("fence 2", "4@1.4 of 4,5,1,2 in 4 adding 4,5 removing 1,2"),
    ];
    let permitted =
        [("cancel", "-@2.5 of 1,2 in 1 recovering"), ("back 1", "1@3.6 of 1,2 in 1 recovering")];
    let setting = ["unclean.leader.election.enable=true"];
    check(&[1, 2], &setting, &[script.as_slice(), &permitted].concat());

    let mut cluster = cluster(&[1, 2, 3, 4, 5]);
    create(&mut cluster, topic(&[&[1, 2]], &[]));
    for (line, _) in script {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    let decision = alter_reassignments(&cluster, false, &[("t".to_owned(), vec![(0, None)])]);
    let error = decision.reply[0].1[0].1.as_ref().unwrap_err();
    let expected = "Unable to revert partition assignment for t:0 because it would require an \
                    unclean leader election.";
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (ErrorCode::InvalidReplicaAssignment, expected)
    );
    assert!(decision.records.is_empty());
}

#[test]
fn a_move_is_refused_in_kafkas_words() {
    let mut cluster = cluster(&[1, 2, 3]);
    create(&mut cluster, topic(&[&[1, 2]], &[]));
    let cases = [
        ("x", 0, None, ErrorCode::UnknownTopicOrPartition, "Unable to find a topic named x."),
        ("t", 1, None, ErrorCode::UnknownTopicOrPartition, "Unable to find partition t:1."),
        ("t", -1, None, ErrorCode::UnknownTopicOrPartition, "Unable to find partition t:-1."),
        (
            "t",
            0,
            None,
            ErrorCode::NoReassignmentInProgress,
            ErrorCode::NoReassignmentInProgress.message(),
        ),
        (
            "t",
            0,
            Some(vec![]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes an empty replica list.",
        ),
        (
            "t",
            0,
            Some(vec![1, 9]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes broker 9, but no such broker is registered.",
        ),
        (
            "t",
            0,
            Some(vec![3, 3]),
            ErrorCode::InvalidReplicaAssignment,
            "The manual partition assignment includes the broker 3 more than once.",
        ),
        (
            "t",
            0,
            Some(vec![1, 2, 3]),
            ErrorCode::InvalidReplicationFactor,
            "The replication factor is changed from 2 to 3",
        ),
    ];
    for (name, partition, target, code, message) in cases {
        let moves = [(name.to_owned(), vec![(partition, target)])];
        let decision = alter_reassignments(&cluster, false, &moves);
        assert!(decision.records.is_empty(), "{message}");
        let error = decision.reply[0].1[0].1.as_ref().unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, message));
    }
}

#[test]
fn what_is_moving_is_listed() {
    let mut cluster = cluster(&[1, 2, 3, 4]);
    create(&mut cluster, topic(&[&[1, 2], &[2, 1]], &[]));
    assert_eq!(list_reassignments(&cluster, None), []);
    let begun = moved(&cluster, Some(vec![3, 1]));
    live(&mut cluster, &begun);
    let all = list_reassignments(&cluster, None);
    let [(_, name, moves)] = all.as_slice() else { panic!("{all:?}") };
    assert_eq!((name.as_str(), moves.len()), ("t", 1));
    let one = &moves[0];
    let numbers = |brokers: &[brooklet_types::BrokerId]| {
        brokers.iter().map(|broker| broker.0).collect::<Vec<i32>>()
    };
    assert_eq!(one.partition.0, 0);
    assert_eq!(numbers(&one.replicas), [3, 1, 2]);
    assert_eq!((numbers(&one.adding), numbers(&one.removing)), (vec![3], vec![2]));
    let of = |name: &str, partitions: &[i32]| {
        let named = [(name.to_owned(), partitions.to_vec())];
        list_reassignments(&cluster, Some(&named)).len()
    };
    assert_eq!((of("t", &[0, 1]), of("t", &[1, -1]), of("x", &[0])), (1, 0, 0));
}
