//! Every tracing span the broker opens, so that a field has one name and one type everywhere.
//!
//! | span         | level | opened      | fields                          |
//! |--------------|-------|-------------|---------------------------------|
//! | `connection` | info  | on accept   | `connection`, `peer`            |
//! | `request`    | debug | per request | `api`, `version`, `correlation` |
//!
//! Levels: `error` needs a person, `warn` heals itself but should not happen, `info` is a change
//! of state an operator would want in a timeline, `debug` is one line per request, `trace` is for
//! whoever wrote the module. Disconnects and refused requests are `debug`: the internet does that.

use std::net::SocketAddr;

use tracing::Span;

/// Around everything one client connection does.
pub fn connection(connection: u64, peer: SocketAddr) -> Span {
    tracing::info_span!("connection", connection, %peer)
}

/// Around one request, from decoded header to queued reply.
pub fn request(api: &'static str, version: i16, correlation: i32) -> Span {
    tracing::debug_span!("request", api, version, correlation)
}
