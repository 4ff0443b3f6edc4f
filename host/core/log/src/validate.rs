//! What a producer's batch must be before it may come near a log.
//!
//! **Where it sits.** On the connection's own task, before the shard: everything that needs no
//! state of the partition is refused here, in parallel.
//!
//! **What it decides.** Whether bytes are one batch that a topic takes, and what of it the broker
//! rewrites: the timestamps of a topic that keeps the broker's time, the codec of a topic that
//! wants another.
//!
//! **What it never does.** Look at single records unless the topic asks for something that only
//! they can answer: keys of a compacted topic, another codec. Garbage within a right checksum is
//! its producer's, stored and served as it came, as any bytes within a record are.
//!
//! Sources: Kafka's `ProduceRequest.validateRecords` and `LogValidator`.

use brooklet_types::{ErrorCode, Offset, Timestamp};
use brooklet_wire::batch::{
    self, Attributes, BatchBuilder, BatchError, BatchHeader, HEADER_BYTES, TimestampType,
};
use brooklet_wire::compress::Codec;
use bytes::{Bytes, BytesMut};

/// More records than this are not named one by one: each would cost the answer a line, and a batch
/// can hold millions that were a few bytes on the wire. Whoever mends a thousand will see the rest.
const RECORDS_NAMED_MAX: usize = 1000;

