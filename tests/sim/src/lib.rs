//! Simulation: one seed is one history, of a log, of a whole broker, of a partition's copies, of a quorum, or of a whole
//! cluster, on disks that lose what was not synced, tear, flip bits and fill up.
//!
//! **Where it sits.** Above the cores, whose every line it runs unchanged. [`log`] has one log and looks at
//! it closely; [`broker`] has shards, with their journals and groups, and clients; [`replica`] has leaders and
//! followers of one partition, and [`quorum`] the members of a metadata quorum, each with the network between them;
//! [`cluster`] has whole brokers, which register, elect, copy and fail.
//!
//! **What it decides.** Everything random, from one generator; settings too, small ones.

pub mod broker;
pub mod cluster;
pub mod log;
mod panics;
pub mod prng;
pub mod quorum;
pub mod replica;
mod schedule;

/// How a history went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that happened; equal for equal seeds.
    pub history: String,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
}
