//! The task that fetches from one broker, on one part of the consumer's lane, until it is replaced.
//!
//! It asks without fetch sessions: a request then says everything, and nothing has to be mended after
//! a lost connection. Sessions would be one for each part, as each has requests of its own under way; over QUIC a request names
//! few partitions, so there is little they could leave unsaid, and brokers keep but a thousand of them for everybody.
//! The first thing it cannot handle itself it reports, and ends.
//!
//! While one answer is read the next is asked for: where it begins is known from the headers of batches.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::batch::{self, BatchError};
use brooklet_wire::message::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic},
    fetch_response::PartitionData,
    make,
};
use bytes::Bytes;
use tokio::sync::mpsc;

use super::{ConsumerConfig, ConsumerRecord, PartitionRecords};
use crate::client::{Client, Lane};
use crate::connection::Pending;
use crate::error::{ApiError, Code, Peer};
use crate::offsets::Partition;
use crate::request::Call;

pub(crate) struct FetcherConfig {
    pub(crate) consumer: ConsumerConfig,
    pub(crate) lane: Lane,
}

/// Where partitions are to be read from: the offset, and the epoch of the leader that was asked about it.
pub(crate) type Positions = BTreeMap<Partition, (i64, i32)>;

/// What a fetch came to.
pub(crate) enum Fetched {
    Records(PartitionRecords),
    Bad { topic: Arc<str>, partition: u32, offset: i64, source: BatchError },
    OutOfRange { topic: Arc<str>, partition: u32, offset: i64 },
    Failed { topic: Option<String>, error: ApiError },
}

/// Fetches `partitions` (offset and leader epoch of each) from `leader`, in turn and for ever.
pub(crate) async fn run(
    client: Client,
    config: FetcherConfig,
    leader: BrokerId,
    mut partitions: Positions,
    queue: mpsc::Sender<Fetched>,
) {
    let names: BTreeMap<String, Arc<str>> =
        partitions.keys().map(|(topic, _)| (topic.clone(), Arc::from(topic.as_str()))).collect();
    let mut rotation = 0;
    let mut under_way = None;
    loop {
        let pending = match under_way.take() {
            Some(pending) => Ok(pending),
            None => ask(&client, &config, leader, &partitions, &mut rotation).await,
        };
        let answered = match pending {
            Ok(pending) => answer(pending).await,
            Err(error) => Err(error),
        };
        let (peer, response) = match answered {
            Ok(answered) => answered,
            Err(error) => return report(&queue, Fetched::Failed { topic: None, error }).await,
        };
        let mut parts = Vec::new();
        for topic in response.responses {
            let Some((_, name)) = names.get_key_value(&*topic.topic) else { continue };
            for data in topic.partitions {
                let Ok(index) = u32::try_from(data.partition_index) else { continue };
                let partition = (name.to_string(), index);
                let Some((position, _)) = partitions.get_mut(&partition) else { continue };
                let from = std::mem::replace(position, readable_end(*position, &data));
                parts.push(Part { name: name.clone(), partition, from, data });
            }
        }
        // While this is read, and until somebody takes it, the broker gets the next together: one answer more in memory.
        let is_whole = parts.iter().all(|part| part.data.error_code == 0);
        if is_whole {
            under_way = ask(&client, &config, leader, &partitions, &mut rotation).await.ok();
        }
        for Part { name, partition, from, data } in parts {
            let fetched = take(&config.consumer, &peer, &name, partition.1, from, &data);
            let (reached, is_trouble) = match &fetched {
                None => (from, false),
                Some(Fetched::Records(records)) => (records.next_offset, false),
                Some(Fetched::Bad { .. } | Fetched::OutOfRange { .. } | Fetched::Failed { .. }) => {
                    (from, true)
                }
            };
            if let Some((position, _)) = partitions.get_mut(&partition)
                && *position != reached
            {
                // Something in it cannot be read, and what was asked for lies behind it.
                *position = reached;
                under_way = None;
            }
            if let Some(fetched) = fetched
                && (queue.send(fetched).await.is_err() || is_trouble)
            {
                return;
            }
        }
    }
}

