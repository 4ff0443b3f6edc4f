//! A few seconds of seeds with every test run; `bin/sim` runs them for as long as wanted.

use brooklet_sim::{Bug, simulate};

#[test]
fn no_seed_breaks_a_promise() {
    for seed in 0..600 {
        let outcome = simulate(seed, Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --seed {seed}"
        );
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in 0..20 {
        assert_eq!(simulate(seed, Bug::None), simulate(seed, Bug::None), "seed {seed}");
    }
}

#[test]
fn planted_bugs_are_found() {
    for bug in [Bug::AcknowledgeBeforeSync, Bug::CleanTooEarly] {
        let found = (0..100).any(|seed| simulate(seed, bug).violation.is_some());
        assert!(found, "the simulation is blind to {bug:?}");
    }
}
