//! The link as a process makes it: as slow as it is told to be, as lossy, and gone when it is over.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "the helpers of tests are tests too")]

use std::process::{Command, Output};

/// What `wan probe` says with these arguments; none where it may not make a link.
fn probe(arguments: &[&str]) -> Option<String> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_wan"));
    let Output { status, stdout, stderr } = command.arg("probe").args(arguments).output().unwrap();
    let (said, errors) = (String::from_utf8(stdout).unwrap(), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{status}: {errors}");
    if let Some(why) = said.strip_prefix("skipped: ") {
        println!("skipped: {}", why.trim());
        return None;
    }
    Some(said)
}

fn field(said: &str, name: &str, end: &str) -> f64 {
    let rest = said.split(name).nth(1).unwrap_or_else(|| panic!("no {name} in {said}"));
    rest.split(end).next().unwrap().parse().unwrap()
}

#[test]
fn a_round_trip_takes_as_long_as_it_is_told_to() {
    let Some(said) = probe(&["--round-trip-ms", "40", "--count", "20"]) else { return };
    let (min, middle) = (field(&said, "min=", "ms"), field(&said, "p50=", "ms"));
    // Never less; and more only where the machine is busy.
    assert!((40.0..45.0).contains(&min) && middle < 60.0, "{said}");
}

#[test]
fn all_is_lost_that_is_to_be_lost() {
    let arguments = ["--round-trip-ms", "1", "--count", "40", "--loss-percent", "20"];
    let Some(said) = probe(&arguments) else { return };
    let (carried, lost) = (field(&said, "carried: ", ","), field(&said, "lost: ", ","));
    assert!(carried >= 80.0 && lost > 0.0 && lost < carried, "{said}");
}

#[test]
fn nothing_is_left_behind() {
    let devices = || std::fs::read_to_string("/proc/net/dev").unwrap();
    if probe(&["--round-trip-ms", "1", "--count", "1"]).is_some() {
        assert!(!devices().contains("bwan"), "{}", devices());
    }
}
