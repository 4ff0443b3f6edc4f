//! Dead letters: records that a plugin could not handle, with the reason in their headers.

use brooklet_hook::{DeadLetter, Place};
use brooklet_wire::batch::Records;

use crate::error::Failure;

const OFFSET: &[u8] = b"brooklet.error.offset";

/// Which plugin it was.
#[derive(Clone, Copy, Debug)]
pub(crate) struct About<'a> {
    pub(crate) plugin: &'a str,
    pub(crate) version: &'a str,
}

/// Where a record was when it could not be handled.
#[derive(Clone, Copy, Debug)]
pub(crate) struct From<'a> {
    pub(crate) room: About<'a>,
    pub(crate) place: Place<'a>,
    /// Only what is stored has an offset.
    pub(crate) is_view: bool,
}

/// What was wrong with it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Reason {
    pub(crate) code: String,
    pub(crate) message: String,
}

/// One letter for each record of `indexes`, ascending.
pub(crate) fn letters(
    topic: &str,
    from: &From<'_>,
    opened: &Records<'_>,
    indexes: &[u32],
    reason: impl Fn(u32) -> Reason,
) -> Result<Vec<DeadLetter>, Failure> {
    let mut letters = Vec::with_capacity(indexes.len());
    let mut due = indexes.iter().copied().peekable();
    for (index, record) in (0_u32..).zip(opened.iter()) {
        let record = record.map_err(|error| Failure::BadInput(error.to_string()))?;
        if due.next_if_eq(&index).is_none() {
            continue;
        }
        let own =
            record.headers.clone().map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        let mut headers: Vec<(Vec<u8>, Option<Vec<u8>>)> = own.collect();
        let Reason { code, message } = reason(index);
        let mut add = |name: &str, value: String| {
            headers.push((format!("brooklet.error.{name}").into_bytes(), Some(value.into_bytes())));
        };
        add("plugin", from.room.plugin.to_owned());
        add("version", from.room.version.to_owned());
        add("topic", from.place.topic.to_string());
        add("partition", from.place.partition.0.to_string());
        add("code", code);
        add("message", message);
        if from.is_view {
            headers.push((OFFSET.to_vec(), Some(record.offset.value().to_string().into_bytes())));
        }
        letters.push(DeadLetter {
            topic: topic.to_owned(),
            timestamp: record.timestamp.0,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers,
        });
    }
    Ok(letters)
}

/// The offset of the record that a letter is about, if it had one.
pub(crate) fn offset(letter: &DeadLetter) -> Option<u64> {
    let (_, value) = letter.headers.iter().rev().find(|(name, _)| name == OFFSET)?;
    std::str::from_utf8(value.as_deref()?).ok()?.parse().ok()
}
