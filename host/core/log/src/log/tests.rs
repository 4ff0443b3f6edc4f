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
fn behind_damage_an_offset_out_of_reach_is_damage_too() {
    let disk = MemoryDisk::default();
    filled(&disk).close().unwrap();
    let path = "topics/t-0/00000000000000000000.log";
    let mut bytes = disk.files()[path].clone();
    let length = batch(0).len();
    bytes[length + 100] ^= 1;
    // The next one is whole, and claims an offset of many billions.
    bytes[2 * length + 2] ^= 1;
    disk.put(path, bytes);
    disk.remove("topics/t-0/brooklet-checkpoint").unwrap();
    let log = open(&disk);
    assert_eq!(log.end_offset(), Offset::new(200));
    let lost: Vec<_> = log.holes().iter().map(|it| (it.from.value(), it.next.value())).collect();
    assert_eq!(lost, [(2, 6)]);
}

#[test]
fn a_bad_batch_that_ends_in_zeroes_was_cut_short_only_where_it_may_never_have_been_written() {
    let zeroes = |number: i64| {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(Timestamp(1_000 + number), None, Some(&[0; 3000]), &[]).unwrap();
        builder.build().unwrap()
    };
    let (durable, page) = (true, 4096);
    // Whether the batch had been synced, and the byte that is flipped in the last of its segment:
    // one in a page of its own zeroes, one elsewhere.
    for (synced, at, lost) in [
        (durable, 3500, Some((1, 2))),
        (durable, page + 1000, Some((1, 2))),
        (!durable, 3500, None),
    ] {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        log.sync().unwrap();
        for number in 0..4 {
            log.write(&zeroes(number), LeaderEpoch(1)).unwrap();
        }
        assert_eq!(log.active.base, Offset::new(2));
        if synced {
            log.sync().unwrap();
        }
        drop(log);
        disk.settle();
        let mut bytes = disk.files()["topics/t-0/00000000000000000000.log"].clone();
        bytes[at] ^= 1;
        disk.put("topics/t-0/00000000000000000000.log", bytes);
        // So that the segment is read, though the point lies behind it.
        disk.remove("topics/t-0/00000000000000000000.index").unwrap();
        let log = open(&disk);
        let hole = log.holes().first().map(|hole| (hole.from.value(), hole.next.value()));
        assert_eq!(hole, lost, "{synced} {at}");
        let end = if synced { 4 } else { 1 };
        assert_eq!(log.end_offset(), Offset::new(end), "{synced} {at}");
    }
}

#[test]
fn a_start_that_moves_back_with_the_end_stays_there() {
    let disk = MemoryDisk::default();
    let mut log = open(&disk);
    log.write(&batch(0), LeaderEpoch(1)).unwrap();
    log.delete_before(Offset::new(1)).unwrap();
    log.truncate_to(Offset::new(1)).unwrap();
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::ZERO, Offset::ZERO));
    log.write(&batch(0), LeaderEpoch(2)).unwrap();
    let dirty = log.take_dirty().unwrap();
    dirty.sync().unwrap();
    log.synced(dirty.token).unwrap();
    drop(log);
    disk.crash(|_, _| 0, false);
    let log = open(&disk);
    assert_eq!((log.start_offset(), log.end_offset()), (Offset::ZERO, Offset::new(2)));
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

#[test]
fn a_log_that_is_removed_while_it_is_synced_is_no_failure() {
    let disk = MemoryDisk::default();
    let mut log = filled(&disk);
    let dirty = log.take_dirty().unwrap();
    drop(log);
    disk.remove("topics/t-0").unwrap();
    let gone = disk.sync_folder("topics/t-0").unwrap_err();
    assert_eq!(gone.kind(), io::ErrorKind::NotFound);
    dirty.sync().unwrap();
}
