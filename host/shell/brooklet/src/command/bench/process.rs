//! This program once more, as a process beside us, and folders for it. Both go away with the measurement, also when it
//! fails.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};

use brooklet_client::Address;

use crate::failure::Failure;

/// A folder of our own.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Folder, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("brooklet-bench-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).map_err(|error| Failure::file("create", &path, &error))?;
        Ok(Folder(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What can't be removed lies in the system's folder for what is of no use.
        drop(std::fs::remove_dir_all(&self.0));
    }
}

/// A process that says where it listens, and then serves.
pub(super) struct Process {
    child: Child,
    /// Where it listens, in its own order.
    pub(super) addresses: Vec<Address>,
}

impl Process {
    /// Starts it and waits for its line, which begins with `ready`.
    pub(super) fn start<'a>(
        arguments: impl IntoIterator<Item = &'a OsStr>,
    ) -> Result<Process, Failure> {
        let failed = |error: std::io::Error| Failure::new(format!("start a process: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().expect("it is a pipe");
        // From here on it ends with this value.
        let mut process = Process { child, addresses: Vec::new() };
        let mut line = String::new();
        BufReader::new(output).read_line(&mut line).map_err(failed)?;
        let words = line.strip_prefix("ready ").unwrap_or_default().split_whitespace();
        // What else it says of itself has no scheme.
        let addresses = words.filter(|word| word.contains("://"));
        process.addresses = addresses.filter_map(|word| word.parse().ok()).collect();
        if process.addresses.is_empty() {
            return Err(Failure::new("the process ended before it was ready"));
        }
        Ok(process)
    }

    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Its folder goes too: there is nothing that it could write down for later.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
