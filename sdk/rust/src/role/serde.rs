//! The role that turns bytes on the wire into JSON and back.

use serde::de::DeserializeOwned;

use crate::bindings::serde::exports::brooklet::plugin::serde as wire;
use crate::bindings::types::{Blobs, PluginError, Reject as WireReject};
use crate::column::{Column, ColumnBuilder};
use crate::error::{Error, Reject};
use crate::lifecycle::Context;

/// Turns bytes on the wire into canonical JSON and back. Null stays null without being asked about.
pub trait Serde: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// Appends the JSON of `data` to `json`.
    fn deserialize(
        &mut self,
        subject: &Subject,
        data: &[u8],
        json: &mut Vec<u8>,
    ) -> Result<(), Reject>;

    /// Appends the wire bytes of `json` to `data`.
    fn serialize(
        &mut self,
        subject: &Subject,
        json: &[u8],
        data: &mut Vec<u8>,
    ) -> Result<(), Reject>;

    /// Whether these wire bytes may be stored. Everything that can be read may, unless a serde knows
    /// better or faster.
    fn check(&mut self, subject: &Subject, data: &[u8]) -> Result<(), Reject> {
        self.deserialize(subject, data, &mut Vec::new())
    }
}

/// Whose bytes they are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The topic.
    pub topic: String,
    /// Which part of its records.
    pub part: Part,
}

impl Subject {
    /// As a registry names it by default: `flights-value`.
    pub fn name(&self) -> String {
        let part = match self.part {
            Part::Key => "key",
            Part::Value => "value",
        };
        format!("{}-{part}", self.topic)
    }
}

/// Part of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Part {
    /// Its key.
    Key,
    /// Its value.
    Value,
}

impl From<wire::Subject> for Subject {
    fn from(subject: wire::Subject) -> Subject {
        let part = match subject.part {
            wire::Part::Key => Part::Key,
            wire::Part::Value => Part::Value,
        };
        Subject { topic: subject.topic, part }
    }
}

/// One call of the host: wire bytes to JSON.
pub fn deserialize<S: Serde>(
    plugin: &mut S,
    subject: wire::Subject,
    data: &Blobs,
) -> Result<wire::Converted, PluginError> {
    let subject = subject.into();
    Ok(convert(data, |entry, out| plugin.deserialize(&subject, entry, out)))
}

/// One call of the host: JSON to wire bytes.
pub fn serialize<S: Serde>(
    plugin: &mut S,
    subject: wire::Subject,
    data: &Blobs,
) -> Result<wire::Converted, PluginError> {
    let subject = subject.into();
    Ok(convert(data, |entry, out| plugin.serialize(&subject, entry, out)))
}

/// One call of the host: which of these may not be stored.
pub fn check<S: Serde>(
    plugin: &mut S,
    subject: wire::Subject,
    data: &Blobs,
) -> Result<Option<Vec<WireReject>>, PluginError> {
    let subject = subject.into();
    let mut rejects = Vec::new();
    for (index, entry) in Column::new(data).iter().enumerate() {
        let checked = entry.map_or(Ok(()), |entry| plugin.check(&subject, entry));
        rejects.extend(checked.err().map(|reject| reject.at(index)));
    }
    Ok(some(rejects))
}

fn convert(
    data: &Blobs,
    mut one: impl FnMut(&[u8], &mut Vec<u8>) -> Result<(), Reject>,
) -> wire::Converted {
    let column = Column::new(data);
    let mut out = ColumnBuilder::with_capacity(column.len(), data.data.len());
    let mut rejects = Vec::new();
    for (index, entry) in column.iter().enumerate() {
        let Some(entry) = entry else {
            out.push(None);
            continue;
        };
        if let Err(reject) = out.push_with(|out| one(entry, out)) {
            out.push(None);
            rejects.push(reject.at(index));
        }
    }
    wire::Converted { data: out.finish(), rejects: some(rejects) }
}

/// None rather than empty: a list that crosses the border costs, even if there is nothing in it.
pub(super) fn some<T>(list: Vec<T>) -> Option<Vec<T>> {
    if list.is_empty() { None } else { Some(list) }
}
