//! Other brokers of the cluster.

pub(crate) mod outward;
