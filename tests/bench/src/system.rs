//! The systems that are compared, each started fresh and stopped by its process id.

use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::tools::Tools;

/// A server is given this long to say that it serves.
const START_TIME_MAX: Duration = Duration::from_secs(60);

/// What is compared. `Os` means acknowledged from the page cache, `Sync` on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    LimitFile,
    BrookletOs,
    KafkaOs,
    LimitSync,
    BrookletSync,
    KafkaSync,
}

impl Kind {
    pub(crate) const ALL: [Kind; 6] = [
        Kind::LimitFile,
        Kind::BrookletOs,
        Kind::KafkaOs,
        Kind::LimitSync,
        Kind::BrookletSync,
        Kind::KafkaSync,
    ];

    pub(crate) fn label(self) -> &'static str {
        match self {
            Kind::LimitFile => "limitbroker file",
            Kind::BrookletOs => "brooklet os",
            Kind::KafkaOs => "kafka",
            Kind::LimitSync => "limitbroker sync",
            Kind::BrookletSync => "brooklet sync",
            Kind::KafkaSync => "kafka flush.messages=1",
        }
    }
}

/// A running server.
#[derive(Debug)]
pub(crate) struct System {
    pub(crate) kind: Kind,
    pub(crate) address: String,
    pub(crate) pid: u32,
    /// From the start of the process to the first accepted connection.
    pub(crate) start_ms: f64,
    child: Option<Child>,
    folder: PathBuf,
    kafka: PathBuf,
}

impl System {
    pub(crate) fn start(tools: &Tools, kind: Kind) -> Result<System, String> {
        let folder = tools.scratch.join(format!("{kind:?}"));
        let _ = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        let began = Instant::now();
        let (address, pid, child) = match kind {
            Kind::LimitFile | Kind::LimitSync => limitbroker(tools, kind, &folder)?,
            Kind::BrookletOs | Kind::BrookletSync => brooklet(tools, &folder)?,
            Kind::KafkaOs | Kind::KafkaSync => kafka(tools, kind, &folder)?,
        };
        let start_ms = began.elapsed().as_secs_f64() * 1e3;
        let kafka = tools.kafka.clone();
        Ok(System { kind, address, pid, start_ms, child, folder, kafka })
    }

    /// Topic settings that make this kind what its name says.
    pub(crate) fn topic_settings(&self) -> &'static [&'static str] {
        match self.kind {
            Kind::BrookletOs => &["brooklet.flush=os"],
            Kind::BrookletSync => &["brooklet.flush=sync"],
            Kind::LimitFile | Kind::LimitSync | Kind::KafkaOs | Kind::KafkaSync => &[],
        }
    }

    pub(crate) fn stop(&mut self) {
        match &mut self.child {
            Some(child) => {
                let _ = child.kill();
                let _ = child.wait();
            }
            None => {
                let _ = Command::new(&self.kafka).arg("stop").arg(&self.folder).status();
                let process = PathBuf::from(format!("/proc/{}", self.pid));
                let began = Instant::now();
                while process.exists() && began.elapsed() < START_TIME_MAX {
                    std::thread::sleep(Duration::from_millis(50)); // polls a foreign process
                }
            }
        }
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

type Started = (String, u32, Option<Child>);

fn limitbroker(tools: &Tools, kind: Kind, folder: &Path) -> Result<Started, String> {
    let port = free_port()?;
    let mode = if kind == Kind::LimitFile { "file" } else { "sync" };
    let mut command = Command::new(&tools.limitbroker);
    command.arg(port.to_string()).arg(mode).arg(folder);
    let child = quiet(&mut command)?;
    let address = format!("127.0.0.1:{port}");
    wait_for(&address)?;
    let pid = child.id();
    Ok((address, pid, Some(child)))
}

fn brooklet(tools: &Tools, folder: &Path) -> Result<Started, String> {
    let mut command = Command::new(&tools.brooklet);
    command.arg("serve").arg("--data").arg(folder.join("data"));
    command.args(["--listen", "tcp://127.0.0.1:0", "--admin", "127.0.0.1:0"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).stdin(Stdio::null());
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let output = child.stdout.take().expect("piped above");
    let mut lines = BufReader::new(output).lines();
    let ready = lines.next().transpose().map_err(|error| error.to_string())?.unwrap_or_default();
    let address = ready
        .split_whitespace()
        .find_map(|word| word.strip_prefix("tcp://"))
        .ok_or_else(|| format!("brooklet said {ready:?}"))?
        .to_owned();
    let pid = child.id();
    Ok((address, pid, Some(child)))
}

fn kafka(tools: &Tools, kind: Kind, folder: &Path) -> Result<Started, String> {
    let port = free_port()?;
    let mut command = Command::new(&tools.kafka);
    command.arg("start").arg(folder).arg(port.to_string());
    if kind == Kind::KafkaSync {
        command.arg("log.flush.interval.messages=1");
    }
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    let pid = std::fs::read_to_string(folder.join("pid")).map_err(|error| error.to_string())?;
    let pid = pid.trim().parse().map_err(|_| format!("not a process id: {pid}"))?;
    Ok((format!("127.0.0.1:{port}"), pid, None))
}

fn quiet(command: &mut Command) -> Result<Child, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.spawn().map_err(|error| format!("{command:?}: {error}"))
}

fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| error.to_string())?;
    listener.local_addr().map(|address| address.port()).map_err(|error| error.to_string())
}

fn wait_for(address: &str) -> Result<(), String> {
    let began = Instant::now();
    while began.elapsed() < START_TIME_MAX {
        if TcpStream::connect(address).is_ok() {
            return Ok(());
        }
        std::thread::sleep(Duration::from_millis(1)); // polls a foreign process
    }
    Err(format!("nothing serves at {address}"))
}
