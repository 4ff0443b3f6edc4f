//! The part of the log that raft reads from: everything since the last compaction, in memory.
//!
//! **Where it sits.** Behind raft, as its `Storage`. It holds what was handed out to be written, whether or
//! not it is on the disk yet; raft is told of that separately.
//!
//! **Invariants.**
//! 1. `entries` adjoin each other and the mark.
//! 2. What entries cost is counted from the first ever held, so that any part of them is one subtraction.
//! 3. `history` begins at or before the mark, and says who the members are after each change since.

use std::cell::Cell;
use std::collections::{BTreeMap, VecDeque};

use raft::eraftpb::{Entry, HardState, Snapshot, SnapshotMetadata};
use raft::{GetEntriesContext, RaftState, Storage, StorageError};

use crate::entry::{Index, Mark, Term};
use crate::member::{MemberNumber, Members};

/// What an entry costs beside its bytes.
pub(crate) const ENTRY_OVERHEAD_BYTES: usize = size_of::<Held>();

/// The log in memory.
#[derive(Debug)]
pub(crate) struct Memory {
    /// What raft begins with; not kept up to date.
    initial: HardState,
    mark: (Index, Term),
    entries: VecDeque<Held>,
    /// What everything cost that was before `entries`.
    forgotten: usize,
    history: BTreeMap<Index, Members>,
    /// The snapshot for laggards.
    snapshot: Option<(Snapshot, Members)>,
    /// Raft has asked for a snapshot that is not there.
    wanted: Cell<bool>,
}

/// An entry, and what everything up to it cost.
#[derive(Debug)]
struct Held {
    entry: Entry,
    cost: usize,
}

impl Memory {
    pub(crate) fn new(initial: HardState, mark: Mark, entries: &[Entry]) -> Memory {
        let mut memory = Memory {
            initial,
            mark: (mark.index, mark.term),
            entries: VecDeque::new(),
            forgotten: 0,
            history: BTreeMap::from([(mark.index, mark.members)]),
            snapshot: None,
            wanted: Cell::new(false),
        };
        memory.append(entries);
        memory
    }

    /// Puts `entries` in the place of everything from the first of them on.
    pub(crate) fn append(&mut self, entries: &[Entry]) {
        let Some(first) = entries.first() else { return };
        assert!(first.index > self.mark.0.0 && first.index <= self.last().0 + 1, "entries adjoin");
        while self.entries.pop_back_if(|last| last.entry.index >= first.index).is_some() {}
        for entry in entries {
            let cost = self.cost() + cost(entry);
            self.entries.push_back(Held { entry: entry.clone(), cost });
        }
    }

    /// Begins anew behind a snapshot.
    pub(crate) fn install(&mut self, mark: &Mark) {
        self.mark = (mark.index, mark.term);
        self.entries.clear();
        self.forgotten = 0;
        self.history = BTreeMap::from([(mark.index, mark.members.clone())]);
        self.snapshot = None;
    }

    /// Forgets everything up to `to`, which is in the log.
    pub(crate) fn compact(&mut self, to: Index) {
        let term = self.term(to.0).expect("what is compacted is in the log");
        while let Some(dropped) = self.entries.pop_front_if(|first| first.entry.index <= to.0) {
            self.forgotten = dropped.cost;
        }
        self.mark = (to, Term(term));
        let members = self.members_at(to).clone();
        self.history = self.history.split_off(&to);
        self.history.insert(to, members);
        if self.snapshot.as_ref().is_some_and(|(held, _)| held.get_metadata().index < to.0) {
            self.snapshot = None;
        }
    }

    /// The members have changed with the entry at `index`.
    pub(crate) fn changed(&mut self, index: Index, members: Members) {
        self.history.insert(index, members);
    }

    /// Holds a snapshot for laggards.
    pub(crate) fn hold(&mut self, index: Index, data: Vec<u8>) {
        let term = self.term(index.0).expect("the snapshot is within the log");
        let members = self.members_at(index).clone();
        let metadata =
            SnapshotMetadata { conf_state: Some(members.to_raft()), index: index.0, term };
        self.snapshot = Some((Snapshot { data, metadata: Some(metadata) }, members));
    }

