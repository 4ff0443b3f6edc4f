//! One partition's log: Kafka's batches byte for byte in Kafka's files, on a [`Disk`] it is handed.
//!
//! **Where it sits.** Above `wire` (what a batch is), below `shard` (who owns which log).
//!
//! **What it decides.** Where bytes go, what is still valid after a crash, what may be deleted.
//!
//! **What it never does.** Read a clock, start a thread, open a file on its own, or know a group,
//! a topic's name or a client.

pub mod disk;
pub mod journal;
pub mod producer;
pub mod settings;
pub mod validate;

pub use disk::{Disk, DiskFile};
pub use settings::LogSettings;
