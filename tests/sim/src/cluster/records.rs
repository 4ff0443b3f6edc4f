//! Records with names, so that each is known wherever it is seen.

use brooklet_log::validate::ValidatedBatch;
use brooklet_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;

/// Names one record for ever.
pub(crate) type RecordId = u64;

/// A record in a log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) offset: Offset,
    pub(crate) id: RecordId,
    pub(crate) epoch: LeaderEpoch,
}

/// What was found in a log.
#[derive(Debug)]
pub(crate) struct Parsed {
    pub(crate) seen: Vec<Seen>,
    /// The offset behind the last whole batch, and how many bytes those are.
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
}

/// A batch with these records.
pub(crate) fn batch_of(
    ids: &[RecordId],
    clock: Timestamp,
    (producer, sequence): (ProducerId, i32),
) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(Codec::None).producer(producer, ProducerEpoch(0), sequence);
    for id in ids {
        let value = value_of(*id);
        builder.push(clock, None, Some(value.as_bytes()), &[]).expect("small");
    }
    ValidatedBatch::trusted(builder.build().expect("small"))
}

/// What is in whole batches from `from` on; batches before it are passed over.
pub(crate) fn parse(from: Offset, bytes: &[u8]) -> Result<Parsed, String> {
    let mut parsed = Parsed { seen: Vec::new(), next: from, bytes: 0 };
    for split in batch::split(bytes) {
        let Ok((header, bytes)) = split else { break };
        batch::check_crc(bytes).map_err(|error| format!("damaged: {error}"))?;
        let records = batch::records(bytes).map_err(|error| error.to_string())?;
        let epoch = header.partition_leader_epoch.unwrap_or_default();
        for record in records.iter() {
            let record = record.map_err(|error| error.to_string())?;
            let id = name_of(record.value.unwrap_or_default())?;
            if record.offset >= from {
                parsed.seen.push(Seen { offset: record.offset, id, epoch });
            }
        }
        parsed.next = header.last_offset().next().max(from);
        parsed.bytes += u64::try_from(bytes.len()).expect("small");
    }
    Ok(parsed)
}

fn value_of(id: RecordId) -> String {
    format!("{id} {}", "x".repeat(usize::try_from(id % 50).expect("small")))
}

fn name_of(value: &[u8]) -> Result<RecordId, String> {
    let text = std::str::from_utf8(value).map_err(|error| error.to_string())?;
    let id = text.split(' ').next().and_then(|id| id.parse().ok());
    let id = id.ok_or_else(|| format!("a stranger: {text:?}"))?;
    if value_of(id) == text { Ok(id) } else { Err(format!("record {id} was changed")) }
}
