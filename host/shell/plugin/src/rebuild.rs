//! A batch anew, with some of its records changed or left out.
//!
//! **Invariants.** The batch spans the offsets, times and sequences it spanned; a record is at the offset it
//! was at, or it is not there.

use brooklet_types::Timestamp;
use brooklet_wire::batch::{BatchBuilder, BatchError, Record, Records};
use bytes::Bytes;

use crate::bind::types::OutBatch;
use crate::columns::{Checked, CheckedOut};
use crate::error::Failure;
use crate::spec::Part;

/// Indexes of records to leave out, ascending.
pub(crate) type Left<'a> = &'a [u32];

fn broken(error: BatchError) -> Failure {
    Failure::BadInput(error.to_string())
}

/// Builds the batch record by record; `each` decides about one.
fn build(
    records: &Records<'_>,
    left: Left<'_>,
    mut each: impl FnMut(&mut BatchBuilder, usize, &Record<'_>) -> Result<(), BatchError>,
) -> Result<Bytes, Failure> {
    let mut builder = BatchBuilder::editing(records.header()).map_err(broken)?;
    let mut left = left.iter().copied().peekable();
    for (index, record) in records.iter().enumerate() {
        let record = record.map_err(broken)?;
        if left.next_if(|&gone| gone as usize == index).is_some() {
            continue;
        }
        each(&mut builder, index, &record).map_err(broken)?;
    }
    builder.build().map_err(broken)
}

/// Builds the batch of records as they are stored.
fn keep(
    records: &Records<'_>,
    left: Left<'_>,
    is_kept: impl Fn(usize) -> bool,
) -> Result<Bytes, Failure> {
    let mut builder = BatchBuilder::editing(records.header()).map_err(broken)?;
    let mut left = left.iter().copied().peekable();
    for (index, record) in records.stored().enumerate() {
        let record = record.map_err(broken)?;
        if left.next_if(|&gone| gone as usize == index).is_none() && is_kept(index) {
            builder.keep(&record).map_err(broken)?;
        }
    }
    builder.build().map_err(broken)
}

/// Without some of its records.
pub(crate) fn without(records: &Records<'_>, left: Left<'_>) -> Result<Bytes, Failure> {
    keep(records, left, |_| true)
}

/// Only those whose bit is set, least significant first.
pub(crate) fn selected(
    records: &Records<'_>,
    bits: &[u8],
    left: Left<'_>,
) -> Result<Bytes, Failure> {
    keep(records, left, |index| {
        bits.get(index / 8).is_some_and(|byte| byte >> (index % 8) & 1 == 1)
    })
}

/// With new keys or values.
pub(crate) fn with_part(
    records: &Records<'_>,
    part: Part,
    column: Checked<'_>,
    left: Left<'_>,
) -> Result<Bytes, Failure> {
    build(records, left, |builder, index, record| {
        let new = column.get(index);
        let (key, value) = match part {
            Part::Key => (new, record.value),
            Part::Value => (record.key, new),
        };
        push(builder, record, record.timestamp, key, value)
    })
}

fn push(
    builder: &mut BatchBuilder,
    record: &Record<'_>,
    timestamp: Timestamp,
    key: Option<&[u8]>,
    value: Option<&[u8]>,
) -> Result<(), BatchError> {
    let headers = record.header_count() as usize;
    builder.push_at(record.offset, timestamp, key, value, headers, record.headers.clone())
}

/// With the records that a transform made, each at the offset of the one it came from.
pub(crate) fn emitted(
    records: &Records<'_>,
    out: &OutBatch,
    left: Left<'_>,
) -> Result<Bytes, Failure> {
    let out = CheckedOut::new(out, Some(records.header().record_count))?;
    let mut made = 0_usize;
    let source = |made: usize| out.sources.map_or(made, |sources| sources[made] as usize);
    let mut builder = BatchBuilder::editing(records.header()).map_err(broken)?;
    for (index, record) in records.iter().enumerate() {
        let record = record.map_err(broken)?;
        let is_due = made < out.count && source(made) == index;
        if !is_due {
            continue;
        }
        let at = made;
        made += 1;
        if left.binary_search(&u32::try_from(index).unwrap_or(u32::MAX)).is_ok() {
            continue;
        }
        let key = out.keys.map_or(record.key, |keys| keys.get(at));
        let value = out.values.map_or(record.value, |values| values.get(at));
        let timestamp = out.timestamps.map_or(record.timestamp, |times| Timestamp(times[at]));
        let pushed = match &out.headers {
            None => push(&mut builder, &record, timestamp, key, value),
            Some(headers) => {
                let headers = headers.of(at);
                builder.push_at(record.offset, timestamp, key, value, headers.len(), headers)
            }
        };
        pushed.map_err(broken)?;
    }
    builder.build().map_err(broken)
}

#[cfg(test)]
mod tests {
    use brooklet_types::{Offset, ProducerEpoch, ProducerId};
    use brooklet_wire::batch::{check_crc, records};
    use brooklet_wire::compress::Codec;

    use super::*;
    use crate::columns::Column;

    fn sample(codec: Codec) -> Bytes {
        let mut builder = BatchBuilder::new(codec).base_offset(Offset::new(100)).producer(
            ProducerId(7),
            ProducerEpoch(0),
            40,
        );
        for number in 0..10_i64 {
            let text = number.to_string();
            let headers = [(&b"n"[..], Some(text.as_bytes()))];
            builder
                .push(Timestamp(1000 + number), Some(b"k"), Some(text.as_bytes()), &headers)
                .unwrap();
        }
        builder.build().unwrap()
    }

    fn shown(batch: &Bytes) -> Vec<(u64, String)> {
        check_crc(batch).unwrap();
        let opened = records(batch).unwrap();
        assert_eq!(opened.header().last_offset(), Offset::new(109), "offsets are spanned");
        assert_eq!(opened.header().base_sequence, 40);
        let show = |record: Record<'_>| {
            let value = String::from_utf8_lossy(record.value.unwrap_or(b"null")).into_owned();
            assert_eq!(record.header_count(), 1);
            (record.offset.value(), value)
        };
        opened.iter().map(|record| show(record.unwrap())).collect()
    }

    #[test]
    fn records_stay_at_their_offsets() {
        for codec in Codec::ALL {
            let batch = sample(codec);
            let opened = records(&batch).unwrap();
            let all = shown(&without(&opened, &[0, 9]).unwrap());
            assert_eq!(all.first(), Some(&(101, "1".to_owned())));
            assert_eq!(all.last(), Some(&(108, "8".to_owned())));
            let some = shown(&selected(&opened, &[0b1000_0001, 0b10], &[0]).unwrap());
            assert_eq!(some, [(107, "7".to_owned()), (109, "9".to_owned())]);
            assert_eq!(shown(&selected(&opened, &[0, 0], &[]).unwrap()), []);
        }
    }

    #[test]
    fn new_values_take_the_place_of_the_old() {
        let batch = sample(Codec::Lz4);
        let opened = records(&batch).unwrap();
        let mut column = Column::default();
        (0..10).for_each(|number| column.push((number != 3).then_some(b"new")));
        let column = column.finish();
        let column = Checked::new(&column, 10, "values").unwrap();
        let all = shown(&with_part(&opened, Part::Value, column, &[0]).unwrap());
        assert_eq!(all.len(), 9);
        assert_eq!(all[2], (103, "null".to_owned()));
        let out = OutBatch {
            count: 2,
            sources: Some(vec![4, 6]),
            targets: None,
            partitions: None,
            keys: None,
            values: Some({
                let mut column = Column::default();
                column.push(Some(b"four"));
                column.push(None);
                column.finish()
            }),
            headers: None,
            timestamps: None,
        };
        let all = shown(&emitted(&opened, &out, &[]).unwrap());
        assert_eq!(all, [(104, "four".to_owned()), (106, "null".to_owned())]);
        assert_eq!(shown(&emitted(&opened, &out, &[4]).unwrap()), [(106, "null".to_owned())]);
    }
}
