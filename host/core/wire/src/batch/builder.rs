//! Makes a batch, record by record.

use brooklet_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::Bytes;

use super::{
    Attributes, BatchError, BatchHeader, HEADER_BYTES, LENGTH_MIN, Stored, TimestampType, crc, put,
};
use crate::compress::{Codec, compress};

/// A batch under construction. Records are given in the order of their offsets.
#[derive(Clone, Debug)]
pub struct BatchBuilder {
    header: BatchHeader,
    codec: Codec,
    level: Option<i32>,
    /// Whether the last offset and the timestamps are an older batch's rather than the records'.
    keeps_header: bool,
    /// Whether times are counted from where an older batch counted them, so that its records fit as they are.
    keeps_base_timestamp: bool,
    /// Room for the header, and the records behind it.
    body: Vec<u8>,
    scratch: Vec<u8>,
}

/// What is set aside at once for the records of a batch that is edited. A header may claim any length.
const EDITED_BYTES_MAX: usize = 1 << 20;

impl BatchBuilder {
    /// An empty batch at offset 0, without producer.
    pub fn new(codec: Codec) -> BatchBuilder {
        let header = BatchHeader {
            base_offset: Offset::ZERO,
            batch_length: LENGTH_MIN,
            partition_leader_epoch: None,
            crc: 0,
            attributes: Attributes::default().with_codec(codec),
            last_offset_delta: 0,
            base_timestamp: Timestamp::NONE,
            max_timestamp: Timestamp::NONE,
            producer_id: None,
            producer_epoch: None,
            base_sequence: -1,
            record_count: 0,
        };
        let (body, scratch) = (vec![0; HEADER_BYTES], Vec::new());
        BatchBuilder {
            header,
            codec,
            level: None,
            keeps_header: false,
            keeps_base_timestamp: false,
            body,
            scratch,
        }
    }

    /// A batch in place of another one, as compaction makes it: offsets spanned, epoch, producer and
    /// flags are kept, the records are those pushed, possibly none.
    pub fn replacing(header: &BatchHeader) -> Result<BatchBuilder, BatchError> {
        let codec = header.attributes.codec()?;
        let mut builder = BatchBuilder::new(codec);
        builder.header = BatchHeader { record_count: 0, ..header.clone() };
        builder.keeps_header = true;
        Ok(builder)
    }

    /// As [`replacing`](BatchBuilder::replacing), for records of that batch of which most stay as they
    /// are: [`keep`](BatchBuilder::keep) takes them over without taking them apart.
    pub fn editing(header: &BatchHeader) -> Result<BatchBuilder, BatchError> {
        let mut builder = BatchBuilder::replacing(header)?;
        builder.keeps_base_timestamp = true;
        builder.body.reserve(header.total_bytes().min(EDITED_BYTES_MAX));
        Ok(builder)
    }

    /// Takes over a record of the batch that is edited.
    pub fn keep(&mut self, record: &Stored<'_>) -> Result<(), BatchError> {
        if !self.keeps_base_timestamp {
            return Err(BatchError::Build { problem: "a record of another batch" });
        }
        self.note_timestamp(record.timestamp);
        self.body.extend_from_slice(record.raw);
        self.header.record_count = self.header.record_count.saturating_add(1);
        Ok(())
    }

    /// Compresses with this level instead of the codec's default.
    pub fn level(mut self, level: i32) -> BatchBuilder {
        self.level = Some(level);
        self
    }

    /// Offset of the first record.
    pub fn base_offset(mut self, offset: Offset) -> BatchBuilder {
        self.header.base_offset = offset;
        self
    }

    /// Leader epoch it belongs to.
    pub fn leader_epoch(mut self, epoch: LeaderEpoch) -> BatchBuilder {
        self.header.partition_leader_epoch = Some(epoch);
        self
    }

    /// The idempotent producer and the sequence of the first record.
    pub fn producer(mut self, id: ProducerId, epoch: ProducerEpoch, sequence: i32) -> BatchBuilder {
        self.header.producer_id = Some(id);
        self.header.producer_epoch = Some(epoch);
        self.header.base_sequence = sequence;
        self
    }

    /// The flags; the codec stays what it is.
    pub fn attributes(mut self, attributes: Attributes) -> BatchBuilder {
        self.header.attributes = attributes.with_codec(self.codec);
        self
    }

    /// The broker's time for every record.
    pub fn log_append_time(mut self, now: Timestamp) -> BatchBuilder {
        let kind = TimestampType::LogAppendTime;
        self.header.attributes = self.header.attributes.with_timestamp_type(kind);
        self.header.max_timestamp = now;
        self
    }

    /// Tombstones may go from `horizon` on. Before the first record.
    pub fn delete_horizon(mut self, horizon: Timestamp) -> BatchBuilder {
        self.header.attributes = self.header.attributes.with_delete_horizon(true);
        self.header.base_timestamp = horizon;
        self
    }

