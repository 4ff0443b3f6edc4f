//! Simulation: one seed is one history, of a log or of a whole broker, on a disk that loses what was not
//! synced, tears, flips bits and fills up.
//!
//! **Where it sits.** Above the cores, whose every line it runs unchanged. [`log`] has one log and looks at
//! it closely; [`broker`] has shards, with their journals and groups, and clients.
//!
//! **What it decides.** Everything random, from one generator; settings too, small ones.

pub mod broker;
pub mod log;
pub mod prng;
mod schedule;

/// How a history went.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Everything that happened; equal for equal seeds.
    pub history: String,
    /// The promise that was broken, if one was.
    pub violation: Option<String>,
}
