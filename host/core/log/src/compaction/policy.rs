//! Which records survive: of each key the latest.
//!
//! **Where it sits.** In a job. It is shown the dirty records first, in the order of offsets, and asked
//! about every batch afterwards; the host has the last word about what must stay all the same.
//!
//! **What it decides.** Nothing but who has a successor. It never sees a tombstone's age, a producer or
//! an offset to be assigned, so that another policy can take its place without knowing of any.

use std::collections::BTreeMap;

use brooklet_types::Offset;
use brooklet_wire::batch::Record;

/// What the map costs per key besides the key: its place in a node, and what the allocator adds.
const KEY_OVERHEAD_BYTES: usize = 48;

/// The built-in policy: of each key the record with the highest offset survives.
#[derive(Clone, Debug)]
pub struct LatestByKey {
    latest: BTreeMap<Box<[u8]>, Offset>,
    bytes: usize,
    bytes_max: usize,
}

impl LatestByKey {
    /// Remembers keys in about `bytes_max`, and one whatever its size.
    pub fn within(bytes_max: usize) -> LatestByKey {
        LatestByKey { latest: BTreeMap::new(), bytes: 0, bytes_max }
    }

    /// Hears of records, in the order of offsets; gives back the first for whose key there is no room.
    pub(crate) fn observe<'r, 'b: 'r>(
        &mut self,
        mut records: impl Iterator<Item = &'r Record<'b>>,
    ) -> Option<Offset> {
        records.find(|record| !self.learn(record)).map(|record| record.offset)
    }

    fn learn(&mut self, record: &Record<'_>) -> bool {
        let Some(key) = record.key else { return true };
        if let Some(latest) = self.latest.get_mut(key) {
            *latest = record.offset;
            return true;
        }
        let bytes = self.bytes + key.len() + KEY_OVERHEAD_BYTES;
        if bytes > self.bytes_max && !self.latest.is_empty() {
            return false;
        }
        self.bytes = bytes;
        self.latest.insert(key.into(), record.offset);
        true
    }

    /// For each record of a batch, whether it survives: whether no later one of its key is known.
    /// Without a key nothing is its successor, and Kafka drops it: compacted topics take none.
    pub(crate) fn decide(&self, records: &[Record<'_>]) -> Vec<bool> {
        let survives = |record: &Record<'_>| {
            let latest = |key| self.latest.get(key);
            record.key.is_some_and(|key| latest(key).is_none_or(|latest| *latest <= record.offset))
        };
        records.iter().map(survives).collect()
    }
}
