//! The history as it happens, and when each partition took something.
//!
//! **Decides** what a line's time is: that of being written, under one lock, so that no line is earlier than the one before it.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use brooklet_history::{Event, Kind, Op, Sent};

use crate::failure::{Failure, context};

/// Different errors that are kept; what comes beyond is counted as one.
const ERRORS_MAX: usize = 40;
/// What they are counted as.
const OTHERS: &str = "others";

/// Where everybody tells what they do.
pub(crate) struct Recorder {
    began: Instant,
    /// The same moment on the wall, since 1970.
    began_wall: Duration,
    /// The file and what is counted, which every task adds to. Held for one line, never over a wait.
    inner: Mutex<Inner>,
}

struct Inner {
    file: BufWriter<File>,
    /// Why the file could not be written, if it could not.
    broken: Option<String>,
    processes: u32,
    acknowledged: Vec<Vec<u64>>,
    errors: BTreeMap<String, u64>,
}

impl Recorder {
    /// Begins a history of `partitions`.
    pub(crate) fn create(path: &Path, partitions: u32) -> Result<Recorder, Failure> {
        let file = File::create(path).map_err(context("make the history"))?;
        let inner = Inner {
            file: BufWriter::with_capacity(1 << 20, file),
            broken: None,
            processes: 0,
            acknowledged: vec![Vec::new(); partitions as usize],
            errors: BTreeMap::new(),
        };
        let began_wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Recorder { began: Instant::now(), began_wall, inner: Mutex::new(inner) })
    }

    /// Nanoseconds since the history began.
    pub(crate) fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).expect("a run takes no centuries")
    }

    /// The time of day (UTC) of a moment of the history, as brokers' logs have it.
    pub(crate) fn time_of_day(&self, at: u64) -> String {
        let since = self.began_wall + Duration::from_nanos(at);
        let (seconds, milliseconds) = (since.as_secs() % 86_400, since.subsec_millis());
        let (hours, minutes, seconds) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        format!("{hours:02}:{minutes:02}:{seconds:02}.{milliseconds:03}")
    }

    /// The number of another process.
    pub(crate) fn process(&self) -> u32 {
        let mut inner = self.inner();
        inner.processes += 1;
        inner.processes
    }

    /// Writes a line.
    pub(crate) fn record(&self, process: u32, kind: Kind, op: Op<'_>) {
        let mut inner = self.inner();
        let time = self.now();
        inner.write(&Event { time, process, kind, op });
    }

    /// A record is about to be sent.
    pub(crate) fn sends(&self, process: u32, partition: u32, value: u64) {
        self.record(process, Kind::Invoke, sent(partition, value, None));
    }

    /// A record was acknowledged.
    pub(crate) fn acknowledges(&self, process: u32, partition: u32, value: u64, at: Option<i64>) {
        let mut inner = self.inner();
        let time = self.now();
        let offset = at.and_then(|at| u64::try_from(at).ok());
        let op = sent(partition, value, offset);
        inner.write(&Event { time, process, kind: Kind::Ok, op });
        inner.acknowledged[partition as usize].push(time);
    }

    /// Counts an error that a client was told.
    pub(crate) fn error(&self, error: String) {
        let mut inner = self.inner();
        let is_known = inner.errors.contains_key(&error) || inner.errors.len() < ERRORS_MAX;
        let error = if is_known { error } else { OTHERS.to_owned() };
        *inner.errors.entry(error).or_default() += 1;
    }

    /// When records of each partition were acknowledged, in nanoseconds, so far.
    pub(crate) fn acknowledged(&self) -> Vec<Vec<u64>> {
        self.inner().acknowledged.clone()
    }

    /// How many records of each partition were acknowledged so far.
    pub(crate) fn counts(&self) -> Vec<usize> {
        self.inner().acknowledged.iter().map(Vec::len).collect()
    }

    /// What clients were told that went wrong, and how often.
    pub(crate) fn errors(&self) -> BTreeMap<String, u64> {
        self.inner().errors.clone()
    }

    /// Brings all that was recorded to the file.
    pub(crate) fn finish(&self) -> Result<(), Failure> {
        let mut inner = self.inner();
        if let Some(broken) = &inner.broken {
            return Err(Failure(format!("write the history: {broken}")));
        }
        inner.file.flush().map_err(context("write the history"))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        // A line is written whole or not at all.
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    fn write(&mut self, event: &Event<'_>) {
        let written = serde_json::to_writer(&mut self.file, event).map_err(|it| it.to_string());
        let written =
            written.and_then(|()| self.file.write_all(b"\n").map_err(|error| error.to_string()));
        if let Err(error) = written {
            self.broken.get_or_insert(error);
        }
    }
}

/// A partition's name in the history.
pub(crate) fn name(partition: u32) -> Cow<'static, str> {
    format!("{}-{partition}", crate::load::TOPIC).into()
}

fn sent(partition: u32, value: u64, offset: Option<u64>) -> Op<'static> {
    Op::Send(vec![Sent { partition: name(partition), value, offset }])
}
