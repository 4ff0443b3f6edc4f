//! Kafka's `.index`: eight-byte entries, relative offset and position, both big-endian.
//!
//! **Where it sits.** Inside a segment. The active segment keeps its entries in memory and writes
//! them when the log checkpoints; a closed segment's file is searched where it lies.
//!
//! **What it decides.** From which position a reader has to walk to find an offset.
//!
//! **What it never does.** Promise more than a hint: an entry is believed only when the batch at
//! its position parses, and a file that is not strictly growing is rebuilt or walked around.
//!
//! **Invariant.** Both columns grow strictly. An entry's offset is the *last* offset of the batch
//! at its position, as in Kafka, whose tools check exactly that.

use std::io;

use brooklet_types::Offset;

use crate::disk::DiskFile;

/// Bytes of an entry.
pub(crate) const ENTRY_BYTES: usize = 8;

/// Entries read at once at the end of a search: one page.
const PAGE_ENTRIES: u64 = 512;

/// One entry, still relative to the segment's base offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) relative: u32,
    pub(crate) position: u32,
}

impl Entry {
    pub(crate) fn parse(bytes: &[u8]) -> Option<Entry> {
        let relative = u32::from_be_bytes(bytes.get(..4)?.try_into().ok()?);
        let position = u32::from_be_bytes(bytes.get(4..8)?.try_into().ok()?);
        Some(Entry { relative, position })
    }

    pub(crate) fn to_bytes(self) -> [u8; ENTRY_BYTES] {
        let mut bytes = [0; ENTRY_BYTES];
        bytes[..4].copy_from_slice(&self.relative.to_be_bytes());
        bytes[4..].copy_from_slice(&self.position.to_be_bytes());
        bytes
    }
}

/// Reads a whole index whose segment holds `segment_bytes`; none unless it is a strictly growing
/// column of positions within the segment.
pub(crate) fn parse_all(bytes: &[u8], segment_bytes: u64) -> Option<Vec<Entry>> {
    if !bytes.len().is_multiple_of(ENTRY_BYTES) {
        return None;
    }
    let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    for chunk in bytes.chunks_exact(ENTRY_BYTES) {
        let entry = Entry::parse(chunk)?;
        let grows = entries
            .last()
            .is_none_or(|last| last.relative < entry.relative && last.position < entry.position);
        if !grows || u64::from(entry.position) >= segment_bytes {
            return None;
        }
        entries.push(entry);
    }
    Some(entries)
}

/// The last entry at or before `offset` in a sorted list.
pub(crate) fn floor(entries: &[Entry], base: Offset, offset: Offset) -> Option<Entry> {
    let wanted = offset.distance_from(base);
    let after = entries.partition_point(|entry| u64::from(entry.relative) <= wanted);
    after.checked_sub(1).map(|index| entries[index])
}

/// The last entry at or before `offset` in a closed segment's file, and whether another follows:
/// then there is a batch behind `offset`, too. A damaged file gives none or a wrong entry, which
/// the walk from it finds out.
pub(crate) fn floor_in_file<F: DiskFile>(
    file: &F,
    base: Offset,
    offset: Offset,
) -> io::Result<(Option<Entry>, bool)> {
    let wanted = offset.distance_from(base);
    let mut low = 0;
    let count = file.len()? / ENTRY_BYTES as u64;
    let mut high = count;
    while high - low > PAGE_ENTRIES {
        let middle = low + (high - low) / 2;
        let mut bytes = [0; ENTRY_BYTES];
        file.read_at(&mut bytes, middle * ENTRY_BYTES as u64)?;
        let relative = Entry::parse(&bytes).map_or(u32::MAX, |entry| entry.relative);
        if u64::from(relative) <= wanted {
            low = middle;
        } else {
            high = middle;
        }
    }
    let length = usize::try_from(high - low).expect("at most a page") * ENTRY_BYTES;
    let mut bytes = [0; PAGE_ENTRIES as usize * ENTRY_BYTES];
    let read = file.read_at(&mut bytes[..length], low * ENTRY_BYTES as u64)?;
    let entries = bytes[..read].chunks_exact(ENTRY_BYTES).filter_map(Entry::parse);
    let mut floor = None;
    for entry in entries {
        if u64::from(entry.relative) > wanted {
            return Ok((floor, true));
        }
        floor = Some(entry);
    }
    Ok((floor, high < count))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::Disk;
    use crate::disk::memory::MemoryDisk;

    #[test]
    fn a_search_in_the_file_agrees_with_a_search_in_memory() {
        let entries: Vec<_> =
            (0..3000).map(|n| Entry { relative: n * 3 + 2, position: n * 100 }).collect();
        let bytes: Vec<u8> = entries.iter().flat_map(|entry| entry.to_bytes()).collect();
        let disk = MemoryDisk::default();
        disk.put("index", bytes.clone());
        let file = disk.open("index").unwrap();
        assert_eq!(parse_all(&bytes, 300_000).unwrap(), entries);
        assert_eq!(parse_all(&bytes, 200_000), None);
        let base = Offset::new(1000);
        for offset in (990..10_100).step_by(7).map(Offset::new) {
            let expected = floor(&entries, base, offset);
            let more = offset < Offset::new(1000 + 2999 * 3 + 2);
            let found = floor_in_file(&file, base, offset).unwrap();
            assert_eq!(found, (expected, more), "{offset}");
        }
    }
}
