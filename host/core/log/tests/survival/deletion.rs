//! Records deleted at the start of a log: what was told of it stays true whatever the disk does.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Disk, Log, LogSettings};
use brooklet_types::{ErrorCode, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;

use crate::support::{Chance, open};

const SEGMENT_BYTES: u32 = 300;
const EPOCH: LeaderEpoch = LeaderEpoch(0);
const NOW: Timestamp = Timestamp(1000);

fn batch(sequence: i32) -> ValidatedBatch {
    let builder = BatchBuilder::new(Codec::None);
    let mut builder = builder.producer(ProducerId(1), ProducerEpoch(0), sequence);
    builder.push(NOW, None, Some(b"value"), &[]).unwrap();
    ValidatedBatch::trusted(builder.build().unwrap())
}

/// A log with `count` batches, one record each, over several segments; all of it synced.
fn filled(disk: &MemoryDisk, count: i32) -> Log<MemoryDisk> {
    let mut log = open(disk, SEGMENT_BYTES);
    log.sync().unwrap();
    for sequence in 0..count {
        log.append(&batch(sequence), EPOCH, NOW).unwrap();
        let dirty = log.take_dirty().unwrap();
        dirty.sync().unwrap();
        log.synced(dirty.token).unwrap();
    }
    log
}

#[test]
fn a_start_that_the_disk_refuses_is_not_the_start() {
    for changes in 0..40 {
        let disk = MemoryDisk::default();
        let mut log = filled(&disk, 12);
        disk.refuse_after(changes);
        let deleted = log.delete_before(Offset::new(7));
        let told = log.start_offset();
        assert!(deleted.is_err() || told == Offset::new(7));
        disk.crash(|_, _| 0, false);
        let log = open(&disk, SEGMENT_BYTES);
        assert!(log.start_offset() >= told, "{changes}: {told} became {}", log.start_offset());
        assert_eq!(log.end_offset(), Offset::new(12));
    }
}

#[test]
fn after_a_failed_sync_none_succeeds() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk, 3);
    log.append(&batch(3), EPOCH, NOW).unwrap();
    disk.refuse_after(0);
    log.delete_before(Offset::new(4)).unwrap_err();
    disk.refuse_after(u64::MAX);
    assert!(log.is_dirty());
    log.take_dirty().unwrap().sync().unwrap_err();
    log.append(&batch(4), EPOCH, NOW).unwrap();
    log.take_dirty().unwrap().sync().unwrap_err();
}

#[test]
fn who_wrote_what_was_deleted_is_remembered() {
    for seed in 0..300 {
        let mut chance = Chance(seed);
        let disk = MemoryDisk::default();
        let mut log = filled(&disk, 12);
        // Retention takes the segment that is being written, too.
        log.maintain(NOW.plus_millis(LogSettings::default().retention_ms.unwrap() + 1)).unwrap();
        assert_eq!(log.start_offset(), Offset::new(12));
        // Later recovery points, synced or not, and what they replace.
        for sequence in 12..12 + i32::try_from(chance.below(6)).unwrap() {
            log.append(&batch(sequence), EPOCH, NOW).unwrap();
            if chance.below(2) == 0 {
                log.sync().unwrap();
            }
        }
        drop(log);
        disk.settle_names(|| chance.below(2) == 0);
        disk.crash(|_, count| chance.index(count + 1), false);
        let mut log = open(&disk, SEGMENT_BYTES);
        let end = log.end_offset().value();
        assert!(end >= 12, "{seed}");
        let next = i32::try_from(end).unwrap();
        let skipped = log.append(&batch(next + 3), EPOCH, NOW).unwrap_err();
        assert_eq!(skipped.code(), ErrorCode::OutOfOrderSequenceNumber, "{seed}");
        let again = log.append(&batch(next - 2), EPOCH, NOW).unwrap();
        assert_eq!(again.header, None, "{seed}: stored twice");
        log.append(&batch(next), EPOCH, NOW).unwrap();
    }
}

#[test]
fn a_start_that_builds_its_indexes_anew_remembers_who_wrote() {
    let disk = MemoryDisk::default();
    filled(&disk, 12).close().unwrap();
    // Without it the segment is walked from its beginning.
    disk.remove("topics/t-0/00000000000000000008.index").unwrap();
    let mut log = open(&disk, SEGMENT_BYTES);
    // What compaction has taken from the log is there and nowhere else.
    assert!(disk.files().contains_key("topics/t-0/00000000000000000012.snapshot"));
    log.maintain(NOW.plus_millis(LogSettings::default().retention_ms.unwrap() + 1)).unwrap();
    drop(log);
    disk.settle_names(|| true);
    disk.crash(|_, _| 0, false);
    let mut log = open(&disk, SEGMENT_BYTES);
    assert_eq!(log.start_offset(), Offset::new(12));
    assert_eq!(log.append(&batch(11), EPOCH, NOW).unwrap().header, None, "stored twice");
}

#[test]
fn a_snapshot_of_what_was_lost_does_not_come_back() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk, 4);
    log.sync().unwrap();
    drop(log);
    // Lost power may leave a snapshot and not the records before it.
    let snapshot = disk.files()["topics/t-0/00000000000000000004.snapshot"].clone();
    let path = "topics/t-0/00000000000000000009.snapshot";
    disk.put(path, snapshot);
    drop(open(&disk, SEGMENT_BYTES));
    disk.crash(|_, _| 0, false);
    assert!(!disk.files().contains_key(path));
}
