//! Histories of keys, cleaned on a disk in memory.

mod damage;
mod histories;
mod interrupted;
mod policies;

use std::collections::BTreeMap;

use brooklet_types::{ByteSize, LeaderEpoch, ProducerEpoch};
use brooklet_wire::batch::{self, Attributes, BatchBuilder, BatchHeader};
use brooklet_wire::compress::Codec;

use super::*;
use crate::buffers::Buffers;
use crate::disk::DiskFile;
use crate::disk::memory::MemoryDisk;
use crate::producer::Verdict;
use crate::validate::ValidatedBatch;
use crate::{LogSettings, TailBudget};

const FOLDER: &str = "topics/t-0";

/// Offset, key, and value: none is a tombstone.
type Line = (u64, String, Option<String>);

fn settings() -> LogSettings {
    LogSettings {
        segment_bytes: 1024,
        index_interval_bytes: 100,
        compact: true,
        delete: false,
        delete_retention_ms: 1000,
        disk_reserve: ByteSize(0),
        ..LogSettings::default()
    }
}

fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    Log::open(disk.clone(), FOLDER, settings(), TailBudget::new(0)).unwrap()
}

/// Appends a batch of producer `id` with a record per key; a key in capitals is a tombstone.
fn append(log: &mut Log<MemoryDisk>, id: u64, sequence: i32, codec: Codec, keys: &[&str]) {
    let producer = ProducerId(id);
    let mut builder = BatchBuilder::new(codec).producer(producer, ProducerEpoch(0), sequence);
    for key in keys {
        let value = format!("{key} {sequence} {}", ".".repeat(40));
        let tombstone = key.chars().all(char::is_uppercase);
        let value = (!tombstone).then_some(value.as_bytes());
        let key = key.to_lowercase();
        builder.push(Timestamp(sequence.into()), Some(key.as_bytes()), value, &[]).unwrap();
    }
    let batch = ValidatedBatch::trusted(builder.build().unwrap());
    log.append(&batch, LeaderEpoch(0), Timestamp(0)).unwrap();
}

/// Two producers in turn, every codec, keys `a` to `e` over and over.
fn filled(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let mut log = open(disk);
    let keys = ["a", "b", "C", "d", "e", "c", "A"];
    for turn in 0..40_usize {
        let codec = Codec::ALL[turn % 5];
        let (one, two) = (keys[turn % 7], keys[turn * 3 % 7]);
        let sequence = i32::try_from(turn / 2 * 2).unwrap();
        append(&mut log, turn as u64 % 2, sequence, codec, &[one, two]);
    }
    log.sync().unwrap();
    log
}

fn lines(log: &Log<MemoryDisk>) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 1 << 20, true).unwrap();
        let bytes = plan.run(&mut Buffers::default()).unwrap().concat();
        let before = next;
        for (header, batch) in batch::split(&bytes).map(Result::unwrap) {
            batch::check_crc(batch).unwrap();
            for record in batch::records(batch).unwrap().iter().map(Result::unwrap) {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let key = text(record.key.unwrap());
                lines.push((record.offset.value(), key, record.value.map(text)));
            }
            next = header.last_offset().next();
        }
        if next == before {
            break;
        }
    }
    lines
}

fn compact(log: &mut Log<MemoryDisk>, now: i64, keys: Keys) -> Option<u64> {
    let job = log.begin_compaction(Timestamp(now), keys)?;
    Some(clean(log, Some(job)).unwrap())
}

/// Takes a cleaning to its end; says how many records are gone.
fn clean(log: &mut Log<MemoryDisk>, mut job: Option<Job<MemoryDisk>>) -> Result<u64, String> {
    let mut removed = 0;
    while let Some(next) = job {
        let cleaning = next.run(&|| true).map_err(|error| error.to_string())?;
        removed = cleaning.cleaned.records_removed;
        job = log.advance_compaction(cleaning).map_err(|error| error.to_string())?;
    }
    Ok(removed)
}

fn within(bytes_max: usize) -> Keys {
    Keys::within(bytes_max, [7; 32])
}

fn everything() -> Keys {
    within(1 << 20)
}