    /// Lets go of the snapshot for laggards.
    pub(crate) fn release(&mut self) {
        self.snapshot = None;
        self.wanted.set(false);
    }

    /// Whether a snapshot was asked for since the last time.
    pub(crate) fn take_wanted(&self) -> bool {
        self.wanted.take()
    }

    pub(crate) fn is_wanted(&self) -> bool {
        self.wanted.get()
    }

    /// Who the members are after the entry at `index`, which is not before the mark.
    pub(crate) fn members_at(&self, index: Index) -> &Members {
        let found = self.history.range(..=index).next_back();
        found.map(|(_, members)| members).expect("the history begins at the mark")
    }

    /// Who the members are.
    pub(crate) fn members(&self) -> &Members {
        let found = self.history.last_key_value();
        found.map(|(_, members)| members).expect("the history begins at the mark")
    }

    /// The last entry before what is here.
    pub(crate) fn mark(&self) -> Index {
        self.mark.0
    }

    pub(crate) fn last(&self) -> Index {
        self.entries.back().map_or(self.mark.0, |last| Index(last.entry.index))
    }

    /// What the entries behind `index` cost, which is not before the mark.
    pub(crate) fn bytes_behind(&self, index: Index) -> usize {
        let before = self.held(index.0).map_or(self.forgotten, |held| held.cost);
        // Behind what was handed out there is nothing.
        if index > self.last() { 0 } else { self.cost() - before }
    }

    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    fn at(&self, index: u64) -> Option<&Entry> {
        self.held(index).map(|held| &held.entry)
    }

    fn held(&self, index: u64) -> Option<&Held> {
        let position = index.checked_sub(self.mark.0.0 + 1)?;
        self.entries.get(usize::try_from(position).ok()?)
    }

    /// What everything cost.
    fn cost(&self) -> usize {
        self.entries.back().map_or(self.forgotten, |last| last.cost)
    }
}

impl Storage for Memory {
    fn initial_state(&self) -> raft::Result<RaftState> {
        Ok(RaftState::new(self.initial.clone(), self.members_at(self.mark.0).to_raft()))
    }

    fn entries(
        &self,
        low: u64,
        high: u64,
        max_size: impl Into<Option<u64>>,
        _context: GetEntriesContext,
    ) -> raft::Result<Vec<Entry>> {
        if low <= self.mark.0.0 {
            return Err(StorageError::Compacted.into());
        }
        assert!(high <= self.last().0 + 1, "raft asks for what it was given");
        let bytes_max = max_size.into().unwrap_or(u64::MAX);
        let mut bytes = 0;
        let mut entries = Vec::new();
        for index in low..high {
            let entry = self.at(index).expect("entries adjoin");
            bytes += u64::try_from(cost(entry)).expect("an entry is in memory");
            // One is always given, or nobody would ever get it.
            if !entries.is_empty() && bytes > bytes_max {
                break;
            }
            entries.push(entry.clone());
        }
        Ok(entries)
    }

    fn term(&self, index: u64) -> raft::Result<u64> {
        if index == self.mark.0.0 {
            return Ok(self.mark.1.0);
        }
        if index < self.mark.0.0 {
            return Err(StorageError::Compacted.into());
        }
        self.at(index).map(|entry| entry.term).ok_or_else(|| StorageError::Unavailable.into())
    }

    fn first_index(&self) -> raft::Result<u64> {
        Ok(self.mark.0.0 + 1)
    }

    fn last_index(&self) -> raft::Result<u64> {
        Ok(self.last().0)
    }

    fn snapshot(&self, request_index: u64, to: u64) -> raft::Result<Snapshot> {
        // A member that a snapshot does not name would refuse it.
        let fits = |(snapshot, members): &&(Snapshot, Members)| {
            let index = snapshot.get_metadata().index;
            index >= request_index && members.by_number(MemberNumber(to)).is_some()
        };
        match self.snapshot.as_ref().filter(fits) {
            Some((snapshot, _)) => Ok(snapshot.clone()),
            None => {
                self.wanted.set(true);
                Err(StorageError::SnapshotTemporarilyUnavailable.into())
            }
        }
    }
}

fn cost(entry: &Entry) -> usize {
    ENTRY_OVERHEAD_BYTES + entry.data.len() + entry.context.len()
}
