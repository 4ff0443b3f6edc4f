//! What a topic takes and what it refuses, as tables.

use brooklet_types::{ProducerEpoch, ProducerId};

use super::*;

const NOW: Timestamp = Timestamp(1_000_000);

fn rules() -> TopicRules {
    TopicRules {
        batch_bytes_max: 1_048_588,
        segment_bytes: 1 << 30,
        compacted: false,
        timestamp_type: TimestampType::CreateTime,
        timestamp_before_max_ms: i64::MAX,
        timestamp_after_max_ms: 3_600_000,
        compression: None,
    }
}

fn batch_of(codec: Codec, records: &[(Option<&[u8]>, &[u8])], at: Timestamp) -> Bytes {
    let mut builder = BatchBuilder::new(codec);
    for (key, value) in records {
        builder.push(at, *key, Some(value), &[(b"h", Some(b"v"))]).unwrap();
    }
    builder.build().unwrap()
}

fn simple() -> Bytes {
    batch_of(Codec::None, &[(Some(b"k"), b"one"), (None, b"two")], NOW)
}

/// The batch with its header changed and its checksum right again.
fn with(change: impl FnOnce(&mut BatchHeader)) -> Bytes {
    let bytes = simple();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    change(&mut header);
    let mut copy = BytesMut::from(&bytes[..]);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());
    header.crc = batch::crc(&copy);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());
    copy.freeze()
}

#[test]
fn what_a_topic_takes_passes_through_untouched() {
    for codec in [Codec::None, Codec::Gzip, Codec::Snappy, Codec::Lz4, Codec::Zstd] {
        let bytes = batch_of(codec, &[(None, b"value")], NOW);
        let taken = validate(bytes.clone(), &rules(), NOW).unwrap();
        assert_eq!(taken.bytes(), &bytes);
        assert_eq!(taken.bytes().as_ptr(), bytes.as_ptr(), "not a copy");
    }
}

#[test]
fn every_refusal_has_its_code() {
    let twice = [simple(), simple()].concat();
    let mut flipped = BytesMut::from(&simple()[..]);
    flipped[70] ^= 1;
    let producer = |epoch, sequence| {
        with(|header| {
            header.producer_id = Some(ProducerId(1));
            header.producer_epoch = epoch;
            header.base_sequence = sequence;
        })
    };
    let count = |header: &mut BatchHeader, count: u32| {
        (header.record_count, header.last_offset_delta) = (count, count - 1);
    };
    let control = Attributes::default().with_control(true);
    let append_time = Attributes::default().with_timestamp_type(TimestampType::LogAppendTime);
    let table: Vec<(&str, Bytes, ErrorCode)> = vec![
        ("nothing", Bytes::new(), ErrorCode::InvalidRecord),
        ("two batches", twice.into(), ErrorCode::InvalidRecord),
        ("half a header", simple().slice(..30), ErrorCode::InvalidRecord),
        ("half a batch", simple().slice(..80), ErrorCode::InvalidRecord),
        ("a flipped bit", flipped.freeze(), ErrorCode::CorruptMessage),
        ("a control batch", with(|header| header.attributes = control), ErrorCode::InvalidRecord),
        (
            "broker's time",
            with(|header| header.attributes = append_time),
            ErrorCode::InvalidTimestamp,
        ),
        ("no records", with(|header| header.record_count = 0), ErrorCode::InvalidRecord),
        ("a wrong count", with(|header| header.record_count = 9), ErrorCode::InvalidRecord),
        ("no room", with(|header| count(header, 9)), ErrorCode::InvalidRecord),
        ("no epoch", producer(None, 0), ErrorCode::InvalidRecord),
        ("no sequence", producer(Some(ProducerEpoch(0)), -1), ErrorCode::InvalidRecord),
        (
            "from the future",
            with(|header| header.max_timestamp = NOW.plus_millis(3_600_001)),
            ErrorCode::InvalidTimestamp,
        ),
    ];
    for (name, bytes, code) in table {
        let error = validate(bytes, &rules(), NOW).unwrap_err();
        assert_eq!(error.code(), code, "{name}: {error}");
    }
}

#[test]
fn sizes_are_the_topics() {
    let small = TopicRules { batch_bytes_max: 80, ..rules() };
    assert_eq!(validate(simple(), &small, NOW).unwrap_err().code(), ErrorCode::MessageTooLarge);
    let segment = TopicRules { segment_bytes: 80, ..rules() };
    assert_eq!(
        validate(simple(), &segment, NOW).unwrap_err().code(),
        ErrorCode::RecordListTooLarge
    );
}

