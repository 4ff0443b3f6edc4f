//! What a coordinator can be asked, in plain types. The wire's sentinels have become `Option`s.

use std::sync::Arc;

use brooklet_types::{ErrorCode, LeaderEpoch, PartitionIndex, TopicId, TopicName};
use bytes::Bytes;

use crate::record::CommittedOffset;
use crate::reply::{DescribeReply, FetchReply, JoinReply, LeaveReply, Reply, SyncReply};

/// Which request a reply belongs to; the caller's number, unique among those unanswered.
pub type RequestId = u64;

/// How many rebalances a group has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Generation(pub u32);

impl Generation {
    /// Reads a wire generation; a negative one means "not a member".
    pub fn from_wire(raw: i32) -> Option<Generation> {
        u32::try_from(raw).ok().map(Generation)
    }

    /// The generation as Kafka writes it.
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).expect("wraps to zero before it leaves the wire's range")
    }

    /// The one after this. Kafka's overflows after two billion rebalances; ours starts again.
    pub(crate) fn next(self) -> Generation {
        Generation(if self.0 >= i32::MAX.unsigned_abs() { 0 } else { self.0 + 1 })
    }
}

/// Everything a coordinator can be asked. Each is about one group, except [`Request::List`].
#[derive(Clone, Debug)]
pub enum Request {
    /// JoinGroup.
    Join(JoinRequest),
    /// SyncGroup.
    Sync(SyncRequest),
    /// Heartbeat.
    Heartbeat(HeartbeatRequest),
    /// LeaveGroup.
    Leave(LeaveRequest),
    /// OffsetCommit.
    CommitOffsets(CommitRequest),
    /// OffsetFetch, for one of its groups.
    FetchOffsets(FetchRequest),
    /// DescribeGroups, for one of its groups.
    Describe {
        /// Which group.
        group: Arc<str>,
    },
    /// ListGroups, for the groups of this coordinator.
    List(ListRequest),
    /// DeleteGroups, for one of its groups.
    Delete {
        /// Which group.
        group: Arc<str>,
    },
    /// OffsetDelete.
    DeleteOffsets {
        /// Which group.
        group: Arc<str>,
        /// Whose positions to forget; the reply has one code for each, in this order.
        partitions: Vec<(TopicName, PartitionIndex)>,
    },
}

impl Request {
    /// The reply that refuses all of this for one reason.
    ///
    /// ListGroups is about all coordinators of a broker; one that has nothing to say adds nothing.
    pub fn refused(&self, error: ErrorCode) -> Reply {
        match self {
            Request::Join(request) => {
                Reply::Join(JoinReply::refused(error, Arc::clone(&request.member_id)))
            }
            Request::Sync(_) => Reply::Sync(SyncReply::refused(error)),
            Request::Heartbeat(_) => Reply::Heartbeat(error),
            Request::Leave(_) => Reply::Leave(LeaveReply { error, members: Vec::new() }),
            Request::CommitOffsets(request) => {
                Reply::CommitOffsets(vec![error; request.offsets.len()])
            }
            Request::FetchOffsets(_) => {
                Reply::FetchOffsets(FetchReply { error, offsets: Vec::new() })
            }
            Request::Describe { .. } => Reply::Describe(DescribeReply::dead(error)),
            Request::List(_) => Reply::List(Vec::new()),
            Request::Delete { .. } => Reply::Delete(error),
            Request::DeleteOffsets { .. } => Reply::DeleteOffsets { error, partitions: Vec::new() },
        }
    }
}

