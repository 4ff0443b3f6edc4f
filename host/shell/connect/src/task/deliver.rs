//! Delivering what an outbox entry holds: batch by batch in each partition, under the entry's own producer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::client::Lane;
use brooklet_client::partitioner::partition_of_key;
use brooklet_client::request::Call as _;
use brooklet_client::{Admin, ApiError, Code};
use brooklet_hook::task::Rejected;
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::batch::{number, records};
use brooklet_wire::message::{
    ProduceRequest, make,
    produce_request::{PartitionProduceData, TopicProduceData},
    produce_response::PartitionProduceResponse,
};
use bytes::Bytes;

use super::place::{Filling, slices};
use super::{Task, Trouble};
use crate::backoff::Backoff;
use crate::dead::Lost;
use crate::outbox::{Batch, Entry, Outbox, Partition, ROUNDS_MAX};

/// What the broker said about a batch.
enum Answer {
    Stored,
    /// It will take others, but not these records.
    Refused(Vec<Rejected>),
    /// It is longer than the topic allows.
    TooLarge,
}

/// Makes sure that topics are there: like Kafka's, a connector makes those it writes to.
pub(super) async fn make_topics(task: &Task, topics: &[String]) -> Result<(), Trouble> {
    let admin = Admin::new(task.world.client.clone());
    for name in topics {
        match task.world.client.topic(name).await {
            Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {}
            known => {
                known?;
                continue;
            }
        }
        let new = NewTopic {
            name: name.clone(),
            partitions: None,
            replication: None,
            settings: Vec::new(),
        };
        match admin.create_topic(&new, false).await {
            Err(error) if error.code() != Some(ErrorCode::TopicAlreadyExists) => {
                return Err(error.into());
            }
            Ok(_) | Err(_) => {}
        }
    }
    Ok(())
}

/// Delivers all batches of an entry that is in the outbox. When this returns the entry holds none, and the outbox
/// is told with the next one.
pub(super) async fn deliver(
    task: &Task,
    outbox: &Outbox,
    key: &str,
    entry: &mut Entry,
) -> Result<(), Trouble> {
    let mut rounds = 0;
    while !entry.batches.is_empty() {
        if rounds == ROUNDS_MAX {
            outbox.put(key, entry).await?;
            rounds = 0;
        }
        rounds += 1;
        let (round, later) = next_round(std::mem::take(&mut entry.batches));
        entry.batches = later;
        let answers = send(task, entry, &round).await;
        let answers = match answers {
            Ok(answers) => answers,
            Err(trouble) => {
                // Nobody knows whether they have arrived.
                entry.batches.splice(0..0, round);
                return Err(trouble);
            }
        };
        let mut again = Vec::new();
        for (batch, answer) in round.into_iter().zip(answers) {
            match answer {
                Answer::Stored => {
                    entry.delivered(&batch);
                    task.count(usize::try_from(batch.records).unwrap_or(0));
                }
                Answer::TooLarge if batch.records > 1 => again.extend(singly(&batch)?),
                Answer::TooLarge => {
                    let reject = Rejected {
                        index: 0,
                        code: "too-large".to_owned(),
                        message: "longer than the topic's max.message.bytes".to_owned(),
                    };
                    again.extend(without(task, &batch, &[reject]).await?);
                }
                Answer::Refused(rejects) => again.extend(without(task, &batch, &rejects).await?),
            }
        }
        if !again.is_empty() {
            entry.batches.splice(0..0, again);
            // What is sent next under these numbers is what the outbox has to have.
            outbox.put(key, entry).await?;
            rounds = 0;
        }
    }
    Ok(())
}

/// The first batch of each partition, and the others.
fn next_round(batches: Vec<Batch>) -> (Vec<Batch>, Vec<Batch>) {
    let mut taken = std::collections::BTreeSet::new();
    batches.into_iter().partition(|batch| taken.insert(batch.partition.clone()))
}

