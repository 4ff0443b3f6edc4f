//! Records as columns, the way there and the way back.
//!
//! What comes back from a guest is believed in nothing: every length, order and index is checked against
//! what was asked before a single byte of it is used.

use brooklet_hook::task::StoredRecord;
use brooklet_wire::batch::{BatchError, BatchHeader, Record, Records};

use crate::bind::types::{Batch, Blobs, Columns, HeaderColumns, OutBatch, Reject};
use crate::error::{Failure, cut};

/// A column under construction.
#[derive(Debug, Default)]
pub(crate) struct Column {
    data: Vec<u8>,
    ends: Vec<u32>,
    nulls: Vec<u32>,
}

impl Column {
    fn with_capacity(entries: usize, bytes: usize) -> Column {
        let (data, ends) = (Vec::with_capacity(bytes), Vec::with_capacity(entries));
        Column { data, ends, nulls: Vec::new() }
    }

    pub(crate) fn push(&mut self, entry: Option<&[u8]>) {
        match entry {
            Some(bytes) => self.data.extend_from_slice(bytes),
            None => self.nulls.push(count(self.ends.len())),
        }
        self.ends.push(count(self.data.len()));
    }

    pub(crate) fn finish(self) -> Blobs {
        let nulls = (!self.nulls.is_empty()).then_some(self.nulls);
        Blobs { data: self.data, ends: self.ends, nulls }
    }
}

/// Batches are below 2 GiB, and so is everything in them.
fn count(length: usize) -> u32 {
    u32::try_from(length).expect("frames and decompressed batches are limited to less than 4 GiB")
}

/// Copies the columns that are wanted out of a batch.
pub(crate) fn gather(
    topic: &str,
    partition: i32,
    records: &Records<'_>,
    wanted: Columns,
) -> Result<Batch, BatchError> {
    let header = records.header();
    let entries = usize::try_from(header.record_count).unwrap_or(usize::MAX);
    // A header may claim any number of records; its bytes bound what is set aside for them.
    let entries = entries.min(records.uncompressed_bytes());
    let mut batch = blank(topic, partition, header);
    if wanted == Columns::empty() && is_dense(header) {
        return Ok(batch);
    }
    let sized = |on: bool, bytes: usize| on.then(|| Column::with_capacity(entries, bytes));
    let mut keys = sized(wanted.contains(Columns::KEYS), 0);
    let mut values = sized(wanted.contains(Columns::VALUES), records.uncompressed_bytes());
    let mut headers = wanted.contains(Columns::HEADERS).then(HeadersColumn::default);
    let mut times = wanted.contains(Columns::TIMESTAMPS).then(|| Vec::with_capacity(entries));
    let mut deltas = Vec::new();
    let mut index = 0_u32;
    let base = header.base_offset().value();
    for record in records.iter() {
        let record = record?;
        let delta = u32::try_from(record.offset.value().saturating_sub(base)).unwrap_or(u32::MAX);
        if delta != index && deltas.is_empty() {
            deltas.extend(0..index);
        }
        if delta != index || !deltas.is_empty() {
            deltas.push(delta);
        }
        index = index.saturating_add(1);
        if let Some(keys) = &mut keys {
            keys.push(record.key);
        }
        if let Some(values) = &mut values {
            values.push(record.value);
        }
        if let Some(headers) = &mut headers {
            headers.push(&record);
        }
        if let Some(times) = &mut times {
            times.push(record.timestamp.0.saturating_sub(batch.base_timestamp));
        }
    }
    batch.offset_deltas = (!deltas.is_empty()).then_some(deltas);
    batch.keys = keys.map(Column::finish);
    batch.values = values.map(Column::finish);
    batch.headers = headers.map(HeadersColumn::finish);
    batch.timestamp_deltas = times.filter(|times| times.iter().any(|delta| *delta != 0));
    Ok(batch)
}

