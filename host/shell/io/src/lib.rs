//! The operating system: files, sockets, clocks, entropy, signals.
//!
//! **Where it sits.** At the very outside. Nothing here decides anything, and nothing else may
//! ask the system for the time, for chance, or for a file.

pub mod clock;
pub mod disk;
pub mod entropy;
pub mod follow;
pub mod memory;
pub mod quic;
pub mod signal;
pub mod space;
pub mod tcp;
pub mod tls;

pub use clock::Clock;
pub use disk::{DataFile, DataFolder, DataFolderError};
