//! A serde for CBOR (RFC 8949).
//!
//! **What it decides.** How CBOR is shown as JSON, by section 6.1 of the RFC: byte strings as base64url
//! without padding, what is not finite as null, tags by what they tag; whole numbers as names as their digits,
//! since JSON has no others.
//!
//! **Invariants.** An entry is exactly one data item. JSON survives the way there and back, byte for byte
//! but for white space and the way numbers and strings are written.

mod show;

use brooklet::{Context, Error, NoConfig, Reject, Serde, Subject};
use ciborium::Value;

/// Arrays, maps and tags within each other.
const DEPTH_MAX: usize = 64;

/// The serde.
#[derive(Clone, Copy, Debug)]
pub struct Cbor;

impl Serde for Cbor {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<Cbor, Error> {
        Ok(Cbor)
    }

    fn deserialize(&mut self, _: &Subject, data: &[u8], json: &mut Vec<u8>) -> Result<(), Reject> {
        show::show(&read(data)?, json)
    }

    fn serialize(&mut self, _: &Subject, json: &[u8], data: &mut Vec<u8>) -> Result<(), Reject> {
        let value: Value = serde_json::from_slice(json)?;
        let written = ciborium::into_writer(&value, data);
        written.map_err(|error| Reject::new("encoding", error))
    }

    fn check(&mut self, _: &Subject, data: &[u8]) -> Result<(), Reject> {
        show::check(&read(data)?)
    }
}

fn read(data: &[u8]) -> Result<Value, Reject> {
    let mut rest = data;
    let value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX);
    let value = value.map_err(|error| Reject::new("syntax", error))?;
    if rest.is_empty() {
        return Ok(value);
    }
    let problem = format!("{} bytes behind the data item", rest.len());
    Err(Reject::new("syntax", problem))
}

brooklet::plugin! {
    name: "cbor",
    description: "Reads CBOR as JSON and writes JSON as CBOR.",
    roles: { serde: Cbor },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::Serding;
    use proptest::prelude::*;

    use super::*;

    fn hex(text: &str) -> Vec<u8> {
        let digits: Vec<u32> = text.chars().filter_map(|digit| digit.to_digit(16)).collect();
        digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
    }

    fn shown(text: &str) -> Result<String, String> {
        let mut plugin = Serding::<Cbor>::start("{}").unwrap();
        let shown = plugin.deserialize(hex(text));
        assert_eq!(plugin.check(hex(text)).err(), shown.as_ref().err().cloned(), "{text}");
        shown.map_err(|reject| reject.to_string())
    }

    /// From appendix A of RFC 8949.
    #[test]
    fn the_examples_of_the_rfc_are_shown() {
        let table = [
            ("00", "0"),
            ("1bffffffffffffffff", "18446744073709551615"),
            ("3bffffffffffffffff", "-18446744073709551616"),
            ("20", "-1"),
            ("f98000", "-0.0"),
            ("fb3ff199999999999a", "1.1"),
            ("f97bff", "65504.0"),
            ("f97c00", "null"),
            ("f97e00", "null"),
            ("f4", "false"),
            ("f6", "null"),
            ("c11a514b67b0", "1363896240"),
            ("d74401020304", "\"AQIDBA\""),
            ("40", "\"\""),
            ("62225c", "\"\\\"\\\\\""),
            ("83018202039f0405ff", "[1,[2,3],[4,5]]"),
            ("a201020304", "{\"1\":2,\"3\":4}"),
            ("a26161016162820203", "{\"a\":1,\"b\":[2,3]}"),
            ("bf61610161629f0203ffff", "{\"a\":1,\"b\":[2,3]}"),
            ("7f657374726561646d696e67ff", "\"streaming\""),
        ];
        for (cbor, json) in table {
            assert_eq!(shown(cbor).as_deref(), Ok(json), "{cbor}");
        }
    }

    #[test]
    fn what_is_not_one_data_item_is_refused() {
        for cbor in ["", "18", "0000", "ff", "82 01", "62c328", "a1f401", "a14101 01"] {
            assert!(shown(cbor).is_err(), "{cbor}");
        }
        let deep = "81".repeat(1000) + "00";
        assert!(shown(&deep).unwrap_err().starts_with("syntax"));
    }

    #[test]
    fn json_is_written_in_its_own_order() {
        let mut plugin = Serding::<Cbor>::start("{}").unwrap();
        let cbor = plugin.serialize(r#"{"b":[1,-1,1.5,null,true],"a":"ü"}"#).unwrap();
        assert_eq!(cbor, hex("a261628501 20f93e00f6f5 6161 62c3bc"));
        assert_eq!(plugin.serialize("{").unwrap_err().code, "syntax");
    }

    fn json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<i64>().prop_map(Into::into),
            any::<u64>().prop_map(Into::into),
            any::<f64>().prop_map(Into::into),
            "\\PC{0,12}".prop_map(Into::into),
        ];
        leaf.prop_recursive(4, 32, 5, |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                proptest::collection::btree_map("\\PC{0,4}", inner, 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn json_survives_the_way_there_and_back(value in json()) {
            let mut plugin = Serding::<Cbor>::start("{}").unwrap();
            let cbor = plugin.serialize(&value.to_string()).unwrap();
            prop_assert_eq!(plugin.check(&cbor), Ok(()));
            let back: serde_json::Value = serde_json::from_str(&plugin.deserialize(&cbor).unwrap()).unwrap();
            prop_assert_eq!(back, value);
        }

        #[test]
        fn no_bytes_are_too_strange(data in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut plugin = Serding::<Cbor>::start("{}").unwrap();
            if let Ok(json) = plugin.deserialize(&data) {
                prop_assert!(serde_json::from_str::<serde_json::Value>(&json).is_ok(), "{}", json);
            }
        }
    }
}