/// Columns of records that were fetched by a client.
pub(crate) fn gather_stored(
    topic: &str,
    partition: u32,
    records: &[StoredRecord],
    wanted: Columns,
) -> Batch {
    let first = records.first();
    let base_offset = first.map_or(0, |record| record.offset);
    let base_timestamp = first.map_or(0, |record| record.timestamp);
    let delta = |record: &StoredRecord| u32::try_from(record.offset - base_offset);
    let deltas = records.iter().map(|record| delta(record).unwrap_or(u32::MAX));
    let is_dense = deltas.clone().eq(0..count(records.len()));
    let times = records.iter().map(|record| record.timestamp.saturating_sub(base_timestamp));
    let column = |on: bool, of: fn(&StoredRecord) -> Option<&[u8]>| {
        on.then(|| {
            let mut column = Column::with_capacity(records.len(), 0);
            records.iter().for_each(|record| column.push(of(record)));
            column.finish()
        })
    };
    let headers = wanted.contains(Columns::HEADERS).then(|| {
        let mut column = HeadersColumn::default();
        for record in records {
            column.counts.push(count(record.headers.len()));
            for (name, value) in &record.headers {
                column.names.push(Some(name));
                column.values.push(value.as_deref());
            }
        }
        column.finish()
    });
    Batch {
        topic: topic.to_owned(),
        partition: i32::try_from(partition).unwrap_or(i32::MAX),
        base_offset,
        base_timestamp,
        count: count(records.len()),
        offset_deltas: (!is_dense).then(|| deltas.collect()),
        timestamp_deltas: (wanted.contains(Columns::TIMESTAMPS)
            && times.clone().any(|delta| delta != 0))
        .then(|| times.collect()),
        keys: column(wanted.contains(Columns::KEYS), |record| record.key.as_deref()),
        values: column(wanted.contains(Columns::VALUES), |record| record.value.as_deref()),
        headers,
    }
}

fn is_dense(header: &BatchHeader) -> bool {
    header.last_offset_delta.checked_add(1) == Some(header.record_count)
}

fn blank(topic: &str, partition: i32, header: &BatchHeader) -> Batch {
    Batch {
        topic: topic.to_owned(),
        partition,
        base_offset: header.base_offset().to_wire(),
        base_timestamp: header.base_timestamp.0,
        count: header.record_count,
        offset_deltas: None,
        timestamp_deltas: None,
        keys: None,
        values: None,
        headers: None,
    }
}

#[derive(Debug, Default)]
struct HeadersColumn {
    counts: Vec<u32>,
    names: Column,
    values: Column,
}

impl HeadersColumn {
    fn push(&mut self, record: &Record<'_>) {
        self.counts.push(record.header_count());
        for (name, value) in record.headers.clone() {
            self.names.push(Some(name));
            self.values.push(value);
        }
    }

    fn finish(self) -> HeaderColumns {
        let (names, values) = (self.names.finish(), self.values.finish());
        HeaderColumns { counts: self.counts, names, values }
    }
}

/// A column that came from a guest and was found to be one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Checked<'a> {
    blobs: &'a Blobs,
}

impl<'a> Checked<'a> {
    /// Checks that a column has so many entries, and that they lie where it says.
    pub(crate) fn new(
        blobs: &'a Blobs,
        entries: usize,
        name: &str,
    ) -> Result<Checked<'a>, Failure> {
        if blobs.ends.len() != entries {
            let problem = format!("{} {name}, {entries} were due", blobs.ends.len());
            return Err(Failure::wrong(problem));
        }
        let ascending = blobs.ends.is_sorted();
        let last = blobs.ends.last().copied().unwrap_or(0);
        if !ascending || usize::try_from(last) != Ok(blobs.data.len()) {
            return Err(Failure::wrong(format!("{name} that do not lie within their bytes")));
        }
        if let Some(nulls) = &blobs.nulls {
            let strictly = nulls.windows(2).all(|pair| pair[0] < pair[1]);
            let within = nulls.last().is_none_or(|&last| (last as usize) < entries);
            if !strictly || !within {
                return Err(Failure::wrong(format!("null {name} that are out of order")));
            }
        }
        Ok(Checked { blobs })
    }

    /// Entry `index`; none if it is null.
    pub(crate) fn get(&self, index: usize) -> Option<&'a [u8]> {
        if let Some(nulls) = &self.blobs.nulls
            && nulls.binary_search(&count(index)).is_ok()
        {
            return None;
        }
        let end = self.blobs.ends[index] as usize;
        let start = if index == 0 { 0 } else { self.blobs.ends[index - 1] as usize };
        Some(&self.blobs.data[start..end])
    }
}

