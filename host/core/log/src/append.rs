//! Appending what producers send: their sequences checked before, remembered after.
//!
//! **Where it sits.** Above [`Log::write`], which knows nothing of producers; the shard's way in.
//!
//! **What it decides.** Whether a batch is stored, was stored already, or may not be stored; and what of
//! a journal a log still lacks.
//!
//! **What it never does.** Trust a snapshot of producers: it is a shortcut, and what it lacks is read
//! from the log.

use std::io;

use brooklet_types::{ErrorCode, LeaderEpoch, Offset, Timestamp};
use brooklet_wire::batch::{self, BatchHeader, TimestampType};

use crate::buffers::Buffers;
use crate::disk::{Disk, DiskFile, read_small};
use crate::frame::HEADER_BYTES;
use crate::journal::Entry;
use crate::log::{Log, WriteError};
use crate::plan::ReadError;
use crate::producer::{ProducerError, Producers, Verdict};
use crate::segment;
use crate::validate::ValidatedBatch;

/// No snapshot is longer: a hundred thousand producers with five batches each.
const SNAPSHOT_BYTES_MAX: usize = 32 << 20;

/// Snapshots kept: the newest may have gone bad.
const SNAPSHOTS_KEPT: usize = 2;

/// Bytes read at a time while producers are rebuilt.
const REBUILD_BYTES: u32 = 1 << 20;

/// Where a batch went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Appended {
    /// Its first offset.
    pub base: Offset,
    /// Its last offset.
    pub last: Offset,
    /// The broker's time, where the topic keeps it.
    pub log_append_time: Option<Timestamp>,
    /// The log's first offset.
    pub log_start: Offset,
    /// How the batch begins in its file, for the journal; none when it was there already.
    pub header: Option<[u8; HEADER_BYTES]>,
}

/// Why a batch was not stored.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// It is not its producer's turn.
    #[error(transparent)]
    Producer(#[from] ProducerError),
    /// It could not be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl AppendError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            AppendError::Producer(error) => error.code(),
            AppendError::Write(error) => error.code(),
        }
    }

    /// Whether there would be room if something were deleted.
    pub fn is_full(&self) -> bool {
        matches!(self, AppendError::Write(WriteError::StorageFull { .. }))
    }
}

/// The producers of a log.
#[derive(Debug, Default)]
pub(crate) struct Remembered {
    pub(crate) producers: Producers,
    /// Whether a start has come to where it hears of every batch.
    pub(crate) loaded: bool,
    /// Batches before this are known already.
    known_until: Offset,
}

impl Remembered {
    /// A start has come by the batch at `base`.
    pub(crate) fn found(&mut self, header: &BatchHeader, base: Offset) {
        if self.loaded && base >= self.known_until {
            self.producers.record(header, base);
        }
    }
}

impl<D: Disk> Log<D> {
    /// Stores a batch once.
    pub fn append(
        &mut self,
        batch: &ValidatedBatch,
        epoch: LeaderEpoch,
        _now: Timestamp,
    ) -> Result<Appended, AppendError> {
        let header = batch.header();
        let append_time = header.attributes.timestamp_type() == TimestampType::LogAppendTime;
        let log_append_time = append_time.then_some(header.max_timestamp);
        let log_start = self.start;
        if let Verdict::Duplicate { base, last } = self.remembered.producers.check(header)? {
            return Ok(Appended { base, last, log_append_time, log_start, header: None });
        }
        let stored = self.write(batch.bytes(), epoch)?;
        self.remembered.producers.record(header, stored.base);
        let header = Some(stored.header);
        Ok(Appended { base: stored.base, last: stored.last, log_append_time, log_start, header })
    }

    /// The producers that this partition remembers.
    pub fn producers(&self) -> &Producers {
        &self.remembered.producers
    }

