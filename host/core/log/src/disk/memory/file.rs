//! One file of a disk in memory.
//!
//! **Decides** nothing: what is durable of it, and whether there is room, its tree knows.

use std::io;
use std::ops::Range;
use std::sync::{MutexGuard, PoisonError};

use super::{Change, MemoryFile, PAGE_BYTES, Tree};
use crate::disk::DiskFile;

impl MemoryFile {
    fn tree(&self) -> MutexGuard<'_, Tree> {
        self.tree.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl DiskFile for MemoryFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.tree().nodes.get(&self.node).map_or(0, |node| node.bytes.len() as u64))
    }

    fn read_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        let tree = self.tree();
        let Some(node) = tree.nodes.get(&self.node) else { return Ok(0) };
        let start = usize::try_from(position).unwrap_or(usize::MAX).min(node.bytes.len());
        let count = buffer.len().min(node.bytes.len() - start);
        buffer[..count].copy_from_slice(&node.bytes[start..start + count]);
        Ok(count)
    }

    fn read_ready_at(&self, buffer: &mut [u8], position: u64) -> io::Result<usize> {
        self.read_at(buffer, position)
    }

    /// Page by page: one of nothing but zeroes counts as never written to.
    fn written_from(&self, position: u64) -> io::Result<Option<Range<u64>>> {
        let tree = self.tree();
        let pages =
            tree.nodes.get(&self.node).map_or(&[][..], |node| &node.bytes).chunks(PAGE_BYTES);
        let page = |at: usize| (at * PAGE_BYTES) as u64..((at + 1) * PAGE_BYTES) as u64;
        let mut written = pages.enumerate().filter(|(_, page)| page.iter().any(|byte| *byte != 0));
        let found = written.find(|(at, _)| page(*at).end > position);
        Ok(found.map(|(at, _)| position.max(page(at).start)..page(at).end))
    }

    fn write_at(&self, parts: &[&[u8]], position: u64) -> io::Result<()> {
        let mut tree = self.tree();
        let bytes = parts.concat();
        let position = usize::try_from(position).expect("tests stay within memory");
        tree.reserve(self.node, position + bytes.len())?;
        tree.change(self.node, Change::Write { position, bytes })
    }

    fn allocate(&self, end: u64) -> io::Result<()> {
        let mut tree = self.tree();
        let end = usize::try_from(end).expect("tests stay within memory");
        tree.reserve(self.node, end)?;
        if tree.nodes.get(&self.node).is_some_and(|node| node.bytes.len() >= end) {
            return Ok(());
        }
        tree.change(self.node, Change::Resize { len: end })
    }

    fn truncate(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).expect("tests stay within memory");
        self.tree().change(self.node, Change::Resize { len })
    }

    fn sync(&self) -> io::Result<()> {
        let mut tree = self.tree();
        tree.burn()?;
        if let Some(node) = tree.nodes.get_mut(&self.node) {
            node.durable = node.bytes.clone();
            node.pending.clear();
        }
        Ok(())
    }
}
