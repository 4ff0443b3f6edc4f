//! Other policies than Kafka's: what they say is what is left, and what is not theirs to say stays as it was,
//! wherever the power is lost.

use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;

use super::*;

mod others;

use others::{ByTime, Clumsy, Newest, Sum};

/// A record: offset, time, key, value, and the value of its one header.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Stored {
    offset: u64,
    time: i64,
    key: String,
    value: Option<String>,
    header: String,
}

/// Everything that can be read: records, and the bytes of control batches.
fn stored(log: &Log<MemoryDisk>) -> (Vec<Stored>, Vec<Vec<u8>>) {
    let (mut records, mut controls) = (Vec::new(), Vec::new());
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 1 << 20, true).unwrap();
        let chunks = plan.run(&mut Buffers::default()).unwrap();
        if chunks.is_empty() {
            break;
        }
        for split in batch::split(&chunks.concat()) {
            let (header, bytes) = split.unwrap();
            next = header.last_offset().next();
            if header.attributes.is_control() {
                controls.push(bytes.to_vec());
                continue;
            }
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            for record in batch::records(bytes).unwrap().iter().map(Result::unwrap) {
                let mut headers = record.headers.clone();
                records.push(Stored {
                    offset: record.offset.value(),
                    time: record.timestamp.0,
                    key: text(record.key.unwrap()),
                    value: record.value.map(text),
                    header: text(headers.next().unwrap().1.unwrap()),
                });
                assert_eq!(headers.next(), None);
            }
        }
    }
    records.retain(|record| record.offset >= log.start_offset().value());
    (records, controls)
}

/// SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Three producers, every codec, a marker now and then, keys over and over with numbers as values.
fn history(disk: &MemoryDisk, seed: u64) -> Log<MemoryDisk> {
    let mut log = open(disk);
    let mut random = Random(seed);
    let mut sequences = [0; 3];
    for _ in 0..45 {
        let id = usize::try_from(random.below(3)).unwrap();
        let control = random.below(15) == 0;
        let codec = Codec::ALL[usize::try_from(random.below(5)).unwrap()];
        let producer = ProducerId(id as u64);
        let mut builder =
            BatchBuilder::new(codec).producer(producer, ProducerEpoch(0), sequences[id]);
        builder = builder.attributes(Attributes::default().with_control(control));
        let count = if control { 1 } else { 1 + random.below(3) };
        for _ in 0..count {
            let key = format!("key {}", random.below(6));
            let value = (random.below(6) > 0).then(|| (1 + random.below(99)).to_string());
            let (time, header) = (random.below(200).cast_signed(), random.below(1000).to_string());
            let headers = [(&b"h"[..], Some(header.as_bytes()))];
            let value = value.as_deref().map(str::as_bytes);
            builder.push(Timestamp(time), Some(key.as_bytes()), value, &headers).unwrap();
        }
        sequences[id] += i32::try_from(count).unwrap();
        let batch = ValidatedBatch::trusted(builder.build().unwrap());
        log.append(&batch, LeaderEpoch(0), Timestamp(0)).unwrap();
    }
    log.sync().unwrap();
    log
}

/// One whole cleaning by this policy.
fn clean_by(log: &mut Log<MemoryDisk>, now: i64, policy: Box<dyn Policy>) -> Result<u64, String> {
    let Some(mut job) = log.begin_compaction(Timestamp(now), everything()) else { return Ok(0) };
    job.choose(policy);
    clean(log, Some(job))
}

/// A policy to be tried, and what its cleanings never change.
struct Case {
    name: &'static str,
    policy: fn() -> Box<dyn Policy>,
    /// What readers may rely on, whatever was cleaned so far.
    meaning: fn(&[Stored]) -> BTreeMap<String, Vec<String>>,
    /// What is left of these records, tombstones that must stay for a while aside.
    left: fn(&[Stored]) -> Vec<Stored>,
}

fn by_key(records: &[Stored]) -> BTreeMap<String, Vec<&Stored>> {
    let mut keys: BTreeMap<String, Vec<&Stored>> = BTreeMap::new();
    for record in records {
        keys.entry(record.key.clone()).or_default().push(record);
    }
    keys
}

fn told<'a>(records: impl IntoIterator<Item = &'a Stored>) -> Vec<String> {
    records.into_iter().map(|record| format!("{record:?}")).collect()
}

const NEWEST: usize = 3;

