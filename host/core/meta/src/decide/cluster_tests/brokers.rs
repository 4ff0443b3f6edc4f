//! Brokers register, are heard of, and are not.

use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode, Instant};

use super::{
    beat, check_heartbeat_of_nobody, cluster, create, epoch, live, run, step, topic, unfence,
};
use crate::broker::{Endpoint, FeatureRange, Incarnation};
use crate::cluster::Cluster;
use crate::decide::broker::{REGISTERED_MAX, RegisterBroker, register_broker, unregister_broker};
use crate::decide::heartbeat::{Heartbeat, HeartbeatReply, heartbeat};
use crate::liveness::{Liveness, SESSION};
use crate::record::FEATURE;

#[test]
fn a_registration_is_refused_in_kafkas_words() {
    let cluster = cluster(&[1]);
    let change = |change: &dyn Fn(&mut RegisterBroker)| {
        let mut wanted = run(2, 1, true);
        change(&mut wanted);
        wanted
    };
    let many = Endpoint { name: String::new(), host: String::new(), port: 1, protocol: 0 };
    let cases = [
        (
            run(1, 1, true),
            ErrorCode::DuplicateBrokerRegistration,
            "Another broker is registered with that broker id. If the broker was recently \
             restarted this should self-resolve once the heartbeat manager expires the broker's \
             session.",
        ),
        (
            change(&|it| it.features.clear()),
            ErrorCode::UnsupportedVersion,
            "Unable to register because the broker does not support finalized version 1 of \
             brooklet.metadata.version. The broker wants a version between 0 and 0, inclusive.",
        ),
        (
            change(&|it| {
                it.features.insert(FEATURE.to_owned(), FeatureRange { min: 2, max: 3 });
            }),
            ErrorCode::UnsupportedVersion,
            "Unable to register because the broker does not support finalized version 1 of \
             brooklet.metadata.version. The broker wants a version between 2 and 3, inclusive.",
        ),
        (
            change(&|it| it.endpoints.clear()),
            ErrorCode::InvalidRegistration,
            "Unable to register a broker without a listener.",
        ),
        (
            change(&|it| it.endpoints = vec![many.clone(); REGISTERED_MAX + 1]),
            ErrorCode::InvalidRegistration,
            "Unable to register more than 64 listeners or features.",
        ),
    ];
    for (wanted, code, message) in cases {
        let error = register_broker(&cluster, true, &wanted).unwrap_err();
        assert_eq!((error.code(), error.to_string().as_str()), (code, message));
    }
    let alone = register_broker(&Cluster::default(), false, &run(1, 1, true)).unwrap_err();
    assert_eq!(alone.code(), ErrorCode::UnsupportedVersion);
}

#[test]
fn a_registration_is_fenced_until_it_is_known_and_grows() {
    let mut cluster = cluster(&[]);
    let registered = register_broker(&cluster, false, &run(1, 1, true)).unwrap();
    live(&mut cluster, &registered.records);
    assert_eq!(registered.reply, epoch(&cluster, 1));
    assert_eq!(registered.reply.0, cluster.version(), "the version it made");
    assert!(!cluster.is_active(BrokerId(1)));

    let behind = Heartbeat { metadata_version: cluster.version() - 1, ..beat(&cluster, 1) };
    let heard = heartbeat(&cluster, false, &behind).unwrap();
    assert!(heard.records.is_empty() && !heard.reply.is_caught_up && heard.reply.is_fenced);
    unfence(&mut cluster, 1);
    assert!(cluster.is_active(BrokerId(1)));

    // The same run says more of itself: it stays what it is.
    let amended = RegisterBroker { rack: Some("a".to_owned()), ..run(1, 1, true) };
    let again = register_broker(&cluster, true, &amended).unwrap();
    assert_eq!((again.reply, again.records.len()), (registered.reply, 1));
    live(&mut cluster, &again.records);
    assert!(cluster.is_active(BrokerId(1)));

    // Another run is another registration, once the first is heard of no more.
    assert!(register_broker(&cluster, true, &run(1, 2, true)).is_err());
    let next = register_broker(&cluster, false, &run(1, 2, true)).unwrap();
    live(&mut cluster, &next.records);
    assert!(next.reply > registered.reply && !cluster.is_active(BrokerId(1)));
    assert_eq!(cluster.registration(BrokerId(1)).unwrap().incarnation, Incarnation([2; 16]));
}

#[test]
fn requests_of_another_registration_are_refused() {
    let mut cluster = cluster(&[1]);
    let old = beat(&cluster, 1);
    let next = register_broker(&cluster, false, &run(1, 2, true)).unwrap();
    live(&mut cluster, &next.records);
    let error = heartbeat(&cluster, false, &old).unwrap_err();
    let expected =
        format!("Expected broker epoch {}, but got broker epoch {}", next.reply, old.epoch);
    assert_eq!((error.code(), error.to_string()), (ErrorCode::StaleBrokerEpoch, expected));
    let error = check_heartbeat_of_nobody(&cluster);
    assert_eq!(error.to_string(), "No broker registration found for broker id 9");
    let error = unregister_broker(&cluster, BrokerId(9)).unwrap_err();
    assert_eq!(error.to_string(), "Broker ID 9 is not currently registered");
    assert_eq!(error.code(), ErrorCode::BrokerIdNotRegistered);
}

