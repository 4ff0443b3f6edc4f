//! **int-send-skip**: between two records of one operation lies another's. No anomaly: Kafka lets producers interleave.
//!
//! Jepsen's `int-send-skip+nonmonotonic-cases`, which Jepsen allows as well.

use super::nonmonotonic_send::pairs;
use crate::history::History;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    pairs(history, |(earlier, (first, place)), (later, (second, next))| {
        if first.invoked != second.invoked || next <= place {
            return;
        }
        let Some(between) = history.known_between(first.partition, place + 1, next) else { return };
        report.add(Check::IntSendSkip, || {
            let mut operations = history.quote_send(earlier);
            operations.extend(history.quote_send(later));
            operations.push(history.quote_entry(between));
            let (one, other) = (first.value, second.value);
            let text = format!("{} lies between {one} and {other}, sent as one", between.value);
            Example { partition: history.partition(first.partition).to_owned(), text, operations }
        });
    });
}
