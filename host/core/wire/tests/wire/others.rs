//! Against kafka-protocol, an independent implementation: batches and messages, both ways. The
//! codecs are called here as their own libraries have it, so that our framing is tested too.

use std::io::{Read, Write};

use brooklet_types::Offset;
use brooklet_wire::batch::{self, records};
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{self, Bytes, BytesMut, decode_request, decode_response, make};
use kafka_protocol::indexmap::IndexMap;
use kafka_protocol::messages as theirs;
use kafka_protocol::protocol::{Decodable, Encodable, StrBytes};
use kafka_protocol::records::{
    Compression, Record, RecordBatchDecoder, RecordBatchEncoder, RecordEncodeOptions, TimestampType,
};

use crate::sample;

fn unpack(input: &mut Bytes, codec: Compression) -> Bytes {
    let mut output = Vec::new();
    match codec {
        Compression::None => output.extend_from_slice(input),
        Compression::Gzip => {
            flate2::read::GzDecoder::new(&input[..]).read_to_end(&mut output).unwrap();
        }
        Compression::Snappy => {
            // xerial's header of 16 bytes and the one block our sample fits in.
            let (length, block) = input[16..].split_first_chunk::<4>().unwrap();
            assert_eq!(usize::try_from(u32::from_be_bytes(*length)).unwrap(), block.len());
            output = snap::raw::Decoder::new().decompress_vec(block).unwrap();
        }
        Compression::Lz4 => {
            lz4_flex::frame::FrameDecoder::new(&input[..]).read_to_end(&mut output).unwrap();
        }
        Compression::Zstd => output = zstd::stream::decode_all(&input[..]).unwrap(),
    }
    output.into()
}

fn pack(input: &mut BytesMut, output: &mut BytesMut, codec: Compression) {
    let packed = match codec {
        Compression::None => input.to_vec(),
        Compression::Gzip => {
            let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Default::default());
            encoder.write_all(input).unwrap();
            encoder.finish().unwrap()
        }
        // Without framing, as librdkafka writes it.
        Compression::Snappy => snap::raw::Encoder::new().compress_vec(input).unwrap(),
        Compression::Lz4 => {
            let mut encoder = lz4_flex::frame::FrameEncoder::new(Vec::new());
            encoder.write_all(input).unwrap();
            encoder.finish().unwrap()
        }
        Compression::Zstd => zstd::stream::encode_all(&input[..], 19).unwrap(),
    };
    output.extend_from_slice(&packed);
}

#[test]
fn others_read_the_batches_we_build() {
    for codec in Codec::ALL {
        let mut batch = sample(codec);
        let set = RecordBatchDecoder::decode_with_custom_compression(
            &mut batch,
            Some(|input: &mut Bytes, codec| Ok(unpack(input, codec))),
        );
        let set = set.unwrap();
        assert!(batch.is_empty());
        assert_eq!(set.compression as i16, codec.to_wire());
        assert_eq!(set.records.len(), 5);
        for (index, record) in (0..).zip(&set.records) {
            assert_eq!(record.offset, 40 + index);
            assert_eq!(record.sequence, 5 + i32::try_from(index).unwrap());
            assert_eq!((record.producer_id, record.producer_epoch), (9, 1));
            assert_eq!(record.partition_leader_epoch, 3);
            assert_eq!(record.timestamp, if index < 4 { 1000 - index } else { 2000 });
        }
        assert_eq!(set.records[0].key.as_deref(), Some(&b"key"[..]));
        assert_eq!(set.records[0].headers.len(), 2);
        assert_eq!(set.records[0].headers[&b"name"[..]].as_deref(), Some(&b"value"[..]));
        assert_eq!((&set.records[4].key, &set.records[4].value), (&None, &None));
    }
}

#[test]
fn we_read_the_batches_others_build() {
    use Compression::{Gzip, Lz4, None, Snappy, Zstd};
    for (codec, compression) in Codec::ALL.into_iter().zip([None, Gzip, Snappy, Lz4, Zstd]) {
        let name = StrBytes::from_static_str("name");
        let all: Vec<Record> = (0..3)
            .map(|index| Record {
                transactional: true,
                control: false,
                delete_horizon: false,
                partition_leader_epoch: 7,
                producer_id: 11,
                producer_epoch: 2,
                timestamp_type: TimestampType::Creation,
                offset: 90 + i64::from(index),
                sequence: 4 + index,
                timestamp: 500 - i64::from(index),
                key: (index > 0).then(|| Bytes::from_static(b"key")),
                value: (index > 1).then(|| Bytes::from(vec![b'v'; 300])),
                headers: IndexMap::from_iter([(name.clone(), Some(Bytes::from_static(b"x")))]),
            })
            .collect();
        let mut bytes = BytesMut::new();
        let options = RecordEncodeOptions { version: 2, compression };
        RecordBatchEncoder::encode_with_custom_compression(
            &mut bytes,
            &all,
            &options,
            Some(|input: &mut BytesMut, output: &mut BytesMut, codec| {
                pack(input, output, codec);
                Ok(())
            }),
        )
        .unwrap();

        let (header, whole) = batch::split(&bytes).next().unwrap().unwrap();
        batch::check_crc(whole).unwrap();
        assert_eq!(whole.len(), bytes.len());
        assert_eq!(header.encode(), whole[..batch::HEADER_BYTES]);
        assert_eq!(header.attributes.codec().unwrap(), codec);
        assert!(header.attributes.is_transactional());
        assert_eq!(
            (header.base_offset(), header.last_offset()),
            (Offset::new(90), Offset::new(92))
        );
        assert_eq!(header.base_sequence, 4);
        let opened = records(whole).unwrap();
        let ours: Vec<_> = opened.iter().map(Result::unwrap).collect();
        assert_eq!(ours.len(), all.len());
        for (ours, theirs) in ours.iter().zip(&all) {
            assert_eq!(ours.offset.to_wire(), theirs.offset);
            assert_eq!(ours.timestamp.0, theirs.timestamp);
            assert_eq!((ours.key, ours.value), (theirs.key.as_deref(), theirs.value.as_deref()));
            let headers: Vec<_> = ours.headers.clone().collect();
            assert_eq!(headers, [(&b"name"[..], Some(&b"x"[..]))]);
        }
    }
}