/// Broker 1 in a cluster where it leads something or not, in the state that `steps` lead to.
fn led(leads: bool, steps: &[&str]) -> Cluster {
    let mut cluster = cluster(&[1, 2]);
    create(&mut cluster, topic(if leads { &[&[1]] } else { &[&[2]] }, &[]));
    for line in steps {
        let records = step(&cluster, line);
        live(&mut cluster, &records);
    }
    cluster
}

/// Kafka's `BrokerHeartbeatManagerTest`: what it is, what it asks for, what it is told.
#[test]
fn what_a_broker_may_do_next_depends_on_what_it_does_and_asks() {
    let told = |is_fenced, is_shutting_down, should_stop| HeartbeatReply {
        is_caught_up: true,
        is_fenced,
        is_shutting_down,
        should_stop,
    };
    let (fenced, active) = (told(true, false, false), told(false, false, false));
    let (leaving, stopped) = (told(false, true, false), told(true, false, true));
    type Case<'a> = (bool, &'a [&'a str], bool, bool, bool, HeartbeatReply);
    let cases: &[Case<'_>] = &[
        // Leads, what happened, wants to be fenced, wants to stop, the others know, and the answer.
        (true, &["fence 1"], false, false, false, active),
        (true, &["fence 1"], true, false, false, fenced),
        (true, &["fence 1"], false, true, false, stopped),
        (true, &[], false, false, false, active),
        (true, &[], true, false, false, fenced),
        (true, &[], true, true, false, stopped),
        (true, &[], false, true, false, leaving),
        (false, &[], false, true, false, stopped),
        (true, &["stop 1"], false, true, false, leaving),
        (true, &["stop 1"], false, true, true, stopped),
        (true, &["stop 1", "fence 1"], false, true, false, stopped),
        (true, &["stop 1", "fence 1"], false, false, false, fenced),
    ];
    for (leads, steps, wants_fence, wants_shutdown, others_know, expected) in cases {
        let cluster = led(*leads, steps);
        let heard = Heartbeat {
            wants_fence: *wants_fence,
            wants_shutdown: *wants_shutdown,
            ..beat(&cluster, 1)
        };
        let reply = heartbeat(&cluster, *others_know, &heard).unwrap().reply;
        assert_eq!(reply, *expected, "{steps:?} {wants_fence} {wants_shutdown} {others_know}");
    }
}

#[test]
fn who_was_told_to_stop_need_not_wait_to_come_back() {
    let mut cluster = led(false, &[]);
    let stopped = step(&cluster, "stop 1");
    live(&mut cluster, &stopped);
    assert!(register_broker(&cluster, true, &run(1, 9, true)).is_ok());
}

#[test]
fn whoever_is_not_heard_of_for_a_session_is_to_be_fenced_the_longest_silent_first() {
    let mut cluster = cluster(&[1, 2, 3]);
    let at = |seconds: u64| Instant::from_millis(seconds * 1000);
    let mut liveness = Liveness::new(&cluster, at(100), SESSION);
    assert_eq!(liveness.next_deadline(&cluster), Some(at(109)));
    assert_eq!(liveness.stale(&cluster, at(108)), None);
    liveness.heard(at(102), &beat(&cluster, 1));
    liveness.heard(at(101), &beat(&cluster, 2));
    liveness.heard(at(104), &beat(&cluster, 3));
    assert_eq!(liveness.next_deadline(&cluster), Some(at(110)));
    assert!(liveness.is_live(at(109), BrokerId(2)) && !liveness.is_live(at(110), BrokerId(2)));
    let mut order = Vec::new();
    while let Some((broker, _)) = liveness.stale(&cluster, at(111)) {
        order.push(broker.0);
        let fenced = step(&cluster, &format!("fence {broker}"));
        live(&mut cluster, &fenced);
        liveness.follow(&cluster, at(111));
    }
    assert_eq!(order, [2, 1]);
    assert_eq!(liveness.next_deadline(&cluster), Some(at(113)));

    // What an earlier run sends does not count for the one that has the number now.
    let old = beat(&cluster, 2);
    let next = step(&cluster, "restart 2 cleanly");
    live(&mut cluster, &next);
    liveness.follow(&cluster, at(120));
    liveness.heard(at(125), &old);
    assert!(!liveness.is_live(at(129), BrokerId(2)));
    let gone = step(&cluster, "unregister 2");
    live(&mut cluster, &gone);
    liveness.follow(&cluster, at(121));
    assert!(!liveness.is_live(at(121), BrokerId(2)));
    assert_eq!(
        Liveness::new(&Cluster::default(), at(0), Duration::ZERO).next_deadline(&cluster),
        None
    );
}

#[test]
fn a_broker_may_stop_when_everybody_knows_that_it_leads_nothing() {
    let mut cluster = led(true, &[]);
    let now = Instant::from_millis(1);
    let mut liveness = Liveness::new(&cluster, now, SESSION);
    let before = beat(&cluster, 2);
    let leaving = step(&cluster, "stop 1");
    live(&mut cluster, &leaving);
    assert!(!liveness.others_know(&cluster, BrokerId(1)), "nobody has seen it leave");
    liveness.follow(&cluster, now);
    liveness.heard(now, &before);
    assert!(!liveness.others_know(&cluster, BrokerId(1)));
    liveness.heard(now, &beat(&cluster, 2));
    assert!(liveness.others_know(&cluster, BrokerId(1)));
    assert!(!liveness.others_know(&cluster, BrokerId(2)), "it stays");
}
