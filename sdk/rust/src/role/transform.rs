//! The role that changes or drops records.

use serde::de::DeserializeOwned;

use super::serde::some;
use crate::batch::{Batch, Record};
use crate::bindings::transform::exports::brooklet::plugin::transform as wire;
use crate::bindings::types::{self, Columns, HeaderColumns, OutBatch, PluginError};
use crate::column::{Column, ColumnBuilder};
use crate::error::{Error, Reject, short};
use crate::lifecycle::Context;

/// Changes, drops or passes records, each by itself. `#[brooklet::transform]` makes one of a function.
pub trait Transform: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// The columns it looks at; what it does not ask for is not copied.
    fn columns(&self) -> Columns {
        Columns::all()
    }

    /// Says for each record, in their order, what becomes of it.
    fn transform(&mut self, batch: &Batch<'_>, out: &mut Output<'_>) -> Result<(), Error>;
}

/// What becomes of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// It stays as it is.
    Keep,
    /// It goes.
    Drop,
    /// It gets another value, key, …
    Change(Change),
}

/// Changes to a record. What is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
    key: Option<Option<Vec<u8>>>,
    value: Option<Option<Vec<u8>>>,
    headers: Option<HeaderList>,
    timestamp: Option<i64>,
}

/// Names with their values; a value may be null.
pub type HeaderList = Vec<(Vec<u8>, Option<Vec<u8>>)>;

impl Change {
    /// No change yet.
    pub fn new() -> Change {
        Change::default()
    }

    /// Another key.
    #[must_use]
    pub fn key(mut self, key: Option<Vec<u8>>) -> Change {
        self.key = Some(key);
        self
    }

    /// Another value; none makes it a tombstone.
    #[must_use]
    pub fn value(mut self, value: Option<Vec<u8>>) -> Change {
        self.value = Some(value);
        self
    }

    /// Other headers, all of them.
    #[must_use]
    pub fn headers(mut self, headers: HeaderList) -> Change {
        self.headers = Some(headers);
        self
    }

    /// Another time, milliseconds since the epoch.
    #[must_use]
    pub fn timestamp(mut self, timestamp: i64) -> Change {
        self.timestamp = Some(timestamp);
        self
    }
}

/// What a transform's function may return.
pub trait IntoAction {
    /// What becomes of the record, or why it could not be handled.
    fn into_action(self) -> Result<Action, Reject>;
}

impl IntoAction for Action {
    fn into_action(self) -> Result<Action, Reject> {
        Ok(self)
    }
}

impl IntoAction for Change {
    fn into_action(self) -> Result<Action, Reject> {
        Ok(Action::Change(self))
    }
}

/// True keeps.
impl IntoAction for bool {
    fn into_action(self) -> Result<Action, Reject> {
        Ok(if self { Action::Keep } else { Action::Drop })
    }
}

impl<T: IntoAction> IntoAction for Result<T, Reject> {
    fn into_action(self) -> Result<Action, Reject> {
        self.and_then(IntoAction::into_action)
    }
}

/// Takes down what becomes of each record. Columns come into being when something in them changes:
/// a batch of which everything is kept is answered with one word, one of which some is kept with a
/// bit per record.
#[derive(Debug)]
pub struct Output<'b> {
    batch: &'b Batch<'b>,
    /// Records judged so far.
    judged: usize,
    /// A bit per record, set if it goes on.
    kept: Vec<u8>,
    kept_count: usize,
    keys: Option<ColumnBuilder>,
    values: Option<ColumnBuilder>,
    headers: Option<HeaderColumn>,
    timestamps: Option<Vec<i64>>,
    rejects: Vec<types::Reject>,
}

#[derive(Debug, Default)]
struct HeaderColumn {
    counts: Vec<u32>,
    names: ColumnBuilder,
    values: ColumnBuilder,
}

impl HeaderColumn {
    fn push<'h>(&mut self, headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>) {
        let before = self.names.len();
        for (name, value) in headers {
            self.names.push(Some(name));
            self.values.push(value);
        }
        self.counts.push(short(self.names.len() - before));
    }
}

