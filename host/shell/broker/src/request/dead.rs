//! Dead letters: records that a plugin could not handle, stored before the others go on.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_hook::{DeadLetter, Place};
use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::Cluster;
use brooklet_shard::input::{Acks, Slot};
use brooklet_types::{PartitionIndex, Timestamp, TopicPartition};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;

use crate::context::Call;

/// How long other brokers may take to store a copy: Java's `request.timeout.ms`.
const COPIES_MAX: Duration = Duration::from_secs(30);

/// Stores letters, durably, each in its topic; those of one partition stay together. The error is for the
/// client whose records they are.
pub(super) async fn store(
    call: &Call,
    cluster: &Cluster,
    from: Place<'_>,
    letters: Vec<DeadLetter>,
) -> Result<(), String> {
    if letters.is_empty() {
        return Ok(());
    }
    let mut builders: BTreeMap<&str, BatchBuilder> = BTreeMap::new();
    for letter in &letters {
        let builder =
            builders.entry(&letter.topic).or_insert_with(|| BatchBuilder::new(Codec::Lz4));
        let headers: Vec<(&[u8], Option<&[u8]>)> = letter
            .headers
            .iter()
            .map(|(name, value)| (name.as_slice(), value.as_deref()))
            .collect();
        let (key, value) = (letter.key.as_deref(), letter.value.as_deref());
        let pushed = builder.push(Timestamp(letter.timestamp), key, value, &headers);
        pushed.map_err(|error| format!("dead letter: {error}"))?;
    }
    let mut batches = Vec::with_capacity(builders.len());
    for (slot, (name, builder)) in (0..).zip(builders) {
        let slot: Slot = slot;
        let topic = cluster.topic(name);
        let topic = topic.filter(|topic| !topic.name.is_internal() && topic.view_of.is_none());
        let topic = topic.ok_or_else(|| format!("there is no topic {name} for dead letters"))?;
        let partitions = u32::try_from(topic.partitions.len()).expect("partitions are limited");
        let partition = PartitionIndex(from.partition.0 % partitions.max(1));
        let batch = builder.build().map_err(|error| format!("dead letters: {error}"))?;
        let id = TopicPartition { topic: topic.id, partition };
        batches.push((slot, (id, ValidatedBatch::trusted(batch))));
    }
    let stopping = || "the broker is stopping".to_owned();
    let producing = call
        .context
        .shards
        .produce(batches, (Acks::All, COPIES_MAX))
        .await
        .map_err(|_| stopping())?;
    for (_, result) in producing.results().await.map_err(|_| stopping())? {
        result.map_err(|refusal| format!("dead letters: {}", refusal.message))?;
    }
    Ok(())
}
