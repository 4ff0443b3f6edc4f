//! Every read of a small log, from memory and from files, against the plainest model.

use brooklet_types::LeaderEpoch;
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::{Log, LogSettings, TailBudget};

/// One batch of the model: its last offset, and its bytes as they are stored.
struct Known {
    last: u64,
    bytes: Vec<u8>,
}

fn batch(records: usize, value_bytes: usize) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    for record in 0..records {
        let timestamp = brooklet_types::Timestamp(1_000 + i64::try_from(record).unwrap());
        builder.push(timestamp, None, Some(&vec![7; value_bytes]), &[]).unwrap();
    }
    builder.build().unwrap()
}

/// A log of batches of `shapes` (records, bytes of each), with a tail of `tail_bytes`.
fn log(
    shapes: &[(usize, usize)],
    segment_bytes: u32,
    tail_bytes: usize,
) -> (Log<MemoryDisk>, Vec<Known>) {
    let settings = LogSettings {
        segment_bytes,
        index_interval_bytes: 128,
        disk_reserve: brooklet_types::ByteSize(0),
        ..LogSettings::default()
    };
    let budget = TailBudget::new(tail_bytes);
    let mut log = Log::open(MemoryDisk::default(), "topics/t-0", settings, budget).unwrap();
    let mut known = Vec::new();
    for (records, value_bytes) in shapes {
        let batch = batch(*records, *value_bytes);
        let stored = log.write(&batch, LeaderEpoch(3)).unwrap();
        let bytes = [&stored.header[..], &batch[HEADER_BYTES..]].concat();
        known.push(Known { last: stored.last.value(), bytes });
    }
    (log, known)
}

fn model(known: &[Known], from: u64, up_to: u64, max_bytes: u32, at_least_one: bool) -> Vec<u8> {
    let mut answer = Vec::new();
    for batch in known.iter().filter(|batch| batch.last >= from) {
        let free = answer.is_empty() && at_least_one;
        let fits = answer.len() + batch.bytes.len() <= max_bytes as usize;
        if batch.last >= up_to || !(fits || free) {
            break;
        }
        answer.extend_from_slice(&batch.bytes);
    }
    answer
}

const SHAPES: [(usize, usize); 9] =
    [(1, 10), (3, 100), (1, 9000), (2, 1), (5, 20), (1, 300), (4, 0), (1, 12_000), (2, 40)];

#[test]
fn every_read_is_whole_batches_before_the_end_and_within_the_limit() {
    for (segment_bytes, tail_bytes) in [(1 << 20, 0), (1 << 20, 1 << 20), (500, 0), (10_000, 0)] {
        let (log, known) = log(&SHAPES, segment_bytes, tail_bytes);
        let end = log.end_offset().value();
        let whole: usize = known.iter().map(|batch| batch.bytes.len()).sum();
        let limits = [0, 1, 60, 80, 500, 9_000, 9_500, 12_400, u32::try_from(whole).unwrap()];
        for from in 0..=end {
            for up_to in from..=end + 1 {
                for (max_bytes, at_least_one) in
                    limits.iter().flat_map(|max| [(*max, false), (*max, true)])
                {
                    let offsets = (Offset::new(from), Offset::new(up_to));
                    let plan = log.read(offsets.0, offsets.1, max_bytes, at_least_one).unwrap();
                    assert!(tail_bytes == 0 || plan.is_cached());
                    let answer = plan.run(&mut Buffers::default()).unwrap().concat();
                    let expected = model(&known, from, up_to.min(end), max_bytes, at_least_one);
                    // A plan over several segments may end early, never empty for no reason.
                    let one_segment = segment_bytes == 1 << 20;
                    let ends_early = !one_segment && expected.starts_with(&answer);
                    assert!(
                        answer == expected || (ends_early && !answer.is_empty()),
                        "{from}..{up_to} {max_bytes} {at_least_one}: {} bytes instead of {}, \
                         segments of {segment_bytes}, tail of {tail_bytes}",
                        answer.len(),
                        expected.len()
                    );
                }
            }
        }
    }
}

#[test]
fn a_read_over_many_small_segments_leaves_none_out() {
    let (log, known) = log(&[(1, 10); 60], 100, 0);
    assert!(log.segment_count() > 3 * 16);
    let mut from = Offset::ZERO;
    let mut read = Vec::new();
    while from < log.end_offset() {
        let plan = log.read(from, log.end_offset(), 1 << 20, false).unwrap();
        let answer = plan.run(&mut Buffers::default()).unwrap().concat();
        let last = brooklet_wire::batch::split(&answer).last().unwrap().unwrap();
        from = last.0.last_offset().next();
        read.extend(answer);
    }
    let expected: Vec<u8> = known.iter().flat_map(|batch| batch.bytes.clone()).collect();
    assert_eq!(read, expected);
}

#[test]
fn a_read_of_what_compaction_took_at_a_segment_end_goes_on_in_the_next() {
    let (log, known) = log(&[(1, 400), (1, 400), (1, 400), (1, 400)], 1_500, 0);
    assert_eq!(log.segment_count(), 2);
    let disk = log.disk.clone();
    log.close().unwrap();
    let first = "topics/t-0/00000000000000000000.log";
    let whole = disk.files()[first].clone();
    disk.put(first, whole[..whole.len() - known[2].bytes.len()].to_vec());
    let index = "topics/t-0/00000000000000000000.index";
    let entries = disk.files()[index].clone();
    disk.put(index, entries[..entries.len() - 8].to_vec());
    let settings = LogSettings { compact: true, ..LogSettings::default() };
    let log = Log::open(disk, "topics/t-0", settings, TailBudget::new(0)).unwrap();
    let plan = log.read(Offset::new(2), log.end_offset(), 100, true).unwrap();
    let answer = plan.run(&mut Buffers::default()).unwrap().concat();
    assert!(answer == known[3].bytes, "{} bytes", answer.len());
}
