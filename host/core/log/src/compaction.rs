//! Compaction: of each key the latest record stays, and nothing that stays moves.
//!
//! **Where it sits.** Beside a log. The shard asks [`Log::begin_compaction`] for a [`Job`], any
//! thread runs it over closed segments, and [`Log::finish_compaction`] puts the result in place.
//!
//! **What it decides.** Whether there is enough to clean, which records survive, and when a
//! tombstone has been there long enough (KIP-534: the first cleaning that keeps one writes the time
//! from which it may go into its batch).
//!
//! **What it never does.** Touch the active segment or a control batch, change an offset, or clean a
//! segment with damage in it: a [`Hole`](crate::Hole) is for people, not for a cleaner.
//!
//! **Invariants.**
//! 1. A batch keeps its base offset, last offset, sequences, epoch and codec, whatever is left of it.
//! 2. A producer's last batch stays, empty if need be, so that its sequence is never forgotten.
//!
//! **A crash** at any step leaves the old segment or the new one. The cleaned file is synced under
//! a name that recovery removes; then, each step durable before the next: the old indexes go, the
//! cleaned file takes the segment's name, the new indexes take theirs. Without an index recovery
//! walks the segment and makes one.
//!
//! Segments are not merged: one that is emptied is removed, and each that stays holds a live key.
//! How far a log is clean is not written down: after a start everything counts as dirty.

use std::collections::BTreeMap;
use std::io;

use brooklet_types::{Offset, ProducerId, Timestamp};
use brooklet_wire::batch::{self, BatchBuilder, BatchError, BatchHeader, Headers, Record, Records};
use bytes::Bytes;

use crate::disk::{Disk, DiskFile};
use crate::frame::{Frame, Step, Walk};
use crate::log::Log;
use crate::segment::{self, Active, Closed};
use crate::settings::LogSettings;

/// Keys remembered in one job, in bytes with their share of the map. What does not fit waits for
/// the next job. Kafka's buffer has 128 MiB for a whole broker of servers, not of gateways.
const KEY_BYTES_MAX: usize = 32 << 20;

/// What the map costs per key besides the key.
const KEY_OVERHEAD_BYTES: usize = 48;

/// What a segment's cleaned files are called until they take its place.
pub(crate) const SUFFIX: &str = ".cleaned";

