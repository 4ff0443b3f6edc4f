//! Where the records of a poll belong: their topics, their partitions, and the batches they travel in.

use std::collections::BTreeMap;

use brooklet_client::partitioner::partition_of_key;
use brooklet_hook::task::{NewRecord, Rejected};
use brooklet_hook::{Place, Placed};
use brooklet_types::{PartitionIndex, Timestamp, TopicName};
use brooklet_wire::batch::{BatchBuilder, BatchError, records};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::{Task, Trouble};
use crate::dead::Lost;
use crate::outbox::{Batch, Partition};

/// A batch is closed before it grows beyond this: below every broker's default limit.
const BATCH_BYTES_MAX: usize = 900_000;

/// Batches to be delivered, and records that have no place.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    pub(super) batches: Vec<Batch>,
    pub(super) lost: Vec<Lost>,
}

/// Batches being filled, one behind the other in each partition.
#[derive(Default)]
pub(super) struct Filling {
    open: BTreeMap<Partition, BatchBuilder>,
    full: BTreeMap<Partition, Vec<BatchBuilder>>,
}

impl Filling {
    pub(super) fn push(
        &mut self,
        partition: Partition,
        timestamp: i64,
        key: Option<&[u8]>,
        value: Option<&[u8]>,
        headers: &[(&[u8], Option<&[u8]>)],
    ) -> Result<(), BatchError> {
        let new = || BatchBuilder::new(Codec::None);
        let open = self.open.entry(partition.clone()).or_insert_with(new);
        let bytes = key.map_or(0, <[u8]>::len) + value.map_or(0, <[u8]>::len);
        if open.record_count() > 0 && open.uncompressed_bytes() + bytes > BATCH_BYTES_MAX {
            let full = std::mem::replace(open, new());
            self.full.entry(partition).or_default().push(full);
        }
        open.push(Timestamp(timestamp), key, value, headers)
    }

    /// In the order of the partitions, and within each in that of the records.
    pub(super) fn finish(mut self) -> Result<Vec<Batch>, BatchError> {
        let mut batches = Vec::new();
        for (partition, open) in self.open {
            let full = self.full.remove(&partition).into_iter().flatten();
            for builder in full.chain([open]) {
                let records = builder.record_count();
                if records > 0 {
                    let partition = partition.clone();
                    batches.push(Batch { partition, bytes: builder.build()?, records });
                }
            }
        }
        Ok(batches)
    }
}

/// Headers as a batch takes them.
pub(super) fn slices(headers: &[(Bytes, Option<Bytes>)]) -> Vec<(&[u8], Option<&[u8]>)> {
    headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect()
}

fn unencodable(error: &BatchError) -> Trouble {
    Trouble::later(format!("records of a poll can't be written: {error}"))
}

/// Sorts the records of a poll. `turn` is another number each time, for records without a key.
pub(super) async fn sort(
    task: &Task,
    polled: Vec<NewRecord>,
    now: i64,
    turn: u32,
) -> Result<Sorted, Trouble> {
    let mut topics: BTreeMap<u32, Vec<NewRecord>> = BTreeMap::new();
    for record in polled {
        topics.entry(record.target).or_default().push(record);
    }
    let mut sorted = Sorted::default();
    for (target, records) in topics {
        let index = usize::try_from(target).unwrap_or(usize::MAX);
        let Some(topic) = task.config.topics.get(index) else {
            let problem = format!("a record for topic number {target} of `topics`");
            return Err(Trouble::later(format!("the source gave a wrong answer: {problem}")));
        };
        of_topic(task, topic, records, now, turn, &mut sorted).await?;
    }
    Ok(sorted)
}

async fn of_topic(
    task: &Task,
    topic: &str,
    records: Vec<NewRecord>,
    now: i64,
    turn: u32,
    sorted: &mut Sorted,
) -> Result<(), Trouble> {
    let metadata = task.world.client.topic(topic).await?;
    let count = u32::try_from(metadata.partitions.len()).unwrap_or(u32::MAX).max(1);
    let (placed, free): (Vec<NewRecord>, Vec<NewRecord>) =
        records.into_iter().partition(|record| record.partition.is_some());
    let mut filling = Filling::default();
    let mut push = |record: &NewRecord, partition: u32| {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let time = record.timestamp.unwrap_or(now);
        let place = (topic.to_owned(), partition);
        filling.push(place, time, key, value, &slices(&record.headers))
    };
    for record in &placed {
        let partition = record.partition.unwrap_or_default();
        if partition >= count {
            let reject = Rejected {
                index: 0,
                code: "partition".to_owned(),
                message: format!("there is no partition {partition} among {count}"),
            };
            sorted.lost.push(lost(topic, record, now).because(&reject));
            continue;
        }
        push(record, partition).map_err(|error| unencodable(&error))?;
    }
    let rest = by_plugin(task, topic, count, free, now, sorted).await?;
    for record in &rest {
        let partition = match &record.key {
            Some(key) => partition_of_key(key, count),
            None => turn % count,
        };
        push(record, partition).map_err(|error| unencodable(&error))?;
    }
    sorted.batches.extend(filling.finish().map_err(|error| unencodable(&error))?);
    Ok(())
}

/// Asks the topic's partitioner, if there is one; gives back the records if there is none.
async fn by_plugin(
    task: &Task,
    topic: &str,
    partitions: u32,
    free: Vec<NewRecord>,
    now: i64,
    sorted: &mut Sorted,
) -> Result<Vec<NewRecord>, Trouble> {
    let Ok(name) = TopicName::new(topic) else { return Ok(free) };
    let Some(hook) = task.world.hooks.on_produce(&name).filter(|_| !free.is_empty()) else {
        return Ok(free);
    };
    let entered = hook.enter().await;
    if !entered.has_partitioner() {
        return Ok(free);
    }
    let place = Place { topic: &name, partition: PartitionIndex(0), partitions, is_placed: false };
    let mut filling = Filling::default();
    for record in &free {
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let time = record.timestamp.unwrap_or(now);
        let pushed =
            filling.push((topic.to_owned(), 0), time, key, value, &slices(&record.headers));
        pushed.map_err(|error| unencodable(&error))?;
    }
    let mut first = 0;
    for batch in filling.finish().map_err(|error| unencodable(&error))? {
        let count = usize::try_from(batch.records).unwrap_or(usize::MAX);
        let of_batch = &free[first..(first + count).min(free.len())];
        first += count;
        match entered.place(place, &batch.bytes).await {
            Placed::Batches(batches) => {
                for (partition, bytes) in batches {
                    let opened = records(&bytes).map_err(|error| unencodable(&error))?;
                    let records = opened.header().record_count;
                    let partition = (topic.to_owned(), partition.0);
                    sorted.batches.push(Batch { partition, bytes, records });
                }
            }
            Placed::Reject(rejection) => {
                for record in of_batch {
                    let reject = Rejected {
                        index: 0,
                        code: "partitioner".to_owned(),
                        message: rejection.message.clone(),
                    };
                    sorted.lost.push(lost(topic, record, now).because(&reject));
                }
            }
        }
    }
    Ok(Vec::new())
}

fn lost(topic: &str, record: &NewRecord, now: i64) -> Lost {
    Lost {
        topic: topic.to_owned(),
        partition: record.partition,
        offset: None,
        timestamp: record.timestamp.unwrap_or(now),
        key: record.key.clone(),
        value: record.value.clone(),
        headers: record.headers.clone(),
        stage: "PARTITIONER",
        code: String::new(),
        message: String::new(),
    }
}
