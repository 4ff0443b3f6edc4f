//! From whatever is on the disk to a log. The only start-up path.
//!
//! **Where it sits.** [`Log::open`]; everything that was ever written goes through here again.
//!
//! **What it decides.** Where the log ends: behind the last batch whose CRC is right, walking from
//! the recovery point on. And what damage means:
//! - before the recovery point all was durable, so that nothing can have been lost with the power: it is
//!   data gone bad. Whole batches behind it stay, and the stretch is a [`Hole`], whose offsets are not
//!   given out again;
//! - behind it, a page of nothing but zeroes, or a segment's end in them, is space that was reserved
//!   and whose write was lost with the power: the log is cut there, since nothing behind it can have
//!   been acknowledged;
//! - behind it, a batch behind a gap that no entry names, and that the batch after it does not speak against,
//!   is one whose entry was lost with the power: the log is cut there, too, since both are synced as one;
//! - anything else is data gone bad there, too.
//!
//! **What it cannot tell.** The epoch of the very last batch lies outside its CRC; a flip there shows
//! when the next batch is appended. And behind the recovery point, data that went bad and has zeroes of
//! its own is taken for space that was not written. That takes a flip and lost power within the same
//! moments: the sync of a new segment's first batches brings a point that covers all segments before.
//!
//! **What it never does.** Read what lies before the recovery point (a read checks it), believe an
//! index that does not fit its segment (it is rebuilt), or panic over what it finds.

use std::collections::BTreeMap;
use std::io;

use brooklet_types::{LeaderEpoch, Offset, Timestamp};

use crate::append::Remembered;
use crate::checkpoint::Checkpoint;
use crate::compaction::Compacted;
use crate::disk::{Disk, DiskFile, read_small};
use crate::epoch::{self, Epochs};
use crate::frame::{Frame, Gaps, HEADER_BYTES, Hole, Step, Walk};
use crate::log::Log;
use crate::segment::{self, Active};
use crate::settings::LogSettings;
use crate::sync::Unsynced;
use crate::tail::{Tail, TailBudget};
use crate::{offset_index, time_index};

/// An index of a segment of 4 GiB with an entry per smallest batch would be longer than anything
/// we write; Kafka's default limit is 10 MiB.
const INDEX_BYTES_MAX: usize = 64 << 20;

/// Why a partition cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The disk refused.
    #[error("open {path}: {source}")]
    Disk { path: String, source: io::Error },
}

impl<D: Disk> Log<D> {
    /// Opens the log in `folder`, or begins one.
    pub fn open(
        disk: D,
        folder: &str,
        settings: LogSettings,
        budget: TailBudget,
    ) -> Result<Log<D>, OpenError> {
        let failed = |source| OpenError::Disk { path: folder.to_owned(), source };
        Log::recover(disk, folder, settings, budget).map_err(failed)
    }

    fn recover(
        disk: D,
        folder: &str,
        settings: LogSettings,
        budget: TailBudget,
    ) -> io::Result<Log<D>> {
        disk.create_folder(folder)?;
        let checkpoint = Checkpoint::load(&disk, folder)?;
        let compacted = Compacted::recover(&disk, folder)?;
        let mut bases = segment_bases(&disk.list(folder)?);
        let fresh = bases.is_empty();
        if fresh {
            bases.push(checkpoint.map_or(Offset::ZERO, |checkpoint| checkpoint.recovered));
        }
        let epochs =
            read_small(&disk, &format!("{folder}/{}", epoch::NAME), epoch::FILE_BYTES_MAX)?
                .and_then(|text| Epochs::parse(&text));
        // Kafka's file has no checksum. One that is not what the recovery point vouches for is
        // made anew from the batches: all of them, once.
        let known = checkpoint.zip(epochs.as_ref()).and_then(|(checkpoint, epochs)| {
            let (start, end) = (checkpoint.log_start, checkpoint.recovered);
            (epochs.fingerprint(start, end) == checkpoint.epochs).then(|| epochs.within(start, end))
        });
        let point = checkpoint.filter(|_| known.is_some());
        let first = bases[0];
        let active = segment::open_or_create(&disk, &segment::path(folder, first, "log"))?;
        let mut log = Log {
            folder: folder.to_owned(),
            settings,
            start: first,
            end: first,
            durable: first,
            closed: BTreeMap::new(),
            active: Active::new(first, active.clone(), active.len()?),
            epochs: known.unwrap_or_default(),
            epochs_stored: epochs,
            holes: Vec::new(),
            tail: Tail::new(budget),
            checkpoint: checkpoint.unwrap_or(Checkpoint::fresh(first)),
            unsynced: Unsynced::found(),
            remembered: Remembered::default(),
            compacted,
            compaction_under_way: None,
            disk,
        };
        log.recover_segments(&bases, point)?;
        log.skip_missing()?;
        log.close_compacted()?;
        // What compaction emptied at the start of the log is missing on purpose.
        let floor = if first <= log.compacted.gaps_until { Offset::ZERO } else { first };
        log.start = log.checkpoint.log_start.clamp(floor, log.end);
        log.epochs = log.epochs.within(log.start, log.end);
        if !log.remembered.loaded {
            log.load_producers()?;
        }
        // Everything that was walked may be in the page cache only.
        Ok(log)
    }

