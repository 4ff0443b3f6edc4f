//! A history that can be checked: what is known of each partition's log, and who sent what.
//!
//! **Invariants.**
//! 1. `entries` has every pair of offset and value that was acknowledged or polled in a partition once, in that order.
//! 2. `seen` names those of them that were polled, in the same order.
//! 3. A value was sent to a partition at most once, so an entry has at most one writer.

use crate::error::HistoryError;
use crate::recording::{Line, Outcome, Record, Tables, Turn, UNKNOWN, What};
use crate::report::Quote;

/// A value at an offset of a partition.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) offset: u64,
    pub(crate) value: u64,
    pub(crate) partition: u32,
    /// The first line that acknowledged it here.
    pub(crate) acknowledged: Option<Line>,
    /// The first line that polled it here.
    pub(crate) polled: Option<Line>,
}

impl Entry {
    fn by_offset(&self) -> (u32, u64, u64) {
        (self.partition, self.offset, self.value)
    }

    pub(crate) fn by_value(&self) -> (u32, u64, u64) {
        (self.partition, self.value, self.offset)
    }
}

/// No row.
const NONE: u32 = u32::MAX;

/// A history, read to its end.
#[derive(Debug)]
pub struct History {
    pub(crate) tables: Tables,
    pub(crate) entries: Vec<Entry>,
    /// Rows of `entries`, by partition, value and offset.
    pub(crate) by_value: Vec<u32>,
    seen: Vec<u32>,
    /// By row of `entries`.
    writers: Vec<u32>,
    /// By row of the sends: where it lies, or `UNKNOWN`.
    places: Vec<u64>,
    /// By row of the sends.
    polled: Vec<bool>,
}

impl History {
    pub(crate) fn new(tables: Tables) -> Result<History, HistoryError> {
        let entries = entries(&tables);
        let mut by_value: Vec<u32> = (0..rows(entries.len())).collect();
        by_value.sort_unstable_by_key(|row| entries[*row as usize].by_value());
        let polled = |row: &u32| entries[*row as usize].polled.is_some();
        let seen = (0..rows(entries.len())).filter(polled).collect();
        let mut history = History {
            writers: vec![NONE; entries.len()],
            places: vec![UNKNOWN; tables.sends.len()],
            polled: vec![false; tables.sends.len()],
            tables,
            entries,
            by_value,
            seen,
        };
        history.join()?;
        Ok(history)
    }

    /// Finds each entry's writer and each send's place, going through both by value.
    fn join(&mut self) -> Result<(), HistoryError> {
        let sends = &self.tables.sends;
        let key = |row: u32| (sends[row as usize].partition, sends[row as usize].value);
        let mut rows: Vec<u32> = (0..rows(sends.len())).collect();
        rows.sort_unstable_by_key(|row| key(*row));
        if let Some(pair) = rows.windows(2).find(|pair| key(pair[0]) == key(pair[1])) {
            let (first, second) = (pair[0].min(pair[1]), pair[0].max(pair[1]));
            return Err(HistoryError::SentTwice {
                first: sends[first as usize].invoked.get(),
                second: sends[second as usize].invoked.get(),
                partition: self.tables.partitions.name(key(first).0).to_owned(),
                value: key(first).1,
            });
        }
        let mut entries = self.by_value.iter().peekable();
        for row in rows {
            let send = &sends[row as usize];
            let mut place = Place { acknowledged: send.offset, polled: UNKNOWN, agreed: false };
            while let Some(entry) = entries.peek() {
                let Entry { partition, value, offset, polled, .. } =
                    &self.entries[**entry as usize];
                if (*partition, *value) > key(row) {
                    break;
                }
                if (*partition, *value) == key(row) {
                    self.writers[**entry as usize] = row;
                    if polled.is_some() {
                        self.polled[row as usize] = true;
                        place.poll(*offset);
                    }
                }
                entries.next();
            }
            self.places[row as usize] = place.offset();
        }
        Ok(())
    }

    /// The send that an entry comes from, by its row.
    pub(crate) fn writer(&self, entry: u32) -> Option<u32> {
        Some(self.writers[entry as usize]).filter(|writer| *writer != NONE)
    }

    /// Where a send lies, as far as anybody knows.
    pub(crate) fn place(&self, send: u32) -> Option<u64> {
        Some(self.places[send as usize]).filter(|place| *place != UNKNOWN)
    }

    /// Whether anybody polled what was sent.
    pub(crate) fn was_polled(&self, send: u32) -> bool {
        self.polled[send as usize]
    }

    /// The first entry in a range of offsets that anybody polled.
    pub(crate) fn polled_between(&self, partition: u32, from: u64, to: u64) -> Option<&Entry> {
        let at =
            |row: &u32| (self.entries[*row as usize].partition, self.entries[*row as usize].offset);
        let first = self.seen.partition_point(|row| at(row) < (partition, from));
        let row = self.seen.get(first).filter(|row| at(row) < (partition, to))?;
        Some(&self.entries[*row as usize])
    }

