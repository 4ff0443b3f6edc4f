//! Who talks to the brokers.

pub(crate) mod committer;
pub(crate) mod consumer;
pub(crate) mod operator;
pub(crate) mod producer;
