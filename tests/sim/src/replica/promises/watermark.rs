//! Source: KIP-207, KIP-320: what a consumer is told of the end of a partition never goes back, whoever tells it. The
//! consumer knows the latest leader epoch that it was answered in, and hears no leader of an earlier one.

use brooklet_types::{LeaderEpoch, Offset};

/// One that reads everything and asks for the end.
#[derive(Debug, Default)]
pub(crate) struct Consumer {
    epoch: LeaderEpoch,
    latest: Offset,
    /// What it reads next.
    pub(crate) position: u64,
}

impl Consumer {
    /// Whether it believes the leader of `epoch`, which is what it then knows.
    pub(crate) fn believes(&mut self, epoch: LeaderEpoch) -> bool {
        self.epoch = self.epoch.max(epoch);
        self.epoch == epoch
    }

    /// It is told where the partition ends.
    pub(crate) fn told(&mut self, latest: Offset) -> Result<(), String> {
        let before = std::mem::replace(&mut self.latest, latest);
        if before <= latest {
            return Ok(());
        }
        let epoch = self.epoch;
        Err(format!("a consumer was told that the end is {before}, then {latest} in epoch {epoch}"))
    }

    /// What it was told last.
    pub(crate) fn latest(&self) -> u64 {
        self.latest.value()
    }
}
