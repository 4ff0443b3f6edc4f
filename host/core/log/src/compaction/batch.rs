//! What stays of one batch, and the writing of it.
//!
//! **Where it sits.** Between a policy, which says which records have no successor, and the job, which
//! puts batches into a file.
//!
//! **What it decides.** What the policy has no say in: how long the latest tombstone of a key stays (KIP-534:
//! the first cleaning that keeps one writes the time from which it may go into its batch), that a
//! producer's last batch stays, and that nothing beyond what the policy has seen goes or changes.
//!
//! **Invariant.** A batch keeps its base offset, last offset, sequences, epoch and flags, whatever is
//! left of it, and its codec unless nothing is left. A record that stays keeps its offset, time, key and
//! headers.

use brooklet_types::{Offset, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder, BatchError, BatchHeader, Record};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use super::judge::Judged;

/// What holds for all batches of a job.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    /// The policy has seen everything before this offset. What lies behind stays.
    pub(crate) learnt_until: Offset,
    /// When the cleaning began.
    pub(crate) now: Timestamp,
    /// How long a tombstone stays after the first cleaning that kept it.
    pub(crate) delete_retention_ms: i64,
}

/// What stays of a batch, and how many of its records do not.
#[derive(Debug)]
pub(crate) struct Kept {
    pub(crate) what: What,
    pub(crate) removed: u64,
}

#[derive(Debug)]
pub(crate) enum What {
    /// Its bytes as they are.
    Whole,
    /// Other bytes in its place.
    Rewritten(Bytes),
    /// Nothing.
    Nothing,
}

impl What {
    /// How long new bytes are.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            What::Rewritten(bytes) => bytes.len(),
            What::Whole | What::Nothing => 0,
        }
    }
}

/// The records of a batch that a policy may judge; none of a control batch, nor of one that cannot be
/// read, which is its producer's affair: those stay.
pub(crate) fn with_records<T>(batch: &[u8], judge: impl FnOnce(&[Record<'_>]) -> T) -> Option<T> {
    let opened = batch::records(batch).ok()?;
    if opened.header().attributes.is_control() {
        return None;
    }
    let records: Vec<Record<'_>> = opened.iter().collect::<Result<_, _>>().ok()?;
    Some(judge(&records))
}

impl Rules {
    /// What stays of a batch with these records, of which the policy has judged each.
    /// `is_last_of_producer` says whether its producer's sequence is remembered by it alone.
    pub(crate) fn apply(
        &self,
        header: &BatchHeader,
        records: &[Record<'_>],
        judged: &Judged,
        is_last_of_producer: bool,
    ) -> Result<Kept, BatchError> {
        let horizon = header.attributes.has_delete_horizon().then_some(header.base_timestamp);
        let expired = horizon.is_some_and(|horizon| self.now >= horizon);
        let Staying { records: staying, changed, young, new } =
            self.staying(records, judged, expired);
        let removed = (records.len() - staying.len()) as u64;
        let what = if staying.is_empty() {
            match is_last_of_producer {
                true if removed == 0 => What::Whole,
                true => What::Rewritten(emptied(header)?),
                false => What::Nothing,
            }
        } else {
            // One horizon is for all of a batch: with a new tombstone the others stay as long.
            let begins_horizon = new || (horizon.is_none() && young);
            let horizon = begins_horizon.then(|| self.now.plus_millis(self.delete_retention_ms));
            match horizon {
                None if removed == 0 && !changed => What::Whole,
                horizon => What::Rewritten(rewritten(header, horizon, &staying)?),
            }
        };
        Ok(Kept { what, removed })
    }

    /// The records that stay, with the values that they have from now on.
    fn staying<'r>(
        &self,
        records: &[Record<'r>],
        judged: &'r Judged,
        expired: bool,
    ) -> Staying<'r> {
        let Judged { verdict, latest } = judged;
        assert_eq!(records.len(), verdict.keep.len(), "a policy judges each record");
        let mut replace = verdict.replace.iter().peekable();
        let mut staying =
            Staying { records: Vec::with_capacity(records.len()), ..Staying::default() };
        for (index, record) in records.iter().enumerate() {
            let replaced = replace.next_if(|(of, _)| *of == index);
            let mut record = record.clone();
            if record.offset >= self.learnt_until {
                staying.records.push(record);
                continue;
            }
            let before = record.value;
            if let Some((_, value)) = replaced {
                record.value = value.as_deref();
            }
            let new = before.is_some() && record.value.is_none();
            let stays = match record.value {
                Some(_) => verdict.keep[index],
                None => new || (!expired && (verdict.keep[index] || latest[index])),
            };
            if stays {
                staying.changed |= record.value != before;
                staying.young |= record.value.is_none();
                staying.new |= new;
                staying.records.push(record);
            }
        }
        staying
    }
}

/// What stays of a batch's records.
#[derive(Default)]
struct Staying<'r> {
    records: Vec<Record<'r>>,
    /// One has another value than before.
    changed: bool,
    /// There is a tombstone that the policy has seen.
    young: bool,
    /// One has become a tombstone now.
    new: bool,
}

/// The batch without its records, as Kafka leaves one.
fn emptied(header: &BatchHeader) -> Result<Bytes, BatchError> {
    let attributes = header.attributes.with_codec(Codec::None).with_delete_horizon(false);
    let base_timestamp = Timestamp::NONE;
    BatchBuilder::replacing(&BatchHeader { attributes, base_timestamp, ..header.clone() })?.build()
}

/// The batch with these of its records, and with a horizon if it gets one now.
fn rewritten(
    header: &BatchHeader,
    horizon: Option<Timestamp>,
    records: &[Record<'_>],
) -> Result<Bytes, BatchError> {
    let mut wanted = header.clone();
    if let Some(horizon) = horizon {
        wanted.attributes = wanted.attributes.with_delete_horizon(true);
        wanted.base_timestamp = horizon;
    }
    let mut builder = BatchBuilder::replacing(&wanted)?;
    for record in records {
        let headers = record.headers.clone();
        let count = usize::try_from(record.header_count()).unwrap_or(usize::MAX);
        let (offset, timestamp) = (record.offset, record.timestamp);
        builder.push_at(offset, timestamp, record.key, record.value, count, headers)?;
    }
    builder.build()
}
