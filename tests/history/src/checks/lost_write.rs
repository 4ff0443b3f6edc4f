//! **lost-write**: a record was acknowledged and nobody ever polled it, though a later record of its partition was polled, or another
//! at its offset.
//!
//! Jepsen's `lost-write-cases`. Added to it: a consumer may say that it has read a partition to its end; what was
//! acknowledged before it asked for the end, or lies before that end, must have been seen too. Without that a log that lost its tail
//! looks like one that nobody has read yet. It rests on the history's promise that each partition is read from its beginning by
//! somebody.

use super::unseen::unread;
use crate::history::History;
use crate::reach::Reason;
use crate::report::{Check, Example, Report};

pub(super) fn find(history: &History, report: &mut Report) {
    for (row, reason) in unread(history) {
        let Some(reason) = reason else { continue };
        report.add(Check::LostWrite, || {
            let send = &history.tables.sends[row as usize];
            let mut operations = history.quote_send(row);
            let text = match reason {
                Reason::Passed(record, line) => {
                    operations.push(history.quote_record(line, send.partition, record));
                    format!(
                        "{} was acknowledged, later records were polled, it never was",
                        send.value
                    )
                }
                Reason::ReadToEnd(end) => {
                    operations.push(history.quote(end.invoked, "asks for the end".to_owned()));
                    let read = format!("has read to the end, {}", end.offset);
                    operations.push(history.quote(end.line, read));
                    format!(
                        "{} was acknowledged, the partition read to its end without it",
                        send.value
                    )
                }
            };
            Example { partition: history.partition(send.partition).to_owned(), text, operations }
        });
    }
}
