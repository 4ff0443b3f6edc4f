//! Everything that can happen to a shard, and everything that can be asked of it.
//!
//! Plain values only. A [`Ticket`] is how the shell finds whoever waits for the answer; the shard
//! hands it back once with the reply and never looks at it.

use std::sync::Arc;
use std::time::Duration;

use brooklet_group as group;
use brooklet_log::SyncToken;
use brooklet_log::compaction::{Cleaning, CompactError};
use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::Cluster;
use brooklet_meta::broker::BrokerEpoch;
use brooklet_quorum::Change;
use brooklet_replica::{Altered, ChangeId, FetchId};
use brooklet_types::{
    BrokerId, ByteSize, ErrorCode, LeaderEpoch, Offset, PartitionIndex, Timestamp, TopicName,
    TopicPartition,
};
use bytes::Bytes;

use crate::metadata::MetadataRequest;
use crate::sync::SyncId;

/// Names one request from the shell until it is answered. Never used twice.
pub type Ticket = u64;

/// Something happened.
#[derive(Debug)]
pub enum Input {
    /// Somebody asks; the reply carries `ticket`.
    Request { ticket: Ticket, request: Request },
    /// Whoever asked has gone: a parked fetch need not wait any longer.
    Abandoned { ticket: Ticket },
    /// The cluster changed: open, reconfigure and drop partitions accordingly.
    Cluster { ticket: Ticket, cluster: Arc<Cluster> },
    /// This run of the broker is registered. In a cluster a shard acts on no image that has not this registration:
    /// what others say was given to an earlier run.
    Registered { epoch: BrokerEpoch },
    /// What has come of `Output::FetchFrom`, or of some of its partitions. `entropy` is any random number.
    FetchedFrom { answers: Vec<CopyAnswer>, entropy: u64 },
    /// What has come of `Output::AlterPartitions`, or of some of it.
    Altered(Vec<AlterAnswer>),
    /// Everything that sync `id` covered is on the disk.
    Synced { id: SyncId },
    /// What `Output::WriteBack` handed out is on the disk.
    WrittenBack { partition: TopicPartition, token: SyncToken },
    /// What has come of `Output::Compact`.
    Compacted {
        /// Whose job it was.
        partition: TopicPartition,
        /// What it has done, or why it could not.
        outcome: Result<Box<Cleaning>, CompactError>,
    },
    /// Another judges what cleanings of this topic leave, or the same one otherwise: its policy was bound,
    /// configured or exchanged. Told when that is in place.
    PolicyChanged {
        /// The topic's name.
        topic: TopicName,
    },
    /// Another broker's part of the quorum has sent this. `from` is known to be that broker.
    FromBroker {
        /// Who.
        from: BrokerId,
        /// What `Output::SendToBroker` had there.
        message: Bytes,
    },
    /// Time passed; see [`crate::Shard::next_deadline`].
    Tick,
}

/// What can be asked of a shard.
#[derive(Debug)]
pub enum Request {
    /// Store batches.
    Produce(Produce),
    /// Read batches, waiting for them if need be.
    Fetch(Fetch),
    /// Copy batches to another broker, waiting for them if need be.
    Replicate(ReplicaFetch),
    /// Offsets by time, or one of Kafka's special places.
    ListOffsets(Vec<(Slot, TopicPartition, OffsetQuery)>),
    /// Where leader epochs ended.
    EpochEnds(Vec<(Slot, TopicPartition, EpochQuery)>),
    /// Move log starts forward.
    DeleteRecords(Vec<(Slot, TopicPartition, Option<Offset>)>),
    /// The producers that partitions remember.
    DescribeProducers(Vec<(Slot, TopicPartition)>),
    /// How much every partition of this shard holds.
    DescribeLogs,
    /// Something for the group coordinator on one partition of `__consumer_offsets`.
    Group {
        /// Which partition of `__consumer_offsets`.
        partition: PartitionIndex,
        /// What the coordinator is asked.
        request: group::Request,
        /// Sixteen random bytes, should a member id be needed.
        entropy: [u8; 16],
    },
    /// The coordinators of this shard list what they know, for ListGroups and for metrics.
    Groups(group::ListRequest),
    /// Committed offsets of all groups of this shard, for the lag metric.
    Committed,
    /// A change of the cluster. Only the shard that holds the metadata log takes these, and what follows.
    Metadata(MetadataRequest),
    /// A change of the quorum's members.
    ChangeMembers(Change),
    /// Another member is to lead the quorum: this broker is about to stop.
    HandOver,
    /// How the quorum is.
    DescribeQuorum,
}

/// The caller's own numbering of the partitions in one request, given back with each result.
pub type Slot = u32;

/// Batches to store, at most one per partition.
#[derive(Debug)]
pub struct Produce {
    /// What to store where. Already valid in itself; what depends on the partition is checked here.
    pub batches: Vec<(Slot, TopicPartition, ValidatedBatch)>,
    /// When to answer.
    pub acks: Acks,
    /// How long other brokers may take, with [`Acks::All`].
    pub timeout: Duration,
}

