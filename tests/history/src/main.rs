//! Checks a history in a file, and says what is wrong with it.
//!
//! Exit codes: 0 no anomalies, 1 anomalies, 2 no conclusion, as the history cannot be read or contradicts itself.
#![expect(clippy::print_stdout, reason = "a program for the terminal")]

use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::ExitCode;

use brooklet_history::{Check, Recording, check};
use clap::Parser;
use clap::builder::PossibleValuesParser;

/// Checks the history of a broker's clients.
#[derive(Parser)]
struct Arguments {
    /// The history: JSON, one event a line.
    history: PathBuf,
    /// Prints the report as JSON.
    #[arg(long)]
    json: bool,
    /// Finds this, but does not fail for it.
    #[arg(long, value_name = "CHECK", value_parser = PossibleValuesParser::new(Check::ALL.map(Check::name)))]
    allow: Vec<String>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let path = arguments.history.display();
    let file = match File::open(&arguments.history) {
        Ok(file) => file,
        Err(error) => {
            eprintln!("open {path}: {error}");
            return ExitCode::from(2);
        }
    };
    let report = match Recording::read(BufReader::new(file)) {
        Ok(history) => check(&history),
        Err(error) => {
            eprintln!("{path}: {error}");
            return ExitCode::from(2);
        }
    };
    match arguments.json {
        true => println!("{}", serde_json::to_string_pretty(&report).expect("a report is JSON")),
        false => print!("{report}"),
    }
    let named = |check: &Check| arguments.allow.iter().any(|name| name == check.name());
    let allowed: Vec<Check> = Check::ALL.into_iter().filter(named).collect();
    if report.has_anomalies(&allowed) { ExitCode::FAILURE } else { ExitCode::SUCCESS }
}
