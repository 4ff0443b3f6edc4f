//! A log's plainest model, chance from a seed, and the comparison of the two.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Buffers, Log, LogSettings, ReadError, TailBudget};
use brooklet_types::{ByteSize, LeaderEpoch, Offset, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

/// Small enough that a few batches roll a segment, large enough for pages to be lost in it.
pub(crate) const SEGMENT_BYTES: u32 = 24 << 10;

/// Chance that repeats: splitmix64.
pub(crate) struct Chance(pub(crate) u64);

impl Chance {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut word = self.0;
        word = (word ^ (word >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        word = (word ^ (word >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ (word >> 31)
    }

    /// A number below `limit`.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(crate) fn index(&mut self, limit: usize) -> usize {
        usize::try_from(self.below(limit as u64)).unwrap()
    }

    pub(crate) fn bytes(&mut self, count: usize) -> Vec<u8> {
        (0..count).map(|_| self.next().to_le_bytes()[0]).collect()
    }
}

/// A batch as it must be found.
#[derive(Clone)]
pub(crate) struct Known {
    pub(crate) base: Offset,
    pub(crate) last: Offset,
    pub(crate) bytes: Vec<u8>,
}

pub(crate) fn open(disk: &MemoryDisk, segment_bytes: u32) -> Log<MemoryDisk> {
    let settings = LogSettings {
        segment_bytes,
        index_interval_bytes: 600,
        disk_reserve: ByteSize(0),
        ..LogSettings::default()
    };
    // Without a tail, every read goes to the files.
    Log::open(disk.clone(), "topics/t-0", settings, TailBudget::new(0)).unwrap()
}

/// A batch of one to three records of `value_bytes` in all, from nobody.
pub(crate) fn batch(chance: &mut Chance, value_bytes: usize) -> Bytes {
    fill(BatchBuilder::new(Codec::None), chance, value_bytes)
}

pub(crate) fn fill(mut builder: BatchBuilder, chance: &mut Chance, value_bytes: usize) -> Bytes {
    let records = 1 + chance.index(3);
    for _ in 0..records {
        let timestamp = Timestamp(1_000_000 + i64::try_from(chance.below(1_000)).unwrap());
        let value = chance.bytes(value_bytes / records);
        builder.push(timestamp, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

pub(crate) fn write(log: &mut Log<MemoryDisk>, batch: &Bytes, epoch: LeaderEpoch) -> Known {
    let validated = ValidatedBatch::trusted(batch.clone());
    let stored = log.append(&validated, epoch, Timestamp(0)).unwrap();
    let header = stored.header.unwrap();
    let bytes = [&header[..], &batch[header.len()..]].concat();
    Known { base: stored.base, last: stored.last, bytes }
}

/// Reads the whole log; how many records of `known` were reported as lost. Fails on a byte that
/// was never written there. A record that is left out without a word counts as lost, too, where
/// `gaps` are to be expected.
pub(crate) fn compare(log: &Log<MemoryDisk>, known: &[Known], gaps: bool, context: &str) -> u64 {
    let mut from = log.start_offset();
    let mut lost = 0;
    while from < log.end_offset() {
        match read(log, from, 10_000) {
            Ok(bytes) if bytes.is_empty() && gaps => {
                lost += log.end_offset().distance_from(from);
                from = log.end_offset();
            }
            Ok(bytes) => {
                assert!(!bytes.is_empty(), "{context}: nothing at {from}");
                for found in batch::split(&bytes) {
                    let (header, found) = found.unwrap();
                    let base = header.base_offset();
                    let expected = known.iter().find(|known| known.base == base);
                    let expected = expected.unwrap_or_else(|| panic!("{context}: {base}?"));
                    assert!(expected.bytes == found, "{context}: {from} is not {header:?}");
                    let left_out = base.distance_from(from);
                    assert!(left_out == 0 || gaps, "{context}: {base} instead of {from}");
                    lost += left_out;
                    from = expected.last.next();
                }
            }
            Err(ReadError::Corrupt { next, .. }) => {
                assert!(next > from && next <= log.end_offset(), "{context}: {from} to {next}");
                lost += next.distance_from(from);
                from = next;
            }
            Err(error) => panic!("{context}: {error}"),
        }
    }
    lost
}

fn read(log: &Log<MemoryDisk>, from: Offset, max_bytes: u32) -> Result<Vec<u8>, ReadError> {
    let plan = log.read(from, log.end_offset(), max_bytes, true)?;
    Ok(plan.run(&mut Buffers::default())?.concat())
}
