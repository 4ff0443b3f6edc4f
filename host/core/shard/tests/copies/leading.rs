//! One leader all the time: when a write is safe, who may read it, and who is in sync.

use std::time::Duration;

use brooklet_shard::input::{Acks, OffsetQuery, Place, Produce, Request};
use brooklet_shard::output::Reply;
use brooklet_types::{ErrorCode, Offset};

use crate::wire::record;
use crate::world::{ALONE, FLIGHTS, World, broker};

const NOTHING: Vec<String> = Vec::new();

#[test]
fn a_write_is_acknowledged_when_it_is_on_the_disks_of_all_who_are_in_sync() {
    let mut world = World::new(3, &[]);
    world.hold_syncs(3, true);
    let produced = world.produce(1, "hello", Acks::All);
    assert_eq!(world.log(1, FLIGHTS), Some((0, 0, 1)));
    assert_eq!(world.log(3, FLIGHTS), Some((0, 0, 1)), "written, and not on its disk");
    assert_eq!(world.produced(produced), None);
    assert_eq!(world.read(1), NOTHING);
    world.hold_syncs(3, false);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
    for id in 1..=3 {
        assert_eq!(world.log(id, FLIGHTS), Some((0, 1, 1)), "broker {id}");
        assert_eq!(world.read(id), ["hello"], "broker {id}");
    }
    assert!(world.events.is_empty(), "{:?}", world.events);
}

#[test]
fn it_is_not_acknowledged_before_it_is_on_the_leaders_own_disk() {
    let mut world = World::new(3, &[]);
    world.hold_syncs(1, true);
    let produced = world.produce(1, "hello", Acks::All);
    assert_eq!(world.log(2, FLIGHTS), Some((0, 0, 1)), "followers need not wait for that");
    assert_eq!(world.produced(produced), None);
    world.hold_syncs(1, false);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
}

#[test]
fn a_topic_flushed_by_the_system_waits_for_copies_and_for_no_disk() {
    let mut world = World::new(3, &[("brooklet.flush", "os")]);
    (1..=3).for_each(|id| world.hold_syncs(id, true));
    let produced = world.produce(1, "hello", Acks::All);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
    world.cut_off.insert(3);
    let produced = world.produce(1, "again", Acks::All);
    assert_eq!(world.produced(produced), None);
}

#[test]
fn acks_of_the_leader_wait_for_nobody() {
    let mut world = World::new(3, &[]);
    (1..=3).for_each(|id| world.hold_syncs(id, true));
    let produced = world.produce(1, "soon", Acks::Leader);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
}

#[test]
fn a_request_is_answered_when_all_of_its_partitions_are_safe() {
    let mut world = World::new(2, &[]);
    world.hold_syncs(1, true);
    world.hold_syncs(2, true);
    let produced = world.produce_to(1, &[ALONE, FLIGHTS], "both", Acks::All);
    world.hold_syncs(1, false);
    assert_eq!(world.log(1, ALONE), Some((0, 1, 1)));
    assert_eq!(world.produced(produced), None);
    world.hold_syncs(2, false);
    assert_eq!(world.produced(produced), Some(vec![Ok(0), Ok(0)]));
}

#[test]
fn a_consumer_waits_for_the_high_watermark_and_is_woken_by_it() {
    let mut world = World::new(2, &[]);
    world.hold_syncs(2, true);
    let waiting = [world.fetch(1, 0, 5000), world.fetch(2, 0, 5000)];
    world.produce(1, "hello", Acks::Leader);
    assert!(waiting.iter().all(|ticket| world.fetched(*ticket).is_none()));
    world.hold_syncs(2, false);
    for ticket in waiting {
        assert_eq!(world.fetched(ticket).unwrap().unwrap(), ["hello"]);
    }
}

#[test]
fn who_is_gone_leaves_the_in_sync_set_after_thirty_seconds_and_comes_back() {
    let mut world = World::new(3, &[]);
    world.cut_off.insert(3);
    let produced = world.produce(1, "first", Acks::All);
    world.pass(Duration::from_millis(29_900));
    assert_eq!(world.produced(produced), None);
    assert_eq!(world.in_sync(FLIGHTS), [1, 2, 3]);
    world.pass(Duration::from_millis(700));
    assert_eq!(world.in_sync(FLIGHTS), [1, 2]);
    assert_eq!(world.produced(produced), Some(vec![Ok(0)]));
    world.cut_off.remove(&3);
    world.publish();
    world.pass(Duration::from_secs(2));
    assert_eq!(world.in_sync(FLIGHTS), [1, 2, 3]);
    assert_eq!(world.read(3), ["first"]);
}

