//! Connectors as an administrator meets them: made from a file, at work through crashes, refused with reasons.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::time::Duration;

use brooklet_client::{Client, ClientConfig, OffsetAt, OffsetSpec};
use serde_json::{Value, json};

use crate::stage::{Stage, soon};
use endpoint::Endpoint;

/// What a broker says that was killed while connectors worked.
const TROUBLE: [&str; 3] =
    ["a connector's task starts again", "a connector's task needs a person", "a connector needs"];

impl Stage {
    /// Makes a connector of this configuration.
    fn connect(&self, name: &str, config: &Value) -> String {
        self.run(&["connector", "create", &self.written(name, config)])
    }

    fn written(&self, name: &str, config: &Value) -> String {
        let path = self.broker.data().join(format!("{name}.tmp.json"));
        fs::write(&path, json!({ "name": name, "config": config }).to_string()).unwrap();
        path.display().to_string()
    }

    fn status(&self, name: &str) -> Value {
        let text = self.run(&["connector", "status", name, "--format", "json"]);
        serde_json::from_str(&text).unwrap()
    }

    /// Waits until the first task is so; what is known of it then.
    fn until(&self, name: &str, state: &str) -> Value {
        soon(&format!("task 0 of {name} is not {state}"), || {
            let task = self.status(name)["tasks"][0].clone();
            (task["state"] == state).then_some(task)
        })
    }

    /// Waits until so many records are in a topic.
    fn until_stored(&self, topic: &str, count: i64) {
        soon(&format!("{count} records in {topic}, {} are there", self.stored(topic)), || {
            (self.stored(topic) >= count).then_some(())
        });
    }

    /// How many records a topic has; none if it is not there.
    fn stored(&self, topic: &str) -> i64 {
        let address = self.broker.address().to_string().parse().unwrap();
        let client = Client::new(ClientConfig::new(vec![address]));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let Ok(known) = client.topic(topic).await else { return 0 };
            let indexes = 0..u32::try_from(known.partitions.len()).unwrap();
            let ask = |spec| {
                indexes.clone().map(move |it| ((topic.to_owned(), it), spec)).collect::<Vec<_>>()
            };
            let ends = client.offsets(&ask(OffsetSpec::Latest)).await.unwrap();
            let starts = client.offsets(&ask(OffsetSpec::Earliest)).await.unwrap();
            let sum = |found: &BTreeMap<_, OffsetAt>| -> i64 {
                found.values().filter_map(|at| at.offset).sum()
            };
            sum(&ends) - sum(&starts)
        })
    }
}

/// Starts a broker again on the folder of one that is killed.
fn crash(stage: Stage, folder: &Path) -> Stage {
    stage.broker.kill();
    Stage::on(folder, &TROUBLE)
}

fn generator(count: u64) -> Value {
    json!({
        "connector.class": "generator", "topic": "made", "tasks.max": "2", "count": count,
        "rate": 4000, "key": "kind",
        "fields": {"id": {"sequence": {"start": 0, "step": 1}}, "kind": {"choice": ["a", "b", "c"]}}
    })
}

#[test]
fn what_a_source_brings_is_there_once_and_in_order_through_crashes() {
    let folder = tempfile::tempdir().unwrap();
    let mut stage = Stage::on(folder.path(), &TROUBLE);
    stage.run(&["topic", "create", "made", "-p", "3"]);
    let told = stage.connect("maker", &generator(12_000));
    assert!(told.contains("maker created"), "{told}");
    for round in 1..=6 {
        stage.until_stored("made", round * 1_000);
        stage = crash(stage, folder.path());
    }
    stage.until_stored("made", 12_000);
    let text = stage.run(&["consume", "made", "--count", "12000", "--format", "json"]);
    let mut seen = BTreeSet::new();
    let mut last = BTreeMap::new();
    for line in text.lines() {
        let record: Value = serde_json::from_str(line).unwrap();
        let value: Value = serde_json::from_str(record["value"].as_str().unwrap()).unwrap();
        let id = value["id"].as_u64().unwrap();
        assert!(seen.insert(id), "{id} is there twice");
        // Two tasks make odd and even ones; each partition has those of a task in their order.
        let place = (record["partition"].as_u64().unwrap(), id % 2);
        let before = last.insert(place, id);
        assert!(before.is_none_or(|before| before < id), "{id} came after {before:?}");
    }
    assert_eq!(seen, (0..12_000).collect());
    // A clean stop, and there is nothing to do again.
    assert!(stage.broker.stop().success());
    let stage = Stage::on(folder.path(), &TROUBLE);
    stage.until("maker", "RUNNING");
    assert_eq!(stage.stored("made"), 12_000);
    stage.run(&["connector", "delete", "maker"]);
    stage.connect("maker", &generator(12_010));
    stage.until_stored("made", 12_010);
    assert_eq!(stage.stored("made"), 12_010, "it went on where one of its name had stopped");
}

