//! Source: ARCHITECTURE §4: a commit is answered when it is durable, and then what is fetched is it or a
//! later one.
//!
//! Each commit has its own value. Commits at the same time may come in either order; one whose answer was
//! lost may come until its broker has ended.

use std::collections::BTreeMap;

use brooklet_types::Instant;

/// Group, topic and partition.
pub(crate) type Key = (String, String, u32);

/// Every commit there was.
#[derive(Debug, Default)]
pub(crate) struct Commits {
    next: i64,
    /// Somebody has asked that all be forgotten.
    forgotten: bool,
    by_key: BTreeMap<Key, Vec<Commit>>,
}

#[derive(Clone, Copy, Debug)]
struct Commit {
    value: i64,
    sent: Instant,
    /// By then it had come, or it never will.
    ended: Option<Instant>,
    outcome: Outcome,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Outcome {
    Unknown,
    Acknowledged,
    Refused,
}

impl Commits {
    /// Somebody commits. Gives the value to be committed.
    pub(crate) fn sent(&mut self, key: &Key, now: Instant) -> i64 {
        self.next += 1;
        let (value, outcome) = (self.next, Outcome::Unknown);
        let commit = Commit { value, sent: now, ended: None, outcome };
        self.by_key.entry(key.clone()).or_default().push(commit);
        value
    }

    /// Somebody asks to delete the topic of all commits: nothing is promised any more.
    pub(crate) fn may_be_forgotten(&mut self) {
        self.forgotten = true;
    }

    /// The commit of `value` is answered.
    pub(crate) fn answered(&mut self, key: &Key, value: i64, now: Instant, stored: bool) {
        let commits = self.by_key.entry(key.clone()).or_default();
        for commit in commits.iter_mut().filter(|commit| commit.value == value) {
            commit.ended = Some(now);
            commit.outcome = if stored { Outcome::Acknowledged } else { Outcome::Refused };
        }
    }

    /// The broker has ended: what has not come does not come any more.
    pub(crate) fn run_ended(&mut self, now: Instant) {
        for commit in self.by_key.values_mut().flatten() {
            commit.ended = commit.ended.or(Some(now));
        }
    }

    /// Somebody asked at `asked` what is committed, and was told `value`.
    pub(crate) fn fetched(
        &self,
        key: &Key,
        asked: Instant,
        value: Option<i64>,
    ) -> Result<(), String> {
        if self.forgotten {
            return Ok(());
        }
        let nothing = Vec::new();
        let commits = self.by_key.get(key).unwrap_or(&nothing);
        // Acknowledged before anybody asked.
        let settled = commits.iter().filter(|commit| {
            commit.outcome == Outcome::Acknowledged && commit.ended.is_some_and(|at| at < asked)
        });
        let newest = settled.max_by_key(|commit| commit.sent);
        let Some(value) = value else {
            return match newest {
                None => Ok(()),
                Some(lost) => {
                    Err(format!("{key:?}: {} was acknowledged, nothing is there", lost.value))
                }
            };
        };
        let found = commits.iter().find(|commit| commit.value == value);
        let Some(found) = found.filter(|commit| commit.outcome != Outcome::Refused) else {
            return Err(format!("{key:?} is {value}, which nobody has committed"));
        };
        let overtaken = newest.filter(|newest| found.ended.is_some_and(|at| at < newest.sent));
        overtaken.map_or(Ok(()), |newest| {
            Err(format!("{key:?} is {value} after {} was acknowledged", newest.value))
        })
    }
}
