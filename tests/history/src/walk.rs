//! Goes through what consumers polled, step by step: from where a consumer stood in a partition to the record it got next.
//!
//! A consumer stands somewhere once it has polled a record or moved to an offset. It no longer does when the partition was
//! rebalanced, when it subscribes, when it takes other partitions, and when it is closed; then nothing is expected of it.

use std::collections::BTreeMap;

use crate::history::History;
use crate::recording::{Line, Record, What};

/// From where a consumer stood to what it got.
pub(crate) struct Step {
    pub(crate) partition: u32,
    /// The lowest offset that may come.
    pub(crate) expected: u64,
    /// What it was at before; none after a seek.
    pub(crate) last: Option<Record>,
    /// The line that put it there.
    pub(crate) since: Line,
    pub(crate) record: Record,
    pub(crate) line: Line,
}

impl Step {
    /// Whether it lies within one poll.
    pub(crate) fn internal(&self) -> bool {
        self.since == self.line
    }
}

#[derive(Clone, Copy)]
struct Standing {
    expected: u64,
    last: Option<Record>,
    since: Line,
}

/// Where each consumer stands, by process and partition.
type Standings = BTreeMap<(u32, u32), Standing>;

/// Visits every step, in the order of lines.
pub(crate) fn steps(history: &History, mut visit: impl FnMut(&Step)) {
    let mut standings = Standings::new();
    // The last line that rebalanced a partition for a process: within that poll nothing is expected.
    let mut rebalanced: BTreeMap<(u32, u32), Line> = BTreeMap::new();
    for turn in &history.tables.turns {
        let (line, process) = (turn.line, history.process(turn.line));
        match turn.what {
            What::Polled { partition, first, count } => {
                let key = (process, partition);
                let settled = rebalanced.get(&key) != Some(&line);
                let mut standing = standings.get(&key).copied();
                for record in history.records(first, count) {
                    if let Some(Standing { expected, last, since }) = standing.filter(|_| settled) {
                        let record = *record;
                        visit(&Step { partition, expected, last, since, record, line });
                    }
                    let (expected, last) = (record.offset + 1, Some(*record));
                    standing = Some(Standing { expected, last, since: line });
                }
                if let Some(standing) = standing {
                    standings.insert(key, standing);
                }
            }
            What::Rebalanced { partition } => {
                standings.remove(&(process, partition));
                rebalanced.insert((process, partition), line);
            }
            What::Assigned { first, count } => {
                let kept = &history.tables.assigned[first as usize..][..count as usize];
                leave(&mut standings, process, |partition| kept.contains(&partition));
            }
            What::Subscribed { .. } | What::Closed => leave(&mut standings, process, |_| false),
            What::Sought { partition, offset } => {
                let standing = Standing { expected: offset, last: None, since: line };
                standings.insert((process, partition), standing);
            }
        }
    }
}

/// Forgets where a process stands in the partitions that it does not keep.
fn leave(standings: &mut Standings, process: u32, kept: impl Fn(u32) -> bool) {
    let all = (process, 0)..=(process, u32::MAX);
    let left: Vec<_> = standings.range(all).map(|(key, _)| *key).collect();
    for key in left.into_iter().filter(|key| !kept(key.1)) {
        standings.remove(&key);
    }
}
