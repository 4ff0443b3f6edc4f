//! Produce: batches on their way to a log.
//!
//! **Decides** what can be refused without asking the partition, and where plugins see a batch: one
//! of the record path's two call sites. **Never** touches a batch that passes.
//!
//! **Invariants.** [`begin`] returns with every accepted batch in its shard's queue, so batches of one
//! connection are stored in the order they were sent. Each partition of the request is answered
//! once, in the request's order. The request's `timeout_ms` bounds the wait for other brokers'
//! copies; the wait for our own disk it does not bound in Kafka either.

mod placing;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_hook::{Checked, Entered, Place, Rejection};
use brooklet_io::DataFolder;
use brooklet_log::validate::{TopicRules, ValidateError, ValidatedBatch, validate};
use brooklet_meta::setting::effective::{Compression, EffectiveTopicSettings};
use brooklet_meta::{Cluster, Topic};
use brooklet_shard::input::{Acks, OffsetQuery, Place::Earliest, Slot};
use brooklet_shard::output::{Produced, Refusal};
use brooklet_types::{
    ErrorCode, Operation, PartitionIndex, ResourceType, TopicName, TopicPartition,
};
use brooklet_wire::batch::TimestampType;
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{ProduceRequest, ProduceResponse, make, produce_response};
use bytes::Bytes;

use super::{dead, hints, place};
use crate::access::May;
use crate::context::Call;
use crate::shards::Producing;

/// The index of a partition that is still to be chosen.
const UNPLACED: i32 = -1;
/// From here on topics are named by id.
const IDS_SINCE: i16 = 13;
/// Zstandard is for clients that know version 7 of this request.
const ZSTD_SINCE: i16 = 7;
/// The response tells where a log starts from this version on.
const LOG_START_SINCE: i16 = 5;

/// A Produce that has its place in line.
#[derive(Default)]
pub(crate) struct Begun {
    acks: Option<Acks>,
    /// With every refusal in it; accepted partitions are filled in when the shards have answered.
    response: ProduceResponse,
    /// Where in `response` each slot is, and what is counted once it is stored.
    slots: Vec<Accepted>,
    /// Refused in a log's words: whose start is still to be told, and where in `response`.
    unstarted: Vec<(usize, usize, TopicPartition)>,
    producing: Option<Producing<DataFolder>>,
    refused: bool,
}

struct Accepted {
    topic: usize,
    partition: usize,
    name: TopicName,
    records: u32,
    bytes: usize,
}

/// What the client gets.
pub(crate) enum Finished {
    Reply(ProduceResponse),
    Silence,
    Close,
}

/// Why a batch does not reach its partition.
struct Refused {
    code: ErrorCode,
    message: Option<String>,
    records: Vec<u32>,
    /// What is wrong with each of them, if it is not the same for all.
    told: Vec<String>,
    /// Kafka's log would have refused it, and have told where it starts.
    by_log: bool,
}

impl Refused {
    fn new(code: ErrorCode, message: String) -> Refused {
        Refused {
            code,
            message: Some(message),
            records: Vec::new(),
            told: Vec::new(),
            by_log: false,
        }
    }
}

impl From<Rejection> for Refused {
    fn from(rejection: Rejection) -> Refused {
        let records: Vec<u32> = rejection.records.iter().map(|(index, _)| *index).collect();
        let code = if rejection.is_of_the_moment {
            // What every producer tries again.
            ErrorCode::RequestTimedOut
        } else {
            ErrorCode::InvalidRecord
        };
        let mut refused = Refused::new(code, rejection.message);
        refused.records = records;
        refused.told = rejection.records.into_iter().map(|(_, message)| message).collect();
        refused
    }
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: None, records: Vec::new(), told: Vec::new(), by_log: false }
    }
}

impl From<ValidateError> for Refused {
    fn from(error: ValidateError) -> Refused {
        let records = error.records().to_vec();
        let by_log = error.is_told_by_a_log();
        let (code, message) = (error.code(), Some(error.to_string()));
        Refused { code, message, records, told: Vec::new(), by_log }
    }
}

