//! What a run found: lines for people, and one value for machines.

use std::collections::BTreeMap;
use std::fmt;

use brooklet_history::{Check, Report as History};
use serde::Serialize;

use crate::gaps::{Figures, longest};
use crate::nemesis::Done;
use crate::plan::Kind;

/// All of it.
#[derive(Debug, Serialize)]
pub(crate) struct Report {
    pub(crate) product: &'static str,
    pub(crate) seed: u64,
    /// Whether brokers had a network each, and disks that can be filled.
    pub(crate) namespaces: bool,
    pub(crate) faults: Vec<Done>,
    pub(crate) history: Option<History>,
    /// What clients were told that went wrong, and how often.
    pub(crate) errors: BTreeMap<String, u64>,
    /// Batches compared between the copies of all partitions.
    pub(crate) batches_compared: usize,
    /// By what happened: how long the partitions that the broker led took nothing, the longest of each fault.
    pub(crate) without_leader: BTreeMap<Kind, Figures>,
    /// The same for all partitions.
    pub(crate) anywhere: BTreeMap<Kind, Figures>,
    /// Until all copies were in sync again, from the fault's end.
    pub(crate) healing: BTreeMap<Kind, Figures>,
    /// What should not be, in sentences.
    pub(crate) anomalies: Vec<String>,
}

/// The time without an accepted produce on a fault's partitions: the longest, in milliseconds. None if there is none of them.
pub(crate) fn without(
    done: &Done,
    acknowledged: &[Vec<u64>],
    end: u64,
    anywhere: bool,
) -> Option<f64> {
    let wanted = |partition: &u32| anywhere || done.led.contains(partition);
    let of = |acknowledged: &Vec<u64>| longest(acknowledged, done.began, done.over, end);
    let all = (0..).zip(acknowledged).filter(|(partition, _)| wanted(partition));
    all.map(|(_, acknowledged)| of(acknowledged).milliseconds()).max_by(f64::total_cmp)
}

/// Figures by kind.
pub(crate) fn by_kind(
    faults: &[Done],
    figure: impl Fn(&Done) -> Option<f64>,
) -> BTreeMap<Kind, Figures> {
    let mut all: BTreeMap<Kind, Vec<f64>> = BTreeMap::new();
    for done in faults {
        if let Some(figure) = figure(done) {
            all.entry(done.fault.kind).or_default().push(figure);
        }
    }
    all.into_iter().filter_map(|(kind, all)| Some((kind, Figures::of(all)?))).collect()
}

/// One line for a fault that has been.
pub(crate) fn line(number: usize, done: &Done, acknowledged: &[Vec<u64>], end: u64) -> String {
    let milliseconds = |from: u64, until: u64| (until - from) / 1_000_000;
    let (lasted, healing) =
        (milliseconds(done.began, done.over), milliseconds(done.over, done.healed));
    let what =
        format!("{number:3} {} {:16} broker {}", done.at, done.fault.kind.name(), done.broker);
    let role = if done.controller { " controller" } else { "" };
    let led = done.led.len();
    let without = without(done, acknowledged, end, false);
    let without = without.map_or("-".to_owned(), |figure| format!("{figure:.0}"));
    let all = self::without(done, acknowledged, end, true).unwrap_or_default();
    let mut line = format!(
        "{what}{role:11} led {led}  lasted {lasted:6} ms  healed in {healing:6} ms  nothing taken: {without} ms where it led, {all:.0} ms anywhere"
    );
    for anomaly in &done.anomalies {
        line.push_str("\n    ANOMALY ");
        line.push_str(anomaly);
    }
    line
}

impl Report {
    /// Whether anything is wrong.
    pub(crate) fn is_bad(&self) -> bool {
        let history = self.history.as_ref();
        !self.anomalies.is_empty()
            || self.faults.iter().any(|done| !done.anomalies.is_empty())
            || history.is_none_or(|history| history.has_anomalies(&[]))
            // All was read to the end, so what nobody has seen is lost.
            || history.is_some_and(|history| history.findings.contains_key(&Check::Unseen))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{} with seed {}, {} faults", self.product, self.seed, self.faults.len())?;
        if !self.namespaces {
            writeln!(f, "on loopback: nobody was cut off, no disk was full")?;
        }
        let tables = [
            ("nothing taken where the broker led", &self.without_leader),
            ("nothing taken on any partition", &self.anywhere),
            ("until all copies were in sync again", &self.healing),
        ];
        for (title, table) in tables {
            writeln!(f, "{title}, the longest of each fault:")?;
            for (kind, Figures { count, median_ms, worst_ms }) in table {
                let name = kind.name();
                writeln!(
                    f,
                    "  {name:16} {count:3}  median {median_ms:7.0} ms  worst {worst_ms:7.0} ms"
                )?;
            }
        }
        if !self.errors.is_empty() {
            writeln!(f, "what clients were told:")?;
            for (error, count) in &self.errors {
                writeln!(f, "  {count:6} {error}")?;
            }
        }
        writeln!(f, "copies: {} batches compared", self.batches_compared)?;
        match &self.history {
            Some(history) => write!(f, "history: {history}")?,
            None => writeln!(f, "history: not checked")?,
        }
        for anomaly in &self.anomalies {
            writeln!(f, "ANOMALY {anomaly}")?;
        }
        writeln!(f, "{}", if self.is_bad() { "NOT as promised" } else { "as promised" })
    }
}
