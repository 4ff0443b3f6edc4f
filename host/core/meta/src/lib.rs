//! The cluster as data: topics, brokers and settings, and every decision about them.
//!
//! **Where it sits.** Requests of administrators → *here* → records → the metadata log → *here*
//! again. The shard that holds the metadata log drives it; everybody else reads [`Cluster`]
//! snapshots.
//!
//! **What it decides.** Whether a topic may be created, changed or deleted, what its settings are,
//! which producer ids are given out; who belongs to the cluster, who keeps which partition, who leads it and
//! when its epochs grow; what a broker asks the controller and when, and what the controller has to see to. A decision borrows the state and
//! hands back records; only [`Cluster::apply`] changes it, so replaying the records rebuilds it.
//!
//! **What it never does.** Know how records are written down, name a wire structure, ask for the
//! time or for randomness: new ids are arguments.

mod apply;
pub mod broker;
pub mod cluster;
pub mod controller;
pub mod decide;
pub mod lifecycle;
pub mod liveness;
pub mod partition;
pub mod placement;
pub mod record;
pub mod setting;
mod snapshot;

pub use cluster::{Broker, Cluster, Topic};
pub use decide::Decision;
pub use partition::Partition;
pub use record::MetaRecord;
pub use setting::effective::EffectiveTopicSettings;
