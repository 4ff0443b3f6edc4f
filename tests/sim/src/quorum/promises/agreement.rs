//! Source: Ongaro's thesis, 3.4 (state machine safety): what is committed at an index is so everywhere, and for
//! ever; and the brief of `brooklet-quorum`: once each, in order, without gaps.

use std::collections::BTreeSet;

use brooklet_quorum::{Committed, Event, Index, Mark, Members};

/// What was committed, in order.
#[derive(Debug, Default)]
pub(crate) struct Agreement {
    first: Members,
    /// From index 2 on.
    entries: Vec<Committed>,
    values: BTreeSet<u64>,
}

impl Agreement {
    /// The members that the cluster begins with, at index 1.
    pub(crate) fn begin(&mut self, members: Members) {
        self.first = members;
    }

    /// A member hands out `entry` after everything up to `applied`.
    pub(crate) fn committed(&mut self, applied: Index, entry: &Committed) -> Result<(), String> {
        if entry.index != applied.next() {
            return Err(format!("{:?} is handed out after {applied:?}", entry.index));
        }
        if let Some(known) = self.at(entry.index) {
            return if known == entry {
                Ok(())
            } else {
                Err(format!("{known:?} is committed, and {entry:?}"))
            };
        }
        assert_eq!(entry.index, self.last().next(), "whoever is ahead has handed out everything");
        if let Some(value) = value(entry)
            && !self.values.insert(value)
        {
            return Err(format!("{value} is committed twice"));
        }
        self.entries.push(entry.clone());
        Ok(())
    }

    /// A member is given a snapshot.
    pub(crate) fn installed(&self, mark: &Mark, image: &[u64]) -> Result<(), String> {
        let index = mark.index;
        if index > self.last() {
            return Err(format!("a snapshot at {index:?}, which nobody has handed out"));
        }
        let expected = self.image(index);
        if image != expected {
            return Err(format!("the snapshot at {index:?} has {image:?}, not {expected:?}"));
        }
        let members = self.members(index);
        if mark.members != *members {
            return Err(format!(
                "the snapshot at {index:?} has {:?}, not {members:?}",
                mark.members
            ));
        }
        Ok(())
    }

    /// What was committed at `index`.
    pub(crate) fn at(&self, index: Index) -> Option<&Committed> {
        self.entries.get(usize::try_from(index.0.checked_sub(2)?).ok()?)
    }

    /// The last index that anybody has handed out.
    pub(crate) fn last(&self) -> Index {
        Index(1 + u64::try_from(self.entries.len()).expect("few"))
    }

    /// Everything that was proposed and committed up to `index`.
    pub(crate) fn image(&self, index: Index) -> Vec<u64> {
        self.entries.iter().take_while(|entry| entry.index <= index).filter_map(value).collect()
    }

    /// Where members changed last.
    pub(crate) fn last_change(&self) -> Index {
        let mut changes =
            self.entries.iter().rev().filter(|entry| matches!(entry.event, Event::Members(..)));
        changes.next().map_or(Index(1), |entry| entry.index)
    }

    /// The members after `index`.
    pub(crate) fn members(&self, index: Index) -> &Members {
        let before = self.entries.iter().take_while(|entry| entry.index <= index);
        let changed = before.filter_map(|entry| match &entry.event {
            Event::Members(_, members) => Some(members),
            Event::Empty | Event::Data(_) => None,
        });
        changed.last().unwrap_or(&self.first)
    }
}

/// The value in an entry.
pub(crate) fn value(entry: &Committed) -> Option<u64> {
    match &entry.event {
        Event::Data(data) => {
            let bytes = data.first_chunk().expect("values are eight bytes and padding");
            Some(u64::from_be_bytes(*bytes))
        }
        Event::Empty | Event::Members(..) => None,
    }
}