/// The built-in policy: of each key the record with the highest offset survives.
#[derive(Clone, Debug)]
pub struct LatestByKey {
    latest: BTreeMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

/// One cleaning of one log.
#[derive(Debug)]
pub struct Job<D: Disk> {
    disk: D,
    folder: String,
    /// Segments with their ends.
    segments: Vec<(Closed, Offset)>,
    settings: LogSettings,
    /// Everything before is clean; keys are learnt from here on.
    dirty_from: Offset,
    /// Where the closed segments end.
    until: Offset,
    /// Where each producer's last batch ends.
    producers: BTreeMap<ProducerId, Offset>,
    now: Timestamp,
    generation: u64,
}

/// What a job has made, to be put in place.
#[derive(Debug)]
pub struct Cleaned {
    segments: Vec<(Closed, Closed)>,
    clean_until: Offset,
    generation: u64,
    /// Records that did not survive.
    pub records_removed: u64,
}

/// Why a log could not be cleaned. It stays as it was.
#[derive(Debug, thiserror::Error)]
pub enum CompactError {
    /// The disk refused.
    #[error("compact {folder}: {source}")]
    Disk { folder: String, source: io::Error },
    /// A batch is damaged.
    #[error("compact {file}: no whole batch at {position}")]
    Damaged { file: String, position: u64 },
    /// A batch cannot be written again.
    #[error("compact {file}: {source}")]
    Batch { file: String, source: BatchError },
}

impl Default for LatestByKey {
    fn default() -> LatestByKey {
        LatestByKey::within(KEY_BYTES_MAX)
    }
}

impl LatestByKey {
    /// Remembers keys in about `bytes_max`, and one whatever its size.
    pub fn within(bytes_max: usize) -> LatestByKey {
        LatestByKey { latest: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Hears of a record, in the order of offsets; false when there is no room for its key.
    pub fn learn(&mut self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return true };
        if let Some(latest) = self.latest.get_mut(key) {
            *latest = record.offset;
            return true;
        }
        let bytes = self.bytes + key.len() + KEY_OVERHEAD_BYTES;
        if bytes > self.bytes_max && !self.latest.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.latest.insert(key.into(), record.offset);
        true
    }

    /// Whether no later record of its key is known. Without a key nothing is its successor, and
    /// Kafka drops it: compacted topics take none.
    pub fn survives(&self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return false };
        self.latest.get(key).is_none_or(|latest| *latest <= record.offset)
    }
}

/// Which closed segments, each with its end, are to be cleaned now: all up to the first that is too
/// young, if enough of them is dirty or dirty for too long.
fn choose(
    closed: impl Iterator<Item = (Closed, Offset)>,
    dirty_from: Offset,
    settings: &LogSettings,
    now: Timestamp,
) -> Vec<(Closed, Offset)> {
    let age =
        |segment: &Closed| segment.newest.map_or(i64::MAX, |newest| now.millis_since(newest.0));
    let old_enough =
        |(segment, _): &(Closed, Offset)| age(segment) >= settings.min_compaction_lag_ms;
    let chosen: Vec<(Closed, Offset)> = closed.take_while(old_enough).collect();
    let is_dirty = |(segment, end): &&(Closed, Offset)| *end > dirty_from && segment.size > 0;
    let dirty = || chosen.iter().filter(is_dirty).map(|(segment, _)| segment);
    let dirty_bytes: u64 = dirty().map(|segment| segment.size).sum();
    let bytes: u64 = chosen.iter().map(|(segment, _)| segment.size).sum();
    let overdue = dirty()
        .any(|segment| segment.newest.is_some() && age(segment) > settings.max_compaction_lag_ms);
    let ratio_reached =
        dirty_bytes * 1000 >= bytes * u64::from(settings.min_cleanable_dirty_permille);
    if dirty_bytes > 0 && (ratio_reached || overdue) { chosen } else { Vec::new() }
}

impl<D: Disk> Log<D> {
    /// A cleaning of the closed segments, when the topic is compacted and enough of them is dirty.
    /// One at a time: the next may begin after [`Log::finish_compaction`] or an error.
    pub fn begin_compaction(&self, now: Timestamp) -> Option<Job<D>> {
        // What is not durable yet may be cut at the next start: the cleaner keeps away from it.
        let closed = self.closed.values().map(|it| (it.clone(), self.next_base(it.base)));
        let closed = closed.take_while(|(_, end)| *end <= self.checkpoint.recovered);
        if !self.settings.compact {
            return None;
        }
        let segments = choose(closed, self.clean_until, &self.settings, now);
        let until = segments.last()?.1;
        let last = |(id, producer): (ProducerId, &crate::producer::Producer)| {
            producer.last_offset().map(|offset| (id, offset))
        };
        Some(Job {
            disk: self.disk.clone(),
            folder: self.folder.clone(),
            segments,
            settings: self.settings.clone(),
            dirty_from: self.clean_until,
            until,
            producers: self.producers().iter().filter_map(last).collect(),
            now,
            generation: self.unsynced.generation,
        })
    }

    /// Puts what a job made in the place of what it read. Segments that retention removed meanwhile
    /// stay removed; after a truncation nothing is put in place. After an error nobody knows which of
    /// the two is in place: end the process, the next start finds out.
    pub fn finish_compaction(&mut self, cleaned: Cleaned) -> io::Result<()> {
        let current = cleaned.generation == self.unsynced.generation;
        let (kept, stale): (Vec<_>, Vec<_>) = cleaned
            .segments
            .into_iter()
            .partition(|(old, _)| current && self.closed.get(&old.base) == Some(old));
        for (old, _) in &stale {
            for extension in ["log", "index", "timeindex"] {
                self.disk.remove(&(self.path(old.base, extension) + SUFFIX))?;
            }
        }
        if !current {
            return Ok(());
        }
        for (old, _) in &kept {
            for extension in ["index", "timeindex"] {
                self.disk.remove(&self.path(old.base, extension))?;
            }
        }
        self.disk.sync_folder(&self.folder)?;
        self.rename_cleaned(&kept, &["log"])?;
        self.rename_cleaned(&kept, &["index", "timeindex"])?;
        self.tail.clear();
        for (_, new) in kept {
            self.closed.insert(new.base, new);
        }
        self.clean_until = self.clean_until.max(cleaned.clean_until);
        self.remove_emptied()
    }

    fn rename_cleaned(&self, segments: &[(Closed, Closed)], extensions: &[&str]) -> io::Result<()> {
        for (old, _) in segments {
            for extension in extensions {
                let path = self.path(old.base, extension);
                self.disk.rename(&format!("{path}{SUFFIX}"), &path)?;
            }
        }
        self.disk.sync_folder(&self.folder)
    }