    /// The first entry in a range of offsets, polled or acknowledged.
    pub(crate) fn known_between(&self, partition: u32, from: u64, to: u64) -> Option<&Entry> {
        let at = |entry: &Entry| (entry.partition, entry.offset);
        let first = self.entries.partition_point(|entry| at(entry) < (partition, from));
        self.entries.get(first).filter(|entry| at(entry) < (partition, to))
    }

    /// The entries that were polled, in order.
    pub(crate) fn polled_entries(&self) -> impl Iterator<Item = &Entry> {
        self.seen.iter().map(|row| &self.entries[*row as usize])
    }

    /// Who wrote a line.
    pub(crate) fn process(&self, line: Line) -> u32 {
        self.tables.processes[line.get() as usize - 1]
    }

    /// The records of a turn, if it is a poll.
    pub(crate) fn records(&self, first: u32, count: u32) -> &[Record] {
        &self.tables.records[first as usize..][..count as usize]
    }

    /// A partition's name.
    pub(crate) fn partition(&self, number: u32) -> &str {
        self.tables.partitions.name(number)
    }

    /// A send, as its lines say it.
    pub(crate) fn quote_send(&self, row: u32) -> Vec<Quote> {
        let send = &self.tables.sends[row as usize];
        let partition = self.partition(send.partition);
        let mut quotes =
            vec![self.quote(send.invoked, format!("sends {} to {partition}", send.value))];
        if let Some(line) = send.completed {
            let told = match (send.outcome, send.offset) {
                (Outcome::Acknowledged, UNKNOWN) => "acknowledged".to_owned(),
                (Outcome::Acknowledged, offset) => format!("acknowledged at {offset}"),
                (Outcome::Failed, _) => "refused".to_owned(),
                (Outcome::Indeterminate, _) => "indeterminate".to_owned(),
            };
            quotes.push(self.quote(line, format!("is told: {} is {told}", send.value)));
        }
        quotes
    }

    /// The polling of one record, as its line says it.
    pub(crate) fn quote_record(&self, line: Line, partition: u32, record: Record) -> Quote {
        let partition = self.partition(partition);
        self.quote(line, format!("polls {} at {} of {partition}", record.value, record.offset))
    }

    /// How an entry came to be known.
    pub(crate) fn quote_entry(&self, entry: &Entry) -> Quote {
        let record = Record { offset: entry.offset, value: entry.value };
        let polled = entry.polled.map(|line| self.quote_record(line, entry.partition, record));
        polled.unwrap_or_else(|| {
            let line = entry.acknowledged.expect("an entry was polled or acknowledged");
            self.quote(
                line,
                format!("is told: {} is acknowledged at {}", entry.value, entry.offset),
            )
        })
    }

    pub(crate) fn quote(&self, line: Line, text: String) -> Quote {
        let time = self.tables.times[line.get() as usize - 1];
        Quote { line: line.get(), time, process: self.process(line), text }
    }
}

/// Where a send may lie.
struct Place {
    acknowledged: u64,
    /// The first offset that it was polled at.
    polled: u64,
    /// Whether it was polled where it was acknowledged.
    agreed: bool,
}

impl Place {
    fn poll(&mut self, offset: u64) {
        self.polled = self.polled.min(offset);
        self.agreed |= offset == self.acknowledged;
    }

    /// What consumers saw weighs more than what the producer was told.
    fn offset(&self) -> u64 {
        if self.agreed || self.polled == UNKNOWN { self.acknowledged } else { self.polled }
    }
}

/// What the lines say of the logs, each thing once.
fn entries(tables: &Tables) -> Vec<Entry> {
    let acknowledged = tables.sends.iter().filter(|send| send.offset != UNKNOWN);
    let mut entries: Vec<Entry> =
        Vec::with_capacity(acknowledged.clone().count() + tables.records.len());
    entries.extend(acknowledged.map(|send| Entry {
        offset: send.offset,
        value: send.value,
        partition: send.partition,
        acknowledged: send.completed,
        polled: None,
    }));
    for Turn { line, what } in &tables.turns {
        let What::Polled { partition, first, count } = *what else { continue };
        let records = &tables.records[first as usize..][..count as usize];
        entries.extend(records.iter().map(|record| Entry {
            offset: record.offset,
            value: record.value,
            partition,
            acknowledged: None,
            polled: Some(*line),
        }));
    }
    entries.sort_unstable_by_key(Entry::by_offset);
    entries.dedup_by(|next, kept| {
        let same = next.by_offset() == kept.by_offset();
        if same {
            kept.acknowledged = earlier(kept.acknowledged, next.acknowledged);
            kept.polled = earlier(kept.polled, next.polled);
        }
        same
    });
    entries
}

fn earlier(one: Option<Line>, other: Option<Line>) -> Option<Line> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

fn rows(count: usize) -> u32 {
    u32::try_from(count).expect("`Recording` lets no more rows through")
}
