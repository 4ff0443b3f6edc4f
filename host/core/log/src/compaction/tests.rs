//! Histories of keys, cleaned on a disk in memory.

use brooklet_types::{ByteSize, LeaderEpoch, ProducerEpoch};
use brooklet_wire::compress::Codec;

use super::*;
use crate::TailBudget;
use crate::buffers::Buffers;
use crate::disk::memory::MemoryDisk;
use crate::producer::Verdict;
use crate::validate::ValidatedBatch;

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

fn compact(log: &mut Log<MemoryDisk>, now: i64, policy: LatestByKey) -> Option<u64> {
    let job = log.begin_compaction(Timestamp(now))?;
    let cleaned = job.run(policy).unwrap();
    let removed = cleaned.records_removed;
    log.finish_compaction(cleaned).unwrap();
    Some(removed)
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
    assert!(compact(&mut log, 500, LatestByKey::default()).unwrap() > 0);
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
    compact(&mut one, 500, LatestByKey::default()).unwrap();
    let mut jobs = 0;
    while compact(&mut many, 500, LatestByKey::within(100)).is_some() {
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
    compact(&mut log, 5000, LatestByKey::default()).unwrap();
    assert_eq!(keys(&log), ["a", "b"]);
    assert_eq!(lines(&log)[0].2, None, "the tombstone");
    log.settings.min_cleanable_dirty_permille = 0;
    for (now, expected) in [(5999, &["a", "b"][..]), (6000, &["b"])] {
        roll(&mut log);
        compact(&mut log, now, LatestByKey::default()).unwrap();
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
    compact(&mut log, 100, LatestByKey::default()).unwrap();
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
fn a_crash_at_any_write_leaves_the_old_or_the_new() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.sync().unwrap();
    let before = newest(&lines(&log));
    let job = log.begin_compaction(Timestamp(500)).unwrap();
    let cleaned = job.run(LatestByKey::default()).unwrap();
    let crashed = disk.copy();
    crashed.crash(|_, count| count / 2, true);
    assert_eq!(newest(&lines(&open(&crashed))), before, "while the job ran");
    log.finish_compaction(cleaned).unwrap();
    let crashed = disk.copy();
    crashed.crash(|_, count| count / 2, true);
    let log = open(&crashed);
    assert_eq!(newest(&lines(&log)), before, "when it was in place");
    let names = crashed.list(FOLDER).unwrap();
    assert!(names.iter().all(|name| !name.ends_with(SUFFIX)), "{names:?}");
}

#[test]
fn too_young_too_little_or_not_compacted_is_left_alone() {
    let segment = |base: u64, newest: i64| Closed {
        base: Offset::new(base),
        size: 100,
        newest: Some((Timestamp(newest), Offset::new(base))),
    };
    let all = [segment(0, 10), segment(10, 20), segment(20, 30)];
    let with = |change: fn(&mut LogSettings), clean_until: u64, now: i64| {
        let mut settings = settings();
        change(&mut settings);
        let closed = all.iter().map(|it| (it.clone(), Offset::new(it.base.value() + 10)));
        let chosen = choose(closed, Offset::new(clean_until), &settings, Timestamp(now));
        chosen.len()
    };
    assert_eq!(with(|_| {}, 0, 100), 3);
    assert_eq!(with(|_| {}, 20, 100), 0, "a third is dirty, half is asked for");
    assert_eq!(with(|it| it.max_compaction_lag_ms = 50, 20, 100), 3, "but dirty for too long");
    assert_eq!(with(|it| it.min_compaction_lag_ms = 80, 0, 100), 2);
    assert_eq!(with(|_| {}, 30, 100), 0);
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.settings.compact = false;
    assert!(log.begin_compaction(Timestamp(500)).is_none());
}

#[test]
fn a_damaged_segment_is_not_cleaned() {
    let disk = MemoryDisk::default();
    let log = filled(&disk);
    let file = disk.open(&log.path(Offset::ZERO, "log")).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 100).unwrap();
    file.write_at(&[&[byte[0] ^ 1]], 100).unwrap();
    let job = log.begin_compaction(Timestamp(500)).unwrap();
    let error = job.run(LatestByKey::default()).unwrap_err();
    assert!(matches!(error, CompactError::Damaged { position: 0, .. }), "{error}");
}
