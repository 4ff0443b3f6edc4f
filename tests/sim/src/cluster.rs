//! Whole brokers together: three to five of them, each with its shards, its part of the quorum and its disk, a
//! network that loses and delays between them, and clients.
//!
//! **Where it sits.** In place of the broker's shell: it drives `brooklet-shard` as threads and connections do, runs
//! `brooklet-meta`'s `Lifecycle` and `Controller` for each broker, and carries what brokers ask each other.
//!
//! **What it decides.** Everything random, from one generator: who asks what and when, how long a message or a sync
//! takes, what is lost, who dies with what on its disk.
//!
//! **What it never does.** Help: brokers find their controller, grow their quorum and heal by what the cores say. Only
//! the operator's part is played: new brokers are made members.

mod bug;
mod client;
mod clients;
mod decisions;
mod driver;
mod faults;
mod governing;
mod look;
mod message;
mod network;
mod node;
mod oracles;
mod plan;
mod records;
mod world;

pub use bug::Bug;

use crate::{Outcome, panics};

/// Lives one history.
pub fn simulate(seed: u64, bug: Bug) -> Outcome {
    let mut world = world::World::new(seed, bug);
    let violation = panics::as_violation(|| world.live());
    Outcome { history: world.into_history(), violation }
}