/// The flights; others, with the same columns, with the path of a file in this variable.
const FLIGHTS: &str = include_str!("../../../../../examples/flights/flights.csv");
const FLIGHTS_FILE: &str = "BROOKLET_FLIGHTS_FILE";
/// How long the endpoint is away; more with this variable, in seconds.
const AWAY: &str = "BROOKLET_AWAY";

/// Flights of a file, through a serde, a topic and a view, to an endpoint that has its moods, while the broker is
/// killed.
#[test]
fn flights_of_a_file_reach_an_endpoint_whole_and_in_order_through_crashes() {
    let flights = std::env::var(FLIGHTS_FILE).map(|path| fs::read_to_string(path).unwrap());
    let flights = flights.unwrap_or_else(|_| FLIGHTS.to_owned());
    let count = flights.lines().count() - 1;
    let away = std::env::var(AWAY).ok().and_then(|it| it.parse().ok()).unwrap_or(3);
    let folder = tempfile::tempdir().unwrap();
    let input = folder.path().join("in");
    fs::create_dir(&input).unwrap();
    fs::write(input.join("flights.csv"), &flights).unwrap();
    let endpoint = Endpoint::start();
    let data = folder.path().join("data");
    let mut stage = Stage::on(&data, &TROUBLE);
    make_way(&stage, &input, &endpoint);
    for round in 1..=10 {
        endpoint.until(round * count / 12);
        if round == 4 {
            endpoint.away(Duration::from_secs(away));
        }
        stage = crash(stage, &data);
    }
    endpoint.until(count);
    let arrived = endpoint.arrived();
    // At least once each; by its keys the endpoint knows those it has, and sees each record once.
    let unique: BTreeMap<&str, &str> =
        arrived.iter().map(|(key, body)| (key.as_str(), body.as_str())).collect();
    assert_eq!(unique.len(), count, "{} arrived", arrived.len());
    let origins = unique.values().map(|body| {
        let flight: Value = serde_json::from_str(body).unwrap();
        assert_eq!(flight["tailnum"], Value::Null, "what the view masks");
        flight["origin"].as_str().unwrap().to_owned()
    });
    let mut sums = BTreeMap::new();
    origins.for_each(|origin| *sums.entry(origin).or_insert(0) += 1);
    assert_eq!(sums, by_origin(&flights));
    in_order(&arrived, count);
    // What was delivered is committed, and a clean stop leaves nothing to deliver again.
    soon("the group is at the end", || {
        let text = stage.run(&["group", "describe", "connect-out", "--format", "json"]);
        let group: Value = serde_json::from_str(&text).unwrap();
        let partitions = group["partitions"].as_array()?.clone();
        partitions.iter().all(|it| it["lag"] == 0).then_some(())
    });
    // Not before: while the last partition got its last flight, another may have had some for the second time.
    let delivered = endpoint.arrived().len();
    assert!(stage.broker.stop().success());
    let stage = Stage::on(&data, &TROUBLE);
    stage.until("out", "RUNNING");
    let last = flights.lines().last().unwrap();
    fs::write(input.join("flights.csv"), format!("{flights}{last}\n")).unwrap();
    endpoint.until(count + 1);
    assert_eq!(endpoint.arrived().len(), delivered + 1);
}

