//! Whom consumers read from: a leader, or a follower that is nearer (KIP-392).

use brooklet_shard::input::{Acks, OffsetQuery, Place, Request};
use brooklet_shard::output::{Fetched, Reply};
use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, Timestamp};

use crate::wire::{bytes_of, values};
use crate::world::{CLOCK, FLIGHTS, World, broker, reading};

/// How long a consumer that waits is ready to.
const LONG_MS: u64 = 5000;

/// Where a consumer is sent, and what it reads.
type Found = (Option<BrokerId>, Vec<String>);

/// Fetches from `offset` on from broker `id`, for a consumer that broker 2 is nearer to.
fn fetch(world: &mut World, id: i32, offset: u64) -> Option<Result<Found, ErrorCode>> {
    let mut fetch = reading(offset, LONG_MS);
    fetch.partitions[0].nearer = Some(broker(2));
    let ticket = world.ask(id, Request::Fetch(fetch));
    let Reply::Fetched(mut found) = world.reply(ticket)? else { panic!("not a fetch's reply") };
    let fetched: Fetched<_> = found.remove(0).1;
    Some(match fetched.error {
        Some(code) => Err(code),
        None => Ok((fetched.nearer, values(&bytes_of(fetched)))),
    })
}

#[test]
fn a_leader_sends_a_consumer_to_who_is_nearer_and_has_what_it_asks_for() {
    let mut world = World::new(2, &[]);
    world.produce(1, "hello", Acks::All);
    let sent = Some(Ok((Some(broker(2)), Vec::new())));
    // At the end too, and at once: it is to wait there.
    assert_eq!(fetch(&mut world, 1, 0), sent);
    assert_eq!(fetch(&mut world, 1, 1), sent);
    assert_eq!(fetch(&mut world, 2, 0), Some(Ok((None, vec!["hello".to_owned()]))));
    assert_eq!(fetch(&mut world, 2, 1), None, "it waits");
    // What only the leader has: the follower would call it out of range.
    world.hold_syncs(2, true);
    world.cut_off.insert(2);
    world.produce(1, "more", Acks::Leader);
    assert_eq!(world.log(1, FLIGHTS), Some((0, 1, 2)));
    assert_eq!(fetch(&mut world, 1, 2), None, "it waits here");
    assert_eq!(fetch(&mut world, 1, 3), Some(Err(ErrorCode::OffsetOutOfRange)));
}

#[test]
fn a_leader_that_is_alone_sends_nobody_away() {
    let mut world = World::new(1, &[]);
    world.produce(1, "hello", Acks::All);
    assert_eq!(fetch(&mut world, 1, 0), Some(Ok((None, vec!["hello".to_owned()]))));
}

#[test]
fn a_follower_shows_what_is_safe_and_nothing_behind() {
    let mut world = World::new(3, &[]);
    world.hold_syncs(3, true);
    world.produce(1, "hello", Acks::Leader);
    assert_eq!(world.log(2, FLIGHTS), Some((0, 0, 1)));
    let waiting = [world.fetch(2, 0, LONG_MS), world.fetch(2, 1, LONG_MS)];
    assert!(waiting.iter().all(|ticket| world.fetched(*ticket).is_none()));
    let beyond = world.fetch(2, 2, LONG_MS);
    assert_eq!(world.fetched(beyond), Some(Err(ErrorCode::OffsetOutOfRange)));
    world.hold_syncs(3, false);
    assert_eq!(world.fetched(waiting[0]), Some(Ok(vec!["hello".to_owned()])));
}

#[test]
fn who_knows_only_leaders_is_served_by_no_follower() {
    let mut world = World::new(2, &[]);
    world.produce(1, "hello", Acks::All);
    let mut ask = |id: i32, epoch: Option<u32>| {
        let mut fetch = reading(0, 0);
        fetch.of_followers = false;
        fetch.partitions[0].current_epoch = epoch.map(LeaderEpoch);
        let ticket = world.ask(id, Request::Fetch(fetch));
        world.fetched(ticket).unwrap()
    };
    assert_eq!(ask(1, None), Ok(vec!["hello".to_owned()]));
    assert_eq!(ask(2, None), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(ask(2, Some(7)), Err(ErrorCode::UnknownLeaderEpoch), "that comes first");
    assert_eq!(ask(3, None), Err(ErrorCode::NotLeaderOrFollower));
}

#[test]
fn every_copy_tells_which_producers_it_remembers() {
    let mut world = World::new(2, &[]);
    for (id, expected) in [(1, None), (2, None), (3, Some(ErrorCode::NotLeaderOrFollower))] {
        let ticket = world.ask(id, Request::DescribeProducers(vec![(0, FLIGHTS)]));
        let Some(Reply::Producers(found)) = world.reply(ticket) else { panic!("no producers") };
        assert_eq!(found[0].1.as_ref().err(), expected.as_ref(), "broker {id}");
    }
}

#[test]
fn a_new_leader_does_not_say_that_there_is_no_such_record_before_it_is_sure() {
    let mut world = World::new(2, &[]);
    world.produce(1, "first", Acks::All);
    world.hold_syncs(2, true);
    world.produce(1, "second", Acks::Leader);
    world.cut_off.insert(1);
    world.hold_syncs(2, false);
    world.elect(FLIGHTS, 2);
    let mut find = |place: Place| {
        let query = OffsetQuery { place, current_epoch: None };
        let ticket = world.ask(2, Request::ListOffsets(vec![(0, FLIGHTS, query)]));
        let Some(Reply::Offsets(found)) = world.reply(ticket) else { panic!("no offsets") };
        found[0].1.map(|found| found.offset.map(|offset| offset.value()))
    };
    assert_eq!(find(Place::Earliest), Ok(Some(0)));
    assert_eq!(find(Place::At(CLOCK)), Ok(Some(0)), "safe, whoever leads");
    let later = Timestamp(CLOCK.0 + 1);
    assert_eq!(find(Place::At(later)), Err(ErrorCode::OffsetNotAvailable));
}
