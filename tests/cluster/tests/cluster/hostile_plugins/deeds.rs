//! Every deed in every role under every policy: what the producer is told, what the consumer sees, what is said in the
//! log and counted, and that no record is lost.

use brooklet_types::ErrorCode;

use super::scene::{Scene, Seen, binding};
use crate::hostile::resident_mib;
use crate::stage::soon;

/// What is done, and what the host calls it.
const DEEDS: [(&str, &str); 17] = [
    ("loop", "timeout"),
    ("sleep", "timeout"),
    ("memory", "memory"),
    ("recursion", "trap"),
    ("trap", "trap"),
    ("exit", "trap"),
    ("handles", "trap"),
    ("pollables", "trap"),
    ("entropy", "trap"),
    ("realloc-outside", "trap"),
    ("realloc-unaligned", "trap"),
    ("realloc-loop", "timeout"),
    ("realloc-grow", "memory"),
    ("lengths", "trap"),
    ("text", "trap"),
    ("count", "wrong"),
    ("order", "wrong"),
];
/// Those that a serde and a transform have in common besides, since they give back columns.
const COLUMN_DEEDS: [(&str, &str); 5] = [
    ("output", "output"),
    ("rejects", "output"),
    ("offsets", "wrong"),
    ("nulls", "wrong"),
    ("columns", "wrong"),
];
/// Those of a transform alone.
const TRANSFORM_DEEDS: [(&str, &str); 2] = [("select", "wrong"), ("sources", "wrong")];

const VALUES: [&str; 3] = ["one", "two", "three"];
/// What all the deeds may leave behind in the broker, MiB. Each of them alone would like to have gigabytes.
const LEFT_BEHIND_MAX: u64 = 200;

/// Values with the offsets they should have from one on.
fn from(first: u64) -> Vec<(u64, String)> {
    (first..).zip(VALUES).map(|(offset, value)| (offset, value.to_owned())).collect()
}

/// Checks dead letters: the records, where they were, and what is said of them.
fn are_letters(letters: &[Seen], kind: &str, topic: &str, with_offset: bool) {
    let values: Vec<&str> = letters.iter().map(|letter| letter.value.as_str()).collect();
    assert_eq!(values, VALUES, "{kind} of {topic}");
    for (offset, letter) in letters.iter().enumerate() {
        let header = |name: &str| {
            let name = format!("brooklet.error.{name}");
            let found = letter.headers.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.as_str())
        };
        assert_eq!(header("plugin"), Some("hostile"));
        assert_eq!(header("version"), Some("6.6.6"));
        assert_eq!(header("topic"), Some(topic));
        assert_eq!(header("partition"), Some("0"));
        assert_eq!(header("code"), Some(kind), "{topic}");
        let offset = offset.to_string();
        assert_eq!(header("offset"), with_offset.then_some(offset.as_str()));
    }
}

/// The last line that the broker logged of a topic, which has to name everything.
fn is_told(scene: &Scene, topic: &str, kind: &str, offset: Option<u64>) {
    let named = format!("\"topic\": \"{topic}\"");
    // What is written to a pipe is read a moment later.
    let line = soon("nothing is said of a failure", || {
        scene.broker().log().lines().rfind(|line| line.contains(&named)).map(str::to_owned)
    });
    let mut due = vec![
        " ERROR ".to_owned(),
        "plugin=\"hostile\"".to_owned(),
        "\"version\": \"6.6.6\"".to_owned(),
        "\"partition\": \"0\"".to_owned(),
        format!("\"kind\": \"{kind}\""),
    ];
    due.extend(offset.map(|offset| format!("\"offset\": \"{offset}\"")));
    for words in due {
        assert!(line.contains(&words), "{words} in {line}");
    }
}

fn is_counted(metrics: &str, role: &str, kind: &str) {
    let line = format!(
        "brooklet_plugin_failures_total{{plugin=\"hostile\",role=\"{role}\",kind=\"{kind}\"}}"
    );
    let found = metrics.lines().find(|metric| metric.starts_with(&line));
    let count = found.and_then(|metric| metric.rsplit(' ').next()?.parse::<u64>().ok());
    assert!(count > Some(0), "{line}: {count:?}");
}

