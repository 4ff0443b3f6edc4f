//! The task that sends batches and hears what became of them.
//!
//! It owns the windows of all partitions, the producer's identity and the queues to the brokers. A
//! worker for each [`Route`] keeps the order of requests; answers come back as [`Answer`]s over one channel.
//!
//! **Invariant.** A partition's batches that are in flight are so on one route: where its leader moves, or the way there changes, the
//! next batch waits until all before it have been answered.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::{BrokerId, ErrorCode, ProducerEpoch, Timestamp};
use brooklet_wire::batch;
use brooklet_wire::message::{
    ProduceRequest, ProduceResponse, StrBytes, make,
    produce_request::{PartitionProduceData, TopicProduceData},
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use super::accumulator::{Key, Shared};
use super::window::{Batch, Identity, Route, Verdict, Window};
use super::{Acks, ProduceError, Stored, Target};
use crate::client::{Backoff, Client, Lane};
use crate::error::{ApiError, Code, Peer};
use crate::request::Call;

/// Bytes of batches gathered into one request.
const REQUEST_BYTES_MAX: usize = 8 << 20;

/// How long the task sleeps when nothing is due; it is woken for anything new.
const IDLE: std::time::Duration = std::time::Duration::from_secs(3600);

/// One request on one route.
struct Job {
    request: ProduceRequest,
    batches: Vec<(Key, u64)>,
}

/// What became of a [`Job`].
struct Answer {
    route: Route,
    batches: Vec<(Key, u64)>,
    outcome: Result<(Peer, Option<ProduceResponse>), ApiError>,
}

struct Worker {
    jobs: mpsc::Sender<Job>,
    in_flight: usize,
}

struct Sender {
    client: Client,
    lane: Lane,
    shared: Arc<Shared>,
    identity: Option<Identity>,
    /// Another one for what partitioners distribute: in each partition it is counted for itself.
    placed_identity: Option<Identity>,
    windows: BTreeMap<Key, Window>,
    routed: BTreeMap<Route, Worker>,
    backoffs: BTreeMap<Key, Backoff>,
    answers: mpsc::Sender<Answer>,
    /// Ends the workers with the task.
    workers: JoinSet<()>,
    next_number: u64,
}

/// Sends until the producer is dropped, which aborts this task.
pub(crate) async fn run(client: Client, shared: Arc<Shared>) {
    // As many as can be in flight to a hundred brokers; beyond that workers wait their turn.
    let (answers, mut answered) = mpsc::channel(512);
    let mut sender = Sender {
        lane: client.new_lane(),
        client,
        shared: shared.clone(),
        identity: None,
        placed_identity: None,
        windows: BTreeMap::new(),
        routed: BTreeMap::new(),
        backoffs: BTreeMap::new(),
        answers,
        workers: JoinSet::new(),
        next_number: 0,
    };
    loop {
        let next = sender.dispatch().await;
        // Each arm either takes nothing or a whole message, so losing the race loses nothing.
        tokio::select! {
            () = shared.wake.notified() => {}
            Some(answer) = answered.recv() => {
                sender.take_answer(answer);
                while let Ok(answer) = answered.try_recv() {
                    sender.take_answer(answer);
                }
            }
            () = sleep_until(next) => {}
        }
    }
}

impl Sender {
    /// Sends what may be sent; says when something more may be.
    async fn dispatch(&mut self) -> Instant {
        let now = Instant::now();
        self.expire(now);
        let mut next = now + IDLE;
        let mut requests: BTreeMap<Route, Vec<(Key, Batch)>> = BTreeMap::new();
        for (key, due) in self.due() {
            if due > now {
                next = next.min(due);
                continue;
            }
            match self.prepare(&key, now).await {
                Ok(Some((route, batch))) => requests.entry(route).or_default().push((key, batch)),
                Ok(None) => {}
                Err(error) => next = next.min(self.back_off(&key, &error)),
            }
        }
        for (route, batches) in requests {
            self.send(route, batches);
            // There may be more behind what just left.
            next = now;
        }
        next
    }

    /// Partitions with something to send, and since when or from when on.
    fn due(&self) -> Vec<(Key, Instant)> {
        let mut due: BTreeMap<Key, Instant> = self.shared.waiting().into_iter().collect();
        for (key, window) in &self.windows {
            if let Some(at) = window.repeats_at() {
                due.insert(key.clone(), at);
            } else if let (Some(at), Some(due)) = (window.not_before, due.get_mut(key)) {
                *due = at.max(*due);
            }
        }
        due.into_iter().collect()
    }

    /// The next batch of a partition and the way it takes, if one may leave.
    async fn prepare(
        &mut self,
        key: &Key,
        now: Instant,
    ) -> Result<Option<(Route, Batch)>, ApiError> {
        let limit = self.shared.config.in_flight_max;
        let window = self.windows.entry(key.clone()).or_default();
        if !window.may_send(limit, now) {
            return Ok(None);
        }
        let (leader, _) = self.client.leader(&key.0, key.1.led_by()).await?;
        let route = self.route(key, leader);
        let window = self.windows.entry(key.clone()).or_default();
        if !window.may_take(route)
            || self.routed.get(&route).is_some_and(|worker| worker.in_flight >= limit)
        {
            return Ok(None);
        }
        if self.shared.config.idempotent {
            self.renew_identity(key).await?;
        }
        let window = self.windows.entry(key.clone()).or_default();
        let batch = match window.next_again() {
            Some(batch) => Some(batch),
            None => self.close(key, now),
        };
        Ok(batch.map(|batch| (route, batch)))
    }

    fn route(&self, (topic, target): &Key, broker: BrokerId) -> Route {
        let part = match target {
            Target::Partition(partition) => self.client.part_of(broker, topic, *partition),
            // It has no partition yet; what the broker makes of it is numbered for itself.
            Target::Partitioner => 0,
        };
        Route { broker, part }
    }

    /// Makes sure there is an identity, and one that is not spent.
    async fn renew_identity(&mut self, key: &Key) -> Result<(), ApiError> {
        let window = self.windows.entry(key.clone()).or_default();
        if let Some(spent) = window.spent_identity() {
            window.start_anew();
            let identity = self.identity_of(key);
            if *identity == Some(spent) {
                // The broker takes the next epoch of an idempotent producer without being asked.
                let next = spent.epoch.0.checked_add(1).filter(|epoch| *epoch < 0x7fff);
                *identity =
                    next.map(|epoch| Identity { id: spent.id, epoch: ProducerEpoch(epoch) });
            }
        }
        if self.identity_of(key).is_none() {
            let (id, epoch) = self.client.new_producer_id().await?;
            *self.identity_of(key) = Some(Identity { id, epoch });
        }
        Ok(())
    }

    fn identity_of(&mut self, key: &Key) -> &mut Option<Identity> {
        match key.1 {
            Target::Partition(_) => &mut self.identity,
            Target::Partitioner => &mut self.placed_identity,
        }
    }

    /// Closes the oldest batch of a partition that is full or has waited long enough.
    fn close(&mut self, key: &Key, now: Instant) -> Option<Batch> {
        let open = self.shared.take(key, now)?;
        let records = open.builder.record_count();
        if records == 0 {
            // Its only record could not be encoded, and its sender has been told.
            let nothing = Stored { base_offset: None, log_append_time: None };
            self.shared.finish(&open.outcome, open.reserved, Ok(nothing));
            return None;
        }
        let number = self.next_number;
        self.next_number += 1;
        match open.builder.build() {
            Ok(bytes) => Some(Batch {
                number,
                bytes,
                records,
                since: open.since,
                outcome: open.outcome,
                reserved: open.reserved,
                numbered: None,
                last_error: None,
            }),
            Err(error) => {
                let error = ProduceError::Unencodable { reason: error.to_string() };
                self.shared.finish(&open.outcome, open.reserved, Err(error));
                None
            }
        }
    }

    /// Hands batches, one per partition at most, to the worker of their route.
    fn send(&mut self, route: Route, batches: Vec<(Key, Batch)>) {
        let mut bytes = 0;
        let mut topics: BTreeMap<Arc<str>, Vec<PartitionProduceData>> = BTreeMap::new();
        let mut sent: Vec<(Key, u64)> = Vec::new();
        for (key, batch) in batches {
            let identity = *self.identity_of(&key);
            let window = self.windows.entry(key.clone()).or_default();
            // A partition is named once in a request, also by a partitioner.
            let is_alike =
                sent.first().is_none_or(|(first, _)| is_placed(first) == is_placed(&key));
            let fits = bytes == 0 || bytes + batch.bytes.len() <= REQUEST_BYTES_MAX;
            if !is_alike || !fits {
                window.put_back(batch);
                continue;
            }
            bytes += batch.bytes.len();
            let identity = identity.filter(|_| self.shared.config.idempotent);
            let batch = window.send(batch, identity, route);
            let data = make::<PartitionProduceData>(|data| {
                data.index = key.1.to_wire();
                data.records = Some(numbered(batch));
            });
            topics.entry(key.0.clone()).or_default().push(data);
            let number = batch.number;
            sent.push((key, number));
        }
        let config = &self.shared.config;
        let timeout = self.client.config().request_timeout;
        let request = make::<ProduceRequest>(|request| {
            request.acks = config.acks.to_wire();
            request.timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
            request.topic_data = topics.into_iter().map(topic_data).collect();
        });
        let job = Job { request, batches: sent };
        let worker = self.worker(route);
        worker.in_flight += 1;
        // There are as many places as requests in flight, and the worker lives as long as we do.
        worker.jobs.try_send(job).map_err(|_| ()).expect("a place for every request in flight");
    }

    fn worker(&mut self, route: Route) -> &mut Worker {
        let (client, answers) = (self.client.clone(), self.answers.clone());
        let lane = self.lane.part(route.part);
        let acks = self.shared.config.acks;
        let places = self.shared.config.in_flight_max;
        let workers = &mut self.workers;
        self.routed.entry(route).or_insert_with(|| {
            let (jobs, queue) = mpsc::channel(places);
            workers.spawn(work(client, lane, route, acks, queue, answers));
            Worker { jobs, in_flight: 0 }
        })
    }

    fn take_answer(&mut self, answer: Answer) {
        if let Some(worker) = self.routed.get_mut(&answer.route) {
            worker.in_flight -= 1;
        }
        match answer.outcome {
            Err(error) => {
                for (key, number) in answer.batches {
                    self.fail(&key, number, error.clone());
                }
            }
            // With acks=0 there is no answer; what left counts.
            Ok((_, None)) => {
                for (key, number) in answer.batches {
                    let stored = Stored { base_offset: None, log_append_time: None };
                    self.conclude(&key, number, &Verdict::Stored, Ok(stored));
                }
            }
            Ok((peer, Some(response))) => self.take_response(&peer, answer.batches, &response),
        }
    }

    fn take_response(&mut self, peer: &Peer, sent: Vec<(Key, u64)>, response: &ProduceResponse) {
        for (key, number) in sent {
            let topic = response.responses.iter().find(|topic| *topic.name == *key.0);
            let mut partitions = topic.into_iter().flat_map(|topic| &topic.partition_responses);
            let result = partitions.find(|result| result.index == key.1.to_wire());
            let Some(result) = result else {
                let subject = format!("{} of {}", key.1, key.0);
                let api = ProduceRequest::API;
                let error = ApiError::Incomplete { peer: peer.clone(), api, subject };
                self.fail(&key, number, error);
                continue;
            };
            let code = Code(result.error_code);
            let has_gone =
                is_placed(&key) && code.known() == Some(ErrorCode::UnknownTopicOrPartition);
            // Another try would not bring the partitioner back; the next record asks for it anew.
            let verdict = if has_gone { Verdict::Refused } else { Verdict::of(code) };
            let message = result.error_message.as_ref().map(|text| text.to_string());
            if code.is_retriable() {
                self.client.forget_topic(&key.0);
            }
            let outcome = if matches!(verdict, Verdict::Stored) {
                let append_time = Some(Timestamp(result.log_append_time_ms));
                Ok(Stored {
                    base_offset: Some(result.base_offset).filter(|offset| *offset >= 0),
                    log_append_time: append_time.filter(|time| *time != Timestamp::NONE),
                })
            } else {
                let (topic, target) = (key.0.clone(), key.1);
                Err(ProduceError::Refused { peer: peer.clone(), topic, target, code, message })
            };
            self.conclude(&key, number, &verdict, outcome);
        }
    }

    /// A request without an answer.
    fn fail(&mut self, key: &Key, number: u64, error: ApiError) {
        if error.suggests_stale_metadata() {
            self.client.forget_topic(&key.0);
        }
        let again = self.client.may_retry(&error);
        let verdict = if again { Verdict::Again } else { Verdict::Refused };
        let (topic, target) = (key.0.clone(), key.1);
        let error = ProduceError::Failed { topic, target, source: Box::new(error) };
        self.conclude(key, number, &verdict, Err(error));
    }

    fn conclude(
        &mut self,
        key: &Key,
        number: u64,
        verdict: &Verdict,
        outcome: Result<Stored, ProduceError>,
    ) {
        let window = self.windows.entry(key.clone()).or_default();
        if let Err(error) = &outcome {
            window.note_error(number, &error.to_string());
        }
        match window.answered(number, verdict) {
            Some(batch) => {
                if outcome.is_ok() {
                    window.not_before = None;
                    self.backoffs.remove(key);
                }
                self.shared.finish(&batch.outcome, batch.reserved, outcome);
            }
            None => {
                let backoff = self.backoffs.entry(key.clone()).or_insert_with(Backoff::new);
                window.not_before = Some(Instant::now() + backoff.next());
            }
        }
    }

    /// Waits with a partition whose leader is not known or not reachable.
    fn back_off(&mut self, key: &Key, error: &ApiError) -> Instant {
        if error.suggests_stale_metadata() {
            self.client.forget_topic(&key.0);
        }
        let now = Instant::now();
        let final_error = !self.client.may_retry(error);
        let backoff = self.backoffs.entry(key.clone()).or_insert_with(Backoff::new);
        let at = now + backoff.next();
        let window = self.windows.entry(key.clone()).or_default();
        window.not_before = Some(at);
        if final_error {
            while let Some(batch) = self.take_any(key, now) {
                let (topic, target) = (key.0.clone(), key.1);
                let source = Box::new(error.clone());
                let error = ProduceError::Failed { topic, target, source };
                self.shared.finish(&batch.outcome, batch.reserved, Err(error));
            }
        }
        at
    }

    fn take_any(&mut self, key: &Key, now: Instant) -> Option<Batch> {
        let window = self.windows.entry(key.clone()).or_default();
        window.next_again().or_else(|| self.close(key, now))
    }

    /// Gives up what has waited for too long.
    fn expire(&mut self, now: Instant) {
        let after = self.shared.config.delivery_timeout;
        let Some(before) = now.checked_sub(after) else { return };
        let mut expired: Vec<(Key, Batch)> = Vec::new();
        for (key, window) in &mut self.windows {
            expired.extend(window.expired(before).into_iter().map(|batch| (key.clone(), batch)));
        }
        for (key, since) in self.shared.waiting() {
            if since < before
                && let Some(batch) = self.close(&key, now)
            {
                if batch.since < before {
                    expired.push((key, batch));
                } else {
                    self.windows.entry(key).or_default().put_back(batch);
                }
            }
        }
        for ((topic, target), batch) in expired {
            let error = ProduceError::Expired { topic, target, after, last: batch.last_error };
            self.shared.finish(&batch.outcome, batch.reserved, Err(error));
        }
    }
}

fn is_placed(key: &Key) -> bool {
    key.1 == Target::Partitioner
}

fn topic_data((topic, partitions): (Arc<str>, Vec<PartitionProduceData>)) -> TopicProduceData {
    make(|data: &mut TopicProduceData| {
        data.name = StrBytes::from(&*topic);
        data.partition_data = partitions;
    })
}

/// Sends jobs on one route in their order, without waiting for answers in between.
async fn work(
    client: Client,
    lane: Lane,
    route: Route,
    acks: Acks,
    mut queue: mpsc::Receiver<Job>,
    answers: mpsc::Sender<Answer>,
) {
    let mut waiting = JoinSet::new();
    while let Some(Job { request, batches }) = queue.recv().await {
        while waiting.try_join_next().is_some() {}
        let within = client.config().request_timeout;
        let sent = async {
            let connection = client.broker(route.broker, &lane).await?;
            let peer = connection.peer().clone();
            if acks == Acks::None {
                connection.tell(&request).await?;
                return Ok((peer, None));
            }
            Ok((peer, Some(connection.submit(&request, within).await?)))
        };
        let sent: Result<_, ApiError> = sent.await;
        let answers = answers.clone();
        waiting.spawn(async move {
            let outcome = match sent {
                Ok((peer, Some(pending))) => {
                    let answer = pending.answer().await;
                    answer.map(|response| (peer, Some(response))).map_err(ApiError::from)
                }
                Ok((peer, None)) => Ok((peer, None)),
                Err(error) => Err(error),
            };
            // Nobody listens once the producer is gone.
            let _ = answers.send(Answer { route, batches, outcome }).await;
        });
    }
}

/// The batch with the producer's identity and its sequence in its header, and a new checksum.
fn numbered(batch: &Batch) -> Bytes {
    match batch.numbered {
        None => batch.bytes.clone(),
        Some((identity, sequence)) => {
            batch::number(&batch.bytes, identity.id, identity.epoch, sequence)
        }
    }
}
