//! The clients of the simulated broker: each behaves as a well-made client does, at random.

pub(crate) mod admin;
pub(crate) mod consumer;
pub(crate) mod member;
pub(crate) mod producer;
