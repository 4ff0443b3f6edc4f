//! The vocabulary every room shares: ids, offsets, time, sizes, names, limits, error codes.
//!
//! **Where it sits.** Below everything; it uses nothing of ours.
//!
//! **What it never does.** Behave. A type here refuses wrong values and names right ones; what is
//! done with them is decided elsewhere.

pub mod code;
pub mod ids;
pub mod limits;
pub mod name;
pub mod offset;
pub mod size;
pub mod time;

pub use code::ErrorCode;
pub use ids::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
pub use name::{NameError, TopicName};
pub use offset::{Offset, RecordCount};
pub use size::ByteSize;
pub use time::{Instant, Timestamp};
