//! A log that is copied: whole with its gaps, whatever the disk does, and nothing of what was cut.

use brooklet_types::{
    ByteSize, PartitionIndex, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicPartition,
};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;

use super::*;
use crate::disk::memory::MemoryDisk;
use crate::journal::Entry;
use crate::producer::Verdict;
use crate::{Buffers, LogSettings, ReadError, TailBudget};

const PARTITION: TopicPartition =
    TopicPartition { topic: TopicId([1; 16]), partition: PartitionIndex(0) };

fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let settings = LogSettings {
        segment_bytes: 6000,
        index_interval_bytes: 600,
        disk_reserve: ByteSize(0),
        ..LogSettings::default()
    };
    Log::open(disk.clone(), "topics/t-0", settings, TailBudget::new(0)).unwrap()
}

/// A batch of two records as a leader of `epoch` has it at `base`.
fn batch(base: u64, epoch: u32) -> Bytes {
    let sequence = i32::try_from(base % 1000).unwrap();
    let id = ProducerId(base % 3);
    let mut builder = BatchBuilder::new(Codec::None).producer(id, ProducerEpoch(0), sequence);
    let value = [u8::try_from((base + u64::from(epoch)) % 251).unwrap(); 100];
    for value in [&value[..], b"second"] {
        builder.push(Timestamp(1000), Some(b"key"), Some(value), &[]).unwrap();
    }
    let mut bytes = builder.build().unwrap().to_vec();
    bytes[..8].copy_from_slice(&base.to_be_bytes());
    bytes[12..16].copy_from_slice(&epoch.to_be_bytes());
    bytes.into()
}

/// Whole batches from `from` on, as often as there are any; what is damaged is passed over and counted.
fn read(log: &Log<MemoryDisk>) -> (Vec<Bytes>, u64) {
    let (mut next, mut lost) = (log.start_offset(), 0);
    let mut batches = Vec::new();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 700, true);
        match plan.and_then(|plan| plan.run(&mut Buffers::default())) {
            Ok(chunks) if chunks.is_empty() => break,
            Ok(chunks) => {
                for chunk in chunks {
                    for (header, bytes) in batch::split(&chunk).map(Result::unwrap) {
                        next = header.last_offset().next();
                        batches.push(Bytes::copy_from_slice(bytes));
                    }
                }
            }
            Err(ReadError::Corrupt { next: behind, .. }) => {
                lost += behind.distance_from(next);
                next = behind;
            }
            Err(error) => panic!("{error}"),
        }
    }
    (batches, lost)
}

/// What a compacted leader may have: batches that adjoin, and gaps of all widths.
fn leaders() -> Vec<Bytes> {
    let mut base = 3;
    (0..60)
        .map(|number| {
            base += [2, 2, 5, 3, 2, 900, 2][number % 7];
            batch(base, u32::try_from(number / 25).unwrap())
        })
        .collect()
}

fn copied(disk: &MemoryDisk, batches: &[Bytes]) -> Log<MemoryDisk> {
    let mut log = open(disk);
    let mut from = Offset::ZERO;
    for batch in batches {
        let copied = log.copy(batch).unwrap();
        assert_eq!((copied.from, copied.last.next()), (from, log.end_offset()));
        assert_eq!(copied.header.unwrap(), batch[..HEADER_BYTES]);
        from = log.end_offset();
    }
    log
}

fn sync(log: &mut Log<MemoryDisk>) {
    let dirty = log.take_dirty().unwrap();
    dirty.sync().unwrap();
    log.synced(dirty.token).unwrap();
}

