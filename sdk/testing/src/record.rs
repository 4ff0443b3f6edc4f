//! The columns of a batch of records that own their bytes.

use brooklet::bindings::types::{self, HeaderColumns};
use brooklet::{Column, ColumnBuilder, Columns};
use brooklet_golden::Rec;

/// Records as the columns of a batch: what the host does. Offsets begin at `base_offset`.
pub fn batch(
    topic: &str,
    partition: i32,
    base_offset: i64,
    asked: Columns,
    records: &[Rec],
) -> types::Batch {
    let column = |entry: &dyn Fn(&Rec) -> Option<Vec<u8>>| {
        let mut builder = ColumnBuilder::default();
        records.iter().for_each(|record| builder.push(entry(record).as_deref()));
        builder.finish()
    };
    let base_timestamp = records.first().map_or(0, |record| record.timestamp);
    let delta = |record: &Rec| record.timestamp - base_timestamp;
    types::Batch {
        topic: topic.to_owned(),
        partition,
        base_offset,
        base_timestamp,
        count: u32::try_from(records.len()).expect("tests have few records"),
        offset_deltas: None,
        timestamp_deltas: asked
            .contains(Columns::TIMESTAMPS)
            .then(|| records.iter().map(delta).collect()),
        keys: asked.contains(Columns::KEYS).then(|| column(&|record| record.key.clone())),
        values: asked.contains(Columns::VALUES).then(|| column(&|record| record.value.clone())),
        headers: asked.contains(Columns::HEADERS).then(|| headers(records)),
    }
}

fn headers(records: &[Rec]) -> HeaderColumns {
    let (mut names, mut values) = (ColumnBuilder::default(), ColumnBuilder::default());
    let mut counts = Vec::new();
    for record in records {
        for (name, value) in &record.headers {
            names.push(Some(name.as_bytes()));
            values.push(value.as_deref());
        }
        counts.push(u32::try_from(record.headers.len()).expect("tests have few headers"));
    }
    HeaderColumns { counts, names: names.finish(), values: values.finish() }
}

/// What came out, over what went in: a column that is none stays that of the record it came from.
pub(crate) fn apply(out: &types::OutBatch, input: Option<&[Rec]>) -> Vec<Rec> {
    let count = out.count as usize;
    let mut records: Vec<Rec> = match (&out.sources, input) {
        (Some(sources), Some(input)) => {
            sources.iter().map(|source| input[*source as usize].clone()).collect()
        }
        (None, Some(input)) => input.to_vec(),
        (_, None) => vec![Rec::default(); count],
    };
    assert_eq!(records.len(), count, "the columns are as long as they say");
    let owned = |column: &types::Blobs| -> Vec<Option<Vec<u8>>> {
        assert_eq!(column.ends.len(), count, "a column has an entry per record");
        Column::new(column).iter().map(|entry| entry.map(<[u8]>::to_vec)).collect()
    };
    for (record, key) in records.iter_mut().zip(out.keys.as_ref().map(owned).into_iter().flatten())
    {
        record.key = key;
    }
    let values = out.values.as_ref().map(owned).into_iter().flatten();
    for (record, value) in records.iter_mut().zip(values) {
        record.value = value;
    }
    for (record, timestamp) in records.iter_mut().zip(out.timestamps.iter().flatten()) {
        record.timestamp = *timestamp;
    }
    if let Some(headers) = &out.headers {
        apply_headers(headers, &mut records);
    }
    records
}

fn apply_headers(columns: &HeaderColumns, records: &mut [Rec]) {
    let mut names = Column::new(&columns.names).iter();
    let mut values = Column::new(&columns.values).iter();
    for (record, count) in records.iter_mut().zip(&columns.counts) {
        record.headers.clear();
        for _ in 0..*count {
            let name = names.next().flatten().expect("a header has a name");
            let value = values.next().expect("as many values as names");
            let name = String::from_utf8_lossy(name).into_owned();
            record.headers.push((name, value.map(<[u8]>::to_vec)));
        }
    }
}
