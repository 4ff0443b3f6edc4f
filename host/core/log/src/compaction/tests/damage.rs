//! Every byte of a cleaned log flipped, and every file of it gone.

use super::*;
use crate::ReadError;

/// The batches that can be read, and how often there was damage instead.
fn survivors(log: &Log<MemoryDisk>, context: &str) -> (Vec<Vec<u8>>, usize) {
    let (mut batches, mut damage) = (Vec::new(), 0);
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 700, true);
        match plan.and_then(|plan| plan.run(&mut Buffers::default())) {
            Ok(chunks) if chunks.is_empty() => break,
            Ok(chunks) => {
                for split in batch::split(&chunks.concat()) {
                    let (header, bytes) = split.unwrap();
                    assert!(header.last_offset() >= next, "{context}: back to {header:?}");
                    next = header.last_offset().next();
                    batches.push(bytes.to_vec());
                }
            }
            Err(ReadError::Corrupt { next: behind, .. }) => {
                assert!(behind > next, "{context}: {behind}");
                (next, damage) = (behind, damage + 1);
            }
            Err(error) => panic!("{context}: {error}"),
        }
    }
    (batches, damage)
}

/// A log with gaps before, between and behind its batches, closed in good order.
fn cleaned() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    for turn in 0..6 {
        append(&mut log, 2, turn, Codec::None, &[["f", "g"][usize::try_from(turn % 2).unwrap()]]);
        append(&mut log, 3, turn * 2, Codec::Lz4, &["h", "i"]);
    }
    log.roll().unwrap();
    append(&mut log, 4, 0, Codec::None, &["z"]);
    log.sync().unwrap();
    compact(&mut log, 500, everything()).unwrap();
    append(&mut log, 4, 1, Codec::None, &["y"]);
    log.close().unwrap();
    disk
}

#[test]
fn a_flipped_bit_costs_one_batch_at_most_and_none_is_served_elsewhere() {
    let disk = cleaned();
    let (expected, _) = survivors(&open(&disk), "whole");
    assert!(expected.len() > 8);
    for (path, bytes) in disk.files() {
        for index in 0..bytes.len() {
            for mask in [1 << (index % 8), 0xff] {
                let context = format!("{path}, byte {index} ^ {mask:#x}");
                let copy = disk.copy();
                let mut damaged = bytes.clone();
                damaged[index] ^= mask;
                copy.put(&path, damaged);
                let log = open(&copy);
                let (batches, _) = survivors(&log, &context);
                assert!(batches.iter().all(|batch| expected.contains(batch)), "{context}");
                assert!(batches.len() + 1 >= expected.len(), "{context}: {}", batches.len());
            }
        }
    }
}

#[test]
fn what_can_be_made_anew_may_be_lost() {
    let disk = cleaned();
    let whole = survivors(&open(&disk), "whole");
    for (path, _) in disk.files() {
        if path.ends_with(".log") {
            continue;
        }
        let copy = disk.copy();
        copy.remove(&path).unwrap();
        let mut log = open(&copy);
        assert_eq!(survivors(&log, &path), whole, "without {path}");
        log.sync().unwrap();
        log.settings.min_cleanable_dirty_permille = 0;
        compact(&mut log, 500, everything());
        assert_eq!(newest(&lines(&log)), newest(&lines(&open(&disk))), "cleaned without {path}");
    }
}

#[test]
fn an_index_that_is_made_anew_is_whole_or_not_there() {
    let disk = cleaned();
    let whole = survivors(&open(&disk), "whole");
    let indexes = disk.files().into_keys().filter(|path| path.ends_with(".index"));
    for path in indexes {
        for kept in 0..3 {
            let copy = disk.copy();
            copy.remove(&path).unwrap();
            copy.sync_folder(FOLDER).unwrap();
            drop(open(&copy));
            copy.settle_names(|| true);
            copy.crash(|_, count| count.min(kept), true);
            assert_eq!(survivors(&open(&copy), &path), whole, "{path}, {kept} writes kept");
        }
    }
}

#[test]
fn an_older_recovery_point_is_not_believed_within_what_was_compacted() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    for (turn, key) in ["a", "b", "a", "b", "c", "a"].into_iter().enumerate() {
        append(&mut log, 1, i32::try_from(turn).unwrap(), Codec::None, &[key]);
        if turn == 1 {
            log.sync().unwrap();
        }
    }
    log.roll().unwrap();
    log.sync().unwrap();
    let slot = usize::try_from(log.checkpoint.serial % 2 * 512).unwrap();
    compact(&mut log, 500, everything()).unwrap();
    let expected = survivors(&log, "before");
    log.disk.sync_folder(FOLDER).unwrap();
    drop(log);
    let path = format!("{FOLDER}/brooklet-checkpoint");
    let mut bytes = disk.files()[&path].clone();
    bytes[slot + 30] ^= 1;
    disk.put(&path, bytes);
    let log = open(&disk);
    assert!(log.holes().is_empty(), "{:?}", log.holes());
    assert_eq!(survivors(&log, "after"), expected);
}
