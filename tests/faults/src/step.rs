//! Commands that prepare something and are done in a moment: each has a deadline.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, context};

/// What `ip`, `tc` and `mount` do takes milliseconds; a JVM that formats a folder, seconds.
const STEP_MAX: Duration = Duration::from_secs(60);

/// Runs words as a command; an error if it says that it did not work.
pub(crate) fn must(words: &[&str]) -> Result<(), Failure> {
    let (program, arguments) = words.split_first().expect("there is a program");
    output_of(Command::new(program).args(arguments)).map(|_| ())
}

/// Runs a command and returns what it says.
pub(crate) fn output_of(command: &mut Command) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().map_err(context(&format!("start {command:?}")))?;
    let began = Instant::now();
    // What these commands say fits into a pipe.
    let status = loop {
        match child.try_wait().map_err(context("wait for a command"))? {
            Some(status) => break status,
            None if began.elapsed() > STEP_MAX => {
                // It may end by itself in this moment.
                let _ = child.kill();
                let _ = child.wait();
                return Err(Failure(format!("{command:?} is not done after {STEP_MAX:?}")));
            }
            None => std::thread::sleep(Duration::from_millis(2)), // polls a process
        }
    };
    let said = |pipe: Option<&mut dyn Read>| {
        let mut text = String::new();
        // What cannot be read is not said.
        let _ = pipe.map(|pipe| pipe.read_to_string(&mut text));
        text
    };
    let output = said(child.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let errors = said(child.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    if !status.success() {
        let said = format!("{} {}", output.trim(), errors.trim());
        return Err(Failure(format!("{command:?}: {status}: {}", said.trim())));
    }
    Ok(output)
}
