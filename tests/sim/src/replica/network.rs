//! What brokers and the controller say to each other, and what becomes of it on the way.
//!
//! Messages are lost, late, overtaken, and come twice. A request to the controller does not come twice, as there is
//! one for each connection and TCP takes care of that; one that was given up may come late, and its answer twice.

use std::collections::BTreeSet;

use brooklet_replica::{AlterPartition, Altered, Answered, BrokerEpoch, ChangeId, Fetch};
use brooklet_types::BrokerId;

use crate::replica::log::Records;
use crate::replica::plan::Plan;
use crate::replica::world::{Event, World};

/// How late the late ones are at most, in microseconds: far less than the core takes for impossible.
const LATE: u64 = 6_000_000;

/// What is said. Where a broker's own start matters, it says which one it is.
#[derive(Clone, Debug)]
pub(crate) enum Message {
    /// To the controller: a broker starts.
    Register { incarnation: u64, clean: bool },
    /// From it: as what.
    Registered { incarnation: u64, epoch: BrokerEpoch },
    /// To the controller: a broker lives, and knows the metadata so far.
    Heartbeat { epoch: BrokerEpoch, image: usize },
    /// From it: there is an image.
    News { image: usize },
    /// To a leader.
    Fetch { incarnation: u64, epoch: BrokerEpoch, fetch: Fetch },
    /// From it.
    Fetched { incarnation: u64, answered: Answered, records: Records },
    /// To the controller.
    Alter { incarnation: u64, epoch: BrokerEpoch, attempt: u64, asked: AlterPartition },
    /// From it.
    Altered { incarnation: u64, attempt: u64, change: ChangeId, outcome: Altered },
}

/// A message on its way.
#[derive(Clone, Debug)]
pub(crate) struct Envelope {
    pub(crate) from: BrokerId,
    pub(crate) to: BrokerId,
    pub(crate) message: Message,
}

/// Which ways are shut, each in one direction.
pub(crate) type Shut = BTreeSet<(BrokerId, BrokerId)>;

impl World {
    /// Sends a message, whatever becomes of it.
    pub(crate) fn send(&mut self, from: BrokerId, to: BrokerId, message: Message) {
        let storms = self.storms;
        if self.shut.contains(&(from, to)) || (storms && self.prng.chance(self.plan.loss)) {
            return;
        }
        let may_come_twice = match message {
            Message::Fetch { .. } | Message::Fetched { .. } | Message::Altered { .. } => true,
            Message::News { .. } | Message::Registered { .. } | Message::Heartbeat { .. } => true,
            Message::Register { .. } | Message::Alter { .. } => false,
        };
        let twice = storms && may_come_twice && self.prng.chance(self.plan.twice);
        for _ in 0..1 + u32::from(twice) {
            let Plan { delay, .. } = self.plan;
            // Changes of the in-sync set are given up and asked for again: it matters that the first may yet come.
            let late = if matches!(message, Message::Alter { .. }) { 20 } else { 2 };
            let late = storms && self.prng.chance(late);
            let after = self.prng.below(if late { LATE } else { delay });
            let envelope = Envelope { from, to, message: message.clone() };
            self.schedule.after(after, Event::Deliver(Box::new(envelope)));
        }
    }
}
