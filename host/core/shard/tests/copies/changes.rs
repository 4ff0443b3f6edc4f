//! Leaders change, brokers come and go: what becomes of logs, and of whoever waits.

use std::sync::Arc;
use std::time::Duration;

use brooklet_shard::input::{Acks, Input, OffsetQuery, Place, Request};
use brooklet_shard::output::Reply;
use brooklet_types::ErrorCode;

use crate::world::{ALONE, FLIGHTS, World, broker};

#[test]
fn an_old_leader_gives_up_what_nobody_else_has() {
    let mut world = World::new(3, &[]);
    let safe = world.produce(1, "safe", Acks::All);
    assert_eq!(world.produced(safe), Some(vec![Ok(0)]));
    world.cut_off.insert(1);
    let lost = [world.produce(1, "lost", Acks::All), world.produce(1, "lost too", Acks::All)];
    world.change(FLIGHTS, |partition| {
        partition.leader = Some(broker(2));
        partition.leader_epoch.0 += 1;
        partition.in_sync = vec![broker(2), broker(3)];
    });
    let later = world.produce(2, "later", Acks::All);
    assert_eq!(world.produced(later), Some(vec![Ok(1)]));
    assert_eq!(world.log(1, FLIGHTS), Some((0, 1, 3)), "it does not know yet");
    world.cut_off.remove(&1);
    world.publish();
    for lost in lost {
        assert_eq!(world.produced(lost), Some(vec![Err(ErrorCode::NotLeaderOrFollower)]));
    }
    world.pass(Duration::from_secs(2));
    for id in 1..=3 {
        assert_eq!(world.read(id), ["safe", "later"], "broker {id}");
    }
    assert_eq!(world.in_sync(FLIGHTS), [1, 2, 3]);
    assert!(world.events.is_empty(), "{:?}", world.events);
    // What was cut does not come back from the journal, nor anything else.
    world.restart(1);
    world.pass(Duration::from_secs(2));
    assert_eq!(world.read(1), ["safe", "later"]);
}

