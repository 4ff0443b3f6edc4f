//! The journal of the one log, as a shard keeps it: what was written since the last sync, for the next.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::journal::{Entry, Journal};
use brooklet_log::{Disk, DiskFile};
use brooklet_types::{ByteSize, Offset, PartitionIndex, TopicId, TopicPartition};
use brooklet_wire::batch::HEADER_BYTES;
use bytes::Bytes;

const PARTITION: TopicPartition =
    TopicPartition { topic: TopicId([1; 16]), partition: PartitionIndex(0) };

/// Small, so that it is full and starts over before what is in it.
const CAPACITY: ByteSize = ByteSize::kib(24);

/// Where a leader's epoch stands in a batch.
const EPOCH_AT: std::ops::Range<usize> = 12..16;

/// A journal, and what is to go to it.
pub(super) struct Paper {
    journal: Journal<MemoryDisk>,
    since: Vec<Entry>,
    /// Something was written that only the log's own files can vouch for.
    by_files: bool,
}

impl Paper {
    /// Opens the journal; with what is in it.
    pub(super) fn open(disk: &MemoryDisk) -> Result<(Paper, Vec<Entry>), String> {
        disk.create_folder("journal").map_err(|error| error.to_string())?;
        let opened = Journal::open(disk, "journal/0", CAPACITY);
        let (journal, entries) = opened.map_err(|error| error.to_string())?;
        Ok((Paper { journal, since: Vec::new(), by_files: false }, entries))
    }

    /// A batch was written where the log ended at `from`; without a header it is none for the journal.
    pub(super) fn wrote(
        &mut self,
        from: Offset,
        header: Option<[u8; HEADER_BYTES]>,
        batch: &Bytes,
    ) {
        let Some(header) = header else {
            self.by_files = true;
            return;
        };
        let (head, tail) = (Bytes::copy_from_slice(&header), batch.slice(HEADER_BYTES..));
        self.since.push(Entry { partition: PARTITION, base: from, head, tail });
    }

    /// Everything that was written is durable in the log's files.
    pub(super) fn synced(&mut self, starts_over: bool) {
        if starts_over || !self.journal.has_room(&self.since) {
            self.journal.start_over();
        }
        self.since.clear();
        self.by_files = false;
    }

    /// Makes what was written since the last sync durable; false where that takes the log's files. Entries of
    /// what was cut meanwhile go along, as they do in a shard.
    pub(super) fn journal(&mut self) -> Result<bool, String> {
        if self.by_files || !self.journal.has_room(&self.since) {
            return Ok(false);
        }
        self.journal.write(&self.since).map_err(|error| format!("journal: {error}"))?;
        self.journal.file().sync().map_err(|error| format!("journal: {error}"))?;
        self.since.clear();
        Ok(true)
    }
}

/// Has every entry look as if it were of `epoch`: no checksum covers that.
pub(super) fn rejuvenate(entries: &mut [Entry], epoch: u32) {
    for entry in entries {
        let mut bytes = entry.tail.to_vec();
        bytes[EPOCH_AT].copy_from_slice(&epoch.to_be_bytes());
        entry.tail = bytes.into();
    }
}
