//! The controller's duties as tables: who is there, and what is due.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::TopicName;
use proptest::prelude::*;

use super::*;
use crate::broker::{Incarnation, Registration};
use crate::cluster::{Broker, Settings, Topic};
use crate::decide::heartbeat::fence_broker;
use crate::partition::Partition;
use brooklet_types::TopicId;

fn at(millis: u64) -> Instant {
    Instant::from_millis(millis)
}

fn folder(broker: i32) -> DirectoryId {
    DirectoryId([u8::try_from(broker).unwrap(); 16])
}

/// A cluster of active brokers, each with its number for an epoch.
fn cluster(brokers: &[i32]) -> Cluster {
    let one = |broker: &i32| {
        let registration = Registration {
            epoch: BrokerEpoch(u64::try_from(*broker).unwrap()),
            incarnation: Incarnation([0; 16]),
            directory: folder(*broker),
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            fenced: false,
            shutting_down: false,
        };
        let (id, registration) = (BrokerId(*broker), Some(registration));
        (id, Broker { id, settings: Settings::new(), registration })
    };
    let brokers = Arc::new(brokers.iter().map(one).collect());
    let features = BTreeMap::from([(crate::record::FEATURE.to_owned(), 1)]);
    Cluster { version: 100, brokers, features: Arc::new(features), ..Cluster::default() }
}

fn beat(broker: i32) -> Heartbeat {
    Heartbeat {
        broker: BrokerId(broker),
        epoch: BrokerEpoch(u64::try_from(broker).unwrap()),
        metadata_version: 100,
        wants_fence: false,
        wants_shutdown: false,
    }
}

fn fence(cluster: &mut Cluster, broker: BrokerId, epoch: BrokerEpoch) {
    for record in fence_broker(cluster, broker, epoch).records {
        cluster.apply(&record);
    }
}

/// Voters and observers, by their brokers.
fn members(voters: &[i32], observers: &[i32]) -> Vec<QuorumMember> {
    let member = |votes: bool| move |id: &i32| (BrokerId(*id), folder(*id), votes);
    voters.iter().map(member(true)).chain(observers.iter().map(member(false))).collect()
}

/// Who votes when a cluster with these members is left alone, where `there` are heard of.
fn grown(voters: &[i32], observers: &[i32], there: &[i32]) -> Vec<i32> {
    let all: Vec<i32> = voters.iter().chain(observers).copied().collect();
    let cluster = cluster(&all);
    let mut controller = Controller::new(&cluster, at(0), ControllerSettings::default());
    for broker in there {
        controller.heard(at(1), &beat(*broker));
    }
    let mut members = members(voters, observers);
    while let Some(duty) = controller.due(at(2), &cluster, &members) {
        let Duty::Promote(broker, directory) = duty else { panic!("{duty:?}") };
        assert_eq!(controller.due(at(3), &cluster, &members), None, "handed out once");
        let found = members.iter_mut().find(|it| (it.0, it.1) == (broker, directory));
        found.expect("a member").2 = true;
    }
    let voters = members.iter().filter(|(_, _, votes)| *votes);
    voters.map(|(broker, _, _)| broker.0).collect()
}

#[test]
fn voters_are_an_odd_number_of_those_who_are_there() {
    type Case<'a> = (&'a [i32], &'a [i32], &'a [i32], &'a [i32]);
    let cases: &[Case<'_>] = &[
        (&[1], &[], &[1], &[1]),
        (&[1], &[2], &[1, 2], &[1]),
        (&[1], &[2, 3], &[1, 2, 3], &[1, 2, 3]),
        // Not with one that is only believed to be there.
        (&[1], &[2, 3], &[1, 2], &[1]),
        (&[1], &[2, 3], &[2, 3], &[1]),
        (&[1], &[2, 3, 4], &[1, 2, 3, 4], &[1, 2, 3]),
        (&[1], &[2, 3, 4], &[1, 3, 4], &[1, 3, 4]),
        (&[1], &[2, 3, 4, 5], &[1, 2, 3, 4, 5], &[1, 2, 3, 4, 5]),
        (&[1], &[2, 3, 4, 5, 6, 7], &[1, 2, 3, 4, 5, 6, 7], &[1, 2, 3, 4, 5]),
        // An even number is made odd with anybody who is there.
        (&[1, 2], &[3], &[1, 2, 3], &[1, 2, 3]),
        (&[1, 2], &[3], &[1, 2], &[1, 2]),
        (&[1, 2, 3, 4], &[5], &[1, 2, 3, 5], &[1, 2, 3, 4, 5]),
        // Not beyond what those who are there can carry.
        (&[1, 2, 3], &[4, 5], &[1, 2, 4, 5], &[1, 2, 3]),
        (&[1, 2, 3], &[4, 5, 6], &[1, 2, 4, 5, 6], &[1, 2, 3, 4, 5]),
        (&[1, 2, 3, 4, 5, 6], &[7], &[1, 2, 3, 4, 5, 6, 7], &[1, 2, 3, 4, 5, 6]),
    ];
    for (voters, observers, there, expected) in cases {
        let mut found = grown(voters, observers, there);
        found.sort_unstable();
        assert_eq!(found, *expected, "{voters:?} {observers:?} {there:?}");
    }
}

