//! Source: KIP-101, KIP-279: what two replicas have below their high watermarks they have at the same offsets; and a
//! consumer reads nothing else.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, Offset, TopicPartition};

use crate::cluster::records::{RecordId, Seen};

/// What was safe anywhere, at its offset.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    safe: BTreeMap<(TopicPartition, Offset), Seen>,
    /// A record is in one partition, and there once.
    places: BTreeMap<RecordId, Offset>,
    /// Records that consumers have read.
    pub(crate) reads: u64,
}

impl Agreement {
    /// A broker takes this for safe, as it is before its high watermark.
    pub(crate) fn safe_to(
        &mut self,
        broker: BrokerId,
        partition: TopicPartition,
        found: Seen,
    ) -> Result<(), String> {
        self.is_safe(partition, found)
            .map_err(|safe| format!("{broker} has {found:?} of {partition:?}, {safe} is safe"))
    }

    /// A consumer has read this.
    pub(crate) fn read(&mut self, partition: TopicPartition, read: Seen) -> Result<(), String> {
        self.reads += 1;
        self.is_safe(partition, read)
            .map_err(|safe| format!("{read:?} of {partition:?} was read, {safe} is safe"))
    }

    /// What is safe where a producer is told that its record is, if that is known.
    pub(crate) fn at(&self, partition: TopicPartition, offset: Offset) -> Option<Seen> {
        self.safe.get(&(partition, offset)).copied()
    }

    /// What is known to be safe instead, if that is something else.
    fn is_safe(&mut self, partition: TopicPartition, found: Seen) -> Result<(), String> {
        let known = *self.safe.entry((partition, found.offset)).or_insert(found);
        if known != found {
            return Err(format!("{known:?}"));
        }
        let place = *self.places.entry(found.id).or_insert(found.offset);
        if place == found.offset { Ok(()) } else { Err(format!("the same record at {place}")) }
    }
}