    fn recover_segments(&mut self, bases: &[Offset], point: Option<Checkpoint>) -> io::Result<()> {
        for (index, base) in bases.iter().enumerate() {
            let next = bases.get(index + 1).copied();
            if index > 0 && !self.begin_segment(*base)? {
                return self.drop_segments(&bases[index..]);
            }
            let path = self.path(*base, "log");
            let length = self.active.file.len()?;
            let trusted = point.is_some_and(|point| *base < point.segment) && next.is_some();
            if let (true, Some(next)) = (trusted, next)
                && let Some(newest) = self.sane_closed(*base, length, next)?
            {
                // Not walked: a read checks what it returns.
                (self.active.size, self.active.newest, self.end) = (length, newest, next);
                self.active.oldest = first_timestamp(&self.active.file)?;
                continue;
            }
            // A point within what was compacted since then says nothing.
            let compacted = *base < self.compacted.gaps_until;
            if let Some(point) = point.filter(|point| point.segment == *base && !compacted) {
                self.restore_indexes(point, length)?;
            }
            // From here on nothing is left out, so that the walk hears of every producer.
            if !self.remembered.loaded && point.is_none_or(|point| *base >= point.segment) {
                self.load_producers()?;
            }
            self.walk_segment(&path, length, next)?;
        }
        Ok(())
    }

    /// Makes the segment so far a closed one and the one at `base` active; false when what should
    /// lie between was lost with the power, so that nothing from `base` on was acknowledged.
    fn begin_segment(&mut self, base: Offset) -> io::Result<bool> {
        let compacted = base <= self.compacted.gaps_until;
        let explained = compacted || base <= self.checkpoint.recovered || self.ends_in_damage();
        if base < self.end || (base > self.end && !explained) {
            return Ok(false);
        }
        let file = self.disk.open(&self.path(base, "log"))?;
        let length = file.len()?;
        let old = std::mem::replace(&mut self.active, Active::new(base, file, length));
        self.closed.insert(old.base, old.closed());
        self.unsynced.files.push(old.file);
        self.end = base;
        Ok(true)
    }

    /// Whether the segment just walked ended in bytes that were data once.
    fn ends_in_damage(&self) -> bool {
        self.holes.last().is_some_and(|hole| hole.from >= self.end)
    }

    fn drop_segments(&mut self, bases: &[Offset]) -> io::Result<()> {
        for base in bases {
            for extension in ["log", "index", "timeindex", "snapshot"] {
                self.disk.remove(&self.path(*base, extension))?;
            }
        }
        Ok(())
    }

    /// A closed segment that was durable: its newest timestamp, if its indexes fit it. The outer
    /// option is none when they have to be rebuilt.
    fn sane_closed(
        &self,
        base: Offset,
        length: u64,
        next: Offset,
    ) -> io::Result<Option<Option<(Timestamp, Offset)>>> {
        let (Ok(index), Ok(times)) = (
            self.disk.open(&self.path(base, "index")),
            self.disk.open(&self.path(base, "timeindex")),
        ) else {
            return Ok(None);
        };
        let width = next.distance_from(base);
        let entries = index.len()?;
        let mut last = [0; offset_index::ENTRY_BYTES];
        if entries > 0 {
            index.read_at(&mut last, entries.saturating_sub(offset_index::ENTRY_BYTES as u64))?;
            let entry = offset_index::Entry::parse(&last);
            let fits = entry.is_some_and(|entry| {
                u64::from(entry.position) < length && u64::from(entry.relative) < width
            });
            if !fits || !entries.is_multiple_of(offset_index::ENTRY_BYTES as u64) {
                return Ok(None);
            }
        }
        let newest = time_index::last_in_file(&times)?;
        let newest = newest.filter(|newest| u64::from(newest.relative) < width);
        if newest.is_none() && length > 0 {
            return Ok(None);
        }
        Ok(Some(
            newest.map(|entry| {
                (entry.timestamp, Offset::new(base.value() + u64::from(entry.relative)))
            }),
        ))
    }

