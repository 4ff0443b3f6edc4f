//! Making what was written durable: one sync at a time, everything written since in the next.
//!
//! While a sync runs the shard goes on writing. What it writes in the meantime is covered
//! by the next sync, which starts as soon as the first is done: the slower the disk, the more each
//! sync carries. With few dirty files the files are synced; with many and little in each, their
//! batches go to the journal and that one file is synced instead (DESIGN §3).
//!
//! **Invariant.** What a sync covers is in the journal completely or in synced segments
//! completely, for each partition. So a log that lost its unsynced end finds all of it in the
//! journal.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;

use brooklet_log::journal::{Entry, Journal};
use brooklet_log::{Dirty, Disk, DiskFile, SyncToken};
use brooklet_types::{Instant, Offset, Timestamp, TopicPartition};
use brooklet_wire::batch::HEADER_BYTES;
use bytes::Bytes;

use crate::output::{Event, Output};
use crate::shard::{Shard, Waiting};

/// With no more dirty files than this, syncing them costs less than writing their batches twice.
const JOURNAL_FILES_MIN: usize = 4;

/// A file's sync costs about as much as writing this many bytes a second time. With more in each
/// dirty file, the files are synced.
const JOURNAL_BYTES_PER_FILE_MAX: usize = 128 << 10;

/// Names one sync. They complete in the order in which they began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SyncId(pub u64);

/// Files to make durable, on whatever thread the shell likes.
#[derive(Debug)]
pub struct SyncJob<D: Disk> {
    /// Comes back with `Input::Synced`.
    pub id: SyncId,
    logs: Vec<Dirty<D>>,
    journal: Option<D::File>,
}

impl<D: Disk> SyncJob<D> {
    /// Syncs one file after the other. After an error nobody knows what is on the disk: the caller
    /// ends the process and recovery reads the truth.
    pub fn run(&self) -> io::Result<()> {
        self.logs.iter().try_for_each(Dirty::sync)?;
        self.journal.iter().try_for_each(DiskFile::sync)
    }

    /// How many system calls that takes.
    pub fn sync_count(&self) -> usize {
        self.logs.iter().map(Dirty::sync_count).sum::<usize>() + self.journal.iter().len()
    }
}

/// What one sync will make true, for one partition.
#[derive(Clone, Copy, Debug)]
enum Covered {
    /// The files.
    Files(SyncToken, Offset),
    /// The journal holds everything before this offset that the files may not; or there is nothing of the
    /// kind, because the log has synced by itself.
    Journal(Offset),
}

/// Batches written since the last sync began, in case the journal takes them.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    entries: Vec<Entry>,
    bytes: usize,
    /// More than the journal would ever take: the entries are not kept any more.
    too_much: bool,
}

/// The shard's syncs, and who waits for them.
#[derive(Debug)]
pub(crate) struct Syncs<D: Disk, T> {
    waiting: VecDeque<(SyncId, T)>,
    next: SyncId,
    running: Option<(SyncId, BTreeMap<TopicPartition, Covered>)>,
    /// Logs with something that no sync covers yet.
    dirty: BTreeSet<TopicPartition>,
    turn: Turn,
    journal: Journal<D>,
    /// Partitions of which the journal has batches that their files may not have durably.
    journaled: BTreeSet<TopicPartition>,
}

impl<D: Disk, T> Syncs<D, T> {
    pub(crate) fn new(journal: Journal<D>) -> Syncs<D, T> {
        Syncs {
            waiting: VecDeque::new(),
            next: SyncId(1),
            running: None,
            dirty: BTreeSet::new(),
            turn: Turn::default(),
            journal,
            journaled: BTreeSet::new(),
        }
    }

    /// Has `thing` wait for the next sync to begin and end.
    pub(crate) fn park(&mut self, thing: T) {
        self.waiting.push_back((self.next, thing));
    }

    /// A batch was written to `partition` and is to be covered by the next sync. `header` is how
    /// the batch begins in the file, `batch` the bytes it came in.
    pub(crate) fn wrote(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        header: &[u8; HEADER_BYTES],
        batch: &Bytes,
    ) {
        self.dirty.insert(partition);
        self.turn.bytes += batch.len();
        let most = JOURNAL_BYTES_PER_FILE_MAX * self.dirty.len().max(JOURNAL_FILES_MIN);
        if self.turn.too_much || self.turn.bytes > most {
            // Bytes kept are frames kept in memory: let go as soon as it is clear what will be.
            self.turn.too_much = true;
            self.turn.entries.clear();
            return;
        }
        let head = Bytes::copy_from_slice(header);
        let tail = batch.slice(HEADER_BYTES..);
        self.turn.entries.push(Entry { partition, base, head, tail });
    }

    /// Something about `partition` other than a batch must be covered by the next sync.
    pub(crate) fn touched(&mut self, partition: TopicPartition) {
        self.dirty.insert(partition);
        self.turn.too_much = true;
    }

    /// The partition's log was cut, and what is left of it synced: what is under way vouches for nothing of it.
    pub(crate) fn disown(&mut self, partition: TopicPartition) {
        self.journaled.remove(&partition);
        if let Some((_, covered)) = &mut self.running {
            covered.remove(&partition);
        }
    }