/// The newest record of each key.
fn newest(lines: &[Line]) -> BTreeMap<String, Line> {
    lines.iter().map(|line| (line.1.clone(), line.clone())).collect()
}

#[test]
fn the_latest_of_each_key_stays_where_it_was() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    let (before, end) = (lines(&log), log.end_offset());
    let active = log.active.base.value();
    assert!(compact(&mut log, 500, everything()).unwrap() > 0);
    let after = lines(&log);
    assert_eq!(log.end_offset(), end);
    assert!(after.iter().all(|line| before.contains(line)), "nothing moved or changed");
    assert_eq!(newest(&after), newest(&before));
    let closed: Vec<Line> = before.iter().filter(|line| line.0 < active).cloned().collect();
    let survivors: Vec<Line> = after.iter().filter(|line| line.0 < active).cloned().collect();
    let expected = newest(&closed);
    assert_eq!(survivors.len(), expected.len());
    assert!(survivors.iter().all(|line| expected[&line.1] == *line));
    log.close().unwrap();
    let log = open(&disk);
    assert_eq!(lines(&log), after, "after a start");
    assert!(log.holes().is_empty());
}

#[test]
fn several_small_jobs_do_what_one_large_does() {
    let (one, many) = (MemoryDisk::default(), MemoryDisk::default());
    let (mut one, mut many) = (filled(&one), filled(&many));
    compact(&mut one, 500, everything()).unwrap();
    let mut jobs = 0;
    while compact(&mut many, 500, within(100)).is_some() {
        jobs += 1;
        assert!(jobs < 1000, "every job gets further");
        many.settings.min_cleanable_dirty_permille = 0;
    }
    assert!(jobs > 1);
    assert_eq!(newest(&lines(&one)), newest(&lines(&many)));
    assert_eq!(lines(&one).len(), lines(&many).len());
}

#[test]
fn a_tombstone_stays_until_its_horizon() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    append(&mut log, 0, 0, Codec::None, &["a", "b"]);
    append(&mut log, 0, 2, Codec::None, &["A", "b"]);
    let roll = |log: &mut Log<MemoryDisk>| {
        log.roll().unwrap();
        log.sync().unwrap();
        // Something new, without which there is nothing to clean.
        let sequence = i32::try_from(log.end_offset().value()).unwrap();
        append(log, 0, sequence, Codec::None, &["z"]);
    };
    let keys = |log: &Log<MemoryDisk>| -> Vec<String> {
        lines(log).iter().map(|line| line.1.clone()).filter(|key| key != "z").collect()
    };
    roll(&mut log);
    compact(&mut log, 5000, everything()).unwrap();
    assert_eq!(keys(&log), ["a", "b"]);
    assert_eq!(lines(&log)[0].2, None, "the tombstone");
    log.settings.min_cleanable_dirty_permille = 0;
    for (now, expected) in [(5999, &["a", "b"][..]), (6000, &["b"])] {
        roll(&mut log);
        compact(&mut log, now, everything()).unwrap();
        assert_eq!(keys(&log), expected, "at {now}");
    }
}

#[test]
fn every_producers_last_sequence_is_kept() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    append(&mut log, 7, 0, Codec::Lz4, &["a"]);
    append(&mut log, 7, 1, Codec::Lz4, &["a"]);
    for sequence in 0..30 {
        append(&mut log, 8, sequence, Codec::None, &["a"]);
    }
    log.sync().unwrap();
    compact(&mut log, 100, everything()).unwrap();
    assert!(lines(&log).iter().all(|line| line.0 > 1));
    log.close().unwrap();
    for name in disk.list(FOLDER).unwrap().iter().filter(|name| name.ends_with(".snapshot")) {
        disk.remove(&format!("{FOLDER}/{name}")).unwrap();
    }
    let mut log = open(&disk);
    let producers = log.producers().clone();
    let known = producers.iter().find(|(id, _)| *id == ProducerId(7)).unwrap();
    assert_eq!(known.1.last_sequence(), Some(1));
    let header = BatchHeader::parse(
        &BatchBuilder::new(Codec::None)
            .producer(ProducerId(7), ProducerEpoch(0), 2)
            .build()
            .unwrap(),
    );
    assert_eq!(log.producers().check(&header.unwrap()), Ok(Verdict::New));
    append(&mut log, 7, 2, Codec::None, &["a"]);
}

