//! **unseen**: a record was acknowledged and nobody polled it, but nobody has read so far either. No anomaly: it may come.
//!
//! Jepsen's `unseen`, less what is a lost write.

use crate::history::History;
use crate::reach::{Reach, Reason};
use crate::recording::Outcome;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    for (row, reason) in unread(history) {
        if reason.is_some() {
            continue;
        }
        report.add(Check::Unseen, || {
            let send = &history.tables.sends[row as usize];
            Example {
                partition: history.partition(send.partition).to_owned(),
                text: format!("{} was acknowledged, and nobody has polled so far", send.value),
                operations: history.quote_send(row),
            }
        });
    }
}

/// Every send that was acknowledged and never polled, and why it should have been.
pub(super) fn unread(history: &History) -> impl Iterator<Item = (u32, Option<Reason>)> {
    let reach = Reach::of(history);
    (0..).zip(&history.tables.sends).filter_map(move |(row, send)| {
        let unread = send.outcome == Outcome::Acknowledged && !history.was_polled(row);
        unread.then(|| (row, reach.reason(send, history.place(row))))
    })
}
