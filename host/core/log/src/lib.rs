//! One partition's log: Kafka's batches byte for byte in Kafka's files, on a [`Disk`] it is handed.
//!
//! **Where it sits.** Above `wire` (what a batch is), below `shard` (who owns which log).
//!
//! **What it decides.** Where bytes go, what is still valid after a crash, what may be deleted.
//!
//! **What it never does.** Read a clock, start a thread, open a file on its own, or know a group,
//! a topic's name or a client.

mod append;
mod buffers;
mod checkpoint;
pub mod compaction;
mod copy;
pub mod disk;
pub mod epoch;
mod frame;
pub mod journal;
pub mod log;
mod lookup;
mod offset_index;
pub mod plan;
pub mod producer;
mod recovery;
mod retention;
mod segment;
pub mod settings;
pub mod sync;
mod tail;
mod time_index;
pub mod validate;

pub use append::{AppendError, Appended};
pub use buffers::Buffers;
pub use copy::{Copied, CopyError};
pub use disk::{Disk, DiskFile};
pub use frame::Hole;
pub use log::{Log, Stored, WriteError};
pub use plan::{FilePiece, Piece, ReadError, ReadPlan};
pub use recovery::OpenError;
pub use segment::Closed;
pub use settings::LogSettings;
pub use sync::{Dirty, SyncToken};
pub use tail::TailBudget;