#[test]
fn what_is_left_of_many_segments_becomes_one() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.settings.min_cleanable_dirty_permille = 0;
    for (turn, key) in [(0, "f"), (1, "g"), (2, "h")] {
        for sequence in turn * 10..turn * 10 + 10 {
            append(&mut log, 2, sequence, Codec::None, &[key]);
        }
        log.roll().unwrap();
    }
    log.sync().unwrap();
    let whole = log.segment_count();
    compact(&mut log, 500, everything()).unwrap();
    let cleaned = log.segment_count();
    let left = lines(&log);
    append(&mut log, 2, 30, Codec::None, &["x"]);
    log.roll().unwrap();
    log.sync().unwrap();
    compact(&mut log, 500, everything()).unwrap();
    assert!(whole > cleaned && cleaned > 3, "{whole} {cleaned}");
    assert_eq!(log.segment_count(), 2);
    let mut after = lines(&log);
    after.retain(|line| line.1 != "x");
    assert_eq!(after, left);
}

#[test]
fn where_nothing_is_left_the_log_still_begins_where_it_did() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    for _ in 0..30 {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(Timestamp(1), Some(b"a"), Some(&[b'.'; 100]), &[]).unwrap();
        let batch = ValidatedBatch::trusted(builder.build().unwrap());
        log.append(&batch, LeaderEpoch(0), Timestamp(0)).unwrap();
    }
    log.sync().unwrap();
    log.delete_before(Offset::new(3)).unwrap();
    let (count, active) = (log.segment_count(), log.active.base);
    compact(&mut log, 500, everything()).unwrap();
    assert!(count > 2 && log.segment_count() == 2);
    // The last closed segment with its one record goes too, once it has a successor.
    log.roll().unwrap();
    log.sync().unwrap();
    log.settings.min_cleanable_dirty_permille = 0;
    compact(&mut log, 500, everything()).unwrap();
    let first = *log.closed.keys().next().unwrap();
    assert!(first >= active);
    let left = lines(&log);
    for _ in 0..2 {
        assert_eq!((log.start_offset(), lines(&log)), (Offset::new(3), left.clone()));
        log.close().unwrap();
        log = open(&disk);
    }
    log.truncate_to(Offset::new(5)).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(3), Offset::new(5)));
}

#[test]
fn what_is_clean_is_known_after_a_start_and_forgotten_with_a_cut() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    compact(&mut log, 500, everything()).unwrap();
    assert_eq!(log.cleanable(Timestamp(500)), Cleanable::No);
    let clean_until = log.compacted.clean_until;
    assert!(clean_until > Offset::ZERO);
    log.close().unwrap();
    let mut log = open(&disk);
    assert_eq!(log.cleanable(Timestamp(500)), Cleanable::No);
    assert_eq!(log.compacted.clean_until, clean_until);
    let before = lines(&log);
    let cut = Offset::new(clean_until.value() - 1);
    log.truncate_to(cut).unwrap();
    assert!(log.compacted.clean_until <= log.end_offset());
    let kept: Vec<Line> =
        before.iter().filter(|line| line.0 < log.end_offset().value()).cloned().collect();
    assert_eq!(lines(&log), kept);
    append(&mut log, 9, 0, Codec::None, &["x"]);
    let after = lines(&log);
    drop(log);
    disk.settle();
    assert_eq!(lines(&open(&disk)), after, "after a start");
}

