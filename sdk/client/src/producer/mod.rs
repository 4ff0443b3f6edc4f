//! Records out: gathered into batches, spread over partitions, sent until they are stored.
//!
//! **How it is built.** [`Producer::send`] chooses the partition and adds the record to that
//! partition's open batch in the [`accumulator`]; one task, the [`sender`], takes batches from there
//! and owns everything that happens to them afterwards. The two share the accumulator and a budget
//! of bytes, nothing else. Where a topic's [`placing`] is the broker's, its records without a partition have one
//! line for all partitions.
//!
//! **What is promised.** With `idempotent` (the default), a record is stored once and in order,
//! through lost connections and restarted brokers. A batch whose delivery timed out, or that was
//! refused, breaks that chain: its fate is reported, and what follows it starts a new one.

mod accumulator;
mod placing;
mod sender;
mod window;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::Timestamp;
use brooklet_wire::compress::Codec;
use bytes::Bytes;
use tokio::sync::watch;

use crate::client::Client;
use crate::error::{ApiError, Code, Peer};
use crate::partitioner::partition_of_key;
use accumulator::Shared;
use placing::Placing;
pub use placing::Target;

/// A record to be sent.
#[derive(Clone, Debug, Default)]
pub struct ProducerRecord {
    /// Where to.
    pub topic: Arc<str>,
    /// The partition. If absent, the topic's partitioner chooses it, where the topic has one: a broker's
    /// plugin. Else it is chosen here, by the key; without a key whole batches are spread.
    pub partition: Option<u32>,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; a record without one is a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
    /// Its time; now, if absent.
    pub timestamp: Option<Timestamp>,
}

/// Who must have a record before it counts as delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acks {
    /// Nobody: sent is delivered.
    None,
    /// The leader.
    Leader,
    /// Every replica in sync.
    All,
}

/// Settings of a [`Producer`].
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// Who must have a record. Idempotence needs [`Acks::All`].
    pub acks: Acks,
    /// Whether records are numbered so that a retry cannot store them twice.
    pub idempotent: bool,
    /// How batches are compressed.
    pub compression: Codec,
    /// The codec's level; its own default if absent.
    pub compression_level: Option<i32>,
    /// A batch is closed before it grows beyond this, uncompressed. Well below the broker's default
    /// limit of 1 MiB, and large enough that costs per request do not show.
    pub batch_bytes: usize,
    /// How long a batch waits for more records.
    pub linger: Duration,
    /// Bytes of records that may wait for delivery; beyond it, `send` waits.
    pub buffer_bytes: usize,
    /// How long a record may take, all retries included.
    pub delivery_timeout: Duration,
    /// Requests to one broker, and batches of one partition, that wait for their answer at once.
    /// Brokers recognise no more than five repeated batches. Without idempotence, more than one may
    /// change the order of batches when one is tried again.
    pub in_flight_max: usize,
}

impl Default for ProducerConfig {
    fn default() -> ProducerConfig {
        ProducerConfig {
            acks: Acks::All,
            idempotent: true,
            compression: Codec::None,
            compression_level: None,
            batch_bytes: 256 << 10,
            linger: Duration::from_millis(5),
            buffer_bytes: 32 << 20,
            delivery_timeout: Duration::from_secs(120),
            in_flight_max: brooklet_types::limits::PRODUCER_BATCHES_MAX,
        }
    }
}

/// Why a record was not delivered. `Expired` and `Lost` leave open whether it was stored.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ProduceError {
    /// It will never fit.
    #[error("record of {bytes} bytes, the producer's buffer holds {limit}")]
    TooLarge { bytes: usize, limit: usize },
    /// It cannot be written as Kafka's format wants it.
    #[error("record cannot be encoded: {reason}")]
    Unencodable { reason: String },
    /// The partition that was asked for does not exist.
    #[error("topic {topic} has {count} partitions, {partition} is not one of them")]
    NoPartition { topic: Arc<str>, partition: u32, count: u32 },
    /// The topic could not be found.
    #[error(transparent)]
    Topic(Box<ApiError>),
    /// The broker refuses it.
    #[error("{target} of {topic} on {peer}: {code}{}", detail(.message))]
    Refused { peer: Peer, topic: Arc<str>, target: Target, code: Code, message: Option<String> },
    /// The request failed in a way that trying again does not mend.
    #[error("{target} of {topic}: {source}")]
    Failed { topic: Arc<str>, target: Target, source: Box<ApiError> },
    /// Its time was over before it was acknowledged; `last` is what went wrong last.
    #[error("{target} of {topic}: not acknowledged within {after:?}{}", detail(.last))]
    Expired { topic: Arc<str>, target: Target, after: Duration, last: Option<String> },
    /// The producer was dropped before it was acknowledged.
    #[error("the producer was closed before the record was acknowledged")]
    Closed,
    /// Settings that exclude each other.
    #[error("idempotence needs acks=all")]
    IdempotenceNeedsAcksAll,
}

/// Where a batch went.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stored {
    /// The offset of its first record; none with `acks=0`, for recognised repetitions, and for what lies in
    /// several partitions.
    base_offset: Option<i64>,
    /// The broker's time, where the topic wants that.
    log_append_time: Option<Timestamp>,
}

pub(crate) type Outcome = Option<Result<Stored, ProduceError>>;

/// Where a record went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Delivered {
    /// The partition it is in; unknown where the broker has chosen it.
    pub partition: Option<u32>,
    /// Its offset; unknown with `acks=0`, when the broker recognised a repetition, and where the broker has
    /// chosen the partition.
    pub offset: Option<i64>,
    /// Its time, if the broker set it.
    pub log_append_time: Option<Timestamp>,
}

