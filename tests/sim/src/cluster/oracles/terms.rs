//! Source: raft, §5.2: in one term of the quorum one run of one broker leads.

use std::collections::BTreeMap;

use brooklet_shard::Term;

use crate::cluster::node::Place;

/// Who leads the quorum in which term.
#[derive(Debug, Default)]
pub(crate) struct Terms {
    leaders: BTreeMap<u64, Place>,
}

impl Terms {
    /// A broker takes itself for the leader of that term.
    pub(crate) fn leads(&mut self, term: Term, at: Place) -> Result<(), String> {
        let other = *self.leaders.entry(term.0).or_insert(at);
        if other == at {
            return Ok(());
        }
        Err(format!("{other:?} and {at:?} lead the quorum in {term:?}"))
    }
}
