//! Source: KIP-207, KIP-320: what a consumer is told of the end of a partition never goes back, whoever tells it. It
//! names the latest leader epoch that it knows of, and no leader of another one answers.

use std::collections::BTreeMap;

use brooklet_types::{LeaderEpoch, Offset, TopicPartition};

/// What each consumer was told.
#[derive(Debug, Default)]
pub(crate) struct Watermark {
    latest: BTreeMap<(u64, TopicPartition), (LeaderEpoch, Offset)>,
}

impl Watermark {
    /// A consumer that knew of `epoch` when it asked is told where the partition ends.
    pub(crate) fn told(
        &mut self,
        consumer: u64,
        partition: TopicPartition,
        epoch: LeaderEpoch,
        latest: Offset,
    ) -> Result<(), String> {
        let before = self.latest.insert((consumer, partition), (epoch, latest));
        match before {
            Some((before, end)) if end > latest => Err(format!(
                "consumer{consumer} was told in epoch {before} that {partition:?} ends at {end}, then in {epoch} \
                 that it ends at {latest}"
            )),
            Some(_) | None => Ok(()),
        }
    }
}
