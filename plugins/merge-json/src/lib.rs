//! A compaction policy that merges the values of each key into one, as JSON merge patches (RFC 7396): the
//! last record stays, with all that the ones before it said.
//!
//! **What it decides.** Values are applied in the order of offsets, beginning from nothing or from the last
//! tombstone. A value that is not JSON stands for itself: it replaces what was there. A tombstone or such a
//! value goes with a record behind it, which says in its place what it has removed.
//!
//! **Invariants.** Whoever applies the surviving records as patches arrives where all records would have
//! led, wherever they began to read: members that were removed are there as null, unless
//! `removed` is `absent`. Records beyond the end of the compaction are neither merged nor dropped.
//!
//! **Limits.** The merged value of every key that has more than one record is in memory during a
//! compaction.

mod merge;

use brooklet::{Columns, CompactionPolicy, Context, Entries, Error, KeyMap, Pass, Verdict};
use merge::Merged;

/// The configuration.
#[derive(Clone, Copy, Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// How members that were removed are written.
    #[serde(default)]
    removed: Removed,
}

/// How a member that a patch removed is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Removed {
    /// As null: the value is a patch that leads there from anywhere.
    #[default]
    Null,
    /// Not at all: the value is the document.
    Absent,
}

/// The policy.
#[derive(Debug)]
pub struct MergeJson {
    removed: Removed,
    pass: Pass,
    keys: KeyMap<Key>,
}

/// What is known of a key.
#[derive(Debug)]
struct Key {
    /// The last of its records that this compaction may touch.
    last: i64,
    /// What its values come to.
    merged: Merged,
    /// Whether there are records of this key beyond the end.
    goes_on: bool,
}

impl CompactionPolicy for MergeJson {
    type Config = Config;

    fn new(config: Config, _: &Context) -> Result<MergeJson, Error> {
        Ok(MergeJson { removed: config.removed, pass: Pass::default(), keys: KeyMap::default() })
    }

    fn columns(&self) -> Columns {
        Columns::VALUES
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), Error> {
        self.pass = pass.clone();
        self.keys = KeyMap::default();
        Ok(())
    }

    fn observe(&mut self, entries: &Entries<'_>) -> Result<(), Error> {
        for entry in entries.iter() {
            let untouched = Key { last: i64::MIN, merged: Merged::default(), goes_on: false };
            let key = self.keys.entry(entry.key).or_insert(untouched);
            if entry.offset >= self.pass.dirty_end {
                key.goes_on = true;
                continue;
            }
            key.last = entry.offset;
            match entry.value {
                None => key.merged.clear(),
                Some(value) => key.merged.apply(value),
            }
        }
        Ok(())
    }

    fn decide(&mut self, entries: &Entries<'_>, verdict: &mut Verdict) -> Result<(), Error> {
        for entry in entries.iter() {
            if entry.offset >= self.pass.dirty_end {
                verdict.keep(true);
                continue;
            }
            let Some(key) = self.keys.get(&entry.key) else {
                verdict.keep(true);
                continue;
            };
            let expired = entry.is_tombstone && entry.timestamp < self.pass.delete_horizon;
            if key.last != entry.offset || (expired && !key.goes_on) {
                verdict.keep(false);
                continue;
            }
            match key.merged.write(self.removed) {
                Some(merged) if entry.value != Some(&merged[..]) => verdict.replace(&merged),
                Some(_) | None => verdict.keep(true),
            }
        }
        Ok(())
    }

    fn end(&mut self) {
        self.keys = KeyMap::default();
    }
}

brooklet::plugin! {
    name: "merge-json",
    description: "Merges the values of each key into one, as JSON merge patches (RFC 7396).",
    roles: { compaction: MergeJson },
    merges: true,
    config: {
        "type": "object",
        "additionalProperties": false,
        "properties": {
            "removed": {
                "enum": ["null", "absent"],
                "default": "null",
                "description": "How members that were removed are written: as null the value is a patch, absent it is the document"
            }
        }
    },
}

#[cfg(test)]
mod tests;
