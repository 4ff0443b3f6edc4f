//! **poll-skip**: a consumer went on behind a record that it did not get. **int-poll-skip**: so within one poll.
//!
//! Jepsen's `poll-skip+nonmonotonic-cases` and `int-poll-skip+nonmonotonic-cases`. Jepsen counts every known record that was passed over; this
//! counts those that somebody polled, because one that nobody ever polled is a lost write and nothing else. Gaps in offsets are no
//! records. After a rebalance the group goes on, not the consumer: see `group_skip.rs`.

use crate::history::{Entry, History};
use crate::report::{Check, Example, Report};
use crate::walk::{Step, steps};

pub(super) fn find(history: &History, report: &mut Report) {
    steps(history, |step| {
        if step.record.offset <= step.expected {
            return;
        }
        let skipped = history.polled_between(step.partition, step.expected, step.record.offset);
        let Some(skipped) = skipped else { return };
        let check = if step.internal() { Check::IntPollSkip } else { Check::PollSkip };
        report.add(check, || example(history, step, skipped));
    });
}

fn example(history: &History, step: &Step, skipped: &Entry) -> Example {
    let Step { partition, expected, last, since, record, line } = *step;
    let before = last.map_or_else(
        || history.quote(since, format!("moves to {expected}")),
        |last| history.quote_record(since, partition, last),
    );
    Example {
        partition: history.partition(partition).to_owned(),
        text: format!("{} came without {} before it", record.offset, skipped.offset),
        operations: vec![
            before,
            history.quote_record(line, partition, record),
            history.quote_entry(skipped),
        ],
    }
}
