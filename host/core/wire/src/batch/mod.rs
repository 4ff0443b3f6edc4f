//! Record batch v2: Kafka's unit of producing, storing and fetching, byte for byte.
//!
//! **Decides** which bytes are a batch. **Never** assigns offsets or judges a producer (the log
//! does), and never allocates on the word of a length.
//!
//! The checksum covers bytes 21 and on. What the broker fills in, the base offset (bytes 0..8) and
//! the partition leader epoch (12..16), lies before it, so a batch is patched without being read.

mod builder;
mod record;

use brooklet_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use bytes::{Bytes, BytesMut};

pub use builder::BatchBuilder;
pub use record::{Headers, Record, RecordIter, Records, Stored, records};

use crate::checksum;
use crate::compress::{Codec, CompressError};

/// The bytes before the records.
pub const HEADER_BYTES: usize = 61;

/// The bytes that the length field does not count: the base offset and itself.
pub const OVERHEAD_BYTES: usize = 12;

/// Where the checksum begins.
pub const CRC_FROM: usize = 21;

/// The only format there is since Kafka 4.0.
const MAGIC: i8 = 2;

/// Bytes that are not a batch.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BatchError {
    /// The bytes end before the batch does.
    #[error("batch of {needed} bytes is cut after {have}")]
    Truncated { needed: usize, have: usize },
    /// The length field leaves no room for a header.
    #[error("batch claims a length of {length}")]
    Length { length: i32 },
    /// A message format from before 2017, or none.
    #[error("batch has magic {magic}, only 2 is known")]
    Magic { magic: i8 },
    /// A base offset below zero, or one whose last offset leaves the range.
    #[error("batch spans offsets {base} plus {delta}")]
    Offsets { base: i64, delta: i32 },
    /// A negative number of records.
    #[error("batch claims {count} records")]
    Count { count: i32 },
    /// A codec nobody has defined.
    #[error("batch has unknown compression codec {codec}")]
    Codec { codec: i16 },
    /// The bytes are not those that were written.
    #[error("batch checksum is {found:#010x}, its header says {expected:#010x}")]
    Crc { expected: u32, found: u32 },
    /// The records cannot be decompressed.
    #[error("records of a batch: {0}")]
    Compression(#[from] CompressError),
    /// A record is not well-formed.
    #[error("record {index} of a batch: {problem}")]
    Record { index: u32, problem: &'static str },
    /// The builder was asked for what a batch cannot hold.
    #[error("cannot build a batch: {problem}")]
    Build { problem: &'static str },
}

impl BatchError {
    /// What a producer is told: what Kafka 4.3 was seen to answer. Where Kafka answers
    /// `UNKNOWN_SERVER_ERROR` because an exception escapes it (an undefined codec, undecodable
    /// records), a code that says what is wrong takes its place. It is as final: the checksum held,
    /// so sending the same bytes again would not help.
    pub fn code(&self) -> ErrorCode {
        match self {
            BatchError::Length { .. } | BatchError::Crc { .. } => ErrorCode::CorruptMessage,
            // Formats that once were are invalid, others were never written by anybody.
            BatchError::Magic { magic: 0 | 1 } => ErrorCode::InvalidRecord,
            BatchError::Magic { .. } => ErrorCode::CorruptMessage,
            BatchError::Truncated { .. }
            | BatchError::Offsets { .. }
            | BatchError::Count { .. }
            | BatchError::Record { .. }
            | BatchError::Compression(CompressError::Malformed { .. }) => ErrorCode::InvalidRecord,
            // The Java producer answers this one by splitting the batch.
            BatchError::Compression(CompressError::TooLarge { .. }) => ErrorCode::MessageTooLarge,
            BatchError::Codec { .. } => ErrorCode::UnsupportedCompressionType,
            BatchError::Build { .. } => ErrorCode::UnknownServerError,
        }
    }
}

/// Who set the records' timestamps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimestampType {
    /// The producer, record by record.
    CreateTime,
    /// The broker: every record has the batch's maximum.
    LogAppendTime,
}

/// The flags of a batch. Unknown bits are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Attributes(pub i16);

impl Attributes {
    const CODEC: i16 = 0x07;
    const LOG_APPEND_TIME: i16 = 0x08;
    const TRANSACTIONAL: i16 = 0x10;
    const CONTROL: i16 = 0x20;
    const DELETE_HORIZON: i16 = 0x40;

    /// How the records are compressed; an error for the two numbers nobody has defined.
    pub fn codec(self) -> Result<Codec, BatchError> {
        let codec = self.0 & Attributes::CODEC;
        Codec::from_wire(codec).ok_or(BatchError::Codec { codec })
    }

    /// Who set the timestamps.
    pub fn timestamp_type(self) -> TimestampType {
        if self.has(Attributes::LOG_APPEND_TIME) {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        }
    }

    /// Part of a transaction.
    pub fn is_transactional(self) -> bool {
        self.has(Attributes::TRANSACTIONAL)
    }

    /// Holds a transaction marker instead of records.
    pub fn is_control(self) -> bool {
        self.has(Attributes::CONTROL)
    }

    /// The base timestamp is the time from which tombstones may go.
    pub fn has_delete_horizon(self) -> bool {
        self.has(Attributes::DELETE_HORIZON)
    }

    /// The same with another codec.
    pub fn with_codec(self, codec: Codec) -> Attributes {
        Attributes(self.0 & !Attributes::CODEC | codec.to_wire())
    }

    /// The same with another owner of the timestamps.
    pub fn with_timestamp_type(self, kind: TimestampType) -> Attributes {
        self.with(Attributes::LOG_APPEND_TIME, kind == TimestampType::LogAppendTime)
    }

    /// The same, in a transaction or not.
    pub fn with_transactional(self, on: bool) -> Attributes {
        self.with(Attributes::TRANSACTIONAL, on)
    }

    /// The same, with a marker or with records.
    pub fn with_control(self, on: bool) -> Attributes {
        self.with(Attributes::CONTROL, on)
    }

    /// The same, with a delete horizon or without.
    pub fn with_delete_horizon(self, on: bool) -> Attributes {
        self.with(Attributes::DELETE_HORIZON, on)
    }

    fn has(self, bit: i16) -> bool {
        self.0 & bit != 0
    }

    fn with(self, bit: i16, on: bool) -> Attributes {
        Attributes(if on { self.0 | bit } else { self.0 & !bit })
    }
}

/// The 61 bytes before the records, as values.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BatchHeader {
    /// Offset of the first record the batch was written with.
    pub base_offset: Offset,
    /// Bytes after the length field: at least 49.
    pub batch_length: u32,
    /// Leader epoch it was appended in; none in a batch from a producer.
    pub partition_leader_epoch: Option<LeaderEpoch>,
    /// CRC-32C of bytes 21 and on.
    pub crc: u32,
    /// Codec and flags.
    pub attributes: Attributes,
    /// Last offset less base offset. Compaction keeps it while records go.
    pub last_offset_delta: u32,
    /// What the records' timestamps are relative to, or the delete horizon.
    pub base_timestamp: Timestamp,
    /// The highest timestamp of the batch.
    pub max_timestamp: Timestamp,
    /// Set for idempotent producers.
    pub producer_id: Option<ProducerId>,
    /// Set with the producer id.
    pub producer_epoch: Option<ProducerEpoch>,
    /// Sequence of the first record, -1 without a producer id.
    pub base_sequence: i32,
    /// Records in the batch; less than the offsets it spans once compacted.
    pub record_count: u32,
}

