//! What the wire must withstand and whom it must understand: hostile bytes, random bytes, and the
//! bytes of another implementation.

#![expect(clippy::unwrap_used, reason = "the helpers of tests are tests too")]

mod fuzz;
mod hostile;
mod meter;
mod others;
mod properties;

use brooklet_types::{LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder, BatchError, HEADER_BYTES};
use brooklet_wire::compress::Codec;
use brooklet_wire::message::Bytes;

#[global_allocator]
static METER: meter::Meter = meter::Meter;

/// A batch that uses every field, at offset 40.
fn sample(codec: Codec) -> Bytes {
    let mut builder = BatchBuilder::new(codec)
        .base_offset(Offset::new(40))
        .leader_epoch(LeaderEpoch(3))
        .producer(ProducerId(9), ProducerEpoch(1), 5);
    let text = b"flights in, flights out; ".repeat(4);
    for index in 0..4 {
        let headers: &[(&[u8], _)] = &[(b"name", Some(&b"value"[..])), (b"none", None)];
        builder.push(Timestamp(1000 - index), Some(b"key"), Some(&text), headers).unwrap();
    }
    builder.push(Timestamp(2000), None, None, &[]).unwrap();
    builder.build().unwrap()
}

/// A batch with this header (of `sample`), these records' bytes and a true checksum.
fn forge(codec: i16, count: i32, body: &[u8]) -> Vec<u8> {
    let mut bytes = sample(Codec::None)[..HEADER_BYTES].to_vec();
    bytes.extend_from_slice(body);
    let length = i32::try_from(bytes.len() - batch::OVERHEAD_BYTES).unwrap();
    bytes[8..12].copy_from_slice(&length.to_be_bytes());
    bytes[21..23].copy_from_slice(&codec.to_be_bytes());
    bytes[57..61].copy_from_slice(&count.to_be_bytes());
    let crc = batch::crc(&bytes);
    bytes[17..21].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Reads every batch and every record; how many records there were.
fn read_all(bytes: &[u8]) -> Result<usize, BatchError> {
    let mut count = 0;
    for batch in batch::split(bytes) {
        let (_, batch) = batch?;
        for record in batch::records(batch)?.iter() {
            let record = record?;
            let headers = Iterator::count(record.headers.clone());
            assert_eq!(u32::try_from(headers).ok(), Some(record.header_count()));
            count += 1;
        }
    }
    Ok(count)
}
