//! Every tracing span the broker opens, so that a field has one name and one type everywhere.
//!
//! | span         | level | opened                      | fields                                                  |
//! |--------------|-------|-----------------------------|---------------------------------------------------------|
//! | `connection` | info  | on accept                   | `connection`, `transport`, `peer`, `subject`, `principal`; from the broker's own process, `transport` |
//! | `stream`     | info  | per stream of QUIC          | `stream`, `subject`, `principal`                        |
//! | `request`    | debug | per request                 | `api`, `version`, `correlation`                         |
//!
//! `subject` is that of a certificate, `principal` who the client was found to be: both are recorded once they are known.
//!
//! Levels: `error` needs a person, `warn` heals itself but should not happen, `info` is a change
//! of state an operator would want in a timeline, `debug` is one line per request, `trace` is for
//! whoever wrote the module. Disconnects and refused requests are `debug`: the internet does that.

use std::net::SocketAddr;

use brooklet_auth::Principal;
use brooklet_io::tls::identity::PeerIdentity;
use tracing::Span;
use tracing::field::Empty;

use crate::config::Transport;

/// Around everything one client connection does.
pub fn connection(connection: u64, transport: Transport, peer: SocketAddr) -> Span {
    let transport = transport.scheme();
    tracing::info_span!("connection", connection, transport, %peer, subject = Empty, principal = Empty)
}

/// The same for one from the broker's own process, which has no number and no address.
pub fn inner_connection() -> Span {
    tracing::info_span!("connection", transport = "inner", subject = Empty, principal = Empty)
}

/// Says in the span of a connection or a stream whose certificate the client has shown.
pub fn identified(identity: &PeerIdentity) {
    Span::current().record("subject", identity.subject.as_str());
}

/// Says in the span of a connection or a stream who the client is.
pub fn authenticated(principal: &Principal) {
    Span::current().record("principal", principal.as_str());
}

/// Around what one stream of a QUIC connection does.
pub fn stream(stream: u64) -> Span {
    tracing::info_span!("stream", stream, subject = Empty, principal = Empty)
}

/// Around one request, from decoded header to queued reply.
pub fn request(api: &'static str, version: i16, correlation: i32) -> Span {
    tracing::debug_span!("request", api, version, correlation)
}
