//! Fetch, as a follower asks: what a copy wants of its leader. What it is told is in [`super::fetched`].
//!
//! A session is never asked for: what a follower wants is another thing each time. Of the fields for followers the
//! high watermark is KIP-1166's.

use std::time::Duration;

use brooklet_meta::broker::BrokerEpoch;
use brooklet_shard::input::{ReplicaFetch, ReplicaFetchPartition, Slot};
use brooklet_shard::output::CopyFetch;
use brooklet_types::{BrokerId, ByteSize, LeaderEpoch, TopicPartition, limits};
use brooklet_wire::message::{
    FetchRequest, FollowerFetchRequest, Uuid,
    fetch_request::{FetchPartition, FetchTopic},
    make,
};

use super::{
    Malformed, broker, broker_epoch, leader_epoch, number, offset, partition_index,
    raw_broker_epoch, topic,
};

/// Kafka's "there are no records".
const NO_EPOCH: i32 = -1;
/// Kafka's "the high watermark is not known here".
const WATERMARK_UNKNOWN: i64 = -1;
/// Kafka's "this follower does not say", which is the field's default.
const WATERMARK_UNSAID: i64 = i64::MAX;

/// How much a follower wants at once, and how long it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FetchSize {
    /// An answer comes at once when this much is there.
    pub min: ByteSize,
    /// No more of all partitions, but for the first batch.
    pub max: ByteSize,
    /// No more of one partition, but for the first batch.
    pub partition_max: ByteSize,
    /// An answer comes after this, whatever there is.
    pub wait_max: Duration,
}

/// The request of a follower, by that registration.
pub fn ask(
    broker: BrokerId,
    epoch: BrokerEpoch,
    size: FetchSize,
    wanted: &[CopyFetch],
) -> FollowerFetchRequest {
    let FetchSize { min, max, partition_max, wait_max } = size;
    let partition_max = raw_size(partition_max);
    FollowerFetchRequest(make(|it: &mut FetchRequest| {
        it.replica_state.replica_id = broker.0;
        it.replica_state.replica_epoch = raw_broker_epoch(epoch);
        it.max_wait_ms = i32::try_from(wait_max.as_millis()).unwrap_or(i32::MAX);
        it.min_bytes = raw_size(min);
        it.max_bytes = raw_size(max);
        for wanted in wanted {
            let topic_id = Uuid::from_bytes(wanted.partition.topic.0);
            // Partitions are served in the order asked: only neighbours share a topic.
            if it.topics.last().is_none_or(|last| last.topic_id != topic_id) {
                it.topics.push(make(|topic: &mut FetchTopic| topic.topic_id = topic_id));
            }
            let topic = it.topics.last_mut().expect("there is at least the one that was added");
            topic.partitions.push(partition(wanted, partition_max));
        }
    }))
}

/// Whether a Fetch is a follower's. Who says so has to be that broker.
pub fn is_followers(request: &FetchRequest) -> bool {
    request.replica_state.replica_id >= 0
}

/// Reads the request. Slots are the places of the partitions in it.
///
/// # Errors
/// If a number in it is none. Whether the follower has a copy is its leader's to say.
pub fn asked(request: &FetchRequest) -> Result<ReplicaFetch, Malformed> {
    let state = &request.replica_state;
    let wait_ms = u64::try_from(request.max_wait_ms)
        .map_err(|_| number("max_wait_ms", request.max_wait_ms))?;
    let max = size("max_bytes", request.max_bytes)?.min(ByteSize(limits::FETCH_BYTES_MAX.into()));
    let mut partitions = Vec::new();
    for topic_data in &request.topics {
        let topic = topic("topic_id", topic_data.topic_id)?;
        for data in &topic_data.partitions {
            let slot = Slot::try_from(partitions.len()).expect("a request is smaller");
            let partition = partition_index("partition", data.partition)?;
            partitions.push(replica(slot, TopicPartition { topic, partition }, data)?);
        }
    }
    Ok(ReplicaFetch {
        broker: broker("replica_id", state.replica_id)?,
        epoch: broker_epoch("replica_epoch", state.replica_epoch)?,
        partitions,
        min: size("min_bytes", request.min_bytes)?.min(max),
        max,
        wait_max: Duration::from_millis(wait_ms),
    })
}

