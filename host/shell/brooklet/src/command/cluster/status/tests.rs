//! What is called healthy, and what is not.

use brooklet_client::admin::Reassignment;

use super::super::picture::tests::{ids, picture};
use super::*;

/// Led by broker 1; who votes and how far each is.
fn quorum(voters: &[(i32, i64)], observers: &[(i32, i64)]) -> Quorum {
    let member = |(id, log_end): &(i32, i64)| QuorumMember {
        broker: BrokerId(*id),
        directory: [1; 16],
        log_end: *log_end,
    };
    Quorum {
        leader: Some(BrokerId(1)),
        epoch: 4,
        high_watermark: 9,
        voters: voters.iter().map(member).collect(),
        observers: observers.iter().map(member).collect(),
    }
}

#[test]
fn a_broker_alone_and_three_that_are_whole_are_healthy() {
    let alone = picture("1", &["t-0 1"]);
    assert!(problems(&alone, Some(&quorum(&[(1, 10)], &[]))).is_empty());
    let three = picture("1 2 3", &["t-0 1,2,3"]);
    let voters = quorum(&[(1, 10), (2, 10), (3, 9)], &[]);
    assert!(problems(&three, Some(&voters)).is_empty());
}

#[test]
fn everything_that_is_wrong_is_said() {
    let ill = picture("1 2 3!", &["t-0 1,2,3 in 1,2", "t-1 3", "t-2 1,9 in 1"]);
    let voters = quorum(&[(1, 10), (2, 10), (3, 4)], &[]);
    let expected = [
        "broker 3 takes no part",
        "1 partition without a leader",
        "2 partitions not in sync everywhere",
        "1 partition with copies on brokers that are gone",
        "no voter of the metadata to spare: 2 of 3 there, 2 needed",
    ];
    assert_eq!(problems(&ill, Some(&voters)), expected);
    assert_eq!(problems(&picture("1 2 3", &[]), None), ["nobody leads the metadata"]);
}

#[test]
fn a_copy_that_is_being_made_is_not_missing() {
    let mut moving = picture("1 2 3", &["t-0 1,3 in 1"]);
    let voters = quorum(&[(1, 10), (2, 10), (3, 10)], &[]);
    assert_eq!(problems(&moving, Some(&voters)), ["1 partition not in sync everywhere"]);
    let partition = ("t".to_owned(), 0);
    let (replicas, adding, removing) = (ids("1,3,2"), ids("3"), ids("2"));
    moving.moving.insert(partition.clone(), Reassignment { partition, replicas, adding, removing });
    assert!(problems(&moving, Some(&voters)).is_empty());
}

#[test]
fn a_line_says_what_a_broker_is_and_has() {
    let some = picture("1@a 2! 4", &["t-0 1,2 in 1", "t-1 1,3 in 1"]);
    let members = quorum(&[(1, 10), (2, 4)], &[(4, 10)]);
    let said: Vec<_> =
        lines(&some, Some(&members)).iter().map(|line| line.to_row().join(" ")).collect();
    let expected = [
        "1 127.0.0.1:9001 a active leader 0 2 2 0",
        "2 127.0.0.1:9002 - fenced voter 6 0 1 1",
        "3 - - gone none - 0 1 1",
        "4 127.0.0.1:9004 - active observer 0 0 0 0",
    ];
    assert_eq!(said, expected);
}
