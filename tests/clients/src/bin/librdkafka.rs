//! Runs librdkafka's suite against a broker and compares with the list of tests that must pass.
//!
//! `librdkafka [--broker HOST:PORT | --over tcp|tls|sasl|tunnel [--program BROOKLET]] [--all | NAME…]`: without names,
//! the tests on the list; with `--all`, every test that wants a broker, saying of each how it ended. With `--over` the
//! broker is one of our own; what cannot run over that way is named with the reason.

#![expect(clippy::print_stdout, reason = "what it prints is what it is for")]

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use brooklet_clients::librdkafka::{Suite, Verdict, allowed, excepted};
use brooklet_clients::way::{Target, Way};

/// The longest test that passes against Kafka takes about a minute on two cores.
const TEST_TIME_MAX: Duration = Duration::from_secs(120);

/// What is to be run.
struct Asked {
    target: Target,
    all: bool,
    names: BTreeSet<String>,
}

fn main() -> ExitCode {
    let Asked { target, all, names } = match asked() {
        Ok(asked) => asked,
        Err(wrong) => {
            println!("{wrong}");
            return ExitCode::FAILURE;
        }
    };
    let suite = match Suite::build() {
        Ok(suite) => suite,
        Err(reason) => {
            println!("skipped: librdkafka's suite cannot be built here: {reason}");
            return ExitCode::SUCCESS;
        }
    };
    let (allowed, excepted) = (allowed(), excepted(target.way));
    let wanted = |name: &String| match (all, names.is_empty()) {
        (true, _) => true,
        (false, true) => allowed.contains(name),
        (false, false) => names.iter().any(|wanted| name.starts_with(wanted.as_str())),
    };
    let mut broken = 0;
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for name in suite.names().expect("the suite was just built").iter().filter(|name| wanted(name))
    {
        if let Some(reason) = excepted.get(name) {
            skipped += 1;
            println!("- {name}: not over {}: {reason}", target.way.name());
            continue;
        }
        let run = || suite.run(name, &target, TEST_TIME_MAX).expect("a built suite can be run");
        // Some of its tests measure time, on a machine that others use too: a second try decides.
        let first = run();
        let again = allowed.contains(name) && first != Verdict::Passed;
        let verdict = if again { run() } else { first };
        match &verdict {
            Verdict::Passed => passed += 1,
            Verdict::Skipped(_) => skipped += 1,
            Verdict::Failed(_) | Verdict::Idle | Verdict::TimedOut => failed += 1,
        }
        let must = allowed.contains(name);
        broken += u32::from(must && verdict != Verdict::Passed);
        println!("{} {name}: {verdict:?}", if must { "*" } else { " " });
    }
    let way = target.way.name();
    println!("librdkafka over {way}: {passed} passed, {failed} failed, {skipped} skipped");
    if broken > 0 {
        println!("{broken} of the tests that must pass (*) did not");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn asked() -> Result<Asked, String> {
    let mut program =
        PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../target/release/brooklet");
    let (mut broker, mut over) = (String::from("127.0.0.1:9092"), None);
    let (mut all, mut names) = (false, BTreeSet::new());
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{argument} needs a value"));
        match argument.as_str() {
            "--broker" => broker = value()?,
            "--over" => over = Some(Way::named(&value()?)?),
            "--program" => program = value()?.into(),
            "--all" => all = true,
            name => drop(names.insert(name.to_owned())),
        }
    }
    let target = match over {
        None => Target::running(broker),
        Some(way) => Target::start(way, &program)?,
    };
    Ok(Asked { target, all, names })
}
