//! Source: KIP-101, KIP-320: in one leader epoch of a partition one run of one broker leads.

use std::collections::BTreeMap;

use brooklet_types::{LeaderEpoch, TopicPartition};

use crate::cluster::node::Place;

/// Who leads in which epoch.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    leaders: BTreeMap<(TopicPartition, LeaderEpoch), Place>,
}

impl Epochs {
    /// A broker answers as the leader of that epoch.
    pub(crate) fn leads(
        &mut self,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        at: Place,
    ) -> Result<(), String> {
        let other = *self.leaders.entry((partition, epoch)).or_insert(at);
        if other == at {
            return Ok(());
        }
        Err(format!("{other:?} and {at:?} lead {partition:?} in epoch {epoch}"))
    }

    pub(crate) fn count(&self) -> usize {
        self.leaders.len()
    }
}
