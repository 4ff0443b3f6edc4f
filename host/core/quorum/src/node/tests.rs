//! What a quorum does, told as stories of a few members.

use brooklet_types::BrokerId;
use bytes::Bytes;

use super::*;
use crate::entry::Stored;
use crate::ready::{Event, Ready};
use crate::testing::{Group, first, member, on_disk, open, settings, settle};

fn bytes_of(text: &'static str) -> Bytes {
    Bytes::from_static(text.as_bytes())
}

#[test]
fn a_quorum_of_one_leads_when_its_vote_is_on_the_disk_and_decides_by_itself() {
    let mut quorum = open(member(1), first(&[1]));
    settle(&mut quorum);
    quorum.campaign();
    let ready = quorum.ready().unwrap();
    assert_eq!(ready.hard_state, Some(crate::testing::hard_state(2, Some(1), 1)));
    assert!(!ready.leadership.unwrap().is_us && ready.committed.is_empty());
    let refused = quorum.propose(&bytes_of("early"));
    assert_eq!(refused, Err(NotLeader { leader: None }.into()));

    quorum.persisted(ready.number);
    let ready = quorum.ready().unwrap();
    assert!(ready.leadership.unwrap().is_us);
    assert_eq!(ready.committed.len(), 1, "its first entry");
    let proposed = quorum.propose(&bytes_of("now")).unwrap();
    assert_eq!(proposed, Proposed { term: Term(2), index: Index(3) });
    let ready = quorum.ready().unwrap();
    assert_eq!((ready.append.unwrap().from, ready.committed.len()), (Index(3), 0));
    quorum.persisted(ready.number);
    let committed = quorum.ready().unwrap().committed;
    assert_eq!(committed[0].event, Event::Data(bytes_of("now")));
    assert_eq!((committed[0].term, committed[0].index), (proposed.term, proposed.index));
}

#[test]
fn a_quorum_of_one_tells_its_observers_nothing_before_its_vote_is_written() {
    let mut group = Group::led_by(1, &[1]);
    group.at(1).change_members(Change::AddObserver(member(2))).unwrap();
    group.run();
    // Started anew, with the observer in its log.
    let mark = group.at(1).mark_at(Index(3));
    let mut quorum = open(member(1), Stored { mark: Some(mark), ..Stored::default() });
    quorum.campaign();
    let ready = quorum.ready().unwrap();
    assert!(ready.hard_state.is_some() && ready.messages.is_empty());
    assert!(!ready.messages_after.is_empty(), "it is told afterwards");
    quorum.persisted(ready.number);
    settle(&mut quorum);
    (0..2).for_each(|_| quorum.tick());
    let ready = quorum.ready().unwrap();
    assert!(!ready.messages.is_empty(), "a heartbeat rests on nothing that is written");
}

#[test]
fn three_agree_and_one_may_be_missing() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    group.cut_off = vec![BrokerId(3)];
    group.propose(1, "a");
    group.propose(1, "b");
    // The followers hear with the next heartbeat at the latest.
    group.pass(2);
    assert_eq!(
        (group.decided(1), group.decided(2)),
        (vec!["a".into(), "b".into()], group.decided(1))
    );
    assert_eq!(group.decided(3), Vec::<String>::new());
    group.cut_off.clear();
    group.pass(5);
    assert_eq!(group.decided(3), group.decided(1));
}

#[test]
fn a_leader_without_a_majority_steps_down_and_another_comes() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let term = group.at(1).term();
    group.cut_off = vec![BrokerId(1)];
    group.pass(50);
    assert!(!group.at(1).is_leader());
    let leader = group.at(2).leader().unwrap();
    assert!(leader != member(1) && group.at(leader.broker.0).is_leader());
    // Asking for pre-votes, the one outside has not raised its term.
    assert_eq!(group.at(1).term(), term);
    group.cut_off.clear();
    group.pass(5);
    assert_eq!(group.at(1).leader(), Some(leader));
}

