//! Source: KIP-98: a producer id is given out once, by whichever controller.

use std::ops::Range;

/// Ids that were given out.
#[derive(Debug, Default)]
pub(crate) struct ProducerIds {
    blocks: Vec<Range<u64>>,
}

impl ProducerIds {
    /// A block of ids was given out.
    pub(crate) fn given_out(&mut self, block: &Range<u64>) -> Result<(), String> {
        let is_same = |other: &&Range<u64>| other.start < block.end && block.start < other.end;
        if let Some(other) = self.blocks.iter().find(is_same) {
            return Err(format!("producer ids {block:?} are given out after {other:?}"));
        }
        self.blocks.push(block.clone());
        Ok(())
    }
}
