//! Record batches (v2) as values: what a script leaves out is what a sane producer would write.
//!
//! Written without `brooklet-wire` on purpose, like [`crate::codec`]. A field that a script names
//! overrides the sane value, so a script can write any broken batch:
//!
//! - `records: ["a", {key: "k", value: "v", at: @5, offset: 1, headers: [["h", "x"]]}]`, or
//!   `payload: 0x…` with `count`: what stands behind the header, as it is
//! - `base_offset leader_epoch attributes last_offset_delta base_timestamp max_timestamp
//!   producer_id producer_epoch base_sequence count length magic`
//! - `crc: "wrong"`, and `tail: 0x…`, bytes behind the batch
//!
//! Printing leaves out what is as expected, so a batch in a transcript shows what matters.

use crate::codec::readable;
use crate::value::Value;

const HEADER_BYTES: usize = 61;
/// Bytes in front of what the batch's length counts.
const LENGTH_END: usize = 12;
/// The checksum covers everything from the attributes on.
const CRC_END: usize = 21;
/// The lower bits of the attributes name the codec.
const CODEC_MASK: i64 = 7;

/// One batch. `base` is the time that `@0` stands for.
pub fn encode(value: &Value, base: i64) -> Vec<u8> {
    let int = |name: &str, sane: i64| match value.field(name) {
        None => sane,
        Some(Value::Int(given)) => *given,
        Some(Value::Time(given)) => base + given,
        Some(other) => panic!("{name}: {other} is not a number"),
    };
    let empty = Value::List(Vec::new());
    let Value::List(records) = value.field("records").unwrap_or(&empty) else {
        panic!("records are a list");
    };
    let times: Vec<i64> = records.iter().map(|record| time_of(record, base)).collect();
    let first = int("base_timestamp", times.first().copied().unwrap_or(base));
    let max = times.iter().copied().max().unwrap_or(first);
    let payload = match value.field("payload") {
        Some(Value::Bytes(bytes)) => bytes.clone(),
        _ => (0i64..).zip(records).flat_map(|(at, value)| record(value, at, first, base)).collect(),
    };
    let count = int("count", records.len() as i64);

    let mut checked = Vec::new();
    put(&mut checked, 2, int("attributes", 0));
    put(&mut checked, 4, int("last_offset_delta", count - 1));
    put(&mut checked, 8, first);
    put(&mut checked, 8, int("max_timestamp", max));
    put(&mut checked, 8, int("producer_id", -1));
    put(&mut checked, 2, int("producer_epoch", -1));
    put(&mut checked, 4, int("base_sequence", -1));
    put(&mut checked, 4, count);
    checked.extend(payload);

    let mut batch = Vec::new();
    put(&mut batch, 8, int("base_offset", 0));
    put(&mut batch, 4, int("length", (checked.len() + CRC_END - LENGTH_END) as i64));
    put(&mut batch, 4, int("leader_epoch", -1));
    put(&mut batch, 1, int("magic", 2));
    let crc = crc32c(&checked) ^ u32::from(value.field("crc").is_some());
    batch.extend(crc.to_be_bytes());
    batch.extend(checked);
    if let Some(Value::Bytes(tail)) = value.field("tail") {
        batch.extend(tail);
    }
    batch
}

/// The batches in `bytes`, with a last one that is cut short as `{cut: bytes}`.
pub fn decode(mut bytes: &[u8]) -> Result<Value, String> {
    let mut batches = Vec::new();
    while !bytes.is_empty() {
        let length = bytes.get(8..LENGTH_END).map_or(usize::MAX, |length| get(length) as usize);
        let end = length.saturating_add(LENGTH_END);
        let Some((batch, rest)) = bytes.split_at_checked(end) else {
            let cut = Value::Int(bytes.len() as i64);
            batches.push(Value::Record(vec![("cut".to_owned(), cut)]));
            break;
        };
        batches.push(one(batch)?);
        bytes = rest;
    }
    Ok(Value::List(batches))
}

fn one(batch: &[u8]) -> Result<Value, String> {
    let (header, payload) = batch.split_at_checked(HEADER_BYTES).ok_or("a batch without header")?;
    let number = |from: usize, to: usize| get(&header[from..to]);
    let count = number(57, 61);
    let attributes = number(21, 23);
    let (first, max) = (number(27, 35), number(35, 43));
    let mut fields = vec![("base_offset".to_owned(), Value::Int(number(0, 8)))];
    let mut unless = |name: &str, value: i64, expected: i64| {
        if value != expected {
            fields.push((name.to_owned(), Value::Int(value)));
        }
    };
    unless("leader_epoch", number(12, 16), -1);
    unless("magic", number(16, 17), 2);
    unless("attributes", attributes, 0);
    unless("last_offset_delta", number(23, 27), count - 1);
    unless("base_timestamp", first, i64::MIN);
    unless("max_timestamp", max, first);
    unless("producer_id", number(43, 51), -1);
    unless("producer_epoch", number(51, 53), -1);
    unless("base_sequence", number(53, 57), -1);
    if get(&header[17..21]) as u32 != crc32c(&batch[CRC_END..]) {
        fields.push(("crc".to_owned(), Value::Text("wrong".to_owned())));
    }
    if attributes & CODEC_MASK == 0 && (0..=payload.len() as i64).contains(&count) {
        let mut reader = Records { rest: payload };
        let records: Result<Vec<_>, _> = (0..count).map(|at| reader.record(at, first)).collect();
        fields.push(("records".to_owned(), Value::List(records?)));
    } else {
        fields.push(("count".to_owned(), Value::Int(count)));
        fields.push(("payload".to_owned(), Value::Bytes(payload.to_vec())));
    }
    Ok(Value::Record(fields))
}

