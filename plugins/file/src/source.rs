//! The source: reads files on as they grow.
//!
//! **Invariants.** Of each file every record is read once, in order; a file is read to its end before the
//! next one begins. What is read counts only when its position is kept: started again from a position,
//! it goes on exactly there.

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::Duration;

use brooklet::metrics::Counter;
use brooklet::{Context, Error, Limits, NewRecord, Outgoing, Poll, Source, Split, task};

use crate::format::{Cut, Cutter, Format, Kind};
use crate::places::{Place, Places, Position, look};

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    path: PathBuf,
    #[serde(default)]
    format: Kind,
    #[serde(default = "any_name")]
    pattern: String,
    key: Option<String>,
    #[serde(default = "comma")]
    delimiter: char,
    #[serde(default = "empty")]
    nulls: Vec<String>,
    #[serde(default = "yes")]
    infer: bool,
    #[serde(default)]
    on_invalid: OnInvalid,
    #[serde(default = "quiet", deserialize_with = "brooklet::duration::deserialize")]
    quiet: Duration,
    #[serde(default = "record_bytes_max")]
    record_bytes_max: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
enum OnInvalid {
    /// Reading stops there until somebody does something about it.
    #[default]
    Fail,
    /// It is left out, counted and logged.
    Skip,
}

fn any_name() -> String {
    "*".to_owned()
}

fn comma() -> char {
    ','
}

fn empty() -> Vec<String> {
    vec![String::new()]
}

fn yes() -> bool {
    true
}

/// Long enough for whoever writes a line in several pieces.
fn quiet() -> Duration {
    Duration::from_secs(5)
}

/// Kafka's own limit of a batch.
fn record_bytes_max() -> usize {
    1 << 20
}

/// Time between two looks at files that had nothing new.
const LOOK: Duration = Duration::from_millis(250);
const READ_BYTES: usize = 64 << 10;

/// The source.
#[derive(Debug)]
pub struct FileSource {
    format: Format,
    on_invalid: OnInvalid,
    record_bytes_max: usize,
    places: Places,
    open: Option<Open>,
    skipped: Counter,
}

/// A file that is being read.
#[derive(Debug)]
struct Open {
    place: Place,
    file: File,
    cutter: Cutter,
    /// What was read and not yet cut, from `start` on.
    buffer: Vec<u8>,
    start: usize,
    /// Whether the file had no more when it was last read.
    is_dry: bool,
}

impl Source for FileSource {
    type Config = Config;
    type Position = Position;

    fn new(config: Config, _: &Context) -> Result<FileSource, Error> {
        let delimiter = u8::try_from(config.delimiter);
        let delimiter = delimiter.map_err(|_| Error::config("delimiter: one byte"))?;
        let Config { key, nulls, infer, .. } = config;
        let format = Format { kind: config.format, key, delimiter, nulls, infer };
        Cutter::new(&format)?;
        if format.kind == Kind::Lines && format.key.is_some() {
            return Err(Error::config("key: lines have no fields"));
        }
        if let (Kind::JsonLines, Some(key)) = (format.kind, &format.key) {
            brooklet::json::split(key).map_err(|error| Error::Config(format!("key: {error}")))?;
        }
        Ok(FileSource {
            format,
            on_invalid: config.on_invalid,
            record_bytes_max: config.record_bytes_max,
            places: Places::new(config.path, config.pattern, config.quiet),
            open: None,
            skipped: Counter::new("file_records_skipped", &[]),
        })
    }

    fn start(&mut self, _: Vec<Split>, position: Option<Position>) -> Result<(), Error> {
        self.places.start(position.unwrap_or_default());
        self.open = None;
        Ok(())
    }

