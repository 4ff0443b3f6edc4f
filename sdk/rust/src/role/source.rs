//! The role that brings records in.

use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::bindings::source::exports::brooklet::plugin::source as wire;
use crate::bindings::types::{HeaderColumns, OutBatch, PluginError};
use crate::column::ColumnBuilder;
use crate::error::{Error, short};
use crate::lifecycle::Context;

/// Brings records in. The host polls, one call at a time.
pub trait Source: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;
    /// Where to go on after what was polled. Kept by the host together with the records.
    type Position: Serialize + DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// How the work divides, into `tasks_max` parts at most. Called on an instance of its own.
    fn plan(&mut self, tasks_max: u32) -> Result<Vec<Split>, Error> {
        // A source that does not say how to divide its work is one task.
        assert!(tasks_max > 0, "at least one task");
        Ok(vec![Split::default()])
    }

    /// `position` is the last one that was kept, none the first time.
    fn start(&mut self, splits: Vec<Split>, position: Option<Self::Position>) -> Result<(), Error>;

    /// Pushes what there is, within the limits, waiting for it no longer than `limits.wait`.
    fn poll(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<Poll<Self::Position>, Error>;

    /// The records up to this position are safe: acknowledge upstream, delete from the queue, …
    fn committed(&mut self, position: Self::Position) -> Result<(), Error> {
        drop(position);
        Ok(())
    }

    /// The records up to this position were not kept. `start` follows, with the last one that was.
    fn aborted(&mut self, position: Self::Position) {
        drop(position);
    }
}

/// A part of a source's work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Split {
    /// Its name.
    pub id: String,
    /// What else is to be known of it.
    pub properties: Vec<(String, String)>,
}

/// How much may come of one poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Records.
    pub records: usize,
    /// Bytes of keys, values and headers. A single record may be longer.
    pub bytes: usize,
    /// Time to wait for a first record.
    pub wait: Duration,
}

/// What came of a poll, besides the records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Poll<P> {
    /// Where to go on after these records.
    pub position: P,
    /// More is there at once: poll again without waiting.
    pub more: bool,
}

/// The records of a poll. Columns that nobody uses are not made.
#[derive(Debug, Default)]
pub struct Outgoing {
    count: usize,
    keys: Option<ColumnBuilder>,
    values: ColumnBuilder,
    headers: Option<(Vec<u32>, ColumnBuilder, ColumnBuilder)>,
    timestamps: Option<Vec<i64>>,
    targets: Option<Vec<u32>>,
    partitions: Option<Vec<u32>>,
    bytes: usize,
}

/// A record to bring in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NewRecord<'a> {
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value.
    pub value: Option<&'a [u8]>,
    /// Its headers.
    pub headers: &'a [(&'a str, Option<&'a [u8]>)],
    /// Its time, milliseconds since the epoch; all records of a poll have one, or none of them has and
    /// the time of the poll counts.
    pub timestamp: Option<i64>,
    /// The index of its topic among those configured.
    pub target: u32,
    /// Its partition; all records of a poll have one, or none of them has and the topic's partitioner
    /// chooses.
    pub partition: Option<u32>,
}

impl Outgoing {
    /// Adds a record.
    pub fn push(&mut self, record: &NewRecord<'_>) {
        let before = self.count;
        optional(&mut self.timestamps, record.timestamp, before, "a timestamp");
        optional(&mut self.partitions, record.partition, before, "a partition");
        if record.key.is_some() && self.keys.is_none() {
            let mut keys = ColumnBuilder::default();
            (0..before).for_each(|_| keys.push(None));
            self.keys = Some(keys);
        }
        if let Some(keys) = &mut self.keys {
            keys.push(record.key);
        }
        self.values.push(record.value);
        if !record.headers.is_empty() && self.headers.is_none() {
            self.headers =
                Some((vec![0; before], ColumnBuilder::default(), ColumnBuilder::default()));
        }
        if let Some((counts, names, values)) = &mut self.headers {
            for (name, value) in record.headers {
                names.push(Some(name.as_bytes()));
                values.push(*value);
                self.bytes += name.len() + value.map_or(0, <[u8]>::len);
            }
            counts.push(short(record.headers.len()));
        }
        if record.target != 0 && self.targets.is_none() {
            self.targets = Some(vec![0; before]);
        }
        if let Some(targets) = &mut self.targets {
            targets.push(record.target);
        }
        self.bytes += record.key.map_or(0, <[u8]>::len) + record.value.map_or(0, <[u8]>::len);
        self.count += 1;
    }

