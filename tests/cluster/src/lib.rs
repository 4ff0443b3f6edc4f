//! Real processes: a `brooklet` that a test starts, speaks to, kills and starts again.

pub mod broker;

pub use broker::{Broker, BrokerBuilder};