fn encoded(message: &impl Encodable, version: i16) -> Bytes {
    let mut bytes = BytesMut::new();
    message.encode(&mut bytes, version).unwrap();
    bytes.freeze()
}

#[test]
fn a_produce_request_means_the_same_to_both() {
    for version in 3..=12 {
        let records = sample(Codec::Zstd);
        let partition = theirs::produce_request::PartitionProduceData::default()
            .with_index(6)
            .with_records(Some(records.clone()));
        let topic = theirs::produce_request::TopicProduceData::default()
            .with_name(theirs::TopicName(StrBytes::from_static_str("flights")))
            .with_partition_data(vec![partition]);
        let request = theirs::ProduceRequest::default()
            .with_acks(-1)
            .with_timeout_ms(1500)
            .with_topic_data(vec![topic]);
        let body = encoded(&request, version);
        let read: message::ProduceRequest = decode_request(body.clone(), version).unwrap();
        assert_eq!((read.acks, read.timeout_ms), (-1, 1500));
        assert_eq!(read.topic_data[0].name.as_str(), "flights");
        assert_eq!(read.topic_data[0].partition_data[0].index, 6);
        assert_eq!(read.topic_data[0].partition_data[0].records.as_ref(), Some(&records));

        let frame = message::encode_request(1, version, None, &read).unwrap();
        assert!(frame.ends_with(&body), "v{version}");
    }
}

#[test]
fn a_metadata_response_means_the_same_to_both() {
    for version in 0..=13 {
        let response = make::<message::MetadataResponse>(|response| {
            response.controller_id = 4;
            response.brokers.push(make::<message::metadata_response::MetadataResponseBroker>(
                |it| {
                    it.node_id = 4;
                    it.host = "broker".into();
                    it.port = 9092;
                },
            ));
            response.topics.push(make::<message::metadata_response::MetadataResponseTopic>(|it| {
                it.name = Some("flights".into());
                it.partitions.push(make(
                    |it: &mut message::metadata_response::MetadataResponsePartition| {
                        it.partition_index = 2;
                        it.leader_id = 4;
                        it.replica_nodes = vec![4];
                        it.isr_nodes = vec![4];
                    },
                ));
            }));
        });
        let frame = message::encode_response(9, version, &response).unwrap();
        let header = if version >= 9 { 9 } else { 8 };
        let mut body = frame.slice(header..);
        let read = theirs::MetadataResponse::decode(&mut body, version).unwrap();
        assert!(body.is_empty());
        assert_eq!(read.brokers[0].host.as_str(), "broker");
        assert_eq!(read.topics[0].partitions[0].partition_index, 2);
        assert_eq!(read.topics[0].partitions[0].replica_nodes, [4]);

        let again = [&frame[4..header], &encoded(&read, version)].concat();
        let back = decode_response::<message::MetadataResponse>(again.into(), version).unwrap();
        assert_eq!(back.0, 9);
        assert_eq!(back.1.topics, response.topics);
    }
}

#[test]
fn a_fetch_request_means_the_same_to_both() {
    for version in 4..=18 {
        let partition = theirs::fetch_request::FetchPartition::default()
            .with_partition(3)
            .with_fetch_offset(77)
            .with_partition_max_bytes(1 << 20);
        let topic = theirs::fetch_request::FetchTopic::default()
            .with_topic(theirs::TopicName(StrBytes::from_static_str(if version < 13 {
                "flights"
            } else {
                ""
            })))
            .with_partitions(vec![partition]);
        let request = theirs::FetchRequest::default()
            .with_max_wait_ms(500)
            .with_min_bytes(1)
            .with_topics(vec![topic]);
        let body = encoded(&request, version);
        let read: message::FetchRequest = decode_request(body.clone(), version).unwrap();
        assert_eq!((read.max_wait_ms, read.min_bytes), (500, 1));
        assert_eq!(read.topics[0].partitions[0].fetch_offset, 77);
        let frame = message::encode_request(1, version, None, &read).unwrap();
        assert!(frame.ends_with(&body), "v{version}");
    }
}
