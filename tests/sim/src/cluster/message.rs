//! Changes to messages of the quorum, for bugs that are planted: the protobuf fields of raft's message, as far as
//! they matter here.

use bytes::{Bytes, BytesMut};

/// What stands before raft's message: a version, the cluster's id, and the sender.
const ENVELOPE_BYTES: usize = 1 + 16 + 20;

// Numbers of fields, and of kinds of messages, in eraftpb.proto.
const KIND: u64 = 1;
const TERM: u64 = 4;
const ENTRIES: u64 = 7;
const COMMIT: u64 = 8;
const SNAPSHOT: u64 = 9;
const APPEND: u64 = 3;
const ENTRY_TERM: u64 = 2;
const ENTRY_INDEX: u64 = 3;
const SNAPSHOT_METADATA: u64 = 2;
const METADATA_INDEX: u64 = 2;

/// One field: a number, or bytes.
#[derive(Clone, Debug)]
enum Value {
    Number(u64),
    Bytes(Vec<u8>),
}

type Fields = Vec<(u64, Value)>;

/// An append that names what it brings from an earlier term as committed.
pub(crate) fn commit_from_earlier_term(message: &Bytes) -> Bytes {
    changed(message, |fields| {
        if number(fields, KIND) != APPEND {
            return;
        }
        let term = number(fields, TERM);
        let of_entry = |value: &Value| {
            let Value::Bytes(bytes) = value else { return None };
            let entry = parse(bytes)?;
            (number(&entry, ENTRY_TERM) < term).then(|| number(&entry, ENTRY_INDEX))
        };
        let entries = fields.iter().filter(|(field, _)| *field == ENTRIES);
        let earlier = entries.filter_map(|(_, value)| of_entry(value)).max();
        if let Some(index) = earlier.filter(|index| *index > number(fields, COMMIT)) {
            set(fields, COMMIT, index);
        }
    })
}

/// A snapshot that stands for one entry more than it has.
pub(crate) fn short_snapshot(message: &Bytes) -> Bytes {
    changed(message, |fields| {
        inside(fields, SNAPSHOT, |snapshot| {
            inside(snapshot, SNAPSHOT_METADATA, |metadata| {
                let index = number(metadata, METADATA_INDEX);
                if index > 0 {
                    set(metadata, METADATA_INDEX, index + 1);
                }
            });
        });
    })
}

fn changed(message: &Bytes, change: impl FnOnce(&mut Fields)) -> Bytes {
    let (envelope, raft) = message.split_at(ENVELOPE_BYTES);
    let mut fields = parse(raft).expect("a message of ours");
    change(&mut fields);
    let mut bytes = BytesMut::from(envelope);
    bytes.extend_from_slice(&written(&fields));
    bytes.freeze()
}

/// Changes the message in a field, if there is one.
fn inside(fields: &mut Fields, field: u64, change: impl FnOnce(&mut Fields)) {
    let found = fields.iter_mut().find(|(number, _)| *number == field);
    let Some((_, Value::Bytes(bytes))) = found else { return };
    let mut inner = parse(bytes).expect("a message of ours");
    change(&mut inner);
    *bytes = written(&inner);
}

/// The number in a field; one that is not there is 0.
fn number(fields: &Fields, field: u64) -> u64 {
    let found = fields.iter().find_map(|(number, value)| match value {
        Value::Number(value) if *number == field => Some(*value),
        Value::Number(_) | Value::Bytes(_) => None,
    });
    found.unwrap_or(0)
}

fn set(fields: &mut Fields, field: u64, value: u64) {
    fields.retain(|(number, _)| *number != field);
    fields.push((field, Value::Number(value)));
}

/// The fields of a message that has no others than these two kinds.
fn parse(mut bytes: &[u8]) -> Option<Fields> {
    let mut fields = Fields::new();
    while !bytes.is_empty() {
        let key = varint(&mut bytes)?;
        let value = varint(&mut bytes)?;
        let value = match key & 7 {
            0 => Value::Number(value),
            2 => {
                let (inner, rest) = bytes.split_at_checked(usize::try_from(value).ok()?)?;
                bytes = rest;
                Value::Bytes(inner.to_vec())
            }
            _ => return None,
        };
        fields.push((key >> 3, value));
    }
    Some(fields)
}

fn varint(bytes: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

fn written(fields: &Fields) -> Vec<u8> {
    let mut bytes = Vec::new();
    for (field, value) in fields {
        match value {
            Value::Number(value) => {
                put(field << 3, &mut bytes);
                put(*value, &mut bytes);
            }
            Value::Bytes(inner) => {
                put(field << 3 | 2, &mut bytes);
                put(u64::try_from(inner.len()).expect("small"), &mut bytes);
                bytes.extend_from_slice(inner);
            }
        }
    }
    bytes
}

fn put(mut value: u64, bytes: &mut Vec<u8>) {
    while value >= 0x80 {
        bytes.push(u8::try_from(value & 0x7f).expect("seven bits") | 0x80);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).expect("seven bits"));
}
