//! `brooklet produce`: records from a file or standard input.
//!
//! Lines, CSV with a header row, or JSON lines. A CSV row becomes a JSON object of strings: what is
//! a number is the reader's decision, and guessing would turn "007" into 7. An empty key column is
//! no key.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal, Read};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use brooklet_client::{Delivery, Producer, ProducerConfig, ProducerRecord};
use bytes::Bytes;
use clap::ValueEnum;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::delivery::DeliveryArguments;
use super::name_value;
use crate::Context;
use crate::failure::Failure;

/// Deliveries remembered at once; the producer's buffer holds fewer records than this.
const DELIVERIES_MAX: usize = 1 << 20;

/// The longest line: what the producer's buffer holds. A file without line ends is found out before
/// it fills the memory.
const LINE_BYTES_MAX: u64 = 32 << 20;

/// Records between two looks at the progress bar and at deliveries.
const STEP: u64 = 1024;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Where to
    topic: String,
    /// Where records come from; standard input if not given
    file: Option<PathBuf>,
    /// What the input is made of
    #[arg(long, value_enum, default_value = "lines")]
    input: Input,
    /// What becomes of a CSV row
    #[arg(long, value_enum, default_value = "json")]
    value: RowValue,
    /// The CSV column or JSON field that is the key
    #[arg(long)]
    key_column: Option<String>,
    /// For lines: what stands between key and value
    #[arg(long, conflicts_with = "key_column")]
    key_separator: Option<String>,
    /// Send everything to this partition
    #[arg(short, long)]
    partition: Option<u32>,
    /// A header for every record, NAME=VALUE; may be repeated
    #[arg(long = "header", value_parser = name_value)]
    headers: Vec<(String, String)>,
    #[command(flatten)]
    delivery: DeliveryArguments,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Input {
    /// One record per line
    Lines,
    /// One record per row, after a header row
    Csv,
    /// One JSON value per line
    Json,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum RowValue {
    /// A JSON object
    Json,
    /// The row as CSV
    Raw,
}

/// Sends everything, waits for it, and says how much it was.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    check(&arguments)?;
    let config = arguments.delivery.config(context.timeout(), ProducerConfig::default().linger);
    let producer = Producer::start(context.client(), config)?;
    let (reader, total) = open(arguments.file.as_ref())?;
    let progress = progress(total);
    let mut sink = Sink::new(producer, &arguments, progress.clone());
    let mut reader = BufReader::with_capacity(1 << 20, progress.wrap_read(reader));
    let outcome = match arguments.input {
        Input::Csv => send_rows(&mut reader, &mut sink, &arguments).await,
        Input::Lines | Input::Json => send_lines(&mut reader, &mut sink, &arguments).await,
    };
    // What was read before the input went wrong was sent, and is not taken back.
    let finished = sink.finish().await;
    progress.finish_and_clear();
    if let Err(error) = outcome {
        let stored = format!("records before it, which are stored: {}", sink.records);
        return Err(if finished.is_ok() && sink.records > 0 { error.hint(stored) } else { error });
    }
    finished?;
    sink.summary(context, &arguments.topic)
}

/// Options that mean nothing together.
fn check(arguments: &Arguments) -> Result<(), Failure> {
    let lines = arguments.input == Input::Lines;
    if arguments.key_column.is_some() && lines {
        return Err(Failure::usage("--key-column needs --input csv or json")
            .hint("lines have a key in front with --key-separator"));
    }
    if arguments.key_separator.is_some() && !lines {
        return Err(Failure::usage("--key-separator is for lines").hint("--key-column names a key"));
    }
    if arguments.key_separator.as_deref() == Some("") {
        return Err(Failure::usage("--key-separator is empty"));
    }
    if arguments.value == RowValue::Raw && arguments.input != Input::Csv {
        return Err(Failure::usage("--value is for --input csv"));
    }
    Ok(())
}

/// Where records go, and what became of them.
struct Sink {
    producer: Producer,
    topic: Arc<str>,
    partition: Option<u32>,
    headers: Vec<(Bytes, Option<Bytes>)>,
    deliveries: VecDeque<Delivery>,
    progress: ProgressBar,
    records: u64,
    bytes: u64,
    since: Instant,
}