/// Checks every batch and gives those that pass their place in line.
pub(crate) async fn begin(call: &Call, request: ProduceRequest) -> Begun {
    let acks = acks(request.acks);
    let timeout_ms = u64::try_from(request.timeout_ms).unwrap_or_default();
    let timeout = Duration::from_millis(timeout_ms);
    let cluster = call.cluster();
    let mut begun = Begun { acks, ..Begun::default() };
    let mut batches = Vec::new();
    let mut seen = BTreeSet::new();
    // Held until every batch is in line.
    let may = call.may(&cluster);
    let entered = enter(call, &cluster, &may, &request).await;
    for topic_data in request.topic_data {
        let named = (&*topic_data.name, topic_data.topic_id);
        let by_id = call.version >= IDS_SINCE;
        let topic = place::permitted(&may, Operation::Write, &cluster, named, by_id);
        let plugins = topic.ok().and_then(|topic| entered.get(&topic.name)).map(AsRef::as_ref);
        let mut answered = make(|it: &mut produce_response::TopicProduceResponse| {
            it.name = topic_data.name.clone();
            it.topic_id = topic_data.topic_id;
        });
        for data in topic_data.partition_data {
            let at = (begun.response.responses.len(), answered.partition_responses.len());
            if let (UNPLACED, Ok(topic), Some(plugins), Some(_)) =
                (data.index, topic, plugins, acks)
                && let Some(placed) =
                    Box::pin(placing::distribute(call, &cluster, topic, &data, plugins)).await
            {
                let placed = placed.and_then(|placed| placing::once(topic, placed, &mut seen));
                let mut response = blank(data.index);
                batches.extend(begun.spread(call, at, topic, placed, &mut response));
                answered.partition_responses.push(response);
                continue;
            }
            let found = topic.and_then(|topic| Ok((topic, place::partition(topic, data.index)?)));
            let checked = match (found, acks) {
                (Err(code), _) => Err(code.into()),
                (_, None) => Err(ErrorCode::InvalidRequiredAcks.into()),
                (Ok((topic, partition)), _) if !seen.insert(partition) => {
                    let message = format!("{}-{} is named twice", topic.name, data.index);
                    Err(Refused::new(ErrorCode::InvalidRequest, message))
                }
                (Ok((topic, partition)), _) => {
                    let records = data.records.unwrap_or_default();
                    let batch = take(call, &cluster, topic, partition, records, plugins).await;
                    batch.map(|batch| (topic, partition, batch))
                }
            };
            let mut partition_response = blank(data.index);
            match checked {
                Err(refused) => {
                    if let (true, Ok((_, partition))) = (refused.by_log, found) {
                        begun.unstarted.push((at.0, at.1, partition));
                    }
                    begun.refuse(call, &mut partition_response, refused);
                }
                Ok((topic, partition, batch)) => {
                    let slot = begun.accept(at, topic, &batch);
                    batches.push((slot, (partition, batch)));
                }
            }
            answered.partition_responses.push(partition_response);
        }
        if !answered.partition_responses.is_empty() {
            begun.response.responses.push(answered);
        }
    }
    if let (Some(acks), false) = (acks, batches.is_empty()) {
        // An error means that the broker is stopping; `finish` sees that nothing is on its way.
        begun.producing = call.context.shards.produce(batches, (acks, timeout)).await.ok();
    }
    begun
}

/// Comes in with every topic of the request that has plugins, in the order of their names: two requests that
/// each waited for the other's topic would wait for ever.
async fn enter(
    call: &Call,
    cluster: &Cluster,
    may: &May<'_>,
    request: &ProduceRequest,
) -> BTreeMap<TopicName, Box<dyn Entered>> {
    let by_id = call.version >= IDS_SINCE;
    let mut hooked = BTreeMap::new();
    for data in &request.topic_data {
        if let Ok(topic) = place::topic(cluster, &data.name, data.topic_id, by_id)
            && let Some(hook) = call.context.hooks.on_produce(&topic.name)
            && may.sees(Operation::Write, ResourceType::Topic, topic.name.as_str())
        {
            hooked.insert(topic.name.clone(), hook);
        }
    }
    let mut entered = BTreeMap::new();
    for (name, hook) in hooked {
        entered.insert(name, hook.enter().await);
    }
    entered
}

impl Begun {
    /// Makes room for a batch's answer: in which topic's and which partition's.
    fn accept(
        &mut self,
        (topic, partition): (usize, usize),
        of: &Topic,
        batch: &ValidatedBatch,
    ) -> Slot {
        let slot = Slot::try_from(self.slots.len()).expect("frames are limited");
        self.slots.push(Accepted {
            topic,
            partition,
            name: of.name.clone(),
            records: batch.header().record_count,
            bytes: batch.bytes().len(),
        });
        slot
    }

