//! Real processes. One binary, a module for each subject.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

mod compaction;
mod folder;
mod hostile;
mod program;
