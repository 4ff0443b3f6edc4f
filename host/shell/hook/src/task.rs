//! The door for plugins that bring records in and take them out: sources and sinks, each working for one task of
//! a connector.
//!
//! **Where it sits.** Between whoever runs connectors and whatever runs plugins, as [`Hooks`](crate::Hooks) does
//! between the broker and plugins.
//!
//! **Invariants.** A task has one instance of its plugin to itself, from `source` or `sink` until it is dropped;
//! what the instance remembers is there in the next call. What it gives back was checked: lengths, order, and
//! indexes fit the question.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::Answer;

/// Those who have sources and sinks.
pub trait Tasks: fmt::Debug + Send + Sync {
    /// What a plugin can do as a connector. The error is for the administrator.
    fn class(&self, plugin: &str) -> Result<ConnectorClass, String>;

    /// Whether a plugin starts with this configuration.
    fn check<'a>(&'a self, task: &'a TaskSpec) -> Answer<'a, Result<(), TaskError>>;

    /// How the work of a source divides, into `tasks_max` parts at most.
    fn plan<'a>(
        &'a self,
        task: &'a TaskSpec,
        tasks_max: u32,
    ) -> Answer<'a, Result<Vec<Split>, TaskError>>;

    /// A source that has not begun.
    fn source<'a>(
        &'a self,
        task: &'a TaskSpec,
    ) -> Answer<'a, Result<Box<dyn SourceTask>, TaskError>>;

    /// A sink that has not begun.
    fn sink<'a>(&'a self, task: &'a TaskSpec) -> Answer<'a, Result<Box<dyn SinkTask>, TaskError>>;
}

/// What a plugin can do as a connector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectorClass {
    /// Its version.
    pub version: String,
    /// Whether it brings records in.
    pub is_source: bool,
    /// Whether it takes records out.
    pub is_sink: bool,
    /// Its configuration's schema, JSON; none if it says nothing about it.
    pub schema: Option<String>,
}

/// Which direction records go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// In.
    Source,
    /// Out.
    Sink,
}

/// One task as the plugin sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskSpec {
    /// The plugin's name.
    pub plugin: String,
    /// Which of its roles.
    pub direction: Direction,
    /// The connector it works for.
    pub connector: String,
    /// The task's number.
    pub task: u32,
    /// The plugin's configuration, a JSON object.
    pub config: String,
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
pub struct PollLimits {
    /// Records.
    pub records: u32,
    /// Bytes of keys, values and headers.
    pub bytes: u32,
    /// Time to wait for a first record.
    pub wait: Duration,
}

/// What came of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The records, in their order.
    pub records: Vec<NewRecord>,
    /// Where to go on after them.
    pub position: Vec<u8>,
    /// More is there at once.
    pub more: bool,
}

/// A record that a source brought.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewRecord {
    /// The index of its topic among those configured.
    pub target: u32,
    /// Its partition; none leaves it to the topic's partitioner.
    pub partition: Option<u32>,
    /// Its time, milliseconds; none is the time of the poll.
    pub timestamp: Option<i64>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// A record for a sink.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRecord {
    /// Its place in its partition.
    pub offset: i64,
    /// Its time, milliseconds.
    pub timestamp: i64,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value.
    pub value: Option<Bytes>,
    /// Its headers.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// A place in a partition: the next offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Progress {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset.
    pub next_offset: i64,
}

/// What a sink said about a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Records it could not write.
    pub rejects: Vec<Rejected>,
    /// Bytes that it holds and has not yet made safe.
    pub buffered_bytes: u64,
}

/// A record that could not be handled while its neighbours could.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Its index in the batch.
    pub index: usize,
    /// Short and stable.
    pub code: String,
    /// For the person who reads the dead letter.
    pub message: String,
}

/// Why a call to a task's plugin failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TaskError {
    /// What to do about it.
    pub kind: TaskErrorKind,
    /// For the person who looks after the connector.
    pub message: String,
}

/// What to do about a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TaskErrorKind {
    /// The same call may succeed later, on the same instance, after so long if it was said.
    Retry(Option<Duration>),
    /// This input can never succeed; the instance may go on.
    BadInput,
    /// The instance is gone; a new one may do better.
    Restart,
    /// Nothing helps but a person: the configuration is wrong, or something was not granted.
    Person,
}

impl fmt::Display for TaskError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)
    }
}

/// Tells a task's plugin that it is to end: it returns early from waiting.
pub type Stopper = Arc<dyn Fn() + Send + Sync>;

/// A source at work.
pub trait SourceTask: fmt::Debug + Send {
    /// `position` is the last one that was kept, none the first time.
    fn start(
        &mut self,
        splits: Vec<Split>,
        position: Option<Vec<u8>>,
    ) -> Answer<'_, Result<(), TaskError>>;

    /// Asks for records.
    fn poll(&mut self, limits: PollLimits) -> Answer<'_, Result<Polled, TaskError>>;

    /// The records up to this position are safe.
    fn committed(&mut self, position: Vec<u8>) -> Answer<'_, Result<(), TaskError>>;

    /// Ends a wait inside the plugin.
    fn stopper(&self) -> Stopper;

    /// Whether another version of the plugin is in use now.
    fn is_outdated(&self) -> bool;
}

/// A sink at work.
pub trait SinkTask: fmt::Debug + Send {
    /// What it will be given. It may answer with places that its target knows better.
    fn start(&mut self, assigned: Vec<Progress>) -> Answer<'_, Result<Vec<Progress>, TaskError>>;

    /// Gives it records of one partition.
    fn write<'a>(
        &'a mut self,
        topic: &'a str,
        partition: u32,
        records: &'a [StoredRecord],
    ) -> Answer<'a, Result<Written, TaskError>>;

    /// Makes everything written so far safe. Only so far may be committed.
    fn flush(&mut self) -> Answer<'_, Result<Vec<Progress>, TaskError>>;

    /// Ends a wait inside the plugin.
    fn stopper(&self) -> Stopper;

    /// Whether another version of the plugin is in use now.
    fn is_outdated(&self) -> bool;
}