#[test]
fn too_young_too_little_or_not_compacted_is_left_alone() {
    let segment = |base: u64, oldest: i64, newest: i64| Closed {
        base: Offset::new(base),
        size: 100,
        newest: Some((Timestamp(newest), Offset::new(base))),
        oldest: Some(Timestamp(oldest)),
    };
    let all = [segment(0, 5, 10), segment(10, 15, 20), segment(20, 25, 30)];
    let with = |change: fn(&mut LogSettings), clean_until: u64, now: i64| {
        let mut settings = settings();
        change(&mut settings);
        let closed = all.iter().map(|it| (it, Offset::new(it.base.value() + 10)));
        assess(closed, Offset::new(clean_until), &settings, Timestamp(now))
    };
    let now = |dirty_permille| Cleanable::Now { dirty_permille };
    assert_eq!(with(|_| {}, 0, 100), (3, now(1000)));
    assert_eq!(with(|_| {}, 10, 100), (3, now(666)));
    assert_eq!(with(|_| {}, 20, 100), (3, Cleanable::No), "a third is dirty, half is asked for");
    assert_eq!(with(|it| it.min_cleanable_dirty_permille = 333, 20, 100).1, now(333));
    assert_eq!(with(|it| it.min_cleanable_dirty_permille = 1000, 0, 100).1, Cleanable::No);
    assert_eq!(with(|_| {}, 30, 100), (3, Cleanable::No));
    // Dirty for too long, or not yet.
    assert_eq!(with(|it| it.max_compaction_lag_ms = 74, 20, 100), (3, now(333)));
    let wait = Cleanable::In { ms: 1 };
    assert_eq!(with(|it| it.max_compaction_lag_ms = 75, 20, 100), (3, wait));
    // Too young: from the first such segment on, but what is clean was old enough once.
    let young = |it: &mut LogSettings| it.min_compaction_lag_ms = 80;
    assert_eq!(with(young, 0, 100), (2, now(1000)));
    assert_eq!(with(young, 0, 85), (0, Cleanable::In { ms: 5 }));
    assert_eq!(with(young, 20, 100), (2, Cleanable::In { ms: 10 }));
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.settings.compact = false;
    assert!(log.begin_compaction(Timestamp(500), everything()).is_none());
}

#[test]
fn only_what_is_durable_behind_a_later_segment_is_cleaned() {
    let mut log = filled(&MemoryDisk::default());
    log.roll().unwrap();
    append(&mut log, 9, 0, Codec::None, &["z"]);
    compact(&mut log, 500, everything()).unwrap();
    let end = log.compacted.clean_until;
    log.roll().unwrap();
    assert_eq!(log.cleanable(Timestamp(500)), Cleanable::In { ms: 0 });
    log.settings.min_cleanable_dirty_permille = 0;
    log.sync().unwrap();
    assert!(compact(&mut log, 500, everything()).is_some());
    assert!(log.compacted.clean_until > end);
}

#[test]
fn markers_and_what_cannot_be_read_stay_and_what_has_no_key_goes() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    let control = Attributes::default().with_control(true);
    let marker = BatchBuilder::new(Codec::None)
        .producer(ProducerId(3), ProducerEpoch(0), -1)
        .attributes(control);
    let mut builders = [marker, BatchBuilder::new(Codec::None), BatchBuilder::new(Codec::Zstd)];
    let keys = [Some(&b"a"[..]), None, Some(b"a")];
    let mut stored = Vec::new();
    for (builder, key) in builders.iter_mut().zip(keys) {
        builder.push(Timestamp(1), key, Some(b"value"), &[]).unwrap();
        stored.push(builder.clone().build().unwrap());
    }
    // The last one says that it is compressed, and is not.
    let mut garbage = BatchHeader::parse(&stored[2]).unwrap();
    garbage.batch_length = 49 + 4;
    let mut bytes = [&garbage.encode()[..], b"junk"].concat();
    let sum = batch::crc(&bytes).to_be_bytes();
    bytes[17..21].copy_from_slice(&sum);
    stored[2] = bytes.into();
    for batch in &stored {
        log.append(&ValidatedBatch::trusted(batch.clone()), LeaderEpoch(0), Timestamp(1)).unwrap();
    }
    append(&mut log, 1, 0, Codec::None, &["a"]);
    log.roll().unwrap();
    log.sync().unwrap();
    assert_eq!(compact(&mut log, 500, everything()), Some(1));
    let plan = log.read(Offset::ZERO, log.end_offset(), 1 << 20, true).unwrap();
    let bytes = plan.run(&mut Buffers::default()).unwrap().concat();
    let bases = batch::split(&bytes).map(|batch| batch.unwrap().0.base_offset().value());
    assert_eq!(bases.collect::<Vec<_>>(), [0, 2, 3]);
    assert_eq!(bytes[61..stored[0].len()], stored[0][61..]);
}
