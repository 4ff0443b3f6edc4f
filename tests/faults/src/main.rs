//! `faults`: three brokers in three network namespaces, flights through them, and faults at random; what clients saw is checked
//! against what Kafka promises, and how long they had to wait is measured.
//!
//! **How everything ends.** Where it may, the program starts itself again as the first process of namespaces of its own: what it makes there
//! (processes, links, mounts) is gone when it is, however it ends. Only files stay, in the run's folder.

#![expect(clippy::print_stdout, reason = "a program for the terminal")]

mod broker;
mod cluster;
mod disk;
mod failure;
mod flights;
mod gaps;
mod load;
mod nemesis;
mod network;
mod plan;
mod product;
mod recorder;
mod replicas;
mod report;
mod run;
mod step;
mod view;

use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};

use clap::{Parser, ValueEnum};

use crate::failure::{Failure, context};
use crate::flights::Flights;
use crate::network::Network;
use crate::plan::Kind;
use crate::product::Product;
use crate::report::Report;
use crate::run::{HISTORY, Run};

/// Three brokers, flights through them, and faults at random
#[derive(Parser)]
struct Arguments {
    /// The broker: `brooklet`
    #[arg(long, default_value = "target/release/brooklet", value_name = "PATH")]
    program: PathBuf,
    /// Apache Kafka instead
    #[arg(long)]
    kafka: bool,
    /// Its jars; ~/.cache/reference-kafka/lib unless said
    #[arg(long, value_name = "FOLDER", requires = "kafka")]
    kafka_jars: Option<PathBuf>,
    /// A configuration of log4j2 for it
    #[arg(long, value_name = "FILE", requires = "kafka")]
    kafka_logging: Option<PathBuf>,
    /// How many faults
    #[arg(long, default_value = "30")]
    faults: usize,
    /// What they are drawn from; chosen by the clock unless said
    #[arg(long)]
    seed: Option<u64>,
    /// Only faults of these kinds
    #[arg(long, value_delimiter = ',', value_name = "KIND")]
    only: Vec<Kind>,
    /// Partitions of the topic
    #[arg(long, default_value = "6", value_parser = clap::value_parser!(u32).range(1..=100))]
    partitions: u32,
    /// Records a second, of all producers together
    #[arg(long, default_value = "1200", value_parser = clap::value_parser!(u32).range(2..))]
    rate: u32,
    /// What is sent: a file of flights, CSV or zipped
    #[arg(long, env = "BROOKLET_FLIGHTS", value_name = "FILE")]
    flights: Option<PathBuf>,
    /// Where history, logs and, after an anomaly, disks are left
    #[arg(long, value_name = "FOLDER")]
    folder: Option<PathBuf>,
    /// On loopback, also where namespaces are permitted
    #[arg(long)]
    loopback: bool,
}

/// Set for the program that is in namespaces of its own.
const INSIDE: &str = "BROOKLET_FAULTS_INSIDE";
/// The words that make them. The first process of a namespace of processes takes all others with it.
const UNSHARE: [&str; 6] = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"];

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let is_inside = std::env::var_os(INSIDE).is_some();
    if !is_inside && !arguments.loopback {
        match refused() {
            None => return enter(),
            Some(why) => eprintln!("no namespaces ({why}): on loopback, nobody is cut off"),
        }
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(context("start the runtime")).and_then(|runtime| {
        // Brokers end with the thread that started them: this one.
        runtime.block_on(async {
            tokio::select! {
                report = Box::pin(everything(arguments, is_inside)) => report,
                _ = tokio::signal::ctrl_c() => Err(Failure("interrupted".to_owned())),
            }
        })
    });
    match outcome {
        Ok(report) => {
            if report.is_bad() {
                ExitCode::FAILURE
            } else {
                ExitCode::SUCCESS
            }
        }
        Err(failure) => {
            eprintln!("faults: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Why namespaces cannot be had; none if they can.
fn refused() -> Option<String> {
    let mut command = Command::new("unshare");
    command.args(UNSHARE).args(["sh", "-c", "ip link add faults0 type bridge"]);
    let output = command.stdin(Stdio::null()).output();
    match output {
        Ok(output) if output.status.success() => None,
        Ok(output) => Some(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
        Err(error) => Some(format!("unshare: {error}")),
    }
}

/// Becomes this program in namespaces.
fn enter() -> ExitCode {
    let program = match std::env::current_exe() {
        Ok(program) => program,
        Err(error) => {
            eprintln!("faults: find this program: {error}");
            return ExitCode::from(2);
        }
    };
    let mut command = Command::new("unshare");
    command.args(UNSHARE).arg(program).args(std::env::args_os().skip(1)).env(INSIDE, "1");
    eprintln!("faults: start unshare: {}", command.exec());
    ExitCode::from(2)
}

async fn everything(arguments: Arguments, is_inside: bool) -> Result<Report, Failure> {
    let product = product(&arguments);
    let seed = arguments.seed.unwrap_or_else(seed);
    let folder = arguments.folder.unwrap_or_else(|| {
        let folder = format!("brooklet-faults/{}-{seed}", product.name());
        std::env::temp_dir().join(folder)
    });
    disk::fresh(&folder, HISTORY)?;
    let files = folder.canonicalize().map_err(context("find the run's folder"))?;
    let network = if is_inside { Network::apart()? } else { Network::Loopback };
    let possible =
        |kind: &Kind| is_inside || matches!(kind, Kind::Kill | Kind::Shutdown | Kind::Pause);
    let mut kinds = arguments.only;
    if kinds.is_empty() {
        kinds = Kind::value_variants().to_vec();
    }
    kinds.retain(possible);
    if kinds.is_empty() {
        return Err(Failure("none of these faults is possible here".to_owned()));
    }
    let flights = arguments.flights.unwrap_or_else(|| {
        let example = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/flights/flights.csv");
        PathBuf::from(example)
    });
    eprintln!("seed {seed}, files in {}", files.display());
    let run = Run {
        product,
        network,
        files: files.clone(),
        has_disks: is_inside,
        flights: Flights::load(&flights)?,
        partitions: arguments.partitions,
        rate: arguments.rate,
        seed,
        faults: plan::draw(seed, arguments.faults, &kinds),
    };
    let report = run::run(run).await?;
    eprint!("{report}");
    let json = serde_json::to_string_pretty(&report).expect("a report is JSON");
    std::fs::write(files.join("summary.json"), &json).map_err(context("write the summary"))?;
    println!("{json}");
    Ok(report)
}

fn product(arguments: &Arguments) -> Product {
    if !arguments.kafka {
        return Product::Brooklet(arguments.program.clone());
    }
    let jars = arguments.kafka_jars.clone().unwrap_or_else(|| {
        let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
        home.join(".cache/reference-kafka/lib")
    });
    Product::Kafka { jars, logging: arguments.kafka_logging.clone() }
}

/// Another one each second.
fn seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |now| now.as_secs())
}
