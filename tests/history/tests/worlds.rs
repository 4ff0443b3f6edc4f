//! Random histories: those that keep every promise, and the same with one anomaly planted.
//!
//! `BROOKLET_SEED=N` lives that seed alone.

mod world;

use std::ops::Range;

use brooklet_history::{Check, Recording, Report, check};
use world::World;
use world::plant::planted;

/// The seeds from 0 to `count`, or the one that is asked for.
fn seeds(count: u64) -> Range<u64> {
    match std::env::var("BROOKLET_SEED") {
        Ok(seed) => {
            let seed = seed.parse().expect("BROOKLET_SEED is a number");
            seed..seed + 1
        }
        Err(_) => 0..count,
    }
}

fn whole(seed: u64) -> World {
    let mut world = World::live(seed);
    world.read();
    world
}

/// How often `check` was found.
fn count(report: &Report, check: Check) -> u64 {
    report.findings.get(&check).map_or(0, |finding| finding.count)
}

#[test]
fn a_world_that_keeps_its_promises_has_no_anomalies() {
    const SEEDS: u64 = 2000;
    let (mut polled, mut failed, mut indeterminate) = (0, 0, 0);
    for seed in seeds(SEEDS) {
        let report = whole(seed).report();
        assert!(!report.has_anomalies(&[]), "BROOKLET_SEED={seed}\n{report}");
        assert!(!report.findings.contains_key(&Check::Unseen), "BROOKLET_SEED={seed}\n{report}");
        polled += report.size.polled;
        failed += report.size.failed;
        indeterminate += report.size.indeterminate;
    }
    if seeds(SEEDS).end == SEEDS {
        assert!(polled > 200_000 && failed > 5000 && indeterminate > 5000, "worlds are too quiet");
    }
}

#[test]
fn a_planted_anomaly_is_found_by_its_check_and_no_other() {
    const SEEDS: u64 = 300;
    for check in Check::ALL {
        let mut found = 0;
        for seed in seeds(SEEDS) {
            let Some(world) = planted(seed, check) else { continue };
            let report = world.report();
            // A world may have these by itself.
            let alone = (check == Check::IntSendSkip).then(|| whole(seed).report());
            let before = alone.map_or(0, |report| count(&report, check));
            let name = check.name();
            assert!(count(&report, check) > before, "BROOKLET_SEED={seed}: no {name}\n{report}");
            let mut others = report.findings.keys().filter(|found| **found != check);
            let only = others.all(|other| *other == Check::IntSendSkip);
            assert!(only, "BROOKLET_SEED={seed}: not only {name}\n{report}");
            found += 1;
        }
        let enough = seeds(SEEDS).end != SEEDS || found > SEEDS / 2;
        assert!(enough, "{} was planted only {found} times", check.name());
    }
}

#[test]
fn a_history_that_was_written_down_says_the_same() {
    for seed in seeds(100) {
        for anomaly in [Check::LostWrite, Check::GroupSkip, Check::NonmonotonicSend] {
            let Some(world) = planted(seed, anomaly) else { continue };
            let lines: Vec<String> = world
                .events
                .iter()
                .map(|event| serde_json::to_string(event).expect("an event is JSON"))
                .collect();
            let read = Recording::read(lines.join("\n").as_bytes()).expect("as it was written");
            let (one, other) = (check(&read).to_string(), world.report().to_string());
            assert_eq!(one, other, "BROOKLET_SEED={seed}");
        }
    }
}
