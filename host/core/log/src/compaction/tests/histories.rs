//! Random histories of a compacted log, cleaned in small steps and with the power lost in between, against
//! the plainest model of what a cleaning leaves.

use std::collections::BTreeSet;

use super::*;

const HISTORIES: u64 = 150;
const STEPS: usize = 40;
const RETENTION_MS: i64 = 300;

#[derive(Clone, Debug, PartialEq, Eq)]
struct Batch {
    base: Offset,
    last: Offset,
    producer: Option<(ProducerId, i32)>,
    control: bool,
    horizon: Option<i64>,
    /// Offset, time, key, and value: none is a tombstone.
    records: Vec<(Offset, i64, String, Option<String>)>,
}

struct World {
    context: String,
    random: u64,
    disk: MemoryDisk,
    log: Log<MemoryDisk>,
    batches: Vec<Batch>,
    sequences: BTreeMap<u64, i32>,
    now: i64,
}

/// What one cleaning is about: how far its segments reach, and what it knows of producers.
struct Scope {
    segments: Vec<(Offset, Offset)>,
    last: BTreeSet<Offset>,
    now: i64,
}

impl World {
    fn new(seed: u64) -> World {
        let disk = MemoryDisk::default();
        let mut world = World {
            context: String::new(),
            random: seed,
            log: open(&disk),
            disk,
            batches: Vec::new(),
            sequences: BTreeMap::new(),
            now: 1000,
        };
        world.configure();
        world.log.sync().unwrap();
        world
    }

    fn configure(&mut self) {
        self.log.settings.min_cleanable_dirty_permille = 0;
        self.log.settings.delete_retention_ms = RETENTION_MS;
    }

