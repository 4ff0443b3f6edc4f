//! How brokers agree on one order of metadata: raft, driven as a machine.
//!
//! **Where it sits.** In the shard that holds `__cluster_metadata-0`, which is raft's log: an entry is a batch
//! of one record. The shard tells a [`Quorum`] what happened (a tick, a message, a proposal, a finished write)
//! and does what [`Quorum::ready`] says: write, send, apply, answer. A single broker is a quorum of one and
//! runs the same code.
//!
//! **What it decides.** Who leads, which entries are committed, who is a member, what a laggard is sent. The
//! protocol is that of the `raft` crate (TiKV's), with pre-votes and a leader that steps down when it does not
//! hear of a majority; this crate adds who the members are, what is checked before raft sees it, what a disk
//! may look like after a crash, and limits.
//!
//! **What it never does.** Read a clock, a file or a socket, or draw a random number: elections are spread by
//! a number given at the start, so equal inputs make equal outputs. Know what an entry says. Panic on what a
//! peer sent ([`MessageError`]) or a disk had ([`OpenError`]). Keep without bound: [`Settings`] has the limits.
//!
//! **Whose durability.** A [`Ready`] has a number. When everything that it says to write is on the disk,
//! [`Quorum::persisted`] is told; the messages in `messages_after` leave then and not before. The next
//! [`Ready`] may be taken and worked on meanwhile, in order.
//!
//! **Invariants** (asserted here, or by `tests/sim`):
//! 1. A member is a broker's number and its folder's id; a number stands for one member at a time.
//! 2. Raft's configuration and our [`Members`] are the same after every change.
//! 3. Whoever has a change of members in its log takes every earlier one as committed, also after a start:
//!    a change is only proposed when the one before has been applied. So two configurations that are at work
//!    at the same time differ by one member, and their majorities meet.
//! 4. Nothing that says a term or a vote leaves before both are on the disk. Raft keeps this for followers and
//!    candidates; a quorum of one that has observers needs it said.
//! 5. Nobody stands for election while something is being written: what was not written can not be voted for.
//! 6. Committed entries are handed out once each, in order, without gaps, from the snapshot on.

mod check;
mod entry;
mod error;
mod fields;
mod member;
mod message;
mod node;
mod open;
mod reads;
mod ready;
mod settings;
mod storage;
#[cfg(test)]
mod testing;

pub use entry::{Entry, HardState, Index, Mark, Payload, Stored, Term};
pub use error::{
    ChangeError, MessageError, NotLeader, OpenError, ProposeError, SnapshotError, TransferError,
};
pub use member::{Change, ClusterId, DecodeError, DirectoryId, Member, MemberNumber, Members};
pub use node::{Kept, Proposed, Quorum, Replica};
pub use open::{LogFate, Opened};
pub use reads::{Read, Ticket};
pub use ready::{Append, Committed, Event, Leadership, Outgoing, Ready, ReadyNumber, Snapshot};
pub use settings::Settings;