    /// Segments without batches go, but for the first, whose name is where the log starts.
    fn remove_emptied(&mut self) -> io::Result<()> {
        let empty = |(_, segment): &(&Offset, &Closed)| segment.size == 0;
        let emptied: Vec<Offset> =
            self.closed.iter().skip(1).filter(empty).map(|(base, _)| *base).collect();
        for base in emptied {
            for extension in ["log", "index", "timeindex"] {
                self.disk.remove(&self.path(base, extension))?;
            }
            self.closed.remove(&base);
        }
        Ok(())
    }
}

impl<D: Disk> Job<D> {
    /// Cleans, on whatever thread.
    pub fn run(self, mut policy: LatestByKey) -> Result<Cleaned, CompactError> {
        let learnt_until = self.learn(&mut policy)?;
        let mut cleaned = Cleaned {
            segments: Vec::new(),
            clean_until: learnt_until,
            generation: self.generation,
            records_removed: 0,
        };
        for (segment, _) in self.segments.iter().filter(|(it, _)| it.base < learnt_until) {
            self.clean(segment, &policy, learnt_until, &mut cleaned)?;
        }
        Ok(cleaned)
    }

    /// Shows the policy every dirty record; says before which offset it knows all of them.
    fn learn(&self, policy: &mut LatestByKey) -> Result<Offset, CompactError> {
        for (closed, _) in self.segments.iter().filter(|(_, end)| *end > self.dirty_from) {
            let mut full = None;
            self.each_batch(closed, |_, batch| {
                if full.is_some() {
                    return Ok(());
                }
                let Some(opened) = Opened::new(batch) else { return Ok(()) };
                full = opened
                    .records
                    .iter()
                    .flatten()
                    .find(|record| record.offset >= self.dirty_from && !policy.learn(record))
                    .map(|record| record.offset);
                Ok(())
            })?;
            if let Some(full) = full {
                return Ok(full);
            }
        }
        Ok(self.until)
    }

    /// Writes the survivors of one segment beside it, unless all survive.
    fn clean(
        &self,
        closed: &Closed,
        policy: &LatestByKey,
        learnt_until: Offset,
        cleaned: &mut Cleaned,
    ) -> Result<(), CompactError> {
        let path = |extension| segment::path(&self.folder, closed.base, extension) + SUFFIX;
        let file = self.disk.create(&path("log")).map_err(|source| self.disk_error(source))?;
        let mut target = Active::new(closed.base, file.clone(), 0);
        let mut changed = false;
        self.each_batch(closed, |frame, batch| {
            let kept = self.survivors(batch, policy, learnt_until);
            let kept = kept.map_err(|source| CompactError::Batch { file: path("log"), source })?;
            let stays = match &kept {
                Kept::Whole => batch,
                Kept::Some { bytes, removed } => {
                    (changed, cleaned.records_removed) = (true, cleaned.records_removed + removed);
                    &bytes[..]
                }
                Kept::Nothing { removed } => {
                    (changed, cleaned.records_removed) = (true, cleaned.records_removed + removed);
                    return Ok(());
                }
            };
            let written = file.write_at(&[stays], target.size);
            written.map_err(|source| self.disk_error(source))?;
            let frame = Frame { position: target.size, bytes: stays.len() as u64, ..*frame };
            let frame = Frame::parse(stays, frame.position).unwrap_or(frame);
            target.note(&frame, self.settings.index_interval_bytes);
            Ok(())
        })?;
        if !changed {
            return self.disk.remove(&path("log")).map_err(|source| self.disk_error(source));
        }
        let stored = self.store(&file, &mut target, &path("index"), &path("timeindex"));
        stored.map_err(|source| self.disk_error(source))?;
        let new = Closed { base: closed.base, size: target.size, newest: target.newest };
        cleaned.segments.push((closed.clone(), new));
        Ok(())
    }

    fn store(
        &self,
        file: &D::File,
        target: &mut Active<D::File>,
        index: &str,
        times: &str,
    ) -> io::Result<()> {
        let (offset_bytes, time_bytes) = target.index_bytes();
        let index = self.disk.create(index)?;
        index.write_at(&[&offset_bytes], 0)?;
        let times = self.disk.create(times)?;
        times.write_at(&[&time_bytes], 0)?;
        [file, &index, &times].into_iter().try_for_each(DiskFile::sync)
    }

