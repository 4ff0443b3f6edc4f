//! The broker: connections, requests, configuration, health.
//!
//! **Where it sits.** Between the clients and the shards; the core decides, this carries.
//!
//! **What it decides.** How a request of Kafka's becomes a question to a shard, and its answer a
//! response. **Never** what is stored or who is a group's leader: those are the core's.

pub mod access;
mod admin;
mod broker;
pub mod budget;
mod cleaner;
mod closing;
pub mod config;
pub mod connection;
mod context;
mod events;
mod gate;
mod health;
pub mod metrics;
pub mod peers;
mod reactor;
mod request;
mod router;
mod seat;
mod secrets;
mod server;
mod shard_thread;
pub mod shards;
pub mod spans;
pub mod start;
mod throttle;
mod tokens;
pub mod translate;
mod users;

pub use broker::{
    Extensions, Ready, RunError, Serving, found_cluster, join_cluster, run, run_extended,
};
pub use server::inner::InnerDoor;
