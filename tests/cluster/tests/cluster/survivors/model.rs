//! What each policy is to leave, written down once more: by key, over all records at once, and with the host's
//! part in it.

use std::collections::BTreeMap;

use serde_json::{Map, Value};

use super::history::Record;

/// Which of a key's records stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rule {
    /// The last so many, from the last tombstone on.
    KeepN(usize),
    /// The one with the latest time.
    Time,
    /// The one with the highest version; none is the lowest.
    Version,
    /// The last, with what the ones before it said.
    Merge,
    /// The last, for so many milliseconds.
    Ttl(i64),
}

/// A record that is to be left.
#[derive(Clone, Debug)]
pub(super) struct Left {
    record: Record,
    /// What its value has to say, if it may be written otherwise than it was.
    document: Option<Value>,
}

impl Left {
    pub(super) fn as_it_was(record: Record) -> Left {
        Left { record, document: None }
    }

    pub(super) fn check(&self, context: &str, found: &Record) {
        let Some(document) = &self.document else {
            assert_eq!(*found, self.record, "{context}");
            return;
        };
        let value = found.value.clone();
        assert_eq!(*found, Record { value, ..self.record.clone() }, "{context}");
        assert_eq!(read_one(Value::Null, found), *document, "{context}: {found:?}");
    }
}

/// What is left of closed records by a cleaning at the time `now`, oldest first. Tombstones from before `horizon`
/// are over for the policy; those before the offset `seen_until` are over for the host, which an earlier
/// cleaning has shown them to.
pub(super) fn left(
    rule: Rule,
    closed: &[Record],
    now: i64,
    horizon: i64,
    seen_until: u64,
) -> Vec<Left> {
    let mut keys: BTreeMap<Option<&str>, Vec<&Record>> = BTreeMap::new();
    let mut all = Vec::new();
    for record in closed {
        match &record.key {
            Some(key) => keys.entry(Some(key)).or_default().push(record),
            // Without a key it has nothing in common with any other.
            None => all.extend(left_of_key(rule, &[record], now, horizon, seen_until)),
        }
    }
    for records in keys.values() {
        all.extend(left_of_key(rule, records, now, horizon, seen_until));
    }
    all.sort_by_key(|left| left.record.offset);
    all
}

fn left_of_key(
    rule: Rule,
    records: &[&Record],
    now: i64,
    horizon: i64,
    seen_until: u64,
) -> Vec<Left> {
    let last = *records.last().expect("a key has a record");
    let chosen: Vec<&Record> = match rule {
        Rule::KeepN(n) => {
            let begin = records.iter().rposition(|record| record.value.is_none()).unwrap_or(0);
            let history = &records[begin..];
            history[history.len().saturating_sub(n)..].to_vec()
        }
        Rule::Time => {
            records.iter().copied().max_by_key(|it| (it.time, it.offset)).into_iter().collect()
        }
        Rule::Version => {
            records.iter().copied().max_by_key(|it| (version(it), it.offset)).into_iter().collect()
        }
        Rule::Merge => vec![last],
        Rule::Ttl(ms) => Some(last).filter(|it| it.time >= now - ms).into_iter().collect(),
    };
    let is_over = |record: &Record| record.value.is_none() && record.time < horizon;
    let mut left: Vec<Left> = Vec::new();
    for record in records {
        let is_chosen = chosen.iter().any(|it| it.offset == record.offset) && !is_over(record);
        let stays = match &record.value {
            Some(_) => is_chosen,
            // The host's word: the last of a key stays for a while, and none for longer than that.
            None => {
                let is_latest = record.offset == last.offset && record.key.is_some();
                record.offset >= seen_until && (is_chosen || is_latest)
            }
        };
        if stays {
            let document = (rule == Rule::Merge && record.value.is_some())
                .then(|| records.iter().fold(Value::Null, |state, it| read_one(state, it)));
            left.push(Left { record: (*record).clone(), document });
        }
    }
    left
}

/// The version in the last header of that name.
fn version(record: &Record) -> Option<i64> {
    let (_, value) = record.headers.iter().rfind(|(name, _)| name == "v")?;
    value.as_ref()?.parse().ok()
}

/// What a reader who takes values for patches (RFC 7396) knows after one more.
fn read_one(state: Value, record: &Record) -> Value {
    let Some(value) = &record.value else { return Value::Null };
    match serde_json::from_str(value) {
        Ok(patch) => merge_patch(state, patch),
        Err(_) => Value::String(value.clone()),
    }
}

fn merge_patch(state: Value, patch: Value) -> Value {
    let Value::Object(patch) = patch else { return patch };
    let mut members = if let Value::Object(members) = state { members } else { Map::new() };
    for (name, value) in patch {
        let before = members.remove(&name).unwrap_or(Value::Null);
        if !value.is_null() {
            members.insert(name, merge_patch(before, value));
        }
    }
    Value::Object(members)
}

/// Whoever has read up to anywhere before the cleaning, and reads on in what it has left, arrives where all
/// records lead.
pub(super) fn check_readers(context: &str, before: &[Record], left: &[Record]) {
    let read = |state: &mut BTreeMap<String, Value>, record: &Record| {
        let Some(key) = &record.key else { return };
        let known = state.remove(key).unwrap_or(Value::Null);
        state.insert(key.clone(), read_one(known, record));
    };
    let mut everything = BTreeMap::new();
    before.iter().for_each(|record| read(&mut everything, record));
    everything.retain(|_, value| !value.is_null());
    let mut state = BTreeMap::new();
    for began in before {
        let mut arrived = state.clone();
        left.iter().filter(|it| it.offset >= began.offset).for_each(|it| read(&mut arrived, it));
        arrived.retain(|_, value| !value.is_null());
        assert_eq!(arrived, everything, "{context}: read on from {}", began.offset);
        read(&mut state, began);
    }
}
