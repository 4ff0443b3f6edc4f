//! Batches without a partition, for topics that have a partitioner.
//!
//! **Decides** nothing: the plugin does. What it has placed goes the way of other batches, but for what was checked
//! before it was taken apart.

use std::collections::BTreeSet;

use brooklet_hook::{Entered, Place, Placed};
use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::{Cluster, Topic};
use brooklet_types::{ErrorCode, PartitionIndex, TopicPartition};
use brooklet_wire::message::produce_request;

use super::{Refused, at, check, show};
use crate::context::Call;

/// The batches that a partitioner makes of one without a partition. None if the topic has no partitioner.
pub(super) async fn distribute(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    data: &produce_request::PartitionProduceData,
    plugins: &dyn Entered,
) -> Option<Result<Vec<(TopicPartition, ValidatedBatch)>, Refused>> {
    if !plugins.has_partitioner() {
        return None;
    }
    let records = data.records.clone().unwrap_or_default();
    let batch = match check(call, cluster, topic, records) {
        Ok(batch) => batch,
        Err(refused) => return Some(Err(refused)),
    };
    let placed = match plugins.place(at(topic, PartitionIndex::default()), batch.bytes()).await {
        Placed::Batches(placed) => placed,
        Placed::Reject(rejection) => return Some(Err(rejection.into())),
    };
    let mut batches = Vec::with_capacity(placed.len());
    for (index, bytes) in placed {
        let partition = TopicPartition { topic: topic.id, partition: index };
        // Made of what has been validated, and not as a producer would: records may be missing.
        let batch = ValidatedBatch::trusted(bytes);
        let shown = if batch.header().record_count == 0 {
            Ok(batch)
        } else {
            let place = Place { is_placed: true, ..at(topic, index) };
            show(call, cluster, topic, place, batch, plugins).await
        };
        match shown {
            Ok(batch) => batches.push((partition, batch)),
            Err(refused) => return Some(Err(refused)),
        }
    }
    Some(Ok(batches))
}

/// The batches of a partitioner, unless the request names one of their partitions, too.
pub(super) fn once(
    topic: &Topic,
    placed: Vec<(TopicPartition, ValidatedBatch)>,
    seen: &mut BTreeSet<TopicPartition>,
) -> Result<Vec<(TopicPartition, ValidatedBatch)>, Refused> {
    match placed.iter().find(|(partition, _)| seen.contains(partition)) {
        Some((twice, _)) => {
            let message = format!("{}-{} is named twice", topic.name, twice.partition);
            Err(Refused::new(ErrorCode::InvalidRequest, message))
        }
        None => {
            seen.extend(placed.iter().map(|(partition, _)| *partition));
            Ok(placed)
        }
    }
}
