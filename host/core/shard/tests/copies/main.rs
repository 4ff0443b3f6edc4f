//! Partitions with copies on two or three brokers: what is acknowledged when, what a change of leaders leaves, and
//! what a follower's log becomes.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

mod changes;
mod groups;
mod leading;
mod readers;
mod wire;
mod world;
