//! Questions about a partition's offsets, and moving its start.

use brooklet_log::Disk;
use brooklet_types::{ErrorCode, Offset, Timestamp, TopicPartition};

use crate::fetch::epoch_end;
use crate::input::{EpochQuery, OffsetQuery, Place, Slot};
use crate::metadata::METADATA;
use crate::output::{EpochEnd, FoundOffset, LogDescription, Output, ProducerDescription, Reply};
use crate::partition::{Partition, Role};
use crate::shard::Shard;

impl<D: Disk> Shard<D> {
    /// Answers offsets by time or by name (Kafka's ListOffsets).
    pub(crate) fn list_offsets(&self, queries: &[(Slot, TopicPartition, OffsetQuery)]) -> Reply<D> {
        let answer = |(slot, id, query): &(Slot, TopicPartition, OffsetQuery)| {
            let found = self.led(id).and_then(|partition| find(partition, query));
            (*slot, found)
        };
        Reply::Offsets(queries.iter().map(answer).collect())
    }

    /// Answers where leader epochs ended (Kafka's OffsetForLeaderEpoch).
    pub(crate) fn epoch_ends(&self, queries: &[(Slot, TopicPartition, EpochQuery)]) -> Reply<D> {
        let answer = |(slot, id, query): &(Slot, TopicPartition, EpochQuery)| {
            (*slot, self.led(id).and_then(|partition| end_of(partition, query)))
        };
        Reply::EpochEnds(queries.iter().map(answer).collect())
    }

    /// Moves log starts forward; `None` means to the high watermark (Kafka's DeleteRecords).
    pub(crate) fn delete_records(
        &mut self,
        wanted: &[(Slot, TopicPartition, Option<Offset>)],
        outbox: &mut Vec<Output<D>>,
    ) -> Reply<D> {
        let mut results = Vec::with_capacity(wanted.len());
        for (slot, id, offset) in wanted {
            results.push((*slot, self.delete_before(id, *offset)));
            self.release_readers(*id, outbox);
        }
        Reply::RecordsDeleted(results)
    }

    fn delete_before(
        &mut self,
        id: &TopicPartition,
        offset: Option<Offset>,
    ) -> Result<Offset, ErrorCode> {
        let partition = self.partitions.get_mut(id).filter(|partition| partition.leads());
        let partition = partition.ok_or(ErrorCode::NotLeaderOrFollower)?;
        let target = offset.unwrap_or(partition.high_watermark);
        if target > partition.high_watermark {
            return Err(ErrorCode::OffsetOutOfRange);
        }
        let deleted = partition.log.delete_before(target);
        let start = partition.log.start_offset();
        if deleted.is_err() && partition.log.is_dirty() {
            // If it was a sync that failed, the next one has to say so.
            self.syncs.touched(*id);
        }
        deleted.map(|()| start).map_err(|_| ErrorCode::KafkaStorageError)
    }

    /// Answers which producers the partitions remember, as their leader or as a follower (Kafka's DescribeProducers).
    pub(crate) fn describe_producers(&self, wanted: &[(Slot, TopicPartition)]) -> Reply<D> {
        let describe = |partition: &Partition<D>| -> Vec<ProducerDescription> {
            let producers = partition.log.producers().iter();
            producers
                .map(|(id, state)| ProducerDescription {
                    id: id.0,
                    epoch: state.epoch().0,
                    last_sequence: state.last_sequence(),
                    last_timestamp: state.last_timestamp(),
                })
                .collect()
        };
        let answer = |(slot, id): &(Slot, TopicPartition)| {
            let copy = self.partitions.get(id).ok_or(ErrorCode::NotLeaderOrFollower);
            (*slot, copy.map(describe))
        };
        Reply::Producers(wanted.iter().map(answer).collect())
    }

    /// Describes every partition of this shard but the metadata log, which is nobody's topic.
    pub(crate) fn describe_logs(&self) -> Reply<D> {
        let describe = |partition: &Partition<D>| LogDescription {
            partition: partition.id,
            bytes: partition.log.size(),
            start: partition.log.start_offset(),
            high_watermark: partition.high_watermark,
            end: partition.log.end_offset(),
        };
        let logs = self.partitions.values().filter(|partition| partition.id != METADATA);
        Reply::Logs(logs.map(describe).collect())
    }

    fn led(&self, id: &TopicPartition) -> Result<&Partition<D>, ErrorCode> {
        let partition = self.partitions.get(id).filter(|partition| partition.leads());
        partition.ok_or(ErrorCode::NotLeaderOrFollower)
    }
}

fn find<D: Disk>(partition: &Partition<D>, query: &OffsetQuery) -> Result<FoundOffset, ErrorCode> {
    partition.check_epoch(query.current_epoch)?;
    let log = &partition.log;
    let of_record = |found: Option<(Timestamp, Offset)>| match found {
        Some((timestamp, offset)) if offset < partition.high_watermark => Ok(FoundOffset {
            offset: Some(offset),
            timestamp: Some(timestamp),
            epoch: log.epoch_at(offset),
        }),
        // A record that consumers may not read yet has not been found, if an earlier leader can not have told of it.
        Some(_) | None => {
            latest(partition).map(|_| FoundOffset { offset: None, timestamp: None, epoch: None })
        }
    };
    let storage = |_| ErrorCode::KafkaStorageError;
    Ok(match query.place {
        Place::Latest => FoundOffset {
            offset: Some(latest(partition)?),
            timestamp: None,
            epoch: Some(partition.epoch),
        },
        Place::Earliest => FoundOffset {
            offset: Some(log.start_offset()),
            timestamp: None,
            // What comes first in an empty log will be ours.
            epoch: log.epoch_at(log.start_offset()).or(Some(partition.epoch)),
        },
        Place::MaxTimestamp => of_record(log.max_timestamp().map_err(storage)?)?,
        Place::At(timestamp) => of_record(log.offset_for_time(timestamp).map_err(storage)?)?,
    })
}

/// Behind the last record that consumers may read, if it is known not to lie before what an earlier leader told
/// (KIP-207).
fn latest<D: Disk>(partition: &Partition<D>) -> Result<Offset, ErrorCode> {
    match &partition.role {
        Role::Leader(leader) => leader.latest_offset().ok_or(ErrorCode::OffsetNotAvailable),
        Role::Alone | Role::Follower(_) => Ok(partition.high_watermark),
    }
}

fn end_of<D: Disk>(partition: &Partition<D>, query: &EpochQuery) -> Result<EpochEnd, ErrorCode> {
    partition.check_epoch(query.current_epoch)?;
    Ok(epoch_end(partition, query.epoch))
}
