//! One thread's worth of partitions and their coordinators, as one machine.
//!
//! **Where it sits.** Between the connections and the logs. The shell runs each [`Shard`] on a
//! thread of its own, hands it what arrived and carries out what it says; the simulator does the
//! same with another disk and another clock.
//!
//! **What it decides.** Which batch gets which offset, when a producer may be told, what a
//! consumer may see, which reads wait and for how long, which files a sync must cover, and what
//! becomes of requests to the coordinators: decide, append, apply, reply.
//!
//! **What it never does.** Read a clock, spawn, await, wait for a sync, or log. Its one capability
//! is the [`brooklet_log::Disk`] it is handed.
//!
//! **Invariants** (asserted where they are kept, and by the simulation):
//! 1. Every request is answered exactly once.
//! 2. An `acks=all` reply and a coordinator's reply leave after a sync that began after the
//!    append, on topics that are flushed by `sync`; where others have copies, after one on every broker that is in
//!    sync.
//! 3. A partition's high watermark never moves backwards while it is open, but where a follower says so as a
//!    violation, and no reader sees beyond it.
//! 4. At most one sync is under way.

mod compact;
mod coordinate;
mod fetch;
mod follow;
pub mod input;
mod lead;
mod metadata;
mod offsets;
mod orphans;
pub mod output;
mod partition;
mod produce;
mod roles;
mod shard;
pub mod start;
mod stored;
mod sync;

pub use brooklet_quorum::{
    Change, ChangeError, ClusterId, DirectoryId, Index, Member, ProposeError, Replica, Term,
};
pub use brooklet_replica::{Altered, ChangeId, FetchId, PartitionEpoch, Violation};
pub use compact::CompactionSettings;
pub use metadata::{
    Metadata, MetadataError, MetadataReply, MetadataRequest, QuorumDescription, QuorumFileError,
    QuorumSeed, QuorumStanding,
};
pub use shard::{GROUPS_TOPIC, Identity, Journaled, Shard, ShardSettings, shard_of};
pub use stored::{LoadError, metadata_decision, read_metadata_decision};
pub use sync::{SyncId, SyncJob};
