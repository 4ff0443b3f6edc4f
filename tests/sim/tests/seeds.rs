//! Some seconds of seeds with every test run; `bin/sim` runs them for as long as wanted.

use brooklet_sim::{broker, cluster, log, quorum, replica};

#[test]
fn no_seed_breaks_a_log() {
    for seed in 0..600 {
        let outcome = log::simulate(seed, log::Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --world log --seed {seed}"
        );
    }
}

#[test]
fn no_seed_breaks_a_broker() {
    for seed in 0..60 {
        let outcome = broker::simulate(seed, broker::Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --world broker --seed {seed}"
        );
    }
}

#[test]
fn no_seed_breaks_a_quorum() {
    for seed in 0..60 {
        let outcome = quorum::simulate(seed, quorum::Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --world quorum --seed {seed}"
        );
    }
}

#[test]
fn no_seed_breaks_a_replicated_partition() {
    for seed in 0..60 {
        let outcome = replica::simulate(seed, replica::Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --world replica --seed {seed}"
        );
    }
}

#[test]
fn no_seed_breaks_a_cluster() {
    for seed in 0..20 {
        let outcome = cluster::simulate(seed, cluster::Bug::None);
        assert_eq!(
            outcome.violation, None,
            "repeat with: cargo run -p brooklet-sim --bin sim -- --world cluster --seed {seed}"
        );
    }
}

#[test]
fn a_seed_is_a_history() {
    for seed in 0..20 {
        let lives = [0, 1].map(|_| log::simulate(seed, log::Bug::None));
        assert_eq!(lives[0], lives[1], "the log of seed {seed}");
        let lives = [0, 1].map(|_| broker::simulate(seed, broker::Bug::None));
        assert_eq!(lives[0], lives[1], "the broker of seed {seed}");
        let lives = [0, 1].map(|_| quorum::simulate(seed, quorum::Bug::None));
        assert_eq!(lives[0], lives[1], "the quorum of seed {seed}");
    }
    for seed in 0..10 {
        let lives = [0, 1].map(|_| replica::simulate(seed, replica::Bug::None));
        assert_eq!(lives[0], lives[1], "the replicas of seed {seed}");
    }
    for seed in 0..3 {
        let lives = [0, 1].map(|_| cluster::simulate(seed, cluster::Bug::None));
        assert_eq!(lives[0], lives[1], "the cluster of seed {seed}");
    }
}

#[test]
fn bugs_planted_in_a_log_are_found() {
    // By what is said of them, where there is one promise that they break.
    let table = [
        (log::Bug::AcknowledgeBeforeSync, ""),
        (log::Bug::CleanTooEarly, ""),
        (log::Bug::BelieveStaleJournal, " gives "),
        (log::Bug::TrustJournalWithAnyEpoch, "acknowledged"),
    ];
    for (bug, said) in table {
        let mut violations = (0..100).filter_map(|seed| log::simulate(seed, bug).violation);
        let found = violations.any(|violation| violation.contains(said));
        assert!(found, "the simulation is blind to {bug:?}");
    }
}

#[test]
fn bugs_planted_in_a_broker_are_found() {
    // By what is said of them, where there is one promise that they break.
    let table = [
        (broker::Bug::AcknowledgeBeforeSync, ""),
        (broker::Bug::ForgetProducers, " twice, at "),
        (broker::Bug::LoseLastBatch, ""),
        (broker::Bug::LoseReply, "has no answer"),
        (broker::Bug::LoseCommit, "was acknowledged"),
        (broker::Bug::MixUpAssignments, "was given what is"),
        (broker::Bug::ServeChangedRecords, "was changed"),
    ];
    for (bug, said) in table {
        let mut violations = (0..60).filter_map(|seed| broker::simulate(seed, bug).violation);
        let found = violations.any(|violation| violation.contains(said));
        assert!(found, "the simulation is blind to {bug:?}");
    }
}

#[test]
fn bugs_planted_in_a_quorum_are_found() {
    // By what is said of them, where there is one promise that they break.
    let table = [
        (quorum::Bug::SendBeforeWriting, "our log ends at"),
        (quorum::Bug::LoseVote, "two leaders in "),
        (quorum::Bug::ShortSnapshot, "the snapshot at "),
        (quorum::Bug::ReadWithoutProof, "was there"),
    ];
    for (bug, said) in table {
        let mut violations = (0..200).filter_map(|seed| quorum::simulate(seed, bug).violation);
        let found = violations.any(|violation| violation.contains(said));
        assert!(found, "the simulation is blind to {bug:?}");
    }
}

#[test]
fn bugs_planted_in_a_replicated_partition_are_found() {
    // By what is said of them, where there is one promise that they break.
    let table = [
        (replica::Bug::FetchBeforeSync, "is acknowledged, and durable on"),
        (replica::Bug::SkipTruncation, ""),
        (replica::Bug::GrowTooEarly, "is acknowledged, and durable on"),
        (replica::Bug::LeadAfterRestart, "wrote in epoch"),
    ];
    for (bug, said) in table {
        let mut violations = (0..60).filter_map(|seed| replica::simulate(seed, bug).violation);
        let found = violations.any(|violation| violation.contains(said));
        assert!(found, "the simulation is blind to {bug:?}");
    }
}

#[test]
fn bugs_planted_in_a_cluster_are_found() {
    // By what is said of them, where there is one promise that they break.
    let table = [
        (cluster::Bug::AcknowledgeBeforeSync, ""),
        (cluster::Bug::SkipTruncation, ""),
        (cluster::Bug::GrowTooEarly, ""),
        (cluster::Bug::ShortSnapshot, ""),
    ];
    for (bug, said) in table {
        let mut violations = (0..100).filter_map(|seed| cluster::simulate(seed, bug).violation);
        let found = violations.any(|violation| violation.contains(said));
        assert!(found, "the simulation is blind to {bug:?}");
    }
}