impl<'b> Output<'b> {
    #[doc(hidden)]
    pub fn new(batch: &'b Batch<'b>) -> Output<'b> {
        Output {
            batch,
            judged: 0,
            kept: vec![0; batch.len().div_ceil(8)],
            kept_count: 0,
            keys: None,
            values: None,
            headers: None,
            timestamps: None,
            rejects: Vec::new(),
        }
    }

    /// The next record stays as it is.
    #[inline]
    pub fn keep(&mut self) {
        self.check();
        let (batch, index) = (self.batch, self.judged);
        if let Some(keys) = &mut self.keys {
            keys.push(batch.record(index).key());
        }
        if let Some(values) = &mut self.values {
            values.push(batch.record(index).value());
        }
        if let Some(headers) = &mut self.headers {
            headers.push(batch.record(index).headers().map(|header| (header.name, header.value)));
        }
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.push(batch.record(index).timestamp());
        }
        self.go_on();
    }

    /// The next record goes.
    #[inline]
    pub fn discard(&mut self) {
        self.check();
        self.judged += 1;
    }

    /// The next record could not be handled.
    pub fn reject(&mut self, reject: Reject) {
        self.check();
        self.rejects.push(reject.at(self.judged));
        self.judged += 1;
    }

    /// The next record gets another value, none making it a tombstone, and else stays as it is.
    #[inline]
    pub fn value(&mut self, value: Option<&[u8]>) {
        self.start_values();
        let values = self.values.take();
        self.keep();
        self.values = values;
        if let Some(values) = &mut self.values {
            values.push(value);
        }
    }

    /// The next record changes.
    pub fn change(&mut self, change: &Change) {
        self.check();
        let record = self.batch.record(self.judged);
        if change.key.is_some() {
            self.start_keys();
        }
        if change.value.is_some() {
            self.start_values();
        }
        if change.headers.is_some() {
            self.start_headers();
        }
        if change.timestamp.is_some() {
            self.start_timestamps();
        }
        if let Some(keys) = &mut self.keys {
            keys.push(change.key.as_ref().map_or_else(|| record.key(), Option::as_deref));
        }
        if let Some(values) = &mut self.values {
            values.push(change.value.as_ref().map_or_else(|| record.value(), Option::as_deref));
        }
        if let Some(column) = &mut self.headers {
            match &change.headers {
                Some(list) => {
                    column.push(list.iter().map(|(name, value)| (&name[..], value.as_deref())))
                }
                None => column.push(record.headers().map(|header| (header.name, header.value))),
            }
        }
        if let Some(timestamps) = &mut self.timestamps {
            timestamps.push(change.timestamp.unwrap_or_else(|| record.timestamp()));
        }
        self.go_on();
    }

    /// Does what a function has said about the next record.
    pub fn act(&mut self, said: impl IntoAction) {
        match said.into_action() {
            Ok(Action::Keep) => self.keep(),
            Ok(Action::Drop) => self.discard(),
            Ok(Action::Change(change)) => self.change(&change),
            Err(reject) => self.reject(reject),
        }
    }

    #[inline]
    fn check(&self) {
        assert!(self.judged < self.batch.len(), "more was said than there are records");
    }

    fn go_on(&mut self) {
        self.kept[self.judged / 8] |= 1 << (self.judged % 8);
        self.kept_count += 1;
        self.judged += 1;
    }

    /// The records that have gone on so far: a column that begins late begins with theirs.
    fn gone_on(&self) -> impl Iterator<Item = Record<'b>> {
        let (batch, kept) = (self.batch, &self.kept);
        let records = batch.records().take(self.judged);
        records.filter(move |record| kept[record.index() / 8] & (1 << (record.index() % 8)) != 0)
    }

    fn start_keys(&mut self) {
        if self.keys.is_none() {
            self.keys = Some(self.copied(self.batch.keys()));
        }
    }

    #[inline]
    fn start_values(&mut self) {
        if self.values.is_none() {
            self.values = Some(self.copied(self.batch.values()));
        }
    }

    fn copied(&self, column: Column<'_>) -> ColumnBuilder {
        let mut builder = ColumnBuilder::with_capacity(self.batch.len(), column.bytes());
        for record in self.gone_on() {
            builder.push(column.get(record.index()));
        }
        builder
    }

    fn start_headers(&mut self) {
        if self.headers.is_none() {
            let mut column = HeaderColumn::default();
            for record in self.gone_on() {
                column.push(record.headers().map(|header| (header.name, header.value)));
            }
            self.headers = Some(column);
        }
    }

    fn start_timestamps(&mut self) {
        if self.timestamps.is_none() {
            self.timestamps = Some(self.gone_on().map(|record| record.timestamp()).collect());
        }
    }

    fn finish(self) -> wire::Transformed {
        let count = self.batch.len();
        assert_eq!(self.judged, count, "something has to be said about every record");
        let rejects = some(self.rejects);
        let changed = self.keys.is_some()
            || self.values.is_some()
            || self.headers.is_some()
            || self.timestamps.is_some();
        let outcome = if changed {
            let every = self.kept_count == count;
            let is_kept = |index: &u32| self.kept[*index as usize / 8] & (1 << (index % 8)) != 0;
            let sources = || (0..short(count)).filter(is_kept).collect();
            wire::Outcome::Emit(OutBatch {
                count: short(self.kept_count),
                sources: if every { None } else { Some(sources()) },
                targets: None,
                partitions: None,
                keys: self.keys.map(ColumnBuilder::finish),
                values: self.values.map(ColumnBuilder::finish),
                headers: self.headers.map(|headers| HeaderColumns {
                    counts: headers.counts,
                    names: headers.names.finish(),
                    values: headers.values.finish(),
                }),
                timestamps: self.timestamps,
            })
        } else if self.kept_count == count {
            wire::Outcome::Pass
        } else {
            wire::Outcome::Select(self.kept)
        };
        wire::Transformed { outcome, rejects }
    }
}

/// One call of the host.
pub fn run<T: Transform>(
    plugin: &mut T,
    columns: Columns,
    input: &types::Batch,
) -> Result<wire::Transformed, PluginError> {
    let batch = Batch::new(input, columns);
    let mut out = Output::new(&batch);
    plugin.transform(&batch, &mut out)?;
    Ok(out.finish())
}

#[cfg(test)]
mod tests;