#[test]
fn who_is_not_active_on_that_folder_or_silent_for_a_while_does_not_become_a_voter() {
    let all = members(&[1], &[2, 3]);
    let heard = |cluster: &Cluster| {
        let mut controller = Controller::new(cluster, at(0), ControllerSettings::default());
        for broker in [1, 2, 3] {
            controller.heard(at(1000), &beat(broker));
        }
        controller
    };
    let sound = cluster(&[1, 2, 3]);
    let promoted = Some(Duty::Promote(BrokerId(2), folder(2)));
    assert_eq!(heard(&sound).due(at(4000), &sound, &all), promoted);
    assert_eq!(heard(&sound).due(at(4001), &sound, &all), None, "heard of too long ago");

    let mut other = all.clone();
    other[1].1 = folder(9);
    assert_eq!(heard(&sound).due(at(1001), &sound, &other), None, "it has another folder now");

    let mut fenced = cluster(&[1, 2, 3]);
    fence(&mut fenced, BrokerId(3), BrokerEpoch(3));
    assert_eq!(heard(&fenced).due(at(1001), &fenced, &all), None);
}

#[test]
fn a_duty_that_came_to_nothing_is_handed_out_again() {
    let cluster = cluster(&[1, 2]);
    let mut controller = Controller::new(&cluster, at(0), ControllerSettings::default());
    let members = members(&[1], &[2]);
    let session = Duration::from_secs(9);
    assert_eq!(controller.next_deadline(&cluster), Some(at(0) + session));
    assert!(controller.is_live(at(8999), BrokerId(1)));
    controller.heard(at(5000), &beat(1));
    assert_eq!(controller.due(at(8999), &cluster, &members), None);
    let duty = Some(Duty::Fence(BrokerId(2), BrokerEpoch(2)));
    assert_eq!(controller.due(at(9000), &cluster, &members), duty);
    assert_eq!(controller.next_deadline(&cluster), Some(at(10_000)));
    assert_eq!(controller.due(at(9999), &cluster, &members), None);
    assert_eq!(controller.due(at(10_000), &cluster, &members), duty);
}

#[test]
fn what_is_under_way_is_not_looked_at_again_and_again() {
    let cluster = cluster(&[1, 2, 3]);
    let balance = Some(Duration::from_secs(1));
    let settings = ControllerSettings { balance, ..ControllerSettings::default() };
    let mut controller = Controller::new(&cluster, at(0), settings);
    let members = members(&[1], &[2, 3]);
    for broker in [1, 2, 3] {
        controller.heard(at(1500), &beat(broker));
    }
    // Nobody can say yes to it, and leaders are to be balanced since.
    let promotion = Some(Duty::Promote(BrokerId(2), folder(2)));
    assert_eq!(controller.due(at(1500), &cluster, &members), promotion);
    assert_eq!(controller.next_deadline(&cluster), Some(at(2500)));
    assert_eq!(controller.due(at(2000), &cluster, &members), None);
    assert_eq!(controller.due(at(2500), &cluster, &members), promotion);
    assert_eq!(controller.next_deadline(&cluster), Some(at(3500)));
}

#[test]
fn two_silent_brokers_are_fenced_one_after_the_other() {
    let mut cluster = cluster(&[1, 2, 3]);
    let mut controller = Controller::new(&cluster, at(0), ControllerSettings::default());
    controller.heard(at(5000), &beat(1));
    let members = members(&[1, 2, 3], &[]);
    let mut fenced = Vec::new();
    while let Some(duty) = controller.due(at(9500), &cluster, &members) {
        let Duty::Fence(broker, epoch) = duty else { panic!("{duty:?}") };
        fence(&mut cluster, broker, epoch);
        fenced.push(broker.0);
    }
    assert_eq!(fenced, [2, 3]);
}