impl BatchHeader {
    /// Reads the first 61 bytes of `bytes`. The rest of the batch need not be there.
    pub fn parse(bytes: &[u8]) -> Result<BatchHeader, BatchError> {
        let short = BatchError::Truncated { needed: HEADER_BYTES, have: bytes.len() };
        let header: &[u8; HEADER_BYTES] = bytes.first_chunk().ok_or(short)?;
        let magic = i8::from_be_bytes(at(header, 16));
        if magic != MAGIC {
            return Err(BatchError::Magic { magic });
        }
        let length = i32::from_be_bytes(at(header, 8));
        let counted = u32::try_from(length).ok().filter(|&it| it >= LENGTH_MIN);
        let batch_length = counted.ok_or(BatchError::Length { length })?;
        let base = i64::from_be_bytes(at(header, 0));
        let delta = i32::from_be_bytes(at(header, 23));
        let in_range = base.checked_add(i64::from(delta)).is_some();
        let last_offset_delta = u32::try_from(delta).ok().filter(|_| in_range);
        let offsets = Offset::from_wire(base).zip(last_offset_delta);
        let (base_offset, last_offset_delta) =
            offsets.ok_or(BatchError::Offsets { base, delta })?;
        let count = i32::from_be_bytes(at(header, 57));
        let record_count = u32::try_from(count).map_err(|_| BatchError::Count { count })?;
        Ok(BatchHeader {
            base_offset,
            batch_length,
            partition_leader_epoch: LeaderEpoch::from_wire(i32::from_be_bytes(at(header, 12))),
            crc: u32::from_be_bytes(at(header, 17)),
            attributes: Attributes(i16::from_be_bytes(at(header, 21))),
            last_offset_delta,
            base_timestamp: Timestamp(i64::from_be_bytes(at(header, 27))),
            max_timestamp: Timestamp(i64::from_be_bytes(at(header, 35))),
            producer_id: ProducerId::from_wire(i64::from_be_bytes(at(header, 43))),
            producer_epoch: ProducerEpoch::from_wire(i16::from_be_bytes(at(header, 51))),
            base_sequence: i32::from_be_bytes(at(header, 53)),
            record_count,
        })
    }