#[test]
fn too_few_in_sync_are_told_before_and_after() {
    let mut world = World::new(2, &[("min.insync.replicas", "2")]);
    let before = world.produce(1, "safe", Acks::All);
    assert_eq!(world.produced(before), Some(vec![Ok(0)]));
    world.cut_off.insert(2);
    let during = world.produce(1, "during", Acks::All);
    world.pass(Duration::from_secs(31));
    assert_eq!(world.in_sync(FLIGHTS), [1]);
    let expected = Some(vec![Err(ErrorCode::NotEnoughReplicasAfterAppend)]);
    assert_eq!(world.produced(during), expected);
    let after = world.produce(1, "after", Acks::All);
    assert_eq!(world.produced(after), Some(vec![Err(ErrorCode::NotEnoughReplicas)]));
    assert_eq!(world.log(1, FLIGHTS), Some((0, 1, 2)), "what is refused is not written");
    let leader = world.produce(1, "of the leader", Acks::Leader);
    assert_eq!(world.produced(leader), Some(vec![Ok(2)]));
}

#[test]
fn a_request_waits_for_followers_no_longer_than_it_says() {
    let mut world = World::new(2, &[]);
    world.hold_syncs(2, true);
    let (acks, timeout) = (Acks::All, Duration::from_secs(1));
    let batches = [ALONE, FLIGHTS].map(|id| (u32::from(id == FLIGHTS), id, record("x")));
    let produce = Produce { batches: batches.into(), acks, timeout };
    let produced = world.ask(1, Request::Produce(produce));
    world.pass(Duration::from_millis(999));
    assert_eq!(world.produced(produced), None);
    world.pass(Duration::from_millis(1));
    let expected = Some(vec![Ok(0), Err(ErrorCode::RequestTimedOut)]);
    assert_eq!(world.produced(produced), expected);
    world.hold_syncs(2, false);
    assert_eq!(world.read(1), ["x"], "it is safe later all the same");
    assert_eq!(world.produced(produced), None, "and is not answered again");
}

#[test]
fn only_a_leader_takes_writes_and_tells_offsets() {
    let mut world = World::new(2, &[]);
    world.produce(1, "hello", Acks::All);
    let query = OffsetQuery { place: Place::Latest, current_epoch: None };
    for (id, expected) in [(1, None), (2, Some(ErrorCode::NotLeaderOrFollower))] {
        let offsets = world.ask(id, Request::ListOffsets(vec![(0, FLIGHTS, query)]));
        let Some(Reply::Offsets(found)) = world.reply(offsets) else { panic!("no offsets") };
        assert_eq!(found[0].1.err(), expected, "ListOffsets at {id}");
        let deleted = world.ask(id, Request::DeleteRecords(vec![(0, FLIGHTS, None)]));
        let Some(Reply::RecordsDeleted(deleted)) = world.reply(deleted) else { panic!("no reply") };
        assert_eq!(deleted[0].1.err(), expected, "DeleteRecords at {id}");
        let produced = world.produce(id, "more", Acks::Leader);
        assert_eq!(world.produced(produced).unwrap()[0].err(), expected, "Produce at {id}");
    }
    let produced = world.produce(3, "more", Acks::All);
    assert_eq!(world.produced(produced), Some(vec![Err(ErrorCode::NotLeaderOrFollower)]));
    let fetched = world.fetch(3, 0, 0);
    assert_eq!(world.fetched(fetched), Some(Err(ErrorCode::NotLeaderOrFollower)));
}

#[test]
fn a_follower_deletes_what_its_leader_has_deleted() {
    let mut world = World::new(2, &[]);
    for value in ["a", "b", "c"] {
        world.produce(1, value, Acks::All);
    }
    world.ask(1, Request::DeleteRecords(vec![(0, FLIGHTS, Some(Offset::new(2)))]));
    world.pass(Duration::from_secs(1));
    for id in 1..=2 {
        assert_eq!(world.log(id, FLIGHTS), Some((2, 3, 3)), "broker {id}");
    }
    // One that comes late begins where the leader does.
    world.change(FLIGHTS, |partition| partition.replicas.push(broker(3)));
    world.pass(Duration::from_secs(2));
    assert_eq!(world.log(3, FLIGHTS), Some((2, 3, 3)));
    assert_eq!(world.read(3), ["c"]);
    assert_eq!(world.in_sync(FLIGHTS), [1, 2, 3]);
}
