//! Everything a shard can ask the shell to do, and everything it can answer.

use std::sync::Arc;
use std::time::Duration;

use brooklet_group as group;
use brooklet_log::compaction::{Cleaned, CompactError, Job};
use brooklet_log::plan::ReadPlan;
use brooklet_log::{Dirty, Disk};
use brooklet_meta::Cluster;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::decide::alter_partition::AlterPartition;
use brooklet_replica::{ChangeId, FetchId, Violation};
use brooklet_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicName, TopicPartition,
};

use crate::input::{Slot, Ticket};
use bytes::Bytes;

use crate::metadata::{MetadataReply, QuorumDescription, QuorumStanding};
use crate::sync::SyncJob;

/// Something must be done. The shell does it; the shard only says so.
#[derive(Debug)]
pub enum Output<D: Disk> {
    /// Answer whoever holds `ticket`.
    Reply { ticket: Ticket, reply: Reply<D> },
    /// Make these files durable and come back with `Input::Synced`. At most one at a time.
    Sync(SyncJob<D>),
    /// Write back what a topic flushed by the operating system has closed, whenever convenient,
    /// and come back with `Input::WrittenBack`. Nobody waits for it.
    WriteBack { partition: TopicPartition, dirty: Dirty<D> },
    /// Run this, whenever convenient, and come back with `Input::Compacted`. At most one at a time, and
    /// nobody waits for it.
    Compact { partition: TopicPartition, topic: TopicName, job: Box<Job<D>> },
    /// The metadata changed and the change is durable: tell every shard and every connection.
    ClusterChanged(Arc<Cluster>),
    /// Another leads the quorum, or there are others in it. Told first with the first tick.
    QuorumMoved(QuorumStanding),
    /// Bring this to another broker, where it is `Input::FromBroker`. It may be lost, and come twice or late.
    SendToBroker { broker: BrokerId, message: Bytes },
    /// Fetch this from that leader, as the follower that this broker is by that registration, and come back with
    /// `Input::FetchedFrom`, for each partition once. What is not answered is asked for again after a while.
    FetchFrom { leader: BrokerId, epoch: BrokerEpoch, partitions: Vec<CopyFetch> },
    /// Ask the controller for other in-sync sets, and come back with `Input::Altered`. What is not answered is asked
    /// for again after a while.
    AlterPartitions { epoch: BrokerEpoch, wanted: Vec<Alter> },
    /// Worth a line in the log.
    Event(Event),
}

/// What a follower asks its leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CopyFetch {
    /// Of which partition.
    pub partition: TopicPartition,
    /// Comes back with the answer.
    pub fetch: FetchId,
    /// The term of the leader that is asked.
    pub leader_epoch: LeaderEpoch,
    /// From where on: everything before is durable here.
    pub offset: Offset,
    /// The epoch of the record before; none without records.
    pub last_epoch: Option<LeaderEpoch>,
    /// Where the log begins here.
    pub log_start: Offset,
    /// The high watermark that is known here.
    pub high_watermark: Offset,
}

/// Another in-sync set for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Alter {
    /// Comes back with the answer.
    pub change: ChangeId,
    /// What to ask for.
    pub wanted: AlterPartition,
}

/// A reply to a [`crate::input::Request`] of the same name.
#[derive(Debug)]
pub enum Reply<D: Disk> {
    /// One result for each batch.
    Produced(Vec<(Slot, Result<Produced, Refusal>)>),
    /// One result for each partition, in the order asked.
    Fetched(Vec<(Slot, Fetched<D>)>),
    /// One result for each partition.
    Offsets(Vec<(Slot, Result<FoundOffset, ErrorCode>)>),
    /// One result for each partition.
    EpochEnds(Vec<(Slot, Result<EpochEnd, ErrorCode>)>),
    /// The new log start of each partition.
    RecordsDeleted(Vec<(Slot, Result<Offset, ErrorCode>)>),
    /// What each partition remembers.
    Producers(Vec<(Slot, Result<Vec<ProducerDescription>, ErrorCode>)>),
    /// Every partition of the shard.
    Logs(Vec<LogDescription>),
    /// From a group coordinator.
    Group(group::Reply),
    /// From every group coordinator of the shard.
    Groups(Vec<group::ListedGroup>),
    /// What groups have committed.
    Committed(Vec<CommittedOffset>),
    /// From the metadata log.
    Metadata {
        reply: MetadataReply,
        /// The version of the cluster that includes the change.
        version: u64,
    },
    /// How the quorum is.
    Quorum(QuorumDescription),
    /// Who is to lead the quorum; none where there is nobody.
    HandingOver(Option<BrokerId>),
    /// Every partition of the new cluster image is open here.
    ClusterApplied,
}

