//! One partition on three to five brokers: one seed is one history of leaders, followers, a controller, producers and
//! a consumer, and of what goes wrong between them.
//!
//! **Where it sits.** In place of the shards and of everything between brokers: it drives `brooklet-replica` over
//! logs, a network and a controller that are models.
//!
//! **What it decides.** Everything random, from one generator: what is lost, late or comes twice, who dies and what
//! that one's disk still has, who is fenced, how long a sync takes.
//!
//! **What it never does.** Look into a machine of the core: promises are checked against logs, acknowledgements and
//! what a consumer is told.

mod bug;
mod clients;
mod controller;
mod driver;
mod faults;
mod host;
mod log;
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
