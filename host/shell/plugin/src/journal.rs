//! The last lines that a plugin logged, kept for `brooklet plugin logs` and handed on to the broker's own log.
//!
//! **Invariants.** A plugin that shouts costs neither memory nor the log: lines are limited per second, and
//! what was left out is counted and said. What the host says of a plugin has an allowance of its own, so that
//! no plugin can drown the news of its failures.

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
    /// The plugin's own words.
    own: Allowance,
    /// What the host says of it.
    host: Allowance,
}

/// How many lines somebody may still log.
#[derive(Debug)]
struct Allowance {
    lines: f64,
    refilled: Instant,
    left_out: u64,
}

impl Allowance {
    fn new() -> Allowance {
        Allowance { lines: BURST, refilled: Instant::now(), left_out: 0 }
    }

    /// Takes a line: how many were left out before it, or none if it is to be left out as well.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let earned = now.duration_since(self.refilled).as_secs_f64() * LINES_PER_SECOND;
        self.lines = (self.lines + earned).min(BURST);
        self.refilled = now;
        if self.lines < 1.0 {
            self.left_out += 1;
            return None;
        }
        self.lines -= 1.0;
        Some(std::mem::take(&mut self.left_out))
    }
}

impl Journal {
    pub(crate) fn new(plugin: &str) -> Journal {
        let (own, host) = (Allowance::new(), Allowance::new());
        let state = State { lines: VecDeque::new(), next: 0, own, host };
        Journal { plugin: plugin.to_owned(), state: Mutex::new(state) }
    }

    pub(crate) fn keeps(&self, level: Level) -> bool {
        level >= Level::Info || tracing::enabled!(tracing::Level::DEBUG)
    }

    /// What the plugin says.
    pub(crate) fn add(
        &self,
        level: Level,
        task: &str,
        message: String,
        fields: BTreeMap<String, String>,
    ) {
        if self.keeps(level) {
            let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            let taken = state.own.take(Instant::now());
            self.add_if(&mut state, taken, level, task, message, fields);
        }
    }

    /// What the host has to say of the plugin's failures.
    pub(crate) fn tell(&self, task: &str, message: String, fields: BTreeMap<String, String>) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = state.host.take(Instant::now());
        self.add_if(&mut state, taken, Level::Error, task, message, fields);
    }

    fn add_if(
        &self,
        state: &mut State,
        taken: Option<u64>,
        level: Level,
        task: &str,
        message: String,
        fields: BTreeMap<String, String>,
    ) {
        let Some(left_out) = taken else { return };
        if left_out > 0 {
            let message = format!("{left_out} lines were left out: too many at once");
            self.push(state, Level::Warn, task, message, BTreeMap::new());
        }
        self.push(state, level, task, message, fields);
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
        journal.tell("t", "the host is heard".to_owned(), BTreeMap::new());
        assert_eq!(journal.since(0).last().unwrap().message, "the host is heard");
        journal.state.lock().unwrap().own.lines = 5.0;
        journal.add(Level::Info, "t", "after".to_owned(), BTreeMap::new());
        let lines = journal.since(0);
        assert!(lines[lines.len() - 2].message.contains("left out"));
        assert_eq!(lines[lines.len() - 1].message, "after");
    }
}
