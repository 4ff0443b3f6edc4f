//! Source: KIP-101: in one leader epoch one start of one broker writes, and each offset once.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, LeaderEpoch};

/// Who wrote in which epoch, and how far.
#[derive(Debug, Default)]
pub(crate) struct Epochs {
    writers: BTreeMap<LeaderEpoch, ((BrokerId, u64), u64)>,
}

impl Epochs {
    /// A leader wrote a record.
    pub(crate) fn wrote(
        &mut self,
        epoch: LeaderEpoch,
        broker: BrokerId,
        incarnation: u64,
        offset: u64,
    ) -> Result<(), String> {
        let writer = (broker, incarnation);
        match self.writers.insert(epoch, (writer, offset)) {
            Some((other, _)) if other != writer => {
                Err(format!("{other:?} and {writer:?} (broker, start) wrote in epoch {epoch}"))
            }
            Some((_, last)) if offset <= last => {
                Err(format!("{broker} wrote {offset} in epoch {epoch} after {last}"))
            }
            Some(_) | None => Ok(()),
        }
    }
}
