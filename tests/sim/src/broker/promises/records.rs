//! Source: ARCHITECTURE §8: what was acknowledged after a sync survives every loss of power; what may be
//! read is on the disk; a record stays at its offset, and is there once.
//!
//! Offsets are learned from acknowledgements and from reads. What is learned may be forgotten when the
//! power goes, unless a sync covered it.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_log::validate::ValidatedBatch;
use brooklet_types::{Offset, ProducerEpoch, ProducerId, Timestamp, TopicId, TopicPartition};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;
use bytes::Bytes;

use crate::broker::promises::topics::{Facts, Topics};
use crate::prng::Prng;

/// Names one record for ever.
pub(crate) type RecordId = u64;

/// Every record that was ever sent, and where each was seen.
#[derive(Debug, Default)]
pub(crate) struct Records {
    sent: BTreeMap<RecordId, Sent>,
    ledgers: BTreeMap<TopicPartition, Ledger>,
    /// Topics whose files went bad: what is read there is true, and nothing else is promised. With the power lost
    /// at the same time a log may be cut at the damage, and its offsets given out again.
    damaged: BTreeSet<TopicId>,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    partition: TopicPartition,
    key: u64,
    /// None of a tombstone.
    length: Option<u64>,
}

/// What is known of one partition.
#[derive(Debug, Default)]
struct Ledger {
    known: BTreeMap<u64, Known>,
    places: BTreeMap<RecordId, u64>,
    /// Somebody was told that the log starts here.
    start: u64,
    /// Somebody has asked that it start as far as here.
    start_asked: u64,
    /// Consumers could read up to here.
    high_watermark: u64,
}

#[derive(Clone, Copy, Debug)]
struct Known {
    id: RecordId,
    /// A sync covered it.
    durable: bool,
}

/// What to send.
#[derive(Clone, Debug)]
pub(crate) struct NewBatch {
    pub(crate) ids: Vec<RecordId>,
    pub(crate) batch: ValidatedBatch,
}

/// Where in a partition a read was, and what it found.
#[derive(Debug)]
pub(crate) struct Read {
    pub(crate) from: Offset,
    /// The offset behind the last batch found.
    pub(crate) next: Offset,
    pub(crate) records: Vec<(Offset, RecordId)>,
}

impl Records {
    /// Makes a batch for `partition` of records that nobody has seen.
    pub(crate) fn make(
        &mut self,
        prng: &mut Prng,
        partition: TopicPartition,
        clock: Timestamp,
        producer: Option<(ProducerId, ProducerEpoch, i32)>,
    ) -> NewBatch {
        let codec = if prng.chance(80) { Codec::None } else { Codec::Lz4 };
        let mut builder = BatchBuilder::new(codec);
        if let Some((id, epoch, sequence)) = producer {
            builder = builder.producer(id, epoch, sequence);
        }
        let mut ids = Vec::new();
        for _ in 0..=prng.below(4) {
            let id = u64::try_from(self.sent.len()).expect("few");
            let keys = if prng.chance(70) { 6 } else { 500 };
            let key = prng.below(keys);
            let length = (!prng.chance(15)).then(|| prng.below(200));
            self.sent.insert(id, Sent { partition, key, length });
            let value = value_of(id, length);
            let name = id.to_string();
            let headers: &[(&[u8], Option<&[u8]>)] = &[(b"id", Some(name.as_bytes()))];
            let key = format!("key {key}");
            let pushed = builder.push(clock, Some(key.as_bytes()), value.as_deref(), headers);
            pushed.expect("small");
            ids.push(id);
        }
        let batch = ValidatedBatch::trusted(builder.build().expect("small"));
        NewBatch { ids, batch }
    }

    /// The broker says that `ids` lie at `base` and behind.
    pub(crate) fn acknowledged(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        ids: &[RecordId],
        durable: bool,
    ) -> Result<(), String> {
        for (offset, id) in (base.value()..).zip(ids) {
            self.learn(partition, offset, *id, durable)?;
        }
        Ok(())
    }