/// Header columns that came from a guest.
#[derive(Clone, Debug)]
pub(crate) struct CheckedHeaders<'a> {
    names: Checked<'a>,
    values: Checked<'a>,
    /// Where the headers of each record begin, and the end.
    starts: Vec<usize>,
}

impl<'a> CheckedHeaders<'a> {
    fn new(headers: &'a HeaderColumns, records: usize) -> Result<CheckedHeaders<'a>, Failure> {
        if headers.counts.len() != records {
            let problem =
                format!("headers of {} records, {records} were due", headers.counts.len());
            return Err(Failure::wrong(problem));
        }
        let mut starts = Vec::with_capacity(records + 1);
        let mut total = 0_usize;
        starts.push(0);
        for &more in &headers.counts {
            total = total.saturating_add(more as usize);
            starts.push(total);
        }
        let names = Checked::new(&headers.names, total, "header names")?;
        let values = Checked::new(&headers.values, total, "header values")?;
        Ok(CheckedHeaders { names, values, starts })
    }

    /// The headers of one record.
    pub(crate) fn of(
        &self,
        record: usize,
    ) -> impl ExactSizeIterator<Item = (&'a [u8], Option<&'a [u8]>)> + use<'a> {
        let (names, values) = (self.names, self.values);
        let range = self.starts[record]..self.starts[record + 1];
        range.map(move |index| (names.get(index).unwrap_or_default(), values.get(index)))
    }
}

/// Records that a guest made, checked column by column.
#[derive(Clone, Debug)]
pub(crate) struct CheckedOut<'a> {
    pub(crate) count: usize,
    pub(crate) sources: Option<&'a [u32]>,
    pub(crate) keys: Option<Checked<'a>>,
    pub(crate) values: Option<Checked<'a>>,
    pub(crate) headers: Option<CheckedHeaders<'a>>,
    pub(crate) timestamps: Option<&'a [i64]>,
}

impl<'a> CheckedOut<'a> {
    /// Checks what a guest made out of `input` records.
    pub(crate) fn new(out: &'a OutBatch, input: Option<u32>) -> Result<CheckedOut<'a>, Failure> {
        let count = out.count as usize;
        let column = |blobs: &'a Option<Blobs>, name| {
            blobs.as_ref().map(|blobs| Checked::new(blobs, count, name)).transpose()
        };
        let numbers = |list: &'a Option<Vec<u32>>, name: &str| match list {
            Some(list) if list.len() != count => {
                Err(Failure::wrong(format!("{} {name}, {count} were due", list.len())))
            }
            Some(list) => Ok(Some(list.as_slice())),
            None => Ok(None),
        };
        let sources = numbers(&out.sources, "sources")?;
        match (input, sources) {
            (None, Some(_)) => return Err(Failure::wrong("sources where there was no input")),
            (Some(input), Some(sources)) => {
                let within = sources.iter().all(|&source| source < input);
                if !within || !sources.is_sorted() {
                    return Err(Failure::wrong("sources that are out of order or out of range"));
                }
            }
            (Some(input), None) if input != out.count => {
                let problem = format!("{} records without sources, {input} came in", out.count);
                return Err(Failure::wrong(problem));
            }
            (Some(_) | None, None) => {}
        }
        if let Some(times) = &out.timestamps
            && times.len() != count
        {
            return Err(Failure::wrong(format!("{} timestamps, {count} were due", times.len())));
        }
        // In a view records go nowhere else, but a list that is there has one entry for each.
        numbers(&out.targets, "targets")?;
        numbers(&out.partitions, "partitions")?;
        let headers = out.headers.as_ref();
        Ok(CheckedOut {
            count,
            sources,
            keys: column(&out.keys, "keys")?,
            values: column(&out.values, "values")?,
            headers: headers.map(|headers| CheckedHeaders::new(headers, count)).transpose()?,
            timestamps: out.timestamps.as_deref(),
        })
    }
}

