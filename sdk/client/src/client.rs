//! The cluster seen from a client: connections, who leads what, and patience.
//!
//! **What it decides.** Which broker a request goes to, when what it remembers is out of date, and
//! how often something is tried again. **What it never does.** Know what a record is.
//!
//! A [`Lane`] is a connection of one's own to each broker. Answers come in order, so a request that
//! may be held back (a fetch, a join) would hold back everything behind it; whoever sends such
//! requests takes a lane for them. Over QUIC a lane is spread over streams, and each partition keeps to one of them.

mod lanes;

use std::collections::BTreeMap;
use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode, ProducerEpoch, ProducerId};
use brooklet_wire::message::{
    FindCoordinatorRequest, InitProducerIdRequest, MetadataRequest, make,
    metadata_request::MetadataRequestTopic,
};
use tokio::time::{Instant, sleep};

pub use self::lanes::Lane;
use self::lanes::{Places, Reach, Target};
use crate::config::{Address, ClientConfig, Transport};
use crate::connection::Connection;
use crate::error::{ApiError, Code, ConnectError, Peer};
use crate::metadata::{Metadata, TopicMetadata};
use crate::request::Call;
use crate::transport::Dialer;

/// The wait before the second attempt; it doubles up to [`BACKOFF_MAX`].
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest wait between two attempts: Kafka's `retry.backoff.max.ms`.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// Topics remembered at once. Beyond that the memory starts anew; a client uses few.
const TOPICS_REMEMBERED_MAX: usize = 10_000;

/// A client of one cluster; clones share everything.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    config: ClientConfig,
    dialer: Dialer,
    /// What brokers said about the cluster. Held for look-ups and updates only, never over a wait.
    memory: Mutex<Memory>,
    places: Arc<Places>,
    /// Whether any broker was ever reached: before that, a wrong address is more likely than a
    /// restart, and nobody should wait for it.
    reached: AtomicBool,
}

#[derive(Default)]
struct Memory {
    cluster: Metadata,
    topics: BTreeMap<String, (Instant, Arc<TopicMetadata>)>,
    coordinators: BTreeMap<String, BrokerId>,
}

impl Client {
    /// A client that has not spoken to anybody yet.
    pub fn new(config: ClientConfig) -> Client {
        let pins = config.brokers.iter().filter_map(|address| address.pin.clone()).collect();
        Client {
            shared: Arc::new(Shared {
                dialer: Dialer::new(config.tls.clone(), pins)
                    .adapting(config.congestion)
                    .by(config.way.clone()),
                config,
                memory: Mutex::default(),
                places: Arc::default(),
                reached: AtomicBool::new(false),
            }),
        }
    }

    /// What it was made with.
    pub fn config(&self) -> &ClientConfig {
        &self.shared.config
    }

    /// Takes leave of all brokers: those that were spoken to over QUIC would otherwise wait for more. What has not been
    /// answered is lost.
    pub async fn close(&self) {
        self.shared.dialer.close().await;
    }

    /// A lane nobody else has. Its connections end with it.
    pub fn new_lane(&self) -> Lane {
        self.shared.places.new_lane()
    }

    /// On which part of a lane requests for one partition go to `leader`. Over QUIC partitions are spread over
    /// [`ClientConfig::partition_lanes`] of them, those of one topic evenly.
    pub(crate) fn part_of(&self, leader: BrokerId, topic: &str, partition: u32) -> u32 {
        match self.address(leader).map(|address| address.transport) {
            Some(Transport::Quic) => part_of(topic, partition, self.shared.config.partition_lanes),
            Some(Transport::Tcp | Transport::Tls) | None => 0,
        }
    }

