//! Random work on a log, and the power lost in between, again and again.
//!
//! A seed is the whole run: `SURVIVAL_SEED=n cargo test -p brooklet-log --test survival` repeats
//! one, `SURVIVAL_SEEDS=n` plays that many.

use brooklet_log::disk::memory::MemoryDisk;
use std::collections::BTreeSet;

use brooklet_log::journal::{Entry, Journal};
use brooklet_log::producer::Verdict;
use brooklet_log::{Dirty, Disk, DiskFile, Log};
use brooklet_types::TopicPartition;
use brooklet_types::{ByteSize, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId};
use brooklet_types::{ProducerEpoch, ProducerId};
use brooklet_wire::batch::{BatchBuilder, BatchHeader};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use crate::support::{Chance, Known, SEGMENT_BYTES, compare, fill, open, write};

const SEEDS: u64 = 400;
const STEPS: usize = 60;
const JOURNAL: &str = "journal/0";
const PARTITION: TopicPartition =
    TopicPartition { topic: TopicId([1; 16]), partition: PartitionIndex(0) };

/// A log, its journal, and what is known of both.
struct World {
    context: String,
    chance: Chance,
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    journal: Journal<MemoryDisk>,
    journaling: bool,
    /// Whether a write was ever cut within a page.
    torn: bool,
    /// Batches that no finished sync covers yet, for the journal.
    since: Vec<Known>,
    known: Vec<Known>,
    start: Offset,
    durable: Offset,
    epoch: u32,
    /// A sync under way, and where the log ended when it began.
    under_way: Option<(Dirty<MemoryDisk>, Offset)>,
}

impl World {
    fn new(seed: u64) -> World {
        let disk = MemoryDisk::default();
        disk.create_folder("journal").unwrap();
        let log = open(&disk, SEGMENT_BYTES);
        let (journal, _) = Journal::open(&disk, JOURNAL, ByteSize::kib(64)).unwrap();
        World {
            context: format!("SURVIVAL_SEED={seed}"),
            chance: Chance(seed),
            disk,
            log,
            journal,
            torn: false,
            journaling: seed % 2 == 1,
            since: Vec::new(),
            known: Vec::new(),
            start: Offset::ZERO,
            durable: Offset::ZERO,
            epoch: 0,
            under_way: None,
        }
    }

    fn step(&mut self) {
        match self.chance.below(20) {
            0..=8 => self.append(),
            9..=10 => self.begin_sync(),
            11..=12 => self.end_sync(),
            13..=14 if self.journaling => self.journal_turn(),
            13 => self.truncate(),
            14 => self.epoch += 1,
            15 => self.delete(),
            16 => self.log.maintain(Timestamp(1_000_500)).unwrap(),
            17 => self.sync_all(),
            18 if self.chance.below(3) == 0 => self.restart(),
            _ if self.chance.below(3) == 0 => self.lose_power(),
            _ => self.append(),
        }
    }

    fn append(&mut self) {
        let largest = [40, 300, 2_000, 12_000][self.chance.index(4)];
        let value_bytes = self.chance.index(largest);
        let id = ProducerId::from_wire(i64::try_from(self.chance.below(3)).unwrap()).unwrap();
        let last = self.log.producers().iter().find(|(known, _)| *known == id);
        let sequence = last.and_then(|(_, producer)| producer.last_sequence());
        let sequence = i32::try_from(sequence.map_or(0, |sequence| sequence + 1)).unwrap();
        let builder = BatchBuilder::new(Codec::None).producer(id, ProducerEpoch(0), sequence);
        let batch = fill(builder, &mut self.chance, value_bytes);
        let known = write(&mut self.log, &batch, LeaderEpoch(self.epoch));
        self.since.push(known.clone());
        self.known.push(known);
    }

    fn begin_sync(&mut self) {
        if self.under_way.is_none() {
            let end = self.log.end_offset();
            self.under_way = self.log.take_dirty().map(|dirty| (dirty, end));
        }
    }

    fn end_sync(&mut self) {
        let Some((dirty, end)) = self.under_way.take() else { return };
        dirty.sync().unwrap();
        self.log.synced(dirty.token).unwrap();
        self.durable = self.durable.max(end);
        self.since.retain(|known| known.base >= end);
        assert_eq!(self.log.durable_end(), self.durable, "{}", self.context);
    }

    /// Makes what was appended since the last sync durable in the journal.
    fn journal_turn(&mut self) {
        // The shard has one sync at a time.
        self.end_sync();
        let entries: Vec<Entry> = self.since.iter().map(entry).collect();
        if entries.is_empty() {
            return;
        }
        if !self.journal.has_room(&entries) {
            return self.sync_all();
        }
        self.journal.write(&entries).unwrap();
        self.journal.file().sync().unwrap();
        self.durable = self.log.end_offset();
        self.log.journaled(self.durable);
        self.since.clear();
    }

    fn sync_all(&mut self) {
        self.end_sync();
        self.begin_sync();
        self.end_sync();
        self.journal.start_over();
    }

    fn delete(&mut self) {
        let to = self.some_offset();
        self.log.delete_before(to).unwrap();
        self.start = self.start.max(to);
        // It makes durable what it lets go of.
        self.durable = self.durable.max(self.log.durable_end());
    }