fn time_of(record: &Value, base: i64) -> i64 {
    match record.field("at") {
        Some(Value::Time(at)) => base + at,
        Some(Value::Int(at)) => *at,
        _ => base,
    }
}

fn record(value: &Value, at: i64, first: i64, base: i64) -> Vec<u8> {
    let text = |value: Option<&Value>| match value {
        Some(Value::Text(text)) => Some(text.as_bytes().to_vec()),
        Some(Value::Bytes(bytes)) => Some(bytes.clone()),
        _ => None,
    };
    let (key, content) = match value {
        Value::Record(_) => (text(value.field("key")), text(value.field("value"))),
        other => (None, text(Some(other))),
    };
    let offset = match value.field("offset") {
        Some(Value::Int(offset)) => *offset,
        _ => at,
    };
    let mut body = vec![0];
    varint(time_of(value, base) - first, &mut body);
    varint(offset, &mut body);
    counted(key.as_deref(), &mut body);
    counted(content.as_deref(), &mut body);
    let empty = Vec::new();
    let headers = match value.field("headers") {
        Some(Value::List(headers)) => headers,
        _ => &empty,
    };
    varint(headers.len() as i64, &mut body);
    for header in headers {
        counted(text(header.at("0")).as_deref(), &mut body);
        counted(text(header.at("1")).as_deref(), &mut body);
    }
    let mut whole = Vec::new();
    varint(body.len() as i64, &mut whole);
    whole.extend(body);
    whole
}

fn counted(bytes: Option<&[u8]>, out: &mut Vec<u8>) {
    varint(bytes.map_or(-1, |bytes| bytes.len() as i64), out);
    out.extend(bytes.unwrap_or_default());
}

struct Records<'a> {
    rest: &'a [u8],
}

impl<'a> Records<'a> {
    fn record(&mut self, at: i64, first: i64) -> Result<Value, String> {
        let _length = self.varint()?;
        let _attributes = self.take(1)?;
        let time = first + self.varint()?;
        let offset = self.varint()?;
        let (key, value) = (self.counted()?, self.counted()?);
        let headers: Result<Vec<_>, String> = (0..self.varint()?)
            .map(|_| Ok(Value::List(vec![self.counted()?, self.counted()?])))
            .collect();
        let headers = headers?;
        let plain = key == Value::Null && time == first && offset == at && headers.is_empty();
        if plain && matches!(value, Value::Text(_) | Value::Bytes(_)) {
            return Ok(value);
        }
        let mut fields = vec![("key".to_owned(), key), ("value".to_owned(), value)];
        if time != first {
            fields.push(("at".to_owned(), Value::Int(time)));
        }
        if offset != at {
            fields.push(("offset".to_owned(), Value::Int(offset)));
        }
        if !headers.is_empty() {
            fields.push(("headers".to_owned(), Value::List(headers)));
        }
        Ok(Value::Record(fields))
    }

    fn counted(&mut self) -> Result<Value, String> {
        match usize::try_from(self.varint()?) {
            Ok(length) => self.take(length).map(readable),
            Err(_) => Ok(Value::Null),
        }
    }

    fn varint(&mut self) -> Result<i64, String> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.take(1)?[0];
            value |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Ok((value >> 1) as i64 ^ -((value & 1) as i64));
            }
        }
        Err("a varint without an end".to_owned())
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.rest.split_at_checked(length).ok_or("a record ends too early")?;
        self.rest = rest;
        Ok(taken)
    }
}

fn varint(value: i64, out: &mut Vec<u8>) {
    let mut value = (value << 1 ^ value >> 63) as u64;
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put(out: &mut Vec<u8>, size: usize, value: i64) {
    out.extend(&value.to_be_bytes()[8 - size..]);
}

/// A signed big-endian number of at most eight bytes.
fn get(bytes: &[u8]) -> i64 {
    let start = if bytes[0] & 0x80 == 0 { 0 } else { -1 };
    bytes.iter().fold(start, |value, byte| value << 8 | i64::from(*byte))
}

/// CRC-32C, bit by bit: transcripts are small.
fn crc32c(bytes: &[u8]) -> u32 {
    const POLYNOMIAL: u32 = 0x82f6_3b78;
    !bytes.iter().fold(!0, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| crc >> 1 ^ (POLYNOMIAL * (crc & 1)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_checksum_is_castagnolis() {
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_batch_is_read_back_as_it_was_written() {
        let text = r#"{base_offset: 7, producer_id: 3, producer_epoch: 0, base_sequence: 5,
            records: ["a", {key: "k", value: null, at: @4, headers: [["h", "x"]]}]}"#;
        let bytes = encode(&Value::parse(text).unwrap(), 1000);
        let back = decode(&bytes).unwrap().to_string();
        expect_test::expect![[r#"[{base_offset: 7, base_timestamp: 1000, max_timestamp: 1004, producer_id: 3, producer_epoch: 0, base_sequence: 5, records: ["a", {key: "k", value: null, at: 1004, headers: [["h", "x"]]}]}]"#]]
        .assert_eq(&back);
    }
}
