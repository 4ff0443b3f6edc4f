//! Every way in which a leader says no, and Kafka's code for it.

use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, Offset};

use crate::partition::BrokerEpoch;

/// Why a batch with `acks=all` is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AcceptError {
    /// The in-sync set is too small to promise anything.
    #[error("the in-sync set has {in_sync} members, {min} are needed")]
    NotEnoughReplicas { in_sync: usize, min: usize },
    /// The replicas are so slow that no more requests can wait for them.
    #[error("{waiting} requests wait for replicas already")]
    TooManyWaiting { waiting: usize },
}

impl AcceptError {
    /// What the producer is told: in both cases to send again later, nothing having been written.
    pub fn code(&self) -> ErrorCode {
        match self {
            AcceptError::NotEnoughReplicas { .. } | AcceptError::TooManyWaiting { .. } => {
                ErrorCode::NotEnoughReplicas
            }
        }
    }
}

/// Why a batch that was written is not acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unacknowledged {
    /// The in-sync set became too small meanwhile.
    #[error("the in-sync set shrank to {in_sync} members, {min} are needed")]
    NotEnoughReplicas { in_sync: usize, min: usize },
    /// Another broker leads now; it alone knows whether the batch survived.
    #[error("this broker leads the partition no more")]
    Deposed,
}

impl Unacknowledged {
    /// What the producer is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            Unacknowledged::NotEnoughReplicas { .. } => ErrorCode::NotEnoughReplicasAfterAppend,
            Unacknowledged::Deposed => ErrorCode::NotLeaderOrFollower,
        }
    }
}

/// Why a follower's fetch is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FetchRefusal {
    /// The follower has not heard of this leader's epoch yet.
    #[error("leader epoch {claimed} is over: this is {current}")]
    OldLeaderEpoch { claimed: LeaderEpoch, current: LeaderEpoch },
    /// The follower knows of a later leader.
    #[error("leader epoch {claimed} is not known here: this is {current}")]
    NewLeaderEpoch { claimed: LeaderEpoch, current: LeaderEpoch },
    /// Whoever asks holds no copy, as far as is known here; the metadata may be behind.
    #[error("broker {follower} is not a replica")]
    NotReplica { follower: BrokerId },
    /// The incarnation that asks has a successor.
    #[error("broker {follower} is of epoch {}, not {}", .current.0, .claimed.0)]
    StaleBrokerEpoch { follower: BrokerId, claimed: BrokerEpoch, current: BrokerEpoch },
    /// What is asked for is not in the log.
    #[error("offset {offset} is not in {log_start}..={log_end}")]
    OutOfRange { offset: Offset, log_start: Offset, log_end: Offset },
}

impl FetchRefusal {
    /// What the follower is told. For a broker that is not a replica Kafka gives the code that has it try again
    /// when the epochs agree, because then it is the leader whose metadata is behind.
    pub fn code(&self) -> ErrorCode {
        match self {
            FetchRefusal::OldLeaderEpoch { .. } => ErrorCode::FencedLeaderEpoch,
            FetchRefusal::NewLeaderEpoch { .. } | FetchRefusal::NotReplica { .. } => {
                ErrorCode::UnknownLeaderEpoch
            }
            FetchRefusal::StaleBrokerEpoch { .. } => ErrorCode::NotLeaderOrFollower,
            FetchRefusal::OutOfRange { .. } => ErrorCode::OffsetOutOfRange,
        }
    }
}
