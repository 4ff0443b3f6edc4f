//! Every byte flipped, every file cut, replaced by garbage, or gone.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::{Disk, Log};
use brooklet_types::LeaderEpoch;

use crate::support::{Chance, Known, batch, compare, open, write};

const SEGMENT_BYTES: u32 = 1_000;

/// A small log over several segments and epochs, with everything in it synced.
fn filled(disk: &MemoryDisk) -> (Log<MemoryDisk>, Vec<Known>) {
    let mut log = open(disk, SEGMENT_BYTES);
    let mut chance = Chance(1);
    let mut known = Vec::new();
    for number in 0..16 {
        let batch = batch(&mut chance, 150);
        known.push(write(&mut log, &batch, LeaderEpoch(1 + number / 6)));
    }
    log.sync().unwrap();
    (log, known)
}

/// Both ends of a run: closed in order, or killed with padding behind the data and batches behind
/// the recovery point.
fn disks() -> Vec<(&'static str, MemoryDisk, Vec<Known>)> {
    let closed = MemoryDisk::default();
    let (log, mut known) = filled(&closed);
    log.close().unwrap();
    let killed = MemoryDisk::default();
    let (mut log, _) = filled(&killed);
    let before = known.clone();
    let mut chance = Chance(2);
    for _ in 0..3 {
        let batch = batch(&mut chance, 90);
        known.push(write(&mut log, &batch, LeaderEpoch(4)));
    }
    drop(log);
    killed.settle();
    vec![("closed", closed, before), ("killed", killed, known)]
}

/// Opens and reads a damaged copy; says how many records are lost.
fn survive(
    disk: &MemoryDisk,
    path: &str,
    damaged: Option<Vec<u8>>,
    known: &[Known],
    gaps: bool,
    context: &str,
) -> u64 {
    let copy = disk.copy();
    match damaged {
        Some(bytes) => copy.put(path, bytes),
        None => copy.remove(path).unwrap(),
    }
    let mut log = open(&copy, SEGMENT_BYTES);
    let mut lost = compare(&log, known, gaps, context);
    let end = known.last().unwrap().last.next();
    assert!(log.end_offset() <= end, "{context}: ends at {}", log.end_offset());
    lost += end.distance_from(log.end_offset());
    lost += log.start_offset().value();
    // And it goes on: what is appended is read, now and after another start.
    let mut known: Vec<Known> =
        known.iter().filter(|known| known.last < log.end_offset()).cloned().collect();
    known.push(write(&mut log, &batch(&mut Chance(3), 100), LeaderEpoch(5)));
    let again = compare(&log, &known, gaps, context);
    log.close().unwrap();
    let log = open(&copy, SEGMENT_BYTES);
    assert_eq!(log.end_offset(), known.last().unwrap().last.next(), "{context}");
    assert_eq!(compare(&log, &known, gaps, context), again, "{context}, after another start");
    lost
}

#[test]
fn a_flipped_bit_costs_one_batch_at_most_and_is_never_served() {
    for (name, disk, known) in disks() {
        let last = &known.last().unwrap().bytes;
        for (path, bytes) in disk.files() {
            // The epoch of the very last batch: nothing says that it is wrong until the next one
            // is appended.
            let at = bytes.windows(last.len()).position(|part| part == last);
            let blind = at.filter(|_| name == "killed").map_or(0..0, |at| at + 12..at + 16);
            for index in (0..bytes.len()).filter(|index| !blind.contains(index)) {
                for mask in [1 << (index % 8), 0xff] {
                    let context = format!("{name}: {path}, byte {index} ^ {mask:#x}");
                    let mut damaged = bytes.clone();
                    damaged[index] ^= mask;
                    let lost = survive(&disk, &path, Some(damaged), &known, false, &context);
                    assert!(lost <= 3, "{context}: {lost} records lost");
                }
            }
        }
    }
}

#[test]
fn a_cut_file_a_lost_one_and_garbage_are_never_served() {
    let mut chance = Chance(4);
    for (name, disk, known) in disks() {
        for (path, bytes) in disk.files() {
            let lost = survive(&disk, &path, None, &known, true, &format!("{name}: no {path}"));
            let a_shortcut = !path.ends_with(".log");
            assert!(lost == 0 || !a_shortcut, "{name}: {lost} records lost with {path}");
            for length in 0..bytes.len() {
                let context = format!("{name}: {path} cut to {length}");
                let lost =
                    survive(&disk, &path, Some(bytes[..length].to_vec()), &known, true, &context);
                assert!(lost == 0 || !a_shortcut, "{context}: {lost} records lost");
            }
            for round in 0..40 {
                let mut garbage = bytes.clone();
                match round % 4 {
                    0 => garbage = chance.bytes(bytes.len()),
                    1 => garbage.extend(chance.bytes(200)),
                    2 => garbage.fill(0),
                    _ => {
                        let at = chance.index(bytes.len());
                        let more = chance.bytes(80);
                        garbage.truncate(at);
                        garbage.extend(more);
                        garbage.extend_from_slice(&bytes[at..]);
                    }
                }
                let context = format!("{name}: {path}, garbage {round}");
                let lost = survive(&disk, &path, Some(garbage), &known, true, &context);
                assert!(lost == 0 || !a_shortcut, "{context}: {lost} records lost");
            }
        }
    }
}
