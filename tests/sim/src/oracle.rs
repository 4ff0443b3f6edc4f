//! What the clients of the log were promised, kept in the plainest form there is.

use std::collections::{BTreeMap, BTreeSet};

/// One record as it was appended: key and value; none is a tombstone.
pub type Written = (String, Option<String>);

/// What was appended, and how much of it was acknowledged.
#[derive(Clone, Debug, Default)]
pub struct Oracle {
    /// Every record of this history at its offset.
    pub written: BTreeMap<u64, Written>,
    /// Everything before was acknowledged as durable.
    pub acknowledged: u64,
    /// Everything before was deleted on purpose.
    pub start: u64,
    /// Records may be missing where a later one has their key.
    pub compacted: bool,
    /// Records that may have been cleaned for the sake of one that was cut since.
    pub orphaned: BTreeSet<u64>,
    /// A bit was flipped: records may be missing, and none may be wrong.
    pub damaged: bool,
}

impl Oracle {
    /// The log is about to be cut: what was cleaned stays gone.
    pub fn before_cut(&mut self) {
        let orphaned = self.written.keys().copied().filter(|offset| self.may_be_cleaned(*offset));
        self.orphaned = orphaned.collect();
    }

    /// The power went, or the log was cut: what lies at `end` and later may be given out again.
    pub fn ends_at(&mut self, end: u64) {
        self.written.split_off(&end);
        self.orphaned.split_off(&end);
        self.acknowledged = self.acknowledged.min(end);
    }

    /// Whether a record may be missing because a later one has its key, or because it is a
    /// tombstone, which may have been there for long enough.
    pub fn may_be_cleaned(&self, offset: u64) -> bool {
        let Some((key, value)) = self.written.get(&offset) else { return false };
        let later = self.written.range(offset + 1..).any(|(_, later)| later.0 == *key);
        self.orphaned.contains(&offset) || (self.compacted && (later || value.is_none()))
    }
}
