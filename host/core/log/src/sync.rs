//! What of a log is durable, what has to be synced so that more is, and where recovery may begin.
//!
//! **Where it sits.** The part of a log that a shard's turn ends with: [`Log::take_dirty`] hands
//! out files to sync on any thread, and [`Log::synced`] hears that it was done.
//!
//! **What it decides.** When a recovery point is stored, and what has to be durable before it is.
//!
//! **What it never does.** Sync on the shard's thread while producers wait. When a recovery point
//! is due, the indexes, the epochs and the producers are written to the page cache and *ride along*
//! with a [`Dirty`]; when that is synced, the point is stored, unsynced, since an older one is only
//! slower.
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
    /// The next [`Dirty`] is to bring a recovery point, however little it saves.
    point_wanted: bool,
    /// A [`Dirty`] with a recovery point was handed out.
    point_under_way: bool,
    /// A sync failed here: nobody knows what is on the disk, so that no later one may say that it does.
    failed: bool,
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
    failed: bool,
    /// What to hand to [`Log::synced`] afterwards.
    pub token: SyncToken,
}

/// What a finished sync vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SyncToken {
    synced: Point,
    /// Whether what a recovery point needs was on board.
    storable: bool,
    serial: u64,
    generation: u64,
}

impl<D: Disk> Dirty<D> {
    /// Syncs everything. An error means that nobody knows what is on the disk: end the process.
    pub fn sync(&self) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("an earlier sync of the same files failed"));
        }
        self.files.iter().try_for_each(DiskFile::sync)?;
        match self.folder.iter().try_for_each(|folder| self.disk.sync_folder(folder)) {
            // The log was removed while this was on its way: nobody asks for names in it any more.
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            synced => synced,
        }
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
            point_wanted: false,
            point_under_way: false,
            failed: false,
        }
    }

    /// What syncs under way vouch for is no longer there.
    pub(crate) fn disown(&mut self) {
        self.generation += 1;
        self.segments = Offset::ZERO;
        self.point_under_way = false;
    }
}

impl<D: Disk> Log<D> {
    /// What has to be synced so that everything before `end_offset` is durable; none when it is.
    pub fn take_dirty(&mut self) -> Option<Dirty<D>> {
        if !self.is_dirty() {
            return None;
        }
        let wanted = std::mem::take(&mut self.unsynced.point_wanted);
        let due = wanted || self.bytes_behind_point() >= POINT_EVERY_BYTES;
        // A disk that refuses this is found out by the sync; a point only saves time.
        let storable = due && !self.unsynced.point_under_way && self.prepare_point().is_ok();
        self.unsynced.point_under_way |= storable;
        let mut files = std::mem::take(&mut self.unsynced.files);
        self.unsynced.handed_out.extend(files.iter().cloned());
        if std::mem::take(&mut self.unsynced.active) {
            files.push(self.active.file.clone());
            // A batch behind a gap is worth as much as its entry.
            let index = self.active.index.clone();
            files.extend(index.filter(|_| self.active.has_gaps()));
        }
        self.unsynced.serial += 1;
        let folder = std::mem::take(&mut self.unsynced.folder).then(|| self.folder.clone());
        let (serial, generation) = (self.unsynced.serial, self.unsynced.generation);
        let token = SyncToken { synced: self.point(), storable, serial, generation };
        let (disk, failed) = (self.disk.clone(), self.unsynced.failed);
        Some(Dirty { disk, folder, files, failed, token })
    }

    /// What was handed out and has not been synced is handed out again: whoever asks from now on waits for
    /// everything before.
    pub fn take_back(&mut self) {
        let handed_out = std::mem::take(&mut self.unsynced.handed_out);
        self.unsynced.files.extend(handed_out);
        (self.unsynced.active, self.unsynced.folder) = (true, true);
    }

    /// Whether there is anything to sync.
    pub fn is_dirty(&self) -> bool {
        let unsynced = &self.unsynced;
        let due = unsynced.point_wanted && !unsynced.point_under_way;
        let files = unsynced.active || !unsynced.files.is_empty();
        files || unsynced.folder || due || unsynced.failed
    }

    /// The syncs of a [`Dirty`] are done.
    pub fn synced(&mut self, token: SyncToken) -> io::Result<()> {
        self.synced_as(token, false).map(|_| ())
    }

