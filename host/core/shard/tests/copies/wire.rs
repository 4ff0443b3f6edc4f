//! What brokers and their clients say to each other, as it comes over the wire.

use brooklet_log::Buffers;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_shard::input::{CopyAnswer, CopyFound};
use brooklet_shard::output::{CopyFetch, Fetched};
use brooklet_types::ErrorCode;
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;

use crate::world::CLOCK;

pub(crate) fn answer(one: &CopyFetch, found: CopyFound) -> CopyAnswer {
    CopyAnswer { partition: one.partition, fetch: one.fetch, found }
}

/// As it comes over the wire.
pub(crate) fn carried(fetched: Fetched<MemoryDisk>) -> CopyFound {
    let diverging = fetched.diverging;
    match (fetched.error, diverging) {
        (Some(ErrorCode::OffsetOutOfRange), Some(end)) => CopyFound::OutOfRange {
            log_start: fetched.log_start.unwrap(),
            log_end: end.end.unwrap(),
        },
        (Some(code), _) => CopyFound::Refused(code),
        (None, Some(end)) => {
            CopyFound::Diverging { epoch: end.epoch.unwrap(), end: end.end.unwrap() }
        }
        (None, None) => CopyFound::Served {
            high_watermark: fetched.high_watermark.unwrap(),
            log_start: fetched.log_start.unwrap(),
            records: bytes_of(fetched).into(),
        },
    }
}

pub(crate) fn bytes_of(fetched: Fetched<MemoryDisk>) -> Vec<u8> {
    let chunks = fetched.plan.map(|plan| plan.run(&mut Buffers::default()).unwrap());
    chunks.into_iter().flatten().flatten().collect()
}

pub(crate) fn values(bytes: &[u8]) -> Vec<String> {
    let mut values = Vec::new();
    for (_, bytes) in batch::split(bytes).map(Result::unwrap) {
        for record in batch::records(bytes).unwrap().iter() {
            let value = record.unwrap().value.unwrap().to_vec();
            values.push(String::from_utf8(value).unwrap());
        }
    }
    values
}

pub(crate) fn record(value: &str) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(CLOCK, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    ValidatedBatch::trusted(builder.build().unwrap())
}
