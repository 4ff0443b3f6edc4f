//! Group coordinators on a partition with copies.

use std::sync::Arc;
use std::time::Duration;

use brooklet_group as group;
use brooklet_shard::input::{Request, Ticket};
use brooklet_shard::output::Reply;
use brooklet_types::{ErrorCode, Offset, PartitionIndex, TopicName};

use crate::world::{GROUPS, World};

fn commit(world: &mut World, id: i32, offset: u64) -> Ticket {
    let commit = group::CommitRequest {
        group: Arc::from("pilots"),
        generation: None,
        member_id: Arc::from(""),
        instance_id: None,
        retention_ms: None,
        knows_group_id_not_found: true,
        offsets: vec![group::CommitOffset {
            topic: TopicName::new("flights").unwrap(),
            topic_id: None,
            partition: PartitionIndex(0),
            offset: Offset::new(offset).into(),
            leader_epoch: None,
            metadata: Arc::from(""),
        }],
    };
    let request = group::Request::CommitOffsets(commit);
    world.ask(id, Request::Group { partition: GROUPS.partition, request, entropy: [0; 16] })
}

/// What whoever committed was told; none while it waits.
fn told(world: &mut World, ticket: Ticket) -> Option<ErrorCode> {
    let reply = world.reply(ticket)?;
    let Reply::Group(group::Reply::CommitOffsets(codes)) = reply else { panic!("{reply:?}") };
    Some(codes[0])
}

fn committed(world: &mut World, id: i32) -> Vec<u64> {
    let ticket = world.ask(id, Request::Committed);
    let Some(Reply::Committed(all)) = world.reply(ticket) else { panic!("no reply") };
    all.into_iter().map(|one| one.offset.value()).collect()
}

#[test]
fn a_commit_is_answered_when_the_followers_have_it_and_survives_a_change_of_leader() {
    let mut world = World::new(3, &[]);
    world.hold_syncs(3, true);
    let ticket = commit(&mut world, 1, 7);
    assert_eq!(told(&mut world, ticket), None);
    assert_eq!(committed(&mut world, 1), Vec::<u64>::new());
    world.hold_syncs(3, false);
    assert_eq!(told(&mut world, ticket), Some(ErrorCode::None));
    assert_eq!(committed(&mut world, 1), [7]);
    assert_eq!(committed(&mut world, 2), Vec::<u64>::new(), "it coordinates nothing");
    world.elect(GROUPS, 2);
    assert_eq!(committed(&mut world, 1), Vec::<u64>::new());
    assert_eq!(committed(&mut world, 2), [7]);
    let late = commit(&mut world, 1, 8);
    assert_eq!(told(&mut world, late), Some(ErrorCode::NotCoordinator));
    let ticket = commit(&mut world, 2, 9);
    assert_eq!(told(&mut world, ticket), Some(ErrorCode::None));
    world.elect(GROUPS, 1);
    assert_eq!(committed(&mut world, 1), [9]);
}

#[test]
fn who_waits_for_a_coordinator_that_goes_is_told() {
    let mut world = World::new(2, &[]);
    world.hold_syncs(2, true);
    let ticket = commit(&mut world, 1, 7);
    world.elect(GROUPS, 2);
    assert_eq!(told(&mut world, ticket), Some(ErrorCode::NotCoordinator));
}

#[test]
fn commits_wait_for_the_in_sync_set_however_small_it_becomes() {
    let mut world = World::new(2, &[]);
    world.cut_off.insert(2);
    let tickets: Vec<Ticket> = (1..4).map(|offset| commit(&mut world, 1, offset)).collect();
    assert!(tickets.iter().all(|ticket| told(&mut world, *ticket).is_none()));
    world.pass(Duration::from_secs(31));
    for ticket in tickets {
        assert_eq!(told(&mut world, ticket), Some(ErrorCode::None));
    }
    assert_eq!(committed(&mut world, 1), [3]);
}

#[test]
fn a_coordinator_knows_nothing_that_may_yet_be_lost() {
    let mut world = World::new(3, &[]);
    world.hold_syncs(3, true);
    let ticket = commit(&mut world, 1, 7);
    assert_eq!(told(&mut world, ticket), None);
    // The commit is in the log of the next leader, and nobody knows whether it is safe.
    world.cut_off = [1, 3].into();
    world.elect(GROUPS, 2);
    assert_eq!(committed(&mut world, 2), Vec::<u64>::new());
    let early = commit(&mut world, 2, 8);
    assert_eq!(told(&mut world, early), Some(ErrorCode::CoordinatorLoadInProgress));
    world.cut_off.clear();
    world.hold_syncs(3, false);
    world.publish();
    world.pass(Duration::from_secs(2));
    assert_eq!(committed(&mut world, 2), [7]);
}