    /// A consumer has read; `facts` are the topic's.
    pub(crate) fn read(
        &mut self,
        partition: TopicPartition,
        read: &Read,
        facts: Facts,
    ) -> Result<(), String> {
        for (offset, id) in &read.records {
            self.learn(partition, offset.value(), *id, !facts.was_os)?;
        }
        if facts.damaged || facts.was_compacted {
            return Ok(());
        }
        let found: BTreeSet<u64> = read.records.iter().map(|(offset, _)| offset.value()).collect();
        let ledger = self.ledgers.entry(partition).or_default();
        for (offset, known) in ledger.known.range(read.from.value()..read.next.value()) {
            if !found.contains(offset) && *offset >= ledger.start {
                return Err(format!(
                    "a read of {} from {} to {} has passed over offset {offset}, which is record {}",
                    place(partition),
                    read.from,
                    read.next,
                    known.id
                ));
            }
        }
        Ok(())
    }

    fn learn(
        &mut self,
        partition: TopicPartition,
        offset: u64,
        id: RecordId,
        durable: bool,
    ) -> Result<(), String> {
        let sent = self.sent.get(&id).ok_or_else(|| format!("nobody sent record {id}"))?;
        let here = place(partition);
        if sent.partition != partition {
            return Err(format!("record {id} of {} is in {here}", place(sent.partition)));
        }
        if self.damaged.contains(&partition.topic) {
            return Ok(());
        }
        let ledger = self.ledgers.entry(partition).or_default();
        if let Some(other) = ledger.places.insert(id, offset)
            && other != offset
        {
            return Err(format!("record {id} is in {here} twice, at {other} and {offset}"));
        }
        let known = ledger.known.entry(offset).or_insert(Known { id, durable });
        if known.id != id {
            return Err(format!("offset {offset} of {here} was record {}, is {id}", known.id));
        }
        known.durable |= durable;
        Ok(())
    }

    /// A reply names the log's start, which moves only when somebody asked; `facts` are the topic's.
    pub(crate) fn starts_at(
        &mut self,
        partition: TopicPartition,
        start: Offset,
        facts: Facts,
    ) -> Result<(), String> {
        let ledger = self.ledgers.entry(partition).or_default();
        let (start, asked) = (start.value(), ledger.start_asked);
        if start > asked && !facts.expires && !facts.damaged {
            let here = place(partition);
            return Err(format!("{here} starts at {start}; nobody asked for more than {asked}"));
        }
        ledger.start = ledger.start.max(start);
        Ok(())
    }

    /// Somebody asks to delete what lies before `offset`; none is everything.
    pub(crate) fn delete_asked(&mut self, partition: TopicPartition, offset: Option<Offset>) {
        let asked = offset.map_or(u64::MAX, Offset::value);
        let ledger = self.ledgers.entry(partition).or_default();
        ledger.start_asked = ledger.start_asked.max(asked);
    }

    /// An offset that something is known of, or near one.
    pub(crate) fn some_offset(&self, prng: &mut Prng, partition: TopicPartition) -> Offset {
        let known = self.ledgers.get(&partition).and_then(|it| it.known.keys().next_back());
        Offset::new(prng.below(known.map_or(1, |last| last + 2)))
    }

    /// Where the log starts and up to where it can be read right now. Neither ever moves back.
    pub(crate) fn stands_at(
        &mut self,
        partition: TopicPartition,
        start: Offset,
        high_watermark: Offset,
    ) -> Result<(), String> {
        let ledger = self.ledgers.entry(partition).or_default();
        let here = place(partition);
        if self.damaged.contains(&partition.topic) {
            return Ok(());
        }
        if start.value() < ledger.start {
            return Err(format!("{here} starts at {start}, was at {}", ledger.start));
        }
        if high_watermark.value() < ledger.high_watermark {
            let before = ledger.high_watermark;
            return Err(format!("the high watermark of {here} is {high_watermark}, was {before}"));
        }
        (ledger.start, ledger.high_watermark) = (start.value(), high_watermark.value());
        Ok(())
    }

