//! One log, one producer of each kind, one disk, and what a seed does to them: appends, copies from a leader,
//! syncs through files or the journal, cleaning, cuts and lost power.

mod follow;
pub mod invariants;
pub mod oracle;
mod paper;

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use brooklet_log::compaction::{Cleaning, CompactError, Job, Keys};
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{AppendError, Buffers, Disk, DiskFile, Log, LogSettings, TailBudget};
use brooklet_types::{ByteSize, LeaderEpoch, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use crate::Outcome;
use crate::log::invariants::{nothing_acknowledged_is_lost, reads_return_what_was_written};
use crate::log::oracle::{Oracle, Written};
use crate::log::paper::Paper;
use crate::prng::Prng;

const FOLDER: &str = "topics/t-0";

/// Steps of one history.
const STEPS: u32 = 150;

/// A bug planted on purpose, so that a simulation that has gone blind is noticed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Bug {
    /// None.
    None,
    /// Batches are acknowledged when they are written, before they are synced.
    AcknowledgeBeforeSync,
    /// The cleaner's clock gains an hour with each cleaning, and tombstones go too early.
    CleanTooEarly,
    /// What a journal has of before a cut looks as if it came from the newest leader.
    BelieveStaleJournal,
    /// Batches go to the journal that the log wants to have synced with its files.
    TrustJournalWithAnyEpoch,
}

struct World {
    prng: Prng,
    bug: Bug,
    disk: MemoryDisk,
    /// Whether bits flip: afterwards less can be asked for.
    flips: bool,
    /// How much of what can go wrong does, in a hundred: without pauses nothing is ever finished.
    storms: u64,
    settings: LogSettings,
    log: Option<Log<MemoryDisk>>,
    paper: Option<Paper>,
    oracle: Oracle,
    /// The last batch of the idempotent producer, its base offset, and the sequence that follows.
    last_batch: Option<(ValidatedBatch, u64)>,
    sequence: i32,
    epoch: u32,
    clock: i64,
    /// A cleaning between two of its steps.
    cleaning: Option<Stage>,
    history: String,
}

/// Whose turn it is in a cleaning.
enum Stage {
    /// The cleaner's.
    Job(Box<Job<MemoryDisk>>),
    /// The log's.
    Done(Box<Cleaning>),
}

/// Lives one history, of a topic that is compacted or of one that is not.
pub fn simulate(seed: u64, bug: Bug) -> Outcome {
    let mut world = World::new(seed, bug);
    for _ in 0..STEPS {
        let result = world.step();
        if let Err(violation) = result {
            return Outcome { history: world.history, violation: Some(violation) };
        }
    }
    // Healed: one more start without faults, and everything is looked at.
    let violation = world.lose_power().and_then(|()| world.check()).err();
    Outcome { history: world.history, violation }
}

impl World {
    fn new(seed: u64, bug: Bug) -> World {
        let mut prng = Prng::new(seed);
        let compact = prng.chance(50);
        let settings = LogSettings {
            segment_bytes: u32::try_from(600 + prng.below(4000)).expect("small"),
            index_interval_bytes: u32::try_from(1 + prng.below(800)).expect("small"),
            compact,
            delete: false,
            delete_retention_ms: i64::try_from(prng.below(2000)).expect("small"),
            min_cleanable_dirty_permille: u32::try_from(prng.below(900)).expect("small"),
            min_compaction_lag_ms: i64::try_from(prng.below(2) * prng.below(200)).expect("small"),
            disk_reserve: ByteSize(0),
            ..LogSettings::default()
        };
        let disk = MemoryDisk::new(ByteSize::mib(8));
        let (flips, storms) = (prng.chance(40), prng.below(101));
        let mut world = World {
            prng,
            bug,
            disk,
            flips,
            storms,
            settings: settings.clone(),
            log: None,
            paper: None,
            oracle: Oracle::new(&settings),
            last_batch: None,
            sequence: 0,
            epoch: 0,
            clock: 1000,
            cleaning: None,
            history: String::new(),
        };
        world.open().expect("an empty disk opens");
        world.log().sync().expect("an empty disk has room");
        world
    }