    /// Adds a record that is nothing but a value.
    pub fn push_value(&mut self, value: &[u8]) {
        self.push(&NewRecord { value: Some(value), ..NewRecord::default() });
    }

    /// Number of records so far.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no record yet.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Whether one more record of `bytes` is within the limits. The first always is.
    pub fn has_room(&self, limits: &Limits, bytes: usize) -> bool {
        self.count == 0
            || (self.count < limits.records && self.bytes.saturating_add(bytes) <= limits.bytes)
    }

    fn finish(self) -> OutBatch {
        OutBatch {
            count: short(self.count),
            sources: None,
            targets: self.targets,
            partitions: self.partitions,
            keys: self.keys.map(ColumnBuilder::finish),
            values: Some(self.values.finish()),
            headers: self.headers.map(|(counts, names, values)| HeaderColumns {
                counts,
                names: names.finish(),
                values: values.finish(),
            }),
            timestamps: self.timestamps,
        }
    }
}

fn optional<T>(column: &mut Option<Vec<T>>, value: Option<T>, before: usize, what: &str) {
    match (column, value) {
        (Some(column), Some(value)) => column.push(value),
        (column @ None, Some(value)) if before == 0 => *column = Some(vec![value]),
        (None, None) => {}
        (Some(_), None) | (None, Some(_)) => {
            panic!("all records of a poll have {what}, or none has")
        }
    }
}

/// One call of the host: how the work divides.
pub fn plan<S: Source>(plugin: &mut S, tasks_max: u32) -> Result<Vec<wire::Split>, PluginError> {
    let splits = plugin.plan(tasks_max)?;
    assert!(splits.len() <= tasks_max as usize, "more parts than tasks");
    let wire = |split: Split| wire::Split { id: split.id, properties: split.properties };
    Ok(splits.into_iter().map(wire).collect())
}

/// One call of the host: begin, or begin again.
pub fn start<S: Source>(
    plugin: &mut S,
    splits: Vec<wire::Split>,
    position: Option<&[u8]>,
) -> Result<(), PluginError> {
    let position = position.map(read_position).transpose()?;
    let split = |split: wire::Split| Split { id: split.id, properties: split.properties };
    Ok(plugin.start(splits.into_iter().map(split).collect(), position)?)
}

/// One call of the host: what is there.
pub fn poll<S: Source>(plugin: &mut S, limits: wire::Limits) -> Result<wire::Polled, PluginError> {
    let limits = Limits {
        records: limits.max_records as usize,
        bytes: limits.max_bytes as usize,
        wait: Duration::from_millis(limits.max_wait_ms.into()),
    };
    let mut out = Outgoing::default();
    let Poll { position, more } = plugin.poll(&limits, &mut out)?;
    let position = serde_json::to_vec(&position);
    let position = position.map_err(|error| Error::fatal(format!("the position: {error}")))?;
    Ok(wire::Polled { records: out.finish(), position, more })
}

/// One call of the host: these are safe.
pub fn committed<S: Source>(plugin: &mut S, position: &[u8]) -> Result<(), PluginError> {
    Ok(plugin.committed(read_position(position)?)?)
}

/// One call of the host: these are not.
pub fn aborted<S: Source>(plugin: &mut S, position: &[u8]) {
    // A position that can't be read was never ours, and then there is nothing to take back.
    if let Ok(position) = read_position(position) {
        plugin.aborted(position);
    }
}

fn read_position<P: DeserializeOwned>(position: &[u8]) -> Result<P, PluginError> {
    let read = serde_json::from_slice(position);
    read.map_err(|error| PluginError::BadInput(format!("the position that was kept: {error}")))
}
