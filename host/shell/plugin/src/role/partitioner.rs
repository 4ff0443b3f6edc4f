//! Asking a partitioner.

use std::sync::Arc;

use brooklet_wire::batch::Records;

use crate::bind::partitioner::PartitionerPlugin;
use crate::columns::gather;
use crate::error::Failure;
use crate::room::Room;

/// The partition of each record of a batch.
pub(crate) async fn partitions_of(
    room: &Arc<Room<PartitionerPlugin>>,
    topic: &str,
    partition: i32,
    records: &Records<'_>,
    partitions: u32,
) -> Result<Vec<u32>, Failure> {
    let wanted = room.columns().await?;
    let batch = gather(topic, partition, records, wanted);
    let batch = batch.map_err(|error| Failure::BadInput(error.to_string()))?;
    let count = batch.count;
    let chosen = room.call(move |plugin, store| {
        Box::pin(async move {
            plugin.brooklet_plugin_partitioner().call_partition(store, &batch, partitions).await
        })
    });
    let chosen = chosen.await?;
    let wrong = if u32::try_from(chosen.len()) != Ok(count) {
        Some(format!("partitions of {} records, {count} were due", chosen.len()))
    } else {
        let beyond = chosen.iter().find(|&&partition| partition >= partitions);
        beyond.map(|partition| format!("partition {partition}, there are {partitions}"))
    };
    if let Some(wrong) = wrong {
        let failure = Failure::wrong(wrong);
        room.spoil(&failure);
        return Err(failure);
    }
    room.metrics().shown(count, 0);
    Ok(chosen)
}
