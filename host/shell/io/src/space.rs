//! How much room a file system has.
//!
//! **Decides** nothing; administrators are told.

use std::io;
use std::path::Path;

/// A file system's size, and what of it can still be written, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Space {
    /// All of it.
    pub total: u64,
    /// What is left for us.
    pub usable: u64,
}

/// The file system that `folder` is on.
pub fn space(folder: &Path) -> io::Result<Space> {
    let stat = rustix::fs::statvfs(folder)?;
    let bytes = |blocks: u64| blocks.saturating_mul(stat.f_frsize);
    Ok(Space { total: bytes(stat.f_blocks), usable: bytes(stat.f_bavail) })
}
