//! One file that makes many partitions' small writes durable with one sync.
//!
//! **Where it sits.** Beside a shard's logs. A turn that dirtied many files writes its batches here a
//! second time and syncs this one file; the segments follow through the page cache and are synced
//! when the journal starts over (DESIGN §3 has the measurements).
//!
//! **What it decides.** What a frame is, and which frames of a file are to be believed.
//!
//! **What it never does.** Decide when to be used, or touch a segment: whoever recovers hands its
//! entries to the logs, which take what they lack.
//!
//! **Format.** Frames begin at multiples of [`ALIGNMENT`]. A frame is a turn:
//!
//! ```text
//! magic u32 · version u16 · zero u16 · generation u64 · turn u64 · payload length u32 · payload crc u32 · header crc u32
//! payload: for each entry  topic id 16 B · partition u32 · base offset u64 · length u32 · batch
//! ```
//!
//! All numbers are big-endian, checksums are CRC-32C.
//!
//! **Invariants.**
//! 1. A frame is believed only if both its checksums hold, whatever lies around it. So a flipped
//!    bit costs the frame it is in and no other.
//! 2. Frames of an older generation may be believed too: everything in them is in synced
//!    segments, or was cut from them. A log takes no batch that it has already, nor one of an epoch
//!    that is over since it was cut. Replaying twice is harmless, and so starting over needs no write
//!    of its own.

use std::io;
use std::ops::Range;

use brooklet_types::{ByteSize, Offset, PartitionIndex, TopicId, TopicPartition};
use brooklet_wire::checksum;
use bytes::Bytes;

use crate::disk::{Disk, DiskFile};

/// Frames begin at multiples of this: a sector, so that a torn frame never damages the one before.
const ALIGNMENT: u64 = 512;

const MAGIC: u32 = 0x424b_4a31;
const VERSION: u16 = 1;
const HEADER_BYTES: usize = 36;
const ENTRY_BYTES: usize = 32;

/// A shard's journal.
#[derive(Debug)]
pub struct Journal<D: Disk> {
    file: D::File,
    capacity: u64,
    /// Where the next frame goes.
    position: u64,
    generation: u64,
    turn: u64,
}

/// One batch, as it stands in its segment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Whose it is.
    pub partition: TopicPartition,
    /// Where its log ended when it was written: its first offset, or the first of those that are missing
    /// before it.
    pub base: Offset,
    /// The bytes that come first: the part of the header that the broker fills in.
    pub head: Bytes,
    /// The rest of the batch.
    pub tail: Bytes,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The disk says no.
    #[error("journal {path}: {source}")]
    Disk { path: String, source: io::Error },
    /// A later release wrote it.
    #[error("journal {path}: format version {version}, this broker reads {VERSION}")]
    NewerVersion { path: String, version: u16 },
}

impl<D: Disk> Journal<D> {
    /// Opens the journal at `path`, creating it with room for `capacity` if it is not there, and
    /// reads what is in it: the entries of every whole frame, in the order in which they were
    /// written. They are to be taken into the logs and the logs synced before [`Journal::write`].
    pub fn open(
        disk: &D,
        path: &str,
        capacity: ByteSize,
    ) -> Result<(Journal<D>, Vec<Entry>), JournalError> {
        let failed = |source| JournalError::Disk { path: path.to_owned(), source };
        let (file, written) = match disk.open(path) {
            Ok(file) => {
                let written = Written::read(&file).map_err(failed)?;
                (file, written)
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                (disk.create(path).map_err(failed)?, Written::default())
            }
            Err(error) => return Err(failed(error)),
        };
        file.allocate(capacity.0).map_err(failed)?;
        file.sync().map_err(failed)?;
        if let Some((folder, _)) = path.rsplit_once('/') {
            disk.sync_folder(folder).map_err(failed)?;
        }
        let mut frames = scan(&written, path)?;
        frames.sort_by_key(|frame| (frame.generation, frame.turn));
        let generation = frames.last().map_or(1, |frame| frame.generation + 1);
        let entries = frames.into_iter().flat_map(|frame| frame.entries).collect();
        let journal = Journal { file, capacity: capacity.0, position: 0, generation, turn: 0 };
        Ok((journal, entries))
    }

