//! Writes: from a batch that is valid in itself to one that is stored, in its place, once.

use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{AppendError, Appended, Disk};
use brooklet_types::{ErrorCode, Instant, Offset, Timestamp, TopicPartition};

use crate::input::{Acks, Produce, Ticket};
use crate::lead::Pending;
use crate::output::{Output, Produced, Refusal, Reply};
use crate::partition::Role;
use crate::shard::{Shard, Waiting};
use brooklet_meta::setting::effective::Flush;

/// A batch that is in its log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    pub(crate) appended: Appended,
    pub(crate) waits: WaitsFor,
}

/// What has to happen before a batch is as safe as its topic asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WaitsFor {
    Nothing,
    /// It may be lost with the machine until the next sync.
    Sync,
    /// It may be lost with the broker until the high watermark has passed it.
    Copies,
}

impl<D: Disk> Shard<D> {
    pub(crate) fn produce(
        &mut self,
        now: Instant,
        clock: Timestamp,
        ticket: Ticket,
        produce: Produce,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Produce { batches, acks, timeout } = produce;
        let mut results = Vec::with_capacity(batches.len());
        let (mut needs_sync, mut copied) = (false, Vec::new());
        for (slot, id, batch) in batches {
            let result = self.store_for(now, clock, (id, acks), &batch, outbox);
            match &result {
                Ok(Stored { waits: WaitsFor::Sync, .. }) => needs_sync = true,
                Ok(Stored { waits: WaitsFor::Copies, appended }) => {
                    copied.push((id, results.len(), appended.last.next()));
                }
                Ok(_) | Err(_) => {}
            }
            let result = result.map(|Stored { appended, .. }| Produced {
                base: appended.base,
                log_append_time: appended.log_append_time,
                log_start: appended.log_start,
            });
            results.push((slot, result));
        }
        if acks == Acks::All && !copied.is_empty() {
            let deadline = now + timeout;
            let pending = Pending { results, copied, needs_sync, deadline };
            return self.await_copies(now, ticket, pending, outbox);
        }
        let reply = Reply::Produced(results);
        if acks == Acks::All && needs_sync {
            self.syncs.park(Waiting::Reply { ticket, reply });
        } else {
            outbox.push(Output::Reply { ticket, reply });
        }
    }

    fn store_for(
        &mut self,
        now: Instant,
        clock: Timestamp,
        (id, acks): (TopicPartition, Acks),
        batch: &ValidatedBatch,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<Stored, Refusal> {
        let partition = self.partitions.get(&id).filter(|partition| partition.leads());
        let partition = partition.ok_or_else(|| {
            Refusal::new(ErrorCode::NotLeaderOrFollower, "this broker does not lead the partition")
        })?;
        let log_start = partition.log.start_offset();
        // `min.insync.replicas` asks for no more copies than a topic has replicas (Kafka's effective
        // minimum): with one it is always met.
        if let (Role::Leader(leader), Acks::All) = (&partition.role, acks) {
            leader.accept().map_err(|error| Refusal {
                code: error.code(),
                message: error.to_string(),
                log_start: Some(log_start),
            })?;
        }
        self.store(now, clock, id, batch, outbox).map_err(|error| Refusal {
            code: error.code(),
            message: error.to_string(),
            log_start: Some(log_start),
        })
    }

    /// Appends `batch` to `id`, which is open here, and shows it to readers as soon as the topic
    /// allows. The way of every record: producers', groups' and the metadata's.
    pub(crate) fn store(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: TopicPartition,
        batch: &ValidatedBatch,
        outbox: &mut Vec<Output<D>>,
    ) -> Result<Stored, AppendError> {
        let partition = self.partitions.get_mut(&id).expect("the caller looked the partition up");
        let segments = partition.log.segment_count();
        let appended = partition.log.append(batch, partition.epoch, clock)?;
        let end = partition.log.end_offset();
        let has_rolled = partition.log.segment_count() != segments;
        if has_rolled && partition.log.settings().compact {
            self.compaction.look_soon();
        }
        let is_alone = matches!(partition.role, Role::Alone);
        let waits = match partition.flush {
            Flush::Sync => {
                // A duplicate is answered when its original is durable, not sooner: after a start that may
                // be later than it can be read.
                let needs_sync = appended.last >= partition.log.durable_end();
                if let Some(header) = &appended.header {
                    self.syncs.wrote(id, appended.base, header, batch.bytes());
                }
                if needs_sync { WaitsFor::Sync } else { WaitsFor::Nothing }
            }
            Flush::Os => {
                if has_rolled && let Some(dirty) = partition.log.take_dirty() {
                    outbox.push(Output::WriteBack { partition: id, dirty });
                }
                if is_alone {
                    self.reveal(id, end, outbox);
                }
                WaitsFor::Nothing
            }
        };
        if is_alone {
            return Ok(Stored { appended, waits });
        }
        self.copies.appended.insert(id);
        self.tell_leader(now, id, outbox);
        Ok(Stored { appended, waits: WaitsFor::Copies })
    }

    /// Lets consumers read `id` up to `end`.
    pub(crate) fn reveal(&mut self, id: TopicPartition, end: Offset, outbox: &mut Vec<Output<D>>) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        if partition.advance(end) > 0 {
            self.wake_readers(id, outbox);
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: ErrorCode, message: &str) -> Refusal {
        Refusal { code, message: message.to_owned(), log_start: None }
    }
}
