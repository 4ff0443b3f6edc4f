//! Columns of byte strings: all bytes back to back, and where each entry ends.

use crate::bindings::types::Blobs;
use crate::error::short;

/// A column as it was received.
#[derive(Clone, Copy, Debug, Default)]
pub struct Column<'a> {
    data: &'a [u8],
    ends: &'a [u32],
    nulls: &'a [u32],
}

impl<'a> Column<'a> {
    #[doc(hidden)]
    pub fn new(blobs: &'a Blobs) -> Column<'a> {
        Column {
            data: &blobs.data,
            ends: &blobs.ends,
            nulls: blobs.nulls.as_deref().unwrap_or(&[]),
        }
    }

    /// Number of entries.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Bytes of all entries.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    /// Whether there is no entry.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Entry `index`, none if it is null. Panics if there is no such entry.
    #[inline]
    pub fn get(&self, index: usize) -> Option<&'a [u8]> {
        let end = self.ends[index] as usize;
        let start = if index == 0 { 0 } else { self.ends[index - 1] as usize };
        // A null has no bytes: only the empty are looked up.
        if start == end && self.is_null(index) {
            return None;
        }
        Some(&self.data[start..end])
    }

    fn is_null(&self, index: usize) -> bool {
        !self.nulls.is_empty() && self.nulls.binary_search(&short(index)).is_ok()
    }

    /// All entries in their order.
    pub fn iter(self) -> impl Iterator<Item = Option<&'a [u8]>> {
        (0..self.len()).map(move |index| self.get(index))
    }
}

/// A column that is being written, entry by entry.
#[derive(Clone, Debug, Default)]
pub struct ColumnBuilder {
    data: Vec<u8>,
    ends: Vec<u32>,
    nulls: Vec<u32>,
}

impl ColumnBuilder {
    /// With room for `entries` of `bytes` altogether.
    pub fn with_capacity(entries: usize, bytes: usize) -> ColumnBuilder {
        ColumnBuilder {
            data: Vec::with_capacity(bytes),
            ends: Vec::with_capacity(entries),
            nulls: Vec::new(),
        }
    }

    /// Adds an entry.
    #[inline]
    pub fn push(&mut self, entry: Option<&[u8]>) {
        match entry {
            Some(bytes) => self.data.extend_from_slice(bytes),
            None => self.nulls.push(short(self.ends.len())),
        }
        self.ends.push(short(self.data.len()));
    }

    /// Adds the entry that `write` puts behind what is there. If it fails the column is as before.
    pub fn push_with<E>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let start = self.data.len();
        let written = write(&mut self.data);
        if written.is_err() {
            self.data.truncate(start);
            return written;
        }
        assert!(start <= self.data.len(), "what other records have written is not to be cut");
        self.ends.push(short(self.data.len()));
        Ok(())
    }

    /// Number of entries so far.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether nothing was added yet.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Bytes of all entries so far.
    pub fn bytes(&self) -> usize {
        self.data.len()
    }

    #[doc(hidden)]
    pub fn finish(self) -> Blobs {
        let nulls = if self.nulls.is_empty() { None } else { Some(self.nulls) };
        Blobs { data: self.data, ends: self.ends, nulls }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn null_and_empty_are_two_things() {
        let mut builder = ColumnBuilder::default();
        let entries = [Some(&b"a"[..]), None, Some(b""), Some(b"bc"), None];
        for entry in entries {
            builder.push(entry);
        }
        let blobs = builder.finish();
        assert_eq!(blobs.nulls.as_deref(), Some(&[1, 4][..]));
        assert_eq!(Column::new(&blobs).iter().collect::<Vec<_>>(), entries);
    }

    #[test]
    fn an_entry_that_fails_half_way_leaves_nothing_behind() {
        let mut builder = ColumnBuilder::default();
        builder.push(Some(b"a"));
        let failed = builder.push_with(|data| {
            data.extend_from_slice(b"half");
            Err("broken")
        });
        assert_eq!(failed, Err("broken"));
        builder.push(Some(b"b"));
        let blobs = builder.finish();
        assert_eq!(Column::new(&blobs).iter().collect::<Vec<_>>(), [Some(&b"a"[..]), Some(b"b")]);
        assert_eq!(blobs.nulls, None, "an empty list would cost an allocation at the boundary");
    }
}