    /// Calls `each` with every batch of a segment. Damage ends the job.
    fn each_batch(
        &self,
        closed: &Closed,
        mut each: impl FnMut(&Frame, &[u8]) -> Result<(), CompactError>,
    ) -> Result<(), CompactError> {
        let path = segment::path(&self.folder, closed.base, "log");
        let file = self.disk.open(&path).map_err(|source| self.disk_error(source))?;
        let mut walk = Walk::new(&file, 0, closed.size, closed.base, false);
        let mut buffer = Vec::new();
        loop {
            match walk.step().map_err(|source| self.disk_error(source))? {
                Step::Batch(frame) => {
                    buffer.resize(usize::try_from(frame.bytes).expect("at most a frame"), 0);
                    let read = file.read_at(&mut buffer, frame.position);
                    read.map_err(|source| self.disk_error(source))?;
                    each(&frame, &buffer)?;
                }
                Step::End { position } if position == closed.size => return Ok(()),
                Step::End { position } | Step::Bad { position, .. } => {
                    return Err(CompactError::Damaged { file: path, position });
                }
            }
        }
    }

    /// What stays of one batch.
    fn survivors(
        &self,
        batch: &[u8],
        policy: &LatestByKey,
        learnt_until: Offset,
    ) -> Result<Kept, BatchError> {
        let header = BatchHeader::parse(batch)?;
        // What cannot be read is its producer's affair, and stays. So does an empty batch that is
        // still needed.
        let Some(opened) = Opened::new(batch) else { return Ok(Kept::Whole) };
        let horizon = header.attributes.has_delete_horizon().then_some(header.base_timestamp);
        let expired = horizon.is_some_and(|horizon| self.now >= horizon);
        let stays = |record: &Record<'_>| {
            record.offset >= learnt_until
                || (policy.survives(record) && (record.value.is_some() || !expired))
        };
        let mut count: u64 = 0;
        let mut tombstones = false;
        for record in opened.records.iter().flatten().filter(stays) {
            count += 1;
            tombstones |= record.value.is_none() && record.offset < learnt_until;
        }
        let removed = u64::from(header.record_count) - count;
        if count == 0 {
            let last = header.producer_id.and_then(|id| self.producers.get(&id));
            return match last.is_some_and(|last| *last == header.last_offset()) {
                true if removed == 0 => Ok(Kept::Whole),
                true => BatchBuilder::replacing(&header)?
                    .build()
                    .map(|bytes| Kept::Some { bytes, removed }),
                false => Ok(Kept::Nothing { removed }),
            };
        }
        let begins_horizon = tombstones && horizon.is_none();
        if removed == 0 && !begins_horizon {
            return Ok(Kept::Whole);
        }
        let mut wanted = header;
        if begins_horizon {
            wanted.attributes = wanted.attributes.with_delete_horizon(true);
            wanted.base_timestamp = self.now.plus_millis(self.settings.delete_retention_ms);
        }
        let bytes = rewrite(&wanted, opened.records.iter().flatten().filter(stays))?;
        Ok(Kept::Some { bytes, removed })
    }

    fn disk_error(&self, source: io::Error) -> CompactError {
        CompactError::Disk { folder: self.folder.clone(), source }
    }
}

/// What stays of a batch.
enum Kept {
    Whole,
    Some { bytes: Bytes, removed: u64 },
    Nothing { removed: u64 },
}

/// A batch all of whose records can be read, and which holds records rather than a marker.
struct Opened<'a> {
    records: Records<'a>,
}

impl<'a> Opened<'a> {
    fn new(batch: &'a [u8]) -> Option<Opened<'a>> {
        let records = batch::records(batch).ok()?;
        let control = records.header().attributes.is_control();
        let readable = !control && records.iter().all(|record| record.is_ok());
        readable.then_some(Opened { records })
    }
}

fn rewrite<'r>(
    header: &BatchHeader,
    records: impl Iterator<Item = Record<'r>>,
) -> Result<Bytes, BatchError> {
    let mut builder = BatchBuilder::replacing(header)?;
    for record in records {
        let count = usize::try_from(Headers::count(&record.headers)).unwrap_or(usize::MAX);
        let (offset, timestamp) = (record.offset, record.timestamp);
        builder.push_at(offset, timestamp, record.key, record.value, count, record.headers)?;
    }
    builder.build()
}

#[cfg(test)]
mod tests;
