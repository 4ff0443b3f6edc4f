//! Histories of a cluster: random decisions, each written down, read back and folded.
//!
//! *Goal.* What was stored folds into what was decided. Who leads has every acknowledged record, unless an unclean
//! election was permitted, or nobody had them any more. Epochs never go back.
//! *Method.* Beside the cluster an oracle keeps how many records of each partition were acknowledged, and how many
//! of them each broker has: a record is acknowledged while enough are in sync, and then all of these have it; an
//! unclean stop loses what was only in the page cache, a wiped disk everything.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_meta::broker::{BrokerEpoch, DirectoryId, Endpoint, Incarnation};
use brooklet_meta::cluster::Settings;
use brooklet_meta::decide::alter_partition::{AlterPartition, alter_partitions};
use brooklet_meta::decide::broker::{RegisterBroker, register_broker, unregister_broker};
use brooklet_meta::decide::election::{
    ElectionType, balance_leaders, elect_leaders, elect_unclean_leaders,
};
use brooklet_meta::decide::feature::begin_cluster;
use brooklet_meta::decide::heartbeat::{Heartbeat, fence_broker, heartbeat};
use brooklet_meta::decide::partition::{MorePartitions, create_partitions};
use brooklet_meta::decide::producer_id::allocate_producer_ids;
use brooklet_meta::decide::reassignment::alter_reassignments;
use brooklet_meta::decide::setting::{Alteration, Operation, Resource, alter_settings};
use brooklet_meta::decide::topic::{NewTopic, TopicRef, create_topics, delete_topics};
use brooklet_meta::partition::LeaderRecovery;
use brooklet_meta::record::{FEATURE, LEVELS};
use brooklet_meta::setting::effective::Flush;
use brooklet_meta::{Cluster, MetaRecord, Partition};
use brooklet_types::{BrokerId, Offset, PartitionIndex, TopicId, TopicPartition};
use proptest::prelude::*;

use super::{metadata_decision, read_metadata_decision};

const BROKERS: std::ops::RangeInclusive<i32> = 1..=4;
/// The first topic is flushed by `sync`, the second by `os`.
const NAMES: [&str; 2] = ["a", "b"];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum How {
    Cleanly,
    Uncleanly,
    Wiped,
}

#[derive(Clone, Debug)]
enum Step {
    Register {
        broker: i32,
        how: How,
    },
    Beat {
        broker: i32,
        wants_fence: bool,
        wants_shutdown: bool,
    },
    Fence {
        broker: i32,
    },
    Unregister {
        broker: i32,
    },
    /// The leader of a partition is in sync with these.
    InSync {
        topic: usize,
        partition: u32,
        with: BTreeSet<i32>,
    },
    Elect {
        unclean: bool,
    },
    Balance,
    ElectWherePermitted,
    Move {
        topic: usize,
        partition: u32,
        to: Option<Vec<i32>>,
    },
    Set {
        topic: Option<usize>,
        name: &'static str,
        value: String,
    },
    Create {
        topic: usize,
        copies: i16,
    },
    Delete {
        topic: usize,
    },
    Grow {
        topic: usize,
    },
    AllocateIds {
        broker: i32,
    },
    /// Every leader that can acknowledges a record.
    Write,
}

