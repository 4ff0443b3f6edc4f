//! Following: what a leader has answered goes into the log here.
//!
//! **Where it sits.** Between what the shell brings back from leaders and `brooklet_replica::Follower`, which decides.
//!
//! **What it decides.** How records are cut into batches, and what happens when one cannot be stored: nothing behind it
//! is, and the follower rests.
//!
//! **Invariant.** Syncs that began before a log was cut vouch for nothing of it afterwards.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use brooklet_log::{Disk, Log};
use brooklet_meta::setting::effective::Flush;
use brooklet_replica::{Answer, Answered, EpochEnd, FollowerOutput, Served, Span};
use brooklet_types::{Instant, LeaderEpoch, Offset, TopicPartition};
use brooklet_wire::batch;
use bytes::Bytes;

use crate::input::{CopyAnswer, CopyFound};
use crate::output::{Event, Output};
use crate::partition::{Partition, Role, history};
use crate::shard::Shard;

/// How long a follower rests whose disk is full, or whose leader sends what is damaged.
const REST: Duration = Duration::from_secs(1);

impl<D: Disk> Shard<D> {
    /// A leader has answered, or has not.
    pub(crate) fn fetched_from(
        &mut self,
        now: Instant,
        answers: Vec<CopyAnswer>,
        mut entropy: u64,
        outbox: &mut Vec<Output<D>>,
    ) {
        for CopyAnswer { partition: id, fetch, found } in answers {
            // Followers of one leader do not all come back at once.
            entropy = entropy.rotate_left(7) ^ fetch.0;
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            let state = partition.log_state();
            let Partition { role: Role::Follower(following), log, .. } = partition else {
                continue;
            };
            let (answer, batches) = answer(found);
            let before = |asked: LeaderEpoch| history(log, asked);
            let answered = Answered { id: fetch, answer };
            let mut said = Vec::new();
            following.machine.answered(answered, &state, before, entropy, now, &mut said);
            self.follower_said(now, id, said, &batches, outbox);
        }
    }

    /// The log of a partition that is followed here is durable further than before.
    pub(crate) fn tell_follower(
        &mut self,
        now: Instant,
        id: TopicPartition,
        outbox: &mut Vec<Output<D>>,
    ) {
        let said = self.follower_of_changed_log(id);
        self.follower_said(now, id, said, &[], outbox);
    }

    fn follower_of_changed_log(&mut self, id: TopicPartition) -> Vec<FollowerOutput> {
        let mut said = Vec::new();
        if let Some(partition) = self.partitions.get_mut(&id) {
            let state = partition.log_state();
            if let Role::Follower(following) = &mut partition.role {
                following.machine.log_changed(&state, &mut said);
            }
        }
        said
    }

    /// Does what a follower says; `batches` are those of the answer that it speaks of.
    fn follower_said(
        &mut self,
        now: Instant,
        id: TopicPartition,
        said: Vec<FollowerOutput>,
        batches: &[Bytes],
        outbox: &mut Vec<Output<D>>,
    ) {
        self.copies.touched.insert(id);
        let mut said = VecDeque::from(said);
        while let Some(output) = said.pop_front() {
            let has_changed = match output {
                FollowerOutput::Violated(problem) => {
                    if let Some(partition) = self.partitions.get(&id) {
                        let folder = partition.log.folder().to_owned();
                        outbox.push(Output::Event(Event::CopiesDiffer { folder, problem }));
                    }
                    false
                }
                FollowerOutput::HighWatermark(to) => {
                    self.reveal(id, to, outbox);
                    false
                }
                FollowerOutput::Append => {
                    self.append_copies(now, id, batches, outbox);
                    true
                }
                FollowerOutput::Truncate { to } => self.cut(id, |log| log.truncate_to(to), outbox),
                FollowerOutput::StartAt { at } => self.cut(id, |log| log.restart_at(at), outbox),
                FollowerOutput::DeleteBefore { offset } => {
                    self.delete_as_leader(id, |log| log.delete_before(offset), outbox)
                }
            };
            if has_changed {
                said.extend(self.follower_of_changed_log(id));
            }
        }
    }

