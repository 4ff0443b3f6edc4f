//! Golden files: what goes in, what has to come out, and how to write the latter anew.
//!
//! A folder has `config.json`, `input.jsonl` and `expected.jsonl`. A line of input is a record:
//!
//! ```text
//! {"key": "a", "value": {"n": 1}, "headers": {"h": "x"}, "timestamp": 0}
//! ```
//!
//! An object or array as key or value stands for its own text, byte for byte; a string for its characters;
//! `{"hex": "00ff"}` for bytes that are no text; null for null, as does what is left out. A line of expected
//! output is such a record, or `{"dropped": true}`, or `{"rejected": "code: message"}`.
//!
//! `UPDATE_EXPECT=1 cargo test` writes `expected.jsonl`.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use brooklet::Transform;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::record::Rec;
use crate::transform::{Shown, Transforming};

/// Compares what a transform makes of `input.jsonl` with `expected.jsonl`.
///
/// `folder` is relative to the crate's own folder, where `cargo test` runs. Panics, saying what
/// differs.
pub fn transform<T: Transform>(folder: &str) {
    let read = |name: &str| {
        let path = Path::new(folder).join(name);
        fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
    };
    let mut plugin = match Transforming::<T>::start(&read("config.json")) {
        Ok(plugin) => plugin,
        Err(error) => panic!("{folder}/config.json: {error}"),
    };
    let records: Vec<Rec> = read("input.jsonl").lines().map(record).collect();
    let shown = plugin.show(&records).unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut text = String::new();
    for line in &shown {
        text.push_str(&shown_line(line));
        text.push('\n');
    }
    compare(&Path::new(folder).join("expected.jsonl"), &text);
}

/// Compares a text with a file, or writes it if `UPDATE_EXPECT` is set.
pub fn compare(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    let pairs = expected.lines().zip(actual.lines()).enumerate();
    for (number, (expected, actual)) in pairs {
        assert_eq!(actual, expected, "{}:{}", path.display(), number + 1);
    }
    let (expected, actual) = (expected.lines().count(), actual.lines().count());
    assert_eq!(
        actual,
        expected,
        "{}: number of lines; UPDATE_EXPECT=1 cargo test writes it anew",
        path.display()
    );
}

/// A line as a record.
pub fn record(line: &str) -> Rec {
    let complain =
        |problem: &dyn std::fmt::Display| -> ! { panic!("{problem} in the line {line}") };
    let members: Vec<(String, Box<RawValue>)> = match members(line) {
        Ok(members) => members,
        Err(error) => complain(&error),
    };
    let mut record = Rec::default();
    for (name, raw) in members {
        match name.as_str() {
            "key" => record.key = bytes(&raw),
            "value" => record.value = bytes(&raw),
            "timestamp" => match raw.get().parse() {
                Ok(timestamp) => record.timestamp = timestamp,
                Err(error) => complain(&error),
            },
            "headers" => match self::members(raw.get()) {
                Ok(headers) => {
                    let headers = headers.into_iter().map(|(name, raw)| (name, bytes(&raw)));
                    record.headers = headers.collect();
                }
                Err(error) => complain(&error),
            },
            other => complain(&format!("unknown member {other:?}")),
        }
    }
    record
}

/// The members of an object in their order.
fn members(text: &str) -> Result<Vec<(String, Box<RawValue>)>, serde_json::Error> {
    struct Members;

    impl<'de> serde::de::Visitor<'de> for Members {
        type Value = Vec<(String, Box<RawValue>)>;

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(
            self,
            mut map: A,
        ) -> Result<Self::Value, A::Error> {
            let mut members = Vec::new();
            while let Some(member) = map.next_entry()? {
                members.push(member);
            }
            Ok(members)
        }
    }

    let mut json = serde_json::Deserializer::from_str(text);
    let members = serde::Deserializer::deserialize_map(&mut json, Members)?;
    json.end()?;
    Ok(members)
}

fn bytes(raw: &RawValue) -> Option<Vec<u8>> {
    match serde_json::from_str(raw.get()).expect("it was read as JSON") {
        Value::Null => None,
        Value::String(text) => Some(text.into_bytes()),
        Value::Object(members) if members.len() == 1 && members.contains_key("hex") => {
            let hex = members["hex"].as_str().expect("`hex` is a string");
            Some(unhex(hex).unwrap_or_else(|| panic!("{hex:?} is not hexadecimal")))
        }
        _ => Some(raw.get().as_bytes().to_vec()),
    }
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u32>> = text.chars().map(|digit| digit.to_digit(16)).collect();
    let digits = digits?;
    let pairs = digits.chunks_exact(2);
    if !pairs.remainder().is_empty() {
        return None;
    }
    pairs.map(|pair| u8::try_from(pair[0] * 16 + pair[1]).ok()).collect()
}

fn shown_line(shown: &Shown) -> String {
    match shown {
        Shown::Record(record) => line(record),
        Shown::Dropped => r#"{"dropped":true}"#.to_owned(),
        Shown::Rejected { code, message } => {
            format!(r#"{{"rejected":{}}}"#, Value::String(format!("{code}: {message}")))
        }
    }
}

/// A record as a line; [`record`] reads it.
pub fn line(record: &Rec) -> String {
    let mut members = Vec::new();
    if record.key.is_some() {
        members.push(format!(r#""key":{}"#, show(record.key.as_deref())));
    }
    members.push(format!(r#""value":{}"#, show(record.value.as_deref())));
    if !record.headers.is_empty() {
        let headers = record.headers.iter().map(|(name, value)| {
            format!("{}:{}", Value::String(name.clone()), show(value.as_deref()))
        });
        members.push(format!(r#""headers":{{{}}}"#, headers.collect::<Vec<_>>().join(",")));
    }
    if record.timestamp != 0 {
        members.push(format!(r#""timestamp":{}"#, record.timestamp));
    }
    format!("{{{}}}", members.join(","))
}

fn show(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else { return "null".to_owned() };
    let Ok(text) = std::str::from_utf8(bytes) else {
        let mut hex = String::new();
        for byte in bytes {
            write!(hex, "{byte:02x}").expect("a string takes everything");
        }
        return format!(r#"{{"hex":"{hex}"}}"#);
    };
    let is_nested = text.starts_with(['{', '[']) && !text.contains('\n');
    match serde_json::from_str::<&RawValue>(text) {
        Ok(raw) if is_nested && raw.get() == text => text.to_owned(),
        _ => Value::String(text.to_owned()).to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_line() {
        let plain = Rec::new("k", r#"{"b":1, "a":[1.50]}"#).header("h", "x").at(7);
        let binary = Rec { key: Some(vec![0, 255]), ..Rec::value("not json {") };
        for original in [plain, binary, Rec::tombstone("gone"), Rec::value(""), Rec::default()] {
            assert_eq!(record(&line(&original)), original, "{}", line(&original));
        }
        assert_eq!(line(&Rec::value(r#"{"b":1,"a":2}"#)), r#"{"value":{"b":1,"a":2}}"#);
    }

    #[test]
    fn a_difference_is_found() {
        let path = std::env::temp_dir().join(format!("brooklet-golden-{}", std::process::id()));
        fs::write(&path, "a\nb\n").unwrap();
        compare(&path, "a\nb\n");
        for wrong in ["a\nc\n", "a\n", "a\nb\nc\n"] {
            let compared = std::panic::catch_unwind(|| compare(&path, wrong));
            assert!(compared.is_err(), "{wrong:?}");
        }
        fs::remove_file(&path).unwrap();
    }
}