    fn poll(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<Poll<Position>, Error> {
        let until = task::now() + limits.wait;
        loop {
            if self.open.is_none() {
                self.open =
                    self.places.next()?.map(|place| self.open(place)).transpose()?.flatten();
            }
            if self.open.is_some() {
                let more = self.read(limits, out)?;
                if more {
                    return Ok(Poll { position: self.places.position.clone(), more: true });
                }
                continue;
            }
            let left = until.saturating_sub(task::now());
            if !out.is_empty() || left.is_zero() || task::stopping() {
                return Ok(Poll { position: self.places.position.clone(), more: false });
            }
            task::sleep(LOOK.min(left));
        }
    }
}

impl FileSource {
    /// Opens a file where it was left; none if it has become another meanwhile.
    fn open(&self, place: Place) -> Result<Option<Open>, Error> {
        let retriable =
            |error: std::io::Error| Error::retriable(format!("{}: {error}", place.path.display()));
        let file = File::open(&place.path).map_err(retriable)?;
        if look(&place.path).map_err(retriable)?.0 != place.id {
            return Ok(None);
        }
        let cutter = Cutter::new(&self.format)?;
        let mut open = Open { place, file, cutter, buffer: Vec::new(), start: 0, is_dry: false };
        let offset = std::mem::take(&mut open.place.offset);
        if open.cutter.needs_header() {
            self.read_header(&mut open)?;
        }
        if offset > open.place.offset {
            open.file.seek(SeekFrom::Start(offset)).map_err(|error| open.failed(&error))?;
            (open.place.offset, open.start, open.is_dry) = (offset, 0, false);
            open.buffer.clear();
        }
        Ok(Some(open))
    }

    fn read_header(&self, open: &mut Open) -> Result<(), Error> {
        while open.cutter.needs_header() && !open.is_dry {
            open.fill(self.record_bytes_max)?;
            let is_end = open.place.is_end && open.is_dry;
            if let Cut::Nothing(length) = open.cutter.cut(&open.buffer[open.start..], is_end) {
                open.pass(length);
            }
        }
        Ok(())
    }

    /// Reads records until there is no room (true) or the file has no more for now (false).
    fn read(&mut self, limits: &Limits, out: &mut Outgoing) -> Result<bool, Error> {
        let Some(mut open) = self.open.take() else { return Ok(false) };
        loop {
            let is_end = open.place.is_end && open.is_dry;
            let cut = open.cutter.cut(&open.buffer[open.start..], is_end);
            match cut {
                Cut::Record(length, record) => {
                    let bytes = record.value.len() + record.key.as_ref().map_or(0, Vec::len);
                    if !out.has_room(limits, bytes) {
                        self.open = Some(open);
                        return Ok(true);
                    }
                    let (key, value) = (record.key.as_deref(), Some(&record.value[..]));
                    out.push(&NewRecord { key, value, ..NewRecord::default() });
                    open.pass(length);
                }
                Cut::Nothing(length) => open.pass(length),
                Cut::Invalid(length, problem) => {
                    self.invalid(&open, &problem)?;
                    open.pass(length);
                }
                Cut::Unfinished if open.is_dry => {
                    self.places.read_to(&open.place.id, open.place.offset);
                    // What has no end waits for it: until then there is nothing to read.
                    if open.start < open.buffer.len() {
                        self.places.wait_for_more(&open.place.id);
                    }
                    return Ok(false);
                }
                Cut::Unfinished => open.fill(self.record_bytes_max)?,
            }
            self.places.read_to(&open.place.id, open.place.offset);
        }
    }

    fn invalid(&self, open: &Open, problem: &str) -> Result<(), Error> {
        let place = format!("{}, byte {}", open.place.path.display(), open.place.offset);
        match self.on_invalid {
            OnInvalid::Fail => Err(Error::BadInput(format!("{place}: {problem}"))),
            OnInvalid::Skip => {
                self.skipped.add(1);
                brooklet::warn!(place = place, "left out: {}", problem);
                Ok(())
            }
        }
    }
}

impl Open {
    /// Reads some more of the file.
    fn fill(&mut self, record_bytes_max: usize) -> Result<(), Error> {
        self.buffer.drain(..self.start);
        self.start = 0;
        let before = self.buffer.len();
        if before > record_bytes_max {
            let problem = format!("a record longer than {record_bytes_max} bytes");
            let (path, offset) = (self.place.path.display(), self.place.offset);
            return Err(Error::BadInput(format!("{path}, byte {offset}: {problem}")));
        }
        self.buffer.resize(before + READ_BYTES, 0);
        let read = self.file.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + read.as_ref().copied().unwrap_or(0));
        let read = read.map_err(|error| self.failed(&error))?;
        self.is_dry = read == 0;
        Ok(())
    }

    fn pass(&mut self, length: usize) {
        self.start += length;
        self.place.offset += length as u64;
    }

    fn failed(&self, error: &std::io::Error) -> Error {
        Error::retriable(format!("{}: {error}", self.place.path.display()))
    }
}

#[cfg(test)]
mod tests;
