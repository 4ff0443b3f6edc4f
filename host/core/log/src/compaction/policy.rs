//! Which records survive a cleaning, and with which values: what is asked of a policy, and Kafka's own.
//!
//! **Where it sits.** In a job. A policy is shown records first, in the order of offsets, and asked about
//! every batch afterwards; the host has the last word about what must stay all the same
//! ([`batch`](super::batch)).
//!
//! **What it decides.** Which records have had their day, and, if it [merges](Policy::merges), what takes
//! the place of a value that stays. It never sees a producer, a control batch or an offset to be assigned,
//! and it need not know how old a tombstone is.
//!
//! **Invariant.** A policy that fails costs its topic a cleaning and nothing else: what was there stays.

use std::fmt;
use std::time::Duration;

use brooklet_types::{Offset, Timestamp};
use brooklet_wire::batch::Record;
use bytes::Bytes;

/// Judges the records of one cleaning of one partition.
pub trait Policy: fmt::Debug + Send {
    /// What it has to be shown. Asked before anything else, and always answered the same.
    fn scope(&self) -> Scope;

    /// Whether its verdicts may bring new values. All of a cleaning's changes then take effect at once, which
    /// needs as much space on the disk as the partition has; without it, a segment's.
    fn merges(&self) -> bool;

    /// A cleaning begins. Called once, before all others.
    fn begin(&mut self, pass: &Pass) -> Result<(), PolicyError>;

    /// Shown the records of one batch, all of them live. Batches come in the order of their offsets.
    fn observe(&mut self, entries: &[Entry<'_>]) -> Result<(), PolicyError>;

    /// Judges the records of one batch. Everything that it is shown has been observed by now.
    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError>;

    /// The cleaning has ended, well or not. Where the log was cut in the meantime, or is gone, the policy is
    /// dropped instead.
    fn end(&mut self);
}

/// What a policy has to be shown before it can decide.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// What was written since the last cleaning. As much of it as there is memory for: what lies behind
    /// waits for the next. What an earlier cleaning has left is judged without having been observed.
    Dirty,
    /// Every live record that may be compacted. Where their keys do not fit into memory there is no
    /// cleaning: [`PolicyError::NoRoom`].
    All,
}

/// What is about to be cleaned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pass {
    /// When the cleaning began.
    pub now: Timestamp,
    /// The first offset that can be read. What lies before it is shown to no policy.
    pub start: Offset,
    /// Everything before this offset was cleaned before.
    pub dirty_from: Offset,
    /// Nothing from this offset on is cleaned or shown this time.
    pub dirty_end: Offset,
    /// Tombstones that were written before may go, if an earlier cleaning has seen them.
    pub delete_horizon: Timestamp,
}

/// A record, and what the host knows of its key.
#[derive(Clone, Debug)]
pub struct Entry<'r> {
    /// The record.
    pub record: &'r Record<'r>,
    /// A number for its key, counted from 0: the same for equal keys within one cleaning, and no other's.
    /// None without a key, or for one that was not observed.
    pub key: Option<u64>,
    /// Whether no later record of its key was observed. So far, while records are being observed.
    pub is_latest: bool,
}

/// What becomes of the records of a batch.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Verdict {
    /// For each, whether it stays.
    pub keep: Vec<bool>,
    /// New values of some that stay, by their index, ascending; none makes a tombstone. Only of a policy
    /// that merges.
    pub replace: Vec<(usize, Option<Bytes>)>,
}

/// Why a policy gives no verdict.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    /// It says so, or has died. Not asked again before `retry_after`.
    #[error("{message}")]
    Failed { message: String, retry_after: Duration },
    /// Its verdict is none.
    #[error("a verdict {problem}")]
    Verdict { problem: &'static str },
    /// It wants to be shown everything, and there are more keys than this.
    #[error("there are more than {keys} keys, for which alone the cleaner has memory")]
    NoRoom { keys: usize },
    /// It merges, and the partition has more segments than can change together.
    #[error("the partition has {segments} segments; values are merged in {limit} at most")]
    TooManySegments { segments: usize, limit: usize },
}

/// Kafka's own: of each key the latest record stays, and nothing that has no key.
#[derive(Clone, Copy, Debug, Default)]
pub struct Latest;

impl Policy for Latest {
    fn scope(&self) -> Scope {
        Scope::Dirty
    }

    fn merges(&self) -> bool {
        false
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        Ok(())
    }

    fn observe(&mut self, _entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        // Without a key nothing is its successor, and Kafka drops it: compacted topics take none.
        let keep = entries.iter().map(|entry| entry.record.key.is_some() && entry.is_latest);
        Ok(Verdict { keep: keep.collect(), replace: Vec::new() })
    }

    fn end(&mut self) {}
}
