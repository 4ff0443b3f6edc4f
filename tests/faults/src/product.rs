//! What is put to the test: three brokers of ours, or three of Apache Kafka, each with its defaults.
//!
//! **Decides** what has to be in a broker's folder before it is started, and with which words it is started.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::failure::{Failure, context};
use crate::network::{BROKERS, CLIENT_PORT, Network, PEER_PORT};
use crate::step::output_of;

/// Kafka's classes.
const STORAGE_TOOL: &str = "kafka.tools.StorageTool";
const BROKER: &str = "kafka.Kafka";

/// A kind of broker.
#[derive(Clone, Debug)]
pub(crate) enum Product {
    /// `brooklet`, with the path of the program.
    Brooklet(PathBuf),
    /// Apache Kafka, with the folder of its jars and a configuration of its logging.
    Kafka { jars: PathBuf, logging: Option<PathBuf> },
}

impl Product {
    /// Its name, in paths and reports.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Product::Brooklet(_) => "brooklet",
            Product::Kafka { .. } => "kafka",
        }
    }

    /// Where partitions are in a data folder.
    pub(crate) fn topics(&self, data: &Path) -> PathBuf {
        match self {
            Product::Brooklet(_) => data.join("topics"),
            Product::Kafka { .. } => data.to_owned(),
        }
    }

    /// Makes three data folders those of one cluster.
    pub(crate) fn prepare(
        &self,
        network: &Network,
        data: &[PathBuf],
        files: &Path,
    ) -> Result<(), Failure> {
        match self {
            Product::Brooklet(program) => prepare_brooklet(program, network, data, files),
            Product::Kafka { .. } => self.prepare_kafka(network, data, files),
        }
    }

    /// How the broker at `place` is started.
    pub(crate) fn command(
        &self,
        network: &Network,
        place: usize,
        data: &Path,
        files: &Path,
    ) -> Command {
        let file = settings(files, place);
        match self {
            Product::Brooklet(program) => {
                let mut command = network.command(place, program);
                let listen = format!("tcp://{}:{CLIENT_PORT}", network.address(place));
                command.args(["serve", "--public-unauthenticated", "--listen", &listen]);
                command.arg("--config").arg(file).arg("--data").arg(data);
                command
            }
            Product::Kafka { .. } => {
                let mut command = network.command(place, Path::new("java"));
                command.args(["-Xmx512M", "-XX:+UseG1GC", "-XX:MaxGCPauseMillis=20"]);
                command.args(self.java()).arg(BROKER).arg(file);
                command
            }
        }
    }

    fn prepare_kafka(
        &self,
        network: &Network,
        data: &[PathBuf],
        files: &Path,
    ) -> Result<(), Failure> {
        let voter = |place| format!("{}@{}:{PEER_PORT}", place + 1, network.address(place));
        let voters = (0..BROKERS).map(voter).collect::<Vec<_>>().join(",");
        let mut tool = Command::new("java");
        let cluster = output_of(tool.args(self.java()).args([STORAGE_TOOL, "random-uuid"]))?;
        for (place, data) in data.iter().enumerate() {
            let address = network.address(place);
            let text = format!(
                "process.roles=broker,controller\n\
                 node.id={}\n\
                 controller.quorum.voters={voters}\n\
                 listeners=PLAINTEXT://{address}:{CLIENT_PORT},CONTROLLER://{address}:{PEER_PORT}\n\
                 controller.listener.names=CONTROLLER\n\
                 listener.security.protocol.map=CONTROLLER:PLAINTEXT,PLAINTEXT:PLAINTEXT\n\
                 log.dirs={}\n",
                place + 1,
                data.display()
            );
            let file = settings(files, place);
            fs::write(&file, text).map_err(context("write a configuration"))?;
            let mut tool = Command::new("java");
            tool.args(self.java()).args([STORAGE_TOOL, "format", "-t", cluster.trim(), "-c"]);
            output_of(tool.arg(&file))?;
        }
        Ok(())
    }

    /// What every JVM is told.
    fn java(&self) -> Vec<OsString> {
        let Product::Kafka { jars, logging } = self else { return Vec::new() };
        let mut words = Vec::new();
        if let Some(logging) = logging {
            let mut word = OsString::from("-Dlog4j2.configurationFile=");
            word.push(logging);
            words.push(word);
        }
        let mut classes = OsString::from(jars);
        classes.push("/*");
        words.extend(["-cp".into(), classes]);
        words
    }
}

/// The configuration of the broker at `place`.
fn settings(files: &Path, place: usize) -> PathBuf {
    files.join(format!("broker-{}.settings", place + 1))
}

fn prepare_brooklet(
    program: &Path,
    network: &Network,
    data: &[PathBuf],
    files: &Path,
) -> Result<(), Failure> {
    let cluster = |words: &[&str], data: &Path, listen: Option<String>| {
        let mut command = Command::new(program);
        command.arg("cluster").args(words).arg("--data").arg(data);
        if let Some(listen) = listen {
            command.args(["--listen", &listen]);
        }
        output_of(&mut command)
    };
    let listen = |place| Some(format!("{}:{PEER_PORT}", network.address(place)));
    for (place, folder) in data.iter().enumerate() {
        if place == 0 {
            cluster(&["init"], folder, listen(place))?;
        } else {
            let token = cluster(&["token", &(place + 1).to_string()], &data[0], None)?;
            cluster(&["join", token.trim()], folder, listen(place))?;
        }
        fs::write(settings(files, place), "(admin: \"none\")\n")
            .map_err(context("write a configuration"))?;
    }
    Ok(())
}
