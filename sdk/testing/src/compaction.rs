//! A compaction policy at work, over one partition from its first record on.

use std::collections::BTreeMap;

use brooklet::bindings::compaction::exports::brooklet::plugin::compaction_policy as wire;
use brooklet::role::compaction as role;
use brooklet::{Column, ColumnBuilder, Columns, CompactionPolicy, Error};

use brooklet_golden::Rec;

/// A compaction policy that was initialised.
#[derive(Debug)]
pub struct Compacting<P> {
    policy: P,
    header: Option<String>,
    run: usize,
    dirty_end: Option<i64>,
}

/// A record that the policy keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Survivor {
    /// Its offset: that of its place among the records.
    pub offset: usize,
    /// Its value in place of its own, if the policy gives it one.
    pub replaced: Option<Vec<u8>>,
}

impl<P: CompactionPolicy> Compacting<P> {
    /// Initialises it with a configuration in JSON.
    pub fn start(config: &str) -> Result<Compacting<P>, Error> {
        let policy = crate::start("compaction", config, P::new)?;
        let config: serde_json::Value = brooklet::parse_config(config)?;
        let header = config.get("header").and_then(|name| name.as_str()).map(str::to_owned);
        Ok(Compacting { policy, header, run: usize::MAX, dirty_end: None })
    }

    /// Hands the records over in runs of so many.
    #[must_use]
    pub fn in_runs_of(mut self, run: usize) -> Compacting<P> {
        self.run = run;
        self
    }

    /// Compacts up to this offset only; without it, everything.
    #[must_use]
    pub fn up_to(mut self, dirty_end: i64) -> Compacting<P> {
        self.dirty_end = Some(dirty_end);
        self
    }

    /// Compacts the records at the time `now`. Those the policy keeps, before the host has its say.
    pub fn compact(&mut self, records: &[Rec], now: i64) -> Result<Vec<Survivor>, Error> {
        let count = i64::try_from(records.len()).expect("tests have few records");
        let info = wire::PassInfo {
            topic: "topic".to_owned(),
            partition: 0,
            now,
            dirty_end: self.dirty_end.unwrap_or(count),
            delete_horizon: now,
        };
        role::begin(&mut self.policy, info)?;
        let runs = self.runs(records);
        for run in &runs {
            role::observe(&mut self.policy, run)?;
        }
        let mut survivors = Vec::new();
        for run in &runs {
            let verdict = role::decide(&mut self.policy, run)?;
            survivors.extend(survivors_of(run, verdict));
        }
        self.policy.end();
        Ok(survivors)
    }

    fn runs(&self, records: &[Rec]) -> Vec<wire::Entries> {
        let mut numbers = BTreeMap::new();
        let mut runs = Vec::new();
        let mut offset = 0;
        for run in records.chunks(self.run.min(records.len().max(1))) {
            let mut entries = empty(self.policy.columns());
            let mut tombstones = Vec::new();
            let (mut values, mut header) = (ColumnBuilder::default(), ColumnBuilder::default());
            for (index, record) in run.iter().enumerate() {
                // Scattered, as the host's digests are: a policy must not see an order in them.
                let next = (numbers.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
                entries.keys.push(*numbers.entry(record.key.clone()).or_insert(next));
                entries.offsets.push(offset);
                entries.timestamps.push(record.timestamp);
                let size = record.value.as_ref().map_or(0, Vec::len);
                entries.sizes.push(u32::try_from(size).expect("tests have short values"));
                if record.value.is_none() {
                    tombstones.push(u32::try_from(index).expect("tests have short runs"));
                }
                values.push(record.value.as_deref());
                header.push(self.header_of(record));
                offset += 1;
            }
            entries.tombstones = if tombstones.is_empty() { None } else { Some(tombstones) };
            entries.values = entries.values.map(|_| values.finish());
            entries.header = entries.header.map(|_| header.finish());
            runs.push(entries);
        }
        runs
    }

    fn header_of<'r>(&self, record: &'r Rec) -> Option<&'r [u8]> {
        let name = self.header.as_deref()?;
        let found = record.headers.iter().rev().find(|(candidate, _)| candidate == name);
        found.and_then(|(_, value)| value.as_deref())
    }
}

/// No entries, with the columns there that were asked for.
fn empty(asked: Columns) -> wire::Entries {
    let column = || ColumnBuilder::default().finish();
    wire::Entries {
        keys: Vec::new(),
        offsets: Vec::new(),
        timestamps: Vec::new(),
        sizes: Vec::new(),
        tombstones: None,
        values: asked.contains(Columns::VALUES).then(column),
        header: asked.contains(Columns::HEADERS).then(column),
    }
}

fn survivors_of(run: &wire::Entries, verdict: wire::Verdict) -> Vec<Survivor> {
    let mut replaced: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
    if let Some(replacements) = verdict.replace {
        let values = Column::new(&replacements.values);
        for (index, value) in replacements.indexes.iter().zip(values.iter()) {
            replaced.insert(*index as usize, value.expect("a replacement is a value").to_vec());
        }
    }
    let is_kept = |index: &usize| verdict.keep[index / 8] & (1 << (index % 8)) != 0;
    let survivor = |index: usize| Survivor {
        offset: usize::try_from(run.offsets[index]).expect("offsets begin at 0"),
        replaced: replaced.get(&index).cloned(),
    };
    (0..run.keys.len()).filter(is_kept).map(survivor).collect()
}
