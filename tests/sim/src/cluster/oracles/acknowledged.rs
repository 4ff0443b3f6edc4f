//! Source: ARCHITECTURE §8, KIP-98, KIP-966: a record that was acknowledged with `acks=all` is neither lost nor
//! changed, and is there once.

use std::collections::BTreeMap;

use brooklet_types::{Offset, TopicPartition};

use crate::cluster::records::{RecordId, Seen};

/// What was acknowledged, where.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    by_partition: BTreeMap<TopicPartition, BTreeMap<Offset, RecordId>>,
    places: BTreeMap<RecordId, Offset>,
}

impl Acknowledged {
    /// A producer is told that its records are safe. Nobody may have been told of others there.
    pub(crate) fn add(
        &mut self,
        partition: TopicPartition,
        base: Offset,
        ids: &[RecordId],
    ) -> Result<(), String> {
        for (offset, id) in (base.value()..).map(Offset::new).zip(ids) {
            let known = self.by_partition.entry(partition).or_default();
            if let Some(other) = known.insert(offset, *id).filter(|other| other != id) {
                return Err(format!("{other} and {id} were both acknowledged at {offset}"));
            }
            self.places.insert(*id, offset);
        }
        Ok(())
    }

    /// This is safe to somebody: nobody was told of another record there.
    pub(crate) fn safe(&self, partition: TopicPartition, seen: Seen) -> Result<(), String> {
        let known = self.by_partition.get(&partition).and_then(|known| known.get(&seen.offset));
        match known {
            Some(id) if *id != seen.id => Err(format!(
                "{id} was acknowledged at {} of {partition:?}, where {} is",
                seen.offset, seen.id
            )),
            Some(_) | None => Ok(()),
        }
    }

    /// The whole of a log was looked at, and it ends at `end`.
    pub(crate) fn ends(&self, partition: TopicPartition, end: Offset) -> Result<(), String> {
        let Some(known) = self.by_partition.get(&partition) else { return Ok(()) };
        match known.range(end..).next() {
            None => Ok(()),
            Some((offset, id)) => Err(format!(
                "{id} was acknowledged at {offset} of {partition:?}, which ends at {end}"
            )),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.places.len()
    }
}
