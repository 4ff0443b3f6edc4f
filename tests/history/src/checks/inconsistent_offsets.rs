//! **inconsistent-offsets**: two values lie at one offset of a partition.
//!
//! Jepsen's `version-orders`, its errors. This is how a log shows that was cut and written anew after it had been read, or that two brokers
//! wrote to; Bufstream's acknowledgements with offset 0 for every record were found by it.

use crate::history::History;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    let same = |one: &crate::history::Entry, other: &crate::history::Entry| {
        (one.partition, one.offset) == (other.partition, other.offset)
    };
    for values in history.entries.chunk_by(same) {
        let [first, second, ..] = values else { continue };
        report.add(Check::InconsistentOffsets, || Example {
            partition: history.partition(first.partition).to_owned(),
            text: format!(
                "{} values lie at {}, among them {} and {}",
                values.len(),
                first.offset,
                first.value,
                second.value
            ),
            operations: [first, second].map(|entry| history.quote_entry(entry)).into(),
        });
    }
}