const CASES: &[Case] = &[
    Case {
        name: "the latest by time",
        policy: || Box::new(ByTime::default()),
        meaning: |records| {
            let best = |records: Vec<&Stored>| {
                told(records.into_iter().max_by_key(|it| (it.time, it.offset)))
            };
            by_key(records).into_iter().map(|(key, records)| (key, best(records))).collect()
        },
        left: |records| {
            let keys = by_key(records).into_values();
            keys.filter_map(|it| it.into_iter().max_by_key(|it| (it.time, it.offset)).cloned())
                .collect()
        },
    },
    Case {
        name: "the newest three",
        policy: || Box::new(Newest::new(NEWEST)),
        meaning: |records| {
            let newest = |records: Vec<&Stored>| told(records.into_iter().rev().take(NEWEST));
            by_key(records).into_iter().map(|(key, records)| (key, newest(records))).collect()
        },
        left: |records| {
            let keys = by_key(records).into_values();
            keys.flat_map(|it| it.into_iter().rev().take(NEWEST).cloned().collect::<Vec<_>>())
                .collect()
        },
    },
    Case {
        name: "the sum",
        policy: || Box::new(Sum::default()),
        meaning: |records| {
            let sums = by_key(records).into_iter().map(|(key, it)| (key, others::sum(&it)));
            sums.filter(|it| it.1 > 0).map(|(key, sum)| (key, vec![sum.to_string()])).collect()
        },
        left: |records| {
            let merged = |records: Vec<&Stored>| {
                let last: &Stored = records.last().unwrap();
                let value = last.value.as_ref().map(|_| others::sum(&records).to_string());
                Stored { value, ..last.clone() }
            };
            by_key(records).into_values().map(merged).collect()
        },
    },
];

/// What no policy may change: all but values, the markers, and what producers have sent last.
fn check_host(
    context: &str,
    before: &(Vec<Stored>, Vec<Vec<u8>>),
    log: &Log<MemoryDisk>,
    sequences: &[(ProducerId, Option<u32>)],
) {
    let (records, controls) = stored(log);
    assert!(log.holes().is_empty(), "{context}: {:?}", log.holes());
    assert_eq!(controls, before.1, "{context}: markers");
    for record in &records {
        let same = |it: &&Stored| it.offset == record.offset;
        let was = before.0.iter().find(same).unwrap_or_else(|| panic!("{context}: {record:?}"));
        let value = record.value.clone();
        assert_eq!(*record, Stored { value, ..was.clone() }, "{context}");
    }
    let latest = by_key(&before.0).into_values().map(|records| *records.last().unwrap());
    for tombstone in latest.filter(|record| record.value.is_none()) {
        assert!(records.contains(tombstone), "{context}: {tombstone:?} before its horizon");
    }
    assert_eq!(last_sequences(log), sequences, "{context}: producers");
}

fn last_sequences(log: &Log<MemoryDisk>) -> Vec<(ProducerId, Option<u32>)> {
    log.producers().iter().map(|(id, producer)| (id, producer.last_sequence())).collect()
}

#[test]
fn what_is_left_is_what_the_policy_says() {
    for case in CASES {
        for seed in 0..40 {
            let context = format!("{}, history {seed}", case.name);
            let disk = MemoryDisk::default();
            let mut log = history(&disk, seed);
            let (before, sequences) = (stored(&log), last_sequences(&log));
            let active = log.active.base.value();
            clean_by(&mut log, 500, (case.policy)()).unwrap();
            check_host(&context, &before, &log, &sequences);
            let after = stored(&log).0;
            assert_eq!((case.meaning)(&after), (case.meaning)(&before.0), "{context}");
            let closed: Vec<Stored> =
                before.0.iter().filter(|it| it.offset < active).cloned().collect();
            let latest: Vec<u64> =
                by_key(&closed).into_values().map(|it| it.last().unwrap().offset).collect();
            let mut expected = (case.left)(&closed);
            // The host's word: the latest tombstone of a key stays for a while.
            let tombstones = closed.iter().filter(|it| it.value.is_none());
            for kept in tombstones.filter(|it| latest.contains(&it.offset)) {
                if !expected.iter().any(|it| it.offset == kept.offset) {
                    expected.push(kept.clone());
                }
            }
            expected.sort_by_key(|record| record.offset);
            let left: Vec<Stored> = after.into_iter().filter(|it| it.offset < active).collect();
            assert_eq!(left, expected, "{context}");
            // Once more changes nothing, and nothing is forgotten with a start.
            log.settings.min_cleanable_dirty_permille = 0;
            log.roll().unwrap();
            log.sync().unwrap();
            clean_by(&mut log, 600, (case.policy)()).unwrap();
            assert_eq!((case.meaning)(&stored(&log).0), (case.meaning)(&before.0), "{context}");
            let (end, all) = (log.end_offset(), stored(&log));
            log.close().unwrap();
            for name in disk.list(FOLDER).unwrap().iter().filter(|it| it.ends_with(".snapshot")) {
                disk.remove(&format!("{FOLDER}/{name}")).unwrap();
            }
            let log = open(&disk);
            assert_eq!((log.end_offset(), stored(&log)), (end, all), "{context}");
            check_host(&format!("{context}, started"), &before, &log, &sequences);
        }
    }
}