    fn truncate(&mut self) {
        let to = self.some_offset();
        if to == self.log.end_offset() {
            return;
        }
        // It vouches for nothing any more.
        self.under_way = None;
        self.log.truncate_to(to).unwrap();
        self.known.retain(|known| known.last < to.max(self.start));
        self.since.clear();
        let end = self.log.end_offset();
        assert_eq!(end, self.known.last().map_or(end, |known| known.last.next()));
        self.durable = end;
        self.start = self.start.min(end);
        self.epoch += 1;
    }

    /// Every producer's last batch is known to be there already.
    fn check_producers(&self) {
        let mut seen = BTreeSet::new();
        for known in self.known.iter().rev().filter(|known| known.base >= self.start) {
            let header = BatchHeader::parse(&known.bytes).unwrap();
            if seen.insert(header.producer_id) && !self.torn {
                let verdict = self.log.producers().check(&header).unwrap();
                let expected = Verdict::Duplicate { base: known.base, last: known.last };
                assert_eq!(verdict, expected, "{}", self.context);
            }
        }
    }

    /// An offset in the last third of the log.
    fn some_offset(&mut self) -> Offset {
        let (start, end) = (self.start, self.log.end_offset());
        let third = end.distance_from(start) / 3;
        Offset::new(end.value() - self.chance.below(third + 1))
    }

    /// An end in order, or a process that was killed while the kernel lives on.
    fn restart(&mut self) {
        if self.chance.below(2) == 0 {
            let disk = self.disk.clone();
            let log = std::mem::replace(&mut self.log, open(&MemoryDisk::default(), 1 << 20));
            log.close().unwrap();
            disk.crash(|_, _| 0, false);
        } else {
            self.disk.settle();
        }
        self.durable = self.known.last().map_or(self.durable, |known| known.last.next());
        self.reopen();
    }

    fn lose_power(&mut self) {
        let (how, torn) = (self.chance.below(4), self.chance.below(2) == 0);
        let chance = &mut self.chance;
        let disk = self.disk.clone();
        match how {
            0 => disk.crash(|_, _| 0, false),
            1 => {
                self.torn |= torn;
                disk.crash(|_, count| chance.index(count + 1), torn);
            }
            2 => disk.crash_by_page(|count| chance.index(count + 1)),
            // Most was written back already.
            _ => disk.crash_by_page(|count| count - (chance.index(8) / 7).min(count)),
        }
        self.reopen();
    }

    fn reopen(&mut self) {
        self.under_way = None;
        self.since.clear();
        self.log = open(&self.disk, SEGMENT_BYTES);
        let (journal, entries) = Journal::open(&self.disk, JOURNAL, ByteSize::kib(64)).unwrap();
        self.journal = journal;
        let context = self.context.clone();
        let taken = self.log.take_journal(&entries).unwrap();
        assert!(taken == 0 || self.journaling);
        let end = self.log.end_offset();
        assert!(end >= self.durable, "{context}: ends at {end}, durable was {}", self.durable);
        assert!(self.known.last().is_none_or(|known| end <= known.last.next()), "{context}");
        assert_eq!(self.log.start_offset(), self.start, "{context}: the start");
        self.known.retain(|known| known.last < end);
        assert_eq!(self.known.last().map_or(end, |known| known.last.next()), end, "{context}");
        for hole in self.log.holes() {
            // Half a page looks like damage, and what lies behind damage is kept.
            let known = self.known.iter().any(|known| known.base == hole.from);
            assert!(!known || (self.torn && hole.from >= self.durable), "{context}: {hole:?}");
            self.known.retain(|known| known.base < hole.from || known.base >= hole.next);
        }
        let read = self.known.iter().map(|k| k.last.next().distance_from(k.base.max(self.start)));
        let missing = end.distance_from(self.start) - read.sum::<u64>();
        let lost = compare(&self.log, &self.known, self.torn, &context);
        assert_eq!(lost, missing, "{context}: records lost");
        self.check_producers();
        // A shard syncs what it found before it goes on.
        self.begin_sync();
        self.end_sync();
    }
}

fn entry(known: &Known) -> Entry {
    let tail = Bytes::from(known.bytes.clone());
    Entry { partition: PARTITION, base: known.base, head: Bytes::new(), tail }
}

fn run(seed: u64) -> MemoryDisk {
    let mut world = World::new(seed);
    for step in 0..STEPS {
        world.context = format!("SURVIVAL_SEED={seed}, step {step}");
        world.step();
    }
    world.lose_power();
    world.disk
}

#[test]
fn after_lost_power_the_log_is_a_prefix_with_everything_durable() {
    #[expect(clippy::disallowed_methods, reason = "a seed to repeat is named from outside")]
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    match number("SURVIVAL_SEED") {
        Some(seed) => drop(run(seed)),
        None => (0..number("SURVIVAL_SEEDS").unwrap_or(SEEDS)).for_each(|seed| drop(run(seed))),
    }
}

#[test]
fn a_seed_repeats_every_byte() {
    assert!(run(7).files() == run(7).files());
}
