//! From bytes to records: where one ends, and what its key and value are.

use std::fmt;

use brooklet::{Error, json};
use csv_core::{ReadRecordResult, Reader, ReaderBuilder};
use serde_json::Value;

/// How records stand in a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// Each line is a value.
    #[default]
    Lines,
    /// Each line is JSON.
    JsonLines,
    /// A row of names, then rows.
    Csv,
    /// A record with all it has, as JSON. Sinks only.
    Records,
}

/// What to know of a format.
#[derive(Clone, Debug)]
pub(crate) struct Format {
    pub(crate) kind: Kind,
    pub(crate) key: Option<String>,
    pub(crate) delimiter: u8,
    pub(crate) nulls: Vec<String>,
    pub(crate) infer: bool,
}

/// Cuts the bytes of one file.
pub(crate) struct Cutter {
    format: Format,
    reader: Reader,
    /// The names of the columns, once they were read.
    header: Option<Vec<String>>,
    row: Row,
}

impl fmt::Debug for Cutter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cutter").field("format", &self.format).finish_non_exhaustive()
    }
}

/// One row of CSV, kept from row to row for its memory.
#[derive(Debug, Default)]
struct Row {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    columns: usize,
}

/// What stands at the beginning of the bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Cut {
    /// A record and its length in the file.
    Record(usize, Record),
    /// Something that is none: a blank line, the row of names.
    Nothing(usize),
    /// Something that should be one.
    Invalid(usize, String),
    /// The beginning of a record that has no end yet, or nothing at all.
    Unfinished,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) key: Option<Vec<u8>>,
    pub(crate) value: Vec<u8>,
}

impl Cutter {
    pub(crate) fn new(format: &Format) -> Result<Cutter, Error> {
        if format.kind == Kind::Records {
            return Err(Error::config("format: a source reads lines, json-lines or csv"));
        }
        let reader = ReaderBuilder::new().delimiter(format.delimiter).build();
        Ok(Cutter { format: format.clone(), reader, header: None, row: Row::default() })
    }

    /// Whether the beginning of the file has to be read before anything else of it.
    pub(crate) fn needs_header(&self) -> bool {
        self.format.kind == Kind::Csv && self.header.is_none()
    }

    /// Cuts off what stands first. `is_end` says that nothing will be added to these bytes.
    pub(crate) fn cut(&mut self, bytes: &[u8], is_end: bool) -> Cut {
        match self.format.kind {
            Kind::Csv => self.cut_row(bytes, is_end),
            Kind::Lines | Kind::JsonLines | Kind::Records => self.cut_line(bytes, is_end),
        }
    }

    fn cut_line(&self, bytes: &[u8], is_end: bool) -> Cut {
        let (line, length) = match bytes.iter().position(|byte| *byte == b'\n') {
            Some(end) => (&bytes[..end], end + 1),
            None if is_end && !bytes.is_empty() => (bytes, bytes.len()),
            None => return Cut::Unfinished,
        };
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        if self.format.kind == Kind::Lines {
            return Cut::Record(length, Record { key: None, value: line.to_vec() });
        }
        if line.trim_ascii().is_empty() {
            return Cut::Nothing(length);
        }
        match self.json_record(line) {
            Ok(record) => Cut::Record(length, record),
            Err(problem) => Cut::Invalid(length, problem.to_string()),
        }
    }

    fn json_record(&self, line: &[u8]) -> Result<Record, Error> {
        let paths = json::Paths::new(&self.format.key).map_err(Error::config)?;
        let mut found = None;
        let read = paths.find(line, |_, text| found = Some(text));
        read.map_err(Error::bad_input)?;
        Ok(Record { key: found.and_then(key_of), value: line.to_vec() })
    }

    fn cut_row(&mut self, bytes: &[u8], is_end: bool) -> Cut {
        let Some(length) = self.row.read(&mut self.reader, bytes, is_end) else {
            return Cut::Unfinished;
        };
        let Some(header) = &self.header else {
            let names = self.row.columns().map(|name| String::from_utf8_lossy(name).into_owned());
            self.header = Some(names.collect());
            return Cut::Nothing(length);
        };
        if self.row.columns == 0 {
            return Cut::Nothing(length);
        }
        if header.len() != self.row.columns {
            let (found, due) = (self.row.columns, header.len());
            return Cut::Invalid(length, format!("a row of {found} columns, {due} were due"));
        }
        match self.row_record(header) {
            Ok(record) => Cut::Record(length, record),
            Err(problem) => Cut::Invalid(length, problem),
        }
    }

    fn row_record(&self, header: &[String]) -> Result<Record, String> {
        let mut record = Record { key: None, value: vec![b'{'] };
        for (index, (name, column)) in header.iter().zip(self.row.columns()).enumerate() {
            let text = std::str::from_utf8(column).map_err(|error| format!("{name}: {error}"))?;
            if index > 0 {
                record.value.push(b',');
            }
            put(&mut record.value, &Value::from(name.as_str()));
            record.value.push(b':');
            if self.format.nulls.iter().any(|null| null == text) {
                record.value.extend_from_slice(b"null");
                continue;
            }
            if self.format.key.as_deref() == Some(name) {
                record.key = Some(column.to_vec());
            }
            if self.format.infer && is_plain(text) {
                record.value.extend_from_slice(column);
            } else {
                put(&mut record.value, &Value::from(text));
            }
        }
        record.value.push(b'}');
        Ok(record)
    }
}

