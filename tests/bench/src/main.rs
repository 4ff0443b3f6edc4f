//! The benchmark: one command, one run, every system side by side, medians and ratios.
//!
//! `cargo run --release -p brooklet-bench [-- --rounds 5 --only NAME --without kafka]` starts our
//! broker, the stub `limitbroker` and a real Kafka one after the other for every workload, in every
//! round, loads each with `kload` (a foreign client) and prints a table. The first round is
//! thrown away: the first gigabytes that a machine writes to its page cache are several times
//! slower, and a JVM needs warming.
//!
//! Everything is found through `BROOKLET_SHARED` (default `../shared`), built into
//! `~/.cache/brooklet`, and run on loopback.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

mod measure;
mod system;
mod tools;
mod workload;

use std::collections::BTreeMap;
use std::process::ExitCode;

use measure::{Figures, median};
use system::{Kind, System};
use tools::Tools;
use workload::{WORKLOADS, Workload};

/// What the command line asks for.
struct Options {
    rounds: usize,
    only: Vec<String>,
    without: Vec<String>,
}

fn main() -> ExitCode {
    let options = options();
    let tools = match Tools::find() {
        Ok(tools) => tools,
        Err(missing) => {
            println!("skipped: {missing}");
            return ExitCode::SUCCESS;
        }
    };
    let kinds: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| wanted(*kind, &options)).collect();
    let mut results: BTreeMap<(usize, Kind), Vec<Figures>> = BTreeMap::new();
    for round in 0..=options.rounds {
        for (row, workload) in WORKLOADS.iter().enumerate() {
            if !options.only.is_empty()
                && !options.only.iter().any(|only| workload.name.contains(only.as_str()))
            {
                continue;
            }
            for kind in &kinds {
                let thrown_away = round == 0 && options.rounds > 0;
                if (thrown_away && !workload.warms) || workload.leaves_out(*kind).is_some() {
                    continue;
                }
                match run(&tools, *kind, workload) {
                    Ok(figures) if round > 0 || options.rounds == 0 => {
                        eprintln!("round {round} {} {kind:?}: {figures:?}", workload.name);
                        results.entry((row, *kind)).or_default().push(figures);
                    }
                    Ok(_) => {}
                    Err(problem) => eprintln!("{} {kind:?}: {problem}", workload.name),
                }
            }
        }
    }
    print_table(&kinds, &results);
    ExitCode::SUCCESS
}

fn options() -> Options {
    let mut options = Options { rounds: 5, only: Vec::new(), without: Vec::new() };
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().unwrap_or_default();
        match argument.as_str() {
            "--rounds" => options.rounds = value().parse().unwrap_or(options.rounds),
            "--only" => options.only.push(value()),
            "--without" => options.without.push(value()),
            other => eprintln!("unknown option {other}"),
        }
    }
    options
}

fn wanted(kind: Kind, options: &Options) -> bool {
    !options.without.iter().any(|name| kind.label().contains(name.as_str()))
}

/// Runs one workload against a fresh instance of one system.
fn run(tools: &Tools, kind: Kind, workload: &Workload) -> Result<Figures, String> {
    let mut system = System::start(tools, kind)?;
    let figures = workload.run(tools, &mut system);
    system.stop();
    figures
}

fn print_table(kinds: &[Kind], results: &BTreeMap<(usize, Kind), Vec<Figures>>) {
    for (row, workload) in WORKLOADS.iter().enumerate() {
        let of = |kind: &Kind| results.get(&(row, *kind)).filter(|runs| !runs.is_empty());
        if !kinds.iter().any(|kind| of(kind).is_some()) {
            continue;
        }
        println!("\n## {} ({})", workload.name, workload.unit);
        println!("| system | median | server CPU-s/GB | p50 ms | p99 ms | runs |");
        println!("|---|---|---|---|---|---|");
        for kind in kinds {
            if let Some(reason) = workload.leaves_out(*kind) {
                println!("| {} | left out: {reason} | | | | 0 |", kind.label());
            }
            let Some(runs) = of(kind) else { continue };
            let value = median(runs.iter().map(|run| run.value));
            let cpu = median(runs.iter().map(|run| run.cpu_seconds_per_gb));
            let p50 = median(runs.iter().map(|run| run.p50_ms));
            let p99 = median(runs.iter().map(|run| run.p99_ms));
            println!(
                "| {} | {value:.0} | {cpu:.2} | {p50:.2} | {p99:.2} | {} |",
                kind.label(),
                runs.len()
            );
        }
    }
}
