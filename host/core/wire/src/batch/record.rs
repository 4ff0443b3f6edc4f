//! The records of a batch: decompressed within a limit, then read in place.
//!
//! Every varint, count and length is checked against the bytes that are there; records must fill
//! the batch exactly. Nothing is allocated per record.

use std::borrow::Cow;

use brooklet_types::{Offset, Timestamp, limits};

use super::{BatchError, BatchHeader, HEADER_BYTES, TimestampType};
use crate::compress::{Codec, decompress};

/// A batch whose records can be iterated.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    header: BatchHeader,
    bytes: Cow<'a, [u8]>,
}

/// One record, borrowed from its batch.
#[derive(Clone, Debug)]
pub struct Record<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the batch's, when the broker set it.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<&'a [u8]>,
    /// Its value; none in a tombstone.
    pub value: Option<&'a [u8]>,
    /// Its headers, known to be well-formed.
    pub headers: Headers<'a>,
}

/// One record as it is stored, of which only where it is and when was read.
#[derive(Clone, Copy, Debug)]
pub struct Stored<'a> {
    /// Its place in the partition.
    pub offset: Offset,
    /// Its time: the batch's, when the broker set it.
    pub timestamp: Timestamp,
    /// All of it, with its length in front.
    pub raw: &'a [u8],
}

/// The headers of a record: names and values. A name is bytes, as brokers do not check it.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Headers<'a> {
    bytes: &'a [u8],
    count: u32,
}

/// The records in order. Ends after the first error.
#[derive(Clone, Debug)]
pub struct RecordIter<'a> {
    header: &'a BatchHeader,
    bytes: &'a [u8],
    index: u32,
}

/// Opens one whole batch. The checksum is the caller's business.
pub fn records(batch: &[u8]) -> Result<Records<'_>, BatchError> {
    records_within(batch, limits::DECOMPRESSED_BYTES_MAX)
}

fn records_within(batch: &[u8], limit: usize) -> Result<Records<'_>, BatchError> {
    let header = BatchHeader::parse(batch)?;
    let needed = header.total_bytes();
    let short = BatchError::Truncated { needed, have: batch.len() };
    let body = batch.get(HEADER_BYTES..needed).ok_or(short)?;
    let bytes = match header.attributes.codec()? {
        Codec::None => Cow::Borrowed(body),
        // A batch that compaction emptied has no compressed bytes either.
        _ if body.is_empty() => Cow::Borrowed(body),
        codec @ (Codec::Gzip | Codec::Snappy | Codec::Lz4 | Codec::Zstd) => {
            Cow::Owned(decompress(codec, body, limit)?)
        }
    };
    Ok(Records { header, bytes })
}

impl Records<'_> {
    /// The batch's header.
    pub fn header(&self) -> &BatchHeader {
        &self.header
    }

    /// Size of the records without compression.
    pub fn uncompressed_bytes(&self) -> usize {
        self.bytes.len()
    }

    /// The records in order.
    pub fn iter(&self) -> RecordIter<'_> {
        RecordIter { header: &self.header, bytes: &self.bytes, index: 0 }
    }

    /// The records in order, for who passes them on as they are: what they hold is not looked at.
    pub fn stored(&self) -> impl Iterator<Item = Result<Stored<'_>, BatchError>> {
        let mut iter = self.iter();
        std::iter::from_fn(move || {
            iter.advance(|header, bytes| take_head(header, bytes).map(|(stored, _)| stored))
        })
    }
}

impl<'a> Iterator for RecordIter<'a> {
    type Item = Result<Record<'a>, BatchError>;

    fn next(&mut self) -> Option<Self::Item> {
        self.advance(take_record)
    }
}

