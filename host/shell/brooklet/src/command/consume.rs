//! `brooklet consume`: records to standard output.
//!
//! Without `--follow` it ends where the partitions ended when it began.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_client::consumer::{Assignor, Reset};
use brooklet_client::offsets::Partition;
use brooklet_client::{
    Client, Consumer, ConsumerConfig, ConsumerRecord, Event, GroupConfig, OffsetSpec,
    PartitionRecords,
};
use clap::ValueEnum;
use serde_json::{Value, json};

use super::position::Position;
use super::stop_signals;
use crate::Context;
use crate::failure::Failure;
use crate::output::put_bytes;

/// How long one look at the consumer takes at most; output is let go of in between.
const POLL: Duration = Duration::from_millis(200);

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// What to read
    #[arg(required = true, value_name = "TOPIC")]
    topics: Vec<String>,
    /// Where to begin: start, end, OFFSET (or the nearest there is), -N (so many records before the
    /// end of each partition), @TIME
    #[arg(
        short,
        long,
        default_value = "start",
        allow_hyphen_values = true,
        value_name = "POSITION"
    )]
    from: Position,
    /// End after so many records
    #[arg(short = 'n', long)]
    count: Option<u64>,
    /// Go on when the end is reached
    #[arg(short = 'F', long)]
    follow: bool,
    /// Read as a member of this group, from where the group is
    #[arg(short, long, conflicts_with_all = ["partition"])]
    group: Option<String>,
    /// How the group's partitions are spread: offers only this assignor
    #[arg(long, requires = "group", value_parser = assignor)]
    assignor: Option<Assignor>,
    /// A name under which the member may come back without a rebalance
    #[arg(long, requires = "group")]
    instance: Option<String>,
    /// Read only this partition; may be repeated
    #[arg(short, long)]
    partition: Vec<u32>,
    /// How a record is written
    #[arg(short, long, value_enum)]
    output: Option<Style>,
    /// For text: %t topic, %p partition, %o offset, %T timestamp, %k key, %v value, %h headers,
    /// %% and \n \t \r \0
    #[arg(long, default_value = "%v\\n")]
    template: String,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Style {
    /// By the template
    Text,
    /// One JSON object per line; what is no text is there in hexadecimal, as value_hex
    Json,
    /// Values, nothing between them
    Raw,
}

/// Reads until the end, the count, or for ever.
pub(crate) async fn run(context: &mut Context, arguments: Arguments) -> Result<(), Failure> {
    let client = context.client();
    let template = parse_template(&arguments.template).map_err(Failure::usage)?;
    let style =
        arguments.output.unwrap_or(if context.is_json() { Style::Json } else { Style::Text });
    let mut ends = BTreeMap::new();
    let mut consumer = if let Some(group) = &arguments.group {
        let reset = match arguments.from {
            Position::End => Reset::Latest,
            Position::Start => Reset::Earliest,
            Position::Offset(_) | Position::Last(_) | Position::At(_) => {
                let message = "a group continues where it is; --from may be start or end";
                return Err(Failure::usage(message).hint("`brooklet group reset` moves a group"));
            }
        };
        // A group would wait for a topic that may come; whoever types a name has mistyped it.
        partitions(&client, &arguments).await?;
        let config = ConsumerConfig { reset, ..ConsumerConfig::default() };
        let mut group = GroupConfig::new(group.as_str());
        group.instance_id.clone_from(&arguments.instance);
        if let Some(assignor) = arguments.assignor {
            group.assignors = vec![assignor];
        }
        Consumer::subscribe(client.clone(), config, group, arguments.topics.clone())
    } else {
        let partitions = partitions(&client, &arguments).await?;
        let starts = starts(&client, &partitions, arguments.from).await?;
        ends = offsets(&client, &partitions, OffsetSpec::Latest).await?;
        let config = ConsumerConfig { reset: Reset::Fail, ..ConsumerConfig::default() };
        Consumer::assign(client.clone(), config, starts)
    };
    let mut signals = stop_signals()?;
    let mut left = arguments.count.unwrap_or(u64::MAX);
    let mut assigned = arguments.group.is_none();
    while left > 0 {
        let reached = |(at, end): (&Partition, &i64)| {
            consumer.positions().get(at).is_none_or(|offset| offset >= end)
        };
        if assigned && !arguments.follow && ends.iter().all(reached) {
            break;
        }
        let event = tokio::select! {
            event = consumer.poll(POLL) => event?,
            // A reader that is told to stop still commits what it wrote.
            _ = signals.received() => break,
        };
        match event {
            Event::Records(records) => {
                let written = write(context, style, &template, &records, left)?;
                left -= written;
                let all = u64::try_from(records.records.len()).is_ok_and(|all| all == written);
                if !all {
                    // What was not written is not processed.
                    let next = records.records.get(usize::try_from(written).unwrap_or(usize::MAX));
                    let partition = (records.topic.to_string(), records.partition);
                    consumer.seek(partition, next.map_or(records.next_offset, |one| one.offset));
                }
            }
            Event::Assigned(partitions) => {
                assigned = true;
                // What we had before ends where it did.
                ends.retain(|partition, _| partitions.contains(partition));
                let new = partitions.into_iter().filter(|partition| !ends.contains_key(partition));
                let new: Vec<Partition> = new.collect();
                ends.extend(offsets(&client, &new, OffsetSpec::Latest).await?);
            }
            Event::Idle => context.output.flush()?,
        }
    }
    context.output.flush()?;
    Ok(consumer.close().await?)
}

