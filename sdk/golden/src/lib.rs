//! Golden files: what goes in, what has to come out, and how to write the latter anew.
//!
//! A folder has `config.json`, `input.jsonl` and `expected.jsonl`. A line of input is a record:
//!
//! ```text
//! {"key": "a", "value": {"n": 1}, "headers": {"h": "x"}, "timestamp": 0}
//! ```
//!
//! An object or array as key or value stands for its own text, byte for byte; a string for its characters;
//! `{"hex": "00ff"}` for bytes that are no text; null for null, as does what is left out. A line of expected
//! output is such a record, or `{"dropped": true}`, or `{"rejected": "code: message"}`.
//!
//! `UPDATE_EXPECT=1 cargo test` writes `expected.jsonl`.
//!
//! **Where it sits.** Between the SDK's tests, which run a plugin natively, and the runner, which runs a component under
//! the real host: both read the same files.

mod lines;
mod record;

pub use lines::{compare, difference, line, lines, parse, record};
pub use record::{Rec, Shown};
