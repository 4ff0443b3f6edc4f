//! What of a log is durable, what has to be synced so that more is, and where recovery may begin.
//!
//! **Where it sits.** The part of a log that a shard's turn ends with: [`Log::take_dirty`] hands
//! out files to sync on any thread, and [`Log::synced`] hears that it was done.
//!
//! **What it decides.** When a recovery point is stored, and what has to be durable before it is.
//!
//! **What it never does.** Sync on the shard's thread while producers wait. A recovery point comes
//! about in two steps: when enough was synced, the indexes and the epochs are written to the page
//! cache and *ride along* with the next [`Dirty`]; when that is synced, the point is stored,
//! unsynced, since an older one is only slower.
//!
//! **Invariant.** A stored point is never ahead of the indexes and epochs that recovery takes from
//! their files because of it.

use std::io;

use brooklet_types::{Offset, Timestamp};

use crate::checkpoint::Checkpoint;
use crate::disk::{Disk, DiskFile};
use crate::epoch;
use crate::log::Log;

/// A recovery point is worth storing when this much more is synced: what is walked after a crash,
/// a few milliseconds' work.
const POINT_EVERY_BYTES: u64 = 8 << 20;

/// A partition that has fallen silent gets a recovery point for less: a broker may have thousands
/// of them, and walks what each has behind its point.
const POINT_IDLE_BYTES: u64 = 64 << 10;

/// What was written since the last [`Log::take_dirty`].
#[derive(Debug)]
pub(crate) struct Unsynced<F> {
    /// Files of closed segments.
    pub(crate) files: Vec<F>,
    /// The active segment has unsynced batches.
    pub(crate) active: bool,
    /// The folder has new names.
    pub(crate) folder: bool,
    /// Grows with every truncation, so that an older sync vouches for nothing.
    pub(crate) generation: u64,
    /// What was handed out, except the active segment, until a sync that began no earlier is done.
    handed_out: Vec<F>,
    /// How many [`Dirty`] there have been.
    serial: u64,
    /// Everything before this offset is durable in its segment, not only in the journal.
    segments: Offset,
    /// The recovery point in the making.
    coming: Option<Coming<F>>,
}

/// A recovery point that is not stored yet.
#[derive(Debug)]
struct Coming<F> {
    point: Point,
    /// What has to be synced before; none any more once it was handed out.
    riders: Vec<F>,
}

/// How much of a log was synced, and what recovery wants to know of the active segment then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Point {
    up_to: Offset,
    segment: Offset,
    position: u64,
    newest: Option<(Timestamp, Offset)>,
    oldest: Option<Timestamp>,
}

/// Files to sync, on whatever thread; then tell [`Log::synced`] with the token.
#[derive(Clone, Debug)]
pub struct Dirty<D: Disk> {
    disk: D,
    folder: Option<String>,
    files: Vec<D::File>,
    /// What to hand to [`Log::synced`] afterwards.
    pub token: SyncToken,
}

/// What a finished sync vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    synced: Point,
    /// A recovery point whose riders were on board.
    storable: Option<Point>,
    serial: u64,
    generation: u64,
}

impl<D: Disk> Dirty<D> {
    /// Syncs everything. An error means that nobody knows what is on the disk: end the process.
    pub fn sync(&self) -> io::Result<()> {
        self.files.iter().try_for_each(DiskFile::sync)?;
        self.folder.iter().try_for_each(|folder| self.disk.sync_folder(folder))
    }

    /// How many syncs this takes.
    pub fn sync_count(&self) -> usize {
        self.files.len() + usize::from(self.folder.is_some())
    }
}

impl<F> Unsynced<F> {
    /// After a start: what was found may be in the page cache only.
    pub(crate) fn found() -> Unsynced<F> {
        Unsynced {
            files: Vec::new(),
            active: true,
            folder: true,
            generation: 0,
            handed_out: Vec::new(),
            serial: 0,
            segments: Offset::ZERO,
            coming: None,
        }
    }

    /// What syncs under way vouch for is no longer there.
    pub(crate) fn disown(&mut self) {
        self.generation += 1;
        self.segments = Offset::ZERO;
        self.coming = None;
    }
}

impl<D: Disk> Log<D> {
    /// What has to be synced so that everything before `end_offset` is durable; none when it is.
    pub fn take_dirty(&mut self) -> Option<Dirty<D>> {
        if !self.is_dirty() {
            return None;
        }
        let mut files = std::mem::take(&mut self.unsynced.files);
        let mut storable = None;
        if let Some(coming) = &mut self.unsynced.coming
            && !coming.riders.is_empty()
        {
            files.append(&mut coming.riders);
            storable = Some(coming.point);
        }
        self.unsynced.handed_out.extend(files.iter().cloned());
        if std::mem::take(&mut self.unsynced.active) {
            files.push(self.active.file.clone());
        }
        self.unsynced.serial += 1;
        let folder = std::mem::take(&mut self.unsynced.folder).then(|| self.folder.clone());
        let (serial, generation) = (self.unsynced.serial, self.unsynced.generation);
        let token = SyncToken { synced: self.point(), storable, serial, generation };
        Some(Dirty { disk: self.disk.clone(), folder, files, token })
    }

    /// Whether there is anything to sync.
    pub fn is_dirty(&self) -> bool {
        let unsynced = &self.unsynced;
        let riders = unsynced.coming.as_ref().is_some_and(|coming| !coming.riders.is_empty());
        unsynced.active || unsynced.folder || riders || !unsynced.files.is_empty()
    }