    /// SplitMix64.
    fn below(&mut self, limit: u64) -> u64 {
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.random ^ (self.random >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    fn step(&mut self) {
        self.now += i64::try_from(self.below(30)).unwrap();
        match self.below(12) {
            0..8 => self.append(),
            8 => self.log.roll().unwrap(),
            9..11 => self.clean(),
            _ => self.restart(),
        }
    }

    fn append(&mut self) {
        let control = self.below(20) == 0;
        let id = self.below(4);
        let codec = Codec::ALL[usize::try_from(self.below(5)).unwrap()];
        let mut builder = BatchBuilder::new(codec);
        let mut sequence = 0;
        if id > 0 {
            sequence = self.sequences.get(&id).copied().unwrap_or(0);
            builder = builder.producer(ProducerId(id), ProducerEpoch(0), sequence);
        }
        if control {
            builder = builder.attributes(Attributes::default().with_control(true));
        }
        let count = if control { 1 } else { 1 + self.below(4) };
        let mut records = Vec::new();
        let mut offset = self.log.end_offset();
        for _ in 0..count {
            let keys = if self.below(2) == 0 { 5 } else { 100 };
            let key = format!("key {}", self.below(keys));
            let value = (self.below(4) > 0).then(|| format!("{} ....", self.below(1 << 30)));
            let time = self.now - i64::try_from(self.below(40)).unwrap();
            let bytes = value.as_deref().map(str::as_bytes);
            builder.push(Timestamp(time), Some(key.as_bytes()), bytes, &[]).unwrap();
            records.push((offset, time, key, value));
            offset = offset.next();
        }
        let batch = ValidatedBatch::trusted(builder.build().unwrap());
        let stored = self.log.append(&batch, LeaderEpoch(0), Timestamp(self.now)).unwrap();
        self.sequences.insert(id, sequence + i32::try_from(count).unwrap());
        let producer = (id > 0).then_some((ProducerId(id), sequence));
        let (base, last) = (stored.base, stored.last);
        self.batches.push(Batch { base, last, producer, control, horizon: None, records });
    }

    /// Cleans to the end, or until the power goes.
    fn clean(&mut self) {
        self.log.sync().unwrap();
        let keys = usize::try_from(60 + self.below(2000)).unwrap();
        let (count, _) = self.log.assess(Timestamp(self.now));
        let bases = self.log.closed.keys().take(count);
        let scope = Scope {
            segments: bases.map(|base| (*base, self.log.next_base(*base))).collect(),
            last: self.log.producers().iter().filter_map(|(_, it)| it.last_offset()).collect(),
            now: self.now,
        };
        let job = self.log.begin_compaction(Timestamp(self.now), within(keys));
        let Some(mut job) = job else { return };
        let patience = self.below(20);
        for step in 0.. {
            let cleaning = job.run(&|| true).unwrap();
            let learnt_until = cleaning.learnt_until.unwrap();
            let power_goes = |at| at == patience;
            if power_goes(2 * step) {
                return self.lose_power(&scope, learnt_until);
            }
            match self.log.advance_compaction(cleaning).unwrap() {
                None => break,
                Some(_) if power_goes(2 * step + 1) => {
                    return self.lose_power(&scope, learnt_until);
                }
                Some(next) => job = next,
            }
        }
        let learnt_until = self.log.compacted.clean_until;
        self.batches = self
            .batches
            .iter()
            .filter_map(|it| scope.left(it, learnt_until, &self.batches))
            .collect();
        self.check();
    }

    /// Afterwards each batch is as it was, or as the cleaning leaves it.
    fn lose_power(&mut self, scope: &Scope, learnt_until: Offset) {
        let mut bits = self.below(u64::MAX);
        let mut pick = || {
            bits = bits.rotate_left(1);
            bits & 1 == 1
        };
        self.disk.settle_names(&mut pick);
        self.disk.crash(|_, count| if pick() { count } else { 0 }, false);
        self.log = open(&self.disk);
        self.configure();
        let found = batches(&self.log);
        let mut left = found.iter().peekable();
        for before in &self.batches {
            let after = scope.left(before, learnt_until, &self.batches);
            match left.next_if(|found| found.base == before.base) {
                None => assert_eq!(after, None, "{}: {before:?} is gone", self.context),
                Some(found) => {
                    let as_before = found == before;
                    assert!(
                        as_before || Some(found) == after.as_ref(),
                        "{}: {found:?}",
                        self.context
                    );
                }
            }
        }
        assert_eq!(left.next(), None, "{}", self.context);
        self.batches = found;
        self.check();
    }

    fn restart(&mut self) {
        let log = std::mem::replace(&mut self.log, open(&MemoryDisk::default()));
        log.close().unwrap();
        self.log = open(&self.disk);
        self.configure();
        self.check();
    }

    fn check(&mut self) {
        let context = &self.context;
        assert!(self.log.holes().is_empty(), "{context}");
        assert_eq!(batches(&self.log), self.batches, "{context}");
        for (id, next) in self.sequences.iter().filter(|(id, _)| **id > 0) {
            let known = self.log.producers().iter().find(|(known, _)| known.0 == *id);
            let last = known.and_then(|(_, producer)| producer.last_sequence());
            assert_eq!(last.map(i64::from), Some(i64::from(*next) - 1), "{context}: producer {id}");
        }
        let time = self.now - i64::try_from(self.below(400)).unwrap();
        let mut records = self.batches.iter().flat_map(|batch| &batch.records);
        let first = records.find(|record| record.1 >= time);
        let found = self.log.offset_for_time(Timestamp(time)).unwrap();
        assert_eq!(found.map(|it| it.1), first.map(|it| it.0), "{}: {time}", self.context);
    }
}

impl Scope {
    /// What a cleaning that has learnt everything before `learnt_until` leaves of a batch.
    fn left(&self, batch: &Batch, learnt_until: Offset, all: &[Batch]) -> Option<Batch> {
        let holds = |(base, end): &(Offset, Offset)| *base <= batch.base && batch.base < *end;
        let segment = self.segments.iter().find(|segment| holds(segment));
        if batch.control || segment.is_none_or(|(base, _)| *base >= learnt_until) {
            return Some(batch.clone());
        }
        let data = all.iter().filter(|batch| !batch.control);
        let known = data.flat_map(|batch| &batch.records).filter(|it| it.0 < learnt_until);
        let latest: BTreeMap<&String, Offset> = known.map(|it| (&it.2, it.0)).collect();
        let expired = batch.horizon.is_some_and(|horizon| self.now >= horizon);
        let mut left = batch.clone();
        left.records.retain(|(offset, _, key, value)| {
            let survives = latest.get(key) == Some(offset) && (value.is_some() || !expired);
            *offset >= learnt_until || survives
        });
        if left.records.is_empty() {
            left.horizon = None;
            return self.last.contains(&batch.last).then_some(left);
        }
        let is_new =
            |it: &&(Offset, i64, String, Option<String>)| it.3.is_none() && it.0 < learnt_until;
        if left.horizon.is_none() && left.records.iter().any(|it| is_new(&it)) {
            left.horizon = Some(self.now + RETENTION_MS);
        }
        Some(left)
    }
}

/// Every batch that can be read.
fn batches(log: &Log<MemoryDisk>) -> Vec<Batch> {
    let mut batches = Vec::new();
    let mut next = log.start_offset();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), 2000, true).unwrap();
        let chunks = plan.run(&mut Buffers::default()).unwrap();
        if chunks.is_empty() {
            break;
        }
        for split in batch::split(&chunks.concat()) {
            let (header, bytes) = split.unwrap();
            let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
            let records = batch::records(bytes).unwrap();
            let records = records
                .iter()
                .map(Result::unwrap)
                .map(|it| (it.offset, it.timestamp.0, text(it.key.unwrap()), it.value.map(text)));
            next = header.last_offset().next();
            batches.push(Batch {
                base: header.base_offset(),
                last: header.last_offset(),
                producer: header.producer_id.map(|id| (id, header.base_sequence)),
                control: header.attributes.is_control(),
                horizon: header.attributes.has_delete_horizon().then_some(header.base_timestamp.0),
                records: records.collect(),
            });
        }
    }
    batches
}

#[test]
fn what_is_left_is_what_the_definition_says() {
    for seed in 0..HISTORIES {
        let mut world = World::new(seed);
        for step in 0..STEPS {
            world.context = format!("history {seed}, step {step}");
            world.step();
        }
        world.check();
    }
}