/// Bytes of all words that a call may say about records; what comes after has an index and no reason.
const MESSAGES_BYTES_MAX: usize = 1 << 20;

/// Checks the records that a guest could not handle: one word for each, in their order.
pub(crate) fn rejects(rejects: Option<Vec<Reject>>, input: u32) -> Result<Vec<Reject>, Failure> {
    let mut rejects = rejects.unwrap_or_default();
    if rejects.iter().any(|reject| reject.index >= input) {
        return Err(Failure::wrong("a reject of a record that was not there"));
    }
    rejects.sort_by_key(|reject| reject.index);
    rejects.dedup_by_key(|reject| reject.index);
    let mut left = MESSAGES_BYTES_MAX;
    for reject in &mut rejects {
        for words in [&mut reject.code, &mut reject.message] {
            *words = cut(std::mem::take(words));
            match left.checked_sub(words.len()) {
                Some(rest) => left = rest,
                None => *words = String::new(),
            }
        }
    }
    Ok(rejects)
}

/// Bytes of what came back, for its limit.
pub(crate) fn out_bytes(out: &OutBatch) -> usize {
    let blobs = |blobs: &Option<Blobs>| blobs.as_ref().map_or(0, blob_bytes);
    let headers = out.headers.as_ref();
    blobs(&out.keys)
        + blobs(&out.values)
        + headers.map_or(0, |it| blob_bytes(&it.names) + blob_bytes(&it.values))
}

/// Bytes of one column.
pub(crate) fn blob_bytes(blobs: &Blobs) -> usize {
    blobs.data.len() + blobs.ends.len() * 4
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blobs(data: &[u8], ends: &[u32], nulls: Option<&[u32]>) -> Blobs {
        Blobs { data: data.into(), ends: ends.into(), nulls: nulls.map(Into::into) }
    }

    #[test]
    fn a_column_gives_back_what_was_pushed() {
        let mut column = Column::default();
        for entry in [Some(&b"one"[..]), None, Some(b""), Some(b"four")] {
            column.push(entry);
        }
        let blobs = column.finish();
        let checked = Checked::new(&blobs, 4, "values").unwrap();
        let all: Vec<_> = (0..4).map(|index| checked.get(index)).collect();
        assert_eq!(all, [Some(&b"one"[..]), None, Some(b""), Some(b"four")]);
    }

    #[test]
    fn a_column_that_lies_is_found_out() {
        for bad in [
            blobs(b"abc", &[1, 2], None),
            blobs(b"abc", &[1, 2, 4], None),
            blobs(b"abc", &[2, 1, 3], None),
            blobs(b"abc", &[1, 2, u32::MAX], None),
            blobs(b"abc", &[1, 2, 3], Some(&[3])),
            blobs(b"abc", &[1, 2, 3], Some(&[1, 1])),
            blobs(b"abc", &[1, 2, 2], None),
        ] {
            assert!(Checked::new(&bad, 3, "values").is_err(), "{bad:?}");
        }
    }

    #[test]
    fn made_records_are_checked_against_what_came_in() {
        let out = |count, sources: Option<Vec<u32>>| OutBatch {
            count,
            sources,
            targets: None,
            partitions: None,
            keys: None,
            values: None,
            headers: None,
            timestamps: None,
        };
        let check = |out: &OutBatch, input| CheckedOut::new(out, input).map(drop);
        assert!(check(&out(3, None), Some(3)).is_ok());
        assert!(check(&out(2, None), Some(3)).is_err());
        assert!(check(&out(2, Some(vec![0, 2])), Some(3)).is_ok());
        assert!(check(&out(2, Some(vec![2, 0])), Some(3)).is_err());
        assert!(check(&out(2, Some(vec![0, 3])), Some(3)).is_err());
        assert!(check(&out(2, Some(vec![0])), Some(3)).is_err());
        assert!(check(&out(u32::MAX, None), None).is_ok());
        assert!(check(&out(1, Some(vec![0])), None).is_err());
    }
}
