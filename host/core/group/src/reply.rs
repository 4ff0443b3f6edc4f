//! What a coordinator answers, in plain types.

use std::fmt;
use std::sync::Arc;

use brooklet_types::{ErrorCode, PartitionIndex, TopicName};
use bytes::Bytes;

use crate::record::OffsetValue;
use crate::request::{Generation, LeavingMember};

/// The answer to the request of the same name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// JoinGroup.
    Join(JoinReply),
    /// SyncGroup.
    Sync(SyncReply),
    /// Heartbeat.
    Heartbeat(ErrorCode),
    /// LeaveGroup.
    Leave(LeaveReply),
    /// OffsetCommit: one code per position asked for, in the request's order.
    CommitOffsets(Vec<ErrorCode>),
    /// OffsetFetch.
    FetchOffsets(FetchReply),
    /// DescribeGroups.
    Describe(DescribeReply),
    /// ListGroups.
    List(Vec<ListedGroup>),
    /// DeleteGroups.
    Delete(ErrorCode),
    /// OffsetDelete: an error about the group (then no codes), or one code per partition.
    DeleteOffsets {
        /// What is wrong with the group as a whole.
        error: ErrorCode,
        /// One code per partition, in the request's order; empty when `error` is one.
        partitions: Vec<ErrorCode>,
    },
}

impl Reply {
    /// The same reply, refused: for what was decided and then not stored.
    pub(crate) fn refused(self, error: ErrorCode) -> Reply {
        match self {
            Reply::Join(reply) => Reply::Join(JoinReply::refused(error, reply.member_id)),
            Reply::Sync(_) => Reply::Sync(SyncReply::refused(error)),
            Reply::Heartbeat(_) => Reply::Heartbeat(error),
            Reply::Leave(_) => Reply::Leave(LeaveReply { error, members: Vec::new() }),
            Reply::CommitOffsets(codes) => {
                // What was refused on its own account keeps its reason.
                let refuse = |code| if code == ErrorCode::None { error } else { code };
                Reply::CommitOffsets(codes.into_iter().map(refuse).collect())
            }
            Reply::FetchOffsets(_) => {
                Reply::FetchOffsets(FetchReply { error, offsets: Vec::new() })
            }
            Reply::Describe(_) => Reply::Describe(DescribeReply::dead(error)),
            Reply::List(_) => Reply::List(Vec::new()),
            Reply::Delete(_) => Reply::Delete(error),
            Reply::DeleteOffsets { .. } => Reply::DeleteOffsets { error, partitions: Vec::new() },
        }
    }
}

/// The outcome of a JoinGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    /// What went wrong.
    pub error: ErrorCode,
    /// The member's id, also with MEMBER_ID_REQUIRED.
    pub member_id: Arc<str>,
    /// The generation joined.
    pub generation: Option<Generation>,
    /// `consumer`, `connect`, …
    pub protocol_type: Option<Arc<str>>,
    /// What the members voted for.
    pub protocol: Option<Arc<str>>,
    /// Who assigns; empty on errors.
    pub leader: Arc<str>,
    /// A returning static leader need not assign (KIP-814).
    pub skip_assignment: bool,
    /// For the leader: everybody.
    pub members: Vec<JoinedMember>,
}

impl JoinReply {
    /// Nothing was joined.
    pub fn refused(error: ErrorCode, member_id: Arc<str>) -> JoinReply {
        JoinReply {
            error,
            member_id,
            generation: None,
            protocol_type: None,
            protocol: None,
            leader: Arc::from(""),
            skip_assignment: false,
            members: Vec::new(),
        }
    }
}

/// A member as the leader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
    /// Its metadata for the chosen protocol.
    pub metadata: Bytes,
}

/// The outcome of a SyncGroup.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyncReply {
    /// What went wrong.
    pub error: ErrorCode,
    /// `consumer`, `connect`, …
    pub protocol_type: Option<Arc<str>>,
    /// What the members voted for.
    pub protocol: Option<Arc<str>>,
    /// What the leader gave this member.
    pub assignment: Bytes,
}

impl SyncReply {
    /// There is no assignment.
    pub fn refused(error: ErrorCode) -> SyncReply {
        SyncReply { error, protocol_type: None, protocol: None, assignment: Bytes::new() }
    }
}

/// The outcome of a LeaveGroup. Versions 0 to 2 show the one member's error as their own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaveReply {
    /// What is wrong with the group as a whole.
    pub error: ErrorCode,
    /// One code per member, in the request's order; empty when `error` is one.
    pub members: Vec<(LeavingMember, ErrorCode)>,
}

/// Positions. A partition nobody committed has none; that is no error.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FetchReply {
    /// What is wrong with the group as a whole.
    pub error: ErrorCode,
    /// In the request's order, or by topic and partition when all were wanted.
    pub offsets: Vec<(TopicName, PartitionIndex, Option<OffsetValue>)>,
}

/// Where a group stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GroupState {
    /// No members; perhaps offsets.
    Empty,
    /// Waits for members to join.
    PreparingRebalance,
    /// Waits for the leader's assignments.
    CompletingRebalance,
    /// Everybody has an assignment.
    Stable,
    /// Does not exist.
    Dead,
}

impl GroupState {
    /// Kafka's name of it.
    pub const fn name(self) -> &'static str {
        match self {
            GroupState::Empty => "Empty",
            GroupState::PreparingRebalance => "PreparingRebalance",
            GroupState::CompletingRebalance => "CompletingRebalance",
            GroupState::Stable => "Stable",
            GroupState::Dead => "Dead",
        }
    }
}

impl fmt::Display for GroupState {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

/// A group as DescribeGroups shows it.
///
/// Of a group that does not exist the state is [`GroupState::Dead`], and only then. Below
/// version 6 that is the answer; from 6 on it is GROUP_ID_NOT_FOUND.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribeReply {
    /// Why nothing can be said about the group; a group that does not exist is no error here.
    pub error: ErrorCode,
    /// Where the group stands.
    pub state: GroupState,
    /// Empty for a group that nobody ever joined.
    pub protocol_type: Arc<str>,
    /// What the members voted for; empty unless stable.
    pub protocol: Arc<str>,
    /// Who is in it.
    pub members: Vec<DescribedMember>,
}

impl DescribeReply {
    /// There is no such group, or nothing can be said about it.
    pub fn dead(error: ErrorCode) -> DescribeReply {
        DescribeReply {
            error,
            state: GroupState::Dead,
            protocol_type: Arc::from(""),
            protocol: Arc::from(""),
            members: Vec::new(),
        }
    }
}

/// A member as DescribeGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedMember {
    /// Its id.
    pub member_id: Arc<str>,
    /// Its static id.
    pub instance_id: Option<Arc<str>>,
    /// From the header of its JoinGroup.
    pub client_id: Arc<str>,
    /// Where it joined from.
    pub client_host: Arc<str>,
    /// Its metadata for the chosen protocol; empty unless stable.
    pub metadata: Bytes,
    /// Its assignment; empty unless stable.
    pub assignment: Bytes,
}

/// A group as ListGroups shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedGroup {
    /// Its id.
    pub group: Arc<str>,
    /// Empty for a group that nobody ever joined.
    pub protocol_type: Arc<str>,
    /// Where it stands.
    pub state: GroupState,
}