/// The partitions that are meant, all of which exist.
async fn partitions(client: &Client, arguments: &Arguments) -> Result<Vec<Partition>, Failure> {
    let mut partitions = Vec::new();
    for topic in &arguments.topics {
        let metadata = client.retry_known(|| client.topic(topic)).await?;
        let known = metadata.partitions.iter().map(|partition| partition.index);
        if arguments.partition.is_empty() {
            partitions.extend(known.map(|index| (topic.clone(), index)));
            continue;
        }
        for index in &arguments.partition {
            if !known.clone().any(|known| known == *index) {
                let count = metadata.partitions.len();
                let message = format!("topic {topic} has {count} partitions, not number {index}");
                return Err(Failure::missing(message));
            }
            partitions.push((topic.clone(), *index));
        }
    }
    Ok(partitions)
}

async fn starts(
    client: &Client,
    partitions: &[Partition],
    from: Position,
) -> Result<BTreeMap<Partition, i64>, Failure> {
    match from {
        Position::Start => offsets(client, partitions, OffsetSpec::Earliest).await,
        Position::End => offsets(client, partitions, OffsetSpec::Latest).await,
        Position::At(time) => offsets(client, partitions, OffsetSpec::At(time)).await,
        Position::Offset(_) | Position::Last(_) => {
            let starts = offsets(client, partitions, OffsetSpec::Earliest).await?;
            let ends = offsets(client, partitions, OffsetSpec::Latest).await?;
            let nearest = |(at, end): (Partition, i64)| {
                let start = starts.get(&at).copied().unwrap_or(0);
                let wanted = match from {
                    Position::Offset(offset) => offset,
                    Position::Last(count) => end.saturating_sub(count),
                    Position::Start | Position::End | Position::At(_) => start,
                };
                (at, wanted.clamp(start, end.max(start)))
            };
            Ok(ends.into_iter().map(nearest).collect())
        }
    }
}

/// Offsets of many partitions; the end where no record is late enough.
pub(crate) async fn offsets(
    client: &Client,
    partitions: &[Partition],
    spec: OffsetSpec,
) -> Result<BTreeMap<Partition, i64>, Failure> {
    let wanted = |spec| partitions.iter().map(move |at| (at.clone(), spec)).collect::<Vec<_>>();
    let found = client.offsets(&wanted(spec)).await?;
    let ends = if found.values().all(|at| at.offset.is_some()) {
        BTreeMap::new()
    } else {
        client.offsets(&wanted(OffsetSpec::Latest)).await?
    };
    let offset = |(at, found): (Partition, brooklet_client::OffsetAt)| {
        let end = || ends.get(&at).and_then(|end| end.offset).unwrap_or(0);
        let offset = found.offset.unwrap_or_else(end);
        (at, offset)
    };
    Ok(found.into_iter().map(offset).collect())
}

/// Writes up to `left` records; says how many.
fn write(
    context: &mut Context,
    style: Style,
    template: &[Piece],
    records: &PartitionRecords,
    left: u64,
) -> Result<u64, Failure> {
    let mut written = 0;
    let mut bytes = Vec::new();
    for record in &records.records {
        if written == left {
            break;
        }
        match style {
            Style::Text => render(&mut bytes, template, records, record),
            Style::Raw => bytes.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            Style::Json => {
                bytes.extend_from_slice(as_json(records, record).to_string().as_bytes());
                bytes.push(b'\n');
            }
        }
        written += 1;
    }
    context.output.bytes(&bytes)?;
    Ok(written)
}