    /// Everything that can be read of a partition was read, from its start to its high watermark.
    pub(crate) fn audited(
        &mut self,
        partition: TopicPartition,
        read: &Read,
        facts: Facts,
    ) -> Result<(), String> {
        self.read(partition, read, facts)?;
        if facts.damaged {
            return Ok(());
        }
        let ledger = self.ledgers.entry(partition).or_default();
        let end = read.next.value().max(ledger.high_watermark);
        if let Some((offset, known)) = ledger.known.range(end..).next() {
            let (here, id, durable) = (place(partition), known.id, known.durable);
            return Err(format!(
                "{here} ends at {end}; record {id} was at {offset}, durable: {durable}"
            ));
        }
        self.latest_are_there(partition, read)
    }

    /// Of each key the latest record is there, unless it is a tombstone; or unless there may have been one that
    /// came and went before anybody heard of it.
    fn latest_are_there(&self, partition: TopicPartition, read: &Read) -> Result<(), String> {
        let found: BTreeSet<RecordId> = read.records.iter().map(|(_, id)| *id).collect();
        let known = self.ledgers[&partition].known.range(read.from.value()..);
        let mut latest: BTreeMap<u64, RecordId> = BTreeMap::new();
        for (_, known) in known {
            latest.insert(self.sent[&known.id].key, known.id);
        }
        for (key, id) in latest {
            let unheard = || {
                let places = &self.ledgers[&partition].places;
                self.sent.iter().any(|(other, sent)| {
                    let same = sent.partition == partition && sent.key == key;
                    same && sent.length.is_none() && !places.contains_key(other)
                })
            };
            if self.sent[&id].length.is_some() && !found.contains(&id) && !unheard() {
                let here = place(partition);
                return Err(format!("of key {key} in {here} the latest, {id}, is gone"));
            }
        }
        Ok(())
    }

    /// A bit has flipped.
    pub(crate) fn damaged(&mut self, topic: TopicId) {
        self.damaged.insert(topic);
    }

    /// The power went.
    pub(crate) fn power_lost(&mut self, topics: &Topics) {
        for (partition, ledger) in &mut self.ledgers {
            let facts = topics.get(partition.topic);
            ledger.known.retain(|_, known| known.durable);
            ledger.places = ledger.known.iter().map(|(at, known)| (known.id, *at)).collect();
            if facts.was_os || facts.damaged {
                ledger.high_watermark = 0;
            }
        }
    }

    /// Takes what was read apart, and compares every byte.
    pub(crate) fn parse(&self, from: Offset, chunks: &[Bytes]) -> Result<Read, String> {
        let mut read = Read { from, next: from, records: Vec::new() };
        for split in chunks.iter().flat_map(|chunk| batch::split(chunk)) {
            let (header, bytes) = split.map_err(|error| error.to_string())?;
            batch::check_crc(bytes).map_err(|error| format!("served damaged: {error}"))?;
            let records = batch::records(bytes).map_err(|error| error.to_string())?;
            for record in records.iter() {
                let record = record.map_err(|error| error.to_string())?;
                let mut headers = record.headers.clone();
                let id = headers.find_map(|(_, id)| std::str::from_utf8(id?).ok()?.parse().ok());
                let id = id.ok_or_else(|| format!("a stranger at offset {}", record.offset))?;
                let sent = self.sent.get(&id).ok_or_else(|| format!("nobody sent record {id}"))?;
                let same = record.value == value_of(id, sent.length).as_deref()
                    && record.key == Some(format!("key {}", sent.key).as_bytes());
                if !same {
                    return Err(format!("record {id} at {} was changed", record.offset));
                }
                // A batch may begin before what was asked for.
                if record.offset >= from {
                    read.records.push((record.offset, id));
                }
            }
            let next = header.last_offset().next();
            if next <= read.next {
                return Err(format!("a read from {from} goes back to {next}"));
            }
            read.next = next;
        }
        Ok(read)
    }
}

fn value_of(id: RecordId, length: Option<u64>) -> Option<Vec<u8>> {
    let length = usize::try_from(length?).expect("small");
    Some(format!("{id} {}", "x".repeat(length)).into_bytes())
}

/// A partition in few letters.
pub(crate) fn place(partition: TopicPartition) -> String {
    format!("{:02x}-{}", partition.topic.0[0], partition.partition)
}
