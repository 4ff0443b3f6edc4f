//! One line of a history: what a process began to do, or how it ended.
//!
//! The form in JSON is this module's types as serde writes them; the crate's documentation shows every kind of line.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};

/// One line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Event<'a> {
    /// Nanoseconds since the history began. No line is earlier than the one before it.
    pub time: u64,
    /// Who: one producer, or one consumer, or both, from its start to its end.
    pub process: u32,
    /// Whether it begins or how it ended.
    #[serde(rename = "type")]
    pub kind: Kind,
    /// What is done.
    #[serde(borrow)]
    pub op: Op<'a>,
}

/// Whether an operation begins or how it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// It begins.
    Invoke,
    /// It was done.
    Ok,
    /// It was not done, and never will be.
    Fail,
    /// Nobody knows: it may have been done, or may be done later.
    Info,
}

/// What a process does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Op<'a> {
    /// Records are sent. A completion may name fewer of them than one invocation, or those of several.
    Send(#[serde(borrow)] Vec<Sent<'a>>),
    /// A consumer asks for what comes next.
    Poll(#[serde(borrow)] Polled<'a>),
    /// A consumer takes these partitions, and goes on where it was in those it had.
    Assign(Vec<Cow<'a, str>>),
    /// A consumer joins a group, which tells it its partitions.
    Subscribe {
        /// The group's name.
        group: Cow<'a, str>,
    },
    /// A consumer moves: what it polls next begins at these offsets.
    Seek(Vec<Position<'a>>),
    /// A consumer has read the partitions from their beginning to their ends, which it asked for when this was invoked.
    End(Vec<Position<'a>>),
    /// A consumer is gone. If the process goes on, it does so as another.
    Close,
}

/// A record of a producer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sent<'a> {
    /// Where to, such as `flights-3`.
    #[serde(borrow)]
    pub partition: Cow<'a, str>,
    /// What: a number that nobody else sends to this partition.
    pub value: u64,
    /// Where the broker said it lies, if it was acknowledged and the broker said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub offset: Option<u64>,
}

/// What came of a poll.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Polled<'a> {
    /// The records of each partition, in the order in which they came.
    #[serde(borrow, default, skip_serializing_if = "Vec::is_empty")]
    pub partitions: Vec<PolledPartition<'a>>,
    /// Partitions that were given to the consumer or taken from it since its last poll.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rebalanced: Vec<Cow<'a, str>>,
}

/// Records of one partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolledPartition<'a> {
    /// Where they came from.
    #[serde(borrow)]
    pub partition: Cow<'a, str>,
    /// Offset and value of each.
    pub records: Vec<(u64, u64)>,
}

/// A place in a partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Position<'a> {
    /// Which partition.
    #[serde(borrow)]
    pub partition: Cow<'a, str>,
    /// The offset of the next record.
    pub offset: u64,
}
