//! Clusters as scripts: what is done to brokers and to one partition, and what becomes of the partition.

mod brokers;
mod features;
mod leaders;
mod moves;
mod requests;
mod topics;

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, PartitionIndex, TopicId};

use super::alter_partition::{AlterPartition, alter_partitions};
use super::broker::{RegisterBroker, register_broker, unregister_broker};
use super::election::{ElectionType, balance_leaders, elect_leaders, elect_unclean_leaders};
use super::feature::begin_cluster;
use super::heartbeat::{Heartbeat, fence_broker, heartbeat};
use super::reassignment::alter_reassignments;
use super::setting::{Alteration, Operation, Resource, alter_settings};
use super::topic::{NewTopic, create_topics};
use crate::broker::{BrokerEpoch, DirectoryId, Endpoint, Incarnation};
use crate::cluster::{Cluster, Settings};
use crate::partition::{LeaderRecovery, Partition};
use crate::record::{FEATURE, LEVELS, MetaRecord};

const TOPIC: TopicId = TopicId([7; 16]);

/// A cluster with these brokers, active.
fn cluster(brokers: &[i32]) -> Cluster {
    let mut cluster = Cluster::new(Settings::new());
    let begun = begin_cluster(&cluster).records;
    live(&mut cluster, &begun);
    for broker in brokers {
        let registered = register_broker(&cluster, false, &run(*broker, 0, true)).unwrap();
        live(&mut cluster, &registered.records);
        unfence(&mut cluster, *broker);
    }
    cluster
}

fn live(cluster: &mut Cluster, records: &[MetaRecord]) {
    for record in records {
        cluster.apply(record);
    }
}

/// The registration of one run of a broker.
fn run(broker: i32, run: u8, clean: bool) -> RegisterBroker {
    let endpoint = Endpoint {
        name: "PLAINTEXT".to_owned(),
        host: format!("host{broker}"),
        port: 9092,
        protocol: 0,
    };
    RegisterBroker {
        broker: BrokerId(broker),
        incarnation: Incarnation([run; 16]),
        directory: DirectoryId([1; 16]),
        endpoints: vec![endpoint],
        rack: None,
        features: BTreeMap::from([(FEATURE.to_owned(), LEVELS)]),
        clean,
    }
}

fn epoch(cluster: &Cluster, broker: i32) -> BrokerEpoch {
    cluster.registration(BrokerId(broker)).unwrap().epoch
}

fn beat(cluster: &Cluster, broker: i32) -> Heartbeat {
    Heartbeat {
        broker: BrokerId(broker),
        epoch: epoch(cluster, broker),
        metadata_version: cluster.version(),
        wants_fence: false,
        wants_shutdown: false,
    }
}

fn unfence(cluster: &mut Cluster, broker: i32) {
    let heard = heartbeat(cluster, false, &beat(cluster, broker)).unwrap();
    assert!(heard.reply.is_caught_up && !heard.reply.is_fenced);
    live(cluster, &heard.records);
}

fn check_heartbeat_of_nobody(cluster: &Cluster) -> super::broker::BrokerEpochError {
    let (broker, epoch) = (BrokerId(9), BrokerEpoch(1));
    let heard =
        Heartbeat { broker, epoch, metadata_version: 0, wants_fence: false, wants_shutdown: false };
    heartbeat(cluster, false, &heard).unwrap_err()
}

/// A topic whose partitions are kept by these, with settings as `name=value`.
fn topic(replicas: &[&[i32]], settings: &[&str]) -> NewTopic {
    let setting = |setting: &&str| {
        let (name, value) = setting.split_once('=').unwrap();
        (name.to_owned(), Some(value.to_owned()))
    };
    NewTopic {
        id: TOPIC,
        name: "t".to_owned(),
        partitions: -1,
        replication_factor: -1,
        assignments: (0..).zip(replicas.iter().map(|replicas| replicas.to_vec())).collect(),
        settings: settings.iter().map(setting).collect(),
        refused: None,
    }
}

fn create(cluster: &mut Cluster, topic: NewTopic) {
    let created = create_topics(cluster, &[topic], false);
    assert!(created.reply[0].is_ok(), "{:?}", created.reply);
    live(cluster, &created.records);
}

fn partition(cluster: &Cluster) -> &Partition {
    cluster.topic_by_id(TOPIC).unwrap().partition(PartitionIndex(0)).unwrap()
}

