//! `brooklet completion SHELL`: a script that completes commands and options.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Which shell
    shell: Shell,
}

/// Prints the script.
pub(crate) fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let mut script = Vec::new();
    let mut command = crate::Arguments::command();
    clap_complete::generate(arguments.shell, &mut command, "brooklet", &mut script);
    context.output.bytes(&script)
}
