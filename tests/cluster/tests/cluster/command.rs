//! The command line as a person meets it: what it prints, how it ends, and what it advises.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use brooklet_cluster::Broker;
use brooklet_cluster::broker::program;

/// Seconds one command may take.
const SECONDS_MAX: &str = "60";

/// A command line, and a broker for it.
pub(crate) struct Cli {
    broker: Option<Broker>,
}

/// What a command printed.
pub(crate) struct Said {
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Cli {
    pub(crate) fn with_broker() -> Cli {
        Cli { broker: Some(Broker::start()) }
    }

    /// For what ends before anybody is asked. Its address is one where nobody listens.
    pub(crate) fn without_broker() -> Cli {
        Cli { broker: None }
    }

    /// Runs a command that succeeds.
    #[track_caller]
    pub(crate) fn run(&self, arguments: &[&str]) -> Said {
        self.ends(0, arguments)
    }

    /// Runs a command that ends with `code`.
    #[track_caller]
    pub(crate) fn ends(&self, code: i32, arguments: &[&str]) -> Said {
        let output =
            self.output(Command::new("timeout").arg(SECONDS_MAX).arg(program()).args(arguments));
        let said = Said { stdout: text(output.stdout), stderr: text(output.stderr) };
        let ended = output.status.code();
        assert_eq!(ended, Some(code), "{arguments:?}: {}{}", said.stdout, said.stderr);
        said
    }

    /// Plays a line of a transcript in a shell, where the program is `brooklet`. Gives what it
    /// printed, with `! ` before each line of standard error, and its exit code if that is not 0.
    fn play(&self, folder: &Path, line: &str) -> String {
        let bin = program().parent().unwrap().to_owned();
        let path = std::env::join_paths(
            std::iter::once(bin).chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
        );
        let mut shell = Command::new("timeout");
        shell.arg(SECONDS_MAX).args(["bash", "-o", "pipefail", "-c", line]);
        let output = self.output(shell.env("PATH", path.unwrap()).current_dir(folder));
        let mut said = text(output.stdout);
        for line in text(output.stderr).lines() {
            let _ = writeln!(said, "! {line}");
        }
        match output.status.code() {
            Some(0) => {}
            code => drop(writeln!(said, "[{}]", code.unwrap_or(-1))),
        }
        // The port is another one each time, and so is the place of what is not JSON.
        said.replace(&self.address(), "BROKER")
    }

    fn output(&self, command: &mut Command) -> Output {
        command.env("BROOKLET_BROKER", self.address()).stdin(Stdio::null()).output().unwrap()
    }

    fn address(&self) -> String {
        self.broker.as_ref().map_or("127.0.0.1:1".to_owned(), |broker| broker.address().to_string())
    }
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap()
}

/// Plays `transcripts/NAME.txt`: each line that begins with `$ ` is a command, what follows it is what
/// it says. `UPDATE_EXPECT=1` writes down what is said now.
#[track_caller]
fn check(cli: &Cli, name: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(format!("transcripts/{name}.txt"));
    let folder = tempfile::tempdir().unwrap();
    let transcript = std::fs::read_to_string(&path).unwrap();
    let mut played = String::new();
    for line in transcript.lines() {
        if line.starts_with("# ") {
            // Empty lines of the transcript are what commands say, except before a heading.
            let gap = if played.is_empty() { "" } else { "\n" };
            let _ = writeln!(played, "{gap}{line}");
        } else if let Some(command) = line.strip_prefix("$ ") {
            let _ = write!(played, "{line}\n{}", cli.play(folder.path(), command));
        }
    }
    expect_test::expect_file![path].assert_eq(&played);
}

#[test]
fn topics_are_created_described_altered_and_deleted() {
    check(&Cli::with_broker(), "topic");
}

#[test]
fn records_go_in_and_come_out_as_people_write_them() {
    check(&Cli::with_broker(), "records");
}

#[test]
fn groups_are_listed_described_moved_and_deleted() {
    check(&Cli::with_broker(), "group");
}

#[test]
fn what_needs_no_broker_says_what_is_wrong() {
    check(&Cli::without_broker(), "alone");
}
