//! A Fetch response as pieces, so that record data is sent from where it lies.
//!
//! **Decides** where records are spliced into the encoded message. **Never** copies them.
//!
//! Head, partitions and tagged fields are the library's own encoding; only counts, topic names and
//! the lengths of records are written here, and the pieces follow their length.

use bytes::{Bytes, BytesMut};
use kafka_wire::{FetchResponse, KafkaMessage, fetch_response};
use kafka_wire_core::{ApiVersion, EncodeError, Encoder, KafkaEncode};

use brooklet_types::limits;

use crate::WireError;
use crate::message::response_header;
use crate::version::Api;

/// Encodes a whole frame, length and header included. `records` holds the pieces of each partition
/// that has `Some` records in `response`, in order; the bytes in `response` itself are not sent.
pub fn encode(
    correlation: i32,
    version: i16,
    response: &FetchResponse,
    records: Vec<Vec<Bytes>>,
) -> Result<Vec<Bytes>, WireError> {
    let error = |source| WireError::Encode { message: FetchResponse::NAME, version, source };
    let at = ApiVersion::new(version);
    let flexible = FetchResponse::is_flexible(at);
    let mut out = Pieces::default();
    out.text.extend_from_slice(&correlation.to_be_bytes());
    if response_header(Api::Fetch.key(), version, flexible) > 4 {
        out.text.extend_from_slice(&[0]);
    }
    let mut records = records.into_iter();
    put_body(&mut out, response, at, flexible, &mut records).map_err(error)?;
    out.frame()
}

/// Encoded text and record data in the order they are sent.
#[derive(Default)]
struct Pieces {
    done: Vec<Bytes>,
    text: BytesMut,
}

impl Pieces {
    fn splice(&mut self, pieces: Vec<Bytes>) {
        for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
            if !self.text.is_empty() {
                self.done.push(self.text.split().freeze());
            }
            self.done.push(piece);
        }
    }

    /// Puts the length in front.
    fn frame(mut self) -> Result<Vec<Bytes>, WireError> {
        self.done.push(self.text.freeze());
        let bytes = self.done.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
        let length = i32::try_from(bytes).map_err(|_| WireError::TooLarge {
            message: FetchResponse::NAME,
            bytes,
            limit: limits::FRAME_BYTES_MAX,
        })?;
        let mut frame = Vec::with_capacity(self.done.len().saturating_add(1));
        frame.push(Bytes::copy_from_slice(&length.to_be_bytes()));
        frame.extend(self.done);
        Ok(frame)
    }
}

fn put_body(
    out: &mut Pieces,
    response: &FetchResponse,
    at: ApiVersion,
    flexible: bool,
    records: &mut impl Iterator<Item = Vec<Bytes>>,
) -> Result<(), EncodeError> {
    // Everything but the topics, from the library: its count of topics is the one byte (or four)
    // between a head of known size and the tagged fields.
    let mut shell = FetchResponse::default();
    shell.throttle_time_ms = response.throttle_time_ms;
    shell.error_code = response.error_code;
    shell.session_id = response.session_id;
    shell.node_endpoints.clone_from(&response.node_endpoints);
    shell.unknown_tagged_fields.clone_from(&response.unknown_tagged_fields);
    let mut around = shell.encode_to_bytes(at)?;
    let head = around.split_to(around.len().min(if at.value() >= 7 { 10 } else { 4 }));
    let tail = around.split_off(around.len().min(if flexible { 1 } else { 4 }));
    out.text.extend_from_slice(&head);
    put_count(out, response.responses.len(), flexible)?;
    for topic in &response.responses {
        put_topic(out, topic, at, flexible, records)?;
    }
    out.text.extend_from_slice(&tail);
    Ok(())
}