    /// Makes room for the batches of a partitioner, which share one answer.
    fn spread(
        &mut self,
        call: &Call,
        at: (usize, usize),
        topic: &Topic,
        placed: Result<Vec<(TopicPartition, ValidatedBatch)>, Refused>,
        response: &mut produce_response::PartitionProduceResponse,
    ) -> Vec<(Slot, (TopicPartition, ValidatedBatch))> {
        let placed = placed.unwrap_or_else(|refused| {
            self.refuse(call, response, refused);
            Vec::new()
        });
        let place = |(partition, batch)| (self.accept(at, topic, &batch), (partition, batch));
        placed.into_iter().map(place).collect()
    }

    /// Waits until the batches are as safe as was asked for.
    pub(crate) async fn finish(mut self, call: &Call) -> Finished {
        if !self.slots.is_empty() {
            let Some(producing) = self.producing.take() else { return Finished::Close };
            // With acks=0 the shard answers too, so that an error can close the connection.
            let Ok(results) = producing.results().await else { return Finished::Close };
            for (slot, result) in results {
                self.settle(call, slot, result);
            }
        }
        self.tell_starts(call).await;
        match self.acks {
            Some(Acks::None) if self.refused => Finished::Close,
            Some(Acks::None) => Finished::Silence,
            Some(Acks::Leader | Acks::All) | None => {
                hints::produce(call, &mut self.response);
                Finished::Reply(self.response)
            }
        }
    }

    /// Asks the logs of batches that were refused before they came near one where they start.
    async fn tell_starts(&mut self, call: &Call) {
        if self.unstarted.is_empty() || call.version < LOG_START_SINCE {
            return;
        }
        let earliest = |(slot, (.., id)): (Slot, &(usize, usize, TopicPartition))| {
            (slot, (*id, OffsetQuery { place: Earliest, current_epoch: None }))
        };
        let queries = (0..).zip(&self.unstarted).map(earliest).collect();
        // An error means that the broker is stopping: the client has its answer without this.
        let found = call.context.shards.list_offsets(queries).await.unwrap_or_default();
        for (slot, result) in found {
            let (topic, partition, _) = self.unstarted[slot as usize];
            let response = &mut self.response.responses[topic].partition_responses[partition];
            let start = result.ok().and_then(|found| found.offset);
            response.log_start_offset = start.map_or(-1, |start| start.to_wire());
        }
    }

    fn settle(&mut self, call: &Call, slot: Slot, result: Result<Produced, Refusal>) {
        let accepted = &self.slots[slot as usize];
        let topic = &mut self.response.responses[accepted.topic];
        let response = &mut topic.partition_responses[accepted.partition];
        match result {
            Ok(produced) => {
                call.context.metrics.produced(&accepted.name, accepted.records, accepted.bytes);
                if response.index == UNPLACED {
                    // Its records are in several partitions: no one offset is theirs.
                    return;
                }
                response.base_offset = produced.base.to_wire();
                response.log_append_time_ms = produced.log_append_time.map_or(-1, |time| time.0);
                response.log_start_offset = produced.log_start.to_wire();
            }
            Err(refusal) => {
                self.refused = true;
                response.error_code = call.code(refusal.code);
                response.error_message = Some(refusal.message.into());
                response.log_start_offset = refusal.log_start.map_or(-1, |start| start.to_wire());
            }
        }
    }

    fn refuse(
        &mut self,
        call: &Call,
        response: &mut produce_response::PartitionProduceResponse,
        refused: Refused,
    ) {
        self.refused = true;
        response.error_code = call.code(refused.code);
        for (place, index) in refused.records.into_iter().enumerate() {
            let index = i32::try_from(index).expect("records are counted in an i32");
            let own = refused.told.get(place).or(refused.message.as_ref());
            let message = own.map(|message| message.as_str().into());
            let error = make(|it: &mut produce_response::BatchIndexAndErrorMessage| {
                it.batch_index = index;
                it.batch_index_error_message = message;
            });
            response.record_errors.push(error);
        }
        response.error_message = refused.message.map(Into::into);
    }
}

