//! Simulation of a log: one seed is one history of appends, syncs, cleaning, cuts and lost power.
//!
//! **Where it sits.** Above `brooklet-log`, whose every line it runs unchanged, on a disk in memory
//! that keeps an arbitrary prefix of each file's unsynced writes when the power goes, the last of
//! them torn, or flips a bit.
//!
//! **What it decides.** Everything random, from one generator; settings too, small ones.
//!
//! **What it never does.** Simulate what is not there yet: groups, and shards with their journal.

pub mod invariants;
pub mod oracle;
pub mod prng;
pub mod world;

pub use world::{Bug, Outcome, simulate};
