//! One file per family of requests: from Kafka's words to ours and back.
//!
//! Every handler is `async fn handle(call: &Call, request: XRequest) -> XResponse`; what is not
//! waiting is in plain functions beside it, which tests call. A handler never fails: whatever goes
//! wrong is an error code in its response.

pub(crate) mod session;
