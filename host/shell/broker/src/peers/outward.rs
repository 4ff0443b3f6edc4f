//! What shards want of other brokers, on its way out.
//!
//! **Where it sits.** Between a shard's turn, which may not wait, and the tasks that hold connections.
//!
//! **What it decides.** That what finds no room is lost. A shard says all of it again: raft after a while, followers and
//! leaders when they have heard nothing.

use brooklet_meta::broker::BrokerEpoch;
use brooklet_shard::QuorumStanding;
use brooklet_shard::output::{Alter, CopyFetch};
use brooklet_types::BrokerId;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};

/// What waits on its way out of all shards: some for each broker and each shard.
const WANTS_MAX: usize = 4096;

/// Something is wanted of another broker.
#[derive(Debug)]
pub enum Want {
    /// Bring it a message of the quorum.
    Message { to: BrokerId, message: Bytes },
    /// Fetch from it, as its follower.
    Copies { shard: u32, leader: BrokerId, epoch: BrokerEpoch, partitions: Vec<CopyFetch> },
    /// Ask the controller for other in-sync sets.
    Alter { shard: u32, epoch: BrokerEpoch, wanted: Vec<Alter> },
}

/// The shards' end. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Outward {
    wants: mpsc::Sender<Want>,
    quorum: watch::Sender<QuorumStanding>,
}

/// The other end.
#[derive(Debug)]
pub struct Wants {
    /// What is wanted, in the order in which it was said.
    pub wants: mpsc::Receiver<Want>,
    /// Who leads the quorum.
    pub quorum: watch::Receiver<QuorumStanding>,
}

/// Both ends. Where the other one is dropped, nobody hears what is wanted.
pub fn outward() -> (Outward, Wants) {
    let (wants, wanted) = mpsc::channel(WANTS_MAX);
    let (quorum, standing) = watch::channel(QuorumStanding::default());
    (Outward { wants, quorum }, Wants { wants: wanted, quorum: standing })
}

impl Outward {
    /// Says what is wanted.
    pub(crate) fn want(&self, want: Want) {
        // Said again, if it was lost.
        let _ = self.wants.try_send(want);
    }

    /// Another leads the quorum, or there are others in it.
    pub(crate) fn moved(&self, standing: QuorumStanding) {
        self.quorum.send_replace(standing);
    }
}