    /// Whether a frame with these entries fits before the journal must start over.
    pub fn has_room(&self, entries: &[Entry]) -> bool {
        self.position + frame_bytes(entries) <= self.capacity
    }

    /// Writes one turn. It is durable when [`Journal::file`] has been synced, and not before.
    pub fn write(&mut self, entries: &[Entry]) -> io::Result<()> {
        assert!(self.has_room(entries), "the caller starts over first");
        let heads: Vec<[u8; ENTRY_BYTES]> = entries.iter().map(entry_head).collect();
        let mut parts: Vec<&[u8]> = Vec::with_capacity(1 + 3 * entries.len());
        parts.push(&[]);
        for (head, entry) in heads.iter().zip(entries) {
            parts.extend([&head[..], &entry.head, &entry.tail]);
        }
        let header = self.frame_head(&parts[1..]);
        parts[0] = &header;
        self.file.write_at(&parts, self.position)?;
        self.position += frame_bytes(entries);
        self.turn += 1;
        Ok(())
    }

    /// The file to sync.
    pub fn file(&self) -> D::File {
        self.file.clone()
    }

    /// Begins again at the front. Everything in the journal must be in synced segments by now.
    pub fn start_over(&mut self) {
        self.position = 0;
        self.generation += 1;
        self.turn = 0;
    }

    /// Whether nothing has been written since the last start.
    pub fn is_empty(&self) -> bool {
        self.position == 0
    }

    fn frame_head(&self, payload: &[&[u8]]) -> [u8; HEADER_BYTES] {
        let length: usize = payload.iter().map(|part| part.len()).sum();
        let length = u32::try_from(length).expect("bounded by the journal's capacity");
        let crc = checksum::of_parts(payload);
        let mut head = [0; HEADER_BYTES];
        head[..4].copy_from_slice(&MAGIC.to_be_bytes());
        head[4..6].copy_from_slice(&VERSION.to_be_bytes());
        head[8..16].copy_from_slice(&self.generation.to_be_bytes());
        head[16..24].copy_from_slice(&self.turn.to_be_bytes());
        head[24..28].copy_from_slice(&length.to_be_bytes());
        head[28..32].copy_from_slice(&crc.to_be_bytes());
        let own = checksum::of(&head[..32]);
        head[32..].copy_from_slice(&own.to_be_bytes());
        head
    }
}

/// A frame that was read back.
#[derive(Debug)]
struct Frame {
    generation: u64,
    turn: u64,
    entries: Vec<Entry>,
}

/// Every whole frame. After a frame that is not whole the search goes on at the next place where one
/// could begin.
fn scan(written: &Written, path: &str) -> Result<Vec<Frame>, JournalError> {
    let step = usize::try_from(ALIGNMENT).expect("a sector");
    let bytes = &written.bytes;
    let mut frames = Vec::new();
    let mut position = 0;
    while let Some(begin) = written.next(position) {
        position = begin;
        let Some(head) = bytes.get(position..position + HEADER_BYTES) else { break };
        let Some(length) = frame_length(head, path)? else {
            position += step;
            continue;
        };
        let start = position + HEADER_BYTES;
        let payload = start.checked_add(length).filter(|end| *end <= bytes.len());
        let payload = payload.map(|end| bytes.slice(start..end));
        match payload.filter(|payload| checksum::of(payload) == be_u32(&head[28..])) {
            Some(payload) => {
                let (generation, turn) = (be_u64(&head[8..]), be_u64(&head[16..]));
                frames.push(Frame { generation, turn, entries: entries(&payload) });
                position = (start + length).next_multiple_of(step);
            }
            None => position += step,
        }
    }
    Ok(frames)
}

/// The length of the payload behind `head`, or `None` when it heads no frame.
fn frame_length(head: &[u8], path: &str) -> Result<Option<usize>, JournalError> {
    if be_u32(head) != MAGIC || checksum::of(&head[..32]) != be_u32(&head[32..]) {
        return Ok(None);
    }
    let version = u16::from_be_bytes([head[4], head[5]]);
    if version != VERSION {
        return Err(JournalError::NewerVersion { path: path.to_owned(), version });
    }
    Ok(Some(be_u32(&head[24..]) as usize))
}

