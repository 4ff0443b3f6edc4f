//! Cleanings that do not come to their end, or not undisturbed.

use std::cell::Cell;

use super::*;

#[test]
fn a_crash_anywhere_leaves_every_key_its_latest() {
    let mut ended = false;
    for changes in 0.. {
        let disk = MemoryDisk::default();
        let mut log = filled(&disk);
        let before = lines(&log);
        disk.refuse_after(changes);
        let job = log.begin_compaction(Timestamp(500), everything());
        ended = clean(&mut log, job).is_ok();
        drop(log);
        for pattern in 0..8_u64 {
            let crashed = disk.copy();
            let mut bits = (changes * 8 + pattern + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let mut pick = || {
                bits = bits.rotate_left(1);
                bits & 1 == 1
            };
            crashed.settle_names(&mut pick);
            crashed.crash(|_, count| if pick() { count } else { 0 }, false);
            let context = format!("after {changes} changes, pattern {pattern}");
            let mut log = open(&crashed);
            assert!(log.holes().is_empty(), "{context}: {:?}", log.holes());
            let after = lines(&log);
            assert!(after.iter().all(|line| before.contains(line)), "{context}");
            assert_eq!(newest(&after), newest(&before), "{context}");
            // And it goes on: the next cleaning ends what this one began.
            log.sync().unwrap();
            log.settings.min_cleanable_dirty_permille = 0;
            compact(&mut log, 500, everything());
            assert_eq!(newest(&lines(&log)), newest(&before), "{context}");
            let names = crashed.list(FOLDER).unwrap();
            assert!(!names.iter().any(|name| name.ends_with(".cleaned")), "{context}: {names:?}");
        }
        if ended {
            break;
        }
    }
    assert!(ended);
}

#[test]
fn what_is_deleted_or_cut_meanwhile_stays_so() {
    let steps = |name| (0..5).map(move |at| (name, at));
    for (name, at) in steps("cut").chain(steps("delete")) {
        let disk = MemoryDisk::default();
        let mut log = filled(&disk);
        let mut job = log.begin_compaction(Timestamp(500), everything());
        let mut expected = Vec::new();
        for step in 0.. {
            if step == at {
                match name {
                    "cut" => log.truncate_to(Offset::new(9)).unwrap(),
                    _ => log.delete_before(Offset::new(9)).unwrap(),
                }
                expected = lines(&log);
            }
            let Some(next) = job.take() else { break };
            match next.run(&|| true) {
                Ok(cleaning) => job = log.advance_compaction(cleaning).unwrap(),
                Err(error) => {
                    assert!(step >= at, "{error}");
                    assert!(log.abandon_compaction(error).is_none(), "no error of the log's");
                }
            }
        }
        let context = format!("{name} at step {at}");
        let after = lines(&log);
        assert!(after.iter().all(|line| expected.contains(line)), "{context}");
        assert_eq!(newest(&after), newest(&expected), "{context}");
        let names = disk.list(FOLDER).unwrap();
        let left = names.iter().filter(|name| name.ends_with(".cleaned")).count();
        assert!(left <= 1, "{context}: {names:?}");
        let end = log.end_offset();
        drop(log);
        disk.settle();
        let log = open(&disk);
        assert_eq!((log.end_offset(), lines(&log)), (end, after), "{context}, after a start");
    }
}

#[test]
fn behind_a_cut_a_gap_is_a_loss_again() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.roll().unwrap();
    log.sync().unwrap();
    compact(&mut log, 500, everything()).unwrap();
    // A batch that goes whole, so that the log ends before where it was cut.
    log.truncate_to(Offset::new(75)).unwrap();
    let end = log.end_offset();
    assert_eq!(end, Offset::new(74));
    append(&mut log, 9, 0, Codec::None, &["x"]);
    log.roll().unwrap();
    drop(log);
    // The record is lost with the power, the segment behind it is not.
    disk.settle_names(|| true);
    disk.crash(|_, _| 0, false);
    assert_eq!(open(&disk).end_offset(), end);
}

#[test]
fn a_disk_that_fills_up_or_an_end_in_the_middle_leaves_the_log_as_it_was() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    let (before, names) = (lines(&log), disk.list(FOLDER).unwrap());
    let job = log.begin_compaction(Timestamp(500), everything());
    let stopped = Cell::new(20);
    let go_on = || stopped.replace(stopped.get() - 1) > 0;
    let error = job.unwrap().run(&go_on).unwrap_err();
    assert!(matches!(error, CompactError::Interrupted { .. }), "{error}");
    assert!(log.abandon_compaction(error).is_none());
    disk.set_capacity(ByteSize(0));
    let job = log.begin_compaction(Timestamp(500), everything());
    let error = job.unwrap().run(&|| true).unwrap_err();
    assert!(matches!(error, CompactError::Full { .. }), "{error}");
    assert!(log.abandon_compaction(error).is_some());
    disk.set_capacity(ByteSize::mib(1));
    let left = disk.list(FOLDER).unwrap().into_iter().filter(|it| !it.ends_with(".cleaned"));
    assert_eq!(left.collect::<Vec<_>>(), names);
    assert_eq!(lines(&log), before);
    assert!(compact(&mut log, 500, everything()).is_some());
}

#[test]
fn a_damaged_segment_is_not_cleaned() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    let file = disk.open(&log.path(Offset::ZERO, "log")).unwrap();
    let mut byte = [0];
    file.read_at(&mut byte, 100).unwrap();
    file.write_at(&[&[byte[0] ^ 1]], 100).unwrap();
    let job = log.begin_compaction(Timestamp(500), everything()).unwrap();
    let error = job.run(&|| true).unwrap_err();
    assert!(matches!(error, CompactError::Damaged { position: 0, .. }), "{error}");
    assert!(log.abandon_compaction(error).is_some());
}