/// What a producer waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nothing: the reply only serves to notice errors.
    None,
    /// The batch is in the leader's log, perhaps only in the page cache.
    Leader,
    /// The batch is as durable as the topic asks for, on every broker that is in sync.
    All,
}

/// A read of several partitions, served in the order given.
#[derive(Clone, Debug)]
pub struct Fetch {
    /// What to read.
    pub partitions: Vec<FetchPartition>,
    /// Answer at once when this much is there; zero never waits.
    pub min: ByteSize,
    /// Stop adding batches past this much. The first batch of the answer is whole all the same.
    pub max: ByteSize,
    /// Answer after this long, whatever is there.
    pub wait_max: Duration,
    /// Whether a follower may answer. A reader that does not know that there are others to read from takes
    /// whoever answers for the leader.
    pub of_followers: bool,
}

/// A read of one partition.
#[derive(Clone, Debug)]
pub struct FetchPartition {
    /// Given back with the result.
    pub slot: Slot,
    /// What to read.
    pub partition: TopicPartition,
    /// The first offset wanted.
    pub offset: Offset,
    /// Stop adding batches of this partition past this much.
    pub max: ByteSize,
    /// The epoch the reader believes to be current, for fencing (KIP-320).
    pub current_epoch: Option<LeaderEpoch>,
    /// The epoch of the last record the reader has, for finding divergence (KIP-595).
    pub last_fetched_epoch: Option<LeaderEpoch>,
    /// Who is in sync and nearer to the reader, which is sent there if this broker leads (KIP-392).
    pub nearer: Option<BrokerId>,
}

/// A follower's read of several partitions, served in the order given. What is asked for proves what is there.
#[derive(Clone, Debug)]
pub struct ReplicaFetch {
    /// Who asks.
    pub broker: BrokerId,
    /// Which registration of it.
    pub epoch: BrokerEpoch,
    /// What to read.
    pub partitions: Vec<ReplicaFetchPartition>,
    /// Answer at once when this much is there; zero never waits.
    pub min: ByteSize,
    /// Stop adding batches past this much. The first batch of the answer is whole all the same.
    pub max: ByteSize,
    /// Answer after this long, whatever is there.
    pub wait_max: Duration,
}

/// A follower's read of one partition.
#[derive(Clone, Debug)]
pub struct ReplicaFetchPartition {
    /// Given back with the result.
    pub slot: Slot,
    /// What to read.
    pub partition: TopicPartition,
    /// The first offset wanted: everything before is durable there.
    pub offset: Offset,
    /// Stop adding batches of this partition past this much.
    pub max: ByteSize,
    /// The term of the leader that it asks.
    pub leader_epoch: LeaderEpoch,
    /// The epoch of the last record it has; none without records.
    pub last_epoch: Option<LeaderEpoch>,
    /// The high watermark it knows (KIP-1166): with a later one it is answered at once. None where it does not say.
    pub high_watermark: Option<Offset>,
}

/// What a leader answered of one partition, to the [`crate::output::CopyFetch`] of that id.
#[derive(Clone, Debug)]
pub struct CopyAnswer {
    /// The partition.
    pub partition: TopicPartition,
    /// Which fetch.
    pub fetch: FetchId,
    /// What came of it.
    pub found: CopyFound,
}

/// What a leader answered.
#[derive(Clone, Debug)]
pub enum CopyFound {
    /// Whole batches, or none yet.
    Served { high_watermark: Offset, log_start: Offset, records: Bytes },
    /// The logs part: this epoch ends there at the leader's.
    Diverging { epoch: LeaderEpoch, end: Offset },
    /// The offset is not in the leader's log, which is this.
    OutOfRange { log_start: Offset, log_end: Offset },
    /// Another error.
    Refused(ErrorCode),
    /// There is no answer.
    Lost,
}

/// What the controller answered to one [`crate::output::Alter`].
#[derive(Clone, Debug)]
pub struct AlterAnswer {
    /// The partition.
    pub partition: TopicPartition,
    /// The leader epoch in which it was asked.
    pub leader_epoch: LeaderEpoch,
    /// Which change.
    pub change: ChangeId,
    /// What came of it.
    pub outcome: Altered,
}

/// Where in a partition, and what the asker believes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OffsetQuery {
    /// What is sought.
    pub place: Place,
    /// The epoch the asker believes to be current, for fencing.
    pub current_epoch: Option<LeaderEpoch>,
}

/// Kafka's ways to name a place in a partition without knowing its offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// The first record there is (-2, and -4: all our tiers are local).
    Earliest,
    /// Behind the last record a consumer may read (-1).
    Latest,
    /// The record with the newest timestamp (-3).
    MaxTimestamp,
    /// The first record whose timestamp is this or later.
    At(Timestamp),
}

/// Which epoch's end is sought.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EpochQuery {
    /// The epoch whose end is sought.
    pub epoch: LeaderEpoch,
    /// The epoch the asker believes to be current, for fencing.
    pub current_epoch: Option<LeaderEpoch>,
}