/// Sends batches, one of each partition, until each is answered; the answers are in their order.
async fn send(task: &Task, entry: &Entry, round: &[Batch]) -> Result<Vec<Answer>, Trouble> {
    let client = &task.world.client;
    let deadline = Instant::now() + client.config().retry_timeout;
    let mut backoff = Backoff::up_to(Duration::from_secs(1));
    let mut answers: BTreeMap<usize, Answer> = BTreeMap::new();
    loop {
        let waiting = round.iter().enumerate().filter(|(index, _)| !answers.contains_key(index));
        let waiting: Vec<(usize, &Batch)> = waiting.collect();
        let Some(problem) = send_once(task, entry, &waiting, &mut answers).await.err() else {
            return Ok(answers.into_values().collect());
        };
        for (_, batch) in waiting {
            client.forget_topic(&batch.partition.0);
        }
        if !client.may_retry(&problem) || Instant::now() >= deadline {
            return Err(problem.into());
        }
        if task.pause(backoff.next()).await {
            return Err(Trouble::later("asked to stop"));
        }
    }
}

/// Sends what waits once; the error is the last of those that may heal, or the one that won't.
async fn send_once(
    task: &Task,
    entry: &Entry,
    waiting: &[(usize, &Batch)],
    answers: &mut BTreeMap<usize, Answer>,
) -> Result<(), ApiError> {
    let client = &task.world.client;
    let mut leaders: BTreeMap<BrokerId, Vec<(usize, &Batch)>> = BTreeMap::new();
    for &(index, batch) in waiting {
        let (leader, _) = client.leader(&batch.partition.0, batch.partition.1).await?;
        leaders.entry(leader).or_default().push((index, batch));
    }
    let mut outcome = Ok(());
    for (leader, batches) in leaders {
        let connection = client.broker(leader, &Lane::COMMON).await?;
        let timeout = client.config().request_timeout;
        let request = request(entry, &batches, timeout);
        let response = connection.call(&request).await?;
        for (index, batch) in batches {
            let (topic, partition) = &batch.partition;
            let of_topic = response.responses.iter().find(|it| *it.name == **topic);
            let mut results = of_topic.into_iter().flat_map(|it| &it.partition_responses);
            let result = results.find(|it| u32::try_from(it.index) == Ok(*partition));
            let peer = connection.peer().clone();
            let (api, subject) = (ProduceRequest::API, format!("partition {partition} of {topic}"));
            let Some(result) = result else {
                return Err(ApiError::Incomplete { peer, api, subject });
            };
            match answer(result) {
                Ok(answer) => {
                    answers.insert(index, answer);
                }
                Err(code) => {
                    let message = result.error_message.as_ref().map(ToString::to_string);
                    outcome = Err(ApiError::Refused { peer, api, subject, code, message });
                }
            }
        }
    }
    outcome
}

fn request(entry: &Entry, batches: &[(usize, &Batch)], timeout: Duration) -> ProduceRequest {
    let mut topics: BTreeMap<&str, Vec<PartitionProduceData>> = BTreeMap::new();
    for (_, batch) in batches {
        let (id, epoch) = entry.producer;
        let bytes = number(&batch.bytes, id, epoch, entry.sequence(&batch.partition));
        topics.entry(&batch.partition.0).or_default().push(make(
            |data: &mut PartitionProduceData| {
                data.index = i32::try_from(batch.partition.1).unwrap_or(i32::MAX);
                data.records = Some(bytes);
            },
        ));
    }
    let of_topic = |(name, data): (&str, Vec<PartitionProduceData>)| {
        make(|topic: &mut TopicProduceData| {
            topic.name = name.into();
            topic.partition_data = data;
        })
    };
    make(|request: &mut ProduceRequest| {
        request.acks = -1;
        request.timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
        request.topic_data = topics.into_iter().map(of_topic).collect();
    })
}

/// What an answer means; the error is a code that says nothing about the records.
fn answer(result: &PartitionProduceResponse) -> Result<Answer, Code> {
    let code = Code(result.error_code);
    match code.known() {
        Some(ErrorCode::None | ErrorCode::DuplicateSequenceNumber) => Ok(Answer::Stored),
        Some(ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge) => Ok(Answer::TooLarge),
        Some(ErrorCode::InvalidRecord | ErrorCode::InvalidTimestamp) => {
            let message = result.error_message.as_ref().map(ToString::to_string);
            let message = message.unwrap_or_else(|| code.to_string());
            let of_record = result.record_errors.iter().map(|error| Rejected {
                index: usize::try_from(error.batch_index).unwrap_or(usize::MAX),
                code: code.to_string(),
                message: error
                    .batch_index_error_message
                    .as_ref()
                    .map_or_else(|| message.clone(), ToString::to_string),
            });
            let mut rejects: Vec<Rejected> = of_record.collect();
            if rejects.is_empty() {
                // It is about all of them.
                rejects.push(Rejected { index: usize::MAX, code: code.to_string(), message });
            }
            Ok(Answer::Refused(rejects))
        }
        Some(_) | None => Err(code),
    }
}

