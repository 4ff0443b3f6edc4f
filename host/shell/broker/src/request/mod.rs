//! One file per family of requests: from Kafka's words to ours and back.
//!
//! Every handler is `async fn handle(call: &Call, request: XRequest) -> XResponse`; what is not
//! waiting is in plain functions beside it, which tests call. A handler never fails: whatever goes
//! wrong is an error code in its response.

pub(crate) mod acls;
pub(crate) mod api_versions;
pub(crate) mod brokers;
mod changes;
pub(crate) mod cluster;
pub(crate) mod configs;
pub(crate) mod coordinator;
mod dead;
pub(crate) mod elections;
pub(crate) mod envelope;
pub(crate) mod epochs;
pub(crate) mod features;
pub(crate) mod fetch;
pub(crate) mod group;
mod hints;
pub(crate) mod list_offsets;
pub(crate) mod log_dirs;
pub(crate) mod members;
pub(crate) mod metadata;
mod nearest;
pub(crate) mod offsets;
mod place;
pub(crate) mod plugins;
pub(crate) mod produce;
pub(crate) mod producers;
pub(crate) mod quorum;
pub(crate) mod quotas;
pub(crate) mod reassignments;
pub(crate) mod records;
pub(crate) mod replicate;
pub(crate) mod session;
pub(crate) mod topics;
pub(crate) mod users;
