//! What anybody may send, into whatever reads it: one target for each decoder that meets bytes of peers nobody knows.
//!
//! **Where it sits.** A target is a function of bytes that must not panic, and that states what else holds. `tests/` runs each
//! over `corpus/` and over seeded mutations of it, with `cargo test`; `libfuzzer/` lets coverage lead, for as long as one likes.
//!
//! **What has no target here.** HTTP, TLS and QUIC below the protocol, PEM and certificates: they are read by axum, rustls, quinn
//! and x509-parser.

pub mod auth;
pub mod batch;
pub mod client;
pub mod request;
pub mod tunnel;

/// A decoder, and what must hold of it.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Of its folder in `corpus/`.
    pub name: &'static str,
    /// Panics where something does not hold.
    pub run: fn(&[u8]),
}

/// All of them.
pub const TARGETS: [Target; 13] = [
    Target { name: "request", run: request::run },
    Target { name: "batch", run: batch::run },
    Target { name: "produced", run: batch::produced },
    Target { name: "compressed", run: batch::compressed },
    Target { name: "sasl", run: auth::sasl },
    Target { name: "token", run: auth::token },
    Target { name: "scram_server", run: auth::scram_server },
    Target { name: "subject", run: auth::subject },
    Target { name: "tunnel", run: tunnel::run },
    Target { name: "response", run: client::response },
    Target { name: "fetched", run: client::fetched },
    Target { name: "assignment", run: client::assignment },
    Target { name: "subscription", run: client::subscription },
];

/// The target of that name.
pub fn target(name: &str) -> Option<Target> {
    TARGETS.into_iter().find(|target| target.name == name)
}

/// Cuts the bytes before the next `|` off, as inputs of several parts are written; all of them where there is none.
fn part<'a>(bytes: &mut &'a [u8]) -> &'a [u8] {
    let all = *bytes;
    let end = all.iter().position(|byte| *byte == b'|').unwrap_or(all.len());
    *bytes = all.get(end + 1..).unwrap_or_default();
    all.get(..end).unwrap_or_default()
}
