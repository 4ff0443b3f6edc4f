//! Source: `brooklet-quorum`'s `propose`: what was reported as decided is never lost.

use brooklet_quorum::Index;

use crate::quorum::promises::agreement::{Agreement, value};

/// What was reported as decided.
#[derive(Debug, Default)]
pub(crate) struct Decided {
    values: Vec<(Index, u64)>,
}

impl Decided {
    /// Whoever proposed `proposed` is told that it is decided.
    pub(crate) fn reported(&mut self, index: Index, proposed: u64) {
        self.values.push((index, proposed));
    }

    /// How many were.
    pub(crate) fn count(&self) -> usize {
        self.values.len()
    }

    /// Everything that was reported is in what a member has applied.
    pub(crate) fn check(&self, agreement: &Agreement, image: &[u64]) -> Result<(), String> {
        for (index, proposed) in &self.values {
            if agreement.at(*index).and_then(value) != Some(*proposed) {
                return Err(format!(
                    "{proposed} was decided at {index:?}, and something else is there"
                ));
            }
            if !image.contains(proposed) {
                return Err(format!("{proposed} was decided at {index:?} and is lost"));
            }
        }
        Ok(())
    }
}