    /// Forgets producers that have been silent for longer than `producer.id.expiration.ms`.
    pub fn expire_producers(&mut self, now: Timestamp) {
        self.remembered.producers.expire(now, self.settings.producer_expiration_ms);
    }

    /// Writes the producers down for a recovery point, none of them included: without a snapshot a start
    /// reads the whole log, and of what was deleted it hears nothing. To be synced before the point is
    /// stored, file and name.
    pub(crate) fn write_snapshot(&self) -> io::Result<D::File> {
        let path = segment::path(&self.folder, self.end, "snapshot");
        if self.read_snapshot(self.end)?.is_some() {
            // Nothing has come since, and there is not always another for when it tears.
            return self.disk.open(&path);
        }
        let file = self.disk.create(&path)?;
        file.write_at(&[&self.remembered.producers.to_snapshot()], 0)?;
        Ok(file)
    }

    fn read_snapshot(&self, offset: Offset) -> io::Result<Option<Producers>> {
        let path = segment::path(&self.folder, offset, "snapshot");
        let bytes = read_small(&self.disk, &path, SNAPSHOT_BYTES_MAX)?;
        Ok(bytes.and_then(|bytes| Producers::from_snapshot(&bytes)))
    }

    /// Whether a durable snapshot knows everything before `offset`.
    pub(crate) fn has_snapshot_of(&self, offset: Offset) -> io::Result<bool> {
        let durable = offset..=self.checkpoint.recovered;
        Ok(self.snapshots()?.iter().any(|snapshot| durable.contains(snapshot)))
    }

    /// Removes the oldest snapshots, once a newer one is durable.
    pub(crate) fn remove_old_snapshots(&self) -> io::Result<()> {
        let offsets = self.snapshots()?;
        let old = offsets.len().saturating_sub(SNAPSHOTS_KEPT);
        offsets.iter().take(old).try_for_each(|offset| self.remove_snapshot(*offset))
    }

    /// Removes all snapshots: what they tell of goes.
    pub(crate) fn remove_snapshots(&self) -> io::Result<()> {
        self.snapshots()?.into_iter().try_for_each(|offset| self.remove_snapshot(offset))
    }

    /// Removes snapshots of what the log does not hold any more, durably: other records may come there.
    fn remove_snapshots_behind(&self, end: Offset) -> io::Result<()> {
        let offsets = self.snapshots()?;
        let behind: Vec<&Offset> = offsets.iter().filter(|offset| **offset > end).collect();
        if behind.is_empty() {
            return Ok(());
        }
        behind.into_iter().try_for_each(|offset| self.remove_snapshot(*offset))?;
        self.disk.sync_folder(&self.folder)
    }

    fn remove_snapshot(&self, offset: Offset) -> io::Result<()> {
        self.disk.remove(&segment::path(&self.folder, offset, "snapshot"))
    }

    /// The offsets of the snapshots that are there, ascending.
    fn snapshots(&self) -> io::Result<Vec<Offset>> {
        let names = self.disk.list(&self.folder)?;
        let offsets = names.iter().filter_map(|name| {
            let digits = name.strip_suffix(".snapshot")?;
            Offset::from_wire(digits.parse::<i64>().ok()?)
        });
        Ok(offsets.collect())
    }

    /// Remembers the producers again, up to where the log ends now: the newest snapshot that holds, and what
    /// the log says since. A start that walks again what was durable may take a snapshot from further on: what
    /// compaction took is nowhere else.
    pub(crate) fn load_producers(&mut self) -> io::Result<()> {
        self.remove_snapshots_behind(self.end.max(self.checkpoint.recovered))?;
        self.remembered = Remembered { loaded: true, ..Remembered::default() };
        let mut from = self.start;
        for offset in self.snapshots()?.into_iter().rev() {
            if let Some(producers) = self.read_snapshot(offset)? {
                (self.remembered.producers, self.remembered.known_until) = (producers, offset);
                from = offset.max(self.start);
                break;
            }
        }
        self.rebuild_producers(from)
    }

