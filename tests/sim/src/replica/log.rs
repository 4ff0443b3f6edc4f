//! A log as simple as can be: records with their epochs, where it ends, and how much of it a disk has.
//!
//! What is cut before a sync has covered the cut may be back after a loss of power, as it is with real files.

use std::collections::BTreeMap;

use brooklet_replica::{EpochEnd, LogEnds, LogState};
use brooklet_types::{LeaderEpoch, Offset};

use crate::prng::Prng;

/// A record: who wrote it when, and what it says. No two that were ever sent say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record {
    pub(crate) epoch: LeaderEpoch,
    pub(crate) value: u64,
}

/// Records with their offsets, in order.
pub(crate) type Records = Vec<(u64, Record)>;

/// One copy of the partition.
#[derive(Clone, Debug)]
pub(crate) struct ModelLog {
    records: BTreeMap<u64, Record>,
    start: u64,
    end: u64,
    durable: u64,
    /// What a running sync will have made durable.
    syncing: Option<u64>,
    /// Cut, and still on the disk.
    ghosts: BTreeMap<u64, Record>,
    /// With `brooklet.flush=os`: what is written counts as durable, and power is never lost.
    flush_os: bool,
}

impl ModelLog {
    pub(crate) fn new(flush_os: bool) -> ModelLog {
        ModelLog {
            records: BTreeMap::new(),
            start: 0,
            end: 0,
            durable: 0,
            syncing: None,
            ghosts: BTreeMap::new(),
            flush_os,
        }
    }

    /// Writes a record at the end; says where.
    pub(crate) fn append(&mut self, record: Record) -> u64 {
        let offset = self.end;
        self.copy(&[(offset, record)]);
        offset
    }

    /// Writes another's records, which begin at or after the end.
    pub(crate) fn copy(&mut self, records: &[(u64, Record)]) {
        for (offset, record) in records {
            assert!(*offset >= self.end, "records follow on each other");
            self.records.insert(*offset, *record);
            self.end = offset + 1;
        }
        // What lies there now is the new records.
        self.ghosts.clear();
        self.settle();
    }

    /// Cuts what lies at `to` or after it.
    pub(crate) fn truncate(&mut self, to: u64) {
        let cut = self.records.split_off(&to);
        let durable = self.durable;
        self.ghosts.extend(cut.into_iter().filter(|(offset, _)| *offset < durable));
        self.end = self.end.min(to);
        self.durable = self.durable.min(to);
        self.syncing = self.syncing.map(|end| end.min(to));
        self.settle();
    }

    /// Has no records, and goes on at `at`.
    pub(crate) fn start_at(&mut self, at: u64) {
        *self = ModelLog { start: at, end: at, durable: at, ..ModelLog::new(self.flush_os) };
    }

    /// Deletes what lies before `offset`.
    pub(crate) fn delete_before(&mut self, offset: u64) {
        assert!(offset <= self.end, "only what there is can be deleted");
        self.start = self.start.max(offset);
        self.records = self.records.split_off(&self.start);
    }

    /// Begins a sync, if there is none and something to be synced.
    pub(crate) fn begin_sync(&mut self) -> bool {
        let begins = self.syncing.is_none() && self.durable < self.end;
        if begins {
            self.syncing = Some(self.end);
        }
        begins
    }

    /// The sync is done.
    pub(crate) fn end_sync(&mut self) {
        if let Some(end) = self.syncing.take() {
            self.durable = self.durable.max(end);
            self.ghosts.clear();
        }
    }

    /// Everything that was written is on the disk.
    pub(crate) fn close(&mut self) {
        (self.durable, self.syncing) = (self.end, None);
        self.ghosts.clear();
    }

    /// The process dies, and with it the power: what was not synced may be lost, what was cut may be back.
    pub(crate) fn crash(&mut self, prng: &mut Prng) {
        if !self.flush_os {
            let kept = self.durable + prng.below(self.end - self.durable + 1);
            self.records.split_off(&kept);
            let ghosts = std::mem::take(&mut self.ghosts);
            if kept == self.end && prng.chance(50) {
                for (offset, record) in ghosts.range(kept..) {
                    self.records.insert(*offset, *record);
                    self.end = offset + 1;
                }
            } else {
                self.end = kept;
            }
        }
        self.close();
    }

    /// No more than `count` records from `offset` on.
    pub(crate) fn read(&self, offset: u64, count: usize) -> Records {
        self.records
            .range(offset..)
            .take(count)
            .map(|(offset, record)| (*offset, *record))
            .collect()
    }

    /// The record at `offset`; none where it was deleted or is not yet.
    pub(crate) fn at(&self, offset: u64) -> Option<Record> {
        self.records.get(&offset).copied()
    }

    /// What is on the disk before `end`, from the start on.
    pub(crate) fn records(&self) -> &BTreeMap<u64, Record> {
        &self.records
    }

    /// The history of epochs, as the core asks for it.
    pub(crate) fn floor(&self, asked: LeaderEpoch) -> Option<EpochEnd> {
        let mut end = self.end;
        for (offset, record) in self.records.iter().rev() {
            if record.epoch <= asked {
                return Some(EpochEnd { epoch: record.epoch, end: Offset::new(end) });
            }
            end = *offset;
        }
        None
    }

    pub(crate) fn state(&self) -> LogState {
        let last_epoch = self.records.last_key_value().map(|(_, record)| record.epoch);
        let [start, durable, end] = [self.start, self.durable, self.end].map(Offset::new);
        LogState { start, durable, end, last_epoch }
    }

    pub(crate) fn ends(&self) -> LogEnds {
        LogEnds { durable: Offset::new(self.durable), end: Offset::new(self.end) }
    }

    pub(crate) fn start(&self) -> u64 {
        self.start
    }

    pub(crate) fn durable(&self) -> u64 {
        self.durable
    }

    pub(crate) fn end(&self) -> u64 {
        self.end
    }

    fn settle(&mut self) {
        if self.flush_os {
            self.durable = self.end;
        }
    }
}