/// What an answer has of one partition, and from where on it was asked for.
struct Part {
    name: Arc<str>,
    partition: Partition,
    from: i64,
    data: PartitionData,
}

/// Sends the next request.
async fn ask(
    client: &Client,
    config: &FetcherConfig,
    leader: BrokerId,
    partitions: &Positions,
    rotation: &mut usize,
) -> Result<(Peer, Pending<FetchRequest>), ApiError> {
    let request = request(&config.consumer, partitions, *rotation);
    // The broker serves partitions in our order; everybody gets to be first.
    *rotation += 1;
    let within = client.config().request_timeout + config.consumer.fetch_wait;
    let connection = client.broker(leader, &config.lane).await?;
    let pending = connection.submit(&request, within).await?;
    Ok((connection.peer().clone(), pending))
}

async fn answer(
    (peer, pending): (Peer, Pending<FetchRequest>),
) -> Result<(Peer, FetchResponse), ApiError> {
    let response = pending.answer().await?;
    Code(response.error_code)
        .check()
        .map_err(|code| refused(&peer, "all partitions".to_owned(), code))?;
    Ok((peer, response))
}

/// Where the whole batches of an answer end, by their headers alone.
fn readable_end(position: i64, data: &PartitionData) -> i64 {
    let batches = data.records.as_deref().map(batch::split).into_iter().flatten();
    let headers = batches.map_while(|batch| batch::BatchHeader::parse(batch.ok()?.1).ok());
    headers.fold(position, |end, header| end.max(header.last_offset().to_wire().saturating_add(1)))
}

async fn report(queue: &mpsc::Sender<Fetched>, fetched: Fetched) {
    // A consumer that has gone needs no report.
    let _ = queue.send(fetched).await;
}

fn request(config: &ConsumerConfig, partitions: &Positions, rotation: usize) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    let count = partitions.len().max(1);
    let in_turn = partitions.iter().cycle().skip(rotation % count).take(partitions.len());
    for ((topic, index), (offset, epoch)) in in_turn {
        let wire = make(|wire: &mut FetchPartition| {
            wire.partition = i32::try_from(*index).unwrap_or(i32::MAX);
            wire.current_leader_epoch = *epoch;
            wire.fetch_offset = *offset;
            wire.partition_max_bytes = wire_bytes(config.partition_bytes_max);
        });
        match topics.iter_mut().find(|wire| *wire.topic == **topic) {
            Some(known) => known.partitions.push(wire),
            None => topics.push(make(|known: &mut FetchTopic| {
                known.topic = topic.as_str().into();
                known.partitions = vec![wire];
            })),
        }
    }
    make(|request: &mut FetchRequest| {
        request.replica_id = -1;
        request.max_wait_ms = i32::try_from(config.fetch_wait.as_millis()).unwrap_or(i32::MAX);
        request.min_bytes = wire_bytes(config.fetch_bytes_min);
        request.max_bytes = wire_bytes(config.fetch_bytes_max);
        request.isolation_level = i8::from(config.read_committed);
        request.session_id = 0;
        request.session_epoch = -1;
        request.topics = topics;
    })
}

fn wire_bytes(bytes: u32) -> i32 {
    i32::try_from(bytes).unwrap_or(i32::MAX)
}

/// What one partition's answer means; nothing if there is nothing new.
fn take(
    config: &ConsumerConfig,
    peer: &Peer,
    topic: &Arc<str>,
    partition: u32,
    position: i64,
    data: &PartitionData,
) -> Option<Fetched> {
    let code = Code(data.error_code);
    if code == ErrorCode::OffsetOutOfRange {
        return Some(Fetched::OutOfRange { topic: topic.clone(), partition, offset: position });
    }
    if let Err(code) = code.check() {
        let error = refused(peer, format!("partition {partition} of {topic}"), code);
        return Some(Fetched::Failed { topic: Some(topic.to_string()), error });
    }
    let bytes = data.records.as_ref()?;
    let mut aborted = Aborted::new(config.read_committed, data);
    let mut records = Vec::new();
    let mut next = position;
    for batch in batch::split(bytes) {
        let read = batch.and_then(|(_, batch)| {
            decode(config, bytes, batch, position, &mut aborted, &mut records)
        });
        match read {
            Ok(end) => next = next.max(end),
            // Half a batch at the end is what the limit of bytes cut off.
            Err(BatchError::Truncated { .. }) => break,
            // First what is readable; the next fetch begins with the bad one.
            Err(_) if next > position => break,
            Err(source) => {
                let topic = topic.clone();
                return Some(Fetched::Bad { topic, partition, offset: next, source });
            }
        }
    }
    (next > position).then(|| {
        Fetched::Records(PartitionRecords {
            topic: topic.clone(),
            partition,
            records,
            next_offset: next,
            high_watermark: data.high_watermark,
        })
    })
}