fn put_topic(
    out: &mut Pieces,
    topic: &fetch_response::FetchableTopicResponse,
    at: ApiVersion,
    flexible: bool,
    records: &mut impl Iterator<Item = Vec<Bytes>>,
) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(&mut out.text);
    match (at.value() >= 13, flexible) {
        (true, _) => encoder.write_uuid(topic.topic_id)?,
        (false, true) => encoder.write_compact_string(&topic.topic)?,
        (false, false) => encoder.write_string(&topic.topic)?,
    }
    put_count(out, topic.partitions.len(), flexible)?;
    for partition in &topic.partitions {
        put_partition(out, partition, at, flexible, records)?;
    }
    if flexible {
        Encoder::new(&mut out.text).write_tagged_fields(&topic.unknown_tagged_fields)?;
    }
    Ok(())
}

fn put_partition(
    out: &mut Pieces,
    partition: &fetch_response::PartitionData,
    at: ApiVersion,
    flexible: bool,
    records: &mut impl Iterator<Item = Vec<Bytes>>,
) -> Result<(), EncodeError> {
    let mut bare = partition.clone();
    bare.records = None;
    let mut whole = bare.encode_to_bytes(at)?;
    if partition.records.is_none() {
        out.text.extend_from_slice(&whole);
        return Ok(());
    }
    // Without its tagged fields a partition ends with its records, here null: one byte or four.
    let null = if flexible { 1 } else { 4 };
    let tags = if flexible { tag_bytes(&bare, at)? } else { 0 };
    let before = whole.len().saturating_sub(tags).saturating_sub(null);
    let tail = whole.split_off(before.saturating_add(null).min(whole.len()));
    out.text.extend_from_slice(&whole.split_to(before.min(whole.len())));
    let pieces = records.next().unwrap_or_default();
    let bytes = pieces.iter().fold(0usize, |sum, piece| sum.saturating_add(piece.len()));
    put_count(out, bytes, flexible)?;
    out.splice(pieces);
    out.text.extend_from_slice(&tail);
    Ok(())
}

/// Bytes of a partition's tagged fields: what is there beyond a partition that has none.
fn tag_bytes(
    partition: &fetch_response::PartitionData,
    at: ApiVersion,
) -> Result<usize, EncodeError> {
    let mut plain = partition.clone();
    let none = fetch_response::PartitionData::default();
    plain.diverging_epoch = none.diverging_epoch;
    plain.current_leader = none.current_leader;
    plain.snapshot_id = none.snapshot_id;
    plain.unknown_tagged_fields = none.unknown_tagged_fields;
    let with = partition.encoded_len(at)?;
    Ok(with.saturating_sub(plain.encoded_len(at)?).saturating_add(1))
}

/// A count or a length in the form of the version.
fn put_count(out: &mut Pieces, count: usize, flexible: bool) -> Result<(), EncodeError> {
    let mut encoder = Encoder::new(&mut out.text);
    if flexible { encoder.write_compact_array_len(count) } else { encoder.write_array_len(count) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{encode_response, make};

    #[test]
    fn the_pieces_are_what_the_library_writes_in_every_version() {
        for version in 4..=18 {
            for leader in [-1, 3] {
                let partition = |index: i32, records: Option<Bytes>| {
                    make(|it: &mut fetch_response::PartitionData| {
                        it.partition_index = index;
                        it.high_watermark = 70;
                        it.records = records;
                        if version >= 12 {
                            it.current_leader.leader_id = leader;
                        }
                    })
                };
                let data = Bytes::from(vec![7; 300]);
                let response = make(|it: &mut FetchResponse| {
                    it.throttle_time_ms = 5;
                    it.responses.push(make(
                        |topic: &mut fetch_response::FetchableTopicResponse| {
                            topic.topic = "flights".into();
                            topic.partitions.push(partition(0, Some(data.clone())));
                            topic.partitions.push(partition(1, None));
                            topic.partitions.push(partition(2, Some(Bytes::new())));
                        },
                    ));
                });
                let pieces = vec![vec![data.slice(..100), data.slice(100..)], vec![]];
                let chunks = encode(9, version, &response, pieces).unwrap();
                assert!(chunks.iter().any(|it| it.as_ptr() == data.as_ptr()), "not copied");
                let whole = encode_response(9, version, &response).unwrap();
                assert_eq!(chunks.concat(), whole, "{version} {leader}");
            }
        }
    }
}