#[test]
fn a_copy_is_its_leaders_byte_for_byte_also_after_a_start() {
    let batches = leaders();
    for closes in [true, false] {
        let disk = MemoryDisk::default();
        let mut log = copied(&disk, &batches);
        assert!(log.segment_count() > 1);
        assert_eq!(read(&log), (batches.clone(), 0));
        if closes {
            log.close().unwrap();
        } else {
            sync(&mut log);
            drop(log);
        }
        disk.crash(|_, _| 0, false);
        for _ in 0..2 {
            let mut log = open(&disk);
            assert_eq!(log.holes(), []);
            assert_eq!(read(&log), (batches.clone(), 0), "closed: {closes}");
            let header = BatchHeader::parse(batches.last().unwrap()).unwrap();
            let again = log.producers().check(&header).unwrap();
            let (base, last) = (header.base_offset(), header.last_offset());
            assert_eq!(again, Verdict::Duplicate { base, last });
            log.sync().unwrap();
        }
    }
}

#[test]
fn what_cannot_stand_there_is_refused_and_says_why() {
    let disk = MemoryDisk::default();
    let mut log = copied(&disk, &[batch(4, 2)]);
    let flipped = |at: usize| {
        let mut bytes = batch(8, 2).to_vec();
        bytes[at] ^= 1;
        Bytes::from(bytes)
    };
    let two = Bytes::from([batch(8, 2), batch(10, 2)].concat());
    for (name, bytes, code) in [
        ("what is there", batch(4, 2), ErrorCode::OffsetOutOfRange),
        ("half of it is there", batch(5, 3), ErrorCode::OffsetOutOfRange),
        ("an older leader's", batch(8, 1), ErrorCode::FencedLeaderEpoch),
        ("a flipped bit", flipped(90), ErrorCode::CorruptMessage),
        ("a flipped magic", flipped(16), ErrorCode::CorruptMessage),
        ("cut short", batch(8, 2).slice(..100), ErrorCode::CorruptMessage),
        ("a header's half", batch(8, 2).slice(..30), ErrorCode::CorruptMessage),
        ("two", two, ErrorCode::CorruptMessage),
        ("nothing", Bytes::new(), ErrorCode::CorruptMessage),
    ] {
        let refused = log.copy(&bytes).unwrap_err();
        assert_eq!(refused.code(), code, "{name}: {refused}");
    }
    assert_eq!(log.copy(&batch(8, 2)).unwrap().last, Offset::new(9));
    assert_eq!(read(&log).0, [batch(4, 2), batch(8, 2)]);
}

#[test]
fn whatever_the_power_leaves_is_a_prefix_with_everything_synced() {
    let batches = leaders();
    let mut chance: u64 = 1;
    let mut below = |limit: usize| {
        chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        usize::try_from(chance >> 33).unwrap() % limit
    };
    for round in 0..400 {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        log.sync().unwrap();
        let count = 1 + below(batches.len());
        let mut durable = 0;
        for (number, batch) in batches[..count].iter().enumerate() {
            log.copy(batch).unwrap();
            if below(12) == 0 {
                sync(&mut log);
                durable = number + 1;
            }
        }
        drop(log);
        match round % 3 {
            0 => disk.crash(|_, count| below(count + 1), false),
            1 => disk.crash_by_page(|count| below(count + 1)),
            _ => {
                disk.settle_names(|| below(2) == 0);
                disk.crash_by_page(|count| count - (below(8) / 7).min(count));
            }
        }
        let mut log = open(&disk);
        assert_eq!(log.holes(), [], "round {round}");
        let (found, lost) = read(&log);
        assert!(found.len() >= durable && lost == 0, "round {round}: {} {durable}", found.len());
        assert_eq!(found, batches[..found.len()], "round {round}");
        for batch in &batches[found.len()..] {
            log.copy(batch).unwrap();
        }
        log.close().unwrap();
        assert_eq!(read(&open(&disk)), (batches.clone(), 0), "round {round}");
    }
}