/// A consumer wants in, or back in with news.
#[derive(Clone, Debug)]
pub struct JoinRequest {
    /// Which group.
    pub group: Arc<str>,
    /// The id given earlier; empty on the first join.
    pub member_id: Arc<str>,
    /// The id the operator gave; makes the member static (KIP-345).
    pub instance_id: Option<Arc<str>>,
    /// From the request's header.
    pub client_id: Arc<str>,
    /// The peer's address as Kafka shows it: `/127.0.0.1`.
    pub client_host: Arc<str>,
    /// How long the member may be silent.
    pub session_timeout_ms: i32,
    /// How long a rebalance waits for it. Version 0 has none: give it the session timeout.
    pub rebalance_timeout_ms: i32,
    /// `consumer`, `connect`, …
    pub protocol_type: Arc<str>,
    /// What the member can do, dearest first, each with opaque metadata.
    pub protocols: Vec<(Arc<str>, Bytes)>,
    /// Versions 4 and up: a new member gets an id first and joins with it (KIP-394).
    pub requires_known_member_id: bool,
    /// Versions 9 and up: a returning static leader can be told not to assign (KIP-814).
    pub supports_skipping_assignment: bool,
}

/// A member waits for its assignment; the leader brings everybody's.
#[derive(Clone, Debug)]
pub struct SyncRequest {
    /// Which group.
    pub group: Arc<str>,
    /// The generation joined.
    pub generation: Option<Generation>,
    /// The member.
    pub member_id: Arc<str>,
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
    /// Versions 5 and up say again what was joined.
    pub protocol_type: Option<Arc<str>>,
    /// Versions 5 and up.
    pub protocol: Option<Arc<str>>,
    /// From the leader: who gets what.
    pub assignments: Vec<(Arc<str>, Bytes)>,
}

/// A member is alive.
#[derive(Clone, Debug)]
pub struct HeartbeatRequest {
    /// Which group.
    pub group: Arc<str>,
    /// The generation it thinks it is in.
    pub generation: Option<Generation>,
    /// The member.
    pub member_id: Arc<str>,
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
}

/// Members leave, or an operator removes them. Versions 0 to 2 name exactly one.
#[derive(Clone, Debug)]
pub struct LeaveRequest {
    /// Which group.
    pub group: Arc<str>,
    /// Who leaves.
    pub members: Vec<LeavingMember>,
}

/// Names a member by its id, its static id, or both.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeavingMember {
    /// Empty when only the static id is known.
    pub member_id: Arc<str>,
    /// The static id.
    pub instance_id: Option<Arc<str>>,
}

/// Positions to remember.
#[derive(Clone, Debug)]
pub struct CommitRequest {
    /// Which group. May be empty, as in Kafka.
    pub group: Arc<str>,
    /// The generation it is in; none from consumers without a group and from operators.
    pub generation: Option<Generation>,
    /// The member; empty as above.
    pub member_id: Arc<str>,
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
    /// Versions 2 to 4: how long to keep the positions.
    pub retention_ms: Option<i64>,
    /// Versions 9 and up are told GROUP_ID_NOT_FOUND, older ones ILLEGAL_GENERATION.
    pub knows_group_id_not_found: bool,
    /// The positions; the reply has one code for each, in this order.
    pub offsets: Vec<CommitOffset>,
}

/// One position to remember.
#[derive(Clone, Debug)]
pub struct CommitOffset {
    /// Of which topic. That it exists is the caller's to check.
    pub topic: TopicName,
    /// Its incarnation, where known.
    pub topic_id: Option<TopicId>,
    /// Which partition.
    pub partition: PartitionIndex,
    /// The next offset to read.
    pub offset: CommittedOffset,
    /// The epoch of the last record read.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client wants to remember.
    pub metadata: Arc<str>,
}

/// Which positions are wanted.
///
/// Versions 9 and up also carry a member id and epoch: Kafka checks them for the newer consumer
/// protocol only, so there is nothing to decide about them here.
#[derive(Clone, Debug)]
pub struct FetchRequest {
    /// Which group. May be empty, as in Kafka.
    pub group: Arc<str>,
    /// Whose positions; `None` wants all there are.
    pub partitions: Option<Vec<(TopicName, PartitionIndex)>>,
}

/// Which groups are wanted. Empty filters let everything pass; case does not matter.
#[derive(Clone, Debug, Default)]
pub struct ListRequest {
    /// Versions 4 and up: names of states.
    pub states: Vec<Arc<str>>,
    /// Versions 5 and up: names of group types. Every group here is `classic`.
    pub types: Vec<Arc<str>>,
}
