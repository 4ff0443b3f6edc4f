//! Produce: batches on their way to a log.
//!
//! **Decides** what can be refused without asking the partition, and where plugins see a batch: one
//! of the record path's two call sites. **Never** touches a batch that passes.
//!
//! **Invariants.** [`begin`] returns with every accepted batch in its shard's queue, so batches of one
//! connection are stored in the order they were sent. Each partition of the request is answered
//! once, in the request's order. The request's `timeout_ms` bounds the wait for other brokers'
//! copies, of which there are none: the wait for our own disk it does not bound in Kafka either.

use std::collections::BTreeSet;

use brooklet_hook::{Place, Verdict};
use brooklet_io::DataFolder;
use brooklet_log::validate::{TopicRules, ValidateError, ValidatedBatch, validate};
use brooklet_meta::setting::effective::{Compression, EffectiveTopicSettings};
use brooklet_meta::{Cluster, Topic};
use brooklet_shard::input::{Acks, Slot};
use brooklet_shard::output::{Produced, Refusal};
use brooklet_types::{ErrorCode, TopicName, TopicPartition};
use brooklet_wire::batch::TimestampType;
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{ProduceRequest, ProduceResponse, make, produce_response};
use bytes::Bytes;

use super::place;
use crate::context::Call;
use crate::shards::Producing;

/// Zstandard is for clients that know version 7 of this request.
const ZSTD_SINCE: i16 = 7;

/// A Produce that has its place in line.
pub(crate) struct Begun {
    acks: Option<Acks>,
    /// With every refusal in it; accepted partitions are filled in when the shards have answered.
    response: ProduceResponse,
    /// Where in `response` each slot is, and what is counted once it is stored.
    slots: Vec<Accepted>,
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
}

impl From<ErrorCode> for Refused {
    fn from(code: ErrorCode) -> Refused {
        Refused { code, message: None, records: Vec::new() }
    }
}

impl From<ValidateError> for Refused {
    fn from(error: ValidateError) -> Refused {
        let records = error.records().to_vec();
        Refused { code: error.code(), message: Some(error.to_string()), records }
    }
}

/// Checks every batch and gives those that pass their place in line.
pub(crate) async fn begin(call: &Call, request: ProduceRequest) -> Begun {
    let acks = acks(request.acks);
    let cluster = call.cluster();
    let mut begun = Begun {
        acks,
        response: ProduceResponse::default(),
        slots: Vec::new(),
        producing: None,
        refused: false,
    };
    let mut batches = Vec::new();
    let mut seen = BTreeSet::new();
    for topic_data in request.topic_data {
        let by_id = call.version >= 13;
        let topic = place::topic(&cluster, &topic_data.name, topic_data.topic_id, by_id);
        let mut answered = make(|it: &mut produce_response::TopicProduceResponse| {
            it.name = topic_data.name.clone();
            it.topic_id = topic_data.topic_id;
        });
        for data in topic_data.partition_data {
            let found = topic.and_then(|topic| Ok((topic, place::partition(topic, data.index)?)));
            let checked = match (found, acks, &request.transactional_id) {
                (_, None, _) => Err(ErrorCode::InvalidRequiredAcks.into()),
                // No transaction was ever begun here: InitProducerId refuses to.
                (_, _, Some(_)) => Err(ErrorCode::InvalidTxnState.into()),
                (Err(code), ..) => Err(code.into()),
                (Ok((topic, partition)), ..) if !seen.insert(partition) => {
                    let message = Some(format!("{}-{} is named twice", topic.name, data.index));
                    Err(Refused { code: ErrorCode::InvalidRequest, message, records: Vec::new() })
                }
                (Ok((topic, partition)), ..) => {
                    let records = data.records.unwrap_or_default();
                    let batch = check(call, &cluster, topic, partition, records).await;
                    batch.map(|batch| (topic, partition, batch))
                }
            };
            let mut partition_response = blank(data.index);
            match checked {
                Err(refused) => begun.refuse(call, &mut partition_response, refused),
                Ok((topic, partition, batch)) => {
                    let slot = Slot::try_from(begun.slots.len()).expect("frames are limited");
                    begun.slots.push(Accepted {
                        topic: begun.response.responses.len(),
                        partition: answered.partition_responses.len(),
                        name: topic.name.clone(),
                        records: batch.header().record_count,
                        bytes: batch.bytes().len(),
                    });
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
        begun.producing = call.context.shards.produce(batches, acks).await.ok();
    }
    begun
}

impl Begun {
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
        match self.acks {
            Some(Acks::None) if self.refused => Finished::Close,
            Some(Acks::None) => Finished::Silence,
            Some(Acks::Leader | Acks::All) | None => Finished::Reply(self.response),
        }
    }

    fn settle(&mut self, call: &Call, slot: Slot, result: Result<Produced, Refusal>) {
        let accepted = &self.slots[slot as usize];
        let topic = &mut self.response.responses[accepted.topic];
        let response = &mut topic.partition_responses[accepted.partition];
        match result {
            Ok(produced) => {
                call.context.metrics.produced(&accepted.name, accepted.records, accepted.bytes);
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
        for index in refused.records {
            let index = i32::try_from(index).expect("records are counted in an i32");
            let message = refused.message.as_deref().map(Into::into);
            let error = make(|it: &mut produce_response::BatchIndexAndErrorMessage| {
                it.batch_index = index;
                it.batch_index_error_message = message;
            });
            response.record_errors.push(error);
        }
        response.error_message = refused.message.map(Into::into);
    }
}

/// Everything that can be refused here, and what the hook says.
async fn check(
    call: &Call,
    cluster: &Cluster,
    topic: &Topic,
    partition: TopicPartition,
    records: Bytes,
) -> Result<ValidatedBatch, Refused> {
    if topic.name.is_internal() {
        let message = Some(format!("Cannot append to internal topic {}", topic.name));
        return Err(Refused {
            code: ErrorCode::InvalidTopicException,
            message,
            records: Vec::new(),
        });
    }
    let mut records = records;
    if call.context.hooks.concern(&topic.name) {
        let place = Place { topic: &topic.name, partition: partition.partition };
        match call.context.hooks.on_produce(place, &records).await {
            Verdict::Pass => {}
            Verdict::Replace(batch) => records = batch,
            Verdict::Reject(message) => {
                let message = Some(message);
                return Err(Refused {
                    code: ErrorCode::InvalidRecord,
                    message,
                    records: Vec::new(),
                });
            }
        }
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
