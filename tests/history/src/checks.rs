//! The checks, one file for each definition. All look at the whole history and add to one report.
//!
//! The names and most definitions are those of Jepsen's Kafka workload (`jepsen/src/jepsen/tests/kafka.clj`); each file says
//! where it differs. What that workload found in real brokers is told in Jepsen's analyses of Redpanda 21.10.1 and Bufstream 0.1.0.

mod aborted_read;
mod duplicate;
mod group_skip;
mod inconsistent_offsets;
mod int_send_skip;
mod lost_write;
mod nonmonotonic_poll;
mod nonmonotonic_send;
mod phantom;
mod poll_skip;
mod unseen;

use crate::history::History;
use crate::report::Report;

/// Checks a history for everything.
pub fn check(history: &History) -> Report {
    let mut report = Report::new(history);
    lost_write::find(history, &mut report);
    duplicate::find(history, &mut report);
    inconsistent_offsets::find(history, &mut report);
    aborted_read::find(history, &mut report);
    phantom::find(history, &mut report);
    nonmonotonic_poll::find(history, &mut report);
    poll_skip::find(history, &mut report);
    group_skip::find(history, &mut report);
    nonmonotonic_send::find(history, &mut report);
    int_send_skip::find(history, &mut report);
    unseen::find(history, &mut report);
    report
}
