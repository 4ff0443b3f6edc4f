//! The newest batches of a partition in memory, so that consumers at the head cost no system call.
//!
//! **Where it sits.** Inside a log; filled by appends, read by plans.
//!
//! **What it decides.** What is kept: a contiguous run up to the log's end, bounded per partition
//! and, through a [`TailBudget`], over all partitions of a shard.
//!
//! **What it never does.** Pin a large frame for a small batch: a slice keeps its whole request in
//! memory, so what is shorter than [`COPY_BYTES_MAX`] is copied. What is kept by reference is at
//! least that long, and is dropped by the second [`Tail::age`] after its append at the latest.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use brooklet_types::Offset;
use bytes::Bytes;

/// Batches up to this length are copied: a copy costs less than a pinned frame of a megabyte.
pub(crate) const COPY_BYTES_MAX: usize = 16 << 10;

/// One partition keeps at most this much: what a consumer that is a few fetches behind may want.
const TAIL_BYTES_MAX: usize = 4 << 20;

/// Memory that the tails of one shard share. Full means that a partition keeps less.
#[derive(Clone, Debug)]
pub struct TailBudget {
    left: Arc<AtomicUsize>,
}

impl TailBudget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> TailBudget {
        TailBudget { left: Arc::new(AtomicUsize::new(bytes)) }
    }

    fn take(&self, bytes: usize) -> bool {
        let take = |left: usize| left.checked_sub(bytes);
        self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, take).is_ok()
    }

    fn give(&self, bytes: usize) {
        self.left.fetch_add(bytes, Ordering::Relaxed);
    }
}

/// A batch as it was stored: the patched header, and the rest as the producer sent it (empty when
/// the batch was copied whole).
#[derive(Clone, Debug)]
pub(crate) struct Cached {
    pub(crate) base: Offset,
    pub(crate) last: Offset,
    pub(crate) header: Bytes,
    pub(crate) rest: Bytes,
}

impl Cached {
    pub(crate) fn bytes(&self) -> usize {
        self.header.len() + self.rest.len()
    }
}

/// The newest batches, oldest first.
#[derive(Debug)]
pub(crate) struct Tail {
    batches: VecDeque<Cached>,
    bytes: usize,
    budget: TailBudget,
    /// Where the log ended when `age` was last called.
    aged: Offset,
}

impl Tail {
    pub(crate) fn new(budget: TailBudget) -> Tail {
        Tail { batches: VecDeque::new(), bytes: 0, budget, aged: Offset::ZERO }
    }

    /// Keeps a batch of `bytes` that was just appended, if there is room for it; makes it only
    /// then.
    pub(crate) fn push(&mut self, bytes: usize, batch: impl FnOnce() -> Cached) {
        if bytes > TAIL_BYTES_MAX {
            return self.clear();
        }
        while self.bytes + bytes > TAIL_BYTES_MAX {
            self.pop();
        }
        while !self.budget.take(bytes) {
            // Others have the rest: make room out of what is ours, or go without.
            if self.batches.is_empty() {
                return;
            }
            self.pop();
        }
        let batch = batch();
        assert_eq!(batch.bytes(), bytes, "what is taken from the budget is given back");
        self.bytes += bytes;
        self.batches.push_back(batch);
    }

    pub(crate) fn clear(&mut self) {
        self.batches.clear();
        self.budget.give(std::mem::take(&mut self.bytes));
    }

    /// Forgets what begins before `offset`: it is not what the log holds there any more.
    pub(crate) fn forget_before(&mut self, offset: Offset) {
        while self.batches.front().is_some_and(|batch| batch.base < offset) {
            self.pop();
        }
    }

    /// Forgets what was already here at the previous call, when the log ended at `end` then.
    pub(crate) fn age(&mut self, end: Offset) {
        while self.batches.front().is_some_and(|batch| batch.last < self.aged) {
            self.pop();
        }
        self.aged = end;
    }

    /// The batches from the one that holds `from` on, or none when it is no longer here.
    pub(crate) fn from(&self, from: Offset) -> Option<impl Iterator<Item = &Cached>> {
        let first = self.batches.front()?;
        if from < first.base {
            return None;
        }
        let index = self.batches.partition_point(|batch| batch.last < from);
        Some(self.batches.range(index..))
    }

    fn pop(&mut self) {
        if let Some(batch) = self.batches.pop_front() {
            self.bytes -= batch.bytes();
            self.budget.give(batch.bytes());
        }
    }
}

impl Drop for Tail {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(base: u64, bytes: usize) -> Cached {
        let base = Offset::new(base);
        Cached { base, last: base, header: Bytes::from(vec![0; bytes]), rest: Bytes::new() }
    }

    #[test]
    fn the_budget_bounds_all_tails_together_and_is_given_back() {
        let budget = TailBudget::new(250);
        let mut one = Tail::new(budget.clone());
        let mut two = Tail::new(budget.clone());
        for base in 0..5 {
            one.push(100, || batch(base, 100));
        }
        assert!(one.from(Offset::new(2)).is_none());
        assert_eq!(one.from(Offset::new(3)).unwrap().count(), 2);
        two.push(100, || batch(0, 100));
        assert!(two.from(Offset::ZERO).is_none());
        drop(one);
        two.push(100, || batch(1, 100));
        assert_eq!(two.from(Offset::new(1)).unwrap().count(), 1);
    }

    #[test]
    fn what_was_there_at_the_last_ageing_goes_at_the_next() {
        let mut tail = Tail::new(TailBudget::new(1000));
        tail.push(10, || batch(0, 10));
        tail.age(Offset::new(1));
        tail.push(10, || batch(1, 10));
        assert_eq!(tail.from(Offset::ZERO).unwrap().count(), 2);
        tail.age(Offset::new(2));
        assert!(tail.from(Offset::ZERO).is_none());
        assert_eq!(tail.from(Offset::new(1)).unwrap().count(), 1);
    }
}
