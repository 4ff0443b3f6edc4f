//! `brooklet bench` as a user runs it: figures that add up, and nothing left behind.

use serde_json::Value;

use crate::command::Cli;

#[test]
fn every_workload_gives_figures_and_leaves_no_topic_behind() {
    let cli = Cli::with_broker();
    let said = cli.run(&[
        "bench",
        "--bytes",
        "100,500",
        "--partitions",
        "3",
        "--seconds",
        "1",
        "--warm-up",
        "0",
        "--megabytes",
        "1",
        "--format",
        "json",
    ]);
    let runs: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = runs.iter().map(|run| run["workload"].as_str().unwrap()).collect();
    let expected = ["produce", "produce", "consume", "consume", "end-to-end", "end-to-end"];
    assert_eq!(names, expected, "{}", said.stderr);
    for run in &runs {
        let number = |name: &str| run[name].as_f64().unwrap();
        assert!(number("records") > 0.0, "{run}");
        let megabytes = number("records") * number("bytes") / number("seconds") / 1e6;
        assert!((megabytes - number("megabytes_per_second")).abs() < 0.01, "{run}");
        let latency = &run["latency_us"];
        if run["workload"] == "consume" {
            assert!(latency.is_null(), "{run}");
            continue;
        }
        let order = ["p50", "p90", "p99", "p99.9", "p99.99", "max"].map(|at| latency[at].as_u64());
        assert!(order.is_sorted() && order[0] > Some(0), "{run}");
    }
    assert_eq!(cli.run(&["topic", "list"]).stdout.lines().count(), 1, "the head of an empty table");
}

#[test]
fn at_a_fixed_rate_every_record_that_was_due_is_counted() {
    let cli = Cli::with_broker();
    let said = cli.run(&[
        "bench",
        "end-to-end",
        "--rate",
        "200",
        "--seconds",
        "2",
        "--warm-up",
        "0",
        "--format",
        "json",
    ]);
    let run: Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!(run["latency_us"]["count"], 400, "{run}");
    assert_eq!(run["rate"], 200);
}

#[test]
fn what_cannot_be_measured_is_refused_before_anything_is_created() {
    let cli = Cli::without_broker();
    let said = cli.ends(2, &["bench", "end-to-end", "--bytes", "15"]);
    assert!(said.stderr.contains("--bytes 16"), "{}", said.stderr);
    let said = cli.ends(2, &["bench", "end-to-end", "--acks", "0"]);
    assert!(said.stderr.contains("--acks 1 or all"), "{}", said.stderr);
}

#[test]
fn plugins_are_measured_without_a_broker_of_ones_own() {
    let cli = Cli::without_broker();
    let few = ["--rounds", "1", "--records", "300", "--idle", "4", "--idle-seconds", "0"];
    let said = cli.run(&[&["bench", "plugins", "--format", "json"][..], &few].concat());
    let figures: Vec<Value> =
        said.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let names: Vec<_> = figures.iter().map(|it| it["figure"].as_str().unwrap()).collect();
    let expected = [
        "empty call",
        "key filter",
        "JSON mask / native",
        "partitioner / murmur2",
        "first call",
        "catch-up, passing",
        "catch-up, key filter",
        "produce beside plugins",
        "idle plugins",
    ];
    assert_eq!(names, expected, "{}", said.stderr);
    // What they come to is another machine's business, and an unoptimised build's least of all.
    let is_number = |figure: &Value| figure["value"].as_f64().is_some_and(f64::is_finite);
    assert!(figures.iter().all(is_number), "{figures:?}");
}
