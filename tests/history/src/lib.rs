//! Checks what clients of a broker did and saw against what Kafka promises, as Jepsen's Kafka workload does.
//!
//! A *history* is what the processes of a test did, in order: records that were sent and what came of it, polls and what they brought. The
//! checks need nothing else: not the broker, its log or its configuration.
//!
//! ```text
//! cargo run --release -p brooklet-history --bin history -- history.jsonl
//! ```
//!
//! prints what is wrong with the operations that show it (`--json` for machines) and ends with 1 if anything is, with 2 if the history
//! contradicts itself. `--allow CHECK` still prints a finding but does not fail for it.
//!
//! # The file
//!
//! JSON, one event a line, in the order in which things happened: an operation begins (`invoke`) before it can have any effect, and has ended
//! (`ok`, `fail`, `info`) when its result is known. `time` is in nanoseconds and never runs backwards.
//!
//! ```text
//! {"time":1,"process":1,"type":"invoke","op":{"send":[{"partition":"flights-0","value":17},{"partition":"flights-0","value":18}]}}
//! {"time":2,"process":1,"type":"ok","op":{"send":[{"partition":"flights-0","value":17,"offset":5}]}}
//! {"time":3,"process":1,"type":"info","op":{"send":[{"partition":"flights-0","value":18}]}}
//! {"time":4,"process":2,"type":"ok","op":{"assign":["flights-0"]}}
//! {"time":5,"process":2,"type":"ok","op":{"seek":[{"partition":"flights-0","offset":0}]}}
//! {"time":6,"process":2,"type":"ok","op":{"poll":{"partitions":[{"partition":"flights-0","records":[[5,17],[6,18]]}]}}}
//! {"time":7,"process":2,"type":"invoke","op":{"end":[]}}
//! {"time":8,"process":2,"type":"ok","op":{"end":[{"partition":"flights-0","offset":7}]}}
//! {"time":9,"process":2,"type":"ok","op":"close"}
//! {"time":9,"process":3,"type":"ok","op":{"subscribe":{"group":"readers"}}}
//! {"time":9,"process":3,"type":"ok","op":{"poll":{"rebalanced":["flights-0"]}}}
//! ```
//!
//! - **send**: invoked once for each record, completed at most once, in any order and grouping. `ok` means acknowledged (`acks=all`), `fail`
//!   that the record is not in the log and never will be, `info` or no completion that nobody knows: a timeout, a lost connection.
//! - **poll**, **assign**, **subscribe**, **seek**, **close** count when they are `ok`; their invocations may be written or left out. A poll that
//!   failed brings nothing. `rebalanced` names the partitions that came or went since the last poll of a group's member.
//! - **end** must be invoked before the consumer asks for the end, and is `ok` when it has polled all that lies before. With it, what was
//!   acknowledged and did not come is lost; without it, it may be unread yet.
//!
//! # What a history must keep to
//!
//! - A value is sent to a partition once. It identifies the record, so it stands in the record.
//! - A process is a client from its start to its end: one that was restarted is another process, or was closed.
//! - Producers are idempotent, or wait for each send. For others, allow `duplicate` and `nonmonotonic-send`.
//! - Each partition that is read is read from its beginning by somebody, and nothing is deleted or compacted meanwhile.
//! - Consumers read what is committed. Transactions are not looked at.
//!
//! # What is checked
//!
//! | | what is wrong |
//! |---|---|
//! | `lost-write` | acknowledged, never polled, though a later record was, or the partition was read to its end |
//! | `duplicate` | one value at two offsets |
//! | `inconsistent-offsets` | two values at one offset |
//! | `aborted-read` | refused for good, and polled |
//! | `phantom` | polled, and never sent to this partition |
//! | `nonmonotonic-poll`, `int-nonmonotonic-poll` | a consumer went back, from one poll to the next, or within one |
//! | `poll-skip`, `int-poll-skip` | a consumer passed over a record that others got, from one poll to the next, or within one |
//! | `group-skip` | a group passed over a record that others got, across all its members and rebalances |
//! | `nonmonotonic-send`, `int-nonmonotonic-send` | a producer's records lie in another order than they were sent in |
//! | `int-send-skip` | no anomaly: other records lie between those of one operation |
//! | `unseen` | no anomaly: acknowledged, and nobody has read so far |
//!
//! Each has its file in `checks/`, which says where its definition comes from. A fault in a log often breaks several promises at once: a
//! log that was cut after an acknowledgement and written anew has lost writes and inconsistent offsets.
//!
//! # Size
//!
//! All is kept in memory, some 30 to 100 bytes for each send and each polled record.

mod checks;
mod error;
mod event;
mod history;
mod reach;
mod recording;
mod report;
mod walk;

pub use checks::check;
pub use error::HistoryError;
pub use event::{Event, Kind, Op, Polled, PolledPartition, Position, Sent};
pub use history::History;
pub use recording::{LINE_BYTES_MAX, Recording};
pub use report::{Check, EXAMPLES_MAX, Example, Finding, Quote, Report, Size};
