//! The last lines that a plugin logged, kept for `brooklet plugin logs` and handed on to the broker's own log.
//!
//! **Invariants.** A plugin that shouts costs neither memory nor the log: lines are limited per second, and
//! what was left out is counted and said.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::Serialize;

/// Lines that are kept.
const LINES_MAX: usize = 1000;
/// Lines that a plugin may log at once, and how fast it earns new ones.
const BURST: f64 = 200.0;
const LINES_PER_SECOND: f64 = 50.0;

/// How loud a line is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Every step.
    Trace,
    /// For whoever looks for a mistake.
    Debug,
    /// What happens.
    Info,
    /// What should not happen.
    Warn,
    /// What must not happen.
    Error,
}

/// One line.
#[derive(Clone, Debug, Serialize)]
pub struct Line {
    /// Numbers the lines of one plugin since the broker started.
    pub number: u64,
    /// Milliseconds since the epoch.
    pub time: u64,
    /// How loud it is.
    pub level: Level,
    /// What the instance worked for.
    pub task: String,
    /// What it said.
    pub message: String,
    /// With what.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub fields: BTreeMap<String, String>,
}

/// The lines of one plugin.
#[derive(Debug)]
pub struct Journal {
    plugin: String,
    /// Protects the lines; held to add or copy some.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    lines: VecDeque<Line>,
    next: u64,
    allowance: f64,
    refilled: Instant,
    left_out: u64,
}

impl Journal {
    pub(crate) fn new(plugin: &str) -> Journal {
        let state = State {
            lines: VecDeque::new(),
            next: 0,
            allowance: BURST,
            refilled: Instant::now(),
            left_out: 0,
        };
        Journal { plugin: plugin.to_owned(), state: Mutex::new(state) }
    }

    pub(crate) fn keeps(&self, level: Level) -> bool {
        level >= Level::Info || tracing::enabled!(tracing::Level::DEBUG)
    }

    pub(crate) fn add(
        &self,
        level: Level,
        task: &str,
        message: String,
        fields: BTreeMap<String, String>,
    ) {
        if !self.keeps(level) {
            return;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let earned = now.duration_since(state.refilled).as_secs_f64() * LINES_PER_SECOND;
        state.allowance = (state.allowance + earned).min(BURST);
        state.refilled = now;
        if state.allowance < 1.0 {
            state.left_out += 1;
            return;
        }
        state.allowance -= 1.0;
        let left_out = std::mem::take(&mut state.left_out);
        if left_out > 0 {
            let message = format!("{left_out} lines were left out: too many at once");
            self.push(&mut state, Level::Warn, task, message, BTreeMap::new());
        }
        self.push(&mut state, level, task, message, fields);
    }

    fn push(
        &self,
        state: &mut State,
        level: Level,
        task: &str,
        message: String,
        fields: BTreeMap<String, String>,
    ) {
        let plugin = &self.plugin;
        match level {
            Level::Trace | Level::Debug => tracing::debug!(plugin, task, ?fields, "{message}"),
            Level::Info => tracing::info!(plugin, task, ?fields, "{message}"),
            Level::Warn => tracing::warn!(plugin, task, ?fields, "{message}"),
            Level::Error => tracing::error!(plugin, task, ?fields, "{message}"),
        }
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let line = Line {
            number: state.next,
            time: u64::try_from(since.as_millis()).unwrap_or(u64::MAX),
            level,
            task: task.to_owned(),
            message,
            fields,
        };
        state.next += 1;
        if state.lines.len() >= LINES_MAX {
            state.lines.pop_front();
        }
        state.lines.push_back(line);
    }

    /// The lines from a number on, the newest last.
    pub fn since(&self, number: u64) -> Vec<Line> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.lines.iter().filter(|line| line.number >= number).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_that_shouts_is_cut_short_and_it_is_said() {
        let journal = Journal::new("loud");
        for number in 0..10_000 {
            journal.add(Level::Info, "t", format!("{number}"), BTreeMap::new());
        }
        let kept = journal.since(0).len();
        assert!((200..400).contains(&kept), "{kept}");
        journal.state.lock().unwrap().allowance = 5.0;
        journal.add(Level::Info, "t", "after".to_owned(), BTreeMap::new());
        let lines = journal.since(0);
        assert!(lines[lines.len() - 2].message.contains("left out"));
        assert_eq!(lines[lines.len() - 1].message, "after");
    }
}