/// Each record in a batch of its own.
fn singly(batch: &Batch) -> Result<Vec<Batch>, Trouble> {
    let broken = |error| Trouble::later(format!("a batch of the outbox: {error}"));
    let mut singles = Vec::new();
    for record in records(&batch.bytes).map_err(broken)?.iter() {
        let record = record.map_err(broken)?;
        let headers: Vec<_> = record.headers.clone().collect();
        let mut filling = Filling::default();
        let time = record.timestamp.0;
        let pushed =
            filling.push(batch.partition.clone(), time, record.key, record.value, &headers);
        pushed.map_err(broken)?;
        singles.extend(filling.finish().map_err(broken)?);
    }
    Ok(singles)
}

/// The batch without the records that were refused, if any are left, and behind it their burial, if they get one.
/// An index that no record has stands for all of them.
async fn without(task: &Task, batch: &Batch, rejects: &[Rejected]) -> Result<Vec<Batch>, Trouble> {
    let broken = |error| Trouble::later(format!("a batch of the outbox: {error}"));
    let whole = rejects.iter().find(|reject| reject.index >= batch.records as usize);
    let mut filling = Filling::default();
    let mut dead = Vec::new();
    for (index, record) in records(&batch.bytes).map_err(broken)?.iter().enumerate() {
        let record = record.map_err(broken)?;
        match whole.or_else(|| rejects.iter().find(|reject| reject.index == index)) {
            Some(reject) => {
                let owned = |bytes: &[u8]| Bytes::copy_from_slice(bytes);
                let lost = Lost {
                    topic: batch.partition.0.clone(),
                    partition: Some(batch.partition.1),
                    offset: None,
                    timestamp: record.timestamp.0,
                    key: record.key.map(owned),
                    value: record.value.map(owned),
                    headers: record
                        .headers
                        .clone()
                        .map(|(name, value)| (owned(name), value.map(owned)))
                        .collect(),
                    stage: "TASK_PUT",
                    code: String::new(),
                    message: String::new(),
                };
                dead.push(lost.because(reject));
            }
            None => {
                let headers: Vec<_> = record.headers.clone().collect();
                let (partition, time) = (batch.partition.clone(), record.timestamp.0);
                let pushed = filling.push(partition, time, record.key, record.value, &headers);
                pushed.map_err(broken)?;
            }
        }
    }
    let mut batches = filling.finish().map_err(broken)?;
    batches.extend(burial(task, &dead).await?);
    Ok(batches)
}

/// The batches that bury records, if they are tolerated and there is a place for them.
pub(super) async fn burial(task: &Task, dead: &[Lost]) -> Result<Vec<Batch>, Trouble> {
    if let Some(topic) = &task.config.errors.dead_letters
        && dead.iter().any(|lost| lost.topic == *topic)
    {
        // Buried again and again, they would never come to rest.
        let problem = format!("{} (it is the topic for such records itself)", dead[0].told());
        return Err(Trouble::for_a_person(problem));
    }
    task.tolerate(dead)?;
    let Some(topic) = task.config.errors.dead_letters.as_ref().filter(|_| !dead.is_empty()) else {
        return Ok(Vec::new());
    };
    let metadata = task.world.client.topic(topic).await?;
    let count = u32::try_from(metadata.partitions.len()).unwrap_or(u32::MAX).max(1);
    let mut filling = Filling::default();
    let config = &task.config;
    for lost in dead {
        let partition = lost.key.as_ref().map_or(0, |key| partition_of_key(key, count));
        let headers = lost.headers(&config.errors, &task.connector, task.id, &config.class);
        let (key, value) = (lost.key.as_deref(), lost.value.as_deref());
        let place: Partition = (topic.clone(), partition);
        let pushed = filling.push(place, lost.timestamp, key, value, &slices(&headers));
        pushed.map_err(|error| Trouble::later(format!("a dead letter: {error}")))?;
    }
    filling.finish().map_err(|error| Trouble::later(format!("a dead letter: {error}")))
}
