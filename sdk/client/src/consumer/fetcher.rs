//! The task that fetches from one broker, on one part of the consumer's lane, what it is told to, until its orders end.
//!
//! Each has a [`Session`] of its own, as each has requests of its own under way. While one answer is read the next is asked
//! for: where it begins is known from the headers of batches. Other orders may come at any time; an answer that is under way then
//! is still about what was asked before, and as much of it is taken as fits the new ones.
//!
//! The first thing it cannot handle itself it reports, and waits for other orders. **Invariant:** what is not taken of an answer
//! is asked for again.

use std::collections::{BTreeMap, BTreeSet};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::batch::BatchError;
use brooklet_wire::message::{
    FetchRequest, FetchResponse,
    fetch_request::{FetchPartition, FetchTopic, ForgottenTopic},
    fetch_response::PartitionData,
    make,
};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use super::records::{self, BadBatch, Read};
use super::session::{Ask, FINAL_EPOCH, Session};
use super::{ConsumerConfig, PartitionRecords};
use crate::client::{Client, Lane};
use crate::connection::Connection;
use crate::error::{ApiError, Code, Peer};
use crate::offsets::Partition;
use crate::request::Call;

/// How long it may take to say that a session is over. A broker that does not hear of it forgets it after a while.
pub(crate) const LEAVE_MAX: Duration = Duration::from_secs(1);

/// Where partitions are to be read from: the offset, and the epoch of the leader that was asked about it.
pub(crate) type Positions = BTreeMap<Partition, (i64, i32)>;

/// What is to be fetched, and who takes it.
#[derive(Clone)]
pub(crate) struct Orders {
    pub(crate) consumer: ConsumerConfig,
    pub(crate) positions: Positions,
    /// Closed once other orders are about to come.
    pub(crate) queue: mpsc::Sender<Fetched>,
}

/// What a fetch came to.
pub(crate) enum Fetched {
    Records(PartitionRecords),
    Bad { topic: Arc<str>, partition: u32, offset: i64, source: BatchError },
    OutOfRange { topic: Arc<str>, partition: u32, offset: i64 },
    Failed { topic: Option<String>, error: ApiError },
}

/// Fetches from `leader` what the orders say, in turn and for ever; until there is nobody who gives orders.
pub(crate) async fn run(
    client: Client,
    lane: Lane,
    leader: BrokerId,
    mut orders: watch::Receiver<Orders>,
) {
    let session = Session::default();
    let mut fetcher = Fetcher { client, lane, leader, session, connection: None, under_way: None };
    loop {
        let current = orders.borrow_and_update().clone();
        let changed = tokio::select! {
            // Given up half way, it leaves behind either a request under way or a session that knows of a lost one.
            () = fetcher.follow(current) => orders.changed().await,
            // Cancel-safe: a change is seen until it is taken above.
            changed = orders.changed() => changed,
        };
        if changed.is_err() {
            return fetcher.leave().await;
        }
    }
}

type Answer = Pin<Box<dyn Future<Output = Result<FetchResponse, ApiError>> + Send>>;

struct Fetcher {
    client: Client,
    lane: Lane,
    leader: BrokerId,
    session: Session,
    /// What the last request went over.
    connection: Option<Connection>,
    /// The answer to it, until it is there.
    under_way: Option<Answer>,
}

/// What an answer has of one partition, and from where on it was asked for.
struct Part {
    name: Arc<str>,
    partition: Partition,
    from: i64,
    data: PartitionData,
}

impl Fetcher {
    /// Fetches until something is to be decided elsewhere, or nobody takes it any more.
    async fn follow(&mut self, mut orders: Orders) {
        loop {
            let (peer, response) = match self.answer(&orders).await {
                Ok(Some(answer)) => answer,
                Ok(None) => continue,
                Err(error) => {
                    // A consumer that has gone needs no report.
                    let _ = orders.queue.send(Fetched::Failed { topic: None, error }).await;
                    return;
                }
            };
            let parts = self.sort(response, &mut orders.positions);
            // While this is read, and until somebody takes it, the broker gets the next together: one answer more in memory.
            if parts.iter().all(|part| part.data.error_code == 0) {
                // What is wrong with it is found out, and said, when it is waited for.
                let _ = self.ask(&orders).await;
            }
            for Part { name, partition, from, data } in parts {
                let fetched = take(&orders.consumer, &peer, &name, partition.1, from, &data);
                let (reached, is_trouble) = match &fetched {
                    None => (from, false),
                    Some(Fetched::Records(records)) => (records.next_offset, false),
                    Some(
                        Fetched::Bad { .. } | Fetched::OutOfRange { .. } | Fetched::Failed { .. },
                    ) => (from, true),
                };
                // Where something in it cannot be read, what was asked for lies behind it.
                orders.positions.entry(partition).and_modify(|(position, _)| *position = reached);
                if let Some(fetched) = fetched
                    && (orders.queue.send(fetched).await.is_err() || is_trouble)
                {
                    return;
                }
            }
        }
    }

