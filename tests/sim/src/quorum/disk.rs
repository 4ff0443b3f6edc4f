//! A member's disk: what is on it, and what is on its way there.
//!
//! The hard state is a file of its own, so that a crash may keep it and lose what was written to the log
//! before, or the other way round. Within the log, and within the file, what was written first is kept first.

use std::collections::VecDeque;

use brooklet_quorum::{Entry, HardState, Index, Mark, Ready, ReadyNumber, Stored};

use crate::prng::Prng;

/// One change of the log, or of the snapshot beside it.
#[derive(Clone, Debug)]
enum Write {
    /// A snapshot takes the place of the one before.
    Snapshot(Mark, Vec<u64>),
    /// Everything in the log goes.
    Reset,
    /// Everything from there on goes.
    Truncate(Index),
    /// An entry comes behind the others.
    Push(Entry),
    /// Everything up to there goes.
    Trim(Index),
}

/// The disk.
#[derive(Debug, Default)]
pub(crate) struct Disk {
    hard_state: HardState,
    snapshot: Option<(Mark, Vec<u64>)>,
    log: Vec<Entry>,
    states: VecDeque<(ReadyNumber, HardState)>,
    writes: VecDeque<(ReadyNumber, Write)>,
}

impl Disk {
    /// The disk of a cluster's first voter.
    pub(crate) fn first(stored: Stored) -> Disk {
        Disk { snapshot: stored.mark.map(|mark| (mark, Vec::new())), ..Disk::default() }
    }

    /// Begins to write what a ready says.
    pub(crate) fn write(&mut self, ready: &Ready, image: &[u64]) {
        if let Some(snapshot) = &ready.snapshot {
            let mark = snapshot.mark.clone();
            self.push(ready.number, Write::Snapshot(mark, image.to_vec()));
            self.push(ready.number, Write::Reset);
        }
        if let Some(hard_state) = ready.hard_state {
            self.states.push_back((ready.number, hard_state));
        }
        if let Some(append) = &ready.append {
            self.push(ready.number, Write::Truncate(append.from));
            for entry in &append.entries {
                self.push(ready.number, Write::Push(entry.clone()));
            }
        }
    }

    /// Begins to write a snapshot of the host's own, and to trim the log behind it.
    pub(crate) fn compact(&mut self, number: ReadyNumber, mark: Mark, image: &[u64], trim: Index) {
        self.push(number, Write::Snapshot(mark, image.to_vec()));
        self.push(number, Write::Trim(trim));
    }

    /// Empties the log: it is from before the snapshot.
    pub(crate) fn reset(&mut self) {
        self.log.clear();
    }

    /// Everything that readies up to `number` said is written. Whether a term or a vote was among it.
    pub(crate) fn sync(&mut self, number: ReadyNumber) -> bool {
        let before = self.hard_state;
        while let Some((_, state)) = self.states.pop_front_if(|(of, _)| *of <= number) {
            self.hard_state = state;
        }
        while let Some((_, write)) = self.writes.pop_front_if(|(of, _)| *of <= number) {
            self.apply(write);
        }
        (self.hard_state.term, self.hard_state.vote) != (before.term, before.vote)
    }

    /// The power goes: some of what was on its way is there.
    pub(crate) fn crash(&mut self, prng: &mut Prng) {
        let mut some = |count: usize| {
            let count = u64::try_from(count).expect("few");
            // All or nothing as often as something between.
            match prng.below(4) {
                0 => 0,
                1 => count,
                _ => prng.below(count + 1),
            }
        };
        let (states, writes) = (some(self.states.len()), some(self.writes.len()));
        for _ in 0..states {
            self.hard_state = self.states.pop_front().expect("counted").1;
        }
        for _ in 0..writes {
            let (_, write) = self.writes.pop_front().expect("counted");
            self.apply(write);
        }
        self.states.clear();
        self.writes.clear();
    }

    /// The file with the term and the vote is gone.
    pub(crate) fn lose_vote(&mut self) {
        self.hard_state = HardState::default();
    }

    /// Up to where a start knows for certain that entries are committed.
    pub(crate) fn certain(&self) -> Index {
        let snapshot = self.snapshot.as_ref().map(|(mark, _)| mark.index);
        self.hard_state.commit.max(snapshot.unwrap_or_default())
    }

    /// What a start finds, with the image of the snapshot.
    pub(crate) fn stored(&self) -> (Stored, Vec<u64>) {
        let (mark, image) = self.snapshot.clone().unzip();
        let stored = Stored { hard_state: self.hard_state, mark, entries: self.log.clone() };
        (stored, image.unwrap_or_default())
    }

    /// Every entry that is there or on its way.
    pub(crate) fn entries(&self) -> impl Iterator<Item = &Entry> {
        let coming = self.writes.iter().filter_map(|(_, write)| match write {
            Write::Push(entry) => Some(entry),
            Write::Snapshot(..) | Write::Reset | Write::Truncate(_) | Write::Trim(_) => None,
        });
        self.log.iter().chain(coming)
    }

    fn push(&mut self, number: ReadyNumber, write: Write) {
        self.writes.push_back((number, write));
    }

    fn apply(&mut self, write: Write) {
        match write {
            Write::Snapshot(mark, image) => {
                let newer = self.snapshot.as_ref().is_none_or(|(held, _)| held.index < mark.index);
                if newer {
                    self.snapshot = Some((mark, image));
                }
            }
            Write::Reset => self.log.clear(),
            Write::Truncate(from) => self.log.retain(|entry| entry.index < from),
            Write::Push(entry) => self.log.push(entry),
            Write::Trim(to) => self.log.retain(|entry| entry.index > to),
        }
    }
}
