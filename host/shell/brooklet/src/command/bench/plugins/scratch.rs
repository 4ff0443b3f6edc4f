//! Brokers and plugin rooms for a measurement.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use brooklet_client::{Client, ClientConfig};
use brooklet_plugin::{Ceiling, Plugins, PluginsConfig, Stock, Trust};

use super::super::process::{Folder, Process};
use crate::failure::Failure;

/// How long a command of the measurement may take, such as the creation of a topic.
const PATIENCE: Duration = Duration::from_secs(60);

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

/// A broker of our own.
pub(super) struct Broker {
    process: Process,
    _folder: Folder,
}

impl Broker {
    pub(super) fn start() -> Result<Broker, Failure> {
        let folder = Folder::new()?;
        let data = folder.path().join("data");
        let words = ["serve", "--listen", "tcp://127.0.0.1:0", "--admin", "off", "--log", "error"];
        let words = words.into_iter().map(AsRef::as_ref);
        let process = Process::start(words.chain(["--data".as_ref(), data.as_os_str()]))?;
        Ok(Broker { process, _folder: folder })
    }

    pub(super) fn client(&self) -> Client {
        let mut config = ClientConfig::new(self.process.addresses.clone());
        config.client_id = "brooklet-bench".to_owned();
        config.retry_timeout = PATIENCE;
        config.request_timeout = PATIENCE;
        Client::new(config)
    }

    /// Resident memory, 10^6 bytes.
    pub(super) fn resident_megabytes(&self) -> Result<f64, Failure> {
        let path = PathBuf::from(format!("/proc/{}/status", self.process.id()));
        let text = std::fs::read_to_string(&path);
        let text = text.map_err(|error| Failure::file("read", &path, &error))?;
        let line = text.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        let kibibytes = kibibytes.ok_or_else(|| Failure::new("the system tells no memory"))?;
        Ok(kibibytes * 1024.0 / 1e6)
    }
}
