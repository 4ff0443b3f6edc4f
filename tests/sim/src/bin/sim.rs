//! Runs seeds until time is up or a promise is broken, and says how to repeat what it found.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use brooklet_sim::{Bug, simulate};
use clap::Parser;

/// Simulates logs on a disk that loses power.
#[derive(Parser)]
struct Arguments {
    /// Lives this seed's history, and prints it.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on for so long, from seed 0 or the given one on.
    #[arg(long)]
    minutes: Option<u64>,
    /// Lives each history twice and compares them.
    #[arg(long)]
    twice: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(0);
    let single = arguments.seed.is_some() && arguments.minutes.is_none();
    let limit = Duration::from_secs(60 * arguments.minutes.unwrap_or(1));
    let began = Instant::now();
    let mut lived = 0;
    for seed in first.. {
        let outcome = simulate(seed, Bug::None);
        if single {
            print!("{}", outcome.history);
        }
        if let Some(violation) = &outcome.violation {
            println!("seed {seed}: {violation}");
            println!("repeat with: cargo run -p brooklet-sim --bin sim -- --seed {seed}");
            return ExitCode::FAILURE;
        }
        if arguments.twice && simulate(seed, Bug::None) != outcome {
            println!("seed {seed}: two lives of one seed differ");
            return ExitCode::FAILURE;
        }
        lived += 1;
        if single || began.elapsed() >= limit {
            break;
        }
    }
    println!("{lived} histories, every promise kept");
    ExitCode::SUCCESS
}
