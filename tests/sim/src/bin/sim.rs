//! Runs seeds until time is up or a promise is broken, and says how to repeat what it found.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::process::ExitCode;
use std::time::{Duration, Instant};

use brooklet_sim::{Outcome, broker, cluster, log, quorum, replica};
use clap::{Parser, ValueEnum};

/// Simulates logs and whole brokers, on disks that lose power, the copies of a partition, and quorums.
#[derive(Parser)]
struct Arguments {
    /// Lives this seed's histories, and prints them.
    #[arg(long)]
    seed: Option<u64>,
    /// Goes on for so long, from seed 0 or the given one on.
    #[arg(long)]
    minutes: Option<u64>,
    /// Lives each history twice and compares them.
    #[arg(long)]
    twice: bool,
    /// What is simulated.
    #[arg(long, value_enum, default_value_t = World::All)]
    world: World,
    /// Plants this bug in clusters, and says which seed finds it.
    #[arg(long, value_enum)]
    plant: Option<cluster::Bug>,
}

/// What is simulated.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum World {
    /// One log.
    Log,
    /// Shards with groups and clients.
    Broker,
    /// The members of a metadata quorum, and the network between them.
    Quorum,
    /// A partition's leaders and followers.
    Replica,
    /// Whole brokers, with a network and clients.
    Cluster,
    /// Each in turn.
    All,
}

impl World {
    /// Its histories of one seed, with their names.
    fn simulate(self, seed: u64) -> Vec<(&'static str, Outcome)> {
        let has = |world| self == world || self == World::All;
        let mut outcomes = Vec::new();
        if has(World::Log) {
            outcomes.push(("log", log::simulate(seed, log::Bug::None)));
        }
        if has(World::Broker) {
            outcomes.push(("broker", broker::simulate(seed, broker::Bug::None)));
        }
        if has(World::Replica) {
            outcomes.push(("replica", replica::simulate(seed, replica::Bug::None)));
        }
        if has(World::Quorum) {
            outcomes.push(("quorum", quorum::simulate(seed, quorum::Bug::None)));
        }
        if has(World::Cluster) {
            outcomes.push(("cluster", cluster::simulate(seed, cluster::Bug::None)));
        }
        outcomes
    }
}

/// Lives histories with a bug until one shows it.
fn find(bug: cluster::Bug, first: u64, seeds: impl Iterator<Item = u64>) -> ExitCode {
    for seed in seeds {
        if let Some(violation) = cluster::simulate(seed, bug).violation {
            println!("{bug:?} is found by seed {seed}, after {}: {violation}", seed - first);
            return ExitCode::SUCCESS;
        }
    }
    println!("{bug:?} is not found");
    ExitCode::FAILURE
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let first = arguments.seed.unwrap_or(0);
    let single = arguments.seed.is_some() && arguments.minutes.is_none();
    let limit = Duration::from_secs(60 * arguments.minutes.unwrap_or(1));
    let began = Instant::now();
    if let Some(bug) = arguments.plant {
        let in_time = (first..).take_while(|_| began.elapsed() < limit);
        return find(bug, first, in_time);
    }
    let mut lived = 0;
    for seed in first.. {
        let outcomes = arguments.world.simulate(seed);
        for (world, Outcome { history, violation }) in &outcomes {
            if single || violation.is_some() {
                print!("{history}");
            }
            if let Some(violation) = violation {
                println!("seed {seed}: {violation}");
                println!(
                    "repeat with: cargo run -p brooklet-sim --bin sim -- --world {world} --seed {seed}"
                );
                return ExitCode::FAILURE;
            }
        }
        if arguments.twice && arguments.world.simulate(seed) != outcomes {
            println!("seed {seed}: two lives of one seed differ");
            return ExitCode::FAILURE;
        }
        lived += outcomes.len();
        if single || began.elapsed() >= limit {
            break;
        }
    }
    println!("{lived} histories, every promise kept");
    ExitCode::SUCCESS
}
