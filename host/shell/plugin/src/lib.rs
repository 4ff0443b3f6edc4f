//! The plugin room: WebAssembly components at every point where people put their own code.
//!
//! **Where it sits.** Behind the `hook` door, and behind the connectors' tasks. The broker does not know this
//! crate; the program puts it in. wasmtime is named here and nowhere else.
//!
//! **What it decides.** Whether a component may be used, what a call may cost, and whether an answer is one.
//!
//! **What it never does.** Let a plugin see more than its batch, believe a word of what comes back, or use an
//! instance again that misbehaved.

mod bind;
mod cache;
mod chain;
mod columns;
mod dead;
mod engine;
mod error;
mod grant;
mod guest;
mod journal;
mod library;
mod limits;
mod manifest;
mod metrics;
mod plugins;
mod rebuild;
mod role;
mod room;
mod signature;
pub mod spec;
mod tasks;
mod topic;
mod workers;

pub use error::{Failure, UseError};
pub use grant::{DirectoryGrant, Grants, HostGrant, SecretSource};
pub use journal::{Journal, Level, Line};
pub use library::{Installed, Library, Stock, Version};
pub use limits::{Budget, Ceiling, LimitsSpec};
pub use manifest::{
    COMPONENT_BYTES_MAX, Inspected, Manifest, Role, Want, Wants, check_name, inspect,
};
pub use metrics::PluginMetrics;
pub use plugins::{Plugins, PluginsConfig};
pub use signature::{Signed, Trust, hex, parse_key, sign};
pub use tasks::ConnectorTasks;
