//! Topics in a cluster: who keeps a new partition, and why nobody does.

use brooklet_types::{BrokerId, ErrorCode};

use super::{TOPIC, cluster, create, live, partition, run, shown, step, topic, unfence};
use crate::cluster::{Cluster, Settings};
use crate::decide::broker::{RegisterBroker, register_broker};
use crate::decide::feature::begin_cluster;
use crate::decide::partition::{MorePartitions, create_partitions};
use crate::decide::topic::{NewTopic, TopicRef, create_topics, delete_topics};
use crate::record::{ClusterRecord, MetaRecord};

fn numbered(partitions: i32, replication_factor: i16) -> NewTopic {
    NewTopic { partitions, replication_factor, ..topic(&[], &[]) }
}

fn refused(cluster: &Cluster, wanted: NewTopic) -> (ErrorCode, String) {
    let decision = create_topics(cluster, &[wanted], false);
    assert!(decision.records.is_empty());
    let error = decision.reply[0].as_ref().unwrap_err();
    (error.code(), error.to_string())
}

#[test]
fn copies_are_spread_over_racks_and_fenced_brokers_are_not_in_sync() {
    let mut cluster = cluster(&[]);
    for (broker, rack) in [(1, "a"), (2, "a"), (3, "b"), (4, "b")] {
        let wanted = RegisterBroker { rack: Some(rack.to_owned()), ..run(broker, 1, true) };
        let registered = register_broker(&cluster, false, &wanted).unwrap();
        live(&mut cluster, &registered.records);
        if broker != 4 {
            unfence(&mut cluster, broker);
        }
    }
    create(&mut cluster, numbered(30, 2));
    for partition in &cluster.topic_by_id(TOPIC).unwrap().partitions {
        let racks: Vec<i32> = partition.replicas.iter().map(|broker| (broker.0 - 1) / 2).collect();
        assert!(racks == [0, 1] || racks == [1, 0], "{}", shown(partition));
        assert!(!partition.replicas.contains(&BrokerId(4)), "3 is there for that rack");
        partition.assert_sound();
    }
    let (all, again) = (numbered(1, 4), TopicRef::Id(TOPIC));
    let gone = delete_topics(&cluster, &[again]).records;
    live(&mut cluster, &gone);
    create(&mut cluster, all);
    let placed = partition(&cluster);
    assert_eq!((placed.replicas.len(), placed.in_sync.len()), (4, 3));
    assert_eq!(placed.leader, placed.in_sync.first().copied());
    assert!(!placed.in_sync.contains(&BrokerId(4)));
}

#[test]
fn a_placement_is_refused_in_kafkas_words() {
    let mut cluster = cluster(&[1, 2]);
    let (code, message) = refused(&cluster, numbered(1, 3));
    let expected = "Unable to replicate the partition 3 time(s): The target replication factor of \
                    3 cannot be reached because only 2 broker(s) are registered.";
    assert_eq!((code, message.as_str()), (ErrorCode::InvalidReplicationFactor, expected));
    let assignments: [(&[&[i32]], &str); 5] = [
        (
            &[&[1, 2], &[1]],
            "The manual partition assignment includes a partition with 1 \
          replica(s), but this is not consistent with previous partitions, which have 2 \
          replica(s).",
        ),
        (&[&[1, 1]], "The manual partition assignment includes the broker 1 more than once."),
        (
            &[&[3]],
            "The manual partition assignment includes broker 3, but no such broker is \
          registered.",
        ),
        (&[&[]], "The manual partition assignment includes an empty replica list."),
        (
            &[&[1], &[2]],
            "All brokers specified in the manual partition assignment for partition 1 \
          are fenced or in controlled shutdown.",
        ),
    ];
    let fenced = step(&cluster, "fence 2");
    live(&mut cluster, &fenced);
    for (replicas, expected) in assignments {
        let (code, message) = refused(&cluster, topic(replicas, &[]));
        assert_eq!((code, message.as_str()), (ErrorCode::InvalidReplicaAssignment, expected));
    }
    let mut twice = topic(&[&[1], &[1]], &[]);
    twice.assignments[1].0 = 0;
    let expected = "Found multiple manual partition assignments for partition 0";
    assert_eq!(refused(&cluster, twice).1, expected);
    let fenced = step(&cluster, "fence 1");
    live(&mut cluster, &fenced);
    let (code, message) = refused(&cluster, numbered(1, 1));
    let expected = "Unable to replicate the partition 1 time(s): All brokers are currently fenced.";
    assert_eq!((code, message.as_str()), (ErrorCode::InvalidReplicationFactor, expected));
}

