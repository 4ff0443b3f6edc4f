//! One file per verb, and what several of them say the same way.

pub(crate) mod acl;
pub(crate) mod bench;
pub(crate) mod cert;
pub(crate) mod check;
pub(crate) mod cluster;
pub(crate) mod completion;
pub(crate) mod connector;
pub(crate) mod consume;
pub(crate) mod delivery;
pub(crate) mod dump;
pub(crate) mod group;
pub(crate) mod password;
pub(crate) mod plugin;
pub(crate) mod position;
pub(crate) mod produce;
pub(crate) mod quota;
mod remote;
pub(crate) mod serve;
pub(crate) mod topic;
pub(crate) mod tunnel;
pub(crate) mod user;
pub(crate) mod view;

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
