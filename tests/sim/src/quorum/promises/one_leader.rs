//! Source: Ongaro's thesis, 3.4 (election safety): there is at most one leader in a term.

use std::collections::BTreeMap;

use brooklet_quorum::{Member, Term};

/// Who led.
#[derive(Debug, Default)]
pub(crate) struct OneLeader {
    /// Whoever leads, and in which run of it: a start does not lead on.
    by_term: BTreeMap<Term, (Member, u64)>,
}

impl OneLeader {
    /// A member says that it leads.
    pub(crate) fn leads(&mut self, term: Term, member: Member, run: u64) -> Result<(), String> {
        let first = *self.by_term.entry(term).or_insert((member, run));
        if first != (member, run) {
            return Err(format!("two leaders in {term:?}: {first:?} and {:?}", (member, run)));
        }
        Ok(())
    }
}