#[test]
fn a_crash_anywhere_takes_nothing_from_the_meaning_and_adds_nothing() {
    for (case, seed) in CASES.iter().zip(100..) {
        let mut ended = false;
        for changes in 0..1000 {
            let disk = MemoryDisk::default();
            let mut log = history(&disk, seed);
            let (before, sequences) = (stored(&log), last_sequences(&log));
            let meaning = (case.meaning)(&before.0);
            disk.refuse_after(changes);
            ended = clean_by(&mut log, 500, (case.policy)()).is_ok();
            drop(log);
            for pattern in 0..6_u64 {
                let crashed = disk.copy();
                let mut random = Random(changes * 8 + pattern);
                crashed.settle_names(|| random.below(2) == 1);
                crashed.crash(|_, count| if random.below(2) == 1 { count } else { 0 }, false);
                let context = format!("{}: {changes} changes, pattern {pattern}", case.name);
                let mut log = open(&crashed);
                check_host(&context, &before, &log, &sequences);
                assert_eq!((case.meaning)(&stored(&log).0), meaning, "{context}");
                log.sync().unwrap();
                log.settings.min_cleanable_dirty_permille = 0;
                clean_by(&mut log, 500, (case.policy)()).unwrap();
                check_host(&format!("{context}, cleaned again"), &before, &log, &sequences);
                assert_eq!((case.meaning)(&stored(&log).0), meaning, "{context}, cleaned again");
            }
            if ended {
                break;
            }
        }
        assert!(ended, "{}", case.name);
    }
}

#[test]
fn a_policy_that_fails_has_changed_nothing_and_is_told_that_it_is_over() {
    let wrong = "a verdict";
    for (how, said) in [
        (Clumsy::FailsToBegin, "no mood"),
        (Clumsy::FailsToObserve, "no mood"),
        (Clumsy::FailsToDecide, "no mood"),
        (Clumsy::JudgesTooFew, wrong),
        (Clumsy::ReplacesWithoutMerging, wrong),
        (Clumsy::ReplacesWhatGoes, wrong),
        (Clumsy::ReplacesInNoOrder, wrong),
        (Clumsy::ReplacesNothing, wrong),
        (Clumsy::MakesALongBatch, wrong),
    ] {
        let disk = MemoryDisk::default();
        let mut log = history(&disk, 7);
        log.settings.batch_bytes_max = 3000;
        let (before, names) = (stored(&log), disk.list(FOLDER).unwrap());
        let ended = Arc::new(AtomicUsize::new(0));
        let mut job = log.begin_compaction(Timestamp(500), everything()).unwrap();
        job.choose(Box::new(others::ClumsyPolicy { how, ended: Arc::clone(&ended) }));
        let error = job.run(&|| true).unwrap_err();
        assert!(matches!(error, CompactError::Policy { .. }), "{how:?}: {error}");
        assert!(error.to_string().contains(said), "{how:?}: {error}");
        assert_eq!(ended.load(Ordering::Relaxed), 1, "{how:?}");
        assert!(log.abandon_compaction(error).is_some());
        assert_eq!(stored(&log), before, "{how:?}");
        let left = disk.list(FOLDER).unwrap();
        assert_eq!(left, names, "{how:?}");
        // Another cleaning is none the worse for it.
        assert!(compact(&mut log, 500, everything()).unwrap() > 0);
    }
}

