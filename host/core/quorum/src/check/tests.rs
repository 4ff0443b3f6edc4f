//! Messages that cannot be: each is refused by name, and none makes raft panic.

use proptest::prelude::*;
use raft::eraftpb::{Entry as RaftEntry, EntryType, Snapshot, SnapshotMetadata};

use super::*;
use crate::entry::Stored;
use crate::member::Change;
use crate::testing::{
    Group, data, deliver, first, hard_state, member, members, on_disk, open, settle,
};

fn message(kind: MessageType, term: u64) -> Message {
    let mut message = Message { term, ..Message::default() };
    message.set_msg_type(kind);
    message
}

fn entry(index: u64, term: u64) -> RaftEntry {
    data(index, term, "x").to_raft()
}

/// An append of entries behind (`index`, `log_term`), by a leader of `term`.
fn append(term: u64, previous: (u64, u64), entries: &[(u64, u64)]) -> Message {
    let entries = entries.iter().map(|(index, term)| entry(*index, *term)).collect();
    let (index, log_term) = previous;
    Message { index, log_term, entries, ..message(MessageType::MsgAppend, term) }
}

fn snapshot(term: u64, index: u64, members: &Members, says: &Members) -> Message {
    let mut data = Vec::new();
    members.put(&mut data);
    let conf_state = Some(says.to_raft());
    let metadata = Some(SnapshotMetadata { conf_state, index, term: 2 });
    let snapshot = Some(Snapshot { data, metadata });
    Message { snapshot, ..message(MessageType::MsgSnapshot, term) }
}