    /// Opens the log and takes from the journal what it lacks; says how many batches that were.
    fn open(&mut self) -> Result<usize, String> {
        let tail = TailBudget::new(if self.prng.chance(50) { 0 } else { 2000 });
        let mut log = Log::open(self.disk.clone(), FOLDER, self.settings.clone(), tail)
            .map_err(|error| format!("start: {error}"))?;
        let (paper, mut entries) = Paper::open(&self.disk)?;
        if self.bug == Bug::BelieveStaleJournal {
            paper::rejuvenate(&mut entries, self.epoch);
        }
        let taken = log.take_journal(&entries).map_err(|error| format!("journal: {error}"))?;
        (self.log, self.paper) = (Some(log), Some(paper));
        Ok(taken)
    }

    fn log(&mut self) -> &mut Log<MemoryDisk> {
        self.log.as_mut().expect("open between steps")
    }

    fn note(&mut self, what: std::fmt::Arguments<'_>) {
        let log = self.log.as_ref().expect("open between steps");
        let (start, end) = (log.start_offset(), log.end_offset());
        writeln!(self.history, "{what}: {start}..{end}").expect("a String takes everything");
    }

    fn step(&mut self) -> Result<(), String> {
        self.clock += i64::try_from(self.prng.below(50)).expect("small");
        match self.prng.below(100) {
            0..30 => self.append(),
            30..45 => self.copy(),
            45..53 => self.sync(),
            53..60 => self.journal(),
            60..66 => self.append_again(),
            66..75 => self.compact(),
            75..78 if self.storm() => self.cut(),
            78..81 => self.delete(),
            81..89 if self.storm() => self.lose_power(),
            89..92 => self.restart(),
            92..93 if self.flips => self.flip(),
            93..94 if self.storm() => self.begin_anew(),
            _ => self.check(),
        }
    }

    /// Whether what would go wrong does.
    fn storm(&mut self) -> bool {
        self.prng.chance(self.storms)
    }

    fn codec(&mut self) -> Codec {
        Codec::ALL[usize::try_from(self.prng.below(5)).expect("small")]
    }

    fn append(&mut self) -> Result<(), String> {
        let mut builder = BatchBuilder::new(self.codec());
        let idempotent = self.prng.chance(60);
        if idempotent {
            let epoch = ProducerEpoch(u16::try_from(self.epoch).expect("few losses of power"));
            builder = builder.producer(ProducerId(1), epoch, self.sequence);
        }
        let (batch, records) = self.fill(builder)?;
        let count = records.len();
        let batch = ValidatedBatch::trusted(batch);
        let (epoch, now) = (LeaderEpoch(self.epoch), Timestamp(self.clock));
        let appended = match self.log().append(&batch, epoch, now) {
            Ok(appended) => appended,
            // With a batch its producer's sequence is gone: the client begins anew.
            Err(AppendError::Producer(_)) if self.oracle.damaged => {
                self.new_producer();
                return Ok(());
            }
            Err(error) => return Err(format!("append: {error}")),
        };
        self.paper().wrote(appended.base, appended.header, batch.bytes());
        let base = appended.base.value();
        self.wrote(base, records)?;
        if idempotent {
            self.sequence += i32::try_from(count).expect("small");
            self.last_batch = Some((batch, base));
        }
        if self.bug == Bug::AcknowledgeBeforeSync {
            self.oracle.acknowledged = appended.last.next().value();
        }
        self.note(format_args!("append {count}"));
        Ok(())
    }

    /// Some records, and the batch that they make.
    fn fill(&mut self, mut builder: BatchBuilder) -> Result<(Bytes, Vec<Written>), String> {
        let count = 1 + self.prng.below(4);
        let mut records: Vec<Written> = Vec::new();
        for _ in 0..count {
            // Some keys come again and again, most never.
            let keys = if self.prng.chance(70) { 6 } else { 500 };
            let key = format!("key {}", self.prng.below(keys));
            let length = usize::try_from(self.prng.below(300)).expect("small");
            let value = format!("{} {}", self.prng.below(1 << 40), "x".repeat(length));
            let value = (!self.prng.chance(15)).then_some(value);
            let bytes = value.as_ref().map(String::as_bytes);
            let pushed = builder.push(Timestamp(self.clock), Some(key.as_bytes()), bytes, &[]);
            pushed.map_err(|error| error.to_string())?;
            records.push((key, value));
        }
        let batch = builder.build().map_err(|error| error.to_string())?;
        Ok((batch, records))
    }

    /// These records are in the log from `base` on.
    fn wrote(&mut self, base: u64, records: Vec<Written>) -> Result<(), String> {
        for (offset, record) in (base..).zip(records) {
            if self.oracle.written.insert(offset, record).is_some() {
                return Err(format!("offset {offset} was given out twice"));
            }
            self.oracle.written_at.insert(offset, self.clock);
        }
        Ok(())
    }

