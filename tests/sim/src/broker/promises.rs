//! What clients were promised, kept in the plainest form there is, and whether it was kept.
//!
//! One promise, one file. None of them looks into the broker: they know what was sent, what was answered
//! and what was read.

pub(crate) mod commits;
pub(crate) mod generations;
pub(crate) mod producer_ids;
pub(crate) mod records;
pub(crate) mod topics;

use brooklet_types::Instant;

use commits::Commits;
use generations::Generations;
use producer_ids::ProducerIds;
use records::Records;
use topics::Topics;

/// Everything that was promised.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) topics: Topics,
    pub(crate) records: Records,
    pub(crate) producer_ids: ProducerIds,
    pub(crate) commits: Commits,
    pub(crate) generations: Generations,
    /// The disk has refused something in this run, or may have: partitions may be out of service.
    pub(crate) disk_refuses: bool,
}

impl Promises {
    /// The broker has ended, in whatever way.
    pub(crate) fn run_ended(&mut self, now: Instant) {
        self.disk_refuses = false;
        self.commits.run_ended(now);
        self.generations.run_ended();
    }

    /// The power went: what no sync covered may be lost.
    pub(crate) fn power_lost(&mut self) {
        self.records.power_lost(&self.topics);
    }
}
