//! **nonmonotonic-send**: a producer's record lies before one that it had sent earlier to the same partition.
//! **int-nonmonotonic-send**: so within one operation.
//!
//! Jepsen's `nonmonotonic-send-cases` and `int-send-skip+nonmonotonic-cases`. Jepsen's processes wait for each send; here the order of
//! invocations counts, so it holds for a producer with several requests under way, as Kafka promises to idempotent ones. Records of a
//! key go to one partition, so this is the order of each key as well. Sends that failed have no place; those of which nobody knows have
//! the one they were polled at.

use std::collections::BTreeMap;

use crate::history::History;
use crate::recording::{Outcome, Send};
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    pairs(history, |(earlier, first), (later, second)| {
        if second.1 >= first.1 {
            return;
        }
        let check = match first.0.invoked == second.0.invoked {
            true => Check::IntNonmonotonicSend,
            false => Check::NonmonotonicSend,
        };
        report.add(check, || {
            let mut operations = history.quote_send(earlier);
            operations.extend(history.quote_send(later));
            let (before, after) = (first.0.value, second.0.value);
            let text = format!(
                "{before} was sent before {after}, and lies at {} behind {}",
                first.1, second.1
            );
            Example { partition: history.partition(first.0.partition).to_owned(), text, operations }
        });
    });
}

/// A send, and where it lies.
pub(super) type Placed<'a> = (&'a Send, u64);

/// Visits each two sends that follow one another, of one process to one partition, with their rows.
pub(super) fn pairs(
    history: &History,
    mut visit: impl FnMut((u32, Placed<'_>), (u32, Placed<'_>)),
) {
    let mut last: BTreeMap<(u32, u32), (u32, Placed<'_>)> = BTreeMap::new();
    for (row, send) in (0..).zip(&history.tables.sends) {
        let Some(place) = history.place(row).filter(|_| send.outcome != Outcome::Failed) else {
            continue;
        };
        let this = (row, (send, place));
        let before = last.insert((history.process(send.invoked), send.partition), this);
        if let Some(before) = before {
            visit(before, this);
        }
    }
}
