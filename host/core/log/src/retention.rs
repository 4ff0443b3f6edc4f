//! What goes, at either end: retention, deleted records, truncation.
//!
//! **Where it sits.** The part of a log that frees space; a shard calls it on its tick and for
//! DeleteRecords.
//!
//! **What it decides.** Which segments are wholly beyond `retention.ms`, `retention.bytes` or the
//! log's start. Never a part of a segment, as in Kafka.
//!
//! **What it never does.** Forget a log start that somebody was told: it is synced first.

use std::io;

use brooklet_types::{Offset, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::epoch::Epochs;
use crate::frame::{Frame, Step, Walk};
use crate::log::Log;
use crate::producer::Producers;
use crate::segment::Active;

impl<D: Disk> Log<D> {
    /// What time brings: retention, less reserved space for an idle partition, an older tail.
    pub fn maintain(&mut self, now: Timestamp) -> io::Result<()> {
        self.active.relax()?;
        self.tail.age(self.end);
        self.note_idle();
        if self.settings.delete {
            self.expire(now)?;
        }
        Ok(())
    }

    fn expire(&mut self, now: Timestamp) -> io::Result<()> {
        let too_old = |newest: Option<(Timestamp, Offset)>, limit: Option<i64>| {
            newest.zip(limit).is_some_and(|(newest, limit)| now.millis_since(newest.0) > limit)
        };
        // An expired active segment goes too, as in Kafka: after a roll it is a closed one.
        if self.active.size > 0 && too_old(self.active.newest, self.settings.retention_ms) {
            self.roll()?;
        }
        let mut start = self.start;
        let mut size = self.size();
        for segment in self.closed.values() {
            let over =
                self.settings.retention_bytes.is_some_and(|max| size - segment.size >= max.0);
            // Emptied by compaction: it has no age, and holds nobody back.
            if segment.newest.is_none() && !over {
                continue;
            }
            if !over && !too_old(segment.newest, self.settings.retention_ms) {
                break;
            }
            size -= segment.size;
            start = start.max(self.next_base(segment.base));
        }
        if start > self.start { self.delete_before(start) } else { Ok(()) }
    }

    /// Moves the start of the log to `offset`, durably, and removes segments before it. What
    /// lies beyond the end means the end; what lies before the start changes nothing.
    pub fn delete_before(&mut self, offset: Offset) -> io::Result<()> {
        let offset = offset.min(self.end);
        if offset <= self.start {
            return Ok(());
        }
        // The log must not end before its start, whatever is lost with the power; and what is deleted may be
        // all that tells of a producer, so that a recovery point has to know it.
        if !self.has_snapshot_of(offset)? {
            self.sync()?;
        }
        self.sync_up_to(offset)?;
        let serial = self.checkpoint.serial + 1;
        let epochs = self.epochs.fingerprint(offset, self.checkpoint.recovered);
        let checkpoint = Checkpoint { serial, log_start: offset, epochs, ..self.checkpoint };
        // Nobody is told of a start that the disk refuses.
        checkpoint.store(&self.disk, &self.folder)?.sync()?;
        self.disk.sync_folder(&self.folder)?;
        (self.checkpoint, self.start) = (checkpoint, offset);
        self.epochs.delete_before(offset);
        let bases: Vec<Offset> = self.closed.keys().copied().collect();
        for base in bases {
            if self.next_base(base) > offset {
                break;
            }
            self.remove_segment(base)?;
            self.closed.remove(&base);
        }
        self.holes.retain(|hole| hole.next > offset);
        Ok(())
    }

    fn remove_segment(&self, base: Offset) -> io::Result<()> {
        for extension in ["log", "index", "timeindex", "snapshot"] {
            self.disk.remove(&self.path(base, extension))?;
        }
        Ok(())
    }

    /// Removes everything from `offset` on, durably. A batch that holds `offset` goes whole.
    ///
    /// The shard's journal may have entries of what goes, and needs no word of it. What stays is synced
    /// first, so that of this log nothing depends on the journal; then the newest epoch that was ever here
    /// is stored with the checkpoint, and entries of it and of older ones are not believed any more
    /// ([`Log::take_journal`]). What comes after is of a newer epoch, or, where a follower copies what an
    /// older leader wrote, does not go to the journal ([`Log::copy`] says so).
    pub fn truncate_to(&mut self, offset: Offset) -> io::Result<()> {
        if offset >= self.end {
            return Ok(());
        }
        self.sync()?;
        self.void_journal();
        self.cut(offset)
    }

    /// Throws away all that is there, durably, and begins anew at `offset`, before or behind: what lies
    /// between is not to be had any more. Producers are forgotten with what they wrote.
    pub fn restart_at(&mut self, offset: Offset) -> io::Result<()> {
        self.void_journal();
        self.cut(self.start)?;
        // No gap may explain a segment of now behind the new beginning, should a crash leave one.
        self.forget_compaction(Offset::new(offset.value().saturating_sub(1)))?;
        self.remove_snapshots()?;
        // The log is empty. The next one has its file before the checkpoint says that it has begun.
        let file = self.disk.create(&self.path(offset, "log"))?;
        self.disk.sync_folder(&self.folder)?;
        let epochs = Epochs::default().fingerprint(offset, offset);
        let checkpoint = self.checkpoint.back_to(offset);
        let checkpoint = Checkpoint { log_start: offset, epochs, gaps: false, ..checkpoint };
        checkpoint.store(&self.disk, &self.folder)?.sync()?;
        self.checkpoint = checkpoint;
        let old = std::mem::replace(&mut self.active, Active::new(offset, file, 0));
        self.closed.insert(old.base, old.closed());
        for base in std::mem::take(&mut self.closed).into_keys().filter(|base| *base != offset) {
            self.remove_segment(base)?;
        }
        (self.start, self.end, self.durable) = (offset, offset, offset);
        (self.epochs, self.remembered.producers) = (Epochs::default(), Producers::default());
        self.holes.clear();
        self.tail.clear();
        self.unsynced.disown();
        self.sync()?;
        Checkpoint::open(&self.disk, &self.folder)?.sync()
    }

    /// Removes everything from `offset` on, durably.
    pub(crate) fn cut(&mut self, offset: Offset) -> io::Result<()> {
        let offset = offset.max(self.start);
        let target = self.segment_at(offset)?;
        self.forget_compaction(target)?;
        self.tail.clear();
        self.unsynced.disown();
        // No recovery point may lie beyond the new end.
        let epochs = self.epochs.fingerprint(self.start, target);
        self.checkpoint = Checkpoint { epochs, ..self.checkpoint.back_to(target) };
        self.checkpoint.store(&self.disk, &self.folder)?.sync()?;
        if self.active.base > target {
            self.remove_segment(self.active.base)?;
            for base in self.closed.split_off(&target).into_keys().filter(|base| *base > target) {
                self.remove_segment(base)?;
            }
            let file = self.disk.open(&self.path(target, "log"))?;
            self.active = Active::new(target, file, 0);
        }
        self.rewalk(offset)?;
        self.epochs.truncate_to(self.end);
        // A batch that began before the start may have gone whole.
        let start = self.start.min(self.end);
        // As a start does: what lies before the start in its segment may be all that tells of a producer.
        self.start = self.closed.keys().next().copied().unwrap_or(self.active.base).min(start);
        self.load_producers()?;
        self.start = start;
        self.durable = self.durable.min(self.end);
        self.unsynced.folder = true;
        self.sync()?;
        // A start that moved back with the end must not be forgotten: records come there again.
        Checkpoint::open(&self.disk, &self.folder)?.sync()
    }

    /// The segment that `offset` falls into. Where compaction has left none that begins before, one that
    /// begins there.
    fn segment_at(&mut self, offset: Offset) -> io::Result<Offset> {
        if self.active.base <= offset {
            return Ok(self.active.base);
        }
        if let Some((base, _)) = self.closed.range(..=offset).next_back() {
            return Ok(*base);
        }
        self.disk.create(&self.path(offset, "log"))?;
        self.disk.sync_folder(&self.folder)?;
        Ok(offset)
    }

    /// Reads the active segment anew, keeping what ends before `offset`.
    fn rewalk(&mut self, offset: Offset) -> io::Result<()> {
        let (base, file) = (self.active.base, self.active.file.clone());
        let length = file.len()?;
        let index = self.disk.open(&self.path(base, "index")).ok();
        let gaps = self.gaps(base, index.clone());
        self.active = Active::new(base, file.clone(), length);
        self.active.index = index;
        self.end = base;
        let mut walk = Walk::new(&file, 0, length, base, gaps);
        loop {
            match walk.step()? {
                Step::Batch(frame) if frame.last < offset => self.keep(&frame),
                Step::Bad { end, next, .. } if next <= offset => self.pass_over(end, next),
                Step::Batch(_) | Step::Bad { .. } | Step::End { .. } => break,
            }
        }
        self.holes.retain(|hole| hole.next <= offset);
        self.active.cut_padding()?;
        self.close_compacted()
    }

    /// Goes on behind a stretch of the active segment that is no batch.
    pub(crate) fn pass_over(&mut self, end: u64, next: Offset) {
        self.active.skip(end, next);
        self.end = next;
    }

    /// Ends the active segment if compaction has been in it: what is appended adjoins.
    pub(crate) fn close_compacted(&mut self) -> io::Result<()> {
        if self.active.has_gaps() { self.roll() } else { Ok(()) }
    }

    fn keep(&mut self, frame: &Frame) {
        self.active.note(frame, self.settings.index_interval_bytes);
        self.end = frame.last.next();
    }
}
