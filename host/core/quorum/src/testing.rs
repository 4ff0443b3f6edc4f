//! A few members on disks that write at once and a network that loses nothing, for the tests of this crate.

use std::collections::{BTreeMap, VecDeque};

use brooklet_types::BrokerId;
use bytes::Bytes;
use raft::eraftpb::Message;

use crate::entry::{Entry, HardState, Index, Payload, Stored, Term};
use crate::error::MessageError;
use crate::member::{ClusterId, DirectoryId, Member, Members};
use crate::message;
use crate::node::Quorum;
use crate::reads::Read;
use crate::ready::{Committed, Event, Outgoing, Ready};
use crate::settings::Settings;

pub(crate) const CLUSTER: ClusterId = ClusterId([7; 16]);

/// The member that a broker is, on its `disk`th disk.
pub(crate) fn on_disk(broker: i32, disk: u8) -> Member {
    Member { broker: BrokerId(broker), directory: DirectoryId([disk; 16]) }
}

/// The member that a broker is.
pub(crate) fn member(broker: i32) -> Member {
    on_disk(broker, 1)
}

pub(crate) fn members(brokers: &[i32]) -> Members {
    Members::first(&brokers.iter().copied().map(member).collect::<Vec<_>>())
}

pub(crate) fn settings(me: Member) -> Settings {
    let entropy = u64::try_from(me.broker.0).unwrap();
    Settings::new(me, CLUSTER, entropy)
}

/// A member's quorum on what it has stored.
pub(crate) fn open(me: Member, stored: Stored) -> Quorum {
    Quorum::open(settings(me), stored).unwrap().quorum
}

/// The state of a disk that the cluster's first voters have.
pub(crate) fn first(brokers: &[i32]) -> Stored {
    Stored::first(members(brokers))
}

pub(crate) fn data(index: u64, term: u64, text: &'static str) -> Entry {
    let payload = Payload::Data(Bytes::from_static(text.as_bytes()));
    Entry { index: Index(index), term: Term(term), payload }
}

pub(crate) fn hard_state(term: u64, vote: Option<i32>, commit: u64) -> HardState {
    let vote = vote.map(|broker| member(broker).number());
    HardState { term: Term(term), vote, commit: Index(commit) }
}

/// Has `to` take a message of `from`, as if `from` had sent it.
pub(crate) fn deliver(to: &mut Quorum, from: Member, message: Message) -> Result<(), MessageError> {
    let numbers = (from.number().0, to.me().number().0);
    let message = Message { from: numbers.0, to: numbers.1, ..message };
    let bytes = message::seal(&settings(from), &message);
    to.message(from.broker, &bytes)
}

/// Takes everything that a quorum says, each written at once.
pub(crate) fn settle(quorum: &mut Quorum) -> Vec<Ready> {
    let mut readies = Vec::new();
    while let Some(ready) = quorum.ready() {
        quorum.persisted(ready.number);
        readies.push(ready);
    }
    readies
}

/// Members who hear each other at once, but for those who are cut off.
#[derive(Default)]
pub(crate) struct Group {
    pub(crate) quorums: BTreeMap<BrokerId, Quorum>,
    pub(crate) committed: BTreeMap<BrokerId, Vec<Committed>>,
    pub(crate) images: BTreeMap<BrokerId, Bytes>,
    pub(crate) reads: Vec<Read>,
    pub(crate) cut_off: Vec<BrokerId>,
    /// Everything that was sent, in order.
    pub(crate) sent: Vec<Outgoing>,
}

impl Group {
    /// Voters who begin a cluster.
    pub(crate) fn of(brokers: &[i32]) -> Group {
        let mut group = Group::default();
        for broker in brokers {
            group.join(member(*broker), first(brokers));
        }
        group
    }

    /// A group in which `leader` leads.
    pub(crate) fn led_by(leader: i32, brokers: &[i32]) -> Group {
        let mut group = Group::of(brokers);
        group.at(leader).campaign();
        group.run();
        assert!(group.at(leader).is_leader());
        group
    }

    pub(crate) fn join(&mut self, me: Member, stored: Stored) {
        self.quorums.insert(me.broker, open(me, stored));
    }

    pub(crate) fn at(&mut self, broker: i32) -> &mut Quorum {
        self.quorums.get_mut(&BrokerId(broker)).unwrap()
    }

    /// Lets everybody do and hear everything.
    pub(crate) fn run(&mut self) {
        let mut under_way: VecDeque<(BrokerId, Outgoing)> = VecDeque::new();
        loop {
            let brokers: Vec<BrokerId> = self.quorums.keys().copied().collect();
            for broker in brokers {
                let quorum = self.quorums.get_mut(&broker).unwrap();
                for ready in settle(quorum) {
                    if let Some(snapshot) = ready.snapshot {
                        self.images.insert(broker, snapshot.image);
                    }
                    if ready.wants_snapshot {
                        let applied = self.quorums[&broker].applied;
                        let quorum = self.quorums.get_mut(&broker).unwrap();
                        quorum.snapshot(applied, b"image").unwrap();
                    }
                    self.committed.entry(broker).or_default().extend(ready.committed);
                    self.reads.extend(ready.reads);
                    for message in ready.messages.into_iter().chain(ready.messages_after) {
                        under_way.push_back((broker, message));
                    }
                }
            }
            let Some((from, message)) = under_way.pop_front() else { return };
            self.sent.push(message.clone());
            let cut_off = self.cut_off.contains(&from) != self.cut_off.contains(&message.to.broker);
            if let (false, Some(quorum)) = (cut_off, self.quorums.get_mut(&message.to.broker)) {
                match quorum.message(from, &message.bytes) {
                    Ok(())
                    | Err(
                        MessageError::WrongAddressee { .. } | MessageError::UnknownMember { .. },
                    ) => {}
                    Err(error) => panic!("{} refuses {from}: {error}", message.to),
                }
            }
        }
    }

    /// Time passes for everybody.
    pub(crate) fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.quorums.values_mut().for_each(Quorum::tick);
            self.run();
        }
    }

    /// What was proposed and is committed at a broker.
    pub(crate) fn decided(&self, broker: i32) -> Vec<String> {
        let committed = self.committed.get(&BrokerId(broker)).into_iter().flatten();
        let text = |committed: &Committed| match &committed.event {
            Event::Data(data) => Some(String::from_utf8(data.to_vec()).unwrap()),
            Event::Empty | Event::Members(..) => None,
        };
        committed.filter_map(text).collect()
    }

    pub(crate) fn propose(&mut self, broker: i32, text: &'static str) {
        self.at(broker).propose(&Bytes::from_static(text.as_bytes())).unwrap();
        self.run();
    }
}