    fn rebuild_producers(&mut self, from: Offset) -> io::Result<()> {
        let mut next = from;
        let mut buffers = Buffers::default();
        while next < self.end {
            let plan = self.read(next, self.end, REBUILD_BYTES, true);
            let chunks = plan.and_then(|plan| plan.run(&mut buffers));
            let before = next;
            let chunks = match chunks {
                Ok(chunks) => chunks,
                // Damage is an error for whoever reads it; here it only means not to remember.
                Err(ReadError::Corrupt { next: behind, .. }) if behind > next => {
                    next = behind;
                    continue;
                }
                Err(_) => break,
            };
            for chunk in chunks {
                for (header, _) in batch::split(&chunk).map_while(Result::ok) {
                    self.remembered.producers.record(&header, header.base_offset());
                    next = header.last_offset().next();
                }
            }
            if next == before {
                break;
            }
        }
        Ok(())
    }

    /// Takes from a journal what the log lacks; its entries in the order in which they were written.
    /// Says how many it took.
    ///
    /// What was written before the log was last cut is told by its epoch, and left out
    /// ([`Log::truncate_to`]). What remains was written one after the other since then, each where the log
    /// ended: what the log has is the beginning of it.
    ///
    /// Where a lost write left damage behind the recovery point, and the journal has everything from
    /// there to the end, the log is cut before the damage and written again.
    pub fn take_journal(&mut self, entries: &[Entry]) -> Result<usize, AppendError> {
        let whole = entries.iter().filter_map(|entry| Some((entry, header_of(entry)?)));
        let entries: Vec<(&Entry, BatchHeader)> = whole
            .filter(|(_, header)| {
                self.may_be_journaled(header.partition_leader_epoch.unwrap_or_default())
            })
            .collect();
        let reach = entries.iter().map(|(_, header)| header.last_offset().next());
        let reach = reach.max().unwrap_or(Offset::ZERO);
        let damaged =
            self.holes.iter().map(|hole| hole.from).find(|from| {
                reach >= self.end && entries.iter().any(|entry| entry.0.base == *from)
            });
        if let Some(from) = damaged {
            let file = self.folder.clone();
            // The entries are what is to come back: they stay what they are.
            self.cut(from).map_err(|source| WriteError::Disk { file, source })?;
        }
        let mut taken = 0;
        for (entry, header) in entries {
            // Before the end: it is there. Behind it: something before it was never durable.
            let Some(head) = entry.tail.first_chunk().filter(|_| entry.base == self.end) else {
                continue;
            };
            if header.base_offset() < self.end {
                continue;
            }
            self.put(head, &entry.tail)?;
            self.remembered.producers.record(&header, header.base_offset());
            taken += 1;
        }
        Ok(taken)
    }
}

/// The header of an entry that was read back, if it is a whole batch.
fn header_of(entry: &Entry) -> Option<BatchHeader> {
    batch::check_crc(&entry.tail).ok()?;
    BatchHeader::parse(&entry.tail).ok()
}

#[cfg(test)]
mod tests {
    use brooklet_types::{
        ByteSize, PartitionIndex, ProducerEpoch, ProducerId, TopicId, TopicPartition,
    };
    use brooklet_wire::batch::BatchBuilder;
    use brooklet_wire::compress::Codec;

    use super::*;
    use crate::disk::memory::MemoryDisk;
    use crate::journal::Journal;
    use crate::{LogSettings, TailBudget};

    const EPOCH: LeaderEpoch = LeaderEpoch(0);
    const NOW: Timestamp = Timestamp(1000);

    fn open(disk: &MemoryDisk) -> Log<MemoryDisk> {
        let settings = LogSettings { disk_reserve: ByteSize(0), ..LogSettings::default() };
        Log::open(disk.clone(), "topics/t-0", settings, TailBudget::new(0)).unwrap()
    }