#[test]
fn old_records_are_refused_where_the_topic_says_so() {
    let strict = TopicRules { timestamp_before_max_ms: 1000, ..rules() };
    let old = batch_of(Codec::None, &[(None, b"v")], NOW.plus_millis(-1001));
    assert_eq!(validate(old, &strict, NOW).unwrap_err().code(), ErrorCode::InvalidTimestamp);
    let mut mixed = BatchBuilder::new(Codec::Lz4);
    for age in [1000, 1001, 999, 2000] {
        mixed.push(NOW.plus_millis(-age), None, Some(b"v"), &[]).unwrap();
    }
    // The first record's time and the newest are in the header, so that this one passes …
    let mixed = mixed.build().unwrap();
    assert!(validate(mixed.clone(), &strict, NOW).is_ok());
    // … until its first record is too old, and then all that are too old are named.
    let later = NOW.plus_millis(1);
    assert_eq!(validate(mixed, &strict, later).unwrap_err().records(), [0, 1, 3]);
    let timeless = batch_of(Codec::None, &[(None, b"v")], Timestamp::NONE);
    assert!(validate(timeless, &strict, NOW).is_ok());
}

#[test]
fn a_compacted_topic_names_the_record_without_a_key() {
    let compacted = TopicRules { compacted: true, ..rules() };
    let error = validate(simple(), &compacted, NOW).unwrap_err();
    assert_eq!((error.code(), error.records()), (ErrorCode::InvalidRecord, &[1][..]));
    let keyed = batch_of(Codec::Lz4, &[(Some(b"k"), b"v")], NOW);
    assert!(validate(keyed, &compacted, NOW).is_ok());
}

#[test]
fn a_small_batch_gets_no_large_answer() {
    let compacted = TopicRules { compacted: true, ..rules() };
    let strict = TopicRules { timestamp_before_max_ms: 1000, ..rules() };
    let old = NOW.plus_millis(-2000);
    let many = batch_of(Codec::Zstd, &vec![(None, b"".as_slice()); 100_000], old);
    assert!(many.len() < 50_000, "{} bytes", many.len());
    for rules in [compacted, strict] {
        let error = validate(many.clone(), &rules, NOW).unwrap_err();
        assert_eq!(error.records().len(), 1000);
    }
}

#[test]
fn the_brokers_time_is_stamped_and_the_checksum_true() {
    let stamped = TopicRules { timestamp_type: TimestampType::LogAppendTime, ..rules() };
    let old = batch_of(Codec::Gzip, &[(None, b"v")], Timestamp(5));
    let taken = validate(old, &stamped, NOW).unwrap();
    batch::check_crc(taken.bytes()).unwrap();
    let header = BatchHeader::parse(taken.bytes()).unwrap();
    assert_eq!(&header, taken.header());
    assert_eq!(header.max_timestamp, NOW);
    let records = batch::records(taken.bytes()).unwrap();
    assert!(records.iter().all(|record| record.unwrap().timestamp == NOW));
}

#[test]
fn another_codec_changes_nothing_but_the_codec() {
    let zstd = TopicRules { compression: Some((Codec::Zstd, Some(3))), ..rules() };
    let mut builder = BatchBuilder::new(Codec::Lz4).producer(ProducerId(7), ProducerEpoch(2), 40);
    for number in 0..100i64 {
        let value = format!("value {number}");
        let at = NOW.plus_millis(number);
        builder.push(at, Some(b"k"), Some(value.as_bytes()), &[(b"h", None)]).unwrap();
    }
    let sent = builder.build().unwrap();
    let taken = validate(sent.clone(), &zstd, NOW).unwrap();
    assert_eq!(taken.header().attributes.codec(), Ok(Codec::Zstd));
    batch::check_crc(taken.bytes()).unwrap();
    let (before, after) = (batch::records(&sent).unwrap(), batch::records(taken.bytes()).unwrap());
    let plain = |records: &batch::Records<'_>| -> Vec<String> {
        records.iter().map(|record| format!("{:?}", record.unwrap())).collect()
    };
    assert_eq!(plain(&before), plain(&after));
    let header = taken.header();
    assert_eq!((header.producer_id, header.base_sequence), (Some(ProducerId(7)), 40));
}

#[test]
fn records_that_are_written_anew_are_numbered_anew() {
    let mut builder = BatchBuilder::new(Codec::None);
    for offset in [0, 2, 2, 1] {
        let headers = std::iter::empty();
        builder.push_at(Offset::new(offset), NOW, Some(b"k"), None, 0, headers).unwrap();
    }
    let bytes = builder.build().unwrap();
    let mut header = BatchHeader::parse(&bytes).unwrap();
    header.last_offset_delta = 3;
    let mut copy = BytesMut::from(&bytes[..]);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());
    header.crc = batch::crc(&copy);
    copy[..HEADER_BYTES].copy_from_slice(&header.encode());

    let rules = TopicRules { compression: Some((Codec::Lz4, None)), ..rules() };
    let taken = validate(copy.freeze(), &rules, NOW).unwrap();
    assert_eq!(taken.header().last_offset_delta, 3);
    let records = batch::records(taken.bytes()).unwrap();
    let offsets: Vec<u64> = records.iter().map(|record| record.unwrap().offset.value()).collect();
    assert_eq!(offsets, [0, 1, 2, 3]);
}