    /// Counts what is durable; gives back the file of the recovery point, if there was one to store.
    fn synced_as(&mut self, token: SyncToken, clean: bool) -> io::Result<Option<D::File>> {
        if token.serial == self.unsynced.serial {
            self.unsynced.handed_out.clear();
        }
        if token.generation != self.unsynced.generation {
            return Ok(None);
        }
        self.durable = self.durable.max(token.synced.up_to);
        self.unsynced.segments = self.unsynced.segments.max(token.synced.up_to);
        if !token.storable {
            return Ok(None);
        }
        self.unsynced.point_under_way = false;
        if token.synced.up_to < self.checkpoint.recovered {
            // A sync here and now has overtaken this one.
            return Ok(None);
        }
        unless_full(self.store_point(token.synced, clean))
    }

    /// The journal holds everything before `up_to` durably; the segments may lag behind.
    pub fn journaled(&mut self, up_to: Offset) {
        self.durable = self.durable.max(up_to.min(self.end));
    }

    /// Asks for a recovery point for a partition that nobody writes to any more.
    pub(crate) fn note_idle(&mut self) {
        let unsynced = self.unsynced.active || !self.unsynced.files.is_empty();
        self.unsynced.point_wanted |= !unsynced && self.bytes_behind_point() >= POINT_IDLE_BYTES;
    }

    /// What recovery would walk less, were a point stored.
    fn bytes_behind_point(&self) -> u64 {
        if self.active.base == self.checkpoint.segment {
            self.active.size.saturating_sub(self.checkpoint.position)
        } else {
            // The rest of that other segment, too: a closed one behind the point is walked whole.
            POINT_EVERY_BYTES
        }
    }

    /// Writes what a recovery point at the end of the log needs, to be synced with the log.
    fn prepare_point(&mut self) -> io::Result<()> {
        let epochs = self.write_epochs()?;
        let indexes = self.active.store_indexes(&self.disk, &self.folder)?;
        // The point before this one is durable by then, and nothing older is needed any more.
        let before = self.checkpoint.serial > 0;
        let before = before.then(|| Checkpoint::open(&self.disk, &self.folder)).transpose()?;
        let snapshot = self.write_snapshot()?;
        self.unsynced.files.extend(before);
        // The snapshot's name is new each time.
        self.unsynced.folder = true;
        self.unsynced.files.push(snapshot);
        self.unsynced.files.extend(epochs);
        self.unsynced.files.extend(indexes);
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
            gaps: self.checkpoint.gaps,
            cut_epoch: self.checkpoint.cut_epoch,
        };
        // The first time, its name is new.
        self.unsynced.folder |= self.checkpoint.serial == 1;
        let file = self.checkpoint.store(&self.disk, &self.folder)?;
        self.remove_old_snapshots()?;
        Ok(file)
    }

    /// Makes the segments durable up to `offset`, here and now, where they are not.
    pub(crate) fn sync_up_to(&mut self, offset: Offset) -> io::Result<()> {
        if offset > self.unsynced.segments { self.sync() } else { Ok(()) }
    }

    /// Syncs everything here and now, and stores a recovery point. After an error every [`Dirty`] fails, so
    /// that whoever carries out syncs ends the process.
    pub fn sync(&mut self) -> io::Result<()> {
        self.sync_as(false)
    }

    fn sync_as(&mut self, clean: bool) -> io::Result<()> {
        let unsynced = &mut self.unsynced;
        (unsynced.point_wanted, unsynced.point_under_way) = (true, false);
        // Syncs that others were asked for may not have begun.
        let handed_out = std::mem::take(&mut unsynced.handed_out);
        unsynced.files.extend(handed_out);
        (unsynced.active, unsynced.folder) = (true, true);
        let dirty = self.take_dirty().expect("just marked");
        let synced = dirty.sync();
        self.unsynced.failed = synced.is_err();
        synced?;
        let point = self.synced_as(dirty.token, clean)?;
        point.filter(|_| clean).map_or(Ok(()), |file| file.sync())
    }

    /// Ends the log in order: no padding, everything synced, the next start has nothing to walk.
    pub fn close(mut self) -> io::Result<()> {
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
