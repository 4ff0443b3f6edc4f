//! **nonmonotonic-poll**: a consumer got a record at or before the one it got last, or before the offset it had moved to.
//! **int-nonmonotonic-poll**: so within one poll.
//!
//! Jepsen's `poll-skip+nonmonotonic-cases` and `int-poll-skip+nonmonotonic-cases`. Jepsen compares places of values, this compares the
//! offsets that came with them, so a value that lies twice in a log is a duplicate and nothing else. After a rebalance a consumer may
//! get again what it had: nothing is compared across it.

use crate::history::History;
use crate::report::{Check, Example, Report};
use crate::walk::{Step, steps};

pub(super) fn find(history: &History, report: &mut Report) {
    steps(history, |step| {
        if step.record.offset >= step.expected {
            return;
        }
        let check = match step.internal() {
            true => Check::IntNonmonotonicPoll,
            false => Check::NonmonotonicPoll,
        };
        report.add(check, || example(history, step));
    });
}

fn example(history: &History, step: &Step) -> Example {
    let Step { partition, expected, last, since, record, line } = *step;
    let before = last.map_or_else(
        || history.quote(since, format!("moves to {expected}")),
        |last| history.quote_record(since, partition, last),
    );
    Example {
        partition: history.partition(partition).to_owned(),
        text: format!("{} came though {expected} was the lowest that could", record.offset),
        operations: vec![before, history.quote_record(line, partition, record)],
    }
}