    /// A connection to any broker: the addresses given first, then what the cluster told us.
    pub async fn any(&self) -> Result<Connection, ApiError> {
        let mut tried = Vec::new();
        for (index, address) in self.shared.config.brokers.iter().enumerate() {
            let peer = Peer { address: address.clone(), id: None };
            match self.connect(Target::Given(index), &Lane::COMMON, peer).await {
                Ok(connection) => return Ok(connection),
                Err(error) => tried.push(error),
            }
        }
        let known: Vec<_> =
            self.memory(|memory| memory.cluster.brokers.values().cloned().collect());
        for broker in known {
            let peer = Peer { address: broker.address, id: Some(broker.id) };
            match self.connect(Target::Known(broker.id), &Lane::COMMON, peer).await {
                Ok(connection) => return Ok(connection),
                Err(error) => tried.push(error),
            }
        }
        Err(ApiError::NoBroker { tried })
    }

    /// A connection to one broker at the address it advertises.
    pub async fn broker(&self, id: BrokerId, lane: &Lane) -> Result<Connection, ApiError> {
        let address = self.address(id).ok_or(ApiError::UnknownBroker { id })?;
        let peer = Peer { address: address.clone(), id: Some(id) };
        let outcome = self.connect(Target::Known(id), lane, peer).await;
        outcome.map_err(|source| ApiError::AdvertisedUnreachable { id, address, source })
    }

    /// A connection to the broker that takes administrative requests.
    pub async fn controller(&self) -> Result<Connection, ApiError> {
        if self.memory(|memory| memory.cluster.brokers.is_empty()) {
            self.ask_metadata(Some(Vec::new())).await?;
        }
        // A cluster that names no controller lets any broker take these requests.
        match self.memory(|memory| memory.cluster.controller) {
            Some(id) if self.address(id).is_some() => self.broker(id, &Lane::COMMON).await,
            Some(_) | None => self.any().await,
        }
    }

    /// A connection to the coordinator of `group`.
    pub async fn coordinator(&self, group: &str, lane: &Lane) -> Result<Connection, ApiError> {
        let known = self.memory(|memory| memory.coordinators.get(group).copied());
        let id = match known {
            Some(id) => id,
            None => self.find_coordinator(group).await?,
        };
        self.broker(id, lane).await
    }

    /// Forgets who coordinates `group`: it has moved.
    pub fn forget_coordinator(&self, group: &str) {
        self.memory(|memory| memory.coordinators.remove(group));
    }

    /// The cluster and the named topics (all with `None`), as a broker describes them now.
    pub async fn metadata(&self, topics: Option<&[String]>) -> Result<Metadata, ApiError> {
        self.retry(|| self.ask_metadata(topics.map(<[String]>::to_vec))).await
    }

    /// One topic, as remembered or else as a broker describes it now. A topic that does not exist
    /// is an error at once.
    pub async fn topic(&self, name: &str) -> Result<Arc<TopicMetadata>, ApiError> {
        let now = Instant::now();
        let age_max = self.shared.config.metadata_age_max;
        let known = self.memory(|memory| memory.topics.get(name).cloned());
        if let Some((asked, topic)) = known
            && now.duration_since(asked) < age_max
        {
            return Ok(topic);
        }
        let metadata = self.ask_metadata(Some(vec![name.to_owned()])).await?;
        let peer = self.any().await?.peer().clone();
        let subject = format!("topic {name}");
        let Some(topic) = metadata.topics.get(name).cloned() else {
            return Err(ApiError::Incomplete { peer, api: MetadataRequest::API, subject });
        };
        topic.code.check().map_err(|code| ApiError::Refused {
            peer,
            api: MetadataRequest::API,
            subject,
            code,
            message: None,
        })?;
        Ok(topic)
    }

    /// Who leads a partition, and its term.
    pub async fn leader(&self, topic: &str, partition: u32) -> Result<(BrokerId, i32), ApiError> {
        let metadata = self.topic(topic).await?;
        let missing = |why| ApiError::NoLeader { topic: topic.to_owned(), partition, why };
        let index = usize::try_from(partition).expect("usize has at least 32 bits");
        let found = metadata.partitions.get(index);
        let found = found.ok_or_else(|| missing("does not exist"))?;
        let leader = found.leader.ok_or_else(|| missing("has no leader"));
        if leader.is_err() {
            self.forget_topic(topic);
        }
        Ok((leader?, found.leader_epoch))
    }

