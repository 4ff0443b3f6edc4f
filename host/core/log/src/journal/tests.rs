//! A journal gives back what was synced, whatever became of the rest.

use super::*;
use crate::disk::memory::MemoryDisk;

const CAPACITY: ByteSize = ByteSize::kib(64);

fn entry(partition: u32, base: u64, text: &str) -> Entry {
    Entry {
        partition: TopicPartition { topic: TopicId([7; 16]), partition: PartitionIndex(partition) },
        base: Offset::new(base),
        head: Bytes::new(),
        tail: Bytes::copy_from_slice(text.as_bytes()),
    }
}

fn open(disk: &MemoryDisk) -> (Journal<MemoryDisk>, Vec<Entry>) {
    disk.create_folder("journal").unwrap();
    Journal::open(disk, "journal/0", CAPACITY).unwrap()
}

#[test]
fn what_was_written_is_given_back_in_order() {
    let disk = MemoryDisk::default();
    let (mut journal, before) = open(&disk);
    assert_eq!(before, []);
    let first = [entry(1, 0, "one"), entry(2, 5, "two")];
    let second = [entry(1, 1, &"long".repeat(300))];
    journal.write(&first).unwrap();
    journal.write(&second).unwrap();
    let (_, after) = open(&disk);
    assert_eq!(after, [&first[..], &second[..]].concat());
}

#[test]
fn the_parts_of_a_batch_are_put_together() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    let parts = Entry { head: Bytes::from_static(b"he"), ..entry(3, 9, "ad") };
    journal.write(&[parts]).unwrap();
    let (_, after) = open(&disk);
    assert_eq!(after, [entry(3, 9, "head")]);
}

#[test]
fn a_new_generation_comes_after_what_is_left_of_the_old() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    for base in 0..3 {
        journal.write(&[entry(1, base, "old")]).unwrap();
    }
    journal.start_over();
    assert!(journal.is_empty());
    journal.write(&[entry(1, 3, "new")]).unwrap();
    let (mut journal, after) = open(&disk);
    let bases: Vec<u64> = after.iter().map(|entry| entry.base.value()).collect();
    assert_eq!(bases, [1, 2, 3], "the first old frame is overwritten, the others are harmless");
    journal.write(&[entry(1, 4, "newer")]).unwrap();
    let (_, after) = open(&disk);
    assert_eq!(after.last().unwrap().base, Offset::new(4));
}

#[test]
fn a_flipped_bit_costs_only_the_frame_it_is_in() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    let written = [entry(1, 0, "first"), entry(1, 1, "second"), entry(1, 2, "third")];
    for one in &written {
        journal.write(std::slice::from_ref(one)).unwrap();
    }
    let file = journal.file();
    for position in 0..(3 * ALIGNMENT) {
        let mut byte = [0];
        file.read_at(&mut byte, position).unwrap();
        file.write_at(&[&[byte[0] ^ 0x10]], position).unwrap();
        let (_, after) = open(&disk);
        let lost = usize::try_from(position / ALIGNMENT).unwrap();
        for (index, one) in written.iter().enumerate() {
            assert!(index == lost || after.contains(one), "byte {position} cost frame {index}");
        }
        assert!(after.iter().all(|found| written.contains(found)), "byte {position}");
        file.write_at(&[&byte], position).unwrap();
    }
}

#[test]
fn a_frame_cut_anywhere_is_not_believed() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    journal.write(&[entry(1, 0, "whole")]).unwrap();
    let torn = entry(1, 1, &"torn".repeat(400));
    let whole_end = journal.position;
    journal.write(std::slice::from_ref(&torn)).unwrap();
    let end = journal.position;
    let file = journal.file();
    let mut intact = vec![0; usize::try_from(end).unwrap()];
    file.read_at(&mut intact, 0).unwrap();
    for cut in (whole_end..end).step_by(64) {
        file.truncate(cut).unwrap();
        let (_, after) = open(&disk);
        assert_eq!(after.first(), Some(&entry(1, 0, "whole")), "cut at {cut}");
        assert!(!after.contains(&torn) || cut >= end - ALIGNMENT, "cut at {cut}");
        file.write_at(&[&intact], 0).unwrap();
    }
}

#[test]
fn zeroes_that_were_never_written_are_left_out_and_those_in_a_frame_are_not() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    let zeroes = entry(1, 0, &"\0".repeat(20_000));
    journal.write(std::slice::from_ref(&zeroes)).unwrap();
    let behind = entry(2, 0, "behind");
    journal.write(std::slice::from_ref(&behind)).unwrap();
    // A frame that was lost leaves a hole, and what lies behind it is found.
    journal.position = CAPACITY.0 - ALIGNMENT;
    let last = entry(3, 0, "last");
    journal.write(std::slice::from_ref(&last)).unwrap();
    let written = Written::read(&journal.file()).unwrap();
    let bytes: usize = written.stretches.iter().map(ExactSizeIterator::len).sum();
    assert!(bytes <= 4 * 4096, "read {:?}", written.stretches);
    let (_, after) = open(&disk);
    assert_eq!(after, [zeroes, behind, last]);
}

#[test]
fn a_full_journal_says_so() {
    let disk = MemoryDisk::default();
    let (mut journal, _) = open(&disk);
    let large = [entry(1, 0, &"x".repeat(20_000))];
    let mut written = 0;
    while journal.has_room(&large) {
        journal.write(&large).unwrap();
        written += 1;
    }
    assert_eq!(written, 3);
    journal.start_over();
    assert!(journal.has_room(&large));
}