/// A record on its way. May be dropped: the record is sent all the same.
#[derive(Clone)]
pub struct Delivery {
    outcome: watch::Receiver<Outcome>,
    target: Target,
    /// Which record of its batch it is.
    index: u32,
}

/// Sends records. Clones share everything; the last one to go gives up what is not yet delivered,
/// so [`flush`](Producer::flush) first.
#[derive(Clone)]
pub struct Producer {
    client: Client,
    shared: Arc<Shared>,
    placing: Arc<Placing>,
    _sender: Arc<SenderTask>,
}

struct SenderTask(tokio::task::AbortHandle);

impl Producer {
    /// Starts the task that sends.
    pub fn start(client: Client, config: ProducerConfig) -> Result<Producer, ProduceError> {
        if config.idempotent && config.acks != Acks::All {
            return Err(ProduceError::IdempotenceNeedsAcksAll);
        }
        // Nothing would ever leave with none, and a sixth batch would not be recognised as repeated.
        let in_flight_max = config.in_flight_max.max(1);
        let recognised = brooklet_types::limits::PRODUCER_BATCHES_MAX;
        let in_flight_max =
            if config.idempotent { in_flight_max.min(recognised) } else { in_flight_max };
        let shared = Arc::new(Shared::new(ProducerConfig { in_flight_max, ..config }));
        let task = tokio::spawn(sender::run(client.clone(), shared.clone()));
        let sender = Arc::new(SenderTask(task.abort_handle()));
        Ok(Producer { client, shared, placing: Arc::default(), _sender: sender })
    }

    /// Takes a record, waiting while the buffer is full. Records of one partition are stored in the
    /// order in which this returned.
    pub async fn send(&self, record: ProducerRecord) -> Result<Delivery, ProduceError> {
        let bytes = accumulator::record_bytes(&record);
        let limit = self.shared.config.buffer_bytes;
        if bytes > limit {
            return Err(ProduceError::TooLarge { bytes, limit });
        }
        let topic = self.topic(&record.topic).await?;
        let count = u32::try_from(topic.partitions.len()).expect("counts come from an i32");
        let target = match (record.partition, &record.key) {
            (Some(partition), _) if partition >= count => {
                return Err(ProduceError::NoPartition { topic: record.topic, partition, count });
            }
            (Some(partition), _) => Some(Target::Partition(partition)),
            (None, _) if self.placing.is_brokers(&self.client, &record.topic, &topic).await? => {
                Some(Target::Partitioner)
            }
            (None, Some(key)) => Some(Target::Partition(partition_of_key(key, count))),
            (None, None) => None,
        };
        self.shared.reserve(bytes).await;
        self.shared.push(record, target, count, bytes)
    }

    /// Waits until everything that was taken is delivered or has failed, without lingering.
    pub async fn flush(&self) {
        self.shared.flush().await;
    }

    /// Bytes that wait for delivery.
    pub fn buffered_bytes(&self) -> usize {
        self.shared.buffered_bytes()
    }

    async fn topic(&self, name: &str) -> Result<Arc<crate::TopicMetadata>, ProduceError> {
        match self.client.topic(name).await {
            Ok(topic) if !topic.partitions.is_empty() => Ok(topic),
            // One look is not enough while a topic is being created or a broker restarts.
            Ok(_) | Err(_) => {
                let ask = || async {
                    let topic = self.client.topic(name).await?;
                    if topic.partitions.is_empty() {
                        self.client.forget_topic(name);
                        let (topic, why) = (name.to_owned(), "does not exist yet");
                        return Err(ApiError::NoLeader { topic, partition: 0, why });
                    }
                    Ok(topic)
                };
                self.client
                    .retry_known(ask)
                    .await
                    .map_err(|error| ProduceError::Topic(Box::new(error)))
            }
        }
    }
}

impl Drop for SenderTask {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Delivery {
    /// Where the record goes.
    pub fn target(&self) -> Target {
        self.target
    }

    /// Whether both records travel together: their outcomes come at the same moment.
    pub fn is_of_same_batch(&self, other: &Delivery) -> bool {
        self.outcome.same_channel(&other.outcome)
    }

    /// Waits for the outcome.
    pub async fn wait(&mut self) -> Result<Delivered, ProduceError> {
        if self.outcome.wait_for(Outcome::is_some).await.is_err() {
            return Err(ProduceError::Closed);
        }
        self.delivered(&self.outcome.borrow())
    }

    /// The outcome, if there is one yet.
    pub fn outcome(&self) -> Option<Result<Delivered, ProduceError>> {
        let outcome = self.outcome.borrow();
        outcome.is_some().then(|| self.delivered(&outcome))
    }

    fn delivered(&self, outcome: &Outcome) -> Result<Delivered, ProduceError> {
        let stored = outcome.as_ref().expect("asked once it is there").clone()?;
        Ok(Delivered {
            partition: self.target.partition(),
            offset: stored.base_offset.map(|base| base.saturating_add(i64::from(self.index))),
            log_append_time: stored.log_append_time,
        })
    }
}

impl IntoFuture for Delivery {
    type Output = Result<Delivered, ProduceError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(mut self) -> Self::IntoFuture {
        Box::pin(async move { self.wait().await })
    }
}

impl Acks {
    fn to_wire(self) -> i16 {
        match self {
            Acks::None => 0,
            Acks::Leader => 1,
            Acks::All => -1,
        }
    }
}

fn detail(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}
