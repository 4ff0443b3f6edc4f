//! What a crash may leave, and what is made of it.

use super::*;
use crate::member::Change;
use crate::testing::{data, first, hard_state, member, members, open as quorum, settle};

fn change(index: u64, term: u64, change: Change) -> Entry {
    Entry { index: Index(index), term: Term(term), payload: Payload::Change(change) }
}

fn mark(index: u64, term: u64) -> Mark {
    Mark { index: Index(index), term: Term(term), members: members(&[1, 2, 3]) }
}

fn indexes(entries: &[Entry]) -> Vec<u64> {
    entries.iter().map(|entry| entry.index.0).collect()
}

#[test]
#[rustfmt::skip] // A table is read by columns.
fn a_log_goes_on_from_its_snapshot_or_is_from_before_it() {
    let log = || vec![data(4, 2, "a"), data(5, 2, "b"), data(6, 3, "c")];
    let kept = |entries: &[u64]| Ok((entries.to_vec(), LogFate::Kept));
    let reset = || Ok((vec![], LogFate::Reset));
    let gap = |expected, found| Err(OpenError::Gap { expected: Index(expected), found: Index(found) });
    let table = [
        ("right behind",             Some(mark(3, 1)), log(),                        kept(&[4, 5, 6])),
        ("partly covered",           Some(mark(5, 2)), log(),                        kept(&[6])),
        ("wholly covered",           Some(mark(6, 3)), log(),                        kept(&[])),
        ("another history",          Some(mark(5, 3)), log(),                        reset()),
        ("ends before",              Some(mark(9, 3)), log(),                        reset()),
        ("no log",                   Some(mark(9, 3)), vec![],                       kept(&[])),
        ("nothing at all",           None,             vec![],                       kept(&[])),
        ("begins too late",          Some(mark(2, 1)), log(),                        gap(3, 4)),
        ("an entry is missing",      Some(mark(3, 1)), vec![data(4, 2, "a"), data(6, 2, "b")], gap(5, 6)),
        ("entries and no snapshot",  None,             vec![data(1, 1, "a")],        gap(0, 1)),
        ("a term falls",             Some(mark(3, 1)), vec![data(4, 2, "a"), data(5, 1, "b")], Err(OpenError::Term { index: Index(5), term: Term(1) })),
        ("a term below the snapshot",Some(mark(3, 3)), log(),                        Err(OpenError::Term { index: Index(4), term: Term(2) })),
        ("no term",                  Some(mark(3, 1)), vec![data(4, 0, "a")],        Err(OpenError::Term { index: Index(4), term: Term(0) })),
        ("a term beyond",            Some(mark(3, 1)), vec![data(4, 1 << 32, "a")],  Err(OpenError::Term { index: Index(4), term: Term(1 << 32) })),
        ("a snapshot of nothing",    Some(mark(0, 1)), vec![],                       Err(OpenError::Mark { index: Index(0), term: Term(1) })),
    ];
    for (name, mark, entries, expected) in table {
        let stored = Stored { mark, entries, ..Stored::default() };
        let begun = begin(stored).map(|(beginning, log)| (indexes(&beginning.entries), log));
        assert_eq!(begun, expected, "{name}");
    }
}

#[test]
fn a_term_that_an_entry_names_is_known_and_its_vote_is_free() {
    let begun = |hard_state| {
        let entries = vec![data(2, 5, "a")];
        let stored = Stored { hard_state, entries, ..first(&[1, 2, 3]) };
        begin(stored).map(|(beginning, _)| beginning.hard_state)
    };
    assert_eq!(begun(hard_state(4, Some(2), 1)), Ok(hard_state(5, None, 1)), "from before");
    assert_eq!(begun(hard_state(5, Some(2), 1)), Ok(hard_state(5, Some(2), 1)), "of that term");
    assert_eq!(begun(hard_state(6, Some(2), 2)), Ok(hard_state(6, Some(2), 2)), "from later");
    let (commit, last) = (Index(3), Index(2));
    assert_eq!(begun(hard_state(5, None, 3)), Err(OpenError::CommitBeyondEnd { commit, last }));
}

#[test]
fn changes_before_the_last_are_committed() {
    let entries = vec![
        data(2, 1, "a"),
        change(3, 1, Change::AddObserver(member(4))),
        data(4, 1, "b"),
        change(5, 1, Change::AddVoter(member(4))),
        change(6, 2, Change::Remove(member(1))),
        data(7, 2, "c"),
    ];
    for (kept, commit) in [(1, 1), (2, 1), (4, 3), (5, 5), (6, 5)] {
        let entries = entries.iter().take(kept).cloned().collect();
        let stored = Stored { entries, ..first(&[1, 2, 3]) };
        let (beginning, _) = begin(stored).unwrap();
        assert_eq!(beginning.hard_state.commit, Index(commit), "{kept} entries");
    }
    // They are handed out before anybody is asked for a vote.
    let stored = Stored { entries, ..first(&[1, 2, 3]) };
    let mut quorum = quorum(member(2), stored);
    let committed: Vec<u64> = settle(&mut quorum)
        .iter()
        .flat_map(|ready| ready.committed.iter().map(|committed| committed.index.0))
        .collect();
    assert_eq!(committed, [2, 3, 4, 5]);
    assert!(quorum.members().is_voter(member(4)) && quorum.members().is_voter(member(1)));
}
