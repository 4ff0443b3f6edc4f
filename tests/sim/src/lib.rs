//! Simulation: one seed is one history, of a log or of a whole broker, on a disk that loses what was not
//! synced, tears, flips bits and fills up; or of the copies of a partition, between which messages are lost.
//!
//! **Where it sits.** Above the cores, whose every line it runs unchanged. [`log`] has one log and looks at
//! it closely; [`broker`] has shards, with their journals and groups, and clients; [`replica`] has leaders and
//! followers of one partition.
//!
//! **What it decides.** Everything random, from one generator; settings too, small ones.

pub mod broker;
pub mod log;
pub mod prng;
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

/// What a panic said.
fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    let text = text.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
    text.unwrap_or_else(|| "something that is no text".to_owned())
}