fn step() -> impl Strategy<Value = Step> {
    let (topic, partition) = (0..NAMES.len(), 0..3u32);
    let how =
        prop_oneof![4 => Just(How::Cleanly), 4 => Just(How::Uncleanly), 1 => Just(How::Wiped)];
    let with = proptest::collection::btree_set(BROKERS, 0..4);
    let to = proptest::option::of(Just(BROKERS.collect::<Vec<i32>>()).prop_shuffle());
    let to = (to, 1..4usize).prop_map(|(to, copies)| {
        to.map(|mut to: Vec<i32>| {
            to.truncate(copies);
            to
        })
    });
    let in_sync = (topic.clone(), partition.clone(), with)
        .prop_map(|(topic, partition, with)| Step::InSync { topic, partition, with });
    let set =
        (proptest::option::weighted(0.8, topic.clone()), 1..4u8).prop_map(|(topic, value)| {
            Step::Set { topic, name: "min.insync.replicas", value: value.to_string() }
        });
    let permit = (topic.clone(), proptest::bool::weighted(0.2)).prop_map(|(topic, value)| {
        let name = "unclean.leader.election.enable";
        Step::Set { topic: Some(topic), name, value: value.to_string() }
    });
    prop_oneof![
        6 => (BROKERS, how).prop_map(|(broker, how)| Step::Register { broker, how }),
        12 => (BROKERS, proptest::bool::weighted(0.1), proptest::bool::weighted(0.1)).prop_map(
            |(broker, wants_fence, wants_shutdown)| Step::Beat { broker, wants_fence, wants_shutdown }
        ),
        4 => BROKERS.prop_map(|broker| Step::Fence { broker }),
        1 => BROKERS.prop_map(|broker| Step::Unregister { broker }),
        12 => in_sync,
        1 => proptest::bool::weighted(0.3).prop_map(|unclean| Step::Elect { unclean }),
        1 => Just(Step::Balance),
        1 => Just(Step::ElectWherePermitted),
        4 => (topic.clone(), partition, to)
            .prop_map(|(topic, partition, to)| Step::Move { topic, partition, to }),
        3 => set,
        1 => permit,
        3 => (topic.clone(), 1..4i16).prop_map(|(topic, copies)| Step::Create { topic, copies }),
        1 => topic.clone().prop_map(|topic| Step::Delete { topic }),
        1 => topic.prop_map(|topic| Step::Grow { topic }),
        1 => BROKERS.prop_map(|broker| Step::AllocateIds { broker }),
        8 => Just(Step::Write),
    ]
}

/// How many records of a partition were acknowledged, and how many of them each broker has.
#[derive(Debug, Default)]
struct Records {
    acknowledged: u64,
    had: BTreeMap<BrokerId, u64>,
}

struct World {
    decided: Cluster,
    folded: Cluster,
    records: BTreeMap<TopicPartition, Records>,
    /// What distinguishes one run, disk or topic from the next.
    drawn: u8,
    directories: BTreeMap<i32, DirectoryId>,
}

impl World {
    fn new() -> World {
        let empty = || Cluster::new(Settings::new());
        let (decided, folded) = (empty(), empty());
        let (records, directories) = (BTreeMap::new(), BTreeMap::new());
        let mut world = World { decided, folded, records, drawn: 0, directories };
        let begun = begin_cluster(&world.decided).records;
        world.commit(&begun);
        for broker in BROKERS {
            world.step(&Step::Register { broker, how: How::Cleanly });
            world.step(&Step::Beat { broker, wants_fence: false, wants_shutdown: false });
        }
        for topic in 0..NAMES.len() {
            world.step(&Step::Create { topic, copies: 3 });
        }
        world
    }

    fn draw(&mut self) -> [u8; 16] {
        self.drawn = self.drawn.wrapping_add(1);
        [self.drawn; 16]
    }

    /// Writes a decision down, reads it, and folds what was read.
    fn commit(&mut self, records: &[MetaRecord]) {
        let stored = metadata_decision(records);
        assert_eq!(stored.is_none(), records.is_empty());
        let read = read_metadata_decision(Offset::new(0), stored).unwrap();
        assert_eq!(read, records);
        for record in &read {
            self.folded.apply(record);
        }
        for record in records {
            self.decided.apply(record);
        }
    }

    fn step(&mut self, step: &Step) {
        let before = self.decided.clone();
        self.lose(step);
        let records = self.decide(step);
        self.commit(&records);
        self.check(&before, step);
        if matches!(step, Step::Write) {
            self.write();
        }
    }

    fn decide(&mut self, step: &Step) -> Vec<MetaRecord> {
        if let Step::Register { broker, how } = step {
            return self.register(*broker, *how);
        }
        if let Step::Create { topic, copies } = step {
            let id = TopicId(self.draw());
            return create_topics(&self.decided, &[new_topic(id, *topic, *copies)], false).records;
        }
        decide(&self.decided, step)
    }

    fn register(&mut self, broker: i32, how: How) -> Vec<MetaRecord> {
        let (incarnation, new) = (Incarnation(self.draw()), DirectoryId(self.draw()));
        let directory = self.directories.entry(broker).or_insert(new);
        if how == How::Wiped {
            *directory = new;
        }
        let (name, host) = ("PLAINTEXT".to_owned(), "localhost".to_owned());
        let wanted = RegisterBroker {
            broker: BrokerId(broker),
            incarnation,
            directory: *directory,
            endpoints: vec![Endpoint { name, host, port: 9092, protocol: 0 }],
            rack: (broker % 2 == 0).then(|| "even".to_owned()),
            features: BTreeMap::from([(FEATURE.to_owned(), LEVELS)]),
            clean: how != How::Uncleanly,
        };
        register_broker(&self.decided, false, &wanted).unwrap().records
    }

