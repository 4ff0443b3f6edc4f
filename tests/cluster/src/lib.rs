//! Real processes: a `brooklet` that a test starts, speaks to, kills and starts again.

pub mod broker;
pub mod raw;

pub use broker::{Broker, BrokerBuilder};
pub use raw::Raw;
