//! `wan`: TCP+TLS against QUIC over a link that has a round trip, a bandwidth and losses.
//!
//! **How it works.** [`link`] puts a TUN device into each of two network namespaces and carries packets between them as
//! [`path`] decides. A broker serves in one, and this program, started again as `wan load`, is the client in the other.
//!
//! **What it never does.** Change anything outside its namespaces, or leave anything behind: see [`space`].

mod broker;
mod failure;
mod figures;
mod latency;
mod link;
mod load;
mod measure;
mod path;
mod plan;
mod plot;
mod probe;
mod report;
mod space;

use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use brooklet_client::Address;
use clap::{Args, Parser, Subcommand};

use crate::failure::{Failure, context};
use crate::plan::Congestion;

/// TCP+TLS against QUIC over a link that has a round trip, a bandwidth and losses
#[derive(Parser)]
#[command(args_conflicts_with_subcommands = true)]
struct Arguments {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    measure: Measure,
}

/// What is measured.
#[derive(Args)]
pub(crate) struct Measure {
    /// The broker: `brooklet`, built with --release
    #[arg(long, default_value = "target/release/brooklet", value_name = "PATH")]
    program: PathBuf,
    /// One link once, and no results are written: whether it works
    #[arg(long)]
    quick: bool,
    /// How often everything is measured; medians are what counts
    #[arg(long, default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,
    /// Links at a time, each with its own broker and client
    #[arg(long, default_value = "2", value_parser = clap::value_parser!(u16).range(1..=16))]
    at_once: u16,
    /// Megabits a second in each direction
    #[arg(long, default_value = "50", value_parser = clap::value_parser!(u64).range(1..=10_000))]
    megabits: u64,
    /// Says which packets are lost
    #[arg(long, default_value = "1")]
    seed: u64,
    /// Folder for RESULTS.md and results.svg
    #[arg(long, default_value = "tests/wan", value_name = "DIR")]
    results: PathBuf,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a link without a broker, and measures its round trips
    Probe(probe::Probe),
    /// What probe does at the client's end
    #[command(hide = true)]
    Knock { address: IpAddr, count: u32 },
    /// What is stored before a measurement, beside the broker
    #[command(hide = true)]
    Fill { address: Address },
    /// A measurement, at the client's end
    #[command(hide = true)]
    Load { address: Address, congestion: Congestion, round_trip_ms: u64 },
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        Some(Command::Knock { address, count }) => probe::knock(address, count),
        Some(Command::Fill { address }) => run(load::fill(address)),
        Some(Command::Load { address, congestion, round_trip_ms }) => {
            measured(address, congestion, round_trip_ms)
        }
        Some(Command::Probe(probe)) => unless_missing(|| probe::run(&probe)),
        None => unless_missing(|| measure::run(&arguments.measure)),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("error: {failure}");
            ExitCode::FAILURE
        }
    }
}

/// Where something is missing that only the machine's owner can give, that is what is said, and no failure.
fn unless_missing(then: impl FnOnce() -> Result<(), Failure>) -> Result<(), Failure> {
    match space::missing() {
        Some(why) => {
            say(&format!("skipped: {why}"));
            Ok(())
        }
        None => then(),
    }
}

fn measured(address: Address, congestion: Congestion, round_trip_ms: u64) -> Result<(), Failure> {
    let congestion = match congestion {
        Congestion::Cubic => brooklet_client::Congestion::Cubic,
        Congestion::Bbr => brooklet_client::Congestion::Bbr,
    };
    let round_trip = Duration::from_millis(round_trip_ms);
    let way = load::Way { address, congestion, round_trip };
    run(async {
        say(&load::run(&way).await?.line());
        Ok(())
    })
}

fn run(what: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new().map_err(context("start a runtime"))?;
    let outcome = runtime.block_on(what);
    // What is still being sent is of no more interest.
    runtime.shutdown_background();
    outcome
}

#[expect(clippy::print_stdout, reason = "it is a program, and this is what it says")]
pub(crate) fn say(line: &str) {
    println!("{line}");
}
