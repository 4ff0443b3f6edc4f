//! **phantom**: a record was polled that nobody sent to its partition.
//!
//! Jepsen's workload gives up on such a history (`no-writer-of`). It is what a record in the wrong partition looks like, and one whose bytes
//! have changed.

use crate::history::History;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    for (row, entry) in (0..).zip(&history.entries) {
        if history.writer(row).is_some() {
            continue;
        }
        report.add(Check::Phantom, || Example {
            partition: history.partition(entry.partition).to_owned(),
            text: format!("{} is there at {}, and nobody sent it", entry.value, entry.offset),
            operations: vec![history.quote_entry(entry)],
        });
    }
}
