//! Records as authors see them, over the columns of a batch.

use crate::bindings::types::{self, Columns};
use crate::column::Column;

/// Records of one partition.
#[derive(Clone, Debug)]
pub struct Batch<'a> {
    input: &'a types::Batch,
    asked: Columns,
    keys: Option<Column<'a>>,
    values: Option<Column<'a>>,
    header_names: Column<'a>,
    header_values: Column<'a>,
    /// Where the headers of each record end; empty without headers.
    header_ends: Vec<usize>,
}

impl<'a> Batch<'a> {
    #[doc(hidden)]
    pub fn new(input: &'a types::Batch, asked: Columns) -> Batch<'a> {
        let mut batch = Batch {
            input,
            asked,
            keys: input.keys.as_ref().map(Column::new),
            values: input.values.as_ref().map(Column::new),
            header_names: Column::default(),
            header_values: Column::default(),
            header_ends: Vec::new(),
        };
        if let Some(headers) = &input.headers {
            batch.header_names = Column::new(&headers.names);
            batch.header_values = Column::new(&headers.values);
            batch.header_ends.reserve(headers.counts.len());
            let mut end = 0;
            for count in &headers.counts {
                end += *count as usize;
                batch.header_ends.push(end);
            }
        }
        batch
    }

    /// The topic's name.
    pub fn topic(&self) -> &'a str {
        &self.input.topic
    }

    /// The partition, none where the records have none yet.
    pub fn partition(&self) -> Option<u32> {
        u32::try_from(self.input.partition).ok()
    }

    /// Number of records.
    pub fn len(&self) -> usize {
        self.input.count as usize
    }

    /// Whether there is no record.
    pub fn is_empty(&self) -> bool {
        self.input.count == 0
    }

    /// Record `index`. Panics if there is none.
    #[inline]
    pub fn record(&self, index: usize) -> Record<'_> {
        assert!(index < self.len(), "record {index} of {}", self.len());
        Record { batch: self, index }
    }

    /// All keys at once; null where there is none.
    pub fn keys(&self) -> Column<'a> {
        self.column(Columns::KEYS, "keys", self.keys)
    }

    /// All values at once; null where there is none.
    pub fn values(&self) -> Column<'a> {
        self.column(Columns::VALUES, "values", self.values)
    }

    /// The records in their order.
    pub fn records(&self) -> Records<'_> {
        Records { batch: self, next: 0 }
    }

    fn column(&self, which: Columns, name: &str, column: Option<Column<'a>>) -> Column<'a> {
        column.unwrap_or_else(|| self.missing(which, name))
    }

    #[cold]
    fn missing(&self, which: Columns, name: &str) -> ! {
        if self.asked.contains(which) {
            panic!("the host left out the {name}, which were asked for");
        }
        panic!("the plugin looks at {name} without having asked for that column");
    }
}

impl<'b> IntoIterator for &'b Batch<'_> {
    type Item = Record<'b>;
    type IntoIter = Records<'b>;

    fn into_iter(self) -> Records<'b> {
        self.records()
    }
}

/// The records of a batch, one after the other.
#[derive(Clone, Debug)]
pub struct Records<'b> {
    batch: &'b Batch<'b>,
    next: usize,
}

impl<'b> Iterator for Records<'b> {
    type Item = Record<'b>;

    #[inline]
    fn next(&mut self) -> Option<Record<'b>> {
        let index = self.next;
        if index >= self.batch.len() {
            return None;
        }
        self.next += 1;
        Some(Record { batch: self.batch, index })
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.batch.len() - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Records<'_> {}

/// One record. A column that the plugin did not ask for is not there: looking at it panics.
#[derive(Clone, Copy, Debug)]
pub struct Record<'b> {
    batch: &'b Batch<'b>,
    index: usize,
}

impl<'b> Record<'b> {
    /// Its index in the batch.
    pub fn index(&self) -> usize {
        self.index
    }

    /// Its topic.
    pub fn topic(&self) -> &'b str {
        self.batch.topic()
    }

    /// Its partition, none where it has none yet.
    pub fn partition(&self) -> Option<u32> {
        self.batch.partition()
    }

    /// Its key.
    #[inline]
    pub fn key(&self) -> Option<&'b [u8]> {
        self.batch.keys().get(self.index)
    }

    /// Its value; none is a tombstone.
    #[inline]
    pub fn value(&self) -> Option<&'b [u8]> {
        self.batch.values().get(self.index)
    }

    /// Its offset; of no meaning where it has no partition yet.
    pub fn offset(&self) -> i64 {
        let delta = match &self.batch.input.offset_deltas {
            Some(deltas) => i64::from(deltas[self.index]),
            None => i64::try_from(self.index).expect("an index is small"),
        };
        self.batch.input.base_offset + delta
    }

    /// Its time, milliseconds since the epoch, UTC.
    pub fn timestamp(&self) -> i64 {
        if !self.batch.asked.contains(Columns::TIMESTAMPS) {
            self.batch.missing(Columns::TIMESTAMPS, "timestamps");
        }
        let deltas = self.batch.input.timestamp_deltas.as_deref();
        self.batch.input.base_timestamp + deltas.map_or(0, |deltas| deltas[self.index])
    }

    /// Its headers, in their order.
    pub fn headers(&self) -> Headers<'b> {
        if self.batch.input.headers.is_none() {
            self.batch.missing(Columns::HEADERS, "headers");
        }
        let ends = &self.batch.header_ends;
        let start = if self.index == 0 { 0 } else { ends[self.index - 1] };
        Headers { batch: self.batch, next: start, end: ends[self.index] }
    }

    /// The last header of that name, as Kafka's `lastHeader` has it; null counts as none.
    pub fn header(&self, name: &str) -> Option<&'b [u8]> {
        let named = |header: &Header<'_>| header.name == name.as_bytes();
        self.headers().filter(named).last().and_then(|header| header.value)
    }
}

/// One header of a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header<'b> {
    /// Its name, UTF-8 by Kafka's rules but nobody enforces them.
    pub name: &'b [u8],
    /// Its value.
    pub value: Option<&'b [u8]>,
}

/// The headers of one record.
#[derive(Clone, Debug)]
pub struct Headers<'b> {
    batch: &'b Batch<'b>,
    next: usize,
    end: usize,
}

impl<'b> Iterator for Headers<'b> {
    type Item = Header<'b>;

    fn next(&mut self) -> Option<Header<'b>> {
        if self.next >= self.end {
            return None;
        }
        let name = self.batch.header_names.get(self.next).unwrap_or_default();
        let value = self.batch.header_values.get(self.next);
        self.next += 1;
        Some(Header { name, value })
    }
}

/// All columns.
impl Default for Columns {
    fn default() -> Columns {
        Columns::all()
    }
}
