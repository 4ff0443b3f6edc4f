//! **group-skip**: a group went on behind a record that none of its members got.
//!
//! Jepsen lets a group skip, as a member may find that another went on in the meantime. Between the first and the last record that all members
//! together polled of a partition none may be missing, however often the partition went from one to the other: a member
//! commits what it has polled, not more. Records that nobody at all polled are lost writes. Partitions in which a member moved by
//! itself are left out.

use std::collections::{BTreeMap, BTreeSet};

use crate::history::{Entry, History};
use crate::recording::{Line, What};
use crate::report::{Check, Example, Report};

/// A record that a group polled.
type Got = (u32, u32, u64, Line);

pub(super) fn find(history: &History, report: &mut Report) {
    let got = polled_by_groups(history);
    for got in got.chunk_by(|one, other| (one.0, one.1) == (other.0, other.1)) {
        for pair in got.windows(2) {
            let ((group, partition, before, _), (.., next, line)) = (pair[0], pair[1]);
            if next <= before + 1 {
                continue;
            }
            let skipped = history.polled_between(partition, before + 1, next);
            if let Some(skipped) = skipped {
                report.add(Check::GroupSkip, || example(history, group, (next, line), skipped));
            }
        }
    }
}

/// What groups polled, by group, partition and offset; each with the first line that has it.
fn polled_by_groups(history: &History) -> Vec<Got> {
    let mut groups: BTreeMap<u32, u32> = BTreeMap::new();
    let mut moved = BTreeSet::new();
    let mut got = Vec::new();
    for turn in &history.tables.turns {
        let process = history.process(turn.line);
        match turn.what {
            What::Subscribed { group } => {
                groups.insert(process, group);
            }
            What::Assigned { .. } | What::Closed => {
                groups.remove(&process);
            }
            What::Sought { partition, .. } => {
                moved.extend(groups.get(&process).map(|group| (*group, partition)));
            }
            What::Polled { partition, first, count } => {
                let Some(group) = groups.get(&process) else { continue };
                let records = history.records(first, count).iter();
                got.extend(records.map(|record| (*group, partition, record.offset, turn.line)));
            }
            What::Rebalanced { .. } => {}
        }
    }
    got.retain(|(group, partition, ..)| !moved.contains(&(*group, *partition)));
    got.sort_unstable();
    got.dedup_by_key(|(group, partition, offset, _)| (*group, *partition, *offset));
    got
}

fn example(history: &History, group: u32, next: (u64, Line), skipped: &Entry) -> Example {
    let (offset, line) = next;
    let partition = history.partition(skipped.partition);
    Example {
        partition: partition.to_owned(),
        text: format!(
            "group {} got {offset} and never {}",
            history.tables.groups.name(group),
            skipped.offset
        ),
        operations: vec![
            history.quote(line, format!("polls {offset} of {partition}")),
            history.quote_entry(skipped),
        ],
    }
}
