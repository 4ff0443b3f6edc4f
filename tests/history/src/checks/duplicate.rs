//! **duplicate**: one value lies at two offsets of its partition.
//!
//! Jepsen's `duplicate-cases`: what producers were told counts as well as what was polled. It is an anomaly because the producers of a history
//! are idempotent; a history of others may allow it.

use crate::history::History;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    let entry = |row: &u32| &history.entries[*row as usize];
    let key = |row: &u32| (entry(row).partition, entry(row).value);
    for copies in history.by_value.chunk_by(|one, other| key(one) == key(other)) {
        let [first, second, ..] = copies else { continue };
        report.add(Check::Duplicate, || Example {
            partition: history.partition(entry(first).partition).to_owned(),
            text: format!(
                "{} lies at {} offsets, the first {} and {}",
                entry(first).value,
                copies.len(),
                entry(first).offset,
                entry(second).offset
            ),
            operations: [first, second].map(|row| history.quote_entry(entry(row))).into(),
        });
    }
}
