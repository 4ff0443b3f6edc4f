//! Plugins as an administrator and a client meet them: views, checks on produce, placement, policies.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use brooklet_cluster::Raw;
use brooklet_cluster::broker::program;
use brooklet_types::ErrorCode;

use crate::stage::Stage;

/// How long a dropped file may lie there.
const TAKEN_MAX: Duration = Duration::from_secs(60);

/// A component as the build of the program left it.
pub(crate) fn component(name: &str) -> PathBuf {
    let target = program().ancestors().nth(2).expect("target/PROFILE/brooklet").to_owned();
    let file = format!("brooklet_{}.wasm", name.replace('-', "_"));
    target.join("plugins/wasm32-wasip2/release").join(file)
}

#[test]
fn a_view_shows_other_records_at_the_same_offsets() {
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("flights", 1);
    for number in 0..6 {
        let value = format!(r#"{{"tail":"N{number}","delay":{number}}}"#);
        raw.produce("flights", 0, value.as_bytes()).unwrap();
    }
    let mask = r#"{"fields":{"tail":"null"}}"#;
    stage.run(&[
        "view",
        "create",
        "masked",
        "--of",
        "flights",
        "--with",
        "mask",
        "--on-failure",
        "reject",
        "--config",
        mask,
    ]);
    let shown = stage.read("masked", 6);
    assert_eq!(shown[5], r#"5 {"tail":null,"delay":5}"#);

    let late = r#"{"keep":"delay >= 4"}"#;
    stage.run(&[
        "view",
        "create",
        "late",
        "--of",
        "flights",
        "--with",
        "filter",
        "--on-failure",
        "reject",
        "--config",
        late,
    ]);
    assert_eq!(
        stage.read("late", 2),
        [r#"4 {"tail":"N4","delay":4}"#, r#"5 {"tail":"N5","delay":5}"#]
    );

    // A view is read and nothing else, and what it shows stays while it is there.
    assert_eq!(raw.produce("late", 0, b"x"), Err(ErrorCode::PolicyViolation));
    assert!(stage.fails(&["topic", "delete", "flights"]).contains("late, masked"));
    assert!(stage.fails(&["topic", "alter", "late", "-p", "3"]).contains("view"));
    stage.run(&["topic", "alter", "flights", "-p", "2"]);
    raw.produce("flights", 1, br#"{"tail":"N9","delay":9}"#).unwrap();
    assert_eq!(stage.read("late", 3).len(), 3, "a view grows with what it shows");
    stage.run(&["view", "delete", "late"]);
    assert!(stage.fails(&["view", "delete", "flights"]).contains("not a view"));
    assert!(stage.run(&["plugin", "list"]).contains("mask"));
}

#[test]
fn a_view_shows_batches_that_lie_in_two_pieces() {
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("flights", 1);
    let note = "x".repeat(200_000);
    for _ in 0..2 {
        let value = format!(r#"{{"tail":"N1","note":"{note}"}}"#);
        raw.produce("flights", 0, value.as_bytes()).unwrap();
        raw.produce("flights", 0, br#"{"tail":"N2"}"#).unwrap();
    }
    let mask = r#"{"fields":{"tail":"null","note":{"truncate":3}}}"#;
    let with = ["--of", "flights", "--with", "mask", "--on-failure", "reject", "--config", mask];
    stage.run(&[&["view", "create", "masked"], &with[..]].concat());
    let long = r#"{"tail":null,"note":"xxx"}"#;
    let shown = stage.read("masked", 4);
    let short = r#"{"tail":null}"#;
    let expected = [(0, long), (1, short), (2, long), (3, short)];
    assert_eq!(shown, expected.map(|(offset, value)| format!("{offset} {value}")));
}

#[test]
fn what_can_not_be_bound_is_refused_with_the_reason() {
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("t", 1);
    let bind = |arguments: &[&str]| {
        let all = [&["plugin", "bind"], arguments, &["--topic", "t", "--on-failure", "reject"]];
        stage.fails(&all.concat())
    };
    assert!(bind(&["nobody"]).contains("no plugin \"nobody\" is installed"));
    assert!(
        bind(&["mask", "--config", r#"{"fields":{"a":"null"}}"#]).contains("belongs to a view")
    );
    assert!(
        bind(&["geo", "--config", r#"{"feild":"a"}"#]).contains("configuration of plugin \"geo\"")
    );
    let broken =
        stage.fails(&["topic", "alter", "t", "-c", "brooklet.plugins=[{\"plugin\":\"geo\"}]"]);
    assert!(broken.contains("on_failure"), "{broken}");
    assert!(stage.fails(&["plugin", "remove", "mask"]).contains("comes with the program"));
    assert!(raw.produce("t", 0, b"still a topic").is_ok());
}

#[test]
fn a_serde_refuses_or_sets_aside_what_does_not_fit() {
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("strict", 1);
    raw.create_topic("lenient", 1);
    raw.create_topic("letters", 1);
    let schema = r#"{"schema":{"type":"object","required":["n"]}}"#;
    stage.run(&[
        "plugin",
        "bind",
        "json-schema",
        "--topic",
        "strict",
        "--config",
        schema,
        "--on-failure",
        "reject",
    ]);
    stage.run(&[
        "plugin",
        "bind",
        "json-schema",
        "--topic",
        "lenient",
        "--config",
        schema,
        "--on-failure",
        "dead-letter",
        "--dead-letters",
        "letters",
    ]);

    assert_eq!(raw.produce("strict", 0, br#"{"n":1}"#), Ok(0));
    assert_eq!(raw.produce("strict", 0, br#"{"m":1}"#), Err(ErrorCode::InvalidRecord));
    assert_eq!(raw.produce("strict", 0, br#"{"n":2}"#), Ok(1));
    assert_eq!(stage.read("strict", 2), [r#"0 {"n":1}"#, r#"1 {"n":2}"#]);

    assert_eq!(raw.produce("lenient", 0, b"not JSON"), Ok(0));
    assert_eq!(raw.produce("lenient", 0, br#"{"n":3}"#), Ok(1));
    assert_eq!(
        stage.read("lenient", 1),
        [r#"1 {"n":3}"#],
        "the offset of what was set aside stays empty"
    );
    assert_eq!(stage.read("letters", 1), ["0 not JSON"]);
    stage.run(&["plugin", "unbind", "json-schema", "--topic", "strict"]);
    assert_eq!(raw.produce("strict", 0, b"anything"), Ok(2));
}

#[test]
fn a_partitioner_places_records_and_refuses_those_that_are_elsewhere() {
    let stage = Stage::new(&["has no partitions"]);
    let mut raw = stage.raw();
    raw.create_topic("flights", 3);
    let regions = r#"{"field":"origin","regions":{"EWR":[0],"JFK":[1],"LGA":[2]}}"#;
    stage.run(&[
        "plugin",
        "bind",
        "geo",
        "--topic",
        "flights",
        "--config",
        regions,
        "--mode",
        "verify",
        "--on-failure",
        "reject",
    ]);
    for origin in ["LGA", "JFK", "EWR", "JFK"] {
        let value = format!(r#"{{"origin":"{origin}"}}"#);
        raw.produce("flights", -1, value.as_bytes()).unwrap();
    }
    assert_eq!(raw.produce("flights", 1, br#"{"origin":"JFK"}"#), Ok(2));
    assert_eq!(raw.produce("flights", 0, br#"{"origin":"JFK"}"#), Err(ErrorCode::InvalidRecord));
    assert_eq!(raw.produce("flights", -1, br#"{"origin":"SFO"}"#), Err(ErrorCode::InvalidRecord));
    raw.create_topic("plain", 3);
    assert_eq!(raw.produce("plain", -1, b"x"), Err(ErrorCode::UnknownTopicOrPartition));
}

#[test]
fn versions_are_exchanged_under_load_and_taken_back() {
    let stage = Stage::new(&[]);
    let mut raw = stage.raw();
    raw.create_topic("t", 1);
    let file = |name: &str| component(name).display().to_string();
    let schema = r#"{"schema":{"required":["n"]}}"#;
    stage.run(&["plugin", "install", &file("json-schema"), "--name", "guard"]);
    stage.run(&[
        "plugin",
        "bind",
        "guard",
        "--topic",
        "t",
        "--config",
        schema,
        "--on-failure",
        "reject",
    ]);
    // A version that can't do what the topic needs leaves the one in use where it is.
    assert!(
        stage
            .fails(&["plugin", "install", &file("mask"), "--name", "guard"])
            .contains("configuration of plugin \"guard\"")
    );
    assert_eq!(raw.produce("t", 0, b"{}"), Err(ErrorCode::InvalidRecord));
    // One signed anew has another digest, and is put in place between two batches of a busy producer.
    let signed = stage.broker.data().join("signed.wasm");
    let bytes = fs::read(component("json-schema")).unwrap();
    fs::write(&signed, brooklet_plugin::sign(&bytes, &[7; 32]).unwrap()).unwrap();
    let address = stage.broker.address();
    let producing = std::thread::spawn(move || {
        let mut raw = Raw::connect(address).expect("a connection");
        (0..400).map(|_| raw.produce("t", 0, br#"{"n":1}"#).expect("stored")).collect::<Vec<i64>>()
    });
    let before = stage.run(&["plugin", "inspect", "guard", "--format", "json"]);
    stage.run(&["plugin", "install", &signed.display().to_string(), "--name", "guard"]);
    assert!(stage.run(&["plugin", "inspect", "guard"]).contains("signed by"));
    stage.run(&["plugin", "rollback", "guard"]);
    let versions = |text: &str| {
        let value: serde_json::Value = serde_json::from_str(text).expect("JSON");
        (value["current"]["digest"].clone(), value["versions"].as_array().map(Vec::len))
    };
    let (digest, count) = versions(&before);
    let now = stage.run(&["plugin", "inspect", "guard", "--format", "json"]);
    assert_eq!(
        versions(&now),
        (digest, count.map(|count| count + 1)),
        "the old version is in use again"
    );
    let offsets = producing.join().unwrap();
    assert!(offsets.windows(2).all(|pair| pair[0] + 1 == pair[1]), "none lost, none twice");
    assert!(stage.fails(&["plugin", "remove", "guard"]).contains("used by t"));
    stage.run(&["plugin", "unbind", "guard", "--topic", "t"]);
    stage.run(&["plugin", "remove", "guard"]);
}

#[test]
fn a_file_that_is_dropped_is_taken_or_the_reason_lies_beside_it() {
    let stage = Stage::new(&["plugin not installed"]);
    let folder = stage.broker.data().join("plugins");
    fs::write(folder.join("junk.wasm"), b"junk").unwrap();
    fs::copy(component("filter"), folder.join("mine.wasm")).unwrap();
    let deadline = Instant::now() + TAKEN_MAX;
    while folder.join("mine.wasm").exists() || !folder.join("junk.wasm.refused").exists() {
        assert!(Instant::now() < deadline, "nobody came for the files");
        std::thread::sleep(Duration::from_millis(20)); // polls a folder
    }
    let reason = fs::read_to_string(folder.join("junk.wasm.refused")).unwrap();
    assert!(reason.contains("not a WebAssembly component"), "{reason}");
}
