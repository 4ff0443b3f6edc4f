//! Kafka's `.index`: eight-byte entries, relative offset and position, both big-endian.
//!
//! **Where it sits.** Inside a segment. The active segment keeps its entries in memory and writes
//! them when the log checkpoints; a closed segment's file is searched where it lies.
//!
//! **What it decides.** From which position a reader has to walk to find an offset; and, where
//! offsets are missing between two batches, whether compaction took what was there: a batch behind
//! a gap always has an entry ([`Named`]).
//!
//! **What it never does.** Stand for what is not there: an entry is believed only when the batch at
//! its position agrees, and a file that is not strictly growing is rebuilt or walked around.
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

/// Reads the entries of the batches before `position`, whose offsets lie before `width`. They were durable;
/// what was written behind them may be torn, and is left out. None when they are damaged themselves.
pub(crate) fn parse_before(bytes: &[u8], position: u64, width: u64) -> Option<Vec<Entry>> {
    let mut entries: Vec<Entry> = Vec::with_capacity(bytes.len() / ENTRY_BYTES);
    let mut rest = bytes.chunks_exact(ENTRY_BYTES).filter_map(Entry::parse).peekable();
    let fits = |entry: &Entry, last: Option<&Entry>| {
        let grows = last
            .is_none_or(|last| last.relative < entry.relative && last.position < entry.position);
        grows && u64::from(entry.position) < position && u64::from(entry.relative) < width
    };
    while let Some(entry) = rest.next_if(|entry| fits(entry, entries.last())) {
        entries.push(entry);
    }
    let last = entries.last().map_or(0, |last| last.position);
    let damaged = rest.any(|entry| entry.position > last && u64::from(entry.position) < position);
    (!damaged).then_some(entries)
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
    let count = file.len()? / ENTRY_BYTES as u64;
    let low = page_of(file, count, wanted)?;
    let page = read_page(file, low, count)?;
    let after = page.partition_point(|entry| u64::from(entry.relative) <= wanted);
    let floor = after.checked_sub(1).map(|index| page[index]);
    Ok((floor, low + (after as u64) < count))
}

/// The first entry of a page that has the last entry at or before `wanted` in it.
fn page_of<F: DiskFile>(file: &F, count: u64, wanted: u64) -> io::Result<u64> {
    let (mut low, mut high) = (0, count);
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
    Ok(low)
}

/// A page of entries from number `low` on, of a file with `count`.
fn read_page<F: DiskFile>(file: &F, low: u64, count: u64) -> io::Result<Vec<Entry>> {
    let length = usize::try_from((count - low).min(PAGE_ENTRIES)).expect("at most a page");
    let mut bytes = [0; PAGE_ENTRIES as usize * ENTRY_BYTES];
    let read = file.read_at(&mut bytes[..length * ENTRY_BYTES], low * ENTRY_BYTES as u64)?;
    Ok(bytes[..read].chunks_exact(ENTRY_BYTES).filter_map(Entry::parse).collect())
}

/// The batches that a closed segment's index names, for who asks about one after the other.
#[derive(Clone, Debug)]
pub(crate) struct Named<F> {
    file: F,
    base: Offset,
    page: Vec<Entry>,
}

impl<F: DiskFile> Named<F> {
    pub(crate) fn new(file: F, base: Offset) -> Named<F> {
        Named { file, base, page: Vec::new() }
    }

    /// Whether there is an entry for a batch at `position` that ends with offset `last`.
    pub(crate) fn has(&mut self, position: u64, last: Offset) -> io::Result<bool> {
        let wanted = last.distance_from(self.base);
        let covers = |page: &[Entry]| {
            let (first, last) = (page.first(), page.last());
            first.is_some_and(|first| u64::from(first.relative) <= wanted)
                && last.is_some_and(|last| u64::from(last.relative) >= wanted)
        };
        if !covers(&self.page) {
            let count = self.file.len()? / ENTRY_BYTES as u64;
            let low = page_of(&self.file, count, wanted)?;
            self.page = read_page(&self.file, low, count)?;
        }
        let found = self.page.binary_search_by_key(&wanted, |entry| u64::from(entry.relative));
        Ok(found.is_ok_and(|index| u64::from(self.page[index].position) == position))
    }
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
        assert_eq!(parse_before(&bytes, 300_000, u64::MAX).unwrap(), entries);
        let base = Offset::new(1000);
        for offset in (990..10_100).step_by(7).map(Offset::new) {
            let expected = floor(&entries, base, offset);
            let more = offset < Offset::new(1000 + 2999 * 3 + 2);
            let found = floor_in_file(&file, base, offset).unwrap();
            assert_eq!(found, (expected, more), "{offset}");
        }
        for step in [1, 7, 1000] {
            let mut named = Named::new(file.clone(), base);
            for number in (0..3000 * 3 + 5).step_by(step) {
                let entry = number % 3 == 2 && number < 9000;
                let position = number / 3 * 100;
                let has = |named: &mut Named<_>, position| named.has(position, base_plus(number));
                assert_eq!(has(&mut named, position).unwrap(), entry, "{number}");
                assert!(!has(&mut named, position + 1).unwrap());
            }
        }
    }

    #[test]
    fn what_is_torn_behind_a_point_is_left_out_and_what_is_damaged_before_it_is_not_believed() {
        let entry = |n: u32| Entry { relative: n * 2 + 1, position: n * 100 };
        let whole: Vec<u8> = (0..6).flat_map(|n| entry(n).to_bytes()).collect();
        let before = |bytes: &[u8]| parse_before(bytes, 300, 100);
        let expected: Vec<_> = (0..3).map(entry).collect();
        for behind in [0, 4, 8, 20, 24] {
            let mut torn = whole[..24 + behind].to_vec();
            assert_eq!(before(&torn).as_ref(), Some(&expected), "{behind}");
            torn[24..].fill(0);
            assert_eq!(before(&torn).as_ref(), Some(&expected), "{behind} zeroes");
        }
        for at in 0..16 {
            let mut damaged = whole.clone();
            damaged[at] ^= 0x80;
            let low = at % 4 == 3;
            assert!(low || before(&damaged).is_none(), "byte {at}: {:?}", before(&damaged));
        }
    }

    fn base_plus(number: u64) -> Offset {
        Offset::new(1000 + number)
    }
}
