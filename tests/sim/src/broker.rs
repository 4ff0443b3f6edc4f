//! Whole shards with everything above the disk but the network: one seed is one history of clients who
//! produce, read, join groups and administer, and of what goes wrong meanwhile.
//!
//! **Where it sits.** In place of the broker's shell: it drives `brooklet-shard` as `seat`, `shard_thread`
//! and `start` do, with other threads (none), another clock (virtual) and another disk (in memory).
//!
//! **What it decides.** Everything random, from one generator: who asks what and when, how long a message
//! or a sync takes, what happens at the same time, what goes wrong.
//!
//! **What it never does.** Look into a shard: promises are checked against what clients see.

mod audit;
mod bug;
mod client;
mod clients;
mod driver;
mod faults;
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
