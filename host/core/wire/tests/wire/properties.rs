//! What is built is what is read, whatever it is.

use brooklet_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::{
    self, Attributes, BatchBuilder, BatchError, BatchHeader, TimestampType, check_crc, records,
};
use brooklet_wire::compress::{Codec, compress, decompress};
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{
    Bytes, JoinQuorumRequest, JoinQuorumResponse, KafkaRequest, KafkaResponse,
    QuorumMessageRequest, QuorumMessageResponse, TaggedFields, Uuid, decode_request,
    decode_response, encode_request, encode_response, with_tagged_number,
};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

/// A record as values.
#[derive(Clone, Debug, PartialEq)]
struct Plain {
    offset: u64,
    timestamp: i64,
    key: Option<Vec<u8>>,
    value: Option<Vec<u8>>,
    headers: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

fn bytes() -> impl Strategy<Value = Option<Vec<u8>>> {
    option::of(vec(any::<u8>(), 0..200))
}

fn plain() -> impl Strategy<Value = Plain> {
    let headers = vec((vec(any::<u8>(), 0..20), bytes()), 0..4);
    // Timestamps may be anything: their differences wrap.
    (1_u64..100, any::<i64>(), bytes(), bytes(), headers).prop_map(
        |(offset, timestamp, key, value, headers)| Plain { offset, timestamp, key, value, headers },
    )
}

fn codec() -> impl Strategy<Value = Codec> {
    prop::sample::select(Codec::ALL.to_vec())
}

fn read(batch: &[u8]) -> Vec<Plain> {
    check_crc(batch).unwrap();
    let opened = records(batch).unwrap();
    let plain = |record: Result<batch::Record<'_>, BatchError>| {
        let record = record.unwrap();
        let headers =
            record.headers.map(|(name, value)| (name.to_vec(), value.map(<[u8]>::to_vec)));
        Plain {
            offset: record.offset.value(),
            timestamp: record.timestamp.0,
            key: record.key.map(<[u8]>::to_vec),
            value: record.value.map(<[u8]>::to_vec),
            headers: headers.collect(),
        }
    };
    opened.iter().map(plain).collect()
}

fn push(builder: &mut BatchBuilder, record: &Plain) -> Result<(), BatchError> {
    let headers = record.headers.iter().map(|(name, value)| (&name[..], value.as_deref()));
    builder.push_at(
        Offset::new(record.offset),
        Timestamp(record.timestamp),
        record.key.as_deref(),
        record.value.as_deref(),
        record.headers.len(),
        headers,
    )
}

/// The records at growing offsets, each its own step after the one before.
fn spread(base: u64, mut all: Vec<Plain>) -> Vec<Plain> {
    let mut next = base;
    for record in &mut all {
        let step = std::mem::replace(&mut record.offset, next);
        next += step;
    }
    all
}