#[test]
fn proposals_are_refused_by_name() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let refused = group.at(2).propose(&bytes_of("x"));
    assert_eq!(refused, Err(NotLeader { leader: Some(BrokerId(1)) }.into()));
    let large = Bytes::from(vec![1; (8 << 20) + 1]);
    let refused = group.at(1).propose(&large);
    assert_eq!(refused, Err(ProposeError::TooLarge { bytes: large.len(), limit: 8 << 20 }));
    let most = large.slice(1..);
    assert!(group.at(1).propose(&most).is_ok() && group.at(1).propose(&most).is_ok());
    let refused = group.at(1).propose(&bytes_of("one more"));
    assert!(matches!(refused, Err(ProposeError::Full { .. })), "{refused:?}");
    // Committed ones make room, but for what is kept in memory.
    group.run();
    for _ in 0..6 {
        assert!(group.at(1).propose(&most).is_ok());
        group.run();
    }
    let refused = group.at(1).propose(&bytes_of("one more"));
    assert!(
        matches!(refused, Err(ProposeError::Full { bytes }) if bytes > 64 << 20),
        "{refused:?}"
    );
    let applied = group.at(1).applied;
    group.at(1).compact(applied);
    assert_eq!(group.at(1).kept(), Kept { entries: 0, bytes: 0 });
    assert!(group.at(1).propose(&bytes_of("one more")).is_ok());
}

#[test]
fn small_entries_count_with_what_they_cost() {
    // Else a leader could have more on its way than its followers may keep.
    let settings = Settings {
        append_bytes_max: 1000,
        proposal_bytes_max: 1000,
        uncommitted_bytes_max: 5000,
        kept_bytes_max: 20_000,
        ..settings(member(1))
    };
    let mut quorum = Quorum::open(settings, first(&[1])).unwrap().quorum;
    quorum.campaign();
    settle(&mut quorum);
    let mut proposed = 0;
    let refused = loop {
        match quorum.propose(&bytes_of("x")) {
            Ok(_) => proposed += 1,
            Err(refused) => break refused,
        }
        // Taken, and not written: nothing is committed.
        quorum.ready();
    };
    assert!((20..100).contains(&proposed), "{proposed}");
    assert!(matches!(refused, ProposeError::Full { bytes: 5001..6000 }), "{refused:?}");
    let last = quorum.handed_out;
    quorum.persisted(last);
    settle(&mut quorum);
    assert!(quorum.propose(&bytes_of("x")).is_ok());
}

#[test]
fn leadership_is_handed_over() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let refused = group.at(1).transfer_leadership(BrokerId(4));
    assert_eq!(refused, Err(TransferError::NotVoter { broker: BrokerId(4) }));
    let refused = group.at(2).transfer_leadership(BrokerId(1));
    assert_eq!(refused, Err(NotLeader { leader: Some(BrokerId(1)) }.into()));
    group.at(1).transfer_leadership(BrokerId(3)).unwrap();
    assert_eq!(group.at(1).propose(&bytes_of("x")), Err(ProposeError::Transferring));
    group.run();
    assert!(group.at(3).is_leader());
    assert_eq!(group.at(1).leader(), Some(member(3)));
}

#[test]
fn a_read_waits_for_a_majority_and_fails_with_its_leader() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    group.propose(1, "a");
    let refused = group.at(2).read_index(Ticket(1));
    assert_eq!(refused, Err(NotLeader { leader: Some(BrokerId(1)) }.into()));
    group.at(1).read_index(Ticket(2)).unwrap();
    group.at(1).read_index(Ticket(3)).unwrap();
    group.run();
    let index = Ok(group.at(1).committed());
    let both = [2, 3].map(|ticket| Read { ticket: Ticket(ticket), index });
    assert_eq!(std::mem::take(&mut group.reads), both);

    group.cut_off = vec![BrokerId(1)];
    group.at(1).read_index(Ticket(4)).unwrap();
    group.run();
    group.at(1).read_index(Ticket(5)).unwrap();
    group.run();
    assert_eq!(group.reads, [], "nobody proves anything");
    group.pass(30);
    let index = Err(NotLeader { leader: None });
    let both = [4, 5].map(|ticket| Read { ticket: Ticket(ticket), index });
    assert_eq!(group.reads, both);
}

#[test]
fn a_new_leader_answers_reads_when_it_has_committed_something() {
    let mut group = Group::of(&[1, 2, 3]);
    group.at(1).campaign();
    let mut leader = None;
    // Until it leads, without anybody having acknowledged its first entry.
    for _ in 0..4 {
        for broker in [1, 2, 3] {
            for Ready { messages_after, .. } in settle(group.at(broker)) {
                for message in messages_after {
                    let to = message.to.broker.0;
                    group.at(to).message(BrokerId(broker), &message.bytes).unwrap();
                }
            }
        }
        if leader.is_none() && group.at(1).is_leader() {
            group.at(1).read_index(Ticket(1)).unwrap();
            leader = Some(group.at(1).committed());
        }
    }
    assert_eq!(leader, Some(Index(1)));
    group.pass(3);
    assert_eq!(group.reads, [Read { ticket: Ticket(1), index: Ok(Index(2)) }]);
}

