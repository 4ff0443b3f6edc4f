//! One partition's copies: who has what, and what may be acknowledged.
//!
//! **Where it sits.** A shard owns one [`Leader`] or one [`Follower`] for each partition it holds a copy of, beside
//! the partition's log. The metadata says which of the two, and in which leader epoch.
//!
//! **What it decides.** When the high watermark moves and which producers that answers; who is in the in-sync set,
//! and what to ask of the controller for it (KIP-497, 841, 903, 966); what a follower asks its leader for, and where
//! it cuts its log (KIP-101, 279, 595). Behaviour is that of Kafka 4.3's `Partition` and `AbstractFetcherThread`;
//! what differs says so where it happens.
//!
//! **What it never does.** Read a clock, touch a log or a socket, or draw a random number. It is told where the log
//! ends and how much of it is durable; with `brooklet.flush=os` the two are the same.
//!
//! **Invariants** (what one broker can see is asserted after every step, the rest by `tests/sim`):
//! 1. A high watermark never goes back, but where a truncation below it was named as a violation.
//! 2. What lies before the leader's high watermark is durable on every member of the in-sync set, whichever of the
//!    sets that the controller may have by now that is.
//! 3. A request that waits is answered exactly once.
//! 4. A follower that says it has everything before an offset has it durably, and it is what its leader has.
//!
//! **What whoever embeds it owes.** A broker acts only on metadata that has its own registration: what was given to
//! an earlier incarnation of it was given to somebody else. A leader writes in its own epoch only. Before a role
//! changes, the machine of the old role is handed what happened in it.

mod divergence;
mod follower;
mod in_sync;
mod leader;
mod partition;
mod progress;
mod refusal;
mod waiting;

pub use divergence::EpochEnd;
pub use follower::{
    Answer, Answered, Fetch, FetchId, Follower, FollowerOutput, LogState, Served, Span, Violation,
};
pub use in_sync::{AlterPartition, Altered, ChangeId};
pub use leader::{FetchOutcome, FollowerFetch, Leader, LeaderOutput, LeaderSettings, LogEnds};
pub use partition::{BrokerEpoch, Brokers, LiveBroker, Partition, PartitionEpoch};
pub use refusal::{AcceptError, FetchRefusal, Unacknowledged};
pub use waiting::{RequestId, WAITING_MAX};