impl Sink {
    fn new(producer: Producer, arguments: &Arguments, progress: ProgressBar) -> Sink {
        let headers = arguments
            .headers
            .iter()
            .map(|(name, value)| (Bytes::from(name.clone()), Some(Bytes::from(value.clone()))));
        Sink {
            producer,
            topic: arguments.topic.as_str().into(),
            partition: arguments.partition,
            headers: headers.collect(),
            deliveries: VecDeque::new(),
            progress,
            records: 0,
            bytes: 0,
            since: Instant::now(),
        }
    }

    async fn send(&mut self, key: Option<Bytes>, value: Option<Bytes>) -> Result<(), Failure> {
        let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
        self.bytes += u64::try_from(length(&key) + length(&value)).unwrap_or(u64::MAX);
        let record = ProducerRecord {
            topic: self.topic.clone(),
            partition: self.partition,
            key,
            value,
            headers: self.headers.clone(),
            timestamp: None,
        };
        let delivery = self.producer.send(record).await?;
        self.deliveries.push_back(delivery);
        self.records += 1;
        if self.records.is_multiple_of(STEP) {
            self.progress.set_message(format!("{} records", self.records));
            self.take_outcomes().await?;
        }
        Ok(())
    }

    /// Looks at what is decided; the first failure ends everything.
    async fn take_outcomes(&mut self) -> Result<(), Failure> {
        while let Some(first) = self.deliveries.front() {
            match first.outcome() {
                Some(outcome) => drop(outcome?),
                None if self.deliveries.len() < DELIVERIES_MAX => break,
                None => drop(first.clone().await?),
            }
            self.deliveries.pop_front();
        }
        Ok(())
    }

    async fn finish(&mut self) -> Result<(), Failure> {
        self.producer.flush().await;
        self.take_outcomes().await
    }

    fn summary(&self, context: &mut Context, topic: &str) -> Result<(), Failure> {
        let seconds = self.since.elapsed().as_secs_f64();
        if context.is_json() {
            return context.output.json(&json!({
                "topic": topic,
                "records": self.records,
                "bytes": self.bytes,
                "seconds": seconds,
            }));
        }
        let size = brooklet_types::ByteSize(self.bytes);
        let (records, rate) = (self.records, count_per_second(self.records, seconds));
        let noun = if records == 1 { "record" } else { "records" };
        context.output.line(&format!(
            "{records} {noun}, {size} to {topic} in {seconds:.2} s ({rate} records/s)"
        ))
    }
}

async fn send_lines(
    reader: &mut impl BufRead,
    sink: &mut Sink,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let mut line = Vec::new();
    let mut number = 0u64;
    loop {
        line.clear();
        let read = reader.by_ref().take(LINE_BYTES_MAX + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::new(format!("read input: {error}")))? == 0 {
            return Ok(());
        }
        number += 1;
        if u64::try_from(line.len()).is_ok_and(|bytes| bytes > LINE_BYTES_MAX) {
            let limit = brooklet_types::ByteSize(LINE_BYTES_MAX);
            return Err(Failure::new(format!("line {number}: longer than {limit}")));
        }
        if line.last() == Some(&b'\n') {
            line.pop();
            if line.last() == Some(&b'\r') {
                line.pop();
            }
        }
        let (key, value) = match (&arguments.input, &arguments.key_separator) {
            (Input::Json, _) => {
                let key = json_key(&line, arguments.key_column.as_deref());
                (key.map_err(|error| Failure::new(format!("line {number}: {error}")))?, &line[..])
            }
            (Input::Lines | Input::Csv, Some(separator)) => split(&line, separator.as_bytes()),
            (Input::Lines | Input::Csv, None) => (None, &line[..]),
        };
        sink.send(key, Some(Bytes::copy_from_slice(value))).await?;
    }
}

/// Key and value of a line; a line without separator is all value.
fn split<'a>(line: &'a [u8], separator: &[u8]) -> (Option<Bytes>, &'a [u8]) {
    let found = line.windows(separator.len().max(1)).position(|window| window == separator);
    match found {
        Some(at) => (Some(Bytes::copy_from_slice(&line[..at])), &line[at + separator.len()..]),
        None => (None, line),
    }
}

