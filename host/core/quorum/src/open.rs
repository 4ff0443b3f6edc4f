//! From what a disk has to a quorum, after whatever crash.
//!
//! **What it decides.** Where the log goes on from the snapshot, or whether it is from before it; what is
//! committed for certain; and that a term which an entry names is known, although the crash may have kept the
//! entry and not the term.
//!
//! A change of members is only proposed when the one before has been applied. So everything up to the last but
//! one in the log is committed, and has to be taken so: with the members of earlier, a majority could be found
//! that has none in common with today's.

use crate::entry::{Entry, HardState, Index, Mark, Payload, Stored, Term};
use crate::error::OpenError;
use crate::member::Members;
use crate::node::Quorum;
use crate::settings::Settings;

/// A quorum, and what has to be done to the disk first.
pub struct Opened {
    /// The machine.
    pub quorum: Quorum,
    /// What the log on the disk is worth.
    pub log: LogFate,
}

/// What becomes of the log on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFate {
    /// It goes on from the snapshot.
    Kept,
    /// It is from before the snapshot, which was installed just before the crash. It has to be emptied, to
    /// begin behind the snapshot, before anything is appended.
    Reset,
}

/// What raft begins with.
pub(crate) struct Beginning {
    pub(crate) hard_state: HardState,
    pub(crate) mark: Mark,
    pub(crate) entries: Vec<Entry>,
}

impl Quorum {
    /// The quorum of a disk. Time begins now; nobody leads.
    pub fn open(settings: Settings, stored: Stored) -> Result<Opened, OpenError> {
        settings.assert_sound();
        let (beginning, log) = begin(stored)?;
        Ok(Opened { quorum: Quorum::new(settings, beginning), log })
    }
}

fn begin(stored: Stored) -> Result<(Beginning, LogFate), OpenError> {
    let Stored { mut hard_state, mark, entries } = stored;
    let mark = match mark {
        Some(Mark { index, term, members })
            if index == Index(0) || term == Term(0) || members.is_empty() =>
        {
            return Err(OpenError::Mark { index, term });
        }
        Some(mark) => mark,
        None => Mark { index: Index(0), term: Term(0), members: Members::default() },
    };
    in_order(&entries)?;
    let (entries, log) = behind(&mark, entries)?;
    let last = entries.last().map_or((mark.index, mark.term), |last| (last.index, last.term));
    if let (Index(0), Some(first)) = (mark.index, entries.first()) {
        // Whoever has heard of no members has been sent nothing but a snapshot.
        return Err(OpenError::Gap { expected: Index(0), found: first.index });
    }
    if hard_state.commit > last.0 {
        return Err(OpenError::CommitBeyondEnd { commit: hard_state.commit, last: last.0 });
    }
    if hard_state.term < last.1 {
        // A vote of that term would have been written before it was told anybody.
        (hard_state.term, hard_state.vote) = (last.1, None);
    }
    let certain = mark.index.max(last_change_but_one(&entries).unwrap_or_default());
    hard_state.commit = hard_state.commit.max(certain);
    Ok((Beginning { hard_state, mark, entries }, log))
}

fn in_order(entries: &[Entry]) -> Result<(), OpenError> {
    let mut before: Option<&Entry> = None;
    for entry in entries {
        let (index, term) = (entry.index, entry.term);
        let expected = before.map_or(index.max(Index(1)), |before| before.index.next());
        if index != expected {
            return Err(OpenError::Gap { expected, found: index });
        }
        let least = before.map_or(Term(1), |before| before.term);
        if term < least || u32::try_from(term.0).is_err() {
            return Err(OpenError::Term { index, term });
        }
        before = Some(entry);
    }
    Ok(())
}

/// The entries behind the snapshot, where the log goes on from it.
fn behind(mark: &Mark, entries: Vec<Entry>) -> Result<(Vec<Entry>, LogFate), OpenError> {
    let Some(first) = entries.first().map(|first| first.index) else {
        return Ok((entries, LogFate::Kept));
    };
    if first > mark.index.next() {
        return Err(OpenError::Gap { expected: mark.index.next(), found: first });
    }
    let covered = entries.iter().take_while(|entry| entry.index <= mark.index).count();
    let goes_on = match entries.get(..covered).and_then(<[Entry]>::last) {
        Some(met) => met.index == mark.index && met.term == mark.term,
        None => true,
    };
    if !goes_on {
        return Ok((Vec::new(), LogFate::Reset));
    }
    let rest: Vec<_> = entries.into_iter().skip(covered).collect();
    if let Some(entry) = rest.first().filter(|entry| entry.term < mark.term) {
        return Err(OpenError::Term { index: entry.index, term: entry.term });
    }
    Ok((rest, LogFate::Kept))
}

fn last_change_but_one(entries: &[Entry]) -> Option<Index> {
    let changes = entries.iter().rev().filter(|it| matches!(it.payload, Payload::Change(_)));
    changes.map(|entry| entry.index).nth(1)
}

#[cfg(test)]
mod tests;
