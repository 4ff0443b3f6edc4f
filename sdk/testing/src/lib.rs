//! Runs a plugin's Rust natively, without a broker: the same columns go in and come out as at the
//! border of a component, only that nothing is compiled to wasm and nothing is sandboxed.
//!
//! ```
//! use brooklet::{Action, Record};
//! use brooklet_testing::{Rec, Shown, Transforming};
//!
//! #[brooklet::transform]
//! fn tombstones_only(record: Record<'_>) -> bool {
//!     record.value().is_none()
//! }
//!
//! let mut plugin = Transforming::<tombstones_only>::start("{}").unwrap();
//! let shown = plugin.show(&[Rec::value("x"), Rec::tombstone("key")]).unwrap();
//! assert_eq!(shown, [Shown::Dropped, Shown::Record(Rec::tombstone("key"))]);
//! ```
//!
//! What the plugin asks of its host is answered by [`brooklet::stand_in`]. Golden files are in
//! [`golden`]. What only the real host can show (limits, traps, grants, what a call costs) is not
//! shown here, but by `brooklet plugin test COMPONENT FOLDER…`, which runs the built component over the
//! same golden files: see `brooklet-plugin-runner`.

pub mod golden;

mod compaction;
mod connector;
mod partitioner;
mod record;
mod serde;
mod transform;

pub use brooklet_golden::{Rec, Shown};
pub use compaction::{Compacting, Survivor};
pub use connector::{Polled, Sinking, Sourcing};
pub use partitioner::Partitioning;
pub use record::batch;
pub use serde::Serding;
pub use transform::Transforming;

use brooklet::{Context, Error};

fn context(role: &str) -> Context {
    Context {
        plugin_name: "under-test".to_owned(),
        role: role.to_owned(),
        task: "test".to_owned(),
        host_version: env!("CARGO_PKG_VERSION").to_owned(),
        properties: Vec::new(),
    }
}

/// Makes an instance as `init` would.
fn start<C, P>(
    role: &str,
    config: &str,
    new: impl FnOnce(C, &Context) -> Result<P, Error>,
) -> Result<P, Error>
where
    C: ::serde::de::DeserializeOwned,
{
    new(brooklet::parse_config(config)?, &context(role))
}
