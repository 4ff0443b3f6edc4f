//! `brooklet tunnel`: TCP in, QUIC out, for clients that know only TCP.
//!
//! **Where it sits.** Beside clients, on `sdk/client`'s transports and on `wire`. It knows nothing of the broker: to it the
//! tunnel is a client with many streams.
//!
//! **How it is built.** [`run`] opens a *door* for what it was told to reach, and one for each broker that it hears of
//! (`doors`): a listener that stays with its broker for the life of the tunnel. A client at a door is a stream to the
//! broker behind it (`connection`). Requests pass as they are and are followed only by their headers (`requests`), to know
//! what each answer is; answers pass too, but for those with addresses in them, whose addresses become those of doors
//! (`answers`, `rewrite`, `fetch`).
//!
//! **What it never does.** Log in: SASL passes through. Send anything early: what comes before a handshake is complete may
//! be a replay, and whether a client's request may be repeated is not for a tunnel to say.
//!
//! **Invariants.**
//! 1. No byte of either side makes it panic, or keep more than 16 MiB of one connection (`rewrite::REWRITE_BYTES_MAX`).
//! 2. A side that does not take what it is sent is not read from either.
//! 3. An address of a broker that a client is given leads to a door, or the connection ends with a reason in the log.
//!
//! **Limits of it.** The layouts of Metadata, FindCoordinator, DescribeCluster, Produce and Fetch are known up to the versions
//! that `wire` knows; a client that asks for a newer one is closed. Addresses in other answers (of share groups, which Brooklet
//! has not, and of the metadata's quorum, which tools show and do not connect to) stay as they are. SaslHandshake v0,
//! behind which tokens come without headers, is refused: clients since Kafka 1.0 use v1.

mod answers;
mod connection;
mod doors;
pub mod dry;
mod fetch;
mod requests;
mod rewrite;
mod tunnel;

pub use tunnel::{Config, Ready, TunnelError, run};