#[test]
fn a_flipped_bit_in_a_copy_is_never_served_and_costs_one_batch() {
    let disk = MemoryDisk::default();
    let batches = leaders()[..20].to_vec();
    let mut log = copied(&disk, &batches[..1]);
    log.sync().unwrap();
    for batch in &batches[1..] {
        log.copy(batch).unwrap();
    }
    sync(&mut log);
    drop(log);
    disk.settle();
    let last = batches.last().unwrap().len();
    let path = "topics/t-0/00000000000000000000";
    for extension in ["log", "index"] {
        let path = format!("{path}.{extension}");
        let bytes = disk.files()[&path].clone();
        let whole: usize = batches.iter().map(Bytes::len).sum();
        // Nothing says of the last batch that its epoch is wrong, until another comes.
        let (written, blind) = match extension {
            "log" => (whole, whole - last + 12..whole - last + 16),
            _ => (bytes.len(), 0..0),
        };
        for at in (0..written).filter(|at| !blind.contains(at)) {
            let copy = disk.copy();
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << (at % 8);
            copy.put(&path, damaged);
            let (found, _) = read(&open(&copy));
            assert!(found.iter().all(|batch| batches.contains(batch)), "{extension} {at}");
            assert!(found.len() + 1 >= batches.len(), "{extension} {at}: {}", found.len());
        }
    }
    disk.remove(&format!("{path}.index")).unwrap();
    assert_eq!(read(&open(&disk)).0.first(), batches.first());
}

#[test]
fn a_gap_that_is_wider_than_a_segment_ends_it() {
    let far = 5 + (1 << 33);
    let batches = [batch(2, 0), batch(far, 0), batch(far + 7, 1)];
    let disk = MemoryDisk::default();
    let mut log = copied(&disk, &batches[..1]);
    let copied = log.copy(&batches[1]).unwrap();
    assert_eq!((copied.from, log.segment_count()), (Offset::new(far), 2));
    let entries = [entry(copied, &batches[1]), entry(log.copy(&batches[2]).unwrap(), &batches[2])];
    let entries = entries.map(Option::unwrap);
    let unsynced = disk.copy();
    unsynced.crash(|_, _| 0, false);
    let mut log_again = open(&unsynced);
    assert_eq!(log_again.end_offset(), Offset::new(far));
    assert_eq!(log_again.take_journal(&entries).unwrap(), 2);
    sync(&mut log);
    drop(log);
    disk.crash(|_, _| 0, false);
    for log in [open(&disk), log_again] {
        assert_eq!((log.holes(), read(&log)), (&[][..], (batches.to_vec(), 0)));
    }
}

fn entry(copied: Copied, batch: &Bytes) -> Option<Entry> {
    let head = Bytes::new();
    copied.header?;
    Some(Entry { partition: PARTITION, base: copied.from, head, tail: batch.clone() })
}

#[test]
fn a_journal_gives_back_a_copy_with_its_gaps() {
    let batches = leaders();
    for kept in [0, 10, 1000] {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        log.sync().unwrap();
        let entries: Vec<Entry> =
            batches.iter().map(|it| entry(log.copy(it).unwrap(), it).unwrap()).collect();
        drop(log);
        disk.crash(|_, count| count.min(kept), false);
        let mut log = open(&disk);
        log.take_journal(&entries).unwrap();
        assert_eq!(read(&log), (batches.clone(), 0), "{kept}");
        assert_eq!(log.take_journal(&entries).unwrap(), 0, "twice is harmless");
    }
}

#[test]
fn what_was_cut_does_not_come_back_from_a_journal() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    log.sync().unwrap();
    let mut entries = Vec::new();
    // A leader of epoch 2 whose batches nobody else had, and what the next leader has instead: batches of
    // epoch 1 at the same offsets, which are older and right.
    let (ours, theirs) = ([(0, 1), (2, 2), (4, 2), (6, 2)], [(2, 1), (4, 1), (6, 3)]);
    for (base, epoch) in ours {
        let batch = batch(base, epoch);
        entries.extend(entry(log.copy(&batch).unwrap(), &batch));
    }
    log.truncate_to(Offset::new(2)).unwrap();
    for (number, (base, epoch)) in theirs.into_iter().enumerate() {
        let there =
            [vec![batch(0, 1)], theirs[..number].iter().map(|it| batch(it.0, it.1)).collect()];
        let power = disk.copy();
        power.crash(|_, _| 0, false);
        let mut after = open(&power);
        after.take_journal(&entries).unwrap();
        assert_eq!(read(&after).0, there.concat(), "{number}");

        let batch = batch(base, epoch);
        let copied = log.copy(&batch).unwrap();
        assert_eq!(
            copied.header.is_some(),
            epoch == 3,
            "only a newer epoch is told from the cut one"
        );
        match entry(copied, &batch) {
            Some(entry) => entries.push(entry),
            None => sync(&mut log),
        }
    }
    drop(log);
    disk.crash(|_, _| 0, false);
    let mut log = open(&disk);
    assert_eq!(log.take_journal(&entries).unwrap(), 1);
    assert_eq!(read(&log).0, [batch(0, 1), batch(2, 1), batch(4, 1), batch(6, 3)]);
}

