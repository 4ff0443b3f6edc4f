//! What leaders, brokers and administrators are refused, and with which codes.

use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId};

use super::{
    alter_partitions, alter_reassignments, cluster, create, elect_leaders, epoch, in_sync, live,
    partition, shown, step, topic, wanted_in_sync,
};
use crate::broker::BrokerEpoch;
use crate::cluster::Cluster;
use crate::decide::alter_partition::AlterPartition;
use crate::decide::election::{ElectionType, balance_leaders};
use crate::decide::producer_id::allocate_producer_ids;
use crate::partition::{LeaderRecovery, PartitionEpoch};

/// Brokers 1 to 4 with a partition on all of them and one on 3; that is shutting down, and 4 is fenced.
fn scene() -> Cluster {
    let mut cluster = cluster(&[1, 2, 3, 4]);
    create(&mut cluster, topic(&[&[1, 2, 3, 4], &[3, 1, 2, 4]], &[]));
    let alone = [("t".to_owned(), vec![(1, Some(vec![3]))])];
    let alone = alter_reassignments(&cluster, true, &alone).records;
    live(&mut cluster, &alone);
    for line in ["fence 4", "stop 3", "fence 2", "back 2"] {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    cluster
}

/// Kafka's `ReplicationControlManagerTest`: what is wrong with a new in-sync set.
#[test]
fn a_leader_is_refused_with_kafkas_codes() {
    let cluster = scene();
    assert_eq!(shown(partition(&cluster)), "1@0.3 of 1,2,3,4 in 1");
    type Change = fn(&mut AlterPartition);
    let cases: &[(Change, &[i32], ErrorCode)] = &[
        (|it| it.topic = TopicId([9; 16]), &[1, 2], ErrorCode::UnknownTopicId),
        (|it| it.partition = PartitionIndex(2), &[1, 2], ErrorCode::UnknownTopicOrPartition),
        (|it| it.leader_epoch = LeaderEpoch(1), &[1, 2], ErrorCode::NotController),
        (|it| it.epoch = PartitionEpoch(4), &[1, 2], ErrorCode::NotController),
        (|it| it.epoch = PartitionEpoch(2), &[1, 2], ErrorCode::InvalidUpdateVersion),
        (|_| (), &[2], ErrorCode::InvalidRequest),
        (|_| (), &[], ErrorCode::InvalidRequest),
        (|_| (), &[1, 2, 2], ErrorCode::InvalidRequest),
        (|it| it.in_sync.push((BrokerId(9), None)), &[1], ErrorCode::InvalidRequest),
        (|it| it.recovery = LeaderRecovery::Recovering, &[1, 2], ErrorCode::InvalidRequest),
        (|it| it.recovery = LeaderRecovery::Recovering, &[1], ErrorCode::InvalidRequest),
        (|_| (), &[1, 3], ErrorCode::IneligibleReplica),
        (|_| (), &[1, 4], ErrorCode::IneligibleReplica),
        (|it| it.in_sync[1].1 = Some(BrokerEpoch(1)), &[1, 2], ErrorCode::IneligibleReplica),
        (|it| it.in_sync[1].1 = None, &[1, 2], ErrorCode::None),
        (|_| (), &[1, 2], ErrorCode::None),
        (|_| (), &[1], ErrorCode::None),
    ];
    for (case, (change, set, code)) in cases.iter().enumerate() {
        let mut wanted = wanted_in_sync(&cluster, set, LeaderRecovery::Recovered);
        change(&mut wanted);
        let decision = alter_partitions(&cluster, BrokerId(1), epoch(&cluster, 1), &[wanted]);
        let decision = decision.unwrap();
        let result = decision.reply[0].as_ref();
        let got = result.map_or_else(|error| error.code(), |_| ErrorCode::None);
        assert_eq!(got, *code, "case {case}");
        let changes = got.is_none() && *set != [1];
        assert_eq!(decision.records.len(), usize::from(changes), "case {case}");
    }
}

#[test]
fn only_the_leader_of_the_term_is_heard() {
    let mut cluster = scene();
    let wanted = wanted_in_sync(&cluster, &[1, 2], LeaderRecovery::Recovered);
    let by = |cluster: &Cluster, broker: i32| {
        let epoch = epoch(cluster, broker);
        let asked = std::slice::from_ref(&wanted);
        let decision = alter_partitions(cluster, BrokerId(broker), epoch, asked).unwrap();
        decision.reply[0].as_ref().unwrap_err().code()
    };
    assert_eq!(by(&cluster, 2), ErrorCode::InvalidRequest);
    for line in ["in-sync 1,2", "fence 1"] {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    assert_eq!(by(&cluster, 1), ErrorCode::FencedLeaderEpoch);
    let stale = alter_partitions(&cluster, BrokerId(1), BrokerEpoch(1), &[]).unwrap_err();
    assert_eq!(stale.code(), ErrorCode::StaleBrokerEpoch);
}

#[test]
fn two_changes_of_one_partition_in_one_request_do_not_both_succeed() {
    let cluster = scene();
    let wanted = wanted_in_sync(&cluster, &[1, 2], LeaderRecovery::Recovered);
    let twice = [wanted.clone(), wanted];
    let decision = alter_partitions(&cluster, BrokerId(1), epoch(&cluster, 1), &twice).unwrap();
    assert!(decision.reply[0].is_ok());
    assert_eq!(decision.reply[1].as_ref().unwrap_err().code(), ErrorCode::InvalidUpdateVersion);
    assert_eq!(decision.records.len(), 1);
}

#[test]
fn a_leader_that_deposes_itself_is_told() {
    let mut cluster = cluster(&[1, 2]);
    create(&mut cluster, topic(&[&[1]], &[]));
    let begun = step(&cluster, "move 2");
    live(&mut cluster, &begun);
    let wanted = wanted_in_sync(&cluster, &[1, 2], LeaderRecovery::Recovered);
    let decision = alter_partitions(&cluster, BrokerId(1), epoch(&cluster, 1), &[wanted]).unwrap();
    assert_eq!(decision.reply[0].as_ref().unwrap_err().code(), ErrorCode::NewLeaderElected);
    live(&mut cluster, &decision.records);
    assert_eq!(shown(partition(&cluster)), "2@1.2 of 2 in 2");
}

#[test]
fn elections_are_refused_with_kafkas_codes() {
    let cluster = scene();
    let elect = |cluster: &Cluster, election, name: &str, partition| {
        let named = [(name.to_owned(), vec![partition])];
        let decision = elect_leaders(cluster, election, Some(&named));
        let result = decision.reply[0].1[0].1.clone();
        result.map_or_else(
            |error| (error.code(), error.to_string()),
            |()| (ErrorCode::None, String::new()),
        )
    };
    let cases = [
        ("x", 0, ElectionType::Preferred, ErrorCode::UnknownTopicOrPartition),
        ("t", 2, ElectionType::Preferred, ErrorCode::UnknownTopicOrPartition),
        ("t", -1, ElectionType::Preferred, ErrorCode::UnknownTopicOrPartition),
        ("t", 0, ElectionType::Preferred, ErrorCode::ElectionNotNeeded),
        ("t", 0, ElectionType::Unclean, ErrorCode::ElectionNotNeeded),
        ("t", 1, ElectionType::Preferred, ErrorCode::PreferredLeaderNotAvailable),
        ("t", 1, ElectionType::Unclean, ErrorCode::EligibleLeadersNotAvailable),
    ];
    for (name, partition, election, code) in cases {
        assert_eq!(elect(&cluster, election, name, partition).0, code, "{name}-{partition}");
    }
    let (_, message) = elect(&cluster, ElectionType::Preferred, "x", 0);
    assert_eq!(message, "No such topic as x");
    let (_, message) = elect(&cluster, ElectionType::Preferred, "t", 2);
    assert_eq!(message, "No such partition as t-2");
    // Of all, those that need no election are not told of.
    let all = elect_leaders(&cluster, ElectionType::Preferred, None).reply;
    let told: Vec<i32> = all[0].1.iter().map(|(partition, _)| *partition).collect();
    assert_eq!(told, [1]);
}

#[test]
fn leaders_are_given_back_a_few_at_a_time() {
    let mut cluster = cluster(&[1, 2]);
    create(&mut cluster, topic(&[&[1, 2], &[1, 2], &[1, 2]], &[]));
    for line in ["fence 1", "back 1"] {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    let records: Vec<_> = (0..3)
        .flat_map(|index| {
            let mut wanted = wanted_in_sync(&cluster, &[2, 1], LeaderRecovery::Recovered);
            wanted.partition = PartitionIndex(index);
            let decision = alter_partitions(&cluster, BrokerId(2), epoch(&cluster, 2), &[wanted]);
            decision.unwrap().records
        })
        .collect();
    live(&mut cluster, &records);
    let some = balance_leaders(&cluster, 2);
    assert_eq!((some.records.len(), some.reply), (2, true));
    live(&mut cluster, &some.records);
    let rest = balance_leaders(&cluster, 2);
    assert_eq!((rest.records.len(), rest.reply), (1, false));
    assert!(in_sync(&cluster, &[2, 1], LeaderRecovery::Recovered).is_empty());
}

#[test]
fn producer_ids_are_given_to_brokers_in_blocks() {
    let mut cluster = cluster(&[1, 2]);
    let first = allocate_producer_ids(&cluster, BrokerId(1), epoch(&cluster, 1)).unwrap();
    assert_eq!(first.reply, 0..1000);
    live(&mut cluster, &first.records);
    let second = allocate_producer_ids(&cluster, BrokerId(2), epoch(&cluster, 2)).unwrap();
    assert_eq!(second.reply, 1000..2000);
    let stale = allocate_producer_ids(&cluster, BrokerId(1), BrokerEpoch(0)).unwrap_err();
    assert_eq!(stale.code(), ErrorCode::StaleBrokerEpoch);
}
