//! Kafka's `.timeindex`: twelve-byte entries, timestamp and relative offset, both big-endian.
//!
//! **Where it sits.** Inside a segment, beside the offset index and stored with it.
//!
//! **What it decides.** From which offset a search for a time has to walk, and how old a closed
//! segment's newest record is: its last entry says.
//!
//! **Invariant.** Timestamps grow strictly, offsets do not shrink: an entry says that the largest
//! timestamp up to that batch is this, and that the batch ending at that offset holds it.

use std::io;

use brooklet_types::{Offset, Timestamp};

use crate::disk::DiskFile;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 12;

/// One entry, its offset relative to the segment's base.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) timestamp: Timestamp,
    pub(crate) relative: u32,
}

impl Entry {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Entry> {
        let timestamp = i64::from_be_bytes(bytes.get(..8)?.try_into().ok()?);
        let relative = u32::from_be_bytes(bytes.get(8..12)?.try_into().ok()?);
        Some(Entry { timestamp: Timestamp(timestamp), relative })
    }

    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..8].copy_from_slice(&self.timestamp.0.to_be_bytes());
        bytes[8..].copy_from_slice(&self.relative.to_be_bytes());
        bytes
    }
}

/// Reads a whole index; none unless it grows as it must.
pub(crate) fn parse_all(bytes: &[u8]) -> Option<Vec<Entry>> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for chunk in bytes.chunks_exact(ENTRY_BYTES) {
        let entry = Entry::parse(chunk)?;
        let grows = entries
            .last()
            .is_none_or(|last| last.timestamp < entry.timestamp && last.relative <= entry.relative);
        if !grows {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// The last entry of a file: the largest timestamp of a closed segment. None when the file is
/// empty or not made of entries.
pub(crate) fn last_in_file<F: DiskFile>(file: &F) -> io::Result<Option<Entry>> {
    let length = file.len()?;
    if length == 0 || !length.is_multiple_of(ENTRY_BYTES as u64) {
        return Ok(None);
    }
    let mut bytes = [0; ENTRY_BYTES];
    let read = file.read_at(&mut bytes, length - ENTRY_BYTES as u64)?;
    Ok(Entry::parse(&bytes[..read]))
}

/// The offset before which every record is older than `timestamp`: where a search may begin.
pub(crate) fn offset_before(entries: &[Entry], base: Offset, timestamp: Timestamp) -> Offset {
    let after = entries.partition_point(|entry| entry.timestamp < timestamp);
    match after.checked_sub(1) {
        Some(index) => Offset::new(base.value() + u64::from(entries[index].relative)),
        None => base,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_search_begins_behind_everything_older() {
        let entry = |timestamp, relative| Entry { timestamp: Timestamp(timestamp), relative };
        let entries = [entry(100, 4), entry(200, 9), entry(300, 12)];
        let base = Offset::new(50);
        for (timestamp, expected) in [(0, 50), (100, 50), (101, 54), (300, 59), (999, 62)] {
            let found = offset_before(&entries, base, Timestamp(timestamp));
            assert_eq!(found, Offset::new(expected), "{timestamp}");
        }
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
        assert_eq!(parse_all(&bytes).unwrap(), entries);
        assert_eq!(parse_all(&bytes[..20]), None);
    }
}
