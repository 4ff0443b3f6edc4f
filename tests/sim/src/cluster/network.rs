//! What brokers and clients say to each other, and what becomes of it on the way.
//!
//! Messages of the quorum are on their own: they are lost, late, overtaken, and come twice. A question and its answer
//! go over a connection: either is lost, and then the one who asked gives up after a while; neither comes twice, and
//! what was asked by a process that is gone may still be heard.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::decide::alter_partition::AlterPartition;
use brooklet_meta::decide::broker::RegisterBroker;
use brooklet_meta::decide::heartbeat::Heartbeat;
use brooklet_meta::decide::topic::NewTopic;
use brooklet_shard::Change;
use brooklet_shard::input::{CopyAnswer, Request};
use brooklet_shard::output::{Alter, CopyFetch, Reply};
use brooklet_types::{BrokerId, TopicPartition};
use bytes::Bytes;

use crate::cluster::bug::Bug;
use crate::cluster::message;
use crate::cluster::node::Place;
use crate::cluster::world::{Event, World};

/// How late the late ones are at most, in microseconds.
const LATE: u64 = 6_000_000;

/// How long anybody waits for an answer.
const PATIENCE: u64 = 3_000_000;

/// Names one question.
pub(crate) type CallId = u64;

/// What is asked.
#[derive(Debug)]
pub(crate) enum Question {
    /// Of the controller.
    Register(RegisterBroker),
    Heartbeat(Heartbeat),
    Alter(BrokerId, BrokerEpoch, Vec<AlterPartition>),
    Change(Change),
    Create(NewTopic),
    ProducerIds,
    /// A setting of all brokers, so that there is always something to agree on.
    Set(u64),
    /// Of a leader, by a follower.
    Copy(BrokerId, BrokerEpoch, Vec<CopyFetch>),
    /// Of a leader, by a client.
    Ask(TopicPartition, Request),
}

/// What has come of a question.
#[derive(Debug)]
pub(crate) enum Answer {
    Reply(Box<Reply<MemoryDisk>>),
    Found(Vec<CopyAnswer>),
    Lost,
}

/// Who asked, and for what.
#[derive(Debug)]
pub(crate) enum Asker {
    Client { client: usize, number: u64 },
    Register(Place),
    Heartbeat(Place),
    Alter(Place, Vec<Alter>),
    Copy(Place, Vec<CopyFetch>),
}

/// A question that has no answer yet.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) asker: Asker,
    pub(crate) to: BrokerId,
    /// The partition that a client asks about.
    pub(crate) about: Option<TopicPartition>,
}

/// Everything under way, and which ways are shut, each in one direction.
#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) shut: BTreeSet<(BrokerId, BrokerId)>,
    calls: BTreeMap<CallId, Call>,
    next: CallId,
}

impl Network {
    /// The question of that number, if whoever asked still waits.
    pub(crate) fn get(&mut self, id: CallId) -> Option<&mut Call> {
        self.calls.get_mut(&id)
    }

    pub(crate) fn add(&mut self, asker: Asker, to: BrokerId) -> CallId {
        self.next += 1;
        self.calls.insert(self.next, Call { asker, to, about: None });
        self.next
    }

    pub(crate) fn take(&mut self, id: CallId) -> Option<Call> {
        self.calls.remove(&id)
    }

    /// The connections of a broker end. Says which of what it was asked will not be answered.
    pub(crate) fn end(&mut self, broker: BrokerId) -> Vec<CallId> {
        self.calls.retain(|_, call| call.asker.broker() != Some(broker));
        let asked = self.calls.iter().filter(|(_, call)| call.to == broker);
        asked.map(|(id, _)| *id).collect()
    }
}

impl Asker {
    /// The broker that asks, if it is one.
    pub(crate) fn broker(&self) -> Option<BrokerId> {
        match self {
            Asker::Client { .. } => None,
            Asker::Register(at) | Asker::Heartbeat(at) => Some(at.broker),
            Asker::Alter(at, _) | Asker::Copy(at, _) => Some(at.broker),
        }
    }
}

impl World {
    /// How long something takes from one to the other; none if it does not arrive. Clients reach everybody.
    fn travel(&mut self, way: Option<(BrokerId, BrokerId)>) -> Option<u64> {
        let faults = self.plan.faults;
        let is_shut = way.is_some_and(|way| self.network.shut.contains(&way));
        if is_shut || self.storms && self.prng.chance(faults.loss) {
            return None;
        }
        if way.is_some_and(|(from, to)| from == to) {
            return Some(1 + self.prng.below(100));
        }
        let is_late = self.storms && faults.late && self.prng.chance(2);
        let most = if is_late { LATE } else { self.plan.delay };
        Some(20 + self.prng.below(most))
    }

    /// Asks a broker something.
    pub(crate) fn ask(&mut self, asker: Asker, to: BrokerId, question: Question) {
        let way = asker.broker().map(|from| (from, to));
        let id = self.network.add(asker, to);
        self.schedule.after(PATIENCE, Event::Expired { id });
        if let Some(after) = self.travel(way).filter(|after| *after < PATIENCE) {
            self.schedule.after(after, Event::Asked { id, to, question: Box::new(question) });
        }
    }

    /// Sends an answer on its way back.
    pub(crate) fn answer(&mut self, id: CallId, answer: Answer) {
        let Some(call) = self.network.get(id) else { return };
        let (to, asker) = (call.to, call.asker.broker());
        let way = asker.map(|from| (to, from));
        if let Some(after) = self.travel(way) {
            self.schedule.after(after, Event::Answered { id, answer: Box::new(answer) });
        }
    }

    /// One question becomes several, as what it asks for is in several places.
    pub(crate) fn split(&mut self, asker: Asker, to: BrokerId) -> CallId {
        let id = self.network.add(asker, to);
        self.schedule.after(PATIENCE, Event::Expired { id });
        id
    }

    /// Sends a message of the quorum, whatever becomes of it.
    pub(crate) fn send(&mut self, from: BrokerId, to: BrokerId, message: &Bytes) {
        let message = &match self.bug {
            Bug::CommitFromEarlierTerm => message::commit_from_earlier_term(message),
            Bug::ShortSnapshot => message::short_snapshot(message),
            Bug::None
            | Bug::AcknowledgeBeforeSync
            | Bug::SkipTruncation
            | Bug::StaleLeaderAnswers
            | Bug::GrowTooEarly => message.clone(),
        };
        let is_twice = self.storms && self.prng.chance(self.plan.faults.twice);
        for _ in 0..=u32::from(is_twice) {
            if let Some(after) = self.travel(Some((from, to))) {
                let message = message.clone();
                self.schedule.after(after, Event::Message { from, to, message });
            }
        }
    }
}
