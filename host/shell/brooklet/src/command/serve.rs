//! `brooklet serve`: run a broker.

use crate::Context;
use crate::failure::Failure;

/// Nothing yet: the broker's builder adds what it takes.
#[derive(clap::Args)]
pub(crate) struct Arguments {}

/// Runs a broker until it is told to stop.
pub(crate) fn run(_context: &mut Context, _arguments: Arguments) -> Result<(), Failure> {
    Err(Failure::new("this build has no broker"))
}
