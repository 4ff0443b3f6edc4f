//! The sink: appends records to files.
//!
//! **Invariants.** What was flushed is on the disk. A record is one line, whole: where a write was torn by
//! a crash, the line is ended and the record written again, since its offset was not committed.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};

use brooklet::{Assignment, Batch, Context, Error, Record, Reject, Rejects, Sink};
use serde_json::{Map, Value, json};

use crate::format::Kind;

/// The configuration.
#[derive(Clone, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    path: String,
    #[serde(default)]
    format: Kind,
}

/// The sink.
#[derive(Debug)]
pub struct FileSink {
    config: Config,
    open: BTreeMap<String, Open>,
}

#[derive(Debug)]
struct Open {
    file: File,
    /// Bytes that were written since the last flush.
    unsafe_bytes: u64,
}

/// Files that are open at once: partitions beyond that share what the operating system allows.
const FILES_MAX: usize = 256;

impl Sink for FileSink {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<FileSink, Error> {
        if !matches!(config.format, Kind::Lines | Kind::Records) {
            return Err(Error::config("format: a sink writes lines or records"));
        }
        Ok(FileSink { config, open: BTreeMap::new() })
    }

    fn start(&mut self, _: Vec<Assignment>) -> Result<Vec<Assignment>, Error> {
        self.open.clear();
        Ok(Vec::new())
    }

    fn write(&mut self, batch: &Batch<'_>, rejects: &mut Rejects) -> Result<(), Error> {
        let mut lines = Vec::new();
        for record in batch {
            let start = lines.len();
            let written = match self.config.format {
                Kind::Records => put_record(&record, &mut lines),
                Kind::Lines | Kind::JsonLines | Kind::Csv => put_line(&record, &mut lines),
            };
            match written {
                Ok(()) => lines.push(b'\n'),
                Err(reject) => {
                    lines.truncate(start);
                    rejects.push(record.index(), reject);
                }
            }
        }
        let path = self.path(batch);
        let open = self.open(&path)?;
        open.file.write_all(&lines).map_err(|error| failed(&path, &error))?;
        open.unsafe_bytes += lines.len() as u64;
        Ok(())
    }

    fn buffered_bytes(&self) -> u64 {
        self.open.values().map(|open| open.unsafe_bytes).sum()
    }

    fn flush(&mut self) -> Result<(), Error> {
        for (path, open) in &mut self.open {
            if open.unsafe_bytes > 0 {
                open.file.sync_data().map_err(|error| {
                    // After a failed sync nobody knows what is on the disk.
                    Error::fatal(format!("{path}: {error}"))
                })?;
                open.unsafe_bytes = 0;
            }
        }
        Ok(())
    }
}

impl FileSink {
    fn path(&self, batch: &Batch<'_>) -> String {
        let partition = batch.partition().unwrap_or_default().to_string();
        self.config.path.replace("{topic}", batch.topic()).replace("{partition}", &partition)
    }

    fn open(&mut self, path: &str) -> Result<&mut Open, Error> {
        if !self.open.contains_key(path) {
            if self.open.len() >= FILES_MAX {
                self.flush()?;
                self.open.clear();
            }
            let file = append_to(path).map_err(|error| failed(path, &error))?;
            self.open.insert(path.to_owned(), Open { file, unsafe_bytes: 0 });
        }
        Ok(self.open.get_mut(path).expect("it was opened above"))
    }
}

/// Opens a file at its end. A line that a crash left without its end gets one.
fn append_to(path: &str) -> std::io::Result<File> {
    let mut file = OpenOptions::new().read(true).append(true).create(true).open(path)?;
    if file.metadata()?.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

fn put_line(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let value = record.value().ok_or_else(|| Reject::new("null", "a tombstone is no line"))?;
    if value.contains(&b'\n') {
        return Err(Reject::new("newline", "the value would be two lines; `records` can hold it"));
    }
    out.extend_from_slice(value);
    Ok(())
}

/// A record with all it has. Bytes that are no UTF-8 are written as `{"hex": "…"}`.
fn put_record(record: &Record<'_>, out: &mut Vec<u8>) -> Result<(), Reject> {
    let headers = record.headers().map(|header| {
        let name = String::from_utf8_lossy(header.name).into_owned();
        json!([name, text(header.value)])
    });
    let mut members = Map::new();
    members.insert("topic".to_owned(), record.topic().into());
    members.insert("partition".to_owned(), record.partition().into());
    members.insert("offset".to_owned(), record.offset().into());
    members.insert("timestamp".to_owned(), record.timestamp().into());
    members.insert("key".to_owned(), text(record.key()));
    members.insert("value".to_owned(), text(record.value()));
    members.insert("headers".to_owned(), headers.collect());
    Ok(serde_json::to_writer(out, &members)?)
}

fn text(bytes: Option<&[u8]>) -> Value {
    let Some(bytes) = bytes else { return Value::Null };
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => {
            let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            json!({ "hex": hex })
        }
    }
}

fn failed(path: &str, error: &std::io::Error) -> Error {
    let problem = format!("{path}: {error}");
    match error.kind() {
        std::io::ErrorKind::PermissionDenied => Error::Denied(problem),
        _ => Error::retriable(problem),
    }
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Rec, Sinking};

    use super::*;

    fn start(path: &std::path::Path, format: &str) -> Sinking<FileSink> {
        let config = json!({ "path": path, "format": format }).to_string();
        Sinking::start(&config).unwrap()
    }

    #[test]
    fn records_are_appended_and_committed_as_far_as_they_are_flushed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("{topic}-{partition}.txt");
        let mut sink = start(&path, "lines");
        assert_eq!(sink.flush().unwrap(), None, "nothing was written");
        let rejects =
            sink.write(&[Rec::value("a"), Rec::value("b\nc"), Rec::tombstone("k")]).unwrap();
        assert_eq!(rejects, [(1, "newline".to_owned()), (2, "null".to_owned())]);
        sink.write(&[Rec::value("d")]).unwrap();
        assert_eq!(sink.flush().unwrap(), Some(4));
        let written = std::fs::read_to_string(folder.path().join("topic-0.txt")).unwrap();
        assert_eq!(written, "a\nd\n");
    }

    #[test]
    fn a_torn_line_is_ended_before_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        std::fs::write(&path, "whole\nto").unwrap();
        start(&path, "lines").write(&[Rec::value("torn")]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "whole\nto\ntorn\n");
    }

    #[test]
    fn records_have_all_they_have() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("out");
        let record = Rec::new([0xff], "a\nb").header("h", "x").at(7);
        start(&path, "records").write(&[record, Rec::tombstone("k")]).unwrap();
        let written = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<Value> =
            written.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let first = json!({"topic": "topic", "partition": 0, "offset": 0, "timestamp": 7,
            "key": {"hex": "ff"}, "value": "a\nb", "headers": [["h", "x"]]});
        assert_eq!(lines[0], first);
        assert_eq!((&lines[1]["key"], &lines[1]["value"]), (&json!("k"), &Value::Null));
    }

    #[test]
    fn what_cannot_be_opened_is_tried_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut sink = start(&folder.path().join("missing/out"), "lines");
        assert!(matches!(sink.write(&[Rec::value("a")]), Err(Error::Retriable { .. })));
        assert!(Sinking::<FileSink>::start(r#"{"path":"/x","format":"csv"}"#).is_err());
    }
}
