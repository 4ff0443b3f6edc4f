//! What clients were promised, kept in the plainest form there is, and whether it was kept.
//!
//! One promise, one file. None of them looks into the broker: they know what was sent, what was answered
//! and what was read.

pub(crate) mod producer_ids;
pub(crate) mod records;
pub(crate) mod topics;

use producer_ids::ProducerIds;
use records::Records;
use topics::Topics;

/// Everything that was promised.
#[derive(Debug, Default)]
pub(crate) struct Promises {
    pub(crate) topics: Topics,
    pub(crate) records: Records,
    pub(crate) producer_ids: ProducerIds,
}

impl Promises {
    /// The power went: what no sync covered may be lost.
    pub(crate) fn power_lost(&mut self) {
        self.records.power_lost(&self.topics);
    }
}
