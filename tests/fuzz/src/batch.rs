//! What a producer sends as records: batches, and what is compressed in them.

use brooklet_log::validate::{TopicRules, validate};
use brooklet_types::{Timestamp, limits};
use brooklet_wire::batch::{self, BatchHeader, HEADER_BYTES, TimestampType};
use brooklet_wire::compress::{Codec, decompress};

/// `max.message.bytes`, as it is unless somebody changes it.
const BATCH_BYTES_MAX: u32 = 1_048_588;
/// What may come of the compressed bytes of a small input: more than a record that anybody sends, and soon made.
const DECOMPRESSED_MAX: usize = 1 << 20;

/// Batches one behind the other, once as they are and once with the first one's length and checksum put right: else nothing
/// behind them would ever be reached.
pub fn run(bytes: &[u8]) {
    read(bytes);
    read(&repaired(bytes));
}

/// A codec's number, and what is to be decompressed by it.
pub fn compressed(bytes: &[u8]) {
    let Some((codec, input)) = bytes.split_first() else { return };
    let Some(codec) = Codec::from_wire(i16::from(*codec)) else { return };
    if let Ok(output) = decompress(codec, input, DECOMPRESSED_MAX) {
        assert!(output.len() <= DECOMPRESSED_MAX, "{} bytes from {codec:?}", output.len());
    }
}

/// What a topic makes of a batch: the first byte says what the topic is like. Records that it writes anew can be read, and are
/// numbered one after the other.
pub fn produced(bytes: &[u8]) {
    let Some((topic, batch)) = bytes.split_first() else { return };
    let codec = Codec::ALL.get(usize::from(topic >> 4)).copied();
    let is_stamped = topic & 1 == 1;
    let rules = TopicRules {
        batch_bytes_max: BATCH_BYTES_MAX,
        segment_bytes: BATCH_BYTES_MAX,
        compacted: topic & 2 == 2,
        timestamp_type: if is_stamped {
            TimestampType::LogAppendTime
        } else {
            TimestampType::CreateTime
        },
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: codec.map(|codec| (codec, None)),
    };
    let Ok(taken) = validate(repaired(batch).into(), &rules, Timestamp(1_000)) else { return };
    assert_eq!(batch::check_crc(taken.bytes()), Ok(()));
    let header = taken.header();
    assert_eq!(Some(header.record_count), header.last_offset_delta.checked_add(1));
    let sent = BatchHeader::parse(&repaired(batch)).and_then(|header| header.attributes.codec());
    if codec.is_none_or(|codec| Ok(codec) == sent) {
        return;
    }
    let records = batch::records(taken.bytes()).expect("we have written it");
    for (expected, record) in (0..).zip(records.iter()) {
        let record = record.expect("we have written it");
        assert_eq!(record.offset.value(), expected);
    }
}

fn read(bytes: &[u8]) {
    for batch in batch::split(bytes) {
        let Ok((header, batch)) = batch else { return };
        assert_eq!(header.total_bytes(), batch.len());
        // A wrong checksum is found before anything else is looked at.
        if batch::check_crc(batch).is_err() {
            continue;
        }
        let Ok(records) = batch::records(batch) else { continue };
        assert!(records.uncompressed_bytes() <= limits::FRAME_BYTES_MAX);
        for record in records.iter() {
            let Ok(record) = record else { break };
            // Not in order: nobody reads every record of a producer before they are stored.
            let range = header.base_offset()..=header.last_offset();
            assert!(range.contains(&record.offset), "{record:?} outside {range:?}");
            let headers = record.headers.clone().count();
            assert_eq!(u32::try_from(headers).ok(), Some(record.header_count()));
        }
    }
}

/// The same with the length and the checksum of a batch that fills all of it.
pub(crate) fn repaired(bytes: &[u8]) -> Vec<u8> {
    let mut batch = bytes.to_vec();
    let length = batch.len().checked_sub(batch::OVERHEAD_BYTES).map(i32::try_from);
    let Some(Ok(length)) = length else { return batch };
    put(&mut batch, 8, &length.to_be_bytes());
    if batch.len() >= HEADER_BYTES {
        let crc = batch::crc(&batch);
        put(&mut batch, 17, &crc.to_be_bytes());
        if let Ok(header) = BatchHeader::parse(&batch) {
            assert_eq!(header.total_bytes(), batch.len());
        }
    }
    batch
}

fn put(bytes: &mut [u8], at: usize, what: &[u8]) {
    if let Some(place) = bytes.get_mut(at..at + what.len()) {
        place.copy_from_slice(what);
    }
}