    /// Waits for the answer that is under way, or to another request; none where it has to be asked again, for everything.
    async fn answer(&mut self, orders: &Orders) -> Result<Option<(Peer, FetchResponse)>, ApiError> {
        if self.under_way.is_none() {
            self.ask(orders).await?;
        }
        let (Some(answer), Some(connection)) = (&mut self.under_way, &self.connection) else {
            unreachable!("what was asked is under way")
        };
        let answered = answer.await;
        self.under_way = None;
        let response = answered.inspect_err(|_| self.session.lost())?;
        let peer = connection.peer().clone();
        let Err(code) = Code(response.error_code).check() else {
            return Ok(Some((peer, response)));
        };
        if self.session.refused(code) {
            tracing::debug!(%peer, %code, "a fetch session starts over");
            return Ok(None);
        }
        Err(refused(&peer, "all partitions".to_owned(), code))
    }

    /// Sends the next request.
    async fn ask(&mut self, orders: &Orders) -> Result<(), ApiError> {
        let request = request(&orders.consumer, self.session.ask(&orders.positions));
        let within = self.client.config().request_timeout + orders.consumer.fetch_wait;
        let asked = async {
            let connection = self.client.broker(self.leader, &self.lane).await?;
            let pending = connection.submit(&request, within).await?;
            Ok::<_, ApiError>((connection, pending))
        };
        let (connection, pending) = asked.await.inspect_err(|_| self.session.lost())?;
        self.connection = Some(connection);
        self.under_way = Some(Box::pin(async { Ok(pending.answer().await?) }));
        Ok(())
    }

    /// What is to be read of an answer; the positions are then behind that.
    fn sort(&mut self, response: FetchResponse, positions: &mut Positions) -> Vec<Part> {
        let id = response.session_id;
        let mut about = BTreeSet::new();
        let mut parts = Vec::new();
        for topic in response.responses {
            let name: Arc<str> = Arc::from(&*topic.topic);
            for data in topic.partitions {
                let Ok(index) = u32::try_from(data.partition_index) else { continue };
                let partition = (name.to_string(), index);
                about.insert(partition.clone());
                let asked = self.session.position(&partition);
                let Some((position, _)) = positions.get_mut(&partition) else { continue };
                if asked != Some(*position) {
                    // Somebody has sought meanwhile.
                    continue;
                }
                let from = std::mem::replace(position, records::readable_end(*position, &data));
                parts.push(Part { name: name.clone(), partition, from, data });
            }
        }
        self.session.answered(id, &about);
        parts
    }

    /// Tells the broker that the session is over, if that can be done at once.
    async fn leave(self) {
        let (Some(id), Some(connection)) = (self.session.left(), self.connection) else { return };
        let request = make(|request: &mut FetchRequest| {
            request.replica_id = -1;
            request.session_id = id;
            request.session_epoch = FINAL_EPOCH;
        });
        // Of a connection that has ended, or does not take it, there is nothing more to say.
        let _ = timeout(LEAVE_MAX, connection.submit(&request, LEAVE_MAX)).await;
    }
}

fn request(config: &ConsumerConfig, ask: Ask) -> FetchRequest {
    let mut topics: Vec<FetchTopic> = Vec::new();
    for ((topic, index), (offset, epoch)) in ask.named {
        let wire = make(|wire: &mut FetchPartition| {
            wire.partition = wire_index(index);
            wire.current_leader_epoch = epoch;
            wire.fetch_offset = offset;
            wire.partition_max_bytes = wire_bytes(config.partition_bytes_max);
        });
        match topics.iter_mut().find(|wire| *wire.topic == *topic) {
            Some(known) => known.partitions.push(wire),
            None => topics.push(make(|known: &mut FetchTopic| {
                known.topic = topic.into();
                known.partitions = vec![wire];
            })),
        }
    }
    let mut forgotten: Vec<ForgottenTopic> = Vec::new();
    for (topic, index) in ask.forgotten {
        match forgotten.last_mut() {
            // They come in order.
            Some(known) if *known.topic == *topic => known.partitions.push(wire_index(index)),
            Some(_) | None => forgotten.push(make(|known: &mut ForgottenTopic| {
                known.topic = topic.into();
                known.partitions = vec![wire_index(index)];
            })),
        }
    }
    make(|request: &mut FetchRequest| {
        request.replica_id = -1;
        request.max_wait_ms = i32::try_from(config.fetch_wait.as_millis()).unwrap_or(i32::MAX);
        request.min_bytes = wire_bytes(config.fetch_bytes_min);
        request.max_bytes = wire_bytes(config.fetch_bytes_max);
        request.isolation_level = i8::from(config.read_committed);
        request.session_id = ask.id;
        request.session_epoch = ask.epoch;
        request.topics = topics;
        request.forgotten_topics_data = forgotten;
    })
}

fn wire_index(partition: u32) -> i32 {
    i32::try_from(partition).unwrap_or(i32::MAX)
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
    let topic = topic.clone();
    match records::read(config, position, data) {
        Ok(Read { records, next_offset }) => (next_offset > position).then(|| {
            let high_watermark = data.high_watermark;
            Fetched::Records(PartitionRecords {
                topic,
                partition,
                records,
                next_offset,
                high_watermark,
            })
        }),
        Err(BadBatch { offset, source }) => Some(Fetched::Bad { topic, partition, offset, source }),
    }
}

fn refused(peer: &Peer, subject: String, code: Code) -> ApiError {
    let (peer, api) = (peer.clone(), FetchRequest::API);
    ApiError::Refused { peer, api, subject, code, message: None }
}