    /// The 61 bytes. A field the parser would refuse saturates.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        let wire = |value: u32| i32::try_from(value).unwrap_or(i32::MAX).to_be_bytes();
        put(&mut header, 0, self.base_offset.to_wire().to_be_bytes());
        put(&mut header, 8, wire(self.batch_length));
        let epoch = self.partition_leader_epoch.map_or(-1, LeaderEpoch::to_wire);
        put(&mut header, 12, epoch.to_be_bytes());
        put(&mut header, 16, MAGIC.to_be_bytes());
        put(&mut header, 17, self.crc.to_be_bytes());
        put(&mut header, 21, self.attributes.0.to_be_bytes());
        put(&mut header, 23, wire(self.last_offset_delta));
        put(&mut header, 27, self.base_timestamp.0.to_be_bytes());
        put(&mut header, 35, self.max_timestamp.0.to_be_bytes());
        put(&mut header, 43, self.producer_id.map_or(-1, ProducerId::to_wire).to_be_bytes());
        put(&mut header, 51, self.producer_epoch.map_or(-1, ProducerEpoch::to_wire).to_be_bytes());
        put(&mut header, 53, self.base_sequence.to_be_bytes());
        put(&mut header, 57, wire(self.record_count));
        header
    }

    /// Bytes of the whole batch.
    pub fn total_bytes(&self) -> usize {
        usize::try_from(self.batch_length).unwrap_or(usize::MAX).saturating_add(OVERHEAD_BYTES)
    }

    /// Offset of the first record.
    pub fn base_offset(&self) -> Offset {
        self.base_offset
    }

    /// Offset of the last record the batch was written with.
    pub fn last_offset(&self) -> Offset {
        let last = self.base_offset.value().saturating_add(u64::from(self.last_offset_delta));
        Offset::new(last.min(Offset::MAX.value()))
    }
}

/// The least a length field can say: a header without records.
const LENGTH_MIN: u32 = 49;
const _: () = assert!(LENGTH_MIN as usize + OVERHEAD_BYTES == HEADER_BYTES);

/// The CRC-32C of a whole batch, as its header should have it.
pub fn crc(batch: &[u8]) -> u32 {
    checksum::of(batch.get(CRC_FROM..).unwrap_or_default())
}

/// Whether a whole batch (no more and no less) is what was written.
pub fn check_crc(batch: &[u8]) -> Result<(), BatchError> {
    let short = BatchError::Truncated { needed: HEADER_BYTES, have: batch.len() };
    let header: &[u8; HEADER_BYTES] = batch.first_chunk().ok_or(short)?;
    let expected = u32::from_be_bytes(at(header, 17));
    let found = crc(batch);
    if found == expected { Ok(()) } else { Err(BatchError::Crc { expected, found }) }
}

/// Writes what the broker owns into a batch; the checksum stays true.
pub fn patch(header: &mut [u8; HEADER_BYTES], base: Offset, epoch: LeaderEpoch) {
    put(header, 0, base.to_wire().to_be_bytes());
    put(header, 12, epoch.to_wire().to_be_bytes());
}

/// A batch with a producer's identity and the sequence of its first record in its header, and a new
/// checksum. What is no whole batch is given back as it is.
pub fn number(batch: &Bytes, id: ProducerId, epoch: ProducerEpoch, sequence: i32) -> Bytes {
    let Ok(mut header) = BatchHeader::parse(batch) else { return batch.clone() };
    header.producer_id = Some(id);
    header.producer_epoch = Some(epoch);
    header.base_sequence = sequence;
    let mut bytes = BytesMut::with_capacity(batch.len());
    bytes.extend_from_slice(&header.encode());
    bytes.extend_from_slice(batch.get(HEADER_BYTES..).unwrap_or_default());
    let sum = crc(&bytes);
    if let Some(field) = bytes.get_mut(17..21) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    bytes.freeze()
}

/// The consecutive batches of a record set, each with its header and exactly its bytes. Ends after
/// the first error.
pub fn split(bytes: &[u8]) -> Split<'_> {
    Split { rest: bytes }
}

/// See [`split`].
#[derive(Clone, Debug)]
pub struct Split<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Split<'a> {
    type Item = Result<(BatchHeader, &'a [u8]), BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        Some(BatchHeader::parse(rest).and_then(|header| {
            let needed = header.total_bytes();
            let short = BatchError::Truncated { needed, have: rest.len() };
            let (batch, after) = rest.split_at_checked(needed).ok_or(short)?;
            self.rest = after;
            Ok((header, batch))
        }))
    }
}

/// `N` bytes of a header at a constant place.
fn at<const N: usize>(header: &[u8; HEADER_BYTES], from: usize) -> [u8; N] {
    let field = header.get(from..).and_then(|rest| rest.first_chunk());
    // Every caller names a place inside; zeroes stand in for a bug a test would show.
    field.copied().unwrap_or([0; N])
}

fn put<const N: usize>(header: &mut [u8; HEADER_BYTES], from: usize, bytes: [u8; N]) {
    if let Some(field) = header.get_mut(from..).and_then(|rest| rest.first_chunk_mut()) {
        *field = bytes;
    }
}

#[cfg(test)]
mod tests;
