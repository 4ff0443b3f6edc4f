//! What a transform's words cost: pass, select, or columns.

use super::*;
use crate::bindings::types::Blobs;

fn blobs(entries: &[Option<&str>]) -> Blobs {
    let mut builder = ColumnBuilder::default();
    entries.iter().for_each(|entry| builder.push(entry.map(str::as_bytes)));
    builder.finish()
}

fn input() -> types::Batch {
    types::Batch {
        topic: "flights".to_owned(),
        partition: 2,
        base_offset: 100,
        base_timestamp: 5,
        count: 4,
        offset_deltas: Some(vec![0, 2, 3, 9]),
        timestamp_deltas: Some(vec![0, 10, 20, 30]),
        keys: Some(blobs(&[Some("a"), None, Some("c"), Some("d")])),
        values: Some(blobs(&[Some("1"), Some(""), None, Some("4")])),
        headers: Some(HeaderColumns {
            counts: vec![0, 2, 0, 1],
            names: blobs(&[Some("h"), Some("h"), Some("g")]),
            values: blobs(&[Some("x"), Some("y"), None]),
        }),
    }
}

/// One word per record: `k`eep, `d`iscard, `r`eject, or a new value.
fn said(words: &[&str]) -> wire::Transformed {
    let input = input();
    let batch = Batch::new(&input, Columns::all());
    let mut out = Output::new(&batch);
    for word in words {
        match *word {
            "k" => out.keep(),
            "d" => out.discard(),
            "r" => out.reject(Reject::new("syntax", "no")),
            value => out.value(Some(value.as_bytes())),
        }
    }
    out.finish()
}

fn texts(blobs: &Blobs) -> Vec<Option<String>> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    Column::new(blobs).iter().map(|entry| entry.map(text)).collect()
}

#[test]
fn what_stays_as_it_is_is_not_copied() {
    assert!(matches!(said(&["k", "k", "k", "k"]).outcome, wire::Outcome::Pass));
    let wire::Outcome::Select(bits) = said(&["k", "d", "d", "k"]).outcome else {
        panic!("a selection");
    };
    assert_eq!(bits, [0b1001]);
}

#[test]
fn values_change_without_keys_and_headers_being_copied() {
    let wire::Outcome::Emit(out) = said(&["k", "two", "d", "k"]).outcome else { panic!("columns") };
    assert_eq!((out.count, out.sources), (3, Some(vec![0, 1, 3])));
    let expected = ["1", "two", "4"].map(|text| Some(text.to_owned()));
    assert_eq!(texts(&out.values.unwrap()), expected);
    assert!(out.keys.is_none() && out.headers.is_none() && out.timestamps.is_none());
    let wire::Outcome::Emit(all) = said(&["k", "two", "k", "k"]).outcome else { panic!("columns") };
    assert_eq!((all.count, all.sources), (4, None), "one for one");
    assert_eq!(texts(&all.values.unwrap())[2], None, "a tombstone stays one");
}

#[test]
fn a_record_that_cannot_be_handled_is_left_out_and_named() {
    let transformed = said(&["k", "k", "r", "k"]);
    assert!(matches!(transformed.outcome, wire::Outcome::Select(bits) if bits == [0b1011]));
    let rejects = transformed.rejects.unwrap();
    assert_eq!((rejects[0].index, rejects[0].code.as_str()), (2, "syntax"));
}

#[test]
fn all_of_a_record_can_change() {
    let input = input();
    let batch = Batch::new(&input, Columns::all());
    let mut out = Output::new(&batch);
    out.keep();
    let headers = vec![(b"n".to_vec(), None)];
    out.change(&Change::new().key(Some(b"K".to_vec())).headers(headers).timestamp(7));
    out.keep();
    out.keep();
    let wire::Outcome::Emit(emitted) = out.finish().outcome else { panic!("columns") };
    let keys = texts(&emitted.keys.unwrap());
    assert_eq!(keys, ["a", "K", "c", "d"].map(|key| Some(key.to_owned())));
    assert_eq!(emitted.timestamps, Some(vec![5, 7, 25, 35]));
    let headers = emitted.headers.unwrap();
    assert_eq!(headers.counts, [0, 1, 0, 1]);
    assert_eq!(texts(&headers.names), ["n", "g"].map(|name| Some(name.to_owned())));
    assert!(emitted.values.is_none());
}

#[test]
fn records_are_read_over_the_columns() {
    let input = input();
    let batch = Batch::new(&input, Columns::all());
    let record = batch.record(1);
    assert_eq!((record.offset(), record.timestamp()), (102, 15));
    assert_eq!((record.key(), record.value()), (None, Some(&b""[..])));
    assert_eq!(record.header("h"), Some(&b"y"[..]), "the last of that name");
    assert_eq!(batch.record(3).headers().count(), 1);
    assert_eq!(batch.record(3).header("g"), None);
}