#[test]
fn a_leader_in_an_epoch_that_seemed_over_is_believed_by_the_journal() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    log.sync().unwrap();
    // As a flipped bit in the last batch's header has it.
    log.copy(&batch(0, 1 << 30)).unwrap();
    log.truncate_to(Offset::ZERO).unwrap();
    let whole = batch(0, 3);
    let stored = log.write(&whole, LeaderEpoch(3)).unwrap();
    let (head, tail) = (Bytes::copy_from_slice(&stored.header), whole.slice(HEADER_BYTES..));
    let tail = [head, tail].concat().into();
    let entry = Entry { partition: PARTITION, base: stored.base, head: Bytes::new(), tail };
    drop(log);
    disk.crash(|_, _| 0, false);
    let mut log = open(&disk);
    assert_eq!(log.end_offset(), Offset::ZERO);
    assert_eq!(log.take_journal(&[entry]).unwrap(), 1);
    assert_eq!(read(&log).0, [whole]);
}

#[test]
fn a_cut_that_is_interrupted_takes_nothing_along_that_was_to_stay() {
    for changes in 0..60 {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        log.sync().unwrap();
        let batches: Vec<Bytes> = (0..5).map(|n| batch(n * 3, 1)).collect();
        let entries: Vec<Entry> =
            batches.iter().map(|it| entry(log.copy(it).unwrap(), it).unwrap()).collect();
        disk.refuse_after(changes);
        let done = log.truncate_to(Offset::new(7)).is_ok();
        drop(log);
        disk.crash(|_, _| 0, false);
        let mut log = open(&disk);
        log.take_journal(&entries).unwrap();
        let found = read(&log).0;
        let expected = if done { &batches[..2] } else { &batches[..found.len().max(2)] };
        assert_eq!(found, expected, "after {changes} changes");
    }
}

#[test]
fn a_log_begins_anew_where_it_is_told_to_or_is_what_it_was() {
    for offset in [0, 40, 100_000].map(Offset::new) {
        let mut finished = false;
        for changes in 0.. {
            let disk = MemoryDisk::default();
            let batches = leaders();
            let mut log = copied(&disk, &batches);
            log.sync().unwrap();
            disk.refuse_after(changes);
            finished = log.restart_at(offset).is_ok();
            drop(log);
            disk.crash(|_, _| 0, false);
            let mut log = open(&disk);
            let (start, end) = (log.start_offset(), log.end_offset());
            assert_eq!(log.holes(), [], "{offset} {changes}");
            assert!(
                !finished || (start, end) == (offset, offset),
                "{offset} {changes}: {start} {end}"
            );
            let found = read(&log).0;
            assert_eq!(found, batches[..found.len()], "{offset} {changes}");
            assert!(!finished || (log.producers().is_empty() && log.latest_epoch().is_none()));
            log.restart_at(offset).unwrap();
            log.copy(&batch(offset.value() + 1, 0)).unwrap();
            log.close().unwrap();
            let log = open(&disk);
            assert_eq!((log.start_offset(), read(&log).0.len()), (offset, 1), "{offset} {changes}");
            if finished {
                break;
            }
        }
        assert!(finished);
    }
}
