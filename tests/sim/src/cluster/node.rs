//! One broker: a disk, and what runs on it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::Cluster;
use brooklet_meta::controller::Controller;
use brooklet_meta::lifecycle::Lifecycle;
use brooklet_shard::input::{Input, Ticket};
use brooklet_shard::output::Reply;
use brooklet_shard::{QuorumDescription, Shard, SyncJob, Term};
use brooklet_types::{BrokerId, Instant};

use crate::cluster::network::CallId;

/// One run of a broker: what belongs to it ends with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) broker: BrokerId,
    pub(crate) run: u64,
}

/// A broker, running or not.
#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) id: BrokerId,
    /// Its folder's id.
    pub(crate) directory: [u8; 16],
    pub(crate) disk: MemoryDisk,
    /// Counts its starts and its ends.
    pub(crate) run: u64,
    /// Whether its last end was an orderly one.
    pub(crate) clean: bool,
    pub(crate) running: Option<Running>,
}

/// What runs.
#[derive(Debug)]
pub(crate) struct Running {
    pub(crate) seats: Vec<Seat>,
    /// The newest image that was decided, and the one that all shards have followed.
    pub(crate) decided: Arc<Cluster>,
    pub(crate) applied: Arc<Cluster>,
    /// The image that shards are following, and who has not said so yet.
    pub(crate) following: Option<(Arc<Cluster>, BTreeSet<Ticket>)>,
    /// Whether any image was followed.
    pub(crate) has_followed: bool,
    /// Answers about the metadata wait until every shard has followed.
    pub(crate) held: Vec<(u64, Ticket, Reply<MemoryDisk>)>,
    /// Whom the shards owe an answer.
    pub(crate) owed: BTreeMap<Ticket, CallId>,
    /// None before the cluster has begun.
    pub(crate) lifecycle: Option<Lifecycle>,
    pub(crate) controller: Option<(Term, Controller)>,
    pub(crate) quorum: Option<QuorumDescription>,
    /// When its lifecycle and its controller are looked at next.
    pub(crate) looks: Option<Instant>,
}

/// A shard and its queue.
#[derive(Debug)]
pub(crate) struct Seat {
    pub(crate) shard: Shard<MemoryDisk>,
    pub(crate) inbox: VecDeque<Input>,
    /// When its thread looks up next.
    pub(crate) wakes: Option<Instant>,
    pub(crate) sync: Option<SyncJob<MemoryDisk>>,
    /// A sync is under way, or has ended and the shard does not know.
    pub(crate) syncing: bool,
}

impl Node {
    pub(crate) fn new(id: BrokerId) -> Node {
        Node {
            id,
            directory: [u8::try_from(id.0).expect("few"); 16],
            disk: MemoryDisk::default(),
            run: 0,
            clean: true,
            running: None,
        }
    }

    pub(crate) fn place(&self) -> Place {
        Place { broker: self.id, run: self.run }
    }
}

impl Running {
    pub(crate) fn new(shards: Vec<Shard<MemoryDisk>>, cluster: Arc<Cluster>) -> Running {
        let seats = shards.into_iter().map(|shard| Seat {
            shard,
            inbox: VecDeque::new(),
            wakes: None,
            sync: None,
            syncing: false,
        });
        Running {
            seats: seats.collect(),
            decided: cluster,
            applied: Arc::default(),
            following: None,
            has_followed: false,
            held: Vec::new(),
            owed: BTreeMap::new(),
            lifecycle: None,
            controller: None,
            quorum: None,
            looks: None,
        }
    }

    pub(crate) fn shards(&self) -> u32 {
        u32::try_from(self.seats.len()).expect("few")
    }

    pub(crate) fn seat(&mut self, shard: u32) -> &mut Seat {
        &mut self.seats[usize::try_from(shard).expect("few")]
    }
}
