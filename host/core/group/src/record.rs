//! What a coordinator writes down: the facts of `__consumer_offsets`, one to one with Kafka's
//! records (`wire::stored` has their bytes).
//!
//! A record with a value replaces what was known under its key; one without removes it.

use std::sync::Arc;

use brooklet_types::{LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicId, TopicName};
use bytes::Bytes;

use crate::request::Generation;

/// One fact about a group. Kafka's `OffsetCommitKey`/`Value` and `GroupMetadataKey`/`Value`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupRecord {
    /// A position was committed, or forgotten.
    Offset {
        /// Whose position.
        group: Arc<str>,
        /// Of which topic, by name as in Kafka's key.
        topic: TopicName,
        /// And which of its partitions.
        partition: PartitionIndex,
        /// The position; `None` is a tombstone.
        value: Option<OffsetValue>,
    },
    /// A generation was agreed on, or the group is gone.
    Group {
        /// Which group.
        group: Arc<str>,
        /// What was agreed; `None` is a tombstone.
        value: Option<GroupValue>,
    },
}

/// A client's word for where it goes on.
///
/// A negative one is no offset but says so in the client's own way (kafkajs resets a group to -2 for
/// the start or -1 for the end, and finds its way from there), so it is kept and given back as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommittedOffset(i64);

impl CommittedOffset {
    /// What a client committed.
    pub fn from_wire(raw: i64) -> CommittedOffset {
        CommittedOffset(raw)
    }

    /// What it gets back.
    pub fn to_wire(self) -> i64 {
        self.0
    }

    /// The offset, if it is one.
    pub fn offset(self) -> Option<Offset> {
        Offset::from_wire(self.0)
    }
}

impl From<Offset> for CommittedOffset {
    fn from(offset: Offset) -> CommittedOffset {
        CommittedOffset(offset.to_wire())
    }
}

/// A committed position. Kafka's `OffsetCommitValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: CommittedOffset,
    /// The epoch of the last record read, where the client knew it.
    pub leader_epoch: Option<LeaderEpoch>,
    /// Whatever the client wanted to remember.
    pub metadata: Arc<str>,
    /// When it was committed, by the broker's clock.
    pub commit_timestamp: Timestamp,
    /// When it expires whatever the group does; only OffsetCommit 2 to 4 can ask for that.
    pub expire_timestamp: Option<Timestamp>,
    /// Which incarnation of the topic was meant, where the client said so.
    pub topic_id: Option<TopicId>,
}

/// A generation that was agreed on. Kafka's `GroupMetadataValue`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// `consumer`, `connect`, or what else the members speak; empty while nobody ever joined.
    pub protocol_type: Arc<str>,
    /// Counts rebalances.
    pub generation: Generation,
    /// The assignor the members voted for; none in an empty group.
    pub protocol: Option<Arc<str>>,
    /// The member that assigns; none in an empty group.
    pub leader: Option<Arc<str>>,
    /// Since when the group is in its state; offsets of an empty group expire counting from here.
    pub current_state_timestamp: Option<Timestamp>,
    /// The members with their assignments.
    pub members: Vec<MemberValue>,
}

/// A member of a stored generation. Kafka's `MemberMetadata`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    /// The id the coordinator gave.
    pub member_id: Arc<str>,
    /// The id the operator gave, of static members.
    pub instance_id: Option<Arc<str>>,
    /// Which software, in its own words.
    pub client_id: Arc<str>,
    /// Where from.
    pub client_host: Arc<str>,
    /// How long a rebalance waits for it, in milliseconds.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent, in milliseconds.
    pub session_timeout_ms: i32,
    /// Its metadata for the chosen protocol.
    pub subscription: Bytes,
    /// What the leader gave it.
    pub assignment: Bytes,
}