    /// The syncs of a [`Dirty`] are done.
    pub fn synced(&mut self, token: SyncToken) -> io::Result<()> {
        if token.serial == self.unsynced.serial {
            self.unsynced.handed_out.clear();
        }
        if token.generation != self.unsynced.generation {
            return Ok(());
        }
        self.durable = self.durable.max(token.synced.up_to);
        self.unsynced.segments = self.unsynced.segments.max(token.synced.up_to);
        if let Some(point) = token.storable {
            self.unsynced.coming = None;
            unless_full(self.store_point(point, false))?;
        }
        if self.bytes_behind_point(&token.synced) >= POINT_EVERY_BYTES {
            unless_full(self.prepare_point(token.synced))?;
        }
        Ok(())
    }

    /// The journal holds everything before `up_to` durably; the segments may lag behind.
    pub fn journaled(&mut self, up_to: Offset) {
        self.durable = self.durable.max(up_to.min(self.end));
    }

    /// Begins a recovery point for a partition that nobody writes to any more.
    pub(crate) fn note_idle(&mut self) -> io::Result<()> {
        let point = self.point();
        let unsynced = self.unsynced.active || !self.unsynced.files.is_empty();
        if unsynced || self.bytes_behind_point(&point) < POINT_IDLE_BYTES {
            return Ok(());
        }
        unless_full(self.prepare_point(point)).map(|_| ())
    }

    /// What recovery would walk more than it needs to, were `point` stored.
    fn bytes_behind_point(&self, point: &Point) -> u64 {
        if point.segment == self.checkpoint.segment {
            point.position.saturating_sub(self.checkpoint.position)
        } else {
            // The rest of that other segment, too: a closed one behind the point is walked whole.
            POINT_EVERY_BYTES
        }
    }

    /// Writes what a recovery point at `point` needs, for the next [`Dirty`] to take along.
    fn prepare_point(&mut self, point: Point) -> io::Result<()> {
        // One at a time; and indexes of a segment that was closed since are being synced already.
        if self.unsynced.coming.is_some() || point.segment != self.active.base {
            return Ok(());
        }
        let mut riders = Vec::with_capacity(3);
        riders.extend(self.write_epochs()?);
        riders.extend(self.active.store_indexes(&self.disk, &self.folder)?);
        // The first time, their names are new.
        self.unsynced.folder |= point.segment != self.checkpoint.segment
            || self.checkpoint.position == 0
            || riders.len() > 2;
        self.unsynced.coming = Some(Coming { point, riders });
        Ok(())
    }

    /// Replaces the file of epochs when it is not up to date. A crash between this and the point
    /// that goes with it leaves an older point, which vouches for the part that it knows.
    fn write_epochs(&mut self) -> io::Result<Option<D::File>> {
        if self.epochs_stored.as_ref() == Some(&self.epochs) {
            return Ok(None);
        }
        let fresh = format!("{}/{}.tmp", self.folder, epoch::NAME);
        let file = self.disk.create(&fresh)?;
        file.write_at(&[self.epochs.to_text().as_bytes()], 0)?;
        self.disk.rename(&fresh, &format!("{}/{}", self.folder, epoch::NAME))?;
        self.epochs_stored = Some(self.epochs.clone());
        Ok(Some(file))
    }

    fn store_point(&mut self, point: Point, clean: bool) -> io::Result<D::File> {
        self.checkpoint = Checkpoint {
            serial: self.checkpoint.serial + 1,
            log_start: self.start,
            recovered: point.up_to,
            segment: point.segment,
            position: point.position,
            newest: point.newest,
            oldest: point.oldest,
            epochs: self.epochs.fingerprint(self.start, point.up_to),
            clean,
        };
        // The first time, its name is new.
        self.unsynced.folder |= self.checkpoint.serial == 1;
        self.checkpoint.store(&self.disk, &self.folder)
    }

    /// Makes the segments durable up to `offset`, here and now, where they are not.
    pub(crate) fn sync_up_to(&mut self, offset: Offset) -> io::Result<()> {
        if offset > self.unsynced.segments { self.sync() } else { Ok(()) }
    }

    /// Syncs everything here and now, and stores a recovery point.
    pub fn sync(&mut self) -> io::Result<()> {
        self.sync_as(false)
    }

    fn sync_as(&mut self, clean: bool) -> io::Result<()> {
        self.unsynced.coming = None;
        let prepared = unless_full(self.prepare_point(self.point()))?;
        // Syncs that others were asked for may not have begun.
        let handed_out = std::mem::take(&mut self.unsynced.handed_out);
        self.unsynced.files.extend(handed_out);
        (self.unsynced.active, self.unsynced.folder) = (true, true);
        let dirty = self.take_dirty().expect("just marked");
        dirty.sync()?;
        self.unsynced.handed_out.clear();
        (self.durable, self.unsynced.segments) = (self.end, self.end);
        self.unsynced.coming = None;
        let Some(()) = prepared else { return Ok(()) };
        let file = unless_full(self.store_point(dirty.token.synced, clean))?;
        file.filter(|_| clean).map_or(Ok(()), |file| file.sync())
    }

    /// Ends the log in order: no padding, everything synced, the next start has nothing to walk.
    pub fn close(mut self) -> io::Result<()> {
        if !self.remembered.producers.is_empty() {
            // Only a shortcut: without it the next start reads the log.
            let _ = self.write_snapshot();
        }
        self.active.cut_padding()?;
        self.sync_as(true)?;
        self.disk.sync_folder(&self.folder)
    }

    /// The log as it is now.
    fn point(&self) -> Point {
        Point {
            up_to: self.end,
            segment: self.active.base,
            position: self.active.size,
            newest: self.active.newest,
            oldest: self.active.oldest,
        }
    }
}

/// None when the disk is full: a recovery point can wait, it only saves time.
fn unless_full<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::StorageFull => Ok(None),
        other => other.map(Some),
    }
}
