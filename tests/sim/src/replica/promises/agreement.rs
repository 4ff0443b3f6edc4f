//! Source: KIP-101, 279: whatever two replicas have below their high watermarks, they have at the same offsets.

use std::collections::BTreeMap;

use brooklet_types::BrokerId;

use crate::replica::log::{ModelLog, Record};

/// What was safe anywhere, at its offset.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    safe: BTreeMap<u64, Record>,
    /// How far each broker was looked at since it started.
    seen: BTreeMap<BrokerId, u64>,
}

impl Agreement {
    /// A broker has started: all of it is looked at again.
    pub(crate) fn started(&mut self, broker: BrokerId) {
        self.seen.remove(&broker);
    }

    /// A broker takes what is before `high_watermark` for safe.
    pub(crate) fn check(
        &mut self,
        broker: BrokerId,
        log: &ModelLog,
        high_watermark: u64,
    ) -> Result<(), String> {
        let seen = self.seen.entry(broker).or_insert(0);
        for offset in (*seen).max(log.start())..high_watermark {
            let Some(found) = log.at(offset) else {
                return Err(format!(
                    "{broker} takes {high_watermark} for safe and has nothing at {offset}"
                ));
            };
            let known = self.safe.entry(offset).or_insert(found);
            if *known != found {
                return Err(format!("{broker} has {found:?} at {offset}, where {known:?} is safe"));
            }
        }
        *seen = (*seen).max(high_watermark);
        Ok(())
    }

    /// Whether what a consumer reads is what is safe.
    pub(crate) fn check_read(&self, offset: u64, read: Option<Record>) -> Result<(), String> {
        let safe = self.safe.get(&offset).copied();
        if safe == read {
            Ok(())
        } else {
            Err(format!("{read:?} was read at {offset}, {safe:?} is safe"))
        }
    }
}
