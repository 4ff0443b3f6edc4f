//! **aborted-read**: a record was polled whose send had failed for good.
//!
//! Jepsen's `g1a-cases`. A send that ended with `info`, or never, may appear or not: both are right.

use crate::history::History;
use crate::recording::Outcome;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    for (row, entry) in (0..).zip(&history.entries) {
        let Some(writer) = history.writer(row).filter(|_| entry.polled.is_some()) else { continue };
        if history.tables.sends[writer as usize].outcome != Outcome::Failed {
            continue;
        }
        report.add(Check::AbortedRead, || {
            let mut operations = history.quote_send(writer);
            operations.push(history.quote_entry(entry));
            Example {
                partition: history.partition(entry.partition).to_owned(),
                text: format!("{} was refused, and is there at {}", entry.value, entry.offset),
                operations,
            }
        });
    }
}