proptest! {
    #[test]
    fn a_batch_gives_back_the_records_it_was_built_of(
        codec in codec(),
        base in 0_u64..1 << 60,
        epoch in option::of(0_u32..1 << 31),
        producer in option::of((0_u64..1 << 63, 0_u16..1 << 15, 0..i32::MAX)),
        all in vec(plain(), 0..20),
    ) {
        let all = spread(base, all);
        let mut builder = BatchBuilder::new(codec).base_offset(Offset::new(base));
        if let Some(epoch) = epoch {
            builder = builder.leader_epoch(LeaderEpoch(epoch));
        }
        if let Some((id, epoch, sequence)) = producer {
            builder = builder.producer(ProducerId(id), ProducerEpoch(epoch), sequence);
        }
        for record in &all {
            push(&mut builder, record).unwrap();
        }
        let uncompressed = builder.uncompressed_bytes();
        let batch = builder.build().unwrap();
        prop_assert_eq!(&read(&batch), &all);
        let header = BatchHeader::parse(&batch).unwrap();
        prop_assert_eq!(header.total_bytes(), batch.len());
        prop_assert_eq!(header.last_offset().value(), all.last().map_or(base, |it| it.offset));
        prop_assert_eq!(header.partition_leader_epoch.map(|it| it.0), epoch);
        let found = header.producer_id.zip(header.producer_epoch);
        let found = found.map(|(id, epoch)| (id.0, epoch.0, header.base_sequence));
        prop_assert_eq!(found, producer);
        let highest = all.iter().map(|it| it.timestamp).max();
        prop_assert_eq!(header.max_timestamp.0, highest.unwrap_or(-1));
        if codec == Codec::None {
            prop_assert_eq!(uncompressed, batch.len());
        }
        let mut split = batch::split(&batch);
        prop_assert!(split.next().unwrap().is_ok() && split.next().is_none());
    }

    #[test]
    fn compressed_bytes_give_back_what_they_were(
        codec in codec(),
        level in option::of(1..10),
        // Runs, so that there is something to compress.
        input in vec((any::<u8>(), 1_usize..3000), 0..100),
    ) {
        let input: Vec<u8> =
            input.into_iter().flat_map(|(byte, count)| std::iter::repeat_n(byte, count)).collect();
        let packed = compress(codec, level, &input).unwrap();
        prop_assert_eq!(decompress(codec, &packed, input.len()).unwrap(), input.clone());
        if let Some(limit) = input.len().checked_sub(1) {
            prop_assert!(decompress(codec, &packed, limit).is_err());
        }
    }

    #[test]
    fn a_replacement_keeps_offsets_and_producer_and_those_records_that_stay(
        codec in codec(),
        all in vec(plain(), 1..10),
        stays in vec(any::<bool>(), 10),
        horizon in option::of(0_i64..1 << 50),
    ) {
        let all = spread(70, all);
        let mut builder = BatchBuilder::new(codec)
            .base_offset(Offset::new(70))
            .leader_epoch(LeaderEpoch(4))
            .producer(ProducerId(5), ProducerEpoch(6), 7);
        for record in &all {
            push(&mut builder, record).unwrap();
        }
        let old = BatchHeader::parse(&builder.build().unwrap()).unwrap();

        let kept: Vec<Plain> =
            all.into_iter().zip(stays).filter_map(|(it, stays)| stays.then_some(it)).collect();
        let mut builder = BatchBuilder::replacing(&old).unwrap();
        if let Some(horizon) = horizon {
            builder = builder.delete_horizon(Timestamp(horizon));
        }
        for record in &kept {
            push(&mut builder, record).unwrap();
        }
        let batch = builder.build().unwrap();
        prop_assert_eq!(&read(&batch), &kept);
        let new = BatchHeader::parse(&batch).unwrap();
        prop_assert_eq!((new.base_offset(), new.last_offset()), (old.base_offset(), old.last_offset()));
        prop_assert_eq!(new.partition_leader_epoch, old.partition_leader_epoch);
        prop_assert_eq!(
            (new.producer_id, new.producer_epoch, new.base_sequence),
            (old.producer_id, old.producer_epoch, old.base_sequence)
        );
        prop_assert_eq!(new.attributes.codec().unwrap(), codec);
        prop_assert_eq!(new.attributes.has_delete_horizon(), horizon.is_some());
        if let Some(horizon) = horizon {
            prop_assert_eq!(new.base_timestamp.0, horizon);
        }
        if let Some(highest) = kept.iter().map(|it| it.timestamp).max() {
            prop_assert_eq!(new.max_timestamp.0, highest);
        }
    }

    #[test]
    fn a_header_is_the_bytes_it_was_read_from(bytes in vec(any::<u8>(), 61)) {
        let mut bytes = bytes;
        bytes[0] &= 0x3f;
        bytes[8] &= 0x7f;
        bytes[10] |= 1;
        bytes[16] = 2;
        bytes[23] &= 0x7f;
        bytes[57] &= 0x7f;
        // Of negative epochs and producer ids only -1 says something: that there is none.
        for (sign, end) in [(12, 16), (43, 51), (51, 53)] {
            if bytes[sign] >= 0x80 {
                bytes[sign..end].fill(0xff);
            }
        }
        prop_assert_eq!(&BatchHeader::parse(&bytes).unwrap().encode()[..], &bytes[..]);
    }
}

#[test]
fn with_log_append_time_every_record_has_the_time_of_the_batch() {
    for codec in Codec::ALL {
        let mut builder = BatchBuilder::new(codec).log_append_time(Timestamp(500));
        builder.push(Timestamp(1), None, Some(b"a"), &[]).unwrap();
        builder.push(Timestamp(900), None, Some(b"b"), &[]).unwrap();
        let batch = builder.build().unwrap();
        let header = BatchHeader::parse(&batch).unwrap();
        assert_eq!(header.attributes.timestamp_type(), TimestampType::LogAppendTime);
        assert_eq!((header.base_timestamp, header.max_timestamp), (Timestamp(1), Timestamp(500)));
        assert!(read(&batch).iter().all(|record| record.timestamp == 500));
    }
}

#[test]
fn a_batch_that_lost_all_its_records_still_spans_its_offsets() {
    for codec in Codec::ALL {
        let old = BatchHeader::parse(&crate::sample(codec)).unwrap();
        let batch = BatchBuilder::replacing(&old).unwrap().build().unwrap();
        assert_eq!(batch.len(), batch::HEADER_BYTES);
        assert_eq!(read(&batch), []);
        let new = BatchHeader::parse(&batch).unwrap();
        assert_eq!(new.record_count, 0);
        assert_eq!((new.last_offset(), new.producer_id), (old.last_offset(), old.producer_id));
        assert_eq!(new.max_timestamp, old.max_timestamp);
    }
}

