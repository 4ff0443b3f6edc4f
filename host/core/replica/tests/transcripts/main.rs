//! Transcripts of the two roles: what happens to a machine, and, behind arrows, what it wants.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod follower;
mod leader;
mod leader_bench;
