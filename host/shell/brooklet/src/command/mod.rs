//! One file per verb, and what several of them say the same way.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod completion;
pub(crate) mod consume;
pub(crate) mod delivery;
pub(crate) mod dump;
pub(crate) mod group;
#[path = "plugin/new.rs"]
#[cfg_attr(not(test), expect(dead_code, reason = "the other verbs of `plugin` bring it in"))]
pub(crate) mod plugin_new;
pub(crate) mod position;
pub(crate) mod produce;
pub(crate) mod serve;
pub(crate) mod topic;

use brooklet_io::signal::StopSignals;

use crate::failure::Failure;

/// Takes over what SIGINT and SIGTERM do.
fn stop_signals() -> Result<StopSignals, Failure> {
    StopSignals::catch().map_err(|error| Failure::new(format!("catch signals: {error}")))
}

/// `NAME=VALUE`, as settings and headers are written.
fn name_value(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or(format!("{text:?} is not NAME=VALUE"))?;
    Ok((name.to_owned(), value.to_owned()))
}