#[test]
fn a_broker_comes_as_an_observer_gets_a_snapshot_and_votes_when_it_has_caught_up() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    group.propose(1, "a");
    group.join(member(4), Stored::default());
    let refused = group.at(1).change_members(Change::AddVoter(member(4)));
    assert_eq!(refused, Err(ChangeError::Unknown { member: member(4) }));
    group.at(1).change_members(Change::AddObserver(member(4))).unwrap();
    let refused = group.at(1).change_members(Change::Remove(member(3)));
    assert_eq!(refused, Err(ChangeError::UnderWay));
    group.run();
    group.pass(5);
    assert_eq!(group.images[&BrokerId(4)], "image");
    let members = group.at(1).members().clone();
    assert_eq!(*group.at(4).members(), members);
    group.propose(1, "b");
    group.pass(2);
    assert_eq!(group.decided(4), ["b"], "the rest is in the image");

    group.at(1).change_members(Change::AddVoter(member(4))).unwrap();
    group.run();
    group.pass(2);
    assert!(group.at(4).members().is_voter(member(4)));
    // Three of four decide now.
    group.cut_off = vec![BrokerId(1), BrokerId(2)];
    let decided = group.decided(1);
    group.propose(1, "c");
    group.pass(3);
    assert_eq!(group.decided(1), decided);
}

#[test]
fn an_observer_that_is_far_behind_does_not_vote() {
    let mut group = Group::led_by(1, &[1]);
    group.at(1).change_members(Change::AddObserver(member(2))).unwrap();
    group.run();
    let (member, behind) = (member(2), BEHIND_MAX + 1);
    while group.at(1).last().0 < behind {
        group.propose(1, "x");
    }
    let refused = group.at(1).change_members(Change::AddVoter(member));
    assert_eq!(refused, Err(ChangeError::Behind { member, behind }));
}

#[test]
fn a_wiped_disk_is_somebody_else() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let (old, new) = (member(3), on_disk(3, 2));
    group.join(new, Stored::default());
    group.pass(3);
    assert!(group.at(3).members().is_empty(), "what is for the old one is refused");
    let refused = group.at(1).change_members(Change::AddObserver(new));
    assert_eq!(refused, Err(ChangeError::BrokerTaken { other: old }));
    for change in [Change::Remove(old), Change::AddObserver(new)] {
        group.at(1).change_members(change).unwrap();
        group.run();
        group.pass(5);
    }
    group.at(1).change_members(Change::AddVoter(new)).unwrap();
    group.run();
    group.pass(2);
    assert!(group.at(3).members().is_voter(new));
    assert_eq!(group.at(3).leader(), Some(member(1)));
}

#[test]
fn a_leader_does_not_remove_itself_and_who_is_removed_does_not_disturb() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let refused = group.at(1).change_members(Change::Remove(member(1)));
    assert_eq!(refused, Err(ChangeError::Leads { member: member(1) }));
    group.at(1).transfer_leadership(BrokerId(2)).unwrap();
    group.run();
    group.at(2).change_members(Change::Remove(member(1))).unwrap();
    group.run();
    group.pass(60);
    assert!(group.at(2).is_leader());
    let names = |group: &mut Group, broker| group.at(broker).members().clone();
    assert_eq!(names(&mut group, 2), crate::testing::members(&[2, 3]));
    assert_eq!(names(&mut group, 3), crate::testing::members(&[2, 3]));
}

#[test]
fn a_change_of_members_has_what_is_committed_written_down() {
    let mut group = Group::led_by(1, &[1, 2]);
    let proposed = group.at(1).change_members(Change::Remove(member(2))).unwrap();
    let mut commits = Vec::new();
    let append = group.at(1).ready().unwrap();
    for message in &append.messages {
        group.at(2).message(BrokerId(1), &message.bytes).unwrap();
    }
    group.at(1).persisted(append.number);
    for ready in settle(group.at(2)) {
        for message in ready.messages_after {
            group.at(1).message(BrokerId(2), &message.bytes).unwrap();
        }
    }
    for ready in settle(group.at(1)) {
        commits.extend(ready.hard_state.map(|state| state.commit));
    }
    // Without it, a start would ask broker 2 for its vote, who may be gone for good.
    assert_eq!(commits, [proposed.index]);
}