fn partition(wanted: &CopyFetch, partition_max: i32) -> FetchPartition {
    // No `..`: a new field does not compile until it is sent. The number of the fetch stays here.
    let CopyFetch {
        partition,
        fetch: _,
        leader_epoch,
        offset,
        last_epoch,
        log_start,
        high_watermark,
    } = *wanted;
    make(|data: &mut FetchPartition| {
        data.partition = partition.partition.to_wire();
        data.current_leader_epoch = leader_epoch.to_wire();
        data.fetch_offset = offset.to_wire();
        data.last_fetched_epoch = last_epoch.map_or(NO_EPOCH, LeaderEpoch::to_wire);
        data.log_start_offset = log_start.to_wire();
        data.partition_max_bytes = partition_max;
        data.high_watermark = high_watermark.to_wire();
    })
}

fn replica(
    slot: Slot,
    partition: TopicPartition,
    data: &FetchPartition,
) -> Result<ReplicaFetchPartition, Malformed> {
    let last_epoch = match data.last_fetched_epoch {
        NO_EPOCH => None,
        raw => Some(leader_epoch("last_fetched_epoch", raw)?),
    };
    let high_watermark = match data.high_watermark {
        WATERMARK_UNKNOWN | WATERMARK_UNSAID => None,
        raw => Some(offset("high_watermark", raw)?),
    };
    // Where its log begins is for a leader that follows its followers, which ours does not.
    offset("log_start_offset", data.log_start_offset)?;
    Ok(ReplicaFetchPartition {
        slot,
        partition,
        offset: offset("fetch_offset", data.fetch_offset)?,
        max: size("partition_max_bytes", data.partition_max_bytes)?,
        leader_epoch: leader_epoch("current_leader_epoch", data.current_leader_epoch)?,
        last_epoch,
        high_watermark,
    })
}

fn size(field: &'static str, raw: i32) -> Result<ByteSize, Malformed> {
    u64::try_from(raw).map(ByteSize).map_err(|_| number(field, raw))
}

fn raw_size(size: ByteSize) -> i32 {
    i32::try_from(size.0).unwrap_or(i32::MAX)
}

#[cfg(test)]
mod tests {
    use brooklet_shard::FetchId;
    use brooklet_types::{Offset, PartitionIndex, TopicId};
    use brooklet_wire::frame::parse_header;
    use brooklet_wire::message::{decode_request, encode_request};
    use brooklet_wire::version::Api;

    use super::*;

    const BROKER: BrokerId = BrokerId(2);
    const EPOCH: BrokerEpoch = BrokerEpoch(41);
    const SIZE: FetchSize = FetchSize {
        min: ByteSize(1),
        max: ByteSize(10 << 20),
        partition_max: ByteSize(1 << 20),
        wait_max: Duration::from_millis(500),
    };

    fn copy(topic: u8, partition: u32, last_epoch: Option<u32>) -> CopyFetch {
        let (topic, partition) = (TopicId([topic; 16]), PartitionIndex(partition));
        CopyFetch {
            partition: TopicPartition { topic, partition },
            fetch: FetchId(5),
            leader_epoch: LeaderEpoch(7),
            offset: Offset::new(100),
            last_epoch: last_epoch.map(LeaderEpoch),
            log_start: Offset::new(3),
            high_watermark: Offset::new(90),
        }
    }

    fn copies() -> Vec<CopyFetch> {
        vec![copy(1, 0, Some(6)), copy(1, 4, None), copy(2, 0, Some(0)), copy(1, 2, Some(7))]
    }

    fn request() -> FetchRequest {
        ask(BROKER, EPOCH, SIZE, &copies()).0
    }