/// Checks that a line is JSON, and takes the key out of it.
fn json_key(line: &[u8], field: Option<&str>) -> Result<Option<Bytes>, String> {
    let value: Value = serde_json::from_slice(line)
        .map_err(|error| format!("column {}: this is not JSON", error.column()))?;
    let Some(field) = field else { return Ok(None) };
    match value.get(field) {
        None => Err(format!("there is no field {field:?}")),
        Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(Bytes::from(text.clone()))),
        Some(other) => Ok(Some(Bytes::from(other.to_string()))),
    }
}

async fn send_rows(
    reader: &mut impl Read,
    sink: &mut Sink,
    arguments: &Arguments,
) -> Result<(), Failure> {
    let wrong = |error: csv::Error| Failure::new(format!("read CSV: {error}"));
    let mut rows = csv::Reader::from_reader(reader);
    let head = rows.byte_headers().map_err(wrong)?.clone();
    let key = match &arguments.key_column {
        None => None,
        Some(name) => {
            let found = head.iter().position(|column| column == name.as_bytes());
            let columns: Vec<_> = head.iter().map(String::from_utf8_lossy).collect();
            let missing = || {
                Failure::usage(format!("there is no column {name:?}"))
                    .hint(format!("the columns are {}", columns.join(", ")))
            };
            Some(found.ok_or_else(missing)?)
        }
    };
    // Each name with its quotes and colon, as it stands in every object.
    let names: Vec<Vec<u8>> = head
        .iter()
        .map(|name| format!("{}:", json!(String::from_utf8_lossy(name))).into_bytes())
        .collect();
    let mut row = csv::ByteRecord::new();
    let mut value = Vec::new();
    while rows.read_byte_record(&mut row).map_err(wrong)? {
        value.clear();
        match arguments.value {
            RowValue::Json => write_object(&mut value, &names, &row),
            RowValue::Raw => write_row(&mut value, &row)?,
        }
        let key = key.and_then(|at| row.get(at)).filter(|key| !key.is_empty());
        sink.send(key.map(Bytes::copy_from_slice), Some(Bytes::copy_from_slice(&value))).await?;
    }
    Ok(())
}

fn write_object(value: &mut Vec<u8>, names: &[Vec<u8>], row: &csv::ByteRecord) {
    value.push(b'{');
    for (index, (name, field)) in names.iter().zip(row).enumerate() {
        if index > 0 {
            value.push(b',');
        }
        value.extend_from_slice(name);
        let text = String::from_utf8_lossy(field);
        serde_json::to_writer(&mut *value, &text).expect("a text in memory is always written");
    }
    value.push(b'}');
}

fn write_row(value: &mut Vec<u8>, row: &csv::ByteRecord) -> Result<(), Failure> {
    let mut writer = csv::WriterBuilder::new().from_writer(&mut *value);
    let written = writer.write_byte_record(row).and_then(|()| Ok(writer.flush()?));
    written.map_err(|error| Failure::new(format!("write CSV: {error}")))?;
    drop(writer);
    value.pop();
    Ok(())
}

/// The input, and its size if it is a file.
fn open(file: Option<&PathBuf>) -> Result<(Box<dyn Read>, Option<u64>), Failure> {
    let Some(path) = file.filter(|path| path.as_os_str() != "-") else {
        return Ok((Box::new(io::stdin()), None));
    };
    let wrong = |error: io::Error| Failure::file("open", path, &error);
    let file = File::open(path).map_err(wrong)?;
    let length = file.metadata().map_err(wrong)?.len();
    Ok((Box::new(file), Some(length)))
}

/// A bar on standard error; nothing where that is no terminal.
fn progress(total: Option<u64>) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let (bar, template) = match total {
        Some(total) => {
            (ProgressBar::new(total), "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} {msg}")
        }
        None => (ProgressBar::new_spinner(), "{spinner} {bytes} {bytes_per_sec} {msg}"),
    };
    bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
    bar
}

fn count_per_second(count: u64, seconds: f64) -> u64 {
    let millis = Duration::from_secs_f64(seconds).as_millis().max(1);
    u64::try_from(u128::from(count) * 1000 / millis).unwrap_or(u64::MAX)
}