#[test]
fn a_delete_horizon_moves_no_timestamp() {
    let horizon = Timestamp(1_000_000);
    let mut builder = BatchBuilder::new(Codec::None).delete_horizon(horizon);
    builder.push(Timestamp(77), Some(b"gone"), None, &[]).unwrap();
    let batch = builder.build().unwrap();
    let header = BatchHeader::parse(&batch).unwrap();
    assert!(header.attributes.has_delete_horizon());
    assert_eq!((header.base_timestamp, header.max_timestamp), (horizon, Timestamp(77)));
    assert_eq!(read(&batch)[0].timestamp, 77);
}

#[test]
fn an_offset_a_batch_cannot_hold_is_refused_when_it_is_built() {
    let record = |offset| Plain { offset, timestamp: 0, key: None, value: None, headers: vec![] };
    let mut builder = BatchBuilder::new(Codec::None).base_offset(Offset::new(10));
    assert!(matches!(push(&mut builder, &record(9)), Err(BatchError::Build { .. })));
    let beyond = 10 + (1 << 31);
    assert!(matches!(push(&mut builder, &record(beyond)), Err(BatchError::Build { .. })));
    assert_eq!(builder.record_count(), 0);
    push(&mut builder, &record(beyond - 1)).unwrap();
}

#[test]
fn flags_do_not_touch_each_other() {
    let all = Attributes(0)
        .with_codec(Codec::Zstd)
        .with_timestamp_type(TimestampType::LogAppendTime)
        .with_transactional(true)
        .with_control(true)
        .with_delete_horizon(true);
    assert_eq!(all.0, 0x7c);
    assert_eq!(all.with_codec(Codec::None).0, 0x78);
    assert_eq!(all.with_timestamp_type(TimestampType::CreateTime).0, 0x74);
    assert_eq!(all.with_transactional(false).0, 0x6c);
    assert_eq!(all.with_control(false).0, 0x5c);
    assert_eq!(all.with_delete_horizon(false).0, 0x3c);
    // Bits nobody has defined pass through, as in Kafka.
    assert_eq!(Attributes(0x80).with_codec(Codec::Gzip).0, 0x81);
}

fn tagged() -> impl Strategy<Value = TaggedFields> {
    option::of(any::<u64>()).prop_map(|it| it.map(with_tagged_number).unwrap_or_default())
}

/// What a broker reads of what another one wrote. Cut anywhere it is an error.
fn asked<R: KafkaRequest>(request: &R) -> R {
    let mut frame = encode_request(7, 0, Some("broker"), request).unwrap().slice(4..);
    let header = parse_header(&mut frame).unwrap();
    assert_eq!((header.api, header.version), (R::API_KEY.value(), 0));
    for end in 0..frame.len() {
        assert!(decode_request::<R>(frame.slice(..end), 0).is_err(), "{end}");
    }
    decode_request(frame, 0).unwrap()
}

fn answered<R: KafkaResponse>(response: &R) -> R {
    let frame = encode_response(7, 0, response).unwrap().slice(4..);
    for end in 0..frame.len() {
        assert!(decode_response::<R>(frame.slice(..end), 0).is_err(), "{end}");
    }
    let (correlation, response) = decode_response(frame, 0).unwrap();
    assert_eq!(correlation, 7);
    response
}

proptest! {
    #[test]
    fn messages_of_the_quorum_come_back(
        message in vec(any::<u8>(), 0..300),
        error_code in any::<i16>(),
        unknown_tagged_fields in tagged(),
    ) {
        let message = Bytes::from(message);
        let request =
            QuorumMessageRequest { message, unknown_tagged_fields, ..Default::default() };
        prop_assert_eq!(asked(&request), request.clone());
        let unknown_tagged_fields = request.unknown_tagged_fields;
        let response = QuorumMessageResponse { error_code, unknown_tagged_fields };
        prop_assert_eq!(answered(&response), response);
    }

    #[test]
    fn askings_for_membership_come_back(
        broker_id in any::<i32>(),
        directory in any::<[u8; 16]>(),
        error_code in any::<i16>(),
        error_message in option::of(".{0,40}"),
        unknown_tagged_fields in tagged(),
    ) {
        let directory = Uuid::from_bytes(directory);
        let request = JoinQuorumRequest { broker_id, directory, unknown_tagged_fields };
        prop_assert_eq!(asked(&request), request.clone());
        let unknown_tagged_fields = request.unknown_tagged_fields;
        let error_message = error_message.map(|text| text.as_str().into());
        let response = JoinQuorumResponse { error_code, error_message, unknown_tagged_fields };
        prop_assert_eq!(answered(&response), response);
    }
}
