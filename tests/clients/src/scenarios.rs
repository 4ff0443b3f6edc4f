//! Short stories told by other people's clients, as scripts in their own languages.
//!
//! A client is installed by name into `~/.cache/brooklet`. One that cannot be installed is
//! reported as skipped, with the reason, and never as passed. So is a script that ends with
//! [`SKIPPED`]: its last line says what this machine lacks.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::client::{Client, Obstacle};
use crate::last;
use crate::way::{Target, Way};

/// What a script is told about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Subject {
    /// A running broker: the script gets its address.
    Broker,
    /// The program: the script gets its path and an empty folder, starts it, stops it, kills it.
    Program,
}

/// One script and what it needs.
#[derive(Clone, Copy, Debug)]
pub struct Scenario {
    /// The script's file under `scenarios/`.
    pub script: &'static str,
    /// What runs it.
    pub client: Client,
    /// What it is about.
    pub subject: Subject,
    /// Whether it wants the flights as its next argument.
    pub flights: bool,
    /// What else it is told.
    pub arguments: &'static [&'static str],
    /// Why it plays over TCP only, if it does.
    pub tcp_only: Option<&'static str>,
}

/// Where a scenario plays.
#[derive(Debug)]
pub struct Stage {
    /// A running broker, and the way to it.
    pub target: Target,
    /// The program that is running there.
    pub program: PathBuf,
    /// The flights, where they are on this machine.
    pub flights: Option<PathBuf>,
    /// What several projects share: data, and a real Kafka.
    pub shared: PathBuf,
}

/// How a scenario ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// What it said at the end.
    Passed(String),
    /// What it said when it failed.
    Failed(String),
    /// What this machine lacks.
    Skipped(String),
}

const CONFLUENT: Client = Client::Python(&["confluent-kafka"]);
const RDKAFKA: Client = Client::Rust(&[
    ("rdkafka", "{ version = \"0.39\", features = [\"ssl\"] }"),
    ("futures", "\"0.3\""),
]);

/// Every scenario there is. Faults come last and in short form: `faults.py` says how to have more.
pub const SCENARIOS: &[Scenario] = &[
    Scenario { flights: true, ..of_broker("flights.py", CONFLUENT) },
    Scenario { flights: true, ..of_broker("rdkafka_flights.rs", RDKAFKA) },
    Scenario { subject: Subject::Program, ..of_broker("groups.py", CONFLUENT) },
    of_broker("aiokafka_basics.py", Client::Python(&["aiokafka", "cramjam", "lz4"])),
    of_broker("kafkajs_basics.js", Client::Node("kafkajs")),
    of_broker("kcat_basics.sh", Client::Debian("kcat")),
    of_broker(
        "kafka_python_basics.py",
        Client::Python(&["kafka-python", "lz4", "python-snappy", "zstandard"]),
    ),
    of_broker("platformatic_basics.js", Client::Node("@platformatic/kafka")),
    of_broker("go_basics.sh", Client::Present("go")),
    of_broker("java_basics.sh", Client::Kafka),
    of_broker("java_streams.sh", Client::Kafka),
    of_broker("java_connect.sh", Client::Kafka),
    of_broker("kafka_tools.sh", Client::Kafka),
    Scenario {
        subject: Subject::Program,
        tcp_only: Some(
            "it reads a stopped broker's files, which are the same however records came in",
        ),
        ..of_broker("kafka_dump_log.sh", Client::Kafka)
    },
    faults(&["kill", "20", "12"]),
    faults(&["power", "5", "12"]),
    faults(&["power", "5", "200"]),
];

const fn of_broker(script: &'static str, client: Client) -> Scenario {
    let (subject, flights, arguments, tcp_only) = (Subject::Broker, false, &[], None);
    Scenario { script, client, subject, flights, arguments, tcp_only }
}

const fn faults(arguments: &'static [&'static str]) -> Scenario {
    let program = Scenario { flights: true, ..of_broker("faults.py", CONFLUENT) };
    Scenario { subject: Subject::Program, arguments, ..program }
}

/// Longer than any scenario takes on two cores that are busy with something else: two minutes at most when
/// they are not.
const SECONDS_MAX: &str = "900";

/// The exit code of a script that cannot play here.
const SKIPPED: i32 = 77;

impl Scenario {
    /// Its script, and what that is told.
    pub fn name(&self) -> String {
        [&[self.script], self.arguments].concat().join(" ")
    }

    /// Runs the scenario, with a topic or a folder of its own.
    pub fn run(&self, stage: &Stage) -> Outcome {
        if let (false, Some(reason)) = (stage.target.way == Way::Tcp, self.tcp_only) {
            return Outcome::Skipped(reason.to_owned());
        }
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios").join(self.script);
        let client = match self.client.install(&script, &stage.shared) {
            Ok(client) => client,
            Err(Obstacle::Missing(what)) => return Outcome::Skipped(what),
            Err(Obstacle::Wrong(what)) => return Outcome::Failed(what),
        };
        let mut command = Command::new("timeout");
        command.arg(SECONDS_MAX).args(client.command).envs(client.environment);
        command.envs(stage.target.environment.iter().map(|(name, value)| (name, value)));
        let name = self.name().replace(|letter: char| !letter.is_ascii_alphanumeric(), "-");
        let name = format!("{name}-{}", std::process::id());
        let folder = std::env::temp_dir().join(&name);
        match self.subject {
            Subject::Broker => drop(command.arg(&stage.target.broker)),
            Subject::Program => {
                if let Err(error) = std::fs::create_dir_all(&folder) {
                    return Outcome::Failed(format!("{}: {error}", folder.display()));
                }
                command.arg(&stage.program).arg(&folder);
            }
        }
        match (self.flights, &stage.flights) {
            (true, None) => return Outcome::Skipped("the flights are not on this machine".into()),
            (true, Some(path)) => drop(command.arg(path)),
            (false, _) => {}
        }
        if self.subject == Subject::Broker {
            command.arg(&name);
        }
        let outcome = play(command.args(self.arguments));
        if self.subject == Subject::Program {
            // Only what this run made; what cannot be removed is still mounted, and named so.
            let _ = std::fs::remove_dir_all(&folder);
        }
        outcome
    }
}

fn play(command: &mut Command) -> Outcome {
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return Outcome::Failed(format!("{command:?}: {error}")),
    };
    let said = String::from_utf8_lossy(&output.stdout);
    let conclusion = said.lines().last().unwrap_or_default().to_owned();
    match output.status.code() {
        Some(0) => Outcome::Passed(conclusion),
        Some(SKIPPED) => Outcome::Skipped(conclusion),
        Some(_) | None => {
            let complained = String::from_utf8_lossy(&output.stderr);
            let lines: Vec<&str> = said.lines().chain(complained.lines()).collect();
            Outcome::Failed(format!("{}\n{}", output.status, last(&lines).join("\n")))
        }
    }
}