/// The entries of a payload whose checksum holds. What does not parse all the same is left out.
fn entries(payload: &Bytes) -> Vec<Entry> {
    let mut entries = Vec::new();
    let mut rest = payload.clone();
    while rest.len() >= ENTRY_BYTES {
        let head = rest.split_to(ENTRY_BYTES);
        let length = be_u32(&head[28..]) as usize;
        let (Some(base), true) = (offset(&head[20..]), length <= rest.len()) else { break };
        let topic = TopicId(head[..16].try_into().expect("sixteen bytes"));
        let partition = TopicPartition { topic, partition: PartitionIndex(be_u32(&head[16..])) };
        let tail = rest.split_to(length);
        entries.push(Entry { partition, base, head: Bytes::new(), tail });
    }
    entries
}

fn offset(bytes: &[u8]) -> Option<Offset> {
    i64::try_from(be_u64(bytes)).ok().and_then(Offset::from_wire)
}

fn entry_head(entry: &Entry) -> [u8; ENTRY_BYTES] {
    let length = entry.head.len() + entry.tail.len();
    let length = u32::try_from(length).expect("a batch is smaller than a frame of the protocol");
    let mut head = [0; ENTRY_BYTES];
    head[..16].copy_from_slice(&entry.partition.topic.0);
    head[16..20].copy_from_slice(&entry.partition.partition.0.to_be_bytes());
    head[20..28].copy_from_slice(&entry.base.value().to_be_bytes());
    head[28..].copy_from_slice(&length.to_be_bytes());
    head
}

/// Bytes a frame takes in the file, up to where the next may begin.
fn frame_bytes(entries: &[Entry]) -> u64 {
    let batches: usize =
        entries.iter().map(|entry| ENTRY_BYTES + entry.head.len() + entry.tail.len()).sum();
    ((HEADER_BYTES + batches) as u64).next_multiple_of(ALIGNMENT)
}

/// What stands in a journal's file. Most of one is space that was reserved and never written to: it is
/// not read, which would have the system make zeroes of it, and not looked at.
#[derive(Debug, Default)]
struct Written {
    /// From the file's beginning on, zeroes where nothing was written.
    bytes: Bytes,
    stretches: Vec<Range<usize>>,
}

impl Written {
    fn read<F: DiskFile>(file: &F) -> io::Result<Written> {
        let length = usize::try_from(file.len()?).unwrap_or(usize::MAX).min(BYTES_MAX);
        let mut bytes = vec![0; length];
        let mut stretches = Vec::new();
        let mut position = 0;
        while let Some(stretch) = file.written_from(position as u64)? {
            let within = |position: u64| usize::try_from(position).unwrap_or(length).min(length);
            let (start, end) = (within(stretch.start), within(stretch.end));
            if end <= position {
                break;
            }
            file.read_at(&mut bytes[start..end], start as u64)?;
            stretches.push(start..end);
            position = end;
        }
        Ok(Written { bytes: bytes.into(), stretches })
    }

    /// The first place at or behind `position`, which is one, where a frame could begin. A frame may
    /// reach over what was never written: zeroes are what it had there.
    fn next(&self, position: usize) -> Option<usize> {
        let step = usize::try_from(ALIGNMENT).expect("a sector");
        let passed = self.stretches.partition_point(|stretch| stretch.end <= position);
        // The page of a file system is longer than a sector, but who knows.
        let start = self.stretches.get(passed)?.start;
        Some(position.max(start / step * step))
    }
}

/// No journal is ever made larger; what lies beyond this was not written by us.
const BYTES_MAX: usize = 1 << 30;

fn be_u32(bytes: &[u8]) -> u32 {
    u32::from_be_bytes(bytes[..4].try_into().expect("four bytes"))
}

fn be_u64(bytes: &[u8]) -> u64 {
    u64::from_be_bytes(bytes[..8].try_into().expect("eight bytes"))
}

#[cfg(test)]
mod tests;