#[test]
fn as_many_copies_are_made_as_the_configuration_says() {
    let configured: Settings = [("default.replication.factor".to_owned(), "2".to_owned())].into();
    let mut cluster = Cluster::new(configured);
    let begun = begin_cluster(&cluster).records;
    live(&mut cluster, &begun);
    for broker in [1, 2, 3] {
        let registered = register_broker(&cluster, false, &run(broker, 1, true)).unwrap();
        live(&mut cluster, &registered.records);
        unfence(&mut cluster, broker);
    }
    create(&mut cluster, numbered(-1, -1));
    assert_eq!(partition(&cluster).replicas.len(), 2);
}

#[test]
fn a_topic_grows_by_as_many_copies_as_it_has() {
    let mut cluster = cluster(&[1, 2, 3]);
    create(&mut cluster, topic(&[&[1, 2]], &[]));
    let grow = |cluster: &Cluster, assignments: Option<Vec<Vec<i32>>>| {
        let wanted = MorePartitions { name: "t".to_owned(), total: 3, assignments };
        let mut decision = create_partitions(cluster, &[wanted], false);
        let result = decision.reply.remove(0);
        (decision.records, result.map_err(|error| (error.code(), error.to_string())))
    };
    let (records, result) = grow(&cluster, None);
    assert_eq!(result, Ok(()));
    let [MetaRecord::Cluster(ClusterRecord::PartitionsPlaced { partitions, .. })] =
        records.as_slice()
    else {
        panic!("{records:?}")
    };
    assert!(partitions.iter().all(|placed| placed.replicas.len() == 2), "{partitions:?}");
    let (_, uneven) = grow(&cluster, Some(vec![vec![1, 2], vec![1]]));
    let expected = "The manual partition assignment includes a partition with 1 replica(s), but \
                    this is not consistent with previous partitions, which have 2 replica(s).";
    assert_eq!(uneven, Err((ErrorCode::InvalidReplicaAssignment, expected.to_owned())));
    let (records, result) = grow(&cluster, Some(vec![vec![3, 1], vec![2, 3]]));
    assert_eq!(result, Ok(()));
    live(&mut cluster, &records);
    let grown = &cluster.topic_by_id(TOPIC).unwrap().partitions;
    assert_eq!(shown(&grown[1]), "3@0.0 of 3,1 in 3,1");

    for line in ["unregister 2", "unregister 3"] {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    let wanted = MorePartitions { name: "t".to_owned(), total: 4, assignments: None };
    let error = create_partitions(&cluster, &[wanted], false).reply.remove(0).unwrap_err();
    let expected = "The target replication factor of 2 cannot be reached because only 1 broker(s) \
                    are registered.";
    assert_eq!(
        (error.code(), error.to_string().as_str()),
        (ErrorCode::InvalidReplicationFactor, expected)
    );
}

#[test]
fn a_view_follows_what_it_shows() {
    let mut cluster = cluster(&[1, 2]);
    create(&mut cluster, topic(&[&[1, 2]], &[]));
    let view = NewTopic {
        id: brooklet_types::TopicId([8; 16]),
        name: "view".to_owned(),
        settings: vec![("brooklet.view.of".to_owned(), Some("t".to_owned()))],
        ..numbered(-1, -1)
    };
    create(&mut cluster, view);
    for line in ["fence 1", "move 2", "set min.insync.replicas=2"] {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
        let shows = &cluster.topic("view").unwrap().partitions;
        assert_eq!(shows, &cluster.topic_by_id(TOPIC).unwrap().partitions, "{line}");
    }
}