fn as_json(records: &PartitionRecords, record: &ConsumerRecord) -> Value {
    let headers = record.headers.iter().map(|(name, value)| {
        let mut header = json!({ "name": String::from_utf8_lossy(name) });
        put_bytes(&mut header, "value", value.as_deref());
        header
    });
    let mut object = json!({
        "topic": &*records.topic,
        "partition": records.partition,
        "offset": record.offset,
        "timestamp": record.timestamp.0,
        "headers": headers.collect::<Vec<_>>(),
    });
    put_bytes(&mut object, "key", record.key.as_deref());
    put_bytes(&mut object, "value", record.value.as_deref());
    object
}

fn assignor(name: &str) -> Result<Assignor, String> {
    let names = Assignor::ALL.map(Assignor::name);
    Assignor::from_name(name).ok_or_else(|| format!("choose one of {}", names.join(", ")))
}

/// A part of the template.
#[derive(Debug, PartialEq, Eq)]
enum Piece {
    Text(Vec<u8>),
    Topic,
    Partition,
    Offset,
    Timestamp,
    Key,
    Value,
    Headers,
}

fn render(
    out: &mut Vec<u8>,
    template: &[Piece],
    records: &PartitionRecords,
    record: &ConsumerRecord,
) {
    for piece in template {
        match piece {
            Piece::Text(text) => out.extend_from_slice(text),
            Piece::Topic => out.extend_from_slice(records.topic.as_bytes()),
            Piece::Partition => out.extend_from_slice(records.partition.to_string().as_bytes()),
            Piece::Offset => out.extend_from_slice(record.offset.to_string().as_bytes()),
            Piece::Timestamp => out.extend_from_slice(record.timestamp.0.to_string().as_bytes()),
            Piece::Key => out.extend_from_slice(record.key.as_deref().unwrap_or_default()),
            Piece::Value => out.extend_from_slice(record.value.as_deref().unwrap_or_default()),
            Piece::Headers => {
                for (index, (name, value)) in record.headers.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    out.extend_from_slice(name);
                    out.push(b'=');
                    out.extend_from_slice(value.as_deref().unwrap_or_default());
                }
            }
        }
    }
}

fn parse_template(text: &str) -> Result<Vec<Piece>, String> {
    let mut pieces = Vec::new();
    let mut literal = Vec::new();
    let mut characters = text.chars();
    while let Some(character) = characters.next() {
        let piece = match (character, characters.clone().next()) {
            ('%', Some('t')) => Piece::Topic,
            ('%', Some('p')) => Piece::Partition,
            ('%', Some('o')) => Piece::Offset,
            ('%', Some('T')) => Piece::Timestamp,
            ('%', Some('k')) => Piece::Key,
            ('%', Some('v')) => Piece::Value,
            ('%', Some('h')) => Piece::Headers,
            ('%', Some('%')) => Piece::Text(vec![b'%']),
            ('\\', Some('n')) => Piece::Text(vec![b'\n']),
            ('\\', Some('t')) => Piece::Text(vec![b'\t']),
            ('\\', Some('r')) => Piece::Text(vec![b'\r']),
            ('\\', Some('0')) => Piece::Text(vec![0]),
            ('\\', Some('\\')) => Piece::Text(vec![b'\\']),
            ('%' | '\\', other) => {
                let other = other.map(String::from).unwrap_or_default();
                return Err(format!("{character}{other} in the template means nothing"));
            }
            (other, _) => {
                literal.extend_from_slice(other.encode_utf8(&mut [0; 4]).as_bytes());
                continue;
            }
        };
        characters.next();
        if let Piece::Text(text) = piece {
            literal.extend_from_slice(&text);
            continue;
        }
        if !literal.is_empty() {
            pieces.push(Piece::Text(std::mem::take(&mut literal)));
        }
        pieces.push(piece);
    }
    if !literal.is_empty() {
        pieces.push(Piece::Text(literal));
    }
    Ok(pieces)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_template_is_read_piece_by_piece() {
        let pieces = parse_template("%k: %v%%\\n").unwrap();
        let text = |text: &str| Piece::Text(text.as_bytes().to_vec());
        assert_eq!(pieces, [Piece::Key, text(": "), Piece::Value, text("%\n")]);
        assert!(parse_template("%x").is_err());
        assert!(parse_template("\\").is_err());
    }
}