#[test]
fn what_was_acknowledged_survives_every_leader() {
    let mut world = World::new(3, &[]);
    let mut expected = Vec::new();
    for turn in 0..12 {
        let leader = 1 + turn % 3;
        if turn > 0 {
            world.elect(FLIGHTS, leader);
        }
        let value = format!("value {turn}");
        let produced = world.produce(leader, &value, Acks::All);
        assert_eq!(world.produced(produced), Some(vec![Ok(u64::try_from(turn).unwrap())]));
        expected.push(value);
        for id in 1..=3 {
            assert_eq!(world.read(id), expected, "broker {id} in turn {turn}");
        }
    }
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn readers_who_wait_at_a_leader_are_sent_away_when_it_leads_no_more() {
    let mut world = World::new(2, &[]);
    let waiting = world.fetch(1, 0, 5000);
    world.elect(FLIGHTS, 2);
    assert_eq!(world.fetched(waiting), Some(Ok(Vec::new())), "it may ask again, elsewhere");
}

#[test]
fn a_new_leader_tells_no_latest_offset_before_it_is_sure() {
    let mut world = World::new(2, &[]);
    world.hold_syncs(2, true);
    world.produce(1, "hello", Acks::Leader);
    world.cut_off.insert(1);
    world.hold_syncs(2, false);
    world.elect(FLIGHTS, 2);
    let query = OffsetQuery { place: Place::Latest, current_epoch: None };
    let latest = |world: &mut World| {
        let ticket = world.ask(2, Request::ListOffsets(vec![(0, FLIGHTS, query)]));
        let Some(Reply::Offsets(found)) = world.reply(ticket) else { panic!("no offsets") };
        found[0].1.map(|found| found.offset.unwrap().value())
    };
    assert_eq!(latest(&mut world), Err(ErrorCode::OffsetNotAvailable));
    world.pass(Duration::from_secs(31));
    assert_eq!(latest(&mut world), Ok(1));
}

#[test]
fn a_broker_that_lost_its_page_cache_copies_it_again() {
    let mut world = World::new(3, &[]);
    world.produce(1, "first", Acks::All);
    world.hold_syncs(3, true);
    let second = world.produce(1, "second", Acks::All);
    world.restart(3);
    world.pass(Duration::from_secs(1));
    assert_eq!(world.produced(second), Some(vec![Ok(1)]));
    assert_eq!(world.read(3), ["first", "second"]);
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn a_leader_that_restarts_goes_on_in_its_own_new_epoch() {
    let mut world = World::new(2, &[]);
    world.produce(1, "first", Acks::All);
    world.cut_off.insert(1);
    world.restart(1);
    world.cut_off.remove(&1);
    world.elect(FLIGHTS, 1);
    world.pass(Duration::from_secs(1));
    let second = world.produce(1, "second", Acks::All);
    assert_eq!(world.produced(second), Some(vec![Ok(1)]));
    assert_eq!(world.read(2), ["first", "second"]);
}

#[test]
fn a_shard_acts_on_no_image_that_is_not_for_this_run() {
    let mut world = World::new(2, &[]);
    let before = Arc::new(world.cluster.clone());
    world.cut_off.insert(1);
    world.restart(1);
    let cluster = Arc::clone(&before);
    world.step(1, Input::Cluster { ticket: 0, cluster });
    world.run();
    assert_eq!(world.log(1, ALONE), None, "it was another run that had it");
    let produced = world.produce_to(1, &[ALONE], "no", Acks::Leader);
    assert_eq!(world.produced(produced), Some(vec![Err(ErrorCode::NotLeaderOrFollower)]));
    world.cut_off.remove(&1);
    world.publish();
    let produced = world.produce_to(1, &[ALONE], "yes", Acks::All);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
}

#[test]
fn a_partition_that_moves_away_leaves_no_files() {
    let mut world = World::new(2, &[]);
    world.produce(1, "hello", Acks::All);
    assert!(world.folders(2).contains(&"flights-0".to_owned()));
    let waiting = world.fetch(2, 1, 5000);
    world.change(FLIGHTS, |partition| {
        partition.replicas = vec![broker(1)];
        partition.in_sync = vec![broker(1)];
    });
    assert_eq!(world.fetched(waiting), Some(Err(ErrorCode::NotLeaderOrFollower)));
    assert!(!world.folders(2).contains(&"flights-0".to_owned()));
    let produced = world.produce(1, "alone", Acks::All);
    assert_eq!(world.produced(produced), Some(vec![Ok(1)]));
}

#[test]
fn a_partition_that_was_alone_gets_followers() {
    let mut world = World::new(1, &[]);
    world.produce(1, "hello", Acks::All);
    world.change(FLIGHTS, |partition| partition.replicas.extend([broker(2), broker(3)]));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.in_sync(FLIGHTS), [1, 2, 3]);
    let produced = world.produce(1, "more", Acks::All);
    assert_eq!(world.produced(produced), Some(vec![Ok(1)]));
    assert_eq!(world.read(3), ["hello", "more"]);
}

#[test]
fn an_unclean_leader_makes_others_cut_what_was_safe_and_they_say_so() {
    let mut world = World::new(2, &[]);
    world.produce(1, "first", Acks::All);
    world.cut_off.insert(2);
    world.pass(Duration::from_secs(31));
    let second = world.produce(1, "second", Acks::All);
    assert_eq!(world.produced(second), Some(vec![Ok(1)]), "with nobody else in sync");
    world.cut_off = [1].into();
    world.change(FLIGHTS, |partition| {
        partition.leader = Some(broker(2));
        partition.leader_epoch.0 += 1;
        partition.in_sync = vec![broker(2)];
    });
    let other = world.produce(2, "other", Acks::All);
    assert_eq!(world.produced(other), Some(vec![Ok(1)]));
    world.cut_off.clear();
    world.expect_violation(1);
    world.publish();
    world.pass(Duration::from_secs(1));
    assert_eq!(world.read(1), ["first", "other"]);
    let told: Vec<String> = world.events.iter().map(|event| format!("{event:?}")).collect();
    assert!(told.iter().any(|event| event.contains("CutBelowHighWatermark")), "{told:?}");
}
