//! Short stories told by other people's clients, as scripts in their own languages.
//!
//! A client is installed by name into `~/.cache/brooklet`. One that cannot be installed is
//! reported as skipped, with the reason, and never as passed.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where a scenario's client comes from.
#[derive(Clone, Copy, Debug)]
pub enum Client {
    /// Packages of PyPI, in a virtual environment.
    Python(&'static [&'static str]),
    /// A package of npm.
    Node(&'static str),
    /// A program of a Debian package of the same name.
    Debian(&'static str),
    /// A program that has to be there; the script gets the rest by itself.
    Present(&'static str),
}

/// One script and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The script's file under `scenarios/`.
    pub script: &'static str,
    /// What runs it.
    pub client: Client,
    /// Whether it wants the flights as its second argument.
    pub flights: bool,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it said at the end.
    Passed(String),
    /// What it said when it failed.
    Failed(String),
    /// What could not be installed.
    Skipped(String),
}

/// Every scenario there is.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { script: "flights.py", client: Client::Python(&["confluent-kafka"]), flights: true },
    Scenario {
        script: "aiokafka_basics.py",
        client: Client::Python(&["aiokafka", "cramjam", "lz4"]),
        flights: false,
    },
    Scenario { script: "kafkajs_basics.js", client: Client::Node("kafkajs"), flights: false },
    Scenario { script: "kcat_basics.sh", client: Client::Debian("kcat"), flights: false },
    Scenario {
        script: "kafka_python_basics.py",
        client: Client::Python(&["kafka-python", "lz4", "python-snappy", "zstandard"]),
        flights: false,
    },
    Scenario {
        script: "platformatic_basics.js",
        client: Client::Node("@platformatic/kafka"),
        flights: false,
    },
    Scenario { script: "go_basics.sh", client: Client::Present("go"), flights: false },
    Scenario { script: "java_basics.sh", client: Client::Present("java"), flights: false },
    Scenario { script: "java_streams.sh", client: Client::Present("java"), flights: false },
    Scenario { script: "java_connect.sh", client: Client::Present("java"), flights: false },
];

/// Longer than any scenario takes on two busy cores.
const SECONDS_MAX: &str = "400";

/// The exit code of a script that cannot play here; its last line says why.
const SKIPPED: i32 = 77;

impl Scenario {
    /// Runs the scenario against the broker at `address`, with a topic of its own.
    pub fn run(&self, address: &str, flights: Option<&Path>) -> Outcome {
        let mut command = match self.install() {
            Ok(command) => command,
            Err(reason) => return Outcome::Skipped(reason),
        };
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(self.script);
        let name = self.script.split(['.', '_']).next().unwrap_or(self.script);
        let topic = format!("{name}-{}", std::process::id());
        command.arg(script).arg(address);
        match (self.flights, flights) {
            (true, None) => return Outcome::Skipped("the flights are not on this machine".into()),
            (true, Some(path)) => drop(command.arg(path)),
            (false, _) => {}
        }
        let output = match command.arg(topic).output() {
            Ok(output) => output,
            Err(error) => return Outcome::Skipped(format!("{command:?}: {error}")),
        };
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        if output.status.success() {
            let said = said.lines().find(|line| !line.starts_with('%')).unwrap_or_default();
            Outcome::Passed(said.to_owned())
        } else if output.status.code() == Some(SKIPPED) {
            Outcome::Skipped(said.lines().last().unwrap_or_default().to_owned())
        } else {
            let mut last: Vec<&str> = said.lines().rev().take(12).collect();
            last.reverse();
            Outcome::Failed(format!("{}\n{}", output.status, last.join("\n")))
        }
    }

    /// Installs the client and gives back the command that its script is an argument of.
    fn install(&self) -> Result<Command, String> {
        let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
        let cache = Path::new(&home).join(".cache/brooklet");
        let mut command = Command::new("timeout");
        command.arg(SECONDS_MAX);
        match self.client {
            Client::Python(packages) => {
                command.arg(python(&cache, packages)?);
            }
            Client::Node(package) => {
                let folder = cache.join("node");
                run(Command::new("npm")
                    .args(["install", "--silent", "--prefix"])
                    .arg(&folder)
                    .arg(package))?;
                command.arg("node").env("NODE_PATH", folder.join("node_modules"));
                command.env("KAFKAJS_NO_PARTITIONER_WARNING", "1");
            }
            Client::Debian(package) => {
                if run(Command::new(package).arg("-V")).is_err() {
                    run(Command::new("apt-get").args(["update", "-q"]))?;
                    run(Command::new("apt-get").args(["install", "-qy", package]))?;
                }
                command.arg("bash");
            }
            Client::Present(program) => {
                let found = run(Command::new("sh").args(["-c", "command -v \"$0\"", program]));
                found.map_err(|_| format!("{program} is not on this machine"))?;
                command.arg("bash");
            }
        }
        Ok(command)
    }
}

fn python(cache: &Path, packages: &[&str]) -> Result<PathBuf, String> {
    let folder = cache.join("python");
    let interpreter = folder.join("bin/python");
    if !interpreter.exists() {
        run(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    }
    run(Command::new(&interpreter).args(["-m", "pip", "install", "-q"]).args(packages))?;
    Ok(interpreter)
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let last = said.lines().last().unwrap_or_default();
    Err(format!("{command:?}: {}: {last}", output.status))
}
