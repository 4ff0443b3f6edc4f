//! What a leader tells a follower, in a Fetch response, and what the follower makes of it.
//!
//! Kafka's follower asks another request where an offset is out of range. Ours is told at once: the response has the
//! log's start, and its end where otherwise the end of a diverging epoch stands.
//!
//! **Never** carries out a read plan: the records come beside, as the pieces that `wire::fetch` sends from where
//! they lie.

use std::collections::BTreeMap;

use brooklet_log::Disk;
use brooklet_shard::input::{CopyAnswer, CopyFound};
use brooklet_shard::output::{CopyFetch, Fetched};
use brooklet_types::{ErrorCode, LeaderEpoch, Offset, TopicPartition};
use brooklet_wire::message::{
    Bytes, FetchResponse, Uuid,
    fetch_response::{EpochEndOffset, FetchableTopicResponse, PartitionData},
    make,
};

use super::{Malformed, error, leader_epoch, number, offset, partition_index, topic};

/// Kafka's "there is none".
const NONE: i64 = -1;

/// What a follower is told of one partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    partition: TopicPartition,
    data: PartitionData,
    records: Vec<Bytes>,
}

impl Told {
    /// What a shard has found, without its records.
    pub fn new<D: Disk>(partition: TopicPartition, fetched: &Fetched<D>) -> Told {
        let raw = |offset: Option<Offset>| offset.map_or(NONE, Offset::to_wire);
        let data = make(|data: &mut PartitionData| {
            data.partition_index = partition.partition.to_wire();
            data.error_code = fetched.error.unwrap_or(ErrorCode::None).to_wire();
            data.high_watermark = raw(fetched.high_watermark);
            data.last_stable_offset = raw(fetched.high_watermark);
            data.log_start_offset = raw(fetched.log_start);
            data.aborted_transactions = None;
            if let Some(end) = fetched.diverging {
                data.diverging_epoch.epoch = end.epoch.map_or(-1, LeaderEpoch::to_wire);
                data.diverging_epoch.end_offset = raw(end.end);
            }
        });
        Told { partition, data, records: Vec::new() }
    }

    /// An error that was noticed before the shard was asked, or by whoever read the records.
    pub fn refused(partition: TopicPartition, code: ErrorCode) -> Told {
        let data = make(|data: &mut PartitionData| {
            data.partition_index = partition.partition.to_wire();
            data.error_code = code.to_wire();
            data.high_watermark = NONE;
            data.aborted_transactions = None;
        });
        Told { partition, data, records: Vec::new() }
    }

    /// The same with records: whole batches, one behind the other, in whatever pieces.
    #[must_use]
    pub fn with(self, records: Vec<Bytes>) -> Told {
        Told { records, ..self }
    }
}

/// The response, and the pieces that `brooklet_wire::fetch::encode` wants with it.
pub fn answer(told: impl IntoIterator<Item = Told>) -> (FetchResponse, Vec<Vec<Bytes>>) {
    let mut pieces = Vec::new();
    let response = make(|it: &mut FetchResponse| {
        for Told { partition, mut data, records } in told {
            let topic_id = Uuid::from_bytes(partition.topic.0);
            if it.responses.last().is_none_or(|last| last.topic_id != topic_id) {
                let topic = |topic: &mut FetchableTopicResponse| topic.topic_id = topic_id;
                it.responses.push(make(topic));
            }
            // Its bytes are not these but the pieces.
            data.records = Some(Bytes::new());
            let topic = it.responses.last_mut().expect("there is the one that was added");
            topic.partitions.push(data);
            pieces.push(records);
        }
    });
    (response, pieces)
}

/// The response that refuses all of a request.
pub fn refuse(code: ErrorCode) -> FetchResponse {
    make(|it: &mut FetchResponse| it.error_code = code.to_wire())
}

/// Reads the response to what was asked: of each partition exactly one answer, in the order asked. Of one that the
/// response does not name it is that there is none. Records stay slices of the frame.
///
/// # Errors
/// If something in it means nothing. Then nothing in it is believed, and [`lost`] has the answers.
pub fn answered(
    asked: &[CopyFetch],
    response: FetchResponse,
) -> Result<Vec<CopyAnswer>, Malformed> {
    if let Some(code) = error(response.error_code)? {
        return Ok(asked.iter().map(|fetch| answer_to(fetch, CopyFound::Refused(code))).collect());
    }
    let mut told = BTreeMap::new();
    for topic_data in response.responses {
        let topic = topic("topic_id", topic_data.topic_id)?;
        for data in topic_data.partitions {
            let partition = partition_index("partition_index", data.partition_index)?;
            let before = told.insert(TopicPartition { topic, partition }, found(data)?);
            if before.is_some() {
                return Err(Malformed::Repeated { field: "partition", count: 2 });
            }
        }
    }
    let answers = asked.iter().map(|fetch| {
        let found = told.remove(&fetch.partition);
        answer_to(fetch, found.unwrap_or(CopyFound::Lost))
    });
    Ok(answers.collect())
}

/// The answers where there is no response, or none that is believed.
pub fn lost(asked: &[CopyFetch]) -> Vec<CopyAnswer> {
    asked.iter().map(|fetch| answer_to(fetch, CopyFound::Lost)).collect()
}

fn answer_to(asked: &CopyFetch, found: CopyFound) -> CopyAnswer {
    CopyAnswer { partition: asked.partition, fetch: asked.fetch, found }
}

fn found(data: PartitionData) -> Result<CopyFound, Malformed> {
    let end = epoch_end(&data.diverging_epoch)?;
    let log_start = || offset("log_start_offset", data.log_start_offset);
    match (error(data.error_code)?, end) {
        (Some(ErrorCode::OffsetOutOfRange), Some((_, log_end))) => {
            Ok(CopyFound::OutOfRange { log_start: log_start()?, log_end })
        }
        (Some(code), _) => Ok(CopyFound::Refused(code)),
        (None, Some((epoch, end))) => Ok(CopyFound::Diverging { epoch, end }),
        (None, None) => Ok(CopyFound::Served {
            high_watermark: offset("high_watermark", data.high_watermark)?,
            log_start: log_start()?,
            records: data.records.unwrap_or_default(),
        }),
    }
}

/// The end of an epoch; none where both of its numbers say so.
fn epoch_end(end: &EpochEndOffset) -> Result<Option<(LeaderEpoch, Offset)>, Malformed> {
    if (i64::from(end.epoch), end.end_offset) == (NONE, NONE) {
        return Ok(None);
    }
    let epoch = leader_epoch("diverging_epoch.epoch", end.epoch)?;
    let end_offset = Offset::from_wire(end.end_offset)
        .ok_or_else(|| number("diverging_epoch.end_offset", end.end_offset))?;
    Ok(Some((epoch, end_offset)))
}

#[cfg(test)]
mod tests;
