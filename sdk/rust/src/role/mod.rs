//! One file per role: what authors implement, and how it meets the columns.

pub mod compaction;
pub mod partitioner;
pub mod serde;
pub mod sink;
pub mod source;
pub mod transform;