/// A cluster with a partition of brokers 1 and 2 that `leader` leads, with these in sync.
fn led(leader: i32, in_sync: &[i32], first_is_fenced: bool) -> Cluster {
    let mut cluster = cluster(&[1, 2]);
    if first_is_fenced {
        fence(&mut cluster, BrokerId(1), BrokerEpoch(1));
    }
    let partition = Partition {
        leader: Some(BrokerId(leader)),
        replicas: vec![BrokerId(1), BrokerId(2)],
        in_sync: in_sync.iter().copied().map(BrokerId).collect(),
        ..Partition::default()
    };
    let name = TopicName::new("t").unwrap();
    let (id, partitions) = (TopicId([7; 16]), vec![partition]);
    let topic =
        Topic { id, name: name.clone(), partitions, settings: Settings::new(), view_of: None };
    let topics = Arc::new(BTreeMap::from([(name.clone(), Arc::new(topic))]));
    Cluster { topics, names: Arc::new(BTreeMap::from([(id, name)])), ..cluster }
}

#[test]
fn leaders_are_balanced_now_and_then_where_the_first_replica_could_lead() {
    let interval = Duration::from_secs(300);
    let due = |cluster: &Cluster, balance: Option<Duration>| {
        let settings = ControllerSettings { balance, ..ControllerSettings::default() };
        let mut controller = Controller::new(cluster, at(0), settings);
        let members = members(&[1], &[]);
        let now = at(0) + interval;
        for broker in [1, 2] {
            controller.heard(at(299_000), &beat(broker));
        }
        assert_eq!(controller.due(at(299_999), cluster, &members), None);
        let duty = controller.due(now, cluster, &members);
        assert_eq!(controller.due(now + AGAIN, cluster, &members), None, "not before the next");
        duty
    };
    assert_eq!(due(&led(2, &[1, 2], false), Some(interval)), Some(Duty::ElectPreferred));
    assert_eq!(due(&led(2, &[1, 2], false), None), None);
    assert_eq!(due(&led(1, &[1, 2], false), Some(interval)), None);
    assert_eq!(due(&led(2, &[2], false), Some(interval)), None, "it is not in sync");
    assert_eq!(due(&led(2, &[1, 2], true), Some(interval)), None, "it is not there");
}

#[test]
fn a_heartbeat_that_the_others_have_seen_lets_a_broker_stop() {
    let mut cluster = cluster(&[1, 2]);
    let mut controller = Controller::new(&cluster, at(0), ControllerSettings::default());
    let (broker, epoch) = (BrokerId(1), BrokerEpoch(1));
    let leaving = crate::record::ClusterRecord::BrokerChanged {
        broker,
        epoch,
        fenced: false,
        shutting_down: true,
    };
    cluster.apply(&leaving.into());
    assert_eq!(controller.due(at(1), &cluster, &[]), None);
    controller.heard(at(2), &beat(2));
    assert!(!controller.others_know(&cluster, broker), "broker 2 knows of version 100 only");
    controller.heard(at(3), &Heartbeat { metadata_version: 101, ..beat(2) });
    assert!(controller.others_know(&cluster, broker));
}

proptest! {
    /// Who is heard of within its session is never fenced, and who is not is fenced when it ends.
    #[test]
    fn sessions_end_for_the_silent_only(
        gaps in prop::collection::vec(1..8_999_u64, 1..20),
        dies_after in 0..20_usize,
    ) {
        let mut cluster = cluster(&[1, 2]);
        let mut controller = Controller::new(&cluster, at(0), ControllerSettings::default());
        let members = members(&[1], &[2]);
        let (mut now, mut last) = (0, 0);
        for (round, gap) in gaps.into_iter().enumerate() {
            now += gap;
            while let Some(due) = controller.next_deadline(&cluster).filter(|due| *due <= at(now)) {
                if let Some(duty) = controller.due(due, &cluster, &members) {
                    let silent = Duty::Fence(BrokerId(2), BrokerEpoch(2));
                    prop_assert_eq!((duty, due), (silent, at(last + 9000)));
                    fence(&mut cluster, BrokerId(2), BrokerEpoch(2));
                }
            }
            controller.heard(at(now), &beat(1));
            if round < dies_after {
                controller.heard(at(now), &beat(2));
                last = now;
            }
            prop_assert!(cluster.is_active(BrokerId(1)));
            prop_assert_eq!(cluster.is_active(BrokerId(2)), now < last + 9000);
        }
    }
}
