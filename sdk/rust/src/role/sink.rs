//! The role that takes records out.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use super::serde::some;
use crate::batch::Batch;
use crate::bindings::sink::exports::brooklet::plugin::sink as wire;
use crate::bindings::types::{self, Columns, PluginError};
use crate::error::{Error, Reject};
use crate::lifecycle::Context;

/// Takes records out. The host commits offsets as far as [`flush`](Sink::flush) reaches: everything
/// that was written before it.
pub trait Sink: Sized {
    /// What the operator configures.
    type Config: DeserializeOwned;

    /// Makes an instance. Whatever can be checked is checked here.
    fn new(config: Self::Config, context: &Context) -> Result<Self, Error>;

    /// The columns it looks at; what it does not ask for is not copied.
    fn columns(&self) -> Columns {
        Columns::all()
    }

    /// What it will be given. May answer with places that its target knows better: delivery then goes
    /// on from there.
    fn start(&mut self, assigned: Vec<Assignment>) -> Result<Vec<Assignment>, Error> {
        drop(assigned);
        Ok(Vec::new())
    }

    /// Takes a batch of one partition.
    fn write(&mut self, batch: &Batch<'_>, rejects: &mut Rejects) -> Result<(), Error>;

    /// Bytes that it holds and has not yet made safe.
    fn buffered_bytes(&self) -> u64 {
        0
    }

    /// Makes everything written so far safe.
    fn flush(&mut self) -> Result<(), Error>;
}

/// A place in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// The topic.
    pub topic: String,
    /// The partition.
    pub partition: u32,
    /// The next offset that will be delivered.
    pub next_offset: i64,
}

/// Records of a batch that could not be written, while their neighbours could.
#[derive(Debug, Default)]
pub struct Rejects(Vec<types::Reject>);

impl Rejects {
    /// Record `index` of the batch could not be written.
    pub fn push(&mut self, index: usize, reject: Reject) {
        self.0.push(reject.at(index));
    }
}

/// A sink and how far it was written to.
#[derive(Debug)]
pub struct Tracked<S> {
    sink: S,
    /// The next offset of each partition, as it was written.
    written: BTreeMap<(String, u32), i64>,
}

impl<S: Sink> Tracked<S> {
    /// Makes an instance.
    pub fn new(config: S::Config, context: &Context) -> Result<Tracked<S>, Error> {
        Ok(Tracked { sink: S::new(config, context)?, written: BTreeMap::new() })
    }

    /// The columns the sink looks at.
    pub fn columns(&self) -> Columns {
        self.sink.columns()
    }

    /// The sink itself.
    pub fn sink(&mut self) -> &mut S {
        &mut self.sink
    }

    /// One call of the host: begin, or begin again.
    pub fn start(
        &mut self,
        assigned: Vec<wire::Assignment>,
    ) -> Result<Vec<wire::Progress>, PluginError> {
        self.written.clear();
        let assigned = assigned.into_iter().map(|it| Assignment {
            topic: it.topic,
            partition: it.partition,
            next_offset: it.next_offset,
        });
        let known = self.sink.start(assigned.collect())?;
        let progress = known.into_iter().map(|it| wire::Progress {
            topic: it.topic,
            partition: it.partition,
            next_offset: it.next_offset,
        });
        Ok(progress.collect())
    }

    /// One call of the host: a batch.
    pub fn write(
        &mut self,
        columns: Columns,
        input: &types::Batch,
    ) -> Result<wire::Accepted, PluginError> {
        let batch = Batch::new(input, columns);
        let mut rejects = Rejects::default();
        self.sink.write(&batch, &mut rejects)?;
        let partition = batch.partition().ok_or_else(|| {
            PluginError::BadInput("a sink was given records without a partition".to_owned())
        })?;
        if let Some(last) = batch.records().last() {
            self.written.insert((batch.topic().to_owned(), partition), last.offset() + 1);
        }
        let buffered_bytes = self.sink.buffered_bytes();
        Ok(wire::Accepted { rejects: some(rejects.0), buffered_bytes })
    }

    /// One call of the host: make it safe.
    pub fn flush(&mut self) -> Result<Vec<wire::Progress>, PluginError> {
        self.sink.flush()?;
        let progress =
            self.written.iter().map(|((topic, partition), next_offset)| wire::Progress {
                topic: topic.clone(),
                partition: *partition,
                next_offset: *next_offset,
            });
        Ok(progress.collect())
    }
}
