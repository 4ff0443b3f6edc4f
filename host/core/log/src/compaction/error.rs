//! Why a log could not be cleaned.

use std::io;

use brooklet_wire::batch::BatchError;

use super::policy::PolicyError;

/// Why a log could not be cleaned. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The disk refused.
    #[error("compact {folder}: {source}")]
    Disk { folder: String, source: io::Error },
    /// Too little would be left on the disk.
    #[error("compact {folder}: no space left")]
    Full { folder: String },
    /// Nobody knows what is on the disk: end the process.
    #[error("compact {folder}: sync: {source}")]
    Sync { folder: String, source: io::Error },
    /// A batch is damaged.
    #[error("compact {file}: no whole batch at byte {position}")]
    Damaged { file: String, position: u64 },
    /// A batch cannot be written again.
    #[error("compact {file}: {source}")]
    Batch { file: String, source: BatchError },
    /// The topic's policy gives no verdict.
    #[error("compact {folder}: policy: {source}")]
    Policy { folder: String, source: PolicyError },
    /// Segments were removed meanwhile: by retention, or with the topic.
    #[error("compact {folder}: segments were removed meanwhile")]
    Outdated { folder: String },
    /// The process is ending.
    #[error("compact {folder}: interrupted")]
    Interrupted { folder: String },
}