#[test]
fn one_that_is_interrupted_between_its_segments_has_merged_nothing() {
    for batches in 1..60 {
        let disk = MemoryDisk::default();
        let mut log = history(&disk, 3);
        let before = stored(&log);
        let mut job = log.begin_compaction(Timestamp(500), everything()).unwrap();
        job.choose(Box::new(Sum::default()));
        let left = Cell::new(batches);
        let go_on = || left.replace(left.get() - 1) > 0;
        match job.run(&go_on) {
            Err(error) => {
                assert!(matches!(error, CompactError::Interrupted { .. }), "{error}");
                assert!(log.abandon_compaction(error).is_none());
                assert_eq!(stored(&log), before);
                let names = disk.list(FOLDER).unwrap();
                assert!(!names.iter().any(|name| name.ends_with(".cleaned")), "{names:?}");
            }
            Ok(_) => panic!("there are more batches than {batches}, each read twice"),
        }
    }
}

#[test]
fn a_policy_that_has_to_see_all_keys_fails_without_the_memory_for_them() {
    let mut log = history(&MemoryDisk::default(), 7);
    let before = stored(&log);
    let mut job = log.begin_compaction(Timestamp(500), within(48 * 3)).unwrap();
    job.choose(Box::new(Sum::default()));
    let error = job.run(&|| true).unwrap_err();
    let source = PolicyError::NoRoom { keys: 3 };
    assert!(matches!(&error, CompactError::Policy { source: it, .. } if *it == source), "{error}");
    log.abandon_compaction(error);
    assert_eq!(stored(&log), before);
}

#[test]
fn what_is_before_the_start_is_counted_by_nobody() {
    for start in [1, 5, 17, 30] {
        let disk = MemoryDisk::default();
        let mut log = history(&disk, 11);
        log.delete_before(Offset::new(start)).unwrap();
        let sums = |log: &Log<MemoryDisk>| (CASES[2].meaning)(&stored(log).0);
        let before = sums(&log);
        clean_by(&mut log, 500, Box::new(Sum::default())).unwrap();
        assert_eq!(sums(&log), before, "from {start}");
    }
}

#[test]
fn who_drops_everything_leaves_young_tombstones_and_what_producers_need() {
    let disk = MemoryDisk::default();
    let mut log = history(&disk, 5);
    log.roll().unwrap();
    log.sync().unwrap();
    let (before, sequences) = (stored(&log), last_sequences(&log));
    clean_by(&mut log, 500, Box::new(Newest::new(0))).unwrap();
    check_host("all dropped", &before, &log, &sequences);
    let left = stored(&log).0;
    assert!(!left.is_empty() && left.iter().all(|record| record.value.is_none()), "{left:?}");
    // A second later their time has come.
    log.settings.min_cleanable_dirty_permille = 0;
    append(&mut log, 9, 0, Codec::None, &["x"]);
    log.roll().unwrap();
    log.sync().unwrap();
    clean_by(&mut log, 1500, Box::new(Newest::new(0))).unwrap();
    assert_eq!(log.active.base, log.end_offset());
    assert_eq!(stored(&log), (Vec::new(), before.1), "the markers");
    assert!(sequences.iter().all(|known| last_sequences(&log).contains(known)));
}

#[test]
fn a_value_that_becomes_none_is_a_tombstone_with_a_horizon_of_its_own() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    append(&mut log, 1, 0, Codec::Lz4, &["a", "b", "C"]);
    let clean = |log: &mut Log<MemoryDisk>, now, policy: Box<dyn Policy>| {
        // Something new, without which there is nothing to clean.
        let sequence = i32::try_from(log.end_offset().value()).unwrap();
        log.roll().unwrap();
        append(log, 1, sequence, Codec::None, &["z"]);
        log.sync().unwrap();
        log.settings.min_cleanable_dirty_permille = 0;
        clean_by(log, now, policy).unwrap();
        let found = lines(log).into_iter().filter(|line| line.1 != "z");
        found.map(|line| (line.1, line.2.is_some())).collect::<Vec<_>>()
    };
    let erase = || Box::new(others::Erase(b"a"));
    let is = |lines: &[(&str, bool)]| -> Vec<(String, bool)> {
        lines.iter().map(|(key, is_value)| ((*key).to_owned(), *is_value)).collect()
    };
    let whole = is(&[("a", true), ("b", true), ("c", false)]);
    assert_eq!(clean(&mut log, 5000, Box::new(Latest)), whole, "the horizon is 6000");
    // The horizon that the batch has is another's, and is over.
    assert_eq!(clean(&mut log, 6500, erase()), is(&[("a", false), ("b", true)]));
    assert_eq!(clean(&mut log, 7499, erase()), is(&[("a", false), ("b", true)]));
    assert_eq!(clean(&mut log, 7500, erase()), is(&[("b", true)]));
}
