//! Requests in Kafka's words ⇄ questions to the core in ours: what administrators ask, and other brokers.
//!
//! Plain functions: a request and the cluster in, a question or a response out. Handlers call them
//! on both sides of the wait for the shard. **Never** waits, and **never** decides: what may be is
//! decided by `meta`.

pub mod cluster;
pub mod configs;
pub mod elections;
pub mod features;
pub mod members;
pub mod nodes;
pub mod peer;
pub mod reassignments;
pub mod topics;

use brooklet_types::ErrorCode;
use brooklet_wire::message::StrBytes;

/// The code and the text of an outcome, as responses carry them.
fn outcome<T, E: std::fmt::Display>(
    result: &Result<T, E>,
    code: impl Fn(&E) -> ErrorCode,
) -> (i16, Option<StrBytes>) {
    match result {
        Ok(_) => (ErrorCode::None.to_wire(), None),
        Err(error) => (code(error).to_wire(), Some(StrBytes::from(error.to_string()))),
    }
}

#[cfg(test)]
mod tests;