    #[test]
    fn what_is_wanted_is_what_is_asked_in_its_order() {
        // Over the wire, in the one version that has all of it.
        let (_, version) = Api::Fetch.versions();
        let sent = ask(BROKER, EPOCH, SIZE, &copies());
        let mut frame = encode_request(1, version, None, &sent).unwrap().slice(4..);
        parse_header(&mut frame).unwrap();
        let request: FetchRequest = decode_request(frame, version).unwrap();
        assert!(is_followers(&request));
        let asked = asked(&request).unwrap();
        assert_eq!((asked.broker, asked.epoch), (BROKER, EPOCH));
        assert_eq!((asked.min, asked.max, asked.wait_max), (SIZE.min, SIZE.max, SIZE.wait_max));
        assert_eq!(asked.partitions.len(), 4);
        for ((slot, partition), copy) in (0..).zip(&asked.partitions).zip(copies()) {
            assert_eq!((partition.slot, partition.partition), (slot, copy.partition));
            assert_eq!((partition.offset, partition.max), (copy.offset, SIZE.partition_max));
            assert_eq!(partition.leader_epoch, copy.leader_epoch);
            assert_eq!(partition.last_epoch, copy.last_epoch);
            assert_eq!(partition.high_watermark, Some(copy.high_watermark));
        }
    }

    #[test]
    fn a_consumer_is_no_follower() {
        assert!(!is_followers(&FetchRequest::default()));
        let error = asked(&FetchRequest::default()).unwrap_err();
        assert_eq!(error, number("replica_id", -1));
    }

    #[test]
    fn sizes_end_where_the_wire_and_the_limits_end() {
        let endless = ByteSize(u64::MAX);
        let wait_max = Duration::from_secs(u64::MAX);
        let size = FetchSize { min: endless, max: endless, partition_max: endless, wait_max };
        let request = ask(BROKER, EPOCH, size, &copies()).0;
        assert_eq!((request.min_bytes, request.max_bytes), (i32::MAX, i32::MAX));
        assert_eq!(request.max_wait_ms, i32::MAX);
        let asked = asked(&request).unwrap();
        let most = ByteSize(limits::FETCH_BYTES_MAX.into());
        assert_eq!((asked.min, asked.max), (most, most));
    }

    #[test]
    fn a_watermark_that_is_not_said_is_none() {
        for raw in [-1, i64::MAX] {
            let mut request = request();
            request.topics[0].partitions[0].high_watermark = raw;
            assert_eq!(asked(&request).unwrap().partitions[0].high_watermark, None, "{raw}");
        }
    }

    type Spoil = fn(&mut FetchRequest);

    #[test]
    fn what_means_nothing_is_refused_by_name() {
        let table: &[(Spoil, Malformed)] = &[
            (|it| it.replica_state.replica_id = -5, number("replica_id", -5)),
            (|it| it.replica_state.replica_epoch = -1, number("replica_epoch", -1)),
            (|it| it.max_wait_ms = -1, number("max_wait_ms", -1)),
            (|it| it.min_bytes = -1, number("min_bytes", -1)),
            (|it| it.max_bytes = i32::MIN, number("max_bytes", i32::MIN)),
            (|it| it.topics[0].topic_id = Uuid::ZERO, Malformed::Missing { field: "topic_id" }),
            (|it| part(it).partition = -1, number("partition", -1)),
            (|it| part(it).current_leader_epoch = -1, number("current_leader_epoch", -1)),
            (|it| part(it).fetch_offset = -1, number("fetch_offset", -1)),
            (|it| part(it).last_fetched_epoch = -2, number("last_fetched_epoch", -2)),
            (|it| part(it).log_start_offset = -1, number("log_start_offset", -1)),
            (|it| part(it).partition_max_bytes = -1, number("partition_max_bytes", -1)),
            (|it| part(it).high_watermark = -2, number("high_watermark", -2)),
        ];
        for (spoil, malformed) in table {
            let mut request = request();
            spoil(&mut request);
            assert_eq!(asked(&request).unwrap_err(), malformed.clone());
        }
    }

    fn part(request: &mut FetchRequest) -> &mut FetchPartition {
        &mut request.topics[1].partitions[0]
    }
}