    /// Forgets a topic: its leaders have moved, or it is gone.
    pub fn forget_topic(&self, topic: &str) {
        self.memory(|memory| memory.topics.remove(topic));
    }

    /// Tries until it succeeds, fails for good, or the configured time is over. What is remembered
    /// of the cluster is forgotten whenever the error may come of it.
    pub async fn retry<T, F, A>(&self, mut attempt: F) -> Result<T, ApiError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, ApiError>>,
    {
        let after = self.shared.config.retry_timeout;
        let deadline = Instant::now() + after;
        let mut backoff = Backoff::new();
        loop {
            let error = match attempt().await {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            if error.suggests_stale_metadata() {
                self.memory(|memory| {
                    memory.topics.clear();
                    memory.coordinators.clear();
                });
            }
            if !self.may_retry(&error) {
                return Err(error);
            }
            let wait = backoff.next();
            if Instant::now() + wait >= deadline {
                return Err(ApiError::Deadline { after, last: Box::new(error) });
            }
            sleep(wait).await;
        }
    }

    /// As [`retry`](Client::retry), but a topic that is not known is an error at once: whoever names
    /// one has made it before, or mistyped it.
    pub async fn retry_known<T, F, A>(&self, mut attempt: F) -> Result<T, ApiError>
    where
        F: FnMut() -> A,
        A: Future<Output = Result<T, ApiError>>,
    {
        let outcome = self.retry(|| {
            let attempt = attempt();
            async move {
                match attempt.await {
                    Err(error) if error.code() == Some(ErrorCode::UnknownTopicOrPartition) => {
                        Ok(Err(error))
                    }
                    outcome => outcome.map(Ok),
                }
            }
        });
        outcome.await?
    }

    /// Whether `error` may heal by itself. A cluster that was reached once may come back.
    pub fn may_retry(&self, error: &ApiError) -> bool {
        let lost_sight = match error {
            ApiError::NoBroker { tried } => !tried.iter().any(ConnectError::is_final),
            ApiError::Request(_)
            | ApiError::Refused { .. }
            | ApiError::AdvertisedUnreachable { .. }
            | ApiError::NoLeader { .. }
            | ApiError::UnknownBroker { .. }
            | ApiError::Incomplete { .. }
            | ApiError::Deadline { .. } => false,
        };
        error.is_retriable() || (lost_sight && self.shared.reached.load(Ordering::Relaxed))
    }

    /// Asks a broker about `topics` and remembers what it says.
    async fn ask_metadata(&self, topics: Option<Vec<String>>) -> Result<Metadata, ApiError> {
        let connection = self.any().await?;
        let named =
            |name: String| make::<MetadataRequestTopic>(|topic| topic.name = Some(name.into()));
        let request = make::<MetadataRequest>(|request| {
            request.topics = topics.map(|topics| topics.into_iter().map(named).collect());
            request.allow_auto_topic_creation = false;
        });
        let metadata =
            Metadata::from_wire(&connection.call(&request).await?, connection.transport());
        self.memory(|memory| memory.remember(&metadata));
        Ok(metadata)
    }

    async fn find_coordinator(&self, group: &str) -> Result<BrokerId, ApiError> {
        const GROUP: i8 = 0;
        let connection = self.any().await?;
        let request = make::<FindCoordinatorRequest>(|request| {
            request.key_type = GROUP;
            request.coordinator_keys = vec![group.into()];
        });
        let response = connection.call(&request).await?;
        let peer = connection.peer().clone();
        let api = FindCoordinatorRequest::API;
        let subject = format!("group {group}");
        let Some(found) = response.coordinators.into_iter().next() else {
            return Err(ApiError::Incomplete { peer, api, subject });
        };
        let message = found.error_message.map(|text| text.to_string());
        Code(found.error_code).check().map_err(|code| ApiError::Refused {
            peer,
            api,
            subject,
            code,
            message,
        })?;
        let id = BrokerId(found.node_id);
        if self.address(id).is_none() {
            self.ask_metadata(Some(Vec::new())).await?;
        }
        self.memory(|memory| memory.coordinators.insert(group.to_owned(), id));
        Ok(id)
    }

    /// A producer id that nobody else has, without a transactional id, and its first epoch.
    pub async fn new_producer_id(&self) -> Result<(ProducerId, ProducerEpoch), ApiError> {
        let connection = self.any().await?;
        let request = make::<InitProducerIdRequest>(|request| {
            // The schema has no default for it, and an empty one is an error.
            request.transactional_id = None;
            request.transaction_timeout_ms = i32::MAX;
        });
        let response = connection.call(&request).await?;
        let peer = connection.peer().clone();
        let (api, subject) = (InitProducerIdRequest::API, "a new producer".to_owned());
        if let Err(code) = Code(response.error_code).check() {
            return Err(ApiError::Refused { peer, api, subject, code, message: None });
        }
        let id = ProducerId::from_wire(response.producer_id);
        let epoch = u16::try_from(response.producer_epoch).ok().map(ProducerEpoch);
        id.zip(epoch).ok_or(ApiError::Incomplete { peer, api, subject })
    }

    async fn connect(
        &self,
        target: Target,
        lane: &Lane,
        peer: Peer,
    ) -> Result<Connection, ConnectError> {
        let Shared { dialer, config, places, reached, .. } = &*self.shared;
        let connection = places.connect(lane, Reach { dialer, config, target, peer }).await?;
        reached.store(true, Ordering::Relaxed);
        Ok(connection)
    }

    fn address(&self, id: BrokerId) -> Option<Address> {
        let config = &self.shared.config;
        let instead = config.brokers.first().filter(|_| !config.follow_advertised);
        let address = |memory: &mut Memory| {
            memory.cluster.brokers.get(&id).map(|broker| broker.address.clone())
        };
        let advertised = self.memory(address);
        // One that was never heard of has none, wherever it would be dialled.
        advertised.map(|advertised| instead.cloned().unwrap_or(advertised))
    }

    fn memory<T>(&self, act: impl FnOnce(&mut Memory) -> T) -> T {
        // Each update is complete in itself, so a panic elsewhere leaves nothing half done.
        let mut memory = self.shared.memory.lock().unwrap_or_else(PoisonError::into_inner);
        act(&mut memory)
    }
}

impl Memory {
    fn remember(&mut self, metadata: &Metadata) {
        let now = Instant::now();
        if self.topics.len() + metadata.topics.len() > TOPICS_REMEMBERED_MAX {
            self.topics.clear();
        }
        for (name, topic) in &metadata.topics {
            if topic.code == Code::NONE {
                self.topics.insert(name.clone(), (now, topic.clone()));
            } else {
                self.topics.remove(name);
            }
        }
        self.cluster = Metadata { topics: BTreeMap::new(), ..metadata.clone() };
    }
}

/// Which of `count` parts a partition has. The same in every process: nothing depends on it, and a trace can be followed.
fn part_of(topic: &str, partition: u32, count: u32) -> u32 {
    let mut hasher = DefaultHasher::new();
    topic.hash(&mut hasher);
    let part = hasher.finish().wrapping_add(partition.into()) % u64::from(count.max(1));
    u32::try_from(part).expect("below a u32")
}

/// Waits that grow, and differ between clients that lost the same broker.
pub(crate) struct Backoff {
    wait: Duration,
}

impl Backoff {
    pub(crate) fn new() -> Backoff {
        Backoff { wait: BACKOFF_MIN }
    }

    /// The next wait: between a half and the whole of a step that doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.wait;
        self.wait = (step * 2).min(BACKOFF_MAX);
        // The standard library's random keys are chance enough to spread a crowd.
        let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0) % 512;
        let chance = u32::try_from(chance).expect("below 512");
        step / 2 + step / 1024 * chance
    }
}