/// What a topic asks of a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TopicRules {
    /// `max.message.bytes`.
    pub batch_bytes_max: u32,
    /// `segment.bytes`: a batch must fit into a segment.
    pub segment_bytes: u32,
    /// `cleanup.policy` contains `compact`: every record needs a key.
    pub compacted: bool,
    /// `message.timestamp.type`.
    pub timestamp_type: TimestampType,
    /// `message.timestamp.before.max.ms`.
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.after.max.ms`.
    pub timestamp_after_max_ms: i64,
    /// `compression.type` and its level; none keeps what the producer chose.
    pub compression: Option<(Codec, Option<i32>)>,
}

/// A batch that a topic takes, whatever its partition says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValidatedBatch {
    header: BatchHeader,
    bytes: Bytes,
}

/// Why a batch is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ValidateError {
    /// There is nothing, or there are several batches where one is allowed.
    #[error("a partition takes exactly one record batch in a request, this has {found}")]
    NotOneBatch { found: &'static str },
    /// The batch cannot be read.
    #[error(transparent)]
    Malformed(#[from] BatchError),
    /// Larger than `max.message.bytes`.
    #[error("a batch of {bytes} bytes, the topic takes {limit}")]
    TooLarge { bytes: usize, limit: u32 },
    /// Larger than `segment.bytes`.
    #[error("a batch of {bytes} bytes, the topic's segments have {limit}")]
    LargerThanSegment { bytes: usize, limit: u32 },
    /// Counts that contradict each other.
    #[error("a batch of {count} records whose last offset delta is {last_offset_delta}")]
    Count { count: u32, last_offset_delta: u32 },
    /// More records than the bytes behind the header can be.
    #[error("a batch of {count} records in {bytes} bytes")]
    NoRoom { count: u32, bytes: usize },
    /// The broker gives offsets, counted from the batch's first.
    #[error("a batch whose first offset is {0}; only the broker gives offsets")]
    BaseOffset(Offset),
    /// A client may not write what only the broker writes.
    #[error("clients may not write control batches")]
    Control,
    /// A producer id without what belongs to it.
    #[error("producer id {id} with {what}")]
    Producer { id: u64, what: &'static str },
    /// A timestamp that the topic does not take.
    #[error(
        "timestamp {timestamp} is not within {before_ms} ms before and {after_ms} ms after {now}"
    )]
    Timestamp {
        timestamp: Timestamp,
        now: Timestamp,
        before_ms: i64,
        after_ms: i64,
        /// None where the header claims a time that no record has.
        records: Vec<u32>,
    },
    /// Only the broker sets the broker's time.
    #[error("a producer may not set the timestamp type to LogAppendTime")]
    LogAppendTime,
    /// A compacted topic's record without a key.
    #[error("compacted topics take no records without a key")]
    NoKey { records: Vec<u32> },
}

impl ValidateError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ValidateError::Malformed(error) => error.code(),
            ValidateError::TooLarge { .. } => ErrorCode::MessageTooLarge,
            ValidateError::LargerThanSegment { .. } => ErrorCode::RecordListTooLarge,
            ValidateError::NotOneBatch { .. }
            | ValidateError::Count { .. }
            | ValidateError::NoRoom { .. }
            | ValidateError::BaseOffset(_)
            | ValidateError::Control
            | ValidateError::Producer { .. }
            | ValidateError::NoKey { .. } => ErrorCode::InvalidRecord,
            ValidateError::LogAppendTime | ValidateError::Timestamp { .. } => {
                ErrorCode::InvalidTimestamp
            }
        }
    }

    /// The records that are to blame, where single ones are, for Produce 8 and later.
    pub fn records(&self) -> &[u32] {
        match self {
            ValidateError::NoKey { records } | ValidateError::Timestamp { records, .. } => records,
            // All of them are; Kafka names the first.
            ValidateError::LogAppendTime => &[0],
            ValidateError::NotOneBatch { .. }
            | ValidateError::Malformed(_)
            | ValidateError::TooLarge { .. }
            | ValidateError::LargerThanSegment { .. }
            | ValidateError::Count { .. }
            | ValidateError::NoRoom { .. }
            | ValidateError::BaseOffset(_)
            | ValidateError::Control
            | ValidateError::Producer { .. } => &[],
        }
    }

    /// Whether Kafka finds this when the batch is in front of its log already. It then tells where
    /// the log starts, as it does of a batch that was stored.
    pub fn is_told_by_a_log(&self) -> bool {
        match self {
            ValidateError::Count { .. }
            | ValidateError::NoRoom { .. }
            | ValidateError::BaseOffset(_)
            | ValidateError::Control
            | ValidateError::Producer { .. }
            | ValidateError::Timestamp { .. }
            | ValidateError::LogAppendTime
            | ValidateError::NoKey { .. } => true,
            ValidateError::Malformed(error) => match error {
                BatchError::Offsets { .. }
                | BatchError::Count { .. }
                | BatchError::Codec { .. }
                | BatchError::Record { .. }
                | BatchError::Compression(_) => true,
                BatchError::Truncated { .. }
                | BatchError::Length { .. }
                | BatchError::Magic { .. }
                | BatchError::Crc { .. }
                | BatchError::Build { .. } => false,
            },
            ValidateError::NotOneBatch { .. }
            | ValidateError::TooLarge { .. }
            | ValidateError::LargerThanSegment { .. } => false,
        }
    }
}

impl ValidatedBatch {
    /// A batch of the broker's own making.
    pub fn trusted(bytes: Bytes) -> ValidatedBatch {
        let header = BatchHeader::parse(&bytes).expect("we have just built it");
        ValidatedBatch { header, bytes }
    }

    /// What its header says. Base offset and leader epoch are not set yet.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// The whole batch.
    pub fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

/// Checks what a producer sent for one partition.
pub fn validate(
    records: Bytes,
    rules: &TopicRules,
    now: Timestamp,
) -> Result<ValidatedBatch, ValidateError> {
    if records.is_empty() {
        return Err(ValidateError::NotOneBatch { found: "none" });
    }
    let header = BatchHeader::parse(&records)?;
    let length = header.total_bytes();
    if records.len() < length {
        let (needed, have) = (length, records.len());
        return Err(BatchError::Truncated { needed, have }.into());
    }
    if records.len() > length {
        return Err(ValidateError::NotOneBatch { found: "more" });
    }
    check_size(records.len(), rules)?;
    batch::check_crc(&records)?;
    check_header(&header)?;
    check_times(&records, &header, rules, now)?;
    rewrite(records, header, rules, now)
}

fn check_size(bytes: usize, rules: &TopicRules) -> Result<(), ValidateError> {
    let exceeds = |limit: u32| usize::try_from(limit).is_ok_and(|limit| bytes > limit);
    if exceeds(rules.batch_bytes_max) {
        return Err(ValidateError::TooLarge { bytes, limit: rules.batch_bytes_max });
    }
    if exceeds(rules.segment_bytes) {
        return Err(ValidateError::LargerThanSegment { bytes, limit: rules.segment_bytes });
    }
    Ok(())
}

fn check_header(header: &BatchHeader) -> Result<(), ValidateError> {
    let codec = header.attributes.codec()?;
    if header.attributes.is_control() {
        return Err(ValidateError::Control);
    }
    if header.base_offset != Offset::ZERO {
        return Err(ValidateError::BaseOffset(header.base_offset));
    }
    let (count, last_offset_delta) = (header.record_count, header.last_offset_delta);
    if count == 0 || Some(count) != last_offset_delta.checked_add(1) {
        return Err(ValidateError::Count { count, last_offset_delta });
    }
    // A length, no attributes, two deltas, no key, no value and no headers take a byte each.
    const RECORD_BYTES_MIN: usize = 7;
    let bytes = header.total_bytes() - HEADER_BYTES;
    let room = bytes / RECORD_BYTES_MIN;
    // Without decompressing there is nothing to compare with, but plain records can be weighed.
    if codec == Codec::None && usize::try_from(count).is_ok_and(|count| count > room) {
        return Err(ValidateError::NoRoom { count, bytes });
    }
    if let Some(id) = header.producer_id {
        let id = id.0;
        if header.producer_epoch.is_none() {
            return Err(ValidateError::Producer { id, what: "no epoch" });
        }
        if header.base_sequence < 0 {
            return Err(ValidateError::Producer { id, what: "no sequence" });
        }
    }
    if header.attributes.timestamp_type() == TimestampType::LogAppendTime {
        return Err(ValidateError::LogAppendTime);
    }
    Ok(())
}

/// The header knows the newest time and the first record's. A record in between that is older
/// than allowed passes, which Kafka would refuse: the price of not reading every record, and of no
/// consequence for what is stored before it.
fn check_times(
    bytes: &[u8],
    header: &BatchHeader,
    rules: &TopicRules,
    now: Timestamp,
) -> Result<(), ValidateError> {
    if rules.timestamp_type == TimestampType::LogAppendTime {
        return Ok(());
    }
    let (before_ms, after_ms) = (rules.timestamp_before_max_ms, rules.timestamp_after_max_ms);
    let is_refused = |timestamp: Timestamp| {
        let age = now.millis_since(timestamp);
        let allowed = age <= before_ms && age.saturating_neg() <= after_ms;
        timestamp != Timestamp::NONE && !allowed
    };
    let times = [header.base_timestamp, header.max_timestamp];
    let Some(timestamp) = times.into_iter().find(|time| is_refused(*time)) else { return Ok(()) };
    // Only now, when the batch is lost anyway, are its records read.
    let records = match batch::records(bytes) {
        Ok(records) => {
            let whole = (0..).zip(records.iter().map_while(Result::ok));
            let refused = whole.filter(|(_, record)| is_refused(record.timestamp));
            refused.map(|(at, _)| at).take(RECORDS_NAMED_MAX).collect()
        }
        Err(_) => Vec::new(),
    };
    Err(ValidateError::Timestamp { timestamp, now, before_ms, after_ms, records })
}

/// Looks at single records where the topic asks for it, and makes of the batch what it wants.
fn rewrite(
    bytes: Bytes,
    header: BatchHeader,
    rules: &TopicRules,
    now: Timestamp,
) -> Result<ValidatedBatch, ValidateError> {
    let recompress = match rules.compression {
        Some((codec, _)) => header.attributes.codec()? != codec,
        None => false,
    };
    if !rules.compacted && !recompress {
        return Ok(stamp(bytes, header, rules, now));
    }
    let records = batch::records(&bytes)?;
    let (codec, level) = rules.compression.unwrap_or((header.attributes.codec()?, None));
    let mut builder = BatchBuilder::new(codec);
    if let Some(level) = level {
        builder = builder.level(level);
    }
    if let (Some(id), Some(epoch)) = (header.producer_id, header.producer_epoch) {
        builder = builder.producer(id, epoch, header.base_sequence);
    }
    let plain = Attributes::default().with_transactional(header.attributes.is_transactional());
    builder = builder.attributes(plain);
    let mut keyless = Vec::new();
    for (index, record) in (0..).zip(records.iter()) {
        let record = record?;
        if rules.compacted && record.key.is_none() && keyless.len() < RECORDS_NAMED_MAX {
            keyless.push(index);
        }
        if recompress {
            // Counted anew, as in Kafka: a producer may have numbered its records as it liked, and a batch whose last
            // record is not its last offset could never be read.
            let offset = Offset::new(u64::from(index));
            let count = usize::try_from(record.header_count()).unwrap_or_default();
            let (key, value, headers) = (record.key, record.value, record.headers);
            builder.push_at(offset, record.timestamp, key, value, count, headers)?;
        }
    }
    if !keyless.is_empty() {
        return Err(ValidateError::NoKey { records: keyless });
    }
    if !recompress {
        return Ok(stamp(bytes, header, rules, now));
    }
    let bytes = builder.build()?;
    let header = BatchHeader::parse(&bytes)?;
    Ok(stamp(bytes, header, rules, now))
}

/// Gives the batch the broker's time, on topics that keep it.
fn stamp(bytes: Bytes, header: BatchHeader, rules: &TopicRules, now: Timestamp) -> ValidatedBatch {
    if rules.timestamp_type == TimestampType::CreateTime {
        return ValidatedBatch { header, bytes };
    }
    let attributes = header.attributes.with_timestamp_type(TimestampType::LogAppendTime);
    let mut header = BatchHeader { attributes, max_timestamp: now, ..header };
    let mut copy = BytesMut::from(&bytes[..]);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());
    header.crc = batch::crc(&copy);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());
    ValidatedBatch { header, bytes: copy.freeze() }
}

#[cfg(test)]
mod tests;
