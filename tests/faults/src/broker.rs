//! A broker's process: started, killed, stopped and let go on, asked to end. By its id alone, never by a name.

use std::fs::OpenOptions;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tokio::time::sleep;

use crate::failure::{Failure, context};

/// How often a process that is to end is looked at.
const LOOK: Duration = Duration::from_millis(2);

/// A broker that was started.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it; what it says is added to `log`. On the thread that runs until the end: it ends with that.
    pub(crate) fn start(mut command: Command, log: &PathBuf) -> Result<Process, Failure> {
        let log = OpenOptions::new().create(true).append(true).open(log);
        let log = log.map_err(context("open a broker's log"))?;
        let output = log.try_clone().map_err(context("open a broker's log"))?;
        command.stdin(Stdio::null()).stdout(output).stderr(log);
        let child = command.spawn().map_err(context("start a broker"))?;
        Ok(Process { child })
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: Signal) -> Result<(), Failure> {
        let raw = i32::try_from(self.child.id()).expect("an id is a positive i32");
        let pid = Pid::from_raw(raw).expect("an id is a positive i32");
        kill_process(pid, signal).map_err(context("signal a broker"))
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>, Failure> {
        self.child.try_wait().map_err(context("look at a broker's process"))
    }

    /// Waits for its end. None if it has not ended after `within`: then it is killed.
    pub(crate) async fn end(mut self, within: Duration) -> Result<Option<ExitStatus>, Failure> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(status) = self.ended()? {
                return Ok(Some(status));
            }
            if Instant::now() >= deadline {
                return Ok(None);
            }
            sleep(LOOK).await;
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended by itself. One that is stopped is killed as well.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
