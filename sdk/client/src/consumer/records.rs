//! What an answer to a Fetch has of one partition: batches, and which of their records a consumer is told.
//!
//! **Decides** what is left out: what lies before the position, markers, and aborted transactions where those are not wanted.
//! **Never** takes a broker's word: batches are checked, and half of one at the end is asked for again.
//!
//! **Invariant.** Records lie from the position on, before [`Read::next_offset`].

use std::collections::BTreeSet;

use brooklet_wire::batch::{self, BatchError};
use brooklet_wire::message::fetch_response::PartitionData;
use bytes::Bytes;

use super::{ConsumerConfig, ConsumerRecord};

/// What was read, and where it goes on: at the position, if there was nothing.
#[derive(Clone, Debug)]
pub struct Read {
    /// May be none where a compacted or aborted stretch was passed.
    pub records: Vec<ConsumerRecord>,
    /// The offset behind what was read.
    pub next_offset: i64,
}

/// The batch at the position cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("batch at offset {offset}: {source}")]
pub struct BadBatch {
    /// The position.
    pub offset: i64,
    /// Why not.
    pub source: BatchError,
}

/// Reads what `data` has from `position` on, as far as it can be read.
///
/// # Errors
/// If nothing was read because of a bad batch.
pub fn read(
    config: &ConsumerConfig,
    position: i64,
    data: &PartitionData,
) -> Result<Read, BadBatch> {
    let mut read = Read { records: Vec::new(), next_offset: position };
    let Some(bytes) = &data.records else { return Ok(read) };
    let mut aborted = Aborted::new(config.read_committed, data);
    for batch in batch::split(bytes) {
        let end = batch.and_then(|(_, batch)| {
            decode(config, bytes, batch, position, &mut aborted, &mut read.records)
        });
        match end {
            Ok(end) => read.next_offset = read.next_offset.max(end),
            // Half a batch at the end is what the limit of bytes cut off.
            Err(BatchError::Truncated { .. }) => break,
            // First what is readable; the next fetch begins with the bad one.
            Err(_) if read.next_offset > position => break,
            Err(source) => return Err(BadBatch { offset: position, source }),
        }
    }
    Ok(read)
}

/// Where the whole batches of an answer end, by their headers alone.
pub(crate) fn readable_end(position: i64, data: &PartitionData) -> i64 {
    let batches = data.records.as_deref().map(batch::split).into_iter().flatten();
    let headers = batches.map_while(|batch| batch::BatchHeader::parse(batch.ok()?.1).ok());
    headers.fold(position, |end, header| end.max(header.last_offset().to_wire().saturating_add(1)))
}

/// Adds the records of one batch of `answer` from `position` on, and says which offset follows it.
fn decode(
    config: &ConsumerConfig,
    answer: &Bytes,
    bytes: &[u8],
    position: i64,
    aborted: &mut Aborted,
    records: &mut Vec<ConsumerRecord>,
) -> Result<i64, BatchError> {
    if config.check_crcs {
        batch::check_crc(bytes)?;
    }
    let header = batch::BatchHeader::parse(bytes)?;
    let end = header.last_offset().to_wire().saturating_add(1);
    let attributes = header.attributes;
    let producer = header.producer_id.map(|id| id.to_wire());
    aborted.advance(header.last_offset().to_wire());
    if attributes.is_control() {
        // A marker ends its producer's transaction.
        aborted.ended(producer);
        return Ok(end);
    }
    if end <= position || (attributes.is_transactional() && aborted.contains(producer)) {
        return Ok(end);
    }
    let kept = records.len();
    let batch = batch::records(bytes)?;
    for record in batch.iter() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                records.truncate(kept);
                return Err(error);
            }
        };
        if record.offset.to_wire() < position {
            continue;
        }
        let copy = |part| shared(answer, part);
        let headers = record.headers.clone();
        records.push(ConsumerRecord {
            offset: record.offset.to_wire(),
            timestamp: record.timestamp,
            key: record.key.map(copy),
            value: record.value.map(copy),
            headers: headers.map(|(name, value)| (copy(name), value.map(copy))).collect(),
        });
    }
    Ok(end)
}

/// `part` of `whole`, or a copy, where it lies elsewhere (having been compressed) or is no larger than what it would take to
/// share it.
fn shared(whole: &Bytes, part: &[u8]) -> Bytes {
    /// About what an allocation costs; a small part is not to keep a large answer.
    const COPIED_BYTES_MAX: usize = 128;
    let within = whole.as_ptr_range().contains(&part.as_ptr());
    if within && part.len() > COPIED_BYTES_MAX {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// The aborted transactions of one answer.
struct Aborted {
    /// First offset and producer, by offset; those not reached yet.
    ahead: BTreeSet<(i64, i64)>,
    /// Producers whose transaction at the current offset was aborted.
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(read_committed: bool, data: &PartitionData) -> Aborted {
        let listed = data.aborted_transactions.iter().flatten().filter(|_| read_committed);
        let ahead = listed.map(|one| (one.first_offset, one.producer_id)).collect();
        Aborted { ahead, open: BTreeSet::new() }
    }

    fn advance(&mut self, offset: i64) {
        while let Some((first, producer)) = self.ahead.first().copied() {
            if first > offset {
                break;
            }
            self.ahead.pop_first();
            self.open.insert(producer);
        }
    }

    fn contains(&self, producer: Option<i64>) -> bool {
        producer.is_some_and(|producer| self.open.contains(&producer))
    }

    fn ended(&mut self, producer: Option<i64>) {
        if let Some(producer) = producer {
            self.open.remove(&producer);
        }
    }
}
