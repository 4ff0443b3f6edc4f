//! Sources and sinks at work.

use std::time::Duration;

use brooklet::bindings::sink::exports::brooklet::plugin::sink as sink_wire;
use brooklet::bindings::source::exports::brooklet::plugin::source as source_wire;
use brooklet::role::sink::Tracked;
use brooklet::role::source;
use brooklet::{Error, Limits, Sink, Source};

use brooklet_golden::Rec;

use crate::record::{apply, batch};

/// A source that was initialised.
#[derive(Debug)]
pub struct Sourcing<S> {
    source: S,
    limits: Limits,
}

/// What came of a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Polled {
    /// The records.
    pub records: Vec<Rec>,
    /// Where to go on, as the host keeps it.
    pub position: Vec<u8>,
    /// Whether there is more at once.
    pub more: bool,
}

impl<S: Source> Sourcing<S> {
    /// Initialises it with a configuration in JSON, as a single task, and starts it from a position.
    pub fn start(config: &str, position: Option<&[u8]>) -> Result<Sourcing<S>, Error> {
        let mut planner = crate::start("source", config, S::new)?;
        let splits = source::plan(&mut planner, 1)?;
        let mut source = crate::start("source", config, S::new)?;
        source::start(&mut source, splits, position)?;
        let limits = Limits { records: 500, bytes: 1 << 20, wait: Duration::from_millis(100) };
        Ok(Sourcing { source, limits })
    }

    /// Polls for no more than so many records at once.
    #[must_use]
    pub fn records_max(mut self, records: usize) -> Sourcing<S> {
        self.limits.records = records;
        self
    }

    /// Polls once.
    pub fn poll(&mut self) -> Result<Polled, Error> {
        let whole = |number: usize| u32::try_from(number).expect("limits are small");
        let limits = source_wire::Limits {
            max_records: whole(self.limits.records),
            max_bytes: whole(self.limits.bytes),
            max_wait_ms: u32::try_from(self.limits.wait.as_millis()).expect("limits are small"),
        };
        let polled = source::poll(&mut self.source, limits)?;
        let records = apply(&polled.records, None);
        Ok(Polled { records, position: polled.position, more: polled.more })
    }

    /// Polls until there is nothing more for now; the values as text.
    pub fn texts(&mut self) -> Result<Vec<String>, Error> {
        let mut texts = Vec::new();
        loop {
            let polled = self.poll()?;
            texts.extend(polled.records.iter().map(|record| record.text().to_owned()));
            if !polled.more {
                return Ok(texts);
            }
        }
    }

    /// The records up to there are safe.
    pub fn committed(&mut self, position: &[u8]) -> Result<(), Error> {
        Ok(source::committed(&mut self.source, position)?)
    }
}

/// A sink that was initialised.
#[derive(Debug)]
pub struct Sinking<S> {
    sink: Tracked<S>,
    next_offset: i64,
}

impl<S: Sink> Sinking<S> {
    /// Initialises it with a configuration in JSON and assigns it partition 0 of `topic`.
    pub fn start(config: &str) -> Result<Sinking<S>, Error> {
        let mut sink = crate::start("sink", config, Tracked::<S>::new)?;
        let assigned =
            sink_wire::Assignment { topic: "topic".to_owned(), partition: 0, next_offset: 0 };
        sink.start(vec![assigned])?;
        Ok(Sinking { sink, next_offset: 0 })
    }

    /// Writes one batch, behind the ones that were accepted before. The indexes of those that could not
    /// be written, with their codes.
    pub fn write(&mut self, records: &[Rec]) -> Result<Vec<(u32, String)>, Error> {
        let columns = self.sink.columns();
        let input = batch("topic", 0, self.next_offset, columns, records);
        let accepted = self.sink.write(columns, &input)?;
        self.next_offset += i64::from(input.count);
        let rejects = accepted.rejects.into_iter().flatten();
        Ok(rejects.map(|reject| (reject.index, reject.code)).collect())
    }

    /// Makes it safe; the next offset of the partition as the host would commit it, if there is one.
    pub fn flush(&mut self) -> Result<Option<i64>, Error> {
        Ok(self.sink.flush()?.first().map(|progress| progress.next_offset))
    }
}