    /// What a stop costs, before anybody knows of it.
    fn lose(&mut self, step: &Step) {
        let Step::Register { broker, how } = step else { return };
        for (place, records) in &mut self.records {
            let topic = self.decided.topic_by_id(place.topic).unwrap();
            let flush = self.decided.replication(topic).flush;
            let is_lost = match how {
                How::Cleanly => false,
                How::Uncleanly => flush == Flush::Os,
                How::Wiped => true,
            };
            if is_lost {
                records.had.insert(BrokerId(*broker), 0);
            }
            // Who is alone complete is believed: nobody knows better.
            let partition = self.decided.partition(*place).unwrap();
            let complete = partition.in_sync.iter().chain(&partition.eligible);
            if *how == How::Uncleanly && complete.eq(&[BrokerId(*broker)]) && is_lost {
                records.acknowledged = 0;
            }
        }
    }

    /// Every leader with enough in sync acknowledges one record more.
    fn write(&mut self) {
        for (place, records) in &mut self.records {
            let topic = self.decided.topic_by_id(place.topic).unwrap();
            let partition = self.decided.partition(*place).unwrap();
            let min = self.decided.replication(topic).min_in_sync_replicas;
            let min = usize::try_from(min).unwrap().min(partition.replicas.len());
            if partition.leader.is_some() && partition.in_sync.len() >= min {
                records.acknowledged += 1;
                for broker in &partition.in_sync {
                    records.had.insert(*broker, records.acknowledged);
                }
            }
        }
    }

    fn check(&mut self, before: &Cluster, step: &Step) {
        let mut there = BTreeMap::new();
        for topic in self.decided.topics() {
            let settings = self.decided.replication(topic);
            for (index, partition) in topic.indexed() {
                let place = TopicPartition { topic: topic.id, partition: index };
                let mut records = self.records.remove(&place).unwrap_or_default();
                partition.assert_sound();
                assert!(partition.leader.is_none_or(|leader| self.decided.is_active(leader)));
                if let Some(old) = before.partition(place) {
                    let permitted =
                        settings.unclean_elections || matches!(step, Step::Elect { unclean: true });
                    check_change(old, partition, permitted, step, &mut records);
                }
                there.insert(place, records);
            }
        }
        self.records = there;
    }
}

fn check_change(
    old: &Partition,
    new: &Partition,
    permitted: bool,
    step: &Step,
    records: &mut Records,
) {
    let change = || format!("{step:?}: {old:?} to {new:?}");
    assert!(old.epoch <= new.epoch && old.leader_epoch <= new.leader_epoch, "{}", change());
    assert_eq!(old == new, old.epoch == new.epoch, "{}", change());
    let is_new_term = old.leader_epoch < new.leader_epoch;
    assert!(is_new_term || old.leader == new.leader, "{}", change());
    if let Step::InSync { .. } = step {
        // A leader names who has what it has.
        for broker in new.in_sync.iter().filter(|one| !old.in_sync.contains(one)) {
            records.had.insert(*broker, records.acknowledged);
        }
    }
    let had = |broker: &BrokerId| records.had.get(broker).copied().unwrap_or_default();
    let was_complete = !old.in_sync.is_empty() || !old.eligible.is_empty();
    let is_complete = !new.in_sync.is_empty() || !new.eligible.is_empty();
    let is_given_up =
        matches!(step, Step::Unregister { .. } | Step::Register { how: How::Wiped, .. });
    assert!(!was_complete || is_complete || is_given_up, "{}", change());
    let is_unclean = new.recovery == LeaderRecovery::Recovering
        && (old.recovery == LeaderRecovery::Recovered || is_new_term);
    let mut complete = new.in_sync.iter().chain(&new.eligible);
    let lacking = complete.find(|broker| had(broker) < records.acknowledged).copied();
    if let Some(broker) = lacking {
        assert!(permitted && is_unclean, "broker {broker} lacks records: {}", change());
        records.acknowledged = had(&broker);
    }
}

fn new_topic(id: TopicId, topic: usize, copies: i16) -> NewTopic {
    let flush = ["sync", "os"][topic];
    NewTopic {
        id,
        name: NAMES[topic].to_owned(),
        partitions: 2,
        replication_factor: copies,
        assignments: Vec::new(),
        settings: vec![("brooklet.flush".to_owned(), Some(flush.to_owned()))],
        refused: None,
    }
}