    /// A client that got no answer sends its batch again.
    fn append_again(&mut self) -> Result<(), String> {
        let Some((batch, base)) = self.last_batch.clone() else { return Ok(()) };
        let (epoch, now) = (LeaderEpoch(self.epoch), Timestamp(self.clock));
        let again = self.log().append(&batch, epoch, now);
        let again = match again {
            Ok(again) => again,
            Err(AppendError::Producer(_)) if self.oracle.damaged => return Ok(()),
            Err(error) => return Err(format!("append again: {error}")),
        };
        if again.base.value() != base {
            return Err(format!("a batch of {base} was stored again at {}", again.base));
        }
        self.note(format_args!("again"));
        Ok(())
    }

    fn sync(&mut self) -> Result<(), String> {
        if let Some(dirty) = self.log().take_dirty() {
            dirty.sync().map_err(|error| format!("sync: {error}"))?;
            let token = dirty.token;
            self.log().synced(token).map_err(|error| format!("synced: {error}"))?;
        }
        if self.prng.chance(20) {
            self.log().sync().map_err(|error| format!("checkpoint: {error}"))?;
        }
        self.oracle.acknowledged = self.log().durable_end().value();
        let starts_over = self.prng.chance(30);
        self.paper().synced(starts_over);
        self.note(format_args!("sync"));
        Ok(())
    }

    /// Some steps of a cleaning.
    fn compact(&mut self) -> Result<(), String> {
        loop {
            self.compact_further()?;
            if self.cleaning.is_none() || self.prng.chance(10) {
                return Ok(());
            }
        }
    }

    /// One step of a cleaning: the log's, or the cleaner's, which may be interrupted.
    fn compact_further(&mut self) -> Result<(), String> {
        let next = match self.cleaning.take() {
            None => self.begin_compaction(),
            Some(Stage::Job(job)) => {
                let batches =
                    Cell::new(if self.prng.chance(20) { self.prng.below(20) } else { 1000 });
                let go_on = || batches.replace(batches.get().saturating_sub(1)) > 0;
                match job.run(&go_on) {
                    Ok(cleaning) => Some(Stage::Done(Box::new(cleaning))),
                    Err(CompactError::Interrupted { .. }) => return self.lose_power(),
                    Err(error) => match self.log().abandon_compaction(error) {
                        Some(error) if !self.oracle.damaged => return Err(error.to_string()),
                        Some(_) | None => None,
                    },
                }
            }
            Some(Stage::Done(cleaning)) => {
                let removed = cleaning.cleaned.records_removed;
                let next = self.log().advance_compaction(*cleaning);
                let next = next.map_err(|error| format!("advance a compaction: {error}"))?;
                self.note(format_args!("compact {removed}"));
                next.map(|job| Stage::Job(Box::new(job)))
            }
        };
        self.cleaning = next;
        Ok(())
    }

    fn begin_compaction(&mut self) -> Option<Stage> {
        let keys = usize::try_from(self.prng.below(400)).expect("small");
        let ahead = match self.bug {
            Bug::CleanTooEarly => 3_600_000 * self.oracle.cleanings.len(),
            Bug::None
            | Bug::AcknowledgeBeforeSync
            | Bug::BelieveStaleJournal
            | Bug::TrustJournalWithAnyEpoch => 0,
        };
        let now = Timestamp(self.clock).plus_millis(i64::try_from(ahead).expect("small"));
        let job = self.log().begin_compaction(now, Keys::within(keys, [7; 32]))?;
        self.oracle.cleanings.insert(self.clock);
        self.note(format_args!("begin to compact"));
        Some(Stage::Job(Box::new(job)))
    }

    fn delete(&mut self) -> Result<(), String> {
        let (start, end) = (self.log().start_offset().value(), self.log().end_offset().value());
        let to = start + self.prng.below(end - start + 1) / 2;
        self.log().delete_before(Offset::new(to)).map_err(|error| format!("delete: {error}"))?;
        self.oracle.start = self.oracle.start.max(to);
        self.note(format_args!("delete {to}"));
        Ok(())
    }