    fn batch(sequence: i32) -> ValidatedBatch {
        let mut builder =
            BatchBuilder::new(Codec::None).producer(ProducerId(1), ProducerEpoch(0), sequence);
        let value = format!("value {sequence}");
        builder.push(NOW, None, Some(value.as_bytes()), &[]).unwrap();
        ValidatedBatch::trusted(builder.build().unwrap())
    }

    #[test]
    fn a_batch_sent_again_is_not_stored_again_also_after_a_restart() {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        for sequence in 0..7 {
            let appended = log.append(&batch(sequence), EPOCH, NOW).unwrap();
            assert_eq!(appended.base.to_wire(), i64::from(sequence));
        }
        log.close().unwrap();
        let mut log = open(&disk);
        for sequence in 2..7 {
            let again = log.append(&batch(sequence), EPOCH, NOW).unwrap();
            assert_eq!((again.base.to_wire(), again.header), (i64::from(sequence), None));
        }
        assert_eq!(log.end_offset(), Offset::new(7));
        let skipped = log.append(&batch(9), EPOCH, NOW).unwrap_err();
        assert_eq!(skipped.code(), ErrorCode::OutOfOrderSequenceNumber);
    }

    #[test]
    fn what_was_cut_may_come_again_and_what_was_not_may_not() {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        for sequence in 0..9 {
            log.append(&batch(sequence), EPOCH, NOW).unwrap();
            log.sync().unwrap();
        }
        log.truncate_to(Offset::new(3)).unwrap();
        for sequence in [2, 3, 4] {
            let appended = log.append(&batch(sequence), LeaderEpoch(1), NOW).unwrap();
            let expected = (i64::from(sequence), sequence > 2);
            assert_eq!((appended.base.to_wire(), appended.header.is_some()), expected);
        }
        log.close().unwrap();
        // What was there before the cut does not stand in for what came after it.
        let path = "topics/t-0/00000000000000000000.log";
        let mut damaged = disk.files()[path].clone();
        let last = damaged.len() - 1;
        damaged[last] ^= 1;
        disk.put(path, damaged);
        let mut log = open(&disk);
        let again = log.append(&batch(4), LeaderEpoch(1), NOW).unwrap();
        assert_eq!((again.base.to_wire(), again.header), (4, None));
    }

    #[test]
    fn a_journal_gives_back_what_the_page_cache_lost() {
        let disk = MemoryDisk::default();
        let mut log = open(&disk);
        log.sync().unwrap();
        disk.create_folder("journal").unwrap();
        let capacity = ByteSize::kib(64);
        let (mut journal, _) = Journal::open(&disk, "journal/0", capacity).unwrap();
        let partition = TopicPartition { topic: TopicId([1; 16]), partition: PartitionIndex(0) };
        for sequence in 0..5 {
            let batch = batch(sequence);
            let appended = log.append(&batch, EPOCH, NOW).unwrap();
            let head = bytes::Bytes::copy_from_slice(&appended.header.unwrap());
            let tail = batch.bytes().slice(HEADER_BYTES..);
            journal.write(&[Entry { partition, base: appended.base, head, tail }]).unwrap();
            journal.file().sync().unwrap();
        }
        for kept in [0, 2] {
            let power = disk.clone();
            power.crash(|_, count| count.min(kept), kept > 0);
            let mut log = open(&power);
            let (_, entries) = Journal::open(&power, "journal/0", capacity).unwrap();
            assert_eq!(entries.len(), 5);
            log.take_journal(&entries).unwrap();
            assert_eq!(log.end_offset(), Offset::new(5), "{kept} writes kept");
            assert_eq!(log.take_journal(&entries).unwrap(), 0, "twice is harmless");
            let again = log.append(&batch(4), EPOCH, NOW).unwrap();
            assert_eq!(again.header, None, "its producer is remembered");
            log.sync().unwrap();
        }
    }
}