impl Row {
    /// Reads a row and says how long it is in the file; none if it has no end.
    fn read(&mut self, reader: &mut Reader, bytes: &[u8], is_end: bool) -> Option<usize> {
        reader.reset();
        self.bytes.resize(bytes.len().max(64), 0);
        self.ends.resize(self.ends.len().max(64), 0);
        let (mut read, mut written) = (0, 0);
        self.columns = 0;
        loop {
            // No bytes at all is how the reader is told that there will be no more.
            let input = &bytes[read..];
            let (result, took, wrote, ended) = reader.read_record(
                input,
                &mut self.bytes[written..],
                &mut self.ends[self.columns..],
            );
            read += took;
            written += wrote;
            self.columns += ended;
            match result {
                ReadRecordResult::Record => return Some(read),
                ReadRecordResult::End if read > 0 => {
                    self.columns = 0;
                    return Some(read);
                }
                ReadRecordResult::End => return None,
                ReadRecordResult::InputEmpty if is_end => {}
                ReadRecordResult::InputEmpty => return None,
                ReadRecordResult::OutputFull => self.bytes.resize(self.bytes.len() * 2, 0),
                ReadRecordResult::OutputEndsFull => self.ends.resize(self.ends.len() * 2, 0),
            }
        }
    }

    fn columns(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let ends = self.ends[..self.columns].iter();
        starts.zip(ends).map(|(start, end)| &self.bytes[start..*end])
    }
}

/// The text of a string, or JSON as it is written; null is no key.
fn key_of(text: &str) -> Option<Vec<u8>> {
    match serde_json::from_str(text) {
        Ok(Value::Null) | Err(_) => None,
        Ok(Value::String(string)) => Some(string.into_bytes()),
        Ok(_) => Some(text.as_bytes().to_vec()),
    }
}

/// Whether a column is JSON as it stands: a number by JSON's grammar, so that `007` stays a text.
fn is_plain(text: &str) -> bool {
    let begins = text.starts_with(|c: char| c.is_ascii_digit() || matches!(c, '-' | 't' | 'f'));
    begins
        && !text.ends_with(char::is_whitespace)
        && matches!(serde_json::from_str(text), Ok(Value::Number(_) | Value::Bool(_)))
}

fn put(out: &mut Vec<u8>, value: &Value) {
    serde_json::to_writer(out, value).expect("memory takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn format(kind: Kind) -> Format {
        let nulls = vec![String::new(), "NA".to_owned()];
        Format { kind, key: Some("k".to_owned()), delimiter: b',', nulls, infer: true }
    }

    /// Everything in these bytes, one line each.
    fn all(kind: Kind, bytes: &str, is_end: bool) -> Vec<String> {
        let mut cutter = Cutter::new(&format(kind)).unwrap();
        let (mut at, mut all) = (0, Vec::new());
        loop {
            match cutter.cut(&bytes.as_bytes()[at..], is_end) {
                Cut::Record(length, record) => {
                    at += length;
                    let key = record.key.map(|key| String::from_utf8(key).unwrap() + "=");
                    all.push(key.unwrap_or_default() + std::str::from_utf8(&record.value).unwrap());
                }
                Cut::Nothing(length) => at += length,
                Cut::Invalid(length, problem) => {
                    at += length;
                    all.push(format!("! {problem}"));
                }
                Cut::Unfinished => {
                    if at < bytes.len() {
                        all.push(format!("… {}", &bytes[at..]));
                    }
                    return all;
                }
            }
        }
    }

    #[test]
    fn lines_end_where_they_end() {
        assert_eq!(all(Kind::Lines, "a\r\n\nb\nc", false), ["a", "", "b", "… c"]);
        assert_eq!(all(Kind::Lines, "a\nb", true), ["a", "b"]);
    }

    #[test]
    fn json_lines_are_json() {
        let lines = "{\"k\":\"x\"}\n\n{\"k\":7}\n{\"k\":null}\nnope\n[1]\n{\"k\"";
        let expected = [
            "x={\"k\":\"x\"}",
            "7={\"k\":7}",
            "{\"k\":null}",
            "! expected ident at line 1 column 2",
            "[1]",
            "… {\"k\"",
        ];
        assert_eq!(all(Kind::JsonLines, lines, false), expected);
    }

    #[test]
    fn rows_are_objects() {
        let csv = "k,n,text\r\nUA,1.5,\"a \"\"b\"\",\nc\"\nNA,,007\n\nx,true,-\na,b\ny,1,\"open";
        let expected = [
            r#"UA={"k":"UA","n":1.5,"text":"a \"b\",\nc"}"#,
            r#"{"k":null,"n":null,"text":"007"}"#,
            r#"x={"k":"x","n":true,"text":"-"}"#,
            "! a row of 2 columns, 3 were due",
            "… y,1,\"open",
        ];
        assert_eq!(all(Kind::Csv, csv, false), expected);
        assert_eq!(all(Kind::Csv, "k,n\na,1", true), [r#"a={"k":"a","n":1}"#]);
        assert_eq!(all(Kind::Csv, "k,n\na,1", false), ["… a,1"]);
    }

    #[test]
    fn a_row_wider_than_the_memory_kept_for_it_is_read() {
        let names: Vec<String> = (0..200).map(|number| format!("c{number}")).collect();
        let csv = format!("{}\n{}\n", names.join(","), vec!["12345678"; 200].join(","));
        assert_eq!(all(Kind::Csv, &csv, false)[0].matches("12345678").count(), 200);
    }
}
