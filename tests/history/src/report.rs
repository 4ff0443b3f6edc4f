//! What was found: how often, and the first examples, each with the operations it rests on.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use crate::history::History;
use crate::recording::Outcome;

/// How many examples of a finding are kept: enough to see a pattern, few enough to be read.
pub const EXAMPLES_MAX: usize = 8;

/// What can be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Check {
    /// `checks/lost_write.rs`
    LostWrite,
    /// `checks/duplicate.rs`
    Duplicate,
    /// `checks/inconsistent_offsets.rs`
    InconsistentOffsets,
    /// `checks/aborted_read.rs`
    AbortedRead,
    /// `checks/phantom.rs`
    Phantom,
    /// `checks/nonmonotonic_poll.rs`
    NonmonotonicPoll,
    /// `checks/nonmonotonic_poll.rs`, within one poll
    IntNonmonotonicPoll,
    /// `checks/poll_skip.rs`
    PollSkip,
    /// `checks/poll_skip.rs`, within one poll
    IntPollSkip,
    /// `checks/group_skip.rs`
    GroupSkip,
    /// `checks/nonmonotonic_send.rs`
    NonmonotonicSend,
    /// `checks/nonmonotonic_send.rs`, within one operation
    IntNonmonotonicSend,
    /// `checks/int_send_skip.rs`
    IntSendSkip,
    /// `checks/unseen.rs`
    Unseen,
}

impl Check {
    /// All of them, in the order of reports.
    pub const ALL: [Check; 14] = [
        Check::LostWrite,
        Check::Duplicate,
        Check::InconsistentOffsets,
        Check::AbortedRead,
        Check::Phantom,
        Check::NonmonotonicPoll,
        Check::IntNonmonotonicPoll,
        Check::PollSkip,
        Check::IntPollSkip,
        Check::GroupSkip,
        Check::NonmonotonicSend,
        Check::IntNonmonotonicSend,
        Check::IntSendSkip,
        Check::Unseen,
    ];

    /// Whether it breaks a promise. What does not is reported apart.
    pub fn is_anomaly(self) -> bool {
        !matches!(self, Check::IntSendSkip | Check::Unseen)
    }

    /// Its name, as Jepsen has it where Jepsen has it.
    pub fn name(self) -> &'static str {
        match self {
            Check::LostWrite => "lost-write",
            Check::Duplicate => "duplicate",
            Check::InconsistentOffsets => "inconsistent-offsets",
            Check::AbortedRead => "aborted-read",
            Check::Phantom => "phantom",
            Check::NonmonotonicPoll => "nonmonotonic-poll",
            Check::IntNonmonotonicPoll => "int-nonmonotonic-poll",
            Check::PollSkip => "poll-skip",
            Check::IntPollSkip => "int-poll-skip",
            Check::GroupSkip => "group-skip",
            Check::NonmonotonicSend => "nonmonotonic-send",
            Check::IntNonmonotonicSend => "int-nonmonotonic-send",
            Check::IntSendSkip => "int-send-skip",
            Check::Unseen => "unseen",
        }
    }
}

/// All that is known of a history.
#[derive(Debug, Serialize)]
pub struct Report {
    /// How much was looked at: a history without polls shows nothing.
    pub size: Size,
    /// What was found, and only that.
    pub findings: BTreeMap<Check, Finding>,
}

/// How much there is of a history.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Size {
    /// Lines.
    pub lines: usize,
    /// Partitions.
    pub partitions: usize,
    /// Sends that were acknowledged.
    pub acknowledged: usize,
    /// Sends that were refused for good.
    pub failed: usize,
    /// Sends of which nobody knows.
    pub indeterminate: usize,
    /// Records that were polled, as often as they were.
    pub polled: usize,
}

/// One kind of finding.
#[derive(Debug, Default, Serialize)]
pub struct Finding {
    /// How many.
    pub count: u64,
    /// The first of them, at most `EXAMPLES_MAX`.
    pub examples: Vec<Example>,
}

/// One of them.
#[derive(Debug, Serialize)]
pub struct Example {
    /// Where.
    pub partition: String,
    /// What is wrong.
    pub text: String,
    /// What says so.
    pub operations: Vec<Quote>,
}

/// What a line says of the matter.
#[derive(Clone, Debug, Serialize)]
pub struct Quote {
    /// Its number, from 1.
    pub line: u32,
    /// Its time, in nanoseconds.
    pub time: u64,
    /// Who.
    pub process: u32,
    /// What it says.
    pub text: String,
}

impl Report {
    pub(crate) fn new(history: &History) -> Report {
        let sends = &history.tables.sends;
        let count = |outcome| sends.iter().filter(|send| send.outcome == outcome).count();
        let size = Size {
            lines: history.tables.times.len(),
            partitions: history.tables.partitions.len(),
            acknowledged: count(Outcome::Acknowledged),
            failed: count(Outcome::Failed),
            indeterminate: count(Outcome::Indeterminate),
            polled: history.tables.records.len(),
        };
        Report { size, findings: BTreeMap::new() }
    }

    /// Counts one more; asks for the example only while some are wanted.
    pub(crate) fn add(&mut self, check: Check, example: impl FnOnce() -> Example) {
        let finding = self.findings.entry(check).or_default();
        finding.count += 1;
        if finding.examples.len() < EXAMPLES_MAX {
            finding.examples.push(example());
        }
    }

    /// Whether a promise was broken, other than in ways that are allowed.
    pub fn has_anomalies(&self, allowed: &[Check]) -> bool {
        self.findings.keys().any(|check| check.is_anomaly() && !allowed.contains(check))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Size { lines, partitions, acknowledged, failed, indeterminate, polled } = self.size;
        writeln!(f, "{lines} lines, {partitions} partitions")?;
        writeln!(
            f,
            "sends: {acknowledged} acknowledged, {failed} failed, {indeterminate} indeterminate"
        )?;
        writeln!(f, "polled: {polled} records")?;
        if !self.has_anomalies(&[]) {
            writeln!(f, "no anomalies")?;
        }
        for (check, finding) in &self.findings {
            let note = if check.is_anomaly() { "" } else { " (no anomaly)" };
            writeln!(f, "\n{}{note}: {}", check.name(), finding.count)?;
            for example in &finding.examples {
                writeln!(f, "  {}: {}", example.partition, example.text)?;
                for quote in &example.operations {
                    let (seconds, nanoseconds) =
                        (quote.time / 1_000_000_000, quote.time % 1_000_000_000);
                    writeln!(
                        f,
                        "    line {}, {seconds}.{nanoseconds:09} s: process {} {}",
                        quote.line, quote.process, quote.text
                    )?;
                }
            }
        }
        Ok(())
    }
}