/// How many flights of a file began where.
fn by_origin(flights: &str) -> BTreeMap<String, usize> {
    let mut rows = flights.lines();
    let at = rows.next().unwrap().split(',').position(|name| name == "origin").unwrap();
    let mut sums = BTreeMap::new();
    for row in rows {
        *sums.entry(row.split(',').nth(at).unwrap().to_owned()).or_insert(0) += 1;
    }
    sums
}

/// The topic with its serde, the view, both connectors.
fn make_way(stage: &Stage, input: &Path, endpoint: &Endpoint) {
    stage.run(&["topic", "create", "flights", "-p", "3"]);
    let schema = r#"{"schema":{"required":["tailnum","origin"]}}"#;
    let on = ["--topic", "flights", "--on-failure", "reject", "--config", schema];
    stage.run(&[&["plugin", "bind", "json-schema"], &on[..]].concat());
    let mask = r#"{"fields":{"tailnum":"null"}}"#;
    let of = ["--of", "flights", "--with", "mask", "--on-failure", "reject", "--config", mask];
    stage.run(&[&["view", "create", "public"], &of[..]].concat());
    let read = format!("/in={}", input.display());
    stage.run(&["plugin", "grant", "file", "--read", &read]);
    stage.run(&["plugin", "grant", "http", "--host", &endpoint.address()]);
    stage.connect(
        "in",
        &json!({
            "connector.class": "file", "connector.type": "source", "topics": "flights",
            "path": "/in/flights.csv", "format": "csv", "key": "tailnum"
        }),
    );
    stage.connect(
        "out",
        &json!({
            "connector.class": "http", "connector.type": "sink", "topics": "public",
            "tasks.max": "2", "url": endpoint.url(), "timeout": "2s", "retries": "2",
            "backoff": "20ms", "errors.retry.delay.max.ms": "500"
        }),
    );
}

/// In its partition nothing skips its place: whatever is new comes right behind what was there.
fn in_order(arrived: &[(String, String)], count: usize) {
    let mut next: BTreeMap<String, usize> = BTreeMap::new();
    for (key, _) in arrived {
        let (partition, offset) = key.rsplit_once('-').unwrap();
        let offset: usize = offset.parse().unwrap();
        let next = next.entry(partition.to_owned()).or_insert(0);
        assert!(offset <= *next, "{key} came while {next} was missing");
        *next = (*next).max(offset + 1);
    }
    assert_eq!(next.values().sum::<usize>(), count);
}

