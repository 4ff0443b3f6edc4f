//! Bugs planted on purpose, so that a simulation that has gone blind is noticed.
//!
//! **Where it sits.** Between the world and the shards: a bug is something done to what passes there, or to
//! what is on the disk between two runs. The cores know nothing of it.

use brooklet_group as group;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Disk, DiskFile};
use brooklet_shard::input::Request;
use brooklet_shard::output::Reply;
use brooklet_types::{ErrorCode, ProducerId};
use brooklet_wire::batch::{self, BatchBuilder, BatchHeader};
use bytes::Bytes;

use crate::broker::world::World;

/// What is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// Nothing.
    None,
    /// Syncs are said to be done that have not begun.
    AcknowledgeBeforeSync,
    /// A start finds producers under other ids than they have.
    ForgetProducers,
    /// A start does not find what was written last to a log.
    LoseLastBatch,
    /// Replies are lost on their way.
    LoseReply,
    /// A commit is acknowledged and not made.
    LoseCommit,
    /// A member is given another's part.
    MixUpAssignments,
    /// A batch is read in the place of another.
    ServeChangedRecords,
}

impl World {
    /// Makes of a request what the bug would; or answers it.
    pub(crate) fn spoil(&mut self, request: Request) -> Result<Request, Reply<MemoryDisk>> {
        match (self.bug, request) {
            (Bug::ForgetProducers, Request::Produce(mut produce)) => {
                for (_, _, batch) in &mut produce.batches {
                    let run = self.run;
                    *batch = edited(batch, |header| {
                        let id = header.producer_id.map(|id| ProducerId(id.0 + (run << 32)));
                        BatchHeader { producer_id: id, ..header.clone() }
                    });
                }
                Ok(Request::Produce(produce))
            }
            (Bug::ServeChangedRecords, Request::Produce(mut produce)) => {
                for (_, _, batch) in &mut produce.batches {
                    if self.prng.chance(1) {
                        *batch = changed(batch);
                    }
                }
                Ok(Request::Produce(produce))
            }
            (
                Bug::LoseCommit,
                Request::Group { request: group::Request::CommitOffsets(commit), .. },
            ) if self.prng.chance(5) => {
                let codes = vec![ErrorCode::None; commit.offsets.len()];
                Err(Reply::Group(group::Reply::CommitOffsets(codes)))
            }
            (_, request) => Ok(request),
        }
    }

    /// Makes of a reply what the bug would; none is lost.
    pub(crate) fn spoil_reply(&mut self, reply: Reply<MemoryDisk>) -> Option<Reply<MemoryDisk>> {
        match (self.bug, reply) {
            (Bug::LoseReply, _) if self.prng.chance(1) => None,
            (Bug::MixUpAssignments, Reply::Group(group::Reply::Sync(mut sync)))
                if !sync.assignment.is_empty() =>
            {
                let last = self.last_assignment.replace(sync.assignment.clone());
                sync.assignment = last.unwrap_or(sync.assignment);
                Some(Reply::Group(group::Reply::Sync(sync)))
            }
            (_, reply) => Some(reply),
        }
    }

    /// What the bug does to the disk before a start.
    pub(crate) fn spoil_disk(&mut self) -> Result<(), std::io::Error> {
        if self.bug != Bug::LoseLastBatch {
            return Ok(());
        }
        for (path, bytes) in self.disk.files() {
            if path.starts_with("topics/data") && path.ends_with(".log") && self.prng.chance(10) {
                let chunk = Bytes::from(bytes);
                let whole = batch::split(&chunk).map_while(Result::ok);
                let lengths: Vec<usize> = whole.map(|(_, bytes)| bytes.len()).collect();
                let Some((_, kept)) = lengths.split_last() else { continue };
                let kept = u64::try_from(kept.iter().sum::<usize>()).expect("small");
                self.disk.open(&path)?.truncate(kept)?;
            }
        }
        Ok(())
    }
}

/// The same records under another header.
fn edited(
    batch: &ValidatedBatch,
    edit: impl FnOnce(&BatchHeader) -> BatchHeader,
) -> ValidatedBatch {
    let mut builder = BatchBuilder::replacing(&edit(batch.header())).expect("a known codec");
    for record in batch::records(batch.bytes()).expect("a whole batch").iter() {
        let record = record.expect("a whole record");
        let (count, headers) = (record.headers.clone().count(), record.headers.clone());
        let pushed = builder.push_at(
            record.offset,
            record.timestamp,
            record.key,
            record.value,
            count,
            headers,
        );
        pushed.expect("it was there before");
    }
    ValidatedBatch::trusted(builder.build().expect("it was there before"))
}

/// Other values for the same records.
fn changed(batch: &ValidatedBatch) -> ValidatedBatch {
    let mut builder = BatchBuilder::replacing(batch.header()).expect("a known codec");
    for record in batch::records(batch.bytes()).expect("a whole batch").iter() {
        let record = record.expect("a whole record");
        let (count, headers) = (record.headers.clone().count(), record.headers.clone());
        let value = Some(&b"another"[..]);
        let (offset, at) = (record.offset, record.timestamp);
        let pushed = builder.push_at(offset, at, record.key, value, count, headers);
        pushed.expect("it was there before");
    }
    ValidatedBatch::trusted(builder.build().expect("it was there before"))
}