/// Where a batch was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Produced {
    /// Offset of the batch's first record.
    pub base: Offset,
    /// The broker's time, on topics with `message.timestamp.type=LogAppendTime`.
    pub log_append_time: Option<Timestamp>,
    /// The partition's first offset.
    pub log_start: Offset,
}

/// Why a batch was not stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Kafka's code.
    pub code: ErrorCode,
    /// What was wrong, for people.
    pub message: String,
    /// The partition's first offset, where it is known.
    pub log_start: Option<Offset>,
}

/// What a fetch found in one partition.
#[derive(Debug)]
pub struct Fetched<D: Disk> {
    /// Why there is nothing, or `None`.
    pub error: Option<ErrorCode>,
    /// Consumers may read up to (not including) this offset.
    pub high_watermark: Option<Offset>,
    /// The partition's first offset.
    pub log_start: Option<Offset>,
    /// The reader's last epoch ended earlier than the reader believes: truncate to this. A follower whose offset
    /// is out of range is told the log's end here, with the leader's epoch.
    pub diverging: Option<EpochEnd>,
    /// Whom to ask instead: it has what is asked for, and is nearer. Then nothing is read here.
    pub nearer: Option<BrokerId>,
    /// Which bytes answer the fetch; `None` when there are none.
    pub plan: Option<ReadPlan<D::File>>,
}

/// An offset found by time or by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FoundOffset {
    /// The offset; `None` when no record is that new.
    pub offset: Option<Offset>,
    /// The record's timestamp, where a record was sought.
    pub timestamp: Option<Timestamp>,
    /// The leader epoch in which the record at that offset was written.
    pub epoch: Option<LeaderEpoch>,
}

/// Where an epoch ended. Both `None`: the epoch is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochEnd {
    /// The largest known epoch not after the one asked for.
    pub epoch: Option<LeaderEpoch>,
    /// The first offset of the next epoch, or the end of the log.
    pub end: Option<Offset>,
}

/// One producer that a partition remembers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerDescription {
    /// Who.
    pub id: u64,
    /// Its newest incarnation.
    pub epoch: u16,
    /// The sequence of its last record; `None` before its first.
    pub last_sequence: Option<u32>,
    /// When it last wrote.
    pub last_timestamp: Timestamp,
}

/// One partition's log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogDescription {
    /// Which.
    pub partition: TopicPartition,
    /// Bytes of its segments.
    pub bytes: u64,
    /// First offset.
    pub start: Offset,
    /// What consumers may read up to.
    pub high_watermark: Offset,
    /// Where the next record goes.
    pub end: Offset,
}

/// What one group has committed for one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CommittedOffset {
    /// The group.
    pub group: String,
    /// The topic's name, as groups know it.
    pub topic: TopicName,
    /// The partition.
    pub partition: PartitionIndex,
    /// The next offset the group will read.
    pub offset: Offset,
}

/// What an operator would want in a timeline.
#[derive(Debug)]
pub enum Event {
    /// A partition's log was opened and needed mending.
    Recovered { folder: String, report: String },
    /// A partition cannot be written or read; others go on.
    PartitionFailed { folder: String, problem: String },
    /// A partition's copies are not, or were not, what they should be.
    CopiesDiffer { folder: String, problem: Violation },
    /// The disk has reached its reserve; producers are refused until there is room.
    DiskFull { folder: String },
    /// A log was compacted.
    Compacted { folder: String, topic: TopicName, cleaned: Cleaned },
    /// A log could not be compacted, and is left alone for so long; if for no time, until it is another or
    /// treated otherwise.
    NotCompacted { folder: String, topic: TopicName, error: CompactError, again: Option<Duration> },
    /// A broker's message to the quorum was not taken.
    QuorumMessageRefused { from: BrokerId, problem: String },
    /// A group coordinator has read its log.
    GroupsLoaded { partition: u32 },
}
