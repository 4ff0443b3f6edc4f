//! The vocabulary every room shares: ids, offsets, time, sizes, names, limits, error codes.
//!
//! **Where it sits.** Below everything; it uses nothing of ours.
//!
//! **What it never does.** Behave. A type here refuses wrong values and names right ones; what is
//! done with them is decided elsewhere.

pub mod code;
pub mod credential;
pub mod ids;
pub mod limits;
pub mod name;
pub mod offset;
pub mod permission;
pub mod quota;
pub mod size;
pub mod time;

pub use code::ErrorCode;
pub use credential::{ScramCredential, ScramHash};
pub use ids::{
    BrokerId, LeaderEpoch, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
};
pub use name::{NameError, TopicName};
pub use offset::{Offset, RecordCount};
pub use permission::{Acl, Operation, PatternType, Permission, ResourceType};
pub use quota::{QuotaEntity, QuotaKey, QuotaLimit, QuotaName};
pub use size::ByteSize;
pub use time::{Instant, Timestamp};
