//! Records of a test as Kafka's batches, and back.

use brooklet_golden::Rec;
use brooklet_types::{Offset, Timestamp};
use brooklet_wire::batch::{BatchBuilder, BatchError, Record, records};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

/// Records as one batch. The first gets the offset `base`.
pub(crate) fn encode(base: u64, recs: &[Rec]) -> Result<Bytes, BatchError> {
    let base = i64::try_from(base).ok().and_then(Offset::from_wire);
    let base = base.ok_or(BatchError::Build { problem: "offset beyond the range" })?;
    let mut builder = BatchBuilder::new(Codec::None).base_offset(base);
    for rec in recs {
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            rec.headers.iter().map(|(name, value)| (name.as_bytes(), value.as_deref())).collect();
        let (key, value) = (rec.key.as_deref(), rec.value.as_deref());
        builder.push(Timestamp(rec.timestamp), key, value, &headers)?;
    }
    builder.build()
}

/// The records of a batch, each with its offset.
pub(crate) fn decode(batch: &[u8]) -> Result<Vec<(u64, Rec)>, BatchError> {
    let opened = records(batch)?;
    opened.iter().map(|record| record.map(|record| (record.offset.value(), rec(&record)))).collect()
}

fn rec(record: &Record<'_>) -> Rec {
    let header = |(name, value): (&[u8], Option<&[u8]>)| {
        (String::from_utf8_lossy(name).into_owned(), value.map(<[u8]>::to_vec))
    };
    Rec {
        key: record.key.map(<[u8]>::to_vec),
        value: record.value.map(<[u8]>::to_vec),
        headers: record.headers.clone().map(header).collect(),
        timestamp: record.timestamp.0,
    }
}