/// A follower of term 5, with entries up to 4, of which 3 are committed.
fn follower() -> Quorum {
    let entries = vec![data(2, 1, "a"), data(3, 3, "b"), data(4, 4, "c")];
    let state = hard_state(5, None, 3);
    open(member(2), Stored { hard_state: state, entries, ..first(&[1, 2, 3]) })
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn what_no_member_says_is_refused() {
    let all = members(&[1, 2, 3]);
    let index = Index;
    let order = |at| Err(MessageError::Order { index: index(at) });
    let conflict = |at| Err(MessageError::Conflict { index: index(at) });
    let term = |term| Err(MessageError::Term { term: Term(term) });
    let kind = |kind: MessageType| Err(MessageError::Kind { kind: kind.into() });
    let heartbeat = |commit| Message { commit, ..message(MessageType::MsgHeartbeat, 5) };
    let unknown_entry = RaftEntry { entry_type: 9, ..entry(5, 5) };
    let joint = RaftEntry { entry_type: EntryType::EntryConfChangeV2.into(), ..entry(5, 5) };
    let with = |entry: RaftEntry| Message { entries: vec![entry], ..append(5, (4, 4), &[]) };
    let table = [
        ("a kind that is none",       Message { msg_type: 77, term: 5, ..Message::default() },    Err(MessageError::Kind { kind: 77 })),
        ("a call of our own",         message(MessageType::MsgHup, 5),                            kind(MessageType::MsgHup)),
        ("a late call of our own",    message(MessageType::MsgHup, 1),                            kind(MessageType::MsgHup)),
        ("a forwarded proposal",      message(MessageType::MsgPropose, 5),                        kind(MessageType::MsgPropose)),
        ("a forwarded read",          message(MessageType::MsgReadIndex, 5),                      kind(MessageType::MsgReadIndex)),
        ("no term",                   message(MessageType::MsgHeartbeat, 0),                      term(0)),
        ("a term near the end",       message(MessageType::MsgRequestVote, TERM_MAX + 1),         term(TERM_MAX + 1)),
        ("the last term",             message(MessageType::MsgRequestPreVote, u64::MAX),          term(u64::MAX)),
        ("an index beyond",           Message { index: u64::MAX, ..append(5, (0, 1), &[]) },      Err(MessageError::Index(u64::MAX))),
        ("commit at our end",         heartbeat(4),                                               Ok(())),
        ("commit beyond our end",     heartbeat(5),          Err(MessageError::CommitBeyondEnd { commit: index(5), last: index(4) })),
        ("entries behind ours",       append(5, (4, 4), &[(5, 4), (6, 5)]),                       Ok(())),
        ("entries in their place",    append(5, (3, 3), &[(4, 5)]),                               Ok(())),
        ("entries that ours lack",    append(5, (9, 5), &[(10, 5)]),                              Ok(())),
        ("a gap",                     append(5, (4, 4), &[(6, 5)]),                               order(5)),
        ("a gap within",              append(5, (4, 4), &[(5, 5), (7, 5)]),                       order(6)),
        ("backwards",                 append(5, (4, 4), &[(4, 5)]),                               order(5)),
        ("a falling term",            append(5, (4, 4), &[(5, 5), (6, 4)]),                       order(6)),
        ("a later term",              append(5, (4, 4), &[(5, 6)]),                               order(5)),
        ("an entry of no term",       append(5, (0, 0), &[(1, 0)]),                               order(1)),
        ("an index without a term",   append(5, (9, 0), &[(10, 5)]),                              order(9)),
        ("a term without an index",   append(5, (0, 4), &[]),                                     order(0)),
        ("a previous later term",     append(5, (4, 6), &[]),                                     order(4)),
        ("other than committed",      append(5, (3, 4), &[]),                                     conflict(3)),
        ("other than the snapshot",   append(5, (1, 3), &[]),                                     conflict(1)),
        ("entries other than committed", append(5, (2, 1), &[(3, 5)]),                            conflict(3)),
        ("late, and other",           append(4, (2, 1), &[(3, 4)]),                               Ok(())),
        ("a kind of entry that is none", with(unknown_entry),      Err(MessageError::EntryKind { index: index(5), kind: 9 })),
        ("several changes at once",   with(joint),                 Err(MessageError::EntryKind { index: index(5), kind: 2 })),
        ("a snapshot",                snapshot(5, 9, &all, &all),                                 Ok(())),
        ("a snapshot of nothing",     snapshot(5, 0, &all, &all),                                 Err(MessageError::Snapshot { index: index(0) })),
        ("a snapshot of two minds",   snapshot(5, 9, &all, &members(&[1, 2])),                    Err(MessageError::Snapshot { index: index(9) })),
        ("a snapshot of nobody",      snapshot(5, 9, &Members::default(), &all),                  Err(MessageError::Members(crate::DecodeError::Together))),
        ("a snapshot from later",     snapshot(1, 9, &all, &all),                                 Ok(())),
        ("a snapshot other than committed", snapshot(5, 3, &all, &all),                           conflict(3)),
        ("asking in another way",     Message { request_snapshot: 3, ..message(MessageType::MsgAppendResponse, 5) }, Err(MessageError::Index(3))),
    ];
    for (name, message, expected) in table {
        let mut quorum = follower();
        assert_eq!(deliver(&mut quorum, member(1), message), expected, "{name}");
        settle(&mut quorum);
    }
}

#[test]
fn a_change_that_cannot_be_read_is_refused() {
    let mut raw = Change::AddObserver(member(4)).to_raft();
    raw.node_id += 1;
    let change = RaftEntry {
        entry_type: EntryType::EntryConfChange.into(),
        data: prost::Message::encode_to_vec(&raw),
        ..entry(5, 5)
    };
    let of = |entry| Message { entries: vec![entry], ..append(5, (4, 4), &[]) };
    let refused = deliver(&mut follower(), member(1), of(change.clone()));
    assert_eq!(refused, Err(MessageError::EntryKind { index: Index(5), kind: 1 }));

    raw.context.pop();
    let change = RaftEntry { data: prost::Message::encode_to_vec(&raw), ..change };
    let refused = deliver(&mut follower(), member(1), of(change.clone()));
    let error = crate::DecodeError::Length;
    assert_eq!(refused, Err(MessageError::Change { index: Index(5), error }));

    let change = RaftEntry { data: vec![0xff], ..change };
    let refused = deliver(&mut follower(), member(1), of(change));
    assert!(matches!(refused, Err(MessageError::Decode(_))), "{refused:?}");
}

#[test]
fn who_sends_and_for_whom_is_checked() {
    let heartbeat = || message(MessageType::MsgHeartbeat, 5);
    let bytes = |from: Member, to: Member| {
        let addressed = Message { from: from.number().0, to: to.number().0, ..heartbeat() };
        crate::message::seal(&crate::testing::settings(from), &addressed)
    };
    let mut quorum = follower();
    let (one, me) = (member(1), member(2));
    let refused = quorum.message(member(3).broker, &bytes(one, me));
    assert_eq!(refused, Err(MessageError::WrongSender { sender: one, by: member(3).broker }));
    let before = on_disk(2, 9);
    let refused = quorum.message(one.broker, &bytes(one, before));
    assert_eq!(refused, Err(MessageError::WrongAddressee { to: before.number() }));
    let refused = quorum.message(me.broker, &bytes(before, me));
    assert_eq!(refused, Err(MessageError::WrongSender { sender: before, by: me.broker }));
    // The same first bytes of another directory.
    let mut other = one;
    other.directory.0[15] ^= 1;
    let refused = quorum.message(one.broker, &bytes(other, me));
    assert_eq!(refused, Err(MessageError::NumberTaken { sender: other, known: one }));
}

#[test]
fn a_stranger_may_lead_and_not_answer() {
    let stranger = member(9);
    let mut quorum = follower();
    assert_eq!(deliver(&mut quorum, stranger, append(6, (4, 4), &[(5, 6)])), Ok(()));
    let readies = settle(&mut quorum);
    let sent = readies.iter().flat_map(|ready| &ready.messages_after);
    assert!(sent.clone().any(|message| message.to == stranger), "it is answered");
    assert_eq!(quorum.leader(), Some(stranger));

    let answer = message(MessageType::MsgRequestVoteResponse, 6);
    let refused = deliver(&mut quorum, stranger, answer);
    assert_eq!(refused, Err(MessageError::UnknownMember { sender: stranger }));
}

#[test]
fn a_second_leader_of_a_term_is_refused() {
    let mut quorum = follower();
    let heartbeat = || message(MessageType::MsgHeartbeat, 5);
    assert_eq!(deliver(&mut quorum, member(1), heartbeat()), Ok(()));
    let refused = deliver(&mut quorum, member(3), heartbeat());
    assert_eq!(refused, Err(MessageError::TwoLeaders { sender: member(3), term: Term(5) }));
}

#[test]
fn a_leader_hears_of_no_more_than_it_has_sent() {
    let mut group = Group::led_by(1, &[1, 2, 3]);
    let leader = group.at(1);
    let (term, last) = (leader.term(), leader.last());
    let answer = |index| Message { index, ..message(MessageType::MsgAppendResponse, term.0) };
    let index = last.next();
    let refused = deliver(leader, member(2), answer(index.0));
    assert_eq!(refused, Err(MessageError::AcknowledgedBeyondEnd { index, last }));
    assert_eq!(deliver(leader, member(2), answer(last.0)), Ok(()));
    let append = Message { index: 1, log_term: 1, ..message(MessageType::MsgAppend, term.0) };
    let refused = deliver(leader, member(2), append);
    assert_eq!(refused, Err(MessageError::TwoLeaders { sender: member(2), term }));
}

/// What happens to a member that hears nonsense.
#[derive(Clone, Debug)]
enum Step {
    Hear(i32, Box<Message>),
    Tick,
    Campaign,
    Propose,
    Write,
}

prop_compose! {
    fn any_message()(
        kind in 3..19_i32,
        term in 1..8_u64,
        previous in (0..10_u64, 0..8_u64),
        entries in prop::collection::vec((0..8_u64, 0..4_u8), 0..4),
        gap in prop::bool::weighted(0.05),
        wild in prop::bool::weighted(0.1),
        commit in (0..12_u64, 0..8_u64),
        reject in (any::<bool>(), 0..12_u64),
        forced in any::<bool>(),
        snapshot_at in prop::option::weighted(0.3, (0..12_u64, 0..8_u64)),
    ) -> Message {
        // Usually in order, so that raft gets to see it.
        let (mut entries, mut log_term) = (entries, previous.1);
        if !wild {
            log_term = if previous.0 == 0 { 0 } else { log_term.clamp(1, term) };
            entries.iter_mut().for_each(|it| it.0 = it.0.clamp(log_term.max(1), term));
            entries.sort_unstable();
        }
        let mut index = previous.0 + u64::from(gap);
        let entries = entries.into_iter().map(|(term, kind)| {
            index += 1;
            let change = match kind {
                0 => Change::Remove(member(2)),
                1 => Change::AddObserver(member(4)),
                2 => Change::AddVoter(member(4)),
                _ => return entry(index, term),
            };
            let payload = crate::entry::Payload::Change(change);
            Entry { index: Index(index), term: Term(term), payload }.to_raft()
        });
        let snapshot = snapshot_at.map(|(index, term)| {
            let mut made = snapshot(1, index, &members(&[1, 2, 3]), &members(&[1, 2, 3]));
            let mut made = made.snapshot.take().unwrap();
            made.metadata.as_mut().unwrap().term = term;
            made
        });
        Message {
            msg_type: kind,
            term,
            index: previous.0,
            log_term,
            entries: entries.collect(),
            commit: commit.0,
            commit_term: commit.1,
            reject: reject.0,
            reject_hint: reject.1,
            context: if forced { b"CampaignTransfer".to_vec() } else { Vec::new() },
            snapshot,
            ..Message::default()
        }
    }
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (1..5_i32, any_message()).prop_map(|(from, message)| Step::Hear(from, Box::new(message))),
        4 => Just(Step::Tick),
        1 => Just(Step::Campaign),
        2 => Just(Step::Propose),
        4 => Just(Step::Write),
    ]
}

proptest! {
    /// Whatever peers say, alone or one after the other, and however slow the disk is.
    #[test]
    fn nothing_that_peers_say_makes_a_member_panic(
        voters in prop_oneof![Just(vec![2]), Just(vec![1, 2]), Just(vec![1, 2, 3])],
        steps in prop::collection::vec(any_step(), 1..60),
    ) {
        let mut quorum = open(member(2), first(&voters));
        let mut written = Vec::new();
        for step in steps {
            match step {
                // Most of it is refused, and that is what is wanted of it.
                Step::Hear(from, message) => {
                    let _ = deliver(&mut quorum, member(from), *message);
                }
                Step::Tick => (0..7).for_each(|_| quorum.tick()),
                Step::Campaign => quorum.campaign(),
                Step::Propose => {
                    let _ = quorum.propose(&bytes::Bytes::from_static(b"mine"));
                }
                Step::Write => {
                    if let Some(last) = written.pop() {
                        quorum.persisted(last);
                        written.clear();
                    }
                }
            }
            while let Some(ready) = quorum.ready() {
                written.push(ready.number);
            }
        }
    }
}
