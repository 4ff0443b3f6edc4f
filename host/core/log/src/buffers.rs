//! Memory that answers are read into, used again once an answer has gone out.
//!
//! **Where it sits.** With whoever runs read plans one after the other: a connection keeps one.
//!
//! **What it decides.** Which memory a read gets. What was read into before is warm in the
//! processor's cache and needs neither clearing nor new pages: reading into fresh memory took three
//! times as long here.
//!
//! **Invariant.** Memory is written to only when nobody else holds a part of it.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

/// Buffers remembered. An answer of many partitions has one for each; the rest is let go.
const REMEMBERED_MAX: usize = 8;

/// Larger buffers are not remembered: a reader that asks for so much at once is no reason to keep
/// it.
const REMEMBERED_BYTES_MAX: usize = 4 << 20;

/// Buffers that were handed out, so that they are found again when they are free.
#[derive(Debug, Default)]
pub struct Buffers {
    lent: VecDeque<Bytes>,
}

impl Buffers {
    /// At least `length` bytes to be overwritten, whatever they are.
    pub(crate) fn take(&mut self, length: usize) -> BytesMut {
        for _ in 0..self.lent.len() {
            let Some(lent) = self.lent.pop_front() else { break };
            match lent.try_into_mut() {
                Ok(mut free) if free.capacity() >= length => {
                    if free.len() < length {
                        free.resize(length, 0);
                    }
                    return free;
                }
                // Too small to be of use again.
                Ok(_) => {}
                Err(held) => self.lent.push_back(held),
            }
        }
        BytesMut::zeroed(length)
    }

    /// Makes the first `length` bytes of a filled buffer readable, and remembers it.
    pub(crate) fn lend(&mut self, filled: BytesMut, length: usize) -> Bytes {
        let whole = filled.freeze();
        let part = whole.slice(..length);
        if whole.len() <= REMEMBERED_BYTES_MAX {
            if self.lent.len() == REMEMBERED_MAX {
                self.lent.pop_front();
            }
            self.lent.push_back(whole);
        }
        part
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_is_used_again_when_nobody_reads_it_any_more() {
        let mut buffers = Buffers::default();
        let mut first = buffers.take(100);
        first.fill(7);
        let place = first.as_ptr();
        let lent = buffers.lend(first, 60);
        assert_eq!(&lent[..], &[7; 60]);
        let second = buffers.take(80);
        assert_ne!(second.as_ptr(), place, "somebody reads it");
        drop(lent);
        let third = buffers.take(80);
        assert_eq!(third.as_ptr(), place);
        assert_eq!(third.len(), 100);
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut buffers = Buffers::default();
        let lent: Vec<Bytes> = (0..20)
            .map(|_| {
                let taken = buffers.take(10);
                buffers.lend(taken, 10)
            })
            .collect();
        assert_eq!(buffers.lent.len(), REMEMBERED_MAX);
        drop(lent);
        let large = buffers.take(REMEMBERED_BYTES_MAX + 1);
        assert_eq!(buffers.lent.len(), 0, "too small ones are let go");
        drop(buffers.lend(large, 1));
        assert_eq!(buffers.lent.len(), 0, "and too large ones");
    }
}