    /// Walks the active segment from where it is known, and cuts what lies behind the last whole
    /// batch.
    fn walk_segment(&mut self, path: &str, length: u64, next: Option<Offset>) -> io::Result<()> {
        let file = self.active.file.clone();
        let index = self.path(self.active.base, "index");
        let gaps = match read_small(&self.disk, &index, INDEX_BYTES_MAX)? {
            Some(index) => Gaps::listed(&index, self.active.base),
            None => self.gaps(self.active.base, None),
        };
        self.active.index = match self.disk.open(&index) {
            Ok(index) => Some(index),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            // It names gaps: one that is there and cannot be had must not be begun anew.
            Err(error) => return Err(error),
        };
        let walk = Walk::new(&file, self.active.size, length, self.end, gaps);
        let mut walk = walk.after_lost_power(self.checkpoint.recovered, next);
        let mut epoch: Option<(LeaderEpoch, Offset)> = None;
        let cut = loop {
            match walk.step()? {
                Step::Batch(frame) => {
                    // No CRC covers the epoch: a new one is believed when the next batch agrees.
                    if let Some((new, base)) = epoch.take().filter(|new| new.0 <= frame.epoch) {
                        self.epochs.note(new, base);
                    }
                    // What was deleted says nothing about what is there.
                    let counts = frame.last >= self.checkpoint.log_start;
                    if counts && self.epochs.latest().is_none_or(|latest| latest < frame.epoch) {
                        epoch = Some((frame.epoch, frame.base));
                    }
                    self.active.note(&frame, self.settings.index_interval_bytes);
                    self.end = frame.last.next();
                    if self.remembered.loaded
                        && let Some(header) = walk.header(&frame)?
                    {
                        self.remembered.found(&header, frame.base);
                    }
                }
                Step::Bad { position, end, next } => {
                    if !self.was_durable() && walk.has_lost_page(position, end, self.end)? {
                        break position;
                    }
                    let (file, from) = (path.to_owned(), self.end);
                    self.holes.push(Hole { file, position, end, from, next });
                    self.pass_over(end, next);
                }
                Step::End { position } => {
                    self.note_damage(&mut walk, path, position, length, next)?;
                    break position;
                }
            }
        };
        if let Some((new, base)) = epoch {
            self.epochs.note(new, base);
        }
        self.active.size = cut;
        self.active.cut_padding()?;
        if next.is_some() {
            let indexes = self.active.close(&self.disk, &self.folder)?;
            self.unsynced.files.extend(indexes);
        } else {
            self.active.trim_index()?;
        }
        Ok(())
    }

    /// Whether what comes next was durable once: then nothing of it can have been lost with the power.
    fn was_durable(&self) -> bool {
        self.end < self.checkpoint.recovered
    }

    /// The end of a segment that others follow: bytes that were data once are a hole.
    fn note_damage(
        &mut self,
        walk: &mut Walk<'_, D::File>,
        path: &str,
        position: u64,
        length: u64,
        next: Option<Offset>,
    ) -> io::Result<()> {
        let Some(next) = next.filter(|next| *next > self.end && position < length) else {
            return Ok(());
        };
        let lost = !self.was_durable()
            && (walk.has_lost_name()
                || walk.has_lost_page(position, length, self.end)?
                || walk.is_cut_short(position)?);
        if !lost {
            let (file, from) = (path.to_owned(), self.end);
            self.holes.push(Hole { file, position, end: length, from, next });
        }
        Ok(())
    }

    /// Starts the walk at the recovery point, which lies in this segment, when the indexes up to
    /// it are whole.
    fn restore_indexes(&mut self, point: Checkpoint, length: u64) -> io::Result<()> {
        let base = self.active.base;
        if point.position > length || point.recovered < base {
            return Ok(());
        }
        let offsets = read_small(&self.disk, &self.path(base, "index"), INDEX_BYTES_MAX)?;
        let times = read_small(&self.disk, &self.path(base, "timeindex"), INDEX_BYTES_MAX)?;
        let (Some(offsets), Some(times)) = (offsets, times) else { return Ok(()) };
        let width = point.recovered.distance_from(base);
        let offsets = offset_index::parse_before(&offsets, point.position, width);
        let (Some(offsets), Some(mut times)) = (offsets, time_index::parse_all(&times)) else {
            return Ok(());
        };
        times.retain(|e| u64::from(e.relative) < width);
        self.active.restore(&point, offsets, times);
        self.end = point.recovered;
        Ok(())
    }

    /// Offsets that were durable are not given out again, even when their records are gone.
    fn skip_missing(&mut self) -> io::Result<()> {
        let recovered = self.checkpoint.recovered;
        if self.end >= recovered {
            return Ok(());
        }
        let (file, position) = (self.path(self.active.base, "log"), self.active.size);
        let (from, end) = (self.end, position);
        // What lies before the log's start was let go of.
        if recovered > self.checkpoint.log_start {
            self.holes.push(Hole { file, position, end, from, next: recovered });
        }
        self.end = recovered;
        self.roll()
    }
}

/// The timestamp of a segment's first batch.
fn first_timestamp<F: DiskFile>(file: &F) -> io::Result<Option<Timestamp>> {
    let mut header = [0; HEADER_BYTES];
    let read = file.read_at(&mut header, 0)?;
    let frame = Frame::parse(&header[..read], 0);
    Ok(frame.map(|frame| frame.max_timestamp).filter(|first| *first > Timestamp::NONE))
}

/// The base offsets of the segments among `names`, sorted.
fn segment_bases(names: &[String]) -> Vec<Offset> {
    let logs = names.iter().filter_map(|name| name.strip_suffix(".log"));
    let numbers = logs.filter(|stem| stem.len() == 20).filter_map(|stem| stem.parse().ok());
    let mut bases: Vec<Offset> = numbers.filter_map(Offset::from_wire).collect();
    bases.sort();
    bases
}