    /// Adds a record at the next offset.
    pub fn push(
        &mut self,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BatchError> {
        let next = match self.header.record_count {
            0 => 0,
            _ => self.header.last_offset_delta.saturating_add(1),
        };
        let offset = self.header.base_offset.value().saturating_add(u64::from(next));
        let offset = i64::try_from(offset).ok().and_then(Offset::from_wire);
        let offset = offset.ok_or(BatchError::Build { problem: "offset beyond the range" })?;
        self.push_at(offset, timestamp, key, value, headers.len(), headers.iter().copied())
    }

    /// Adds a record at a given offset, as compaction needs it.
    pub fn push_at<'h>(
        &mut self,
        offset: Offset,
        timestamp: Timestamp,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        header_count: usize,
        headers: impl Iterator<Item = (&'h [u8], Option<&'h [u8]>)>,
    ) -> Result<(), BatchError> {
        let delta = offset.since(self.header.base_offset).map(|count| count.0);
        let delta = delta.filter(|&it| i32::try_from(it).is_ok());
        let delta = delta.ok_or(BatchError::Build { problem: "offset outside the batch" })?;
        let first = self.header.record_count == 0;
        let counts_from_first = !self.keeps_base_timestamp;
        if first && counts_from_first && !self.header.attributes.has_delete_horizon() {
            self.header.base_timestamp = timestamp;
        }
        self.note_timestamp(timestamp);
        if !self.keeps_header || delta > self.header.last_offset_delta {
            self.header.last_offset_delta = delta;
        }
        // A record's length stands before it. Headers, which can be looked at only once, are put together
        // first; keys and values, which may be long, are copied once.
        self.scratch.clear();
        put_varint(&mut self.scratch, length(header_count));
        for (name, value) in headers {
            put_nullable(&mut self.scratch, Some(name));
            put_nullable(&mut self.scratch, value);
        }
        let since = timestamp.0.wrapping_sub(self.header.base_timestamp.0);
        let delta = i64::from(delta);
        let bytes = 1_usize
            .saturating_add(varint_bytes(since))
            .saturating_add(varint_bytes(delta))
            .saturating_add(nullable_bytes(key))
            .saturating_add(nullable_bytes(value))
            .saturating_add(self.scratch.len());
        put_varint(&mut self.body, length(bytes));
        self.body.push(0);
        put_varint(&mut self.body, since);
        put_varint(&mut self.body, delta);
        put_nullable(&mut self.body, key);
        put_nullable(&mut self.body, value);
        self.body.extend_from_slice(&self.scratch);
        self.header.record_count = self.header.record_count.saturating_add(1);
        Ok(())
    }

    fn note_timestamp(&mut self, timestamp: Timestamp) {
        if self.header.attributes.timestamp_type() == TimestampType::CreateTime {
            let first = self.header.record_count == 0;
            let highest = self.header.max_timestamp.max(timestamp);
            // What was kept from a replaced batch holds for records that are gone.
            self.header.max_timestamp = if first { timestamp } else { highest };
        }
    }

    /// Records so far.
    pub fn record_count(&self) -> u32 {
        self.header.record_count
    }

    /// Bytes the batch would have without compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.body.len()
    }

    /// The batch, checksum and all.
    pub fn build(self) -> Result<Bytes, BatchError> {
        let (mut header, mut batch) = (self.header, self.body);
        let records = batch.get(HEADER_BYTES..).unwrap_or_default();
        match self.codec {
            _ if records.is_empty() => {}
            Codec::None => {}
            codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
                let packed = compress(codec, self.level, records)?;
                batch = Vec::with_capacity(packed.len().saturating_add(HEADER_BYTES));
                batch.resize(HEADER_BYTES, 0);
                batch.extend_from_slice(&packed);
            }
        }
        let counted = batch.len().saturating_sub(super::OVERHEAD_BYTES);
        let fits = i32::try_from(counted).ok().and_then(|it| u32::try_from(it).ok());
        header.batch_length = fits.ok_or(BatchError::Build { problem: "batch beyond 2 GiB" })?;
        if let Some(head) = batch.first_chunk_mut::<HEADER_BYTES>() {
            *head = header.encode();
        }
        header.crc = crc(&batch);
        if let Some(head) = batch.first_chunk_mut::<HEADER_BYTES>() {
            put(head, 17, header.crc.to_be_bytes());
        }
        Ok(batch.into())
    }
}

fn put_nullable(out: &mut Vec<u8>, bytes: Option<&[u8]>) {
    match bytes {
        None => put_varint(out, -1),
        Some(bytes) => {
            put_varint(out, length(bytes.len()));
            out.extend_from_slice(bytes);
        }
    }
}

fn length(bytes: usize) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Bytes of a zigzag varint.
fn varint_bytes(value: i64) -> usize {
    let raw = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    // Seven bits to a byte, and one byte at least.
    (64_usize.saturating_sub(usize::try_from((raw | 1).leading_zeros()).unwrap_or(0))).div_ceil(7)
}

fn nullable_bytes(bytes: Option<&[u8]>) -> usize {
    match bytes {
        None => varint_bytes(-1),
        Some(bytes) => varint_bytes(length(bytes.len())).saturating_add(bytes.len()),
    }
}

/// Zigzag.
fn put_varint(out: &mut Vec<u8>, value: i64) {
    let mut raw = (value.wrapping_shl(1) ^ (value >> 63)).cast_unsigned();
    while raw >= 0x80 {
        out.push(u8::try_from(raw & 0x7f).unwrap_or(0) | 0x80);
        raw >>= 7;
    }
    out.push(u8::try_from(raw).unwrap_or(0));
}
