//! What a plugin for Brooklet is written with.
//!
//! ```
//! use brooklet::{Action, Record};
//!
//! #[derive(serde::Deserialize)]
//! struct Config {
//!     topic_prefix: String,
//! }
//!
//! /// Called once per record; nothing is copied for those that stay as they are.
//! #[brooklet::transform(columns(keys))]
//! fn only(record: Record<'_>, config: &Config) -> Action {
//!     match record.key() {
//!         Some(key) if key.starts_with(config.topic_prefix.as_bytes()) => Action::Keep,
//!         _ => Action::Drop,
//!     }
//! }
//!
//! brooklet::plugin! {
//!     description: "Keeps the records whose keys begin with a text.",
//!     roles: { transform: only },
//!     config: {
//!         "type": "object",
//!         "required": ["topic_prefix"],
//!         "additionalProperties": false,
//!         "properties": { "topic_prefix": { "type": "string" } },
//!     },
//! }
//! # fn main() {}
//! ```
//!
//! Roles with one function have an attribute ([`macro@transform`], [`macro@partitioner`]); those with
//! several are traits ([`Serde`], [`CompactionPolicy`], [`Source`], [`Sink`]), and [`Transform`] and
//! [`Partitioner`] are the traits behind the attributes, for plugins with state of their own or for
//! those that would rather see a batch at once.
//!
//! Off-wasm everything compiles too and runs against stand-ins of the host ([`stand_in`]), so that
//! `cargo test` needs no broker. `brooklet_testing` builds on that.
//!
//! **Invariants.** Columns, `blobs` and bitmaps end here: authors see records. What a plugin leaves as
//! it is costs no copy. A panic is logged, then the instance ends; the host takes a new one.

#[doc(hidden)]
pub mod bindings;
#[doc(hidden)]
pub mod role;

mod batch;
mod column;
mod error;
mod lifecycle;

pub mod duration;
pub mod files;
pub mod http;
pub mod json;
pub mod log;
pub mod metrics;
pub mod murmur2;
pub mod schemas;
pub mod secrets;
#[cfg(not(target_family = "wasm"))]
pub mod stand_in;
pub mod task;

pub use batch::{Batch, Header, Headers, Record, Records};
pub use bindings::types::Columns;
pub use brooklet_plugin_macros::{partitioner, plugin, transform};
pub use column::{Column, ColumnBuilder};
pub use error::{Error, Reject};
pub use lifecycle::{Context, NoConfig};
#[doc(hidden)]
pub use lifecycle::{Slot, catch_panics, parse_config};
pub use role::compaction::{CompactionPolicy, Entries, Entry, KeyMap, Pass, Verdict};
pub use role::partitioner::{IntoPartition, Partitioner};
pub use role::serde::{Part, Serde, Subject};
pub use role::sink::{Assignment, Rejects, Sink};
pub use role::source::{Limits, NewRecord, Outgoing, Poll, Source, Split};
pub use role::transform::{Action, Change, IntoAction, Output, Transform};
