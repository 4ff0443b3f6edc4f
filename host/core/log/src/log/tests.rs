//! The log as a whole, on a disk in memory.

use brooklet_types::Timestamp;
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;

use super::*;
use crate::buffers::Buffers;
use crate::disk::memory::MemoryDisk;
use crate::tail::TailBudget;

fn batch(number: i64) -> Bytes {
    let mut builder = BatchBuilder::new(Codec::None);
    let value = vec![u8::try_from(number % 251).unwrap(); 300];
    builder.push(Timestamp(1_000 + number), None, Some(&value), &[]).unwrap();
    builder.push(Timestamp(1_000 + number), None, Some(b"second"), &[]).unwrap();
    builder.build().unwrap()
}

fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let settings = LogSettings {
        segment_bytes: 8 << 10,
        index_interval_bytes: 1024,
        disk_reserve: brooklet_types::ByteSize(0),
        ..LogSettings::default()
    };
    // Without a tail, every read goes to the files.
    Log::open(disk.clone(), "topics/t-0", settings, TailBudget::new(0)).unwrap()
}

fn read(log: &Log<MemoryDisk>, from: Offset) -> Result<Vec<u8>, ReadError> {
    let plan = log.read(from, log.end_offset(), 1 << 20, true)?;
    Ok(plan.run(&mut Buffers::default())?.concat())
}

fn filled(disk: &MemoryDisk) -> Log<MemoryDisk> {
    let mut log = open(disk);
    for number in 0..100 {
        let stored = log.write(&batch(number), LeaderEpoch(1)).unwrap();
        assert_eq!(stored.base.value(), u64::try_from(number).unwrap() * 2);
    }
    log
}

#[test]
fn what_was_written_is_read_before_and_after_a_start() {
    let disk = MemoryDisk::default();
    let log = filled(&disk);
    assert!(log.segment_count() > 3);
    let whole = read(&log, Offset::ZERO).unwrap();
    let middle = read(&log, Offset::new(101)).unwrap();
    assert!(whole.ends_with(&middle));
    assert_eq!(middle[..8], 100_i64.to_be_bytes());
    log.close().unwrap();
    let log = open(&disk);
    assert_eq!(log.end_offset(), Offset::new(200));
    assert_eq!(read(&log, Offset::ZERO).unwrap(), whole);
}

#[test]
fn what_was_synced_survives_the_power_and_the_rest_is_a_prefix() {
    for kept in 0..4 {
        let disk = MemoryDisk::default();
        let mut log = filled(&disk);
        let dirty = log.take_dirty().unwrap();
        dirty.sync().unwrap();
        log.synced(dirty.token).unwrap();
        for number in 100..103 {
            log.write(&batch(number), LeaderEpoch(1)).unwrap();
        }
        let whole = read(&log, Offset::ZERO).unwrap();
        drop(log);
        disk.crash(|_, _| kept, true);
        let log = open(&disk);
        assert!(log.end_offset() >= Offset::new(200), "{kept}: {}", log.end_offset());
        assert!(whole.starts_with(&read(&log, Offset::ZERO).unwrap()), "{kept}");
    }
}

#[test]
fn a_flipped_bit_is_never_served_and_takes_nothing_along() {
    let disk = MemoryDisk::default();
    let log = filled(&disk);
    log.close().unwrap();
    let whole = read(&open(&disk), Offset::ZERO).unwrap();
    for (path, bytes) in disk.files() {
        for index in (0..bytes.len()).step_by(37) {
            let copy = disk.copy();
            let mut damaged = bytes.clone();
            damaged[index] ^= 4;
            copy.put(&path, damaged);
            let log = open(&copy);
            let mut from = log.start_offset();
            let mut lost = 0;
            while from < log.end_offset() {
                match read(&log, from) {
                    Ok(bytes) => {
                        let found = whole.windows(bytes.len()).any(|part| part == bytes);
                        assert!(found && !bytes.is_empty(), "{path} at {index}, from {from}");
                        let last = brooklet_wire::batch::split(&bytes).last().unwrap().unwrap();
                        from = last.0.last_offset().next();
                    }
                    Err(ReadError::Corrupt { next, .. }) => {
                        lost += next.distance_from(from);
                        from = next;
                    }
                    Err(error) => panic!("{path} at {index}: {error}"),
                }
            }
            assert!(lost <= 2, "{path} at {index}: {lost} records lost");
        }
    }
}

#[test]
fn truncation_and_deletion_move_the_ends() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    log.truncate_to(Offset::new(151)).unwrap();
    assert_eq!(log.end_offset(), Offset::new(150));
    log.delete_before(Offset::new(60)).unwrap();
    drop(log);
    disk.crash(|_, _| 0, false);
    let mut log = open(&disk);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::new(60), Offset::new(150)));
    assert!(read(&log, Offset::new(59)).is_err());
    assert_eq!(log.write(&batch(0), LeaderEpoch(2)).unwrap().base, Offset::new(150));
    assert_eq!(log.epoch_end(LeaderEpoch(1)), Some((LeaderEpoch(1), Offset::new(150))));
}
