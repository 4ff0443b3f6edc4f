//! Producer ids, given out in blocks so that not every producer costs a write to the log.

use std::ops::Range;

use brooklet_types::{BrokerId, ErrorCode, ProducerId};

use super::Decision;
use super::broker::{BrokerEpochError, check_epoch};
use crate::broker::BrokerEpoch;
use crate::cluster::Cluster;
use crate::record::MetaRecord;

/// Ids per block. Kafka's `ProducerIdsBlock` size. What a broker has left of its block when it
/// stops is never used, which is no loss out of 2^63.
pub const BLOCK_IDS: u64 = 1000;

/// Every id is given out. A producer a nanosecond would take 292 years to get here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("every producer id has been given out")]
pub struct ProducerIdsExhausted;

/// Gives out the next block of ids.
pub fn allot_producer_ids(cluster: &Cluster) -> Result<Decision<Range<u64>>, ProducerIdsExhausted> {
    let start = cluster.next_producer_id().0;
    let end = start.checked_add(BLOCK_IDS).filter(|end| i64::try_from(*end).is_ok());
    let end = end.ok_or(ProducerIdsExhausted)?;
    let records = vec![MetaRecord::ProducerIdsAllotted { next: ProducerId(end) }];
    Ok(Decision { records, reply: start..end })
}

/// Why a broker was not given a block.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllocateError {
    /// It is not the broker it says it is.
    #[error(transparent)]
    Epoch(#[from] BrokerEpochError),
    /// There is none left.
    #[error(transparent)]
    Exhausted(#[from] ProducerIdsExhausted),
}

impl AllocateError {
    /// What the broker is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            AllocateError::Epoch(error) => error.code(),
            AllocateError::Exhausted(_) => ErrorCode::UnknownServerError,
        }
    }
}

/// Gives the next block of ids to a broker (AllocateProducerIds).
pub fn allocate_producer_ids(
    cluster: &Cluster,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Result<Decision<Range<u64>>, AllocateError> {
    check_epoch(cluster, broker, epoch)?;
    Ok(allot_producer_ids(cluster)?)
}
