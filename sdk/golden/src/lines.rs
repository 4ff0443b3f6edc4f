//! Records as lines, lines as records, and how two texts of them differ.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use serde_json::Value;
use serde_json::value::RawValue;

use crate::record::{Rec, Shown};

/// What became of records, as `expected.jsonl` has it.
pub fn lines(shown: &[Shown]) -> String {
    let mut text = String::new();
    for record in shown {
        text.push_str(&shown_line(record));
        text.push('\n');
    }
    text
}

/// Compares a text with a file, or writes it if `UPDATE_EXPECT` is set.
pub fn compare(path: &Path, actual: &str) {
    if std::env::var_os("UPDATE_EXPECT").is_some() {
        fs::write(path, actual).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        return;
    }
    let expected = fs::read_to_string(path).unwrap_or_default();
    if let Some(difference) = difference(&expected, actual) {
        panic!("{}:{difference}\nUPDATE_EXPECT=1 writes it anew", path.display());
    }
}

/// Where two texts differ first: the line's number, what was expected there, and what is there.
pub fn difference(expected: &str, actual: &str) -> Option<String> {
    if expected == actual {
        return None;
    }
    let pairs = expected.lines().zip(actual.lines()).enumerate();
    for (number, (expected, actual)) in pairs {
        if expected != actual {
            return Some(format!("{}\nexpected {expected}\n     got {actual}", number + 1));
        }
    }
    let (expected, actual) = (expected.lines().count(), actual.lines().count());
    Some(format!("{}: {expected} lines were expected, {actual} came", expected.min(actual) + 1))
}

/// A line as a record. Panics if it is none.
pub fn record(line: &str) -> Rec {
    parse(line).unwrap_or_else(|problem| panic!("{problem} in the line {line}"))
}

/// A line as a record, or what is wrong with it.
pub fn parse(line: &str) -> Result<Rec, String> {
    let mut record = Rec::default();
    for (name, raw) in members(line).map_err(|error| error.to_string())? {
        match name.as_str() {
            "key" => record.key = bytes(&raw)?,
            "value" => record.value = bytes(&raw)?,
            "timestamp" => {
                let timestamp = raw.get().parse();
                record.timestamp = timestamp.map_err(|error| format!("timestamp: {error}"))?;
            }
            "headers" => {
                for (name, raw) in
                    members(raw.get()).map_err(|error| format!("headers: {error}"))?
                {
                    record.headers.push((name, bytes(&raw)?));
                }
            }
            other => return Err(format!("unknown member {other:?}")),
        }
    }
    Ok(record)
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

fn bytes(raw: &RawValue) -> Result<Option<Vec<u8>>, String> {
    let value = match serde_json::from_str(raw.get()) {
        Ok(value) => value,
        Err(error) if raw.get().starts_with('"') => return Err(error.to_string()),
        // Numbers and depths that Rust makes nothing of stand for their text as any other.
        Err(_) => Value::Bool(false),
    };
    match value {
        Value::Null => Ok(None),
        Value::String(text) => Ok(Some(text.into_bytes())),
        Value::Object(members) if members.len() == 1 && members.contains_key("hex") => {
            let hex = members["hex"].as_str().unwrap_or_default();
            let bytes = unhex(hex).ok_or_else(|| format!("{hex:?} is not hexadecimal"))?;
            Ok(Some(bytes))
        }
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            Ok(Some(raw.get().as_bytes().to_vec()))
        }
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
        Ok(raw) if is_nested && self::bytes(raw).as_ref() == Ok(&Some(bytes.to_vec())) => {
            text.to_owned()
        }
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
        let hex = Rec::value(r#"{"hex":"00"}"#);
        let huge = Rec::value(r#"{"n":1e999,"s":"\ud800"}"#);
        for original in
            [plain, binary, hex, huge, Rec::tombstone("gone"), Rec::value(""), Rec::default()]
        {
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