    /// The partition is gone; there is nothing left to make durable.
    pub(crate) fn forget(&mut self, partition: TopicPartition) {
        self.dirty.remove(&partition);
        self.journaled.remove(&partition);
    }

    fn wants_journal(&self) -> bool {
        let turn = &self.turn;
        !turn.too_much
            && self.dirty.len() > JOURNAL_FILES_MIN
            && turn.bytes <= JOURNAL_BYTES_PER_FILE_MAX * self.dirty.len()
            && self.journal.has_room(&turn.entries)
    }
}

impl<D: Disk> Shard<D> {
    /// Ends a turn: what was written since the last sync is handed to the next one, unless one is
    /// under way, which is then followed by another. To be called after each run of inputs.
    pub fn end_turn(&mut self, outbox: &mut Vec<Output<D>>) {
        self.end_turn_of_copies(outbox);
        // Who waits is answered, also when what was written is gone with its partition.
        let is_wanted = !self.syncs.dirty.is_empty() || !self.syncs.waiting.is_empty();
        if self.syncs.running.is_some() || !is_wanted {
            return;
        }
        let through_journal = self.syncs.wants_journal() && self.write_journal();
        let job = if through_journal { self.sync_journal() } else { self.sync_files() };
        outbox.push(Output::Sync(job));
    }

    /// Writes the turn's batches to the journal. False when the disk has no room for them.
    fn write_journal(&mut self) -> bool {
        self.syncs.journal.write(&self.syncs.turn.entries).is_ok()
    }

    fn sync_journal(&mut self) -> SyncJob<D> {
        let mut covered = BTreeMap::new();
        for id in std::mem::take(&mut self.syncs.dirty) {
            let Some(partition) = self.partitions.get(&id) else { continue };
            covered.insert(id, Covered::Journal(partition.log.end_offset()));
            self.syncs.journaled.insert(id);
        }
        let journal = Some(self.syncs.journal.file());
        SyncJob { id: self.begin_sync(covered), logs: Vec::new(), journal }
    }

    /// Syncs the dirty logs, and when the journal is full also those that it vouches for, so that
    /// it can start over.
    fn sync_files(&mut self) -> SyncJob<D> {
        let mut ids = std::mem::take(&mut self.syncs.dirty);
        if self.syncs.journal.has_room(&self.syncs.turn.entries) {
            self.syncs.journaled.retain(|id| !ids.contains(id));
        } else {
            ids.append(&mut self.syncs.journaled);
        }
        let mut covered = BTreeMap::new();
        let mut logs = Vec::new();
        for id in ids {
            let Some(partition) = self.partitions.get_mut(&id) else { continue };
            let end = partition.log.end_offset();
            match partition.log.take_dirty() {
                Some(dirty) => {
                    covered.insert(id, Covered::Files(dirty.token, end));
                    logs.push(dirty);
                }
                None => {
                    covered.insert(id, Covered::Journal(partition.log.durable_end()));
                }
            }
        }
        SyncJob { id: self.begin_sync(covered), logs, journal: None }
    }

    fn begin_sync(&mut self, covered: BTreeMap<TopicPartition, Covered>) -> SyncId {
        let syncs = &mut self.syncs;
        assert!(syncs.running.is_none(), "one sync at a time");
        syncs.turn = Turn::default();
        let id = syncs.next;
        syncs.next = SyncId(id.0 + 1);
        syncs.running = Some((id, covered));
        id
    }

    /// A sync is done: show what it made durable, and answer who waited for it.
    pub(crate) fn synced(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: SyncId,
        outbox: &mut Vec<Output<D>>,
    ) {
        let (began, covered) = self.syncs.running.take().expect("a sync ends after it began");
        assert_eq!(began, id, "the sync that ended is the one that began");
        if self.syncs.journaled.is_empty() && !self.syncs.journal.is_empty() {
            // Whatever the journal vouched for is in synced files now.
            self.syncs.journal.start_over();
        }
        for (id, covered) in covered {
            self.make_durable(now, id, covered, outbox);
        }
        while let Some((_, waiting)) = self.syncs.waiting.pop_front_if(|(needs, _)| *needs <= id) {
            match waiting {
                Waiting::Reply { ticket, reply } => outbox.push(Output::Reply { ticket, reply }),
                Waiting::Produce(ticket) => self.produce_synced(ticket, outbox),
                Waiting::Group { id, token } => {
                    self.group_appended(now, clock, (id, token), outbox);
                }
                Waiting::Quorum(number) => self.metadata_written(now, clock, number, outbox),
            }
        }
    }

    fn make_durable(
        &mut self,
        now: Instant,
        id: TopicPartition,
        covered: Covered,
        outbox: &mut Vec<Output<D>>,
    ) {
        let Some(partition) = self.partitions.get_mut(&id) else { return };
        let end = match covered {
            Covered::Journal(end) => {
                partition.log.journaled(end);
                end
            }
            Covered::Files(token, end) => {
                if let Err(error) = partition.log.synced(token) {
                    // Only the recovery point was not stored: the next start walks further.
                    let folder = partition.log.folder().to_owned();
                    let problem = error.to_string();
                    outbox.push(Output::Event(Event::PartitionFailed { folder, problem }));
                }
                end
            }
        };
        self.log_moved(now, id, end, outbox);
    }
}