/// Everything that can be refused here.
fn check(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    records: Bytes,
) -> Result<ValidatedBatch, Refused> {
    if topic.name.is_internal() {
        let message = format!("Cannot append to internal topic {}", topic.name);
        return Err(Refused::new(ErrorCode::InvalidTopicException, message));
    }
    if topic.view_of.is_some() {
        let message = format!("{} is a view: it can only be read", topic.name);
        return Err(Refused::new(ErrorCode::PolicyViolation, message));
    }
    let sent = records.clone();
    let batch = validate(records, &call.rules(cluster, topic), call.timestamp())?;
    if batch.header().attributes.is_transactional() {
        // Only who owns a transactional id may write such a batch, and there are none yet.
        return Err(ErrorCode::TransactionalIdAuthorizationFailed.into());
    }
    // Asked of what was sent, not of what a topic's own codec has made of it.
    let zstd = brooklet_wire::batch::BatchHeader::parse(&sent)
        .is_ok_and(|header| header.attributes.codec() == Ok(Codec::Zstd));
    if zstd && call.version < ZSTD_SINCE {
        return Err(ErrorCode::UnsupportedCompressionType.into());
    }
    Ok(batch)
}

/// A batch as it may be stored, checked and seen by the topic's plugins.
async fn take(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    partition: TopicPartition,
    records: Bytes,
    plugins: Option<&dyn Entered>,
) -> Result<ValidatedBatch, Refused> {
    if plugins.is_some() {
        // Its leader's plugins see it, and what they do is done once.
        place::led(call, cluster, topic, partition)?;
    }
    let batch = check(call, cluster, topic, records)?;
    match plugins {
        // Boxed: every connection has room for this future, and hardly any needs it.
        Some(plugins) => {
            let place = at(topic, partition.partition);
            Box::pin(show(call, cluster, topic, place, batch, plugins)).await
        }
        None => Ok(batch),
    }
}

/// What the topic's plugins make of a batch: one of the record path's two call sites.
async fn show(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    at: Place<'_>,
    batch: ValidatedBatch,
    plugins: &dyn Entered,
) -> Result<ValidatedBatch, Refused> {
    match plugins.check(at, batch.bytes()).await {
        Checked::Pass => Ok(batch),
        Checked::Replace(new) => {
            let stored = dead::store(call, cluster, at, new.dead_letters).await;
            stored.map_err(|message| Refused::new(ErrorCode::PolicyViolation, message))?;
            let limit = call.rules(cluster, topic).batch_bytes_max as usize;
            if new.batch.len() > limit {
                let message =
                    format!("{} bytes after its plugins, {limit} are the most", new.batch.len());
                return Err(Refused::new(ErrorCode::MessageTooLarge, message));
            }
            Ok(ValidatedBatch::trusted(new.batch))
        }
        Checked::Reject(rejection) => Err(rejection.into()),
    }
}

fn at(topic: &Topic, partition: PartitionIndex) -> Place<'_> {
    let partitions = u32::try_from(topic.partitions.len()).expect("partitions are limited");
    Place { topic: &topic.name, partition, partitions, is_placed: false }
}

/// What a topic's settings ask of a batch.
pub(crate) fn rules_of(settings: &EffectiveTopicSettings) -> TopicRules {
    let timestamp_type = if settings.log_append_time {
        TimestampType::LogAppendTime
    } else {
        TimestampType::CreateTime
    };
    TopicRules {
        batch_bytes_max: settings.max_message_bytes,
        segment_bytes: settings.segment_bytes,
        compacted: settings.compact,
        timestamp_type,
        timestamp_before_max_ms: settings.timestamp_before_max_ms,
        timestamp_after_max_ms: settings.timestamp_after_max_ms,
        compression: match settings.compression {
            Compression::Producer => None,
            Compression::Uncompressed => Some((Codec::None, None)),
            Compression::Gzip { level } => Some((Codec::Gzip, level)),
            Compression::Snappy => Some((Codec::Snappy, None)),
            Compression::Lz4 { level } => Some((Codec::Lz4, Some(level))),
            Compression::Zstd { level } => Some((Codec::Zstd, Some(level))),
        },
    }
}

fn acks(raw: i16) -> Option<Acks> {
    match raw {
        0 => Some(Acks::None),
        1 => Some(Acks::Leader),
        -1 => Some(Acks::All),
        _ => None,
    }
}

fn blank(index: i32) -> produce_response::PartitionProduceResponse {
    make(|it: &mut produce_response::PartitionProduceResponse| {
        it.index = index;
        it.base_offset = -1;
        it.log_append_time_ms = -1;
        it.log_start_offset = -1;
    })
}