impl<'a> RecordIter<'a> {
    fn advance<T>(
        &mut self,
        read: impl FnOnce(&BatchHeader, &mut &'a [u8]) -> Result<T, &'static str>,
    ) -> Option<Result<T, BatchError>> {
        let index = self.index;
        if index >= self.header.record_count {
            let left = !std::mem::take(&mut self.bytes).is_empty();
            let problem = "bytes are left after the last record";
            return left.then_some(Err(BatchError::Record { index, problem }));
        }
        let record = read(self.header, &mut self.bytes);
        self.index = match record {
            Ok(_) => index.saturating_add(1),
            Err(_) => {
                self.bytes = &[];
                u32::MAX
            }
        };
        Some(record.map_err(|problem| BatchError::Record { index, problem }))
    }
}

/// The record up to its key, and what comes from there on.
#[inline]
fn take_head<'a>(
    header: &BatchHeader,
    bytes: &mut &'a [u8],
) -> Result<(Stored<'a>, &'a [u8]), &'static str> {
    let from = *bytes;
    let length = usize::try_from(varint(bytes)?).map_err(|_| "negative length")?;
    let mut body = take(bytes, length)?;
    let raw = from.get(..from.len().saturating_sub(bytes.len())).unwrap_or_default();
    take(&mut body, 1)?; // Attributes, of which none is defined.
    let timestamp_delta = varlong(&mut body)?;
    let offset_delta = u32::try_from(varint(&mut body)?).map_err(|_| "negative offset delta")?;
    if offset_delta > header.last_offset_delta {
        return Err("offset delta beyond the batch");
    }
    let offset = header.base_offset.value().saturating_add(u64::from(offset_delta));
    let timestamp = match header.attributes.timestamp_type() {
        TimestampType::CreateTime => {
            Timestamp(header.base_timestamp.0.wrapping_add(timestamp_delta))
        }
        TimestampType::LogAppendTime => header.max_timestamp,
    };
    // The header's parser keeps base plus delta in range.
    let offset = Offset::from_wire(i64::try_from(offset).unwrap_or(-1)).ok_or("offset range")?;
    Ok((Stored { offset, timestamp, raw }, body))
}

fn take_record<'a>(header: &BatchHeader, bytes: &mut &'a [u8]) -> Result<Record<'a>, &'static str> {
    let (Stored { offset, timestamp, .. }, mut body) = take_head(header, bytes)?;
    let key = take_nullable(&mut body)?;
    let value = take_nullable(&mut body)?;
    let count = u32::try_from(varint(&mut body)?).map_err(|_| "negative number of headers")?;
    let headers = Headers { bytes: body, count };
    for _ in 0..count {
        take_header(&mut body)?;
    }
    if !body.is_empty() {
        return Err("bytes are left after the last header");
    }
    Ok(Record { offset, timestamp, key, value, headers })
}

impl Record<'_> {
    /// How many headers it has.
    pub fn header_count(&self) -> u32 {
        self.headers.count
    }
}

impl<'a> Iterator for Headers<'a> {
    type Item = (&'a [u8], Option<&'a [u8]>);

    fn next(&mut self) -> Option<Self::Item> {
        self.count = self.count.checked_sub(1)?;
        take_header(&mut self.bytes).ok()
    }
}

fn take_header<'a>(bytes: &mut &'a [u8]) -> Result<(&'a [u8], Option<&'a [u8]>), &'static str> {
    let length = usize::try_from(varint(bytes)?).map_err(|_| "header without a name")?;
    let name = take(bytes, length)?;
    Ok((name, take_nullable(bytes)?))
}

#[inline]
fn take_nullable<'a>(bytes: &mut &'a [u8]) -> Result<Option<&'a [u8]>, &'static str> {
    match varint(bytes)? {
        -1 => Ok(None),
        length => {
            let length = usize::try_from(length).map_err(|_| "negative length of a field")?;
            take(bytes, length).map(Some)
        }
    }
}

#[inline]
fn take<'a>(bytes: &mut &'a [u8], length: usize) -> Result<&'a [u8], &'static str> {
    let (taken, rest) = bytes.split_at_checked(length).ok_or("cut short")?;
    *bytes = rest;
    Ok(taken)
}

/// Zigzag, at most five bytes.
#[inline]
fn varint(bytes: &mut &[u8]) -> Result<i32, &'static str> {
    i32::try_from(varlong(bytes)?).map_err(|_| "number beyond 32 bits")
}

/// Zigzag, at most ten bytes. Nearly all are one or two bytes long.
#[inline]
fn varlong(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    match **bytes {
        [low @ 0..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(unzigzag(u64::from(low)))
        }
        [low, high @ 0..0x80, ref rest @ ..] => {
            *bytes = rest;
            Ok(unzigzag(u64::from(low & 0x7f) | u64::from(high) << 7))
        }
        _ => long_varlong(bytes),
    }
}

#[cold]
fn long_varlong(bytes: &mut &[u8]) -> Result<i64, &'static str> {
    let mut raw: u64 = 0;
    for shift in (0..70).step_by(7) {
        let (&byte, rest) = bytes.split_first().ok_or("cut short")?;
        *bytes = rest;
        let bits = u64::from(byte & 0x7f);
        if shift == 63 && bits > 1 {
            break;
        }
        raw |= bits.wrapping_shl(shift);
        if byte < 0x80 {
            return Ok(unzigzag(raw));
        }
    }
    Err("number beyond 64 bits")
}

fn unzigzag(raw: u64) -> i64 {
    (raw >> 1).cast_signed() ^ (raw & 1).cast_signed().wrapping_neg()
}
