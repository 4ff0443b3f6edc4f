//! Bytes by the specification, both ways, and what is refused.

use brooklet::schemas::{Format, Schema};
use brooklet::stand_in;
use brooklet_testing::Serding;
use proptest::prelude::*;

use super::*;

const FLIGHT: &str = r#"{
    "type": "record", "name": "Flight", "namespace": "nyc",
    "fields": [
        {"name": "carrier", "type": "string"},
        {"name": "delay", "type": ["null", "int"], "default": null},
        {"name": "kind", "type": {"type": "enum", "name": "Kind", "symbols": ["PAX", "CARGO"]}, "default": "PAX"},
        {"name": "legs", "type": {"type": "array", "items": "Kind"}, "default": []}
    ]
}"#;

fn start(schema: &str) -> Serding<Avro> {
    Serding::start(&format!(r#"{{"schema": {schema}}}"#)).unwrap()
}

/// `json` is written as `bytes` and read as `back`.
#[track_caller]
fn check(schema: &str, json: &str, bytes: &[u8], back: &str) {
    let mut plugin = start(schema);
    assert_eq!(plugin.serialize(json).as_deref(), Ok(bytes), "{json} by {schema}");
    assert_eq!(plugin.deserialize(bytes).as_deref(), Ok(back), "{bytes:?} by {schema}");
    assert_eq!(plugin.check(bytes), Ok(()));
}

#[test]
fn values_are_encoded_as_the_specification_says() {
    let same = |schema: &str, json: &str, bytes: &[u8]| check(schema, json, bytes, json);
    same(r#""long""#, "-64", &[0x7f]);
    same(r#""int""#, "64", &[0x80, 0x01]);
    same(r#""string""#, r#""foo""#, &[6, b'f', b'o', b'o']);
    same(r#""bytes""#, "\"\u{00ff}a\"", &[4, 0xff, b'a']);
    same(r#""boolean""#, "true", &[1]);
    same(r#""double""#, "1.5", &[0, 0, 0, 0, 0, 0, 0xf8, 0x3f]);
    check(r#""double""#, "1", &[0, 0, 0, 0, 0, 0, 0xf0, 0x3f], "1.0");
    check(r#""float""#, "\"NaN\"", &[0, 0, 0xc0, 0x7f], "\"NaN\"");
    same(r#"["null","string"]"#, r#""a""#, &[2, 2, b'a']);
    same(r#"["null","string"]"#, "null", &[0]);
    same(r#"{"type":"array","items":"long"}"#, "[3,27]", &[4, 6, 54, 0]);
    same(r#"{"type":"map","values":"int"}"#, r#"{"a":1}"#, &[2, 2, b'a', 2, 0]);
    same(r#"{"type":"fixed","name":"F","size":2}"#, "\"ab\"", b"ab");
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":6,"scale":2}"#;
    same(decimal, "\"-12.34\"", &[4, 0xfb, 0x2e]);
    check(decimal, "\"7\"", &[4, 0x02, 0xbc], "\"7.00\"");
    same(decimal, "\"0.05\"", &[2, 5]);
    same(r#"{"type":"long","logicalType":"timestamp-millis"}"#, "1", &[2]);
}

#[test]
fn records_take_defaults_and_keep_the_order_of_their_fields() {
    let json = r#"{"legs":["CARGO","PAX"],"carrier":"UA","delay":-3}"#;
    let back = r#"{"carrier":"UA","delay":-3,"kind":"PAX","legs":["CARGO","PAX"]}"#;
    check(FLIGHT, json, &[4, b'U', b'A', 2, 5, 0, 4, 2, 0, 0], back);
    let shortest = r#"{"carrier":"UA","delay":null,"kind":"PAX","legs":[]}"#;
    check(FLIGHT, r#"{"carrier":"UA"}"#, &[4, b'U', b'A', 0, 0, 0], shortest);
}

#[test]
fn a_type_may_contain_itself() {
    let list = r#"{"type":"record","name":"List","fields":[
        {"name":"head","type":"int"},{"name":"tail","type":["null","List"],"default":null}]}"#;
    let json = r#"{"head":1,"tail":{"head":2,"tail":null}}"#;
    check(list, json, &[2, 2, 4, 0], json);
}

#[test]
fn problems_are_named_with_their_place() {
    let table = [
        (r#"{"carrier":7}"#, "carrier: expected a string, found a number"),
        (r#"{}"#, "carrier: missing, and has no default"),
        (r#"{"carrier":"UA","gate":1}"#, "Flight has no field \"gate\""),
        (
            r#"{"carrier":"UA","delay":"x"}"#,
            "delay: expected a whole number of 32 bits, found a string",
        ),
        (r#"{"carrier":"UA","delay":3000000000}"#, "delay: expected a whole number of 32 bits"),
        (r#"{"carrier":"UA","legs":["PAX","MAIL"]}"#, "legs: 1: Kind has no such symbol"),
        ("[]", "expected an object, found an array"),
    ];
    for (json, problem) in table {
        let reject = start(FLIGHT).serialize(json).unwrap_err();
        assert_eq!(reject.code, "schema", "{json}");
        assert!(reject.message.starts_with(problem), "{json}: {reject}");
    }
    let decimal = r#"{"type":"bytes","logicalType":"decimal","precision":4,"scale":2}"#;
    for json in ["\"1.234\"", "\"123.45\"", "\"x\"", "\"1.-2\"", "1.5"] {
        assert!(start(decimal).serialize(json).is_err(), "{json}");
    }
}

#[test]
fn bytes_that_are_not_one_datum_are_refused() {
    let whole: &[u8] = &[4, b'U', b'A', 0, 0, 0];
    for length in 0..whole.len() {
        assert_eq!(start(FLIGHT).check(&whole[..length]).unwrap_err().code, "syntax", "{length}");
    }
    let more = [whole, &[0]].concat();
    let reject = start(FLIGHT).check(more).unwrap_err();
    assert_eq!(reject.message, "1 bytes behind the datum");
    // A string that claims to be 2 GiB long.
    assert!(start(r#""string""#).check([0xfe, 0xff, 0xff, 0xff, 0x0f]).is_err());
}

fn brought(id: u32, definition: &str) {
    let definition = definition.to_owned();
    let schema = Schema { id, version: id, format: Format::Avro, definition };
    stand_in::add_schema("topic-value", schema);
}

#[test]
fn the_id_in_front_finds_the_writers_schema() {
    let old = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"int"}]}"#;
    let new = r#"{"type":"record","name":"R","fields":[{"name":"a","type":"long"},{"name":"b","type":"string","default":"?"}]}"#;
    brought(258, old);
    brought(7, new);
    let mut plugin = Serding::<Avro>::start(r#"{"framing":"confluent"}"#).unwrap();
    assert_eq!(plugin.serialize(r#"{"a":1}"#).unwrap(), [0, 0, 0, 0, 7, 2, 2, b'?']);
    let by_old = [0, 0, 0, 1, 2, 84];
    assert_eq!(plugin.deserialize(by_old).unwrap(), r#"{"a":42,"b":"?"}"#);
    let table: [(&[u8], &str); 4] = [
        (&[0, 0, 0, 0, 9, 2], "schema-unknown"),
        (&[1, 0, 0, 0, 7, 2], "framing"),
        (&[0, 0, 0], "framing"),
        (&[0, 0, 0, 0, 7], "syntax"),
    ];
    for (bytes, code) in table {
        assert_eq!(plugin.check(bytes).unwrap_err().code, code, "{bytes:?}");
    }
}

#[test]
fn a_configuration_that_cannot_work_is_refused() {
    let table = [
        (r#"{"schema":{"type":"rekord"}}"#, "schema: "),
        (r#"{"schema":"int","framing":"confluent"}"#, "schema_id"),
        (r#"{"framing":"glue"}"#, "unknown variant"),
    ];
    for (config, problem) in table {
        let error = Serding::<Avro>::start(config).unwrap_err().to_string();
        assert!(error.contains(problem), "{config}: {error}");
    }
    let framed = Serding::<Avro>::start(r#"{"schema":"int","framing":"confluent","schema_id":1}"#);
    assert_eq!(framed.unwrap().serialize("1").unwrap(), [0, 0, 0, 0, 1, 2]);
}

proptest! {
    #[test]
    fn no_bytes_are_too_strange(data in proptest::collection::vec(any::<u8>(), 0..100)) {
        if let Ok(json) = start(FLIGHT).deserialize(&data) {
            prop_assert!(start(FLIGHT).serialize(&json).is_ok(), "{}", json);
        }
    }

    #[test]
    fn flights_survive_the_way_there_and_back(
        carrier in "\\PC{0,8}",
        delay in proptest::option::of(any::<i32>()),
        legs in proptest::collection::vec(prop_oneof![Just("PAX"), Just("CARGO")], 0..4),
    ) {
        let json = serde_json::json!({"carrier": carrier, "delay": delay, "kind": "CARGO", "legs": legs});
        let bytes = start(FLIGHT).serialize(&json.to_string()).unwrap();
        let back: Json = serde_json::from_str(&start(FLIGHT).deserialize(bytes).unwrap()).unwrap();
        prop_assert_eq!(back, json);
    }
}
