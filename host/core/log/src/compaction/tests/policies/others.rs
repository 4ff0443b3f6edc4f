//! Policies that others could have written.

use super::*;
use crate::compaction::Verdict;

/// Of each key the record with the highest time, the later of two.
#[derive(Debug, Default)]
pub(super) struct ByTime {
    best: BTreeMap<u64, (Timestamp, Offset)>,
}

/// Of each key so many of the newest.
#[derive(Debug)]
pub(super) struct Newest {
    count: usize,
    seen: BTreeMap<u64, Vec<Offset>>,
}

/// Of each key one record, with the sum of all values since the last tombstone. Adding up twice what was
/// added up already gives another sum, so a half of a cleaning would show.
#[derive(Debug, Default)]
pub(super) struct Sum {
    sums: BTreeMap<u64, (u64, Offset)>,
}

/// Makes tombstones of the records of one key.
#[derive(Debug)]
pub(super) struct Erase(pub(super) &'static [u8]);

/// What can go wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Clumsy {
    FailsToBegin,
    FailsToObserve,
    FailsToDecide,
    JudgesTooFew,
    ReplacesWithoutMerging,
    ReplacesWhatGoes,
    ReplacesInNoOrder,
    ReplacesNothing,
    MakesALongBatch,
}

#[derive(Debug)]
pub(super) struct ClumsyPolicy {
    pub(super) how: Clumsy,
    pub(super) ended: Arc<AtomicUsize>,
}

/// The sum of values since the last tombstone.
pub(super) fn sum(records: &[&Stored]) -> u64 {
    let add =
        |sum, record: &&Stored| record.value.as_ref().map_or(0, |it| sum + number(it.as_bytes()));
    records.iter().fold(0, add)
}

fn number(value: &[u8]) -> u64 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

fn keep(keep: impl Iterator<Item = bool>) -> Result<Verdict, PolicyError> {
    Ok(Verdict { keep: keep.collect(), replace: Vec::new() })
}

impl Policy for ByTime {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        false
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        Ok(())
    }

    fn observe(&mut self, entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        for entry in entries {
            let this = (entry.record.timestamp, entry.record.offset);
            let best = self.best.entry(entry.key.unwrap()).or_insert(this);
            *best = this.max(*best);
        }
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let offset = |entry: &Entry<'_>| self.best[&entry.key.unwrap()].1;
        keep(entries.iter().map(|entry| offset(entry) == entry.record.offset))
    }

    fn end(&mut self) {}
}

impl Newest {
    pub(super) fn new(count: usize) -> Newest {
        Newest { count, seen: BTreeMap::new() }
    }
}

impl Policy for Newest {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        false
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        Ok(())
    }

    fn observe(&mut self, entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        for entry in entries {
            self.seen.entry(entry.key.unwrap()).or_default().push(entry.record.offset);
        }
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let stays = |entry: &Entry<'_>| {
            let newest = self.seen[&entry.key.unwrap()].iter().rev().take(self.count);
            newest.copied().any(|offset| offset == entry.record.offset)
        };
        keep(entries.iter().map(stays))
    }

    fn end(&mut self) {}
}

impl Policy for Sum {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        true
    }

    fn begin(&mut self, pass: &Pass) -> Result<(), PolicyError> {
        assert!(pass.start <= pass.dirty_end && pass.dirty_from <= pass.dirty_end);
        assert_eq!(pass.delete_horizon, pass.now.plus_millis(-1000));
        Ok(())
    }

    fn observe(&mut self, entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        for entry in entries {
            let (sum, last) = self.sums.entry(entry.key.unwrap()).or_default();
            *sum = entry.record.value.map_or(0, |value| *sum + number(value));
            *last = entry.record.offset;
        }
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let mut verdict = Verdict::default();
        for (index, entry) in entries.iter().enumerate() {
            let (sum, last) = self.sums[&entry.key.unwrap()];
            assert_eq!(entry.is_latest, last == entry.record.offset);
            verdict.keep.push(entry.is_latest);
            if entry.is_latest && entry.record.value.is_some() {
                verdict.replace.push((index, Some(Bytes::from(sum.to_string()))));
            }
        }
        Ok(verdict)
    }

    fn end(&mut self) {}
}

impl Policy for Erase {
    fn scope(&self) -> Scope {
        Scope::Dirty
    }

    fn merges(&self) -> bool {
        true
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        Ok(())
    }

    fn observe(&mut self, _entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        Ok(())
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        let erased = entries.iter().enumerate().filter(|(_, it)| it.record.key == Some(self.0));
        let replace = erased.map(|(index, _)| (index, None)).collect();
        Ok(Verdict { keep: vec![true; entries.len()], replace })
    }

    fn end(&mut self) {}
}

impl ClumsyPolicy {
    fn fails_if(&self, how: Clumsy) -> Result<(), PolicyError> {
        let retry_after = Duration::from_secs(1);
        let failed = PolicyError::Failed { message: "no mood".to_owned(), retry_after };
        if self.how == how { Err(failed) } else { Ok(()) }
    }
}

impl Policy for ClumsyPolicy {
    fn scope(&self) -> Scope {
        Scope::All
    }

    fn merges(&self) -> bool {
        self.how != Clumsy::ReplacesWithoutMerging
    }

    fn begin(&mut self, _pass: &Pass) -> Result<(), PolicyError> {
        self.fails_if(Clumsy::FailsToBegin)
    }

    fn observe(&mut self, _entries: &[Entry<'_>]) -> Result<(), PolicyError> {
        self.fails_if(Clumsy::FailsToObserve)
    }

    fn decide(&mut self, entries: &[Entry<'_>]) -> Result<Verdict, PolicyError> {
        self.fails_if(Clumsy::FailsToDecide)?;
        let value = || Some(Bytes::from_static(b"1"));
        let mut keep = vec![true; entries.len()];
        let last = entries.len() - 1;
        let replace = match self.how {
            Clumsy::JudgesTooFew => {
                keep.pop();
                Vec::new()
            }
            Clumsy::ReplacesWhatGoes => {
                keep[last] = false;
                vec![(last, value())]
            }
            Clumsy::ReplacesInNoOrder => vec![(last, value()), (0, value())],
            Clumsy::ReplacesNothing => vec![(last + 1, value())],
            Clumsy::MakesALongBatch => {
                // What no codec makes short.
                let noise = (0..5000_u32).map(|it| it.wrapping_mul(2_654_435_761).to_be_bytes()[0]);
                vec![(last, Some(noise.collect()))]
            }
            Clumsy::ReplacesWithoutMerging
            | Clumsy::FailsToBegin
            | Clumsy::FailsToObserve
            | Clumsy::FailsToDecide => vec![(last, value())],
        };
        Ok(Verdict { keep, replace })
    }

    fn end(&mut self) {
        self.ended.fetch_add(1, Ordering::Relaxed);
    }
}
