//! The members of a metadata quorum, their disks and the network between them: one seed is one history of
//! elections, proposals, reads and changes of members, and of what goes wrong meanwhile.
//!
//! **Where it sits.** In place of the shards that hold the metadata and of what is below and between them: it
//! drives `brooklet-quorum` as a shard does, with a clock, disks and a network of its own.
//!
//! **What it decides.** Everything random, from one generator: when ticks come, which messages are lost, late
//! or there twice, how long a write takes and what a crash leaves of it, whose disk is wiped.
//!
//! **What it never does.** Look into a quorum for a promise: promises are checked against what it hands out.

mod admin;
mod bug;
mod disk;
mod faults;
mod host;
mod network;
mod plan;
mod promises;
mod world;

pub use bug::Bug;

use crate::{Outcome, panics};

/// Lives one history.
pub fn simulate(seed: u64, bug: Bug) -> Outcome {
    let mut world = world::World::new(seed, bug);
    let violation = panics::as_violation(|| world.live());
    Outcome { history: world.into_history(), violation }
}