    /// Some of what was not synced is there afterwards, some is not, and one write is torn.
    fn lose_power(&mut self) -> Result<(), String> {
        (self.log, self.paper, self.cleaning) = (None, None, None);
        let tear = self.prng.chance(50);
        let prng = &mut self.prng;
        if prng.chance(50) {
            self.disk.settle_names(|| prng.chance(50));
        }
        self.disk
            .crash(|_, count| usize::try_from(prng.below(count as u64 + 1)).expect("small"), tear);
        let taken = self.open()?;
        self.new_producer();
        self.settle()?;
        self.note(format_args!("power, {taken} from the journal"));
        Ok(())
    }

    fn restart(&mut self) -> Result<(), String> {
        let log = self.log.take().expect("open between steps");
        self.cleaning = None;
        log.close().map_err(|error| format!("close: {error}"))?;
        let taken = self.open()?;
        if taken > 0 && !self.oracle.damaged {
            return Err(format!("{taken} batches came from a journal though the log was closed"));
        }
        self.settle()?;
        self.note(format_args!("restart"));
        Ok(())
    }

    /// After a start the broker syncs before it serves, and what did not survive is forgotten.
    fn settle(&mut self) -> Result<(), String> {
        let end = self.log().end_offset().value();
        if end < self.oracle.acknowledged && !self.oracle.damaged {
            let acknowledged = self.oracle.acknowledged;
            return Err(format!("started with {end} records, {acknowledged} were acknowledged"));
        }
        self.oracle.ends_at(end);
        self.check()?;
        self.log().sync().map_err(|error| format!("first sync: {error}"))?;
        self.oracle.acknowledged = end;
        Ok(())
    }

    fn new_producer(&mut self) {
        self.epoch += 1;
        (self.sequence, self.last_batch) = (0, None);
    }

    fn flip(&mut self) -> Result<(), String> {
        let names = self.disk.list(FOLDER).map_err(|error| error.to_string())?;
        let logs: Vec<&String> = names.iter().filter(|name| name.ends_with(".log")).collect();
        let pick = usize::try_from(self.prng.below(logs.len() as u64)).expect("small");
        let path = format!("{FOLDER}/{}", logs[pick]);
        let file = self.disk.open(&path).map_err(|error| error.to_string())?;
        let length = file.len().map_err(|error| error.to_string())?;
        if length == 0 {
            return Ok(());
        }
        let (at, bit) = (self.prng.below(length), self.prng.below(8));
        let mut byte = [0];
        file.read_at(&mut byte, at).map_err(|error| error.to_string())?;
        byte[0] ^= 1 << bit;
        file.write_at(&[&byte], at).map_err(|error| error.to_string())?;
        self.oracle.damaged = true;
        self.note(format_args!("flip {path} {at}"));
        Ok(())
    }

    fn check(&mut self) -> Result<(), String> {
        let end = self.log().end_offset().value();
        let read = match self.read_all() {
            Ok(read) => read,
            Err(_) if self.oracle.damaged => return Ok(()),
            Err(error) => return Err(error),
        };
        reads_return_what_was_written::check(&self.oracle, &read)?;
        nothing_acknowledged_is_lost::check(&self.oracle, &read, end, self.clock)
    }

    fn read_all(&mut self) -> Result<BTreeMap<u64, Written>, String> {
        let budget = u32::try_from(1 + self.prng.below(5000)).expect("small");
        let log = self.log.as_ref().expect("open between steps");
        let (mut next, end) = (log.start_offset(), log.end_offset());
        let mut read = BTreeMap::new();
        while next < end {
            let plan = log.read(next, end, budget, true).map_err(|error| error.to_string())?;
            let chunks = plan.run(&mut Buffers::default()).map_err(|error| error.to_string())?;
            let Some(after) = add_records(&chunks.concat().into(), &mut read)? else { break };
            if after <= next {
                return Err(format!("a read from {next} ends at {after}"));
            }
            next = after;
        }
        let start = log.start_offset().value();
        Ok(read.split_off(&start))
    }
}

/// Adds every record of a chunk; says where the chunk ends.
fn add_records(chunk: &Bytes, read: &mut BTreeMap<u64, Written>) -> Result<Option<Offset>, String> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let mut end = None;
    for split in batch::split(chunk) {
        let (header, bytes) = split.map_err(|error| error.to_string())?;
        batch::check_crc(bytes).map_err(|error| format!("served damaged: {error}"))?;
        for record in batch::records(bytes).map_err(|error| error.to_string())?.iter() {
            let record = record.map_err(|error| error.to_string())?;
            let written = (text(record.key.unwrap_or_default()), record.value.map(text));
            read.insert(record.offset.value(), written);
        }
        end = Some(header.last_offset().next());
    }
    Ok(end)
}