fn decide(cluster: &Cluster, step: &Step) -> Vec<MetaRecord> {
    let name = |topic: &usize| NAMES[*topic].to_owned();
    let epoch = |broker: i32| {
        let known = cluster.registration(BrokerId(broker));
        known.map_or(BrokerEpoch(0), |known| known.epoch)
    };
    match step {
        Step::Beat { broker, wants_fence, wants_shutdown } => {
            let heard = Heartbeat {
                broker: BrokerId(*broker),
                epoch: epoch(*broker),
                metadata_version: cluster.version(),
                wants_fence: *wants_fence,
                wants_shutdown: *wants_shutdown,
            };
            heartbeat(cluster, true, &heard).map(|heard| heard.records).unwrap_or_default()
        }
        Step::Fence { broker } => fence_broker(cluster, BrokerId(*broker), epoch(*broker)).records,
        Step::Unregister { broker } => {
            let decision = unregister_broker(cluster, BrokerId(*broker));
            decision.map(|decision| decision.records).unwrap_or_default()
        }
        Step::InSync { topic, partition, with } => in_sync(cluster, *topic, *partition, with),
        Step::Elect { unclean: true } => {
            elect_leaders(cluster, ElectionType::Unclean, None).records
        }
        Step::Elect { unclean: false } => {
            elect_leaders(cluster, ElectionType::Preferred, None).records
        }
        Step::Balance => balance_leaders(cluster, 2).records,
        Step::ElectWherePermitted => elect_unclean_leaders(cluster, 2).records,
        Step::Move { topic, partition, to } => {
            let partition = i32::try_from(*partition).unwrap();
            let moves = [(name(topic), vec![(partition, to.clone())])];
            alter_reassignments(cluster, true, &moves).records
        }
        Step::Set { topic, name: setting, value } => {
            let resource = match topic {
                Some(topic) => Resource::Topic(name(topic)),
                None => Resource::Broker(String::new()),
            };
            let (name, value) = ((*setting).to_owned(), Some(value.clone()));
            let change = Alteration { name, operation: Operation::Set, value };
            alter_settings(cluster, &[(resource, vec![change])], false).records
        }
        Step::Delete { topic } => delete_topics(cluster, &[TopicRef::Name(name(topic))]).records,
        Step::Grow { topic } => {
            let more = MorePartitions { name: name(topic), total: 3, assignments: None };
            create_partitions(cluster, &[more], false).records
        }
        Step::AllocateIds { broker } => {
            let ids = allocate_producer_ids(cluster, BrokerId(*broker), epoch(*broker));
            ids.map(|ids| ids.records).unwrap_or_default()
        }
        Step::Register { .. } | Step::Create { .. } | Step::Write => Vec::new(),
    }
}

fn in_sync(
    cluster: &Cluster,
    topic: usize,
    partition: u32,
    with: &BTreeSet<i32>,
) -> Vec<MetaRecord> {
    let index = PartitionIndex(partition);
    let found =
        cluster.topic(NAMES[topic]).and_then(|topic| Some((topic, topic.partition(index)?)));
    let Some((topic, now)) = found else { return Vec::new() };
    let Some(leader) = now.leader else { return Vec::new() };
    let with = with.iter().map(|broker| BrokerId(*broker)).filter(|one| *one != leader);
    let wanted = AlterPartition {
        topic: topic.id,
        partition: index,
        leader_epoch: now.leader_epoch,
        epoch: now.epoch,
        in_sync: std::iter::once(leader).chain(with).map(|broker| (broker, None)).collect(),
        recovery: LeaderRecovery::Recovered,
    };
    let epoch = cluster.registration(leader).expect("a leader is registered").epoch;
    alter_partitions(cluster, leader, epoch, &[wanted]).unwrap().records
}

proptest! {
    #[test]
    fn whoever_leads_has_what_was_acknowledged_and_what_was_stored_folds_into_what_was_decided(
        steps in proptest::collection::vec(step(), 0..150)
    ) {
        let mut world = World::new();
        for step in &steps {
            world.step(step);
        }
        prop_assert_eq!(&world.folded, &world.decided);
        let stored = metadata_decision(&world.decided.facts());
        let facts = read_metadata_decision(Offset::new(0), stored).unwrap();
        let version = world.decided.version();
        prop_assert_eq!(Cluster::restored(Settings::new(), version, &facts), world.decided);
    }
}
