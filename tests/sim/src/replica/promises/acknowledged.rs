//! Source: ARCHITECTURE §8, KIP-966: a record that was acknowledged with `acks=all` is neither lost nor changed. It is
//! on the disk of each member of the controller's in-sync set, so that whoever is elected has it, whoever dies.

use std::collections::BTreeMap;

use brooklet_types::BrokerId;

use crate::replica::log::{ModelLog, Record};

/// What was acknowledged, at its offset.
#[derive(Debug, Default)]
pub(crate) struct Acknowledged {
    records: BTreeMap<u64, Record>,
    /// How many ever were.
    pub(crate) count: u64,
}

impl Acknowledged {
    /// A producer is told that its record is safe. Nobody may have been told of another one there.
    pub(crate) fn add(&mut self, offset: u64, record: Record) -> Result<(), String> {
        self.count += 1;
        match self.records.insert(offset, record) {
            Some(before) if before != record => {
                Err(format!("{before:?} and {record:?} were both acknowledged at {offset}"))
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Whether `broker`, which is in sync, has the record at `offset`.
    pub(crate) fn check_one(
        &self,
        offset: u64,
        broker: BrokerId,
        log: &ModelLog,
    ) -> Result<(), String> {
        let Some(record) = self.records.get(&offset) else { return Ok(()) };
        if offset < log.start() {
            return Ok(());
        }
        if offset >= log.durable() {
            let durable = log.durable();
            return Err(format!(
                "{offset} is acknowledged, and durable on {broker} is what is before {durable}"
            ));
        }
        match log.at(offset) {
            Some(found) if found == *record => Ok(()),
            found => {
                Err(format!("{record:?} was acknowledged at {offset}, {broker} has {found:?}"))
            }
        }
    }

    /// Whether `broker`, which is in sync, has everything.
    pub(crate) fn check(&self, broker: BrokerId, log: &ModelLog) -> Result<(), String> {
        let there = self.records.range(log.start()..);
        there.into_iter().try_for_each(|(offset, _)| self.check_one(*offset, broker, log))
    }

    /// Retention has deleted what is before `start`: nobody asks for it any more.
    pub(crate) fn delete_before(&mut self, start: u64) {
        self.records = self.records.split_off(&start);
    }
}