#[test]
fn a_sink_leaves_behind_what_nobody_takes_or_waits_for_a_person() {
    let stage = Stage::new(&TROUBLE);
    let endpoint = Endpoint::start();
    let mut raw = stage.raw();
    raw.create_topic("t", 1);
    for value in ["1", "refuse me", "3"] {
        raw.produce("t", 0, value.as_bytes()).unwrap();
    }
    let config = |more: Value| {
        let mut config = json!({
            "connector.class": "http", "connector.type": "sink", "topics": "t",
            "url": endpoint.url(), "backoff": "20ms"
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    // Nothing was granted: the host is not asked at all.
    let told = stage.connect("strict", &config(json!({})));
    assert!(told.contains("host") && told.contains("nothing"), "{told}");
    let task = stage.until("strict", "FAILED");
    assert!(task["trace"].as_str().unwrap().contains("granted"), "{task}");
    assert_eq!(endpoint.arrived(), []);
    stage.run(&["plugin", "grant", "http", "--host", &endpoint.address()]);
    stage.run(&["connector", "restart", "strict"]);
    soon("it needs a person for another reason", || {
        let task = stage.status("strict")["tasks"][0].clone();
        task["trace"].as_str()?.contains("t-0@1").then_some(())
    });
    assert!(stage.fails(&["plugin", "remove", "http"]).contains("connector strict"));
    stage.run(&["connector", "delete", "strict"]);

    stage.connect(
        "lenient",
        &config(json!({
            "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "dead",
            "errors.deadletterqueue.context.headers.enable": "true"
        })),
    );
    stage.until_stored("dead", 1);
    let text = stage.run(&["consume", "dead", "--count", "1", "--format", "json"]);
    let letter: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(letter["value"], "refuse me");
    let headers = letter["headers"].to_string();
    for part in ["__connect.errors.offset", "\"1\"", "__connect.errors.connector.name", "lenient"] {
        assert!(headers.contains(part), "{part} in {headers}");
    }
    assert_eq!(stage.until("lenient", "RUNNING")["rejected"], 1);
}

#[test]
fn a_source_whose_records_are_refused_buries_them_or_waits_for_a_person() {
    let stage = Stage::new(&TROUBLE);
    stage.raw().create_topic("made", 2);
    let schema = r#"{"schema":{"properties":{"n":{"maximum":5}}}}"#;
    let on = ["--topic", "made", "--on-failure", "reject", "--config", schema];
    stage.run(&[&["plugin", "bind", "json-schema"], &on[..]].concat());
    let config = |more: Value| {
        let mut config = json!({
            "connector.class": "generator", "topics": "made", "count": 10,
            "fields": {"n": {"sequence": {"start": 0, "step": 1}}}
        });
        config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        config
    };
    stage.connect("strict", &config(json!({})));
    let task = stage.until("strict", "FAILED");
    assert!(task["trace"].as_str().unwrap().contains("errors.tolerance"), "{task}");
    stage.run(&["connector", "delete", "strict", "--forget"]);
    let dead = json!({
        "errors.tolerance": "all", "errors.deadletterqueue.topic.name": "dead"
    });
    stage.connect("lenient", &config(dead));
    stage.until_stored("dead", 4);
    stage.until_stored("made", 6);
    let text = stage.run(&["consume", "made", "--count", "6", "--format", "json"]);
    assert!(!text.contains("\\\"n\\\":6"), "{text}");
    assert_eq!(stage.stored("dead"), 4);
}

#[test]
fn a_connector_rests_and_goes_on_and_what_makes_no_sense_is_refused() {
    let stage = Stage::new(&TROUBLE);
    stage.raw().create_topic("made", 1);
    let fails =
        |config: Value| stage.fails(&["connector", "create", &stage.written("bad", &config)]);
    let problems =
        fails(json!({"connector.class": "http", "tasks.max": "many", "transforms": "x"}));
    for key in ["connector.type", "tasks.max", "topics", "transforms"] {
        assert!(problems.contains(key), "{key} in {problems}");
    }
    assert!(fails(json!({"connector.class": "nobody", "topics": "t"})).contains("no plugin"));
    assert!(fails(json!({"connector.class": "mask", "topics": "t"})).contains("neither source"));
    let wrong = json!({"connector.class": "generator", "topics": "t", "fields": {}});
    assert!(fails(wrong).contains("fields"));
    assert!(stage.fails(&["connector", "status", "nobody"]).contains("no connector"));

    let mut config = generator(1_000_000);
    config["tasks.max"] = json!(1);
    let path = stage.written("maker", &config);
    stage.run(&["connector", "create", &path, "--paused"]);
    assert_eq!(stage.status("maker")["connector"]["state"], "PAUSED");
    assert!(stage.fails(&["connector", "create", &path]).contains("exists"));
    assert!(stage.fails(&["connector", "restart", "maker"]).contains("paused"));
    assert_eq!(stage.stored("made"), 0);
    stage.run(&["connector", "resume", "maker"]);
    stage.until_stored("made", 100);
    stage.run(&["connector", "pause", "maker"]);
    let count = stage.stored("made");
    std::thread::sleep(Duration::from_millis(300)); // polls nothing: a rest is to last
    assert_eq!(stage.stored("made"), count);
    assert!(stage.run(&["connector", "list"]).contains("PAUSED"));
    stage.run(&["connector", "resume", "maker"]);
    stage.until_stored("made", count + 100);
    stage.run(&["connector", "delete", "maker"]);
    assert_eq!(stage.run(&["connector", "list", "--format", "json"]).trim(), "[]");
}
