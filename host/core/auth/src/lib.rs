//! Who is speaking, what they may do, and how much of it.
//!
//! **Where it sits.** Between a connection's frames and the request handlers: nothing is carried out for a
//! peer before a machine here says who it is, and no resource is touched before [`acl`] says that it may be.
//! Clients use the other half of the same mechanisms.
//!
//! **What it decides.** Whether a token proves an identity ([`sasl`], [`plain`], [`scram`], [`oauth`]), which
//! user a certificate stands for ([`principal`]), whether an operation is allowed and which rule says so
//! ([`acl`]), and how long a client that takes too much has to wait ([`quota`]).
//!
//! **What it never does.** Read a clock or make a random number: the time, nonces and secrets are arguments.
//! Know where users and rules are kept, or how a request is written: it is handed values and hands back
//! values. Panic on any input. Keep anything whose size a peer chooses, before that peer is known, beyond the
//! bytes of its current token ([`sasl::TOKEN_BYTES_MAX`]).

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

pub mod acl;
pub mod mechanism;
pub mod oauth;
pub mod plain;
pub mod principal;
pub mod quota;
pub mod sasl;
pub mod scram;

pub use acl::Authorizer;
pub use mechanism::{Mechanism, Secret};
pub use principal::Principal;
