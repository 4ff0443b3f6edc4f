//! The coordinator of consumer groups: who is in a group, who reads what, and how far they got.
//!
//! **Where it sits.** `shell/broker` translates requests, the shard that holds a partition of
//! `__consumer_offsets` owns the [`Coordinator`] of its groups, appends what it decides to that
//! partition, and reports back when the records are durable.
//!
//! **What it decides.** Kafka's classic protocol: JoinGroup, SyncGroup, Heartbeat, LeaveGroup with
//! dynamic and static members (KIP-345), eager and cooperative, and committed offsets with their
//! retention (KIP-211). Behaviour is that of Kafka 4.3's `GroupMetadataManager`, `ClassicGroup` and
//! `OffsetMetadataManager`; what differs says so where it happens.
//!
//! **What it never does.** Know a wire format, read a clock, or draw a random number. Assignors run
//! in the leading member; metadata and assignments are opaque here, but for the topics an
//! ordinary consumer subscribes to.
//!
//! **Decide, append, apply.** A step returns [`Effects`]: replies to send now, and records with a
//! token. [`Coordinator::appended`] with that token applies them and releases what waited: a
//! commit is seen by OffsetFetch, and acknowledged, when it is durable; assignments are handed out
//! when their generation is. A caller may store the records of one step in several batches: no
//! reader can tell, as none of them depends on another.
//!
//! **Invariants** (asserted after every step, or by the random histories in the tests):
//! 1. A group with members has a leader, who is one of them.
//! 2. A group is stable only with a durable generation that all its members are in.
//! 3. Every request is answered exactly once, also when the log refuses records.
//! 4. Replaying the durable records rebuilds the stable groups, the empty ones and all offsets.
//! 5. Without members, and with nothing left to expire, there is no deadline: idle means asleep.

mod coordinator;
mod end;
mod group;
mod join;
mod member;
mod offsets;
mod rebalance;
mod record;
mod reply;
mod request;
mod retention;
mod settings;
mod step;
mod subscription;
mod timers;

pub use coordinator::{AppendToken, Coordinator, Effects};
pub use record::{CommittedOffset, GroupRecord, GroupValue, MemberValue, OffsetValue};
pub use reply::{
    DescribeReply, DescribedMember, FetchReply, GroupState, JoinReply, JoinedMember, LeaveReply,
    ListedGroup, Reply, SyncReply,
};
pub use request::{
    CommitOffset, CommitRequest, FetchRequest, Generation, HeartbeatRequest, JoinRequest,
    LeaveRequest, LeavingMember, ListRequest, Request, RequestId, SyncRequest,
};
pub use settings::Settings;
