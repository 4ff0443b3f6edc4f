//! `brooklet dump`: what is in a segment, an offset index or a time index.
//!
//! Reads the bytes as they are and says of each batch whether its checksum holds. A bad batch does
//! not end the listing if its length leads to another one.

use std::path::{Path, PathBuf};

use brooklet_wire::batch::{self, BatchHeader};
use serde_json::{Value, json};

use crate::Context;
use crate::failure::Failure;
use crate::output::put_bytes;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// A .log, .index or .timeindex file
    file: PathBuf,
    /// The records of each batch too
    #[arg(long)]
    deep: bool,
    /// Their keys and values too
    #[arg(long, requires = "deep")]
    data: bool,
}

/// Lists the file. Fails in the end if anything in it is broken.
pub(crate) fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let path = &arguments.file;
    let bytes = std::fs::read(path).map_err(|error| Failure::file("read", path, &error))?;
    match path.extension().and_then(|extension| extension.to_str()) {
        Some("log") => dump_log(context, &arguments, &bytes),
        Some("index") => dump_index(context, path, &bytes),
        Some("timeindex") => dump_time_index(context, path, &bytes),
        Some(_) | None => {
            let message = format!("{} is no .log, .index or .timeindex file", path.display());
            Err(Failure::usage(message))
        }
    }
}

fn dump_log(context: &mut Context, arguments: &Arguments, bytes: &[u8]) -> Result<(), Failure> {
    let mut position = 0;
    let mut broken = 0;
    while let Some(rest) = bytes.get(position..).filter(|rest| !rest.is_empty()) {
        if rest.iter().all(|byte| *byte == 0) {
            // Space set aside for what comes next, in a segment that is being written.
            let value = json!({ "position": position, "padding": rest.len() });
            show(context, &value)?;
            break;
        }
        let header = match BatchHeader::parse(rest) {
            Ok(header) => header,
            Err(error) => {
                show(context, &json!({ "position": position, "error": error.to_string() }))?;
                broken += 1;
                break;
            }
        };
        let Some(whole) = rest.get(..header.total_bytes()) else {
            let missing = header.total_bytes() - rest.len();
            let error = format!("batch is cut {missing} bytes before its end");
            show(context, &json!({ "position": position, "error": error }))?;
            broken += 1;
            break;
        };
        let verdict = batch::check_crc(whole);
        broken += u64::from(verdict.is_err());
        let verdict = verdict.map_or_else(|error| error.to_string(), |()| "ok".to_owned());
        show(context, &describe(position, &header, &verdict))?;
        if arguments.deep && verdict == "ok" {
            broken += dump_records(context, arguments, whole)?;
        }
        position += whole.len();
    }
    if broken > 0 {
        return Err(Failure::new(format!(
            "{broken} broken places in {}",
            arguments.file.display()
        )));
    }
    Ok(())
}

fn describe(position: usize, header: &BatchHeader, crc: &str) -> Value {
    json!({
        "position": position,
        "bytes": header.total_bytes(),
        "base_offset": header.base_offset().value(),
        "last_offset": header.last_offset().value(),
        "records": header.record_count,
        "leader_epoch": header.partition_leader_epoch.map(|epoch| epoch.0),
        "producer_id": header.producer_id.map(|id| id.0),
        "producer_epoch": header.producer_epoch.map(|epoch| epoch.0),
        "base_sequence": header.base_sequence,
        "max_timestamp": header.max_timestamp.0,
        "codec": header.attributes.codec().map_or("unknown", |codec| codec.name()),
        "transactional": header.attributes.is_transactional(),
        "control": header.attributes.is_control(),
        "crc": crc,
    })
}

fn dump_records(
    context: &mut Context,
    arguments: &Arguments,
    whole: &[u8],
) -> Result<u64, Failure> {
    let records = match batch::records(whole) {
        Ok(records) => records,
        Err(error) => {
            show(context, &json!({ "error": error.to_string() }))?;
            return Ok(1);
        }
    };
    for record in records.iter() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                show(context, &json!({ "error": error.to_string() }))?;
                return Ok(1);
            }
        };
        let mut value = json!({
            "offset": record.offset.value(),
            "timestamp": record.timestamp.0,
            "key_bytes": record.key.map(<[u8]>::len),
            "value_bytes": record.value.map(<[u8]>::len),
            "headers": record.header_count(),
        });
        if arguments.data {
            put_bytes(&mut value, "key", record.key);
            put_bytes(&mut value, "value", record.value);
        }
        show(context, &value)?;
    }
    Ok(0)
}

fn dump_index(context: &mut Context, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let base = base_offset(path)?;
    let mut last = None;
    for entry in bytes.chunks_exact(8) {
        let relative = be_u32(entry, 0);
        // A preallocated index ends in zeroes.
        if last.is_some() && relative == 0 {
            break;
        }
        last = Some(relative);
        let offset = base.saturating_add(u64::from(relative));
        show(context, &json!({ "offset": offset, "position": be_u32(entry, 4) }))?;
    }
    Ok(())
}

fn dump_time_index(context: &mut Context, path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let base = base_offset(path)?;
    for entry in bytes.chunks_exact(12) {
        let timestamp = u64::from(be_u32(entry, 0)) << 32 | u64::from(be_u32(entry, 4));
        if timestamp == 0 {
            break;
        }
        let offset = base.saturating_add(u64::from(be_u32(entry, 8)));
        show(context, &json!({ "timestamp": timestamp.cast_signed(), "offset": offset }))?;
    }
    Ok(())
}

/// Kafka names a segment's files by its first offset.
fn base_offset(path: &Path) -> Result<u64, Failure> {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
    stem.ok_or_else(|| Failure::usage(format!("{} is not named by an offset", path.display())))
}

fn be_u32(entry: &[u8], at: usize) -> u32 {
    u32::from_be_bytes(entry[at..at + 4].try_into().expect("four bytes of a whole entry"))
}

/// One object: as JSON, or as `name: value` pairs on a line without what is absent.
fn show(context: &mut Context, value: &Value) -> Result<(), Failure> {
    if context.is_json() {
        return context.output.json(value);
    }
    let fields = value.as_object().into_iter().flatten();
    let present = fields.filter(|(_, value)| !value.is_null());
    let texts: Vec<String> = present
        .map(|(name, value)| match value.as_str() {
            Some(text) => format!("{name}: {text}"),
            None => format!("{name}: {value}"),
        })
        .collect();
    context.output.line(&texts.join("  "))
}
