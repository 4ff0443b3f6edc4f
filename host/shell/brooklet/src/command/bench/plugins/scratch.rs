//! Folders and brokers for a measurement. They go away with it, also when it fails.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use brooklet_client::{Address, Client, ClientConfig, Transport};
use brooklet_plugin::{Ceiling, Plugins, PluginsConfig, Stock, Trust};

use crate::failure::Failure;

/// How long a command of the measurement may take, such as the creation of a topic.
const PATIENCE: Duration = Duration::from_secs(60);

/// A folder of our own.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new() -> Result<Folder, Failure> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("brooklet-bench-plugins-{}-{number}", std::process::id());
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

/// The plugin room as a broker has it, in this process.
pub(super) fn plugins(folder: &Path) -> Result<Arc<Plugins>, Failure> {
    let opened = Plugins::open(&PluginsConfig {
        folder: folder.to_owned(),
        ceiling: Ceiling::default(),
        trust: Trust::default(),
        stock: crate::stock::names().map(|name| Stock { name, bytes: component }).collect(),
    });
    opened.map_err(|error| Failure::new(error.to_string()))
}

fn component(name: &'static str) -> Vec<u8> {
    crate::stock::component(name).expect("only plugins that come with the program are named")
}

/// A broker of our own: this program, once more.
pub(super) struct Broker {
    child: Child,
    address: Address,
    _folder: Folder,
}

impl Broker {
    pub(super) fn start() -> Result<Broker, Failure> {
        let folder = Folder::new()?;
        let failed = |error: std::io::Error| Failure::new(format!("start a broker: {error}"));
        let program = std::env::current_exe().map_err(failed)?;
        let mut command = Command::new(program);
        command.args([
            "serve",
            "--listen",
            "tcp://127.0.0.1:0",
            "--admin",
            "off",
            "--log",
            "error",
        ]);
        command.arg("--data").arg(folder.path().join("data"));
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .map_err(failed)?;
        let output = child.stdout.take().expect("it is a pipe");
        let mut line = String::new();
        let read = BufReader::new(output).read_line(&mut line);
        let address = line.strip_prefix("ready tcp://").and_then(|rest| rest.split(' ').next());
        let address = address.and_then(|text| text.trim().parse().ok());
        let nowhere = Address::new(Transport::Tcp, "", 0);
        let mut broker = Broker { child, address: nowhere, _folder: folder };
        // From here on it ends with this value.
        read.map_err(failed)?;
        broker.address =
            address.ok_or_else(|| Failure::new("the broker ended before it was ready"))?;
        Ok(broker)
    }

    pub(super) fn client(&self) -> Client {
        let mut config = ClientConfig::new(vec![self.address.clone()]);
        config.client_id = "brooklet-bench".to_owned();
        config.retry_timeout = PATIENCE;
        config.request_timeout = PATIENCE;
        Client::new(config)
    }

    /// Resident memory, 10^6 bytes.
    pub(super) fn resident_megabytes(&self) -> Result<f64, Failure> {
        let path = PathBuf::from(format!("/proc/{}/status", self.child.id()));
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| Failure::file("read", &path, &error))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        let kibibytes = kibibytes.ok_or_else(|| Failure::new("the system tells no memory"))?;
        Ok(kibibytes * 1024.0 / 1e6)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Its folder goes too: there is nothing that it could write down for later.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
