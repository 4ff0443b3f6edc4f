//! Alarms: one deadline per key, found by key to move it and by time to ring it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_types::Instant;

/// What an alarm is about.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Alarm {
    /// The join phase of the group's rebalance has lasted long enough.
    Join,
    /// The sync phase has.
    Sync,
    /// This member, or member to be, was silent too long.
    Member(Arc<str>),
}

/// A group's id and what rings there.
type Key = (Arc<str>, Alarm);

/// Every pending alarm of a coordinator.
#[derive(Debug, Default)]
pub(crate) struct Timers {
    by_key: BTreeMap<Key, Instant>,
    by_time: BTreeSet<(Instant, Key)>,
}

impl Timers {
    /// Sets the alarm, replacing the one of the same key.
    pub(crate) fn set(&mut self, group: &Arc<str>, alarm: Alarm, at: Instant) {
        let key = (Arc::clone(group), alarm);
        if let Some(before) = self.by_key.insert(key.clone(), at) {
            self.by_time.remove(&(before, key.clone()));
        }
        self.by_time.insert((at, key));
    }

    /// Takes the alarm away, if it is set.
    pub(crate) fn cancel(&mut self, group: &Arc<str>, alarm: Alarm) {
        let key = (Arc::clone(group), alarm);
        if let Some(before) = self.by_key.remove(&key) {
            self.by_time.remove(&(before, key));
        }
    }

    /// Whether the alarm is set.
    pub(crate) fn is_set(&self, group: &Arc<str>, alarm: Alarm) -> bool {
        self.by_key.contains_key(&(Arc::clone(group), alarm))
    }

    /// Takes the earliest alarm that is due.
    pub(crate) fn pop_due(&mut self, now: Instant) -> Option<Key> {
        let (at, _) = self.by_time.first()?;
        if *at > now {
            return None;
        }
        let (_, key) = self.by_time.pop_first()?;
        self.by_key.remove(&key);
        Some(key)
    }

    /// When the earliest alarm rings.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.by_time.first().map(|(at, _)| *at)
    }
}