#[test]
fn whatever_a_serde_does_a_record_is_stored_refused_or_set_aside() {
    let mut scene = Scene::new(&[]);
    let before = resident_mib(scene.broker().id());
    scene.create("letters", 1, &[]).unwrap();
    let mut letters = 0;
    for (deed, kind) in DEEDS.into_iter().chain(COLUMN_DEEDS).chain([("reach", "denied")]) {
        let mut bound = |policy: &str| {
            let topic = format!("{deed}-{policy}");
            let mut binding = binding("serde", deed, policy);
            binding["mode"] = "encode".into();
            scene.bind(&topic, &binding).unwrap();
            topic
        };
        let [reject, pass, dead, stop] = ["reject", "pass", "dead-letter", "stop"].map(&mut bound);

        for _ in 0..2 {
            let told = scene.send(&reject, 0, &VALUES);
            assert_eq!(told.result, Err(ErrorCode::InvalidRecord), "{reject}: {}", told.message);
            assert!(told.message.contains("plugin hostile 6.6.6"), "{}", told.message);
        }
        assert_eq!(scene.values(&reject), Ok(Vec::new()));
        is_told(&scene, &reject, kind, None);

        assert_eq!(scene.send(&pass, 0, &VALUES).result, Ok(0), "{pass}");
        assert_eq!(scene.send(&pass, 0, &VALUES).result, Ok(3), "{pass}");
        assert_eq!(scene.values(&pass), Ok([from(0), from(3)].concat()));

        let told = scene.send(&dead, 0, &VALUES);
        assert_eq!(told.result, Ok(0), "{dead}: {}", told.message);
        assert_eq!(scene.values(&dead), Ok(Vec::new()), "their offsets stay empty");
        let all = scene.read("letters").unwrap();
        are_letters(&all[letters..], kind, &dead, false);
        letters = all.len();

        let told = scene.send(&stop, 0, &VALUES);
        assert_eq!(told.result, Err(ErrorCode::InvalidRecord), "{stop}: {}", told.message);
        let told = scene.send(&stop, 0, &VALUES);
        assert!(told.message.contains("stopped after"), "{stop}: {}", told.message);
    }
    let metrics = scene.metrics();
    for kind in ["timeout", "memory", "trap", "wrong", "output", "denied"] {
        is_counted(&metrics, "serde", kind);
    }
    let after = resident_mib(scene.broker().id());
    assert!(after < before + LEFT_BEHIND_MAX, "{before} MiB before, {after} MiB after");
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn whatever_a_transform_does_the_records_behind_the_view_stay() {
    let mut scene = Scene::new(&[]);
    let before = resident_mib(scene.broker().id());
    scene.create("letters", 1, &[]).unwrap();
    scene.create("source", 1, &[]).unwrap();
    assert_eq!(scene.send("source", 0, &VALUES).result, Ok(0));
    let mut letters = 0;
    let reach = [("reach", "denied")];
    let deeds = DEEDS.into_iter().chain(COLUMN_DEEDS).chain(TRANSFORM_DEEDS).chain(reach);
    for (deed, kind) in deeds {
        let mut viewed = |policy: &str| {
            let view = format!("{deed}-{policy}");
            scene.view(&view, "source", &binding("transform", deed, policy)).unwrap();
            view
        };
        let [reject, pass, dead, stop] = ["reject", "pass", "dead-letter", "stop"].map(&mut viewed);
        for view in [&reject, &stop, &stop] {
            assert_eq!(scene.values(view), Err(ErrorCode::UnknownServerError), "{view}");
        }
        is_told(&scene, &reject, kind, Some(0));
        assert_eq!(scene.values(&pass), Ok(from(0)), "{pass}");
        assert_eq!(scene.values(&dead), Ok(Vec::new()), "{dead}");
        assert_eq!(scene.values(&dead), Ok(Vec::new()), "{dead}");
        let all = scene.read("letters").unwrap();
        are_letters(&all[letters..], kind, &dead, true);
        letters = all.len();
        for view in [reject, pass, dead, stop] {
            scene.stage.run(&["view", "delete", &view]);
        }
    }
    assert_eq!(scene.values("source"), Ok(from(0)));
    let metrics = scene.metrics();
    for kind in ["timeout", "memory", "trap", "wrong", "output", "denied"] {
        is_counted(&metrics, "transform", kind);
    }
    let after = resident_mib(scene.broker().id());
    assert!(after < before + LEFT_BEHIND_MAX, "{before} MiB before, {after} MiB after");
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn whatever_a_partitioner_does_a_record_without_a_partition_is_refused() {
    let mut scene = Scene::new(&[]);
    let deeds = DEEDS.into_iter().chain([("output", "wrong"), ("offsets", "wrong")]);
    for (deed, kind) in deeds {
        for policy in ["reject", "pass", "stop"] {
            let topic = format!("{deed}-{policy}");
            scene.bind(&topic, &binding("partitioner", deed, policy)).unwrap();
            let told = scene.send(&topic, -1, &VALUES);
            assert_eq!(told.result, Err(ErrorCode::InvalidRecord), "{topic}: {}", told.message);
            is_told(&scene, &topic, kind, None);
            let again = scene.send(&topic, -1, &VALUES).message;
            assert_eq!(again.contains("stopped after"), policy == "stop", "{topic}: {again}");
            assert_eq!(scene.values(&topic), Ok(Vec::new()), "{topic}");
            // It is not asked where others put their records.
            assert_eq!(scene.send(&topic, 0, &VALUES).result, Ok(0), "{topic}");
        }
    }
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_plugin_finds_nothing_that_it_was_not_given() {
    let mut scene = Scene::new(&[]);
    let mut told = Vec::new();
    for (role, partition) in [("serde", 0), ("partitioner", -1)] {
        scene.bind(role, &binding(role, "reach", "reject")).unwrap();
        told.push(scene.send(role, partition, &VALUES).message);
    }
    for message in told {
        let words: Vec<&str> = message.split(' ').filter(|word| word.contains('=')).collect();
        assert_eq!(words.len(), 10, "{message}");
        assert!(words.iter().all(|word| word.ends_with("=refused")), "{message}");
    }
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_record_that_kills_the_plugin_does_not_take_its_neighbours_along() {
    let mut scene = Scene::new(&[]);
    scene.create("letters", 1, &[]).unwrap();
    scene.bind("topic", &binding("serde", "poison", "dead-letter")).unwrap();
    let values: Vec<String> = (0..40)
        .map(
            |number| if number % 19 == 7 { format!("poison {number}") } else { number.to_string() },
        )
        .collect();
    let values: Vec<&str> = values.iter().map(String::as_str).collect();
    assert_eq!(scene.send("topic", 0, &values).result, Ok(0));
    let is_poison = |value: &str| value.starts_with("poison");
    let stored: Vec<(u64, String)> = scene.values("topic").unwrap();
    let due = (0..).zip(&values).filter(|(_, value)| !is_poison(value));
    let due: Vec<(u64, String)> =
        due.map(|(offset, value)| (offset, (*value).to_owned())).collect();
    assert_eq!(stored, due);
    let letters: Vec<String> =
        scene.read("letters").unwrap().into_iter().map(|letter| letter.value).collect();
    assert_eq!(letters, ["poison 7", "poison 26"]);
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn what_a_plugin_that_fails_at_random_lets_through_is_there_once_and_in_order() {
    let mut scene = Scene::new(&[]);
    scene.bind("topic", &binding("serde", "random", "reject")).unwrap();
    let (mut stored, mut refused) = (Vec::new(), 0);
    for number in 0..120 {
        let value = format!("value {number}");
        match scene.send("topic", 0, &[&value]).result {
            Ok(offset) => stored.push((u64::try_from(offset).unwrap(), value)),
            Err(code) => {
                assert_eq!(code, ErrorCode::InvalidRecord);
                refused += 1;
            }
        }
    }
    assert!(refused > 10 && stored.len() > 10, "{refused} refused, {} stored", stored.len());
    assert_eq!(scene.values("topic"), Ok(stored));
    assert!(scene.stage.broker.stop().success());
}

#[test]
fn a_plugin_that_does_not_start_is_not_bound() {
    let mut scene = Scene::new(&[]);
    let deeds = [
        ("init-trap", "trapped"),
        ("init-memory", "wanted more memory"),
        ("init-loop", "ran longer"),
        ("init-sleep", "ran longer"),
        ("init-refuse", "not today"),
    ];
    for (deed, words) in deeds {
        let refused = scene.bind(deed, &binding("serde", deed, "pass")).unwrap_err();
        assert!(refused.contains("plugin \"hostile\" does not start"), "{deed}: {refused}");
        assert!(refused.contains(words), "{deed}: {refused}");
        assert_eq!(scene.send(deed, 0, &VALUES).result, Err(ErrorCode::UnknownTopicOrPartition));
    }
    assert!(scene.stage.broker.stop().success());
}

/// Whoever did nothing wrong is asked to say goodbye, and is gone afterwards whatever it does instead.
#[test]
fn instances_say_goodbye_before_they_go() {
    let mut scene = Scene::new(&[]);
    for deed in ["goodbye", "goodbye-loop", "goodbye-trap"] {
        scene.bind(deed, &binding("serde", deed, "reject")).unwrap();
        assert_eq!(scene.send(deed, 0, &VALUES).result, Ok(0), "{deed}");
        scene.stage.run(&["topic", "delete", deed]);
    }
    soon("nothing is said", || {
        let log = scene.broker().log();
        log.lines().any(|line| line.contains("goodbye") && line.contains("hostile")).then_some(())
    });
    let count = "brooklet_plugin_instances{plugin=\"hostile\",role=\"serde\"} 0";
    soon("some do not go", || scene.metrics().contains(count).then_some(()));
    assert!(scene.stage.broker.stop().success());
}
