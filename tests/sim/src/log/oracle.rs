//! What the clients of the log were promised, kept in the plainest form there is.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_log::LogSettings;

/// One record as it was appended: key and value; none is a tombstone.
pub type Written = (String, Option<String>);

/// What was appended, and how much of it was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Every record of this history at its offset.
    pub written: BTreeMap<u64, Written>,
    /// When each was.
    pub written_at: BTreeMap<u64, i64>,
    /// Everything before was acknowledged as durable.
    pub acknowledged: u64,
    /// Everything before was deleted on purpose.
    pub start: u64,
    /// Records may be missing where a later one has their key.
    pub compacted: bool,
    /// When cleanings began.
    pub cleanings: BTreeSet<i64>,
    /// Tombstones stay for at least this long after the first cleaning that saw them.
    pub delete_retention_ms: i64,
    /// Records that may have been cleaned for the sake of one that was cut since.
    pub orphaned: BTreeSet<u64>,
    /// A bit was flipped: records may be missing, and none may be wrong.
    pub damaged: bool,
}

impl Oracle {
    /// Nothing was promised yet.
    pub fn new(settings: &LogSettings) -> Oracle {
        Oracle {
            compacted: settings.compact,
            delete_retention_ms: settings.delete_retention_ms,
            ..Oracle::default()
        }
    }

    /// The log is about to be cut: what was cleaned stays gone.
    pub fn before_cut(&mut self, clock: i64) {
        let offsets = self.written.keys().copied();
        let orphaned = offsets.filter(|offset| self.may_be_cleaned(*offset, clock));
        self.orphaned = orphaned.collect();
    }

    /// The power went, or the log was cut: what lies at `end` and later may be given out again.
    pub fn ends_at(&mut self, end: u64) {
        self.written.split_off(&end);
        self.written_at.split_off(&end);
        self.orphaned.split_off(&end);
        self.acknowledged = self.acknowledged.min(end);
    }

    /// Everything was thrown away on purpose, and the log goes on at `offset`.
    pub fn begins_anew_at(&mut self, offset: u64) {
        self.ends_at(0);
        (self.start, self.acknowledged) = (offset, offset);
    }

    /// Whether a record may be missing because a later one has its key, or because it is a
    /// tombstone that has been there for long enough.
    pub fn may_be_cleaned(&self, offset: u64, clock: i64) -> bool {
        let Some((key, value)) = self.written.get(&offset) else { return false };
        let has_successor = || self.written.range(offset + 1..).any(|(_, later)| later.0 == *key);
        let cleaned = self.cleanings.range(self.written_at[&offset]..).next();
        let is_old = cleaned.is_some_and(|began| clock - began >= self.delete_retention_ms);
        let is_expired = value.is_none() && is_old;
        self.orphaned.contains(&offset) || (self.compacted && (is_expired || has_successor()))
    }
}
