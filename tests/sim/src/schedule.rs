//! Virtual time: what happens when, and nothing in between.
//!
//! Two things of the same moment happen in the order in which they were put down, so that a seed is one
//! history.

use std::collections::BTreeMap;

use brooklet_types::Instant;

/// What is going to happen.
#[derive(Debug)]
pub(crate) struct Schedule<E> {
    now: u64,
    serial: u64,
    waiting: BTreeMap<(u64, u64), E>,
}

impl<E> Schedule<E> {
    /// Nothing is going to happen yet, and it is one second past the start of time.
    pub(crate) fn new() -> Schedule<E> {
        Schedule { now: 1_000_000, serial: 0, waiting: BTreeMap::new() }
    }

    pub(crate) fn now(&self) -> Instant {
        Instant::from_micros(self.now)
    }

    /// Puts `event` down for `micros` from now.
    pub(crate) fn after(&mut self, micros: u64, event: E) {
        self.serial += 1;
        self.waiting.insert((self.now.saturating_add(micros), self.serial), event);
    }

    /// Puts `event` down for a moment; one that is past is now.
    pub(crate) fn at(&mut self, moment: Instant, event: E) {
        self.after(moment.as_micros().saturating_sub(self.now), event);
    }

    /// Goes on to what happens next.
    pub(crate) fn pop(&mut self) -> Option<E> {
        let ((at, _), event) = self.waiting.pop_first()?;
        self.now = self.now.max(at);
        Some(event)
    }
}
