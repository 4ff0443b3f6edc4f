//! What is made, how fast, and that it goes on where it stopped.

use brooklet::stand_in;
use brooklet_testing::{Polled, Sourcing};

use super::*;

const FIELDS: &str = r#"{
    "id": {"sequence": {"start": 10, "step": 2}},
    "carrier": {"choice": ["UA", "AA", "DL"]},
    "delay": {"integer": {"min": -5, "max": 5}},
    "distance": {"number": {"min": 100, "max": 2500}},
    "note": {"text": {"length": 4}},
    "late": {"boolean": {"probability": 0.5}},
    "trace": "uuid",
    "kind": {"constant": {"v": 1}}
}"#;

fn config(rest: &str) -> String {
    format!(r#"{{"fields": {FIELDS}{rest}}}"#)
}

fn start(rest: &str, position: Option<&[u8]>) -> Sourcing<Generator> {
    Sourcing::start(&config(rest), position).unwrap()
}

#[test]
fn values_are_what_their_fields_say() {
    let mut source = start(r#", "key": "carrier", "count": 200"#, None);
    let polled = source.poll().unwrap();
    assert_eq!(polled.records.len(), 200);
    let mut lates = 0;
    for (index, record) in polled.records.iter().enumerate() {
        let value: serde_json::Value = serde_json::from_str(record.text()).unwrap();
        let names = r#"{"id":"#;
        assert!(record.text().starts_with(names), "in the order of the configuration");
        assert_eq!(value["id"], 10 + 2 * index);
        assert_eq!(value["carrier"].as_str().map(str::as_bytes), record.key.as_deref());
        assert!((-5..=5).contains(&value["delay"].as_i64().unwrap()));
        assert!((100.0..2500.0).contains(&value["distance"].as_f64().unwrap()));
        assert_eq!(value["note"].as_str().unwrap().len(), 4);
        let uuid = value["trace"].as_str().unwrap();
        assert!(
            uuid.len() == 36 && &uuid[14..15] == "4" && "89ab".contains(&uuid[19..20]),
            "{uuid}"
        );
        assert_eq!(value["kind"]["v"], 1);
        lates += i32::from(value["late"] == true);
    }
    assert!((60..140).contains(&lates), "{lates} of 200 at a probability of one half");
}

#[test]
fn it_goes_on_as_if_it_had_never_stopped() {
    let all = start(r#", "count": 10, "seed": 7"#, None).texts().unwrap();
    assert_eq!(all.len(), 10);
    let mut first = start(r#", "count": 10, "seed": 7"#, None).records_max(4);
    let Polled { records, position, more } = first.poll().unwrap();
    assert!(more);
    let mut texts: Vec<String> = records.iter().map(|record| record.text().to_owned()).collect();
    texts.extend(start(r#", "count": 10, "seed": 7"#, Some(&position)).texts().unwrap());
    assert_eq!(texts, all);
    assert_ne!(start(r#", "count": 10, "seed": 8"#, None).texts().unwrap(), all);
}

#[test]
fn the_rate_is_kept_and_a_pause_is_not_made_up_for() {
    let mut source = start(r#", "rate": 100"#, None);
    let begun = task::now();
    let mut made = 0;
    while task::now() - begun < Duration::from_secs(10) {
        made += source.poll().unwrap().records.len();
    }
    assert!((999..=1001).contains(&made), "{made} in ten seconds");
    stand_in::advance(Duration::from_secs(3600));
    let after = source.poll().unwrap().records.len();
    assert_eq!(after, 100, "a second's worth");
}

#[test]
fn tasks_share_the_work() {
    let read = || serde_json::from_str::<Config>(&config(r#", "count": 10"#)).unwrap();
    let mut planner = Generator::new(read(), &Context::default()).unwrap();
    let splits = planner.plan(3).unwrap();
    let mut numbers = Vec::new();
    for split in splits {
        let parts = Parts::new(&[split]).unwrap();
        numbers.extend((0..parts.share(10)).map(|index| parts.number(index)));
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (0..10).collect::<Vec<_>>());
}

#[test]
fn when_all_are_made_it_rests() {
    let mut source = start(r#", "count": 1"#, None);
    assert_eq!(source.poll().unwrap().records.len(), 1);
    let before = task::now();
    let polled = source.poll().unwrap();
    assert!(polled.records.is_empty() && !polled.more);
    assert_eq!(task::now() - before, Duration::from_millis(100), "as long as it was told to wait");
}

#[test]
fn a_configuration_that_makes_nothing_is_refused() {
    let table = [
        (r#"{"fields":{}}"#, "fields: an object with at least one member"),
        (r#"{"fields":{"a":{"integer":{"min":2,"max":1}}}}"#, "fields.a: min is more than max"),
        (r#"{"fields":{"a":{"choice":[]}}}"#, "fields.a: nothing to choose from"),
        (r#"{"fields":{"a":"guess"}}"#, "fields.a: unknown variant"),
        (r#"{"fields":{"a":"uuid"},"key":"b"}"#, "key: there is no field \"b\""),
        (r#"{"fields":{"a":"uuid"},"rate":0}"#, "rate: more than 0"),
    ];
    for (config, problem) in table {
        let error = Sourcing::<Generator>::start(config, None).unwrap_err().to_string();
        assert!(error.contains(problem), "{config}: {error}");
    }
}
