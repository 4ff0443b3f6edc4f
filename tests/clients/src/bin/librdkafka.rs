//! Runs librdkafka's suite against a broker and compares with the list of tests that must pass.
//!
//! `librdkafka --broker HOST:PORT [--all | NAME…]`: without names, the tests on the list; with
//! `--all`, every test that wants a broker, saying of each how it ended.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::collections::BTreeSet;
use std::process::ExitCode;
use std::time::Duration;

use brooklet_clients::librdkafka::{Suite, Verdict, allowed};

/// The longest test that passes against Kafka takes about a minute on two cores.
const TEST_TIME_MAX: Duration = Duration::from_secs(120);

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    let mut broker = String::from("127.0.0.1:9092");
    let (mut all, mut names) = (false, BTreeSet::new());
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--broker" => broker = arguments.next().unwrap_or(broker),
            "--all" => all = true,
            name => drop(names.insert(name.to_owned())),
        }
    }
    let suite = match Suite::build() {
        Ok(suite) => suite,
        Err(reason) => {
            println!("skipped: librdkafka's suite cannot be built here: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let allowed = allowed();
    let wanted = |name: &String| match (all, names.is_empty()) {
        (true, _) => true,
        (false, true) => allowed.contains(name),
        (false, false) => names.iter().any(|wanted| name.starts_with(wanted.as_str())),
    };
    let mut broken = 0;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for name in suite.names().expect("the suite was just built").iter().filter(|name| wanted(name))
    {
        let run = || suite.run(name, &broker, TEST_TIME_MAX).expect("a built suite can be run");
        // Some of its tests measure time, on a machine that others use too: a second try decides.
        let first = run();
        let again = allowed.contains(name) && first != Verdict::Passed;
        let verdict = if again { run() } else { first };
        match &verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(_) => skipped += 1,
            Verdict::Failed(_) | Verdict::TimedOut => failed += 1,
        }
        let must = allowed.contains(name);
        broken += u32::from(must && verdict != Verdict::Passed);
        println!("{} {name}: {verdict:?}", if must { "*" } else { " " });
    }
    println!("librdkafka: {passed} passed, {failed} failed, {skipped} skipped");
    if broken > 0 {
        println!("{broken} of the tests that must pass (*) did not");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}
