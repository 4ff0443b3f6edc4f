//! Kafka's bytes to values and back: the one crate that names the codec library.
//!
//! **Where it sits.** Above `types`, below every room that meets a client or a log.
//!
//! **What it decides.** Which versions are spoken, and which bytes are well-formed.
//!
//! **What it never does.** Panic on input, believe a length before bytes back it, or copy records
//! that only pass through.

// Tests may panic; that is how they speak.
#![cfg_attr(
    not(test),
    deny(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )
)]

pub mod batch;
pub mod checksum;
pub mod compress;
mod error;
pub mod fetch;
pub mod frame;
pub mod message;
mod peer;
pub mod stored;
pub mod version;

pub use error::WireError;
