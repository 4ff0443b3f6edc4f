//! The RFC's examples, and what readers see who began at different places.

use brooklet_testing::{Compacting, Rec};
use proptest::prelude::*;
use serde_json::{Map, Value, json};

use super::*;

fn start(config: &str) -> Compacting<MergeJson> {
    Compacting::start(config).unwrap().in_runs_of(3)
}

/// Offsets of the survivors, with the values they have afterwards.
fn compacted(
    mut plugin: Compacting<MergeJson>,
    records: &[Rec],
    now: i64,
) -> Vec<(usize, Option<String>)> {
    let survivors = plugin.compact(records, now).unwrap();
    let shown = |survivor: brooklet_testing::Survivor| {
        let value = survivor.replaced.or_else(|| records[survivor.offset].value.clone());
        (survivor.offset, value.map(|value| String::from_utf8(value).unwrap()))
    };
    survivors.into_iter().map(shown).collect()
}

#[test]
fn the_examples_of_the_rfc_are_merged() {
    // Appendix A: original, patch, result.
    let table = [
        (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
        (r#"{"a":"b"}"#, r#"{"a":null}"#, "{}"),
        (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
        (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
        (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
        (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
        (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
        (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
        (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
        (r#"{"a":"foo"}"#, "null", "null"),
        (r#"{"a":"foo"}"#, "\"bar\"", "\"bar\""),
        (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"a":1}"#),
        ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
        ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
    ];
    for (original, patch, result) in table {
        let records = [Rec::new("k", original), Rec::new("k", patch)];
        let survivors = compacted(start(r#"{"removed":"absent"}"#), &records, 0);
        assert_eq!(survivors, [(1, Some(result.to_owned()))], "{original} and {patch}");
    }
}

#[test]
fn removed_members_stay_as_null_for_those_who_saw_them() {
    let records = [
        Rec::new("k", r#"{"a":{"y":9}}"#),
        Rec::new("k", r#"{"a":5,"b":1}"#),
        Rec::new("k", r#"{"a":{"x":1},"b":null}"#),
    ];
    let merged = r#"{"a":{"x":1,"y":null},"b":null}"#.to_owned();
    assert_eq!(compacted(start("{}"), &records, 0), [(2, Some(merged))]);
}

#[test]
fn what_has_nothing_to_merge_stays_byte_for_byte() {
    let records =
        [Rec::new("a", "{ \"x\" : null }"), Rec::new("b", "not json"), Rec::new("c", "1")];
    let kept = compacted(start("{}"), &records, 0);
    let same = records.iter().enumerate().map(|(offset, r)| (offset, Some(r.text().to_owned())));
    assert_eq!(kept, same.collect::<Vec<_>>());
    let document = compacted(start(r#"{"removed":"absent"}"#), &records[..1], 0);
    assert_eq!(document, [(0, Some("{}".to_owned()))]);
}

#[test]
fn what_is_not_json_replaces_what_was_there() {
    let records = [Rec::new("k", r#"{"a":1}"#), Rec::new("k", "text"), Rec::new("k", r#"{"b":2}"#)];
    assert_eq!(compacted(start("{}"), &records[..2], 0), [(1, Some("text".to_owned()))]);
    // Whoever has seen the first and not the second learns of it from the third.
    let merged = r#"{"a":null,"b":2}"#.to_owned();
    assert_eq!(compacted(start("{}"), &records, 0), [(2, Some(merged))]);
    let document = compacted(start(r#"{"removed":"absent"}"#), &records, 0);
    assert_eq!(document, [(2, Some(r#"{"b":2}"#.to_owned()))]);
}

#[test]
fn a_tombstone_begins_anew() {
    let records =
        [Rec::new("k", r#"{"a":1}"#), Rec::tombstone("k").at(5), Rec::new("k", r#"{"b":2}"#).at(6)];
    let merged = r#"{"a":null,"b":2}"#.to_owned();
    assert_eq!(compacted(start("{}"), &records, 0), [(2, Some(merged))]);
    let document = compacted(start(r#"{"removed":"absent"}"#), &records, 0);
    assert_eq!(document, [(2, Some(r#"{"b":2}"#.to_owned()))]);
    assert_eq!(compacted(start("{}"), &records[..2], 5), [(1, None)]);
    assert_eq!(compacted(start("{}"), &records[..2], 6), []);
    let going_on = compacted(start("{}").up_to(2), &records, 6);
    assert_eq!(going_on, [(1, None), (2, Some(r#"{"b":2}"#.to_owned()))]);
}

#[test]
fn what_lies_beyond_the_end_is_not_merged() {
    let records =
        [Rec::new("k", r#"{"a":1}"#), Rec::new("k", r#"{"b":2}"#), Rec::new("k", r#"{"c":3}"#)];
    let survivors = compacted(start("{}").up_to(2), &records, 0);
    let expected = [(1, Some(r#"{"a":1,"b":2}"#.to_owned())), (2, Some(r#"{"c":3}"#.to_owned()))];
    assert_eq!(survivors, expected);
}

/// The RFC's pseudocode, once more and independently.
fn merge_patch(target: Value, patch: &Value) -> Value {
    let Value::Object(patch) = patch else { return patch.clone() };
    let mut target = if let Value::Object(members) = target { members } else { Map::new() };
    for (name, value) in patch {
        if *value == Value::Null {
            target.remove(name);
        } else {
            let before = target.get(name).cloned().unwrap_or(Value::Null);
            target.insert(name.clone(), merge_patch(before, value));
        }
    }
    Value::Object(target)
}

fn patch() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), (0..3).prop_map(|number| json!(number))];
    leaf.prop_recursive(3, 12, 3, |inner| {
        proptest::collection::btree_map("[ab]", inner, 0..3)
            .prop_map(|members| Value::Object(members.into_iter().collect()))
    })
}

/// What a reader makes of one more record.
fn read_one(state: Value, value: Option<&str>) -> Value {
    match value.map(serde_json::from_str::<Value>) {
        None => Value::Null,
        Some(Ok(patch)) => merge_patch(state, &patch),
        Some(Err(_)) => Value::String("opaque".to_owned()),
    }
}

fn record() -> impl Strategy<Value = Rec> {
    prop_oneof![
        6 => patch().prop_map(|patch| Rec::new("k", patch.to_string())),
        1 => Just(Rec::tombstone("k")),
        1 => Just(Rec::new("k", "not JSON")),
    ]
}

proptest! {
    /// Whoever had read up to anywhere, and reads on in what the compaction left, arrives at the same.
    #[test]
    fn every_reader_arrives_at_the_same(
        records in proptest::collection::vec(record(), 1..8),
        began in 0_usize..8,
        end in 0_i64..8,
    ) {
        let began = began.min(records.len());
        let read = |state, records: &[Rec]| {
            let value = |record: &Rec| record.value.as_ref().map(|_| record.text().to_owned());
            records.iter().fold(state, |state, record| read_one(state, value(record).as_deref()))
        };
        let (before, everything) = (read(Value::Null, &records[..began]), read(Value::Null, &records));
        let left = compacted(start("{}").up_to(end), &records, 0);
        let read_on = left.iter().filter(|(offset, _)| *offset >= began);
        let arrived = read_on.fold(before, |state, (_, value)| read_one(state, value.as_deref()));
        prop_assert_eq!(&arrived, &everything);
        // And compacting once more changes nothing.
        let again = left.iter().map(|(_, value)| match value {
            Some(value) => Rec::new("k", value),
            None => Rec::tombstone("k"),
        });
        let whole = compacted(start("{}"), &again.collect::<Vec<_>>(), 0);
        prop_assert_eq!(read_one(Value::Null, whole[0].1.as_deref()), everything);
    }
}
