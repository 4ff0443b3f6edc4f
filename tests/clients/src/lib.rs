//! Other people's clients against our broker: their own suites, and short scenarios.

pub mod client;
pub mod librdkafka;
pub mod scenarios;
pub mod way;

use std::process::Command;

/// What is shown of a program that failed.
const LINES_MAX: usize = 20;

/// Runs what has to succeed; an error says how it ended, and with which words.
fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let lines: Vec<&str> = said.lines().collect();
    Err(format!("{command:?}: {}: {}", output.status, last(&lines).join("\n")))
}

fn last<'a>(lines: &'a [&'a str]) -> &'a [&'a str] {
    &lines[lines.len().saturating_sub(LINES_MAX)..]
}
