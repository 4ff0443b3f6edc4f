//! Brooklet's own Rust client: what the program, mirror links and tests talk to any
//! Kafka-compatible broker with.
//!
//! **Where it sits.** On `core/types` and `core/wire`, and on tokio. It knows nothing of the
//! broker: what it may ask, any client may ask.
//!
//! **How it is built.** [`transport`] is the one seam to the network. A [`connection`] pipelines
//! requests over it. [`Client`] keeps connections, metadata and coordinators, and sends a request
//! to the broker that can answer it, again while that helps. [`Producer`], [`Consumer`] and
//! [`Admin`] are written on [`Client`] alone.
//!
//! **Invariants.**
//! 1. Every wait on a broker has a deadline, and every queue a bound.
//! 2. No byte a broker sends can make this crate panic, or allocate on the word of a length field.
//! 3. A record handed to an idempotent producer is stored at most once, in the order of its
//!    partition, unless its delivery failed with an error that says its fate is unknown.

pub mod admin;
pub mod client;
pub mod config;
pub mod connection;
pub mod consumer;
pub mod error;
pub mod metadata;
pub mod offsets;
pub mod partitioner;
pub mod password;
pub mod producer;
pub mod request;
pub mod transport;

pub use admin::Admin;
pub use brooklet_auth::Secret;
pub use client::Client;
pub use config::{
    Address, AddressError, ClientConfig, Congestion, IdentityFiles, MechanismError, Pin,
    SaslConfig, SaslMechanism, TlsConfig, Transport, Urgency,
};
pub use consumer::{
    ConsumeError, Consumer, ConsumerConfig, ConsumerRecord, Event, GroupConfig, PartitionRecords,
    Reset,
};
pub use error::{ApiError, Code, ConnectError, Peer, RequestError};
pub use metadata::{BrokerAddress, Metadata, PartitionMetadata, TopicMetadata};
pub use offsets::{OffsetAt, OffsetSpec};
pub use password::{AskPassword, Password};
pub use producer::{Delivery, ProduceError, Producer, ProducerConfig, ProducerRecord, Target};
