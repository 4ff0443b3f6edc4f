//! A network namespace with a folder of its own in memory, and programs in it.
//!
//! **Decides** how everything ends: the namespace lives as long as a process in it, that process as long as we hold its
//! standard input, and programs end with the thread that started them. So nothing is left behind, however we end.

use std::fs;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::failure::{Failure, context};

/// Where the folder is, seen from inside.
pub(crate) const FOLDER: &str = "/mnt";
/// What making one needs, besides the right to.
const TOOLS: [&str; 4] = ["ip", "nsenter", "setpriv", "unshare"];
/// A step of preparation is done in milliseconds.
const STEP_MAX: Duration = Duration::from_secs(10);

/// A namespace. It is gone when this is.
pub(crate) struct Space {
    holder: Child,
}

/// What is missing to measure here; none if nothing is.
pub(crate) fn missing() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("namespaces and TUN devices need root".to_owned());
    }
    if !Path::new("/dev/net/tun").exists() {
        return Some("there is no /dev/net/tun".to_owned());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_there =
        |tool: &&str| std::env::split_paths(&path).any(|folder| folder.join(tool).exists());
    let tool = TOOLS.iter().find(|tool| !is_there(tool))?;
    Some(format!("there is no `{tool}` on the path"))
}

impl Space {
    /// Makes one, with the loopback up.
    pub(crate) fn make() -> Result<Space, Failure> {
        // `cat` says that it is there, and ends when nobody can speak to it any more.
        let script = format!("mount -t tmpfs none {FOLDER} && exec cat");
        let mut command = Command::new("unshare");
        command.args(["--net", "--mount", "sh", "-c", &script]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut holder = command.spawn().map_err(context("start unshare"))?;
        let mut input = holder.stdin.take().expect("it was asked for");
        let mut output = holder.stdout.take().expect("it was asked for");
        let space = Space { holder };
        let greeted = input.write_all(b".").and_then(|()| output.read_exact(&mut [0]));
        greeted.map_err(context("enter a new namespace"))?;
        let mut space = space;
        space.holder.stdin = Some(input);
        space.must(&["ip", "link", "set", "lo", "up"])?;
        Ok(space)
    }

    /// Takes over a device, with an address and the one of the other side.
    pub(crate) fn adopt(&self, device: &str, address: &str) -> Result<(), Failure> {
        let pid = self.holder.id().to_string();
        must(Command::new("ip").args(["link", "set", device, "netns", &pid]))?;
        self.must(&["ip", "address", "add", &format!("{address}/30"), "dev", device])?;
        // A burst of UDP is to be dropped by the link, not before it.
        self.must(&["ip", "link", "set", device, "txqueuelen", "10000", "up"])
    }

    /// Chooses how TCP controls its sending to a peer behind a device. By its route: a namespace may not choose for itself what
    /// the machine's settings do not allow to everybody, and those are not ours to change.
    pub(crate) fn control_tcp_by(
        &self,
        algorithm: &str,
        device: &str,
        peer: &str,
    ) -> Result<(), Failure> {
        let peer = format!("{peer}/32");
        self.must(&["ip", "route", "replace", &peer, "dev", device, "congctl", algorithm])
    }

    /// A program in the namespace. It ends with the thread that starts it.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("nsenter");
        let pid = self.holder.id().to_string();
        command.args(["--net", "--mount", "--target", &pid]);
        command.args(["setpriv", "--pdeathsig", "KILL", "--"]).arg(program);
        command
    }

    /// The folder, seen from outside.
    pub(crate) fn folder(&self) -> PathBuf {
        let root = PathBuf::from(format!("/proc/{}/root", self.holder.id()));
        root.join(FOLDER.trim_start_matches('/'))
    }

    fn must(&self, words: &[&str]) -> Result<(), Failure> {
        let (program, arguments) = words.split_first().expect("there is a program");
        must(self.command(Path::new(program)).args(arguments))
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

/// How TCP controls its sending where nobody chooses, and what there is to choose from.
pub(crate) fn tcp_controls() -> Result<(String, String), Failure> {
    let read = |name: &str| {
        let text = fs::read_to_string(format!("/proc/sys/net/ipv4/{name}"));
        text.map(|text| text.trim().to_owned()).map_err(context("read the kernel's settings"))
    };
    Ok((read("tcp_congestion_control")?, read("tcp_available_congestion_control")?))
}

/// Runs a command that says nothing when it works.
fn must(command: &mut Command) -> Result<(), Failure> {
    output_of(command, STEP_MAX).map(|_| ())
}

/// Runs a command and returns what it says.
pub(crate) fn output_of(command: &mut Command, within: Duration) -> Result<String, Failure> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(context(&format!("start {command:?}")))?;
    let mut child = Ended(child);
    let began = Instant::now();
    // What these commands say fits into a pipe.
    let status = loop {
        match child.0.try_wait().map_err(context("wait for a command"))? {
            Some(status) => break status,
            None if began.elapsed() > within => {
                return Err(Failure(format!("{command:?} is not done after {within:?}")));
            }
            None => std::thread::sleep(Duration::from_millis(2)), // polls a process
        }
    };
    let said = |pipe: Option<&mut dyn Read>| -> io::Result<String> {
        let mut text = String::new();
        pipe.map_or(Ok(0), |pipe| pipe.read_to_string(&mut text))?;
        Ok(text)
    };
    let output = said(child.0.stdout.as_mut().map(|pipe| pipe as &mut dyn Read));
    let errors = said(child.0.stderr.as_mut().map(|pipe| pipe as &mut dyn Read));
    if !status.success() {
        let errors = errors.unwrap_or_default();
        return Err(Failure(format!("{command:?}: {status}: {}", errors.trim())));
    }
    output.map_err(context("read what a command says"))
}

/// A child that does not outlive this.
pub(crate) struct Ended(pub(crate) Child);

impl Drop for Ended {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
