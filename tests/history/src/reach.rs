//! How far each partition was read: what lies before must have been seen.

use crate::history::History;
use crate::recording::{End, Line, Record, Send};

/// What is known of one partition's reading.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    /// The last record that anybody polled, and the first line that did.
    last: Option<(Record, Line)>,
    /// The highest end that anybody read up to.
    highest: Option<End>,
    /// The end that was asked for last, of those that were read up to.
    latest: Option<End>,
}

/// Why a record should have been seen.
pub(crate) enum Reason {
    /// A later one was polled, or another where it should lie.
    Passed(Record, Line),
    /// The partition was read to its end, which is behind it, or was asked for after it had been acknowledged.
    ReadToEnd(End),
}

/// How far all partitions were read.
pub(crate) struct Reach(Vec<Reached>);

impl Reach {
    /// Of a history.
    pub(crate) fn of(history: &History) -> Reach {
        let mut reached = vec![Reached::default(); history.tables.partitions.len()];
        for entry in history.polled_entries() {
            let record = Record { offset: entry.offset, value: entry.value };
            let last = entry.polled.map(|line| (record, line));
            reached[entry.partition as usize].last = last;
        }
        for end in &history.tables.ends {
            let Reached { highest, latest, .. } = &mut reached[end.partition as usize];
            if highest.is_none_or(|highest| highest.offset < end.offset) {
                *highest = Some(*end);
            }
            if latest.is_none_or(|latest| latest.invoked < end.invoked) {
                *latest = Some(*end);
            }
        }
        Reach(reached)
    }

    /// Why `send`, which was acknowledged and lies at `place`, should have been seen; `None` if it may be unread yet.
    pub(crate) fn reason(&self, send: &Send, place: Option<u64>) -> Option<Reason> {
        let Reached { last, highest, latest } = self.0[send.partition as usize];
        let before = |offset: u64| place.is_some_and(|place| place < offset);
        let passed = last.filter(|(record, _)| before(record.offset + 1));
        let passed = passed.map(|(record, line)| Reason::Passed(record, line));
        let known = |end: &End| send.completed.is_some_and(|line| line < end.invoked);
        let end = highest.filter(|end| before(end.offset)).or_else(|| latest.filter(known));
        passed.or_else(|| end.map(Reason::ReadToEnd))
    }
}