/// Adds the records of one batch of `answer` from `position` on, and says which offset follows it.
fn decode(
    config: &ConsumerConfig,
    answer: &Bytes,
    bytes: &[u8],
    position: i64,
    aborted: &mut Aborted,
    records: &mut Vec<ConsumerRecord>,
) -> Result<i64, BatchError> {
    if config.check_crcs {
        batch::check_crc(bytes)?;
    }
    let header = batch::BatchHeader::parse(bytes)?;
    let end = header.last_offset().to_wire().saturating_add(1);
    let attributes = header.attributes;
    let producer = header.producer_id.map(|id| id.to_wire());
    aborted.advance(header.last_offset().to_wire());
    if attributes.is_control() {
        // A marker ends its producer's transaction.
        aborted.ended(producer);
        return Ok(end);
    }
    if end <= position || (attributes.is_transactional() && aborted.contains(producer)) {
        return Ok(end);
    }
    let kept = records.len();
    let batch = batch::records(bytes)?;
    for record in batch.iter() {
        let record = match record {
            Ok(record) => record,
            Err(error) => {
                records.truncate(kept);
                return Err(error);
            }
        };
        if record.offset.to_wire() < position {
            continue;
        }
        let copy = |part| shared(answer, part);
        let headers = record.headers.clone();
        records.push(ConsumerRecord {
            offset: record.offset.to_wire(),
            timestamp: record.timestamp,
            key: record.key.map(copy),
            value: record.value.map(copy),
            headers: headers.map(|(name, value)| (copy(name), value.map(copy))).collect(),
        });
    }
    Ok(end)
}

/// `part` of `whole`, or a copy, where it lies elsewhere (having been compressed) or is no larger than what it would take to
/// share it.
fn shared(whole: &Bytes, part: &[u8]) -> Bytes {
    /// About what an allocation costs; a small part is not to keep a large answer.
    const COPIED_BYTES_MAX: usize = 128;
    let within = whole.as_ptr_range().contains(&part.as_ptr());
    if within && part.len() > COPIED_BYTES_MAX {
        whole.slice_ref(part)
    } else {
        Bytes::copy_from_slice(part)
    }
}

/// The aborted transactions of one answer.
struct Aborted {
    /// First offset and producer, by offset; those not reached yet.
    ahead: BTreeSet<(i64, i64)>,
    /// Producers whose transaction at the current offset was aborted.
    open: BTreeSet<i64>,
}

impl Aborted {
    fn new(read_committed: bool, data: &PartitionData) -> Aborted {
        let listed = data.aborted_transactions.iter().flatten().filter(|_| read_committed);
        let ahead = listed.map(|one| (one.first_offset, one.producer_id)).collect();
        Aborted { ahead, open: BTreeSet::new() }
    }

    fn advance(&mut self, offset: i64) {
        while let Some((first, producer)) = self.ahead.first().copied() {
            if first > offset {
                break;
            }
            self.ahead.pop_first();
            self.open.insert(producer);
        }
    }

    fn contains(&self, producer: Option<i64>) -> bool {
        producer.is_some_and(|producer| self.open.contains(&producer))
    }

    fn ended(&mut self, producer: Option<i64>) {
        if let Some(producer) = producer {
            self.open.remove(&producer);
        }
    }
}

fn refused(peer: &Peer, subject: String, code: Code) -> ApiError {
    let (peer, api) = (peer.clone(), FetchRequest::API);
    ApiError::Refused { peer, api, subject, code, message: None }
}