/// `leader@leader epoch.partition epoch of replicas in in-sync set`, and what else there is.
fn shown(partition: &Partition) -> String {
    let list = |brokers: &[BrokerId]| {
        let numbers: Vec<String> = brokers.iter().map(BrokerId::to_string).collect();
        if numbers.is_empty() { "-".to_owned() } else { numbers.join(",") }
    };
    let leader: Vec<BrokerId> = partition.leader.into_iter().collect();
    let epochs = format!("{}.{}", partition.leader_epoch, partition.epoch.0);
    let (replicas, in_sync) = (list(&partition.replicas), list(&partition.in_sync));
    let mut shown = format!("{}@{epochs} of {replicas} in {in_sync}", list(&leader));
    for (name, brokers) in [
        ("eligible", &partition.eligible),
        ("last", &partition.last_known),
        ("adding", &partition.adding),
        ("removing", &partition.removing),
    ] {
        if !brokers.is_empty() {
            shown = format!("{shown} {name} {}", list(brokers));
        }
    }
    if partition.recovery == LeaderRecovery::Recovering {
        shown.push_str(" recovering");
    }
    shown
}

/// What is done in one line of a script.
fn step(cluster: &Cluster, line: &str) -> Vec<MetaRecord> {
    let words: Vec<&str> = line.split_whitespace().collect();
    let id = |word: &str| word.parse::<i32>().unwrap();
    let ids = |word: &str| word.split(',').map(id).collect::<Vec<i32>>();
    match words.as_slice() {
        ["fence", one] => fence_broker(cluster, BrokerId(id(one)), epoch(cluster, id(one))).records,
        ["back", one] => heartbeat(cluster, false, &beat(cluster, id(one))).unwrap().records,
        ["stop", one] => {
            let heard = Heartbeat { wants_shutdown: true, ..beat(cluster, id(one)) };
            heartbeat(cluster, true, &heard).unwrap().records
        }
        ["restart", one, how] => restart(cluster, id(one), how),
        ["unregister", one] => unregister_broker(cluster, BrokerId(id(one))).unwrap().records,
        ["in-sync", set] => in_sync(cluster, &ids(set), LeaderRecovery::Recovered),
        ["elect", "preferred"] => elect_leaders(cluster, ElectionType::Preferred, None).records,
        ["elect", "unclean"] => elect_leaders(cluster, ElectionType::Unclean, None).records,
        ["elect", "where-permitted"] => elect_unclean_leaders(cluster, 10).records,
        ["balance"] => balance_leaders(cluster, 10).records,
        ["set", setting] => set(cluster, &Resource::Topic("t".to_owned()), setting),
        ["set-for-all", setting] => set(cluster, &Resource::Broker(String::new()), setting),
        ["move", target] => moved(cluster, Some(ids(target))),
        ["cancel"] => moved(cluster, None),
        other => panic!("no such step: {other:?}"),
    }
}

fn restart(cluster: &Cluster, broker: i32, how: &str) -> Vec<MetaRecord> {
    let wanted = run(broker, u8::try_from(cluster.version()).unwrap(), how != "uncleanly");
    let wanted = match how {
        "wiped" => RegisterBroker { directory: DirectoryId([2; 16]), ..wanted },
        _ => wanted,
    };
    register_broker(cluster, false, &wanted).unwrap().records
}

fn wanted_in_sync(cluster: &Cluster, set: &[i32], recovery: LeaderRecovery) -> AlterPartition {
    let now = partition(cluster);
    AlterPartition {
        topic: TOPIC,
        partition: PartitionIndex(0),
        leader_epoch: now.leader_epoch,
        epoch: now.epoch,
        in_sync: set.iter().map(|one| (BrokerId(*one), Some(epoch(cluster, *one)))).collect(),
        recovery,
    }
}

fn in_sync(cluster: &Cluster, set: &[i32], recovery: LeaderRecovery) -> Vec<MetaRecord> {
    let leader = partition(cluster).leader.unwrap();
    let wanted = wanted_in_sync(cluster, set, recovery);
    let leader_epoch = epoch(cluster, leader.0);
    alter_partitions(cluster, leader, leader_epoch, &[wanted]).unwrap().records
}

fn set(cluster: &Cluster, resource: &Resource, setting: &str) -> Vec<MetaRecord> {
    let (name, value) = setting.split_once('=').unwrap();
    let (name, value) = (name.to_owned(), Some(value.to_owned()));
    let change = Alteration { name, operation: Operation::Set, value };
    let decision = alter_settings(cluster, &[(resource.clone(), vec![change])], false);
    assert_eq!(decision.reply, [Ok(())]);
    decision.records
}

fn moved(cluster: &Cluster, target: Option<Vec<i32>>) -> Vec<MetaRecord> {
    let moves = [("t".to_owned(), vec![(0, target)])];
    let decision = alter_reassignments(cluster, true, &moves);
    assert_eq!(decision.reply[0].1[0].1, Ok(()));
    decision.records
}

/// Runs a script in a cluster of brokers 1 to 5 with one partition: each line, and how the partition is after it.
fn check(replicas: &[i32], settings: &[&str], script: &[(&str, &str)]) {
    let mut cluster = cluster(&[1, 2, 3, 4, 5]);
    create(&mut cluster, topic(&[replicas], settings));
    for (line, expected) in script {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
        assert_eq!(shown(partition(&cluster)), *expected, "after: {line}");
    }
}
