//! `brooklet check FILE.ron`: every problem of a configuration at once, before a rollout finds it.

use std::path::PathBuf;

use brooklet_broker::config::{Config, Problem};
use serde_json::{Value, json};

use crate::Context;
use crate::failure::Failure;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The configuration file
    file: PathBuf,
}

/// Reads the file as `serve` would, and starts nothing.
pub(crate) fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let name = arguments.file.display().to_string();
    let text = std::fs::read_to_string(&arguments.file)
        .map_err(|error| Failure::file("read", &arguments.file, &error))?;
    match Config::read(&name, &text) {
        Ok(_) if context.is_json() => context.output.json(&json!({ "file": name, "problems": [] })),
        Ok(_) => context.output.line(&format!("{name} is well-formed")),
        Err(error) => {
            if context.is_json() {
                let problem =
                    |problem: &Problem| json!({ "path": problem.path, "message": problem.message });
                let problems: Vec<Value> = error.problems.iter().map(problem).collect();
                context.output.json(&json!({ "file": name, "problems": problems }))?;
                context.output.flush()?;
                return Err(Failure::new(format!("{name} is not usable")));
            }
            Err(Failure::new(error.to_string()))
        }
    }
}
