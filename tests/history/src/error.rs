//! What makes a history useless: nothing is concluded from one that contradicts itself.

use std::io;

/// Why a history cannot be checked.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The file cannot be read.
    #[error("read line {line}: {source}")]
    Read {
        /// The line that was to be read.
        line: u64,
        /// What the system says.
        source: io::Error,
    },
    /// A line does not end.
    #[error("line {line} is longer than {limit} bytes")]
    LineTooLong {
        /// Which.
        line: u64,
        /// `LINE_BYTES_MAX`.
        limit: u64,
    },
    /// A line is no event.
    #[error("line {line}: {source}")]
    NotAnEvent {
        /// Which.
        line: u64,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// More than can be numbered.
    #[error("line {line}: more than {limit} lines, sends or polled records")]
    TooLong {
        /// The line that is too much.
        line: u64,
        /// The limit.
        limit: u32,
    },
    /// Lines are the order in which things happened.
    #[error("line {line}: its time, {time}, is before the last line's, {last}")]
    TimeRunsBackwards {
        /// Which.
        line: u64,
        /// Its time.
        time: u64,
        /// The time of the line before.
        last: u64,
    },
    /// Kafka's offsets end at `i64::MAX`.
    #[error("line {line}: {offset} is no offset")]
    NoOffset {
        /// Which.
        line: u64,
        /// What it says.
        offset: u64,
    },
    /// Only what was done has a result.
    #[error("line {line}: a result, though the type is not `ok`")]
    ResultTooEarly {
        /// Which.
        line: u64,
    },
    /// An end without a beginning.
    #[error(
        "line {line}: completes a send of {value} to {partition}, which process {process} does not have under way"
    )]
    SendNotInvoked {
        /// Which.
        line: u64,
        /// Who.
        process: u32,
        /// Where to.
        partition: String,
        /// What.
        value: u64,
    },
    /// An end without a beginning.
    #[error("line {line}: process {process} has not asked for an end")]
    EndNotInvoked {
        /// Which.
        line: u64,
        /// Who.
        process: u32,
    },
    /// Values tell records apart.
    #[error("lines {first} and {second} both send {value} to {partition}")]
    SentTwice {
        /// One line.
        first: u32,
        /// The other.
        second: u32,
        /// Where to.
        partition: String,
        /// What.
        value: u64,
    },
}