#[test]
fn a_snapshot_that_is_lost_is_sent_again() {
    let mut group = Group::led_by(1, &[1]);
    group.at(1).change_members(Change::AddObserver(member(2))).unwrap();
    group.run();
    // Its first answer has the leader send a snapshot, which is lost.
    group.join(member(2), Stored::default());
    let lost = |group: &mut Group| {
        for _ in 0..4 {
            group.at(1).tick();
            for ready in settle(group.at(1)) {
                if ready.wants_snapshot {
                    let applied = group.at(1).applied;
                    group.at(1).snapshot(applied, b"image").unwrap();
                }
                for message in ready.messages {
                    let (_, inner) = message::open(&settings(member(2)), &message.bytes).unwrap();
                    if inner.snapshot.is_none() {
                        group.at(2).message(BrokerId(1), &message.bytes).unwrap();
                    }
                }
            }
            for ready in settle(group.at(2)) {
                for message in ready.messages_after {
                    group.at(1).message(BrokerId(2), &message.bytes).unwrap();
                }
            }
        }
    };
    lost(&mut group);
    lost(&mut group);
    let sending = |group: &mut Group| group.at(1).sending.clone();
    assert_eq!(sending(&mut group).len(), 1, "a snapshot is on its way");
    group.pass(50);
    assert_eq!(group.at(2).applied, Index(0));
    group.pass(60);
    let applied = group.at(1).applied;
    assert_eq!(group.at(2).applied, applied);
}

#[test]
fn a_snapshot_is_taken_within_limits() {
    let mut quorum = open(member(1), first(&[1]));
    quorum.campaign();
    settle(&mut quorum);
    let limit = settings(member(1)).snapshot_bytes_max;
    let refused = quorum.snapshot(Index(2), &vec![0; limit + 1]);
    assert_eq!(refused, Err(SnapshotError::TooLarge { bytes: limit + 1, limit }));
    quorum.compact(Index(2));
    let refused = quorum.snapshot(Index(1), b"");
    assert_eq!(refused, Err(SnapshotError::TooOld { index: Index(1) }));
    assert_eq!(quorum.snapshot(Index(2), b""), Ok(()));
}

#[test]
fn nobody_stands_for_election_while_something_is_written() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    group.at(1).propose(&bytes_of("x")).unwrap();
    let sent = group.at(1).ready().unwrap().messages;
    let message = sent.iter().find(|message| message.to == member(2)).unwrap();
    group.at(2).message(BrokerId(1), &message.bytes).unwrap();
    let ready = group.at(2).ready().unwrap();
    assert!(ready.append.is_some());
    let term = group.at(2).term();
    for _ in 0..50 {
        group.at(2).tick();
    }
    group.at(2).campaign();
    assert_eq!(
        (group.at(2).ready().map(|it| it.messages_after.len()), group.at(2).term()),
        (None, term)
    );
    group.at(2).persisted(ready.number);
    group.at(2).campaign();
    assert!(!group.at(2).ready().unwrap().messages_after.is_empty());
}

/// Everything that five members send each other while leaders come and go.
fn lived(entropy: u64) -> Vec<crate::ready::Outgoing> {
    let mut group = Group::default();
    for broker in 1..=5 {
        let me = member(broker);
        let entropy = entropy + u64::try_from(broker).unwrap();
        let settings = Settings { entropy, ..settings(me) };
        let opened = Quorum::open(settings, first(&[1, 2, 3, 4, 5])).unwrap();
        group.quorums.insert(me.broker, opened.quorum);
    }
    for _ in 0..6 {
        group.pass(40);
        let leader = group.quorums.values().find_map(|quorum| quorum.leader());
        group.cut_off = leader.map(|leader| leader.broker).into_iter().collect();
    }
    group.sent
}

#[test]
fn a_number_decides_every_election() {
    for entropy in 0..10 {
        assert!(lived(entropy) == lived(entropy), "{entropy}");
    }
    assert!(lived(0) != lived(100), "another number is another history");
}
