//! Connectors: sources that bring records in and sinks that take them out, run beside the broker.
//!
//! **Where it sits.** Beside the broker, as a client of it, and before the [`Tasks`](brooklet_hook::task::Tasks)
//! door, behind which sources and sinks are. It knows neither WebAssembly nor the log.
//!
//! **What it decides.** Which tasks run, what is tried again and when, what becomes of records that nobody takes,
//! and how far a connector has come.
//!
//! **Invariants.**
//! 1. The records of a poll and the position after them are written down as one record before any of them is
//!    delivered, and delivered under numbers by which the broker knows those it has: whatever ends in between,
//!    each is stored once, in its order. See [`outbox`].
//! 2. A sink's offsets are committed only as far as its `flush` says.
//! 3. A partition belongs to one task, and its records reach the sink in their order, the next not before the one
//!    before it was taken or buried.

mod backoff;
mod config;
mod dead;
mod metrics;
mod outbox;
mod status;
mod store;
mod task;
mod worker;

pub use config::{ConfigProblems, ConnectorConfig, check_name};
pub use metrics::ConnectMetrics;
pub use status::{ConnectorStatus, State, TaskStatus};
pub use worker::{ConnectError, Connectors, Info};