    fn append_copies(
        &mut self,
        now: Instant,
        id: TopicPartition,
        batches: &[Bytes],
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let segments = partition.log.segment_count();
        for batch in batches {
            match partition.log.copy(batch) {
                Ok(copied) if partition.flush == Flush::Sync => match &copied.header {
                    Some(header) => self.syncs.wrote(id, copied.from, header, batch),
                    None => self.syncs.touched(id),
                },
                Ok(_) => {}
                Err(error) => {
                    if let Role::Follower(following) = &mut partition.role {
                        following.not_before = now + REST;
                    }
                    let folder = partition.log.folder().to_owned();
                    let problem = error.to_string();
                    outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
                    break;
                }
            }
        }
        if partition.log.segment_count() == segments {
            return;
        }
        if partition.log.settings().compact {
            self.compaction.look_soon();
        }
        if partition.flush == Flush::Os
            && let Some(dirty) = partition.log.take_dirty()
        {
            outbox.push(Output::WriteBack { partition: id, dirty });
        }
    }

    /// Takes from the log what the leader does not have. Says whether that could be done; a log of which nobody knows
    /// what it is has to be opened again.
    fn cut(
        &mut self,
        id: TopicPartition,
        cut: impl FnOnce(&mut Log<D>) -> io::Result<()>,
        outbox: &mut Vec<Output<D>>,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(&id) else { return false };
        if let Err(error) = cut(&mut partition.log) {
            let folder = partition.log.folder().to_owned();
            let problem = format!("cut: {error}");
            outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
            self.give_up(id, outbox);
            return false;
        }
        if let Role::Follower(following) = &partition.role {
            partition.high_watermark = following.machine.high_watermark();
        }
        self.syncs.disown(id);
        self.compaction.changed(id);
        true
    }

    fn delete_as_leader(
        &mut self,
        id: TopicPartition,
        delete: impl FnOnce(&mut Log<D>) -> io::Result<()>,
        outbox: &mut Vec<Output<D>>,
    ) -> bool {
        let Some(partition) = self.partitions.get_mut(&id) else { return false };
        let deleted = delete(&mut partition.log);
        let (is_dirty, flush) = (partition.log.is_dirty(), partition.flush);
        if is_dirty && flush == Flush::Sync {
            // If it was a sync that failed, the next one has to say so.
            self.syncs.touched(id);
        }
        let Err(error) = deleted else { return true };
        let folder = partition.log.folder().to_owned();
        let problem = format!("delete what the leader has deleted: {error}");
        outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
        false
    }
}

/// An answer as the follower wants to hear it, and its whole batches.
fn answer(found: CopyFound) -> (Answer, Vec<Bytes>) {
    match found {
        CopyFound::Served { high_watermark, log_start, records } => {
            let (records, batches) = whole(&records);
            (Answer::Served(Served { high_watermark, log_start, records }), batches)
        }
        CopyFound::Diverging { epoch, end } => {
            (Answer::Diverging(EpochEnd { epoch, end }), Vec::new())
        }
        CopyFound::OutOfRange { log_start, log_end } => {
            (Answer::OutOfRange { log_start, log_end }, Vec::new())
        }
        CopyFound::Refused(code) => (Answer::Refused(code), Vec::new()),
        CopyFound::Lost => (Answer::Lost, Vec::new()),
    }
}

/// The whole batches of an answer, as far as they are any. A log checks each, checksum and place, before it stores it.
fn whole(records: &Bytes) -> (Option<Span>, Vec<Bytes>) {
    let mut span: Option<Span> = None;
    let mut batches = Vec::new();
    let whole = batch::split(records).map_while(Result::ok);
    // Behind the last offset that there can be nothing comes.
    let whole = whole.take_while(|(header, _)| header.last_offset() < Offset::MAX);
    for (header, bytes) in whole {
        let (base, end) = (header.base_offset(), header.last_offset().next());
        let epoch = header.partition_leader_epoch.unwrap_or_default();
        span = Some(match span {
            Some(span) => Span { base: span.base, end, epoch: span.epoch.max(epoch) },
            None => Span { base, end, epoch },
        });
        batches.push(records.slice_ref(bytes));
    }
    (span, batches)
}
