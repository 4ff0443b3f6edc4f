//! Other programs, and why they did not do what was asked.

use std::ffi::OsStr;
use std::path::Path;

/// Why something has not been shown.
#[derive(Debug)]
pub(crate) enum Problem {
    /// What this machine lacks.
    Missing(String),
    /// What is wrong.
    Wrong(String),
}

/// Longer than any step takes on two cores that are busy with something else.
const SECONDS_MAX: &str = "1200";
/// What is shown of a program that failed.
const LINES_MAX: usize = 30;

/// A program and its arguments, with a limit of time.
#[derive(Debug)]
pub(crate) struct Command(std::process::Command);

impl Command {
    pub(crate) fn new(program: impl AsRef<OsStr>) -> Command {
        let mut command = std::process::Command::new("timeout");
        command.arg(SECONDS_MAX).arg(program);
        Command(command)
    }

    pub(crate) fn arg(&mut self, argument: impl AsRef<OsStr>) -> &mut Command {
        self.0.arg(argument);
        self
    }

    pub(crate) fn args<A: AsRef<OsStr>>(
        &mut self,
        arguments: impl IntoIterator<Item = A>,
    ) -> &mut Command {
        self.0.args(arguments);
        self
    }

    pub(crate) fn within(&mut self, folder: &Path) -> &mut Command {
        self.0.current_dir(folder);
        self
    }

    pub(crate) fn env(&mut self, name: &str, value: impl AsRef<OsStr>) -> &mut Command {
        self.0.env(name, value);
        self
    }

    /// Does without a variable that this program was given.
    pub(crate) fn without(&mut self, name: &str) -> &mut Command {
        self.0.env_remove(name);
        self
    }

    /// What it printed, or the end of what it said when it failed.
    pub(crate) fn output(&mut self) -> Result<String, String> {
        let output = self.0.output().map_err(|error| format!("{:?}: {error}", self.0))?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() {
            return Ok(said);
        }
        let both = format!("{said}{}", String::from_utf8_lossy(&output.stderr));
        let lines: Vec<&str> = both.lines().collect();
        let from = lines.len().saturating_sub(LINES_MAX);
        Err(format!("{:?}: {}:\n{}", self.0, output.status, lines[from..].join("\n")))
    }

    /// The same, for what would have to work on any machine that has what it needs.
    pub(crate) fn wrong(&mut self) -> Result<String, Problem> {
        self.output().map_err(Problem::Wrong)
    }

    /// The same, for what a machine may lack.
    pub(crate) fn missing(&mut self) -> Result<String, Problem> {
        self.output().map_err(Problem::Missing)
    }
}
