//! Records in: partitions read from their leaders, in the order of their offsets.
//!
//! **How it is built.** One [`fetcher`] task per broker, and over QUIC per part of our lane, asks for the partitions it leads there and hands
//! decoded batches over a short queue; a full queue stops the asking. [`Consumer::poll`] takes them
//! from there and keeps the positions. Whenever leaders or the assignment change, the tasks are
//! given other orders and what they had fetched ahead is fetched again. Each keeps a fetch session ([`session`]) with its broker.
//!
//! With a group, [`Consumer::poll`] also takes part in it through [`membership`]. What `poll` returned
//! counts as processed when `poll` is called again, and is committed from then on. A cooperative
//! member goes on reading while the group changes, and stops only with what it has to give up.

mod assignor;
mod fetcher;
mod heartbeat;
mod membership;
pub mod protocol;
mod rebalance;
pub mod records;
mod session;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode, Timestamp};
use brooklet_wire::batch::BatchError;
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep_until, timeout};

use crate::client::{Backoff, Client, Lane};
use crate::error::{ApiError, Code, Peer};
use crate::offsets::{OffsetSpec, Partition};
use crate::request::Call;
pub use assignor::{Assignment, Assignor, Member};
use fetcher::{Fetched, Orders, Positions};
pub use membership::GroupConfig;
use membership::{Membership, Signal};

/// Decoded batches that wait to be polled; each may be as large as a partition's share of a fetch.
const QUEUE_MAX: usize = 8;

/// One record as read. What is large in it shares the memory of the answer it came in: whoever keeps few records of
/// many copies them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerRecord {
    /// Its place in the partition.
    pub offset: i64,
    /// Its time.
    pub timestamp: Timestamp,
    /// Its key.
    pub key: Option<Bytes>,
    /// Its value; none in a tombstone.
    pub value: Option<Bytes>,
    /// Names and values, in order.
    pub headers: Vec<(Bytes, Option<Bytes>)>,
}

/// Consecutive records of one partition.
#[derive(Clone, Debug)]
pub struct PartitionRecords {
    /// Where they are from.
    pub topic: Arc<str>,
    /// The partition.
    pub partition: u32,
    /// The records; may be empty where a compacted or aborted stretch was passed.
    pub records: Vec<ConsumerRecord>,
    /// The offset to continue from.
    pub next_offset: i64,
    /// Where the partition ended when they were read.
    pub high_watermark: i64,
}

/// Something to tell the user of a consumer.
#[derive(Clone, Debug)]
pub enum Event {
    /// Records, in order.
    Records(PartitionRecords),
    /// The group gave us these partitions; it is all we have.
    Assigned(BTreeSet<Partition>),
    /// Nothing came within the time.
    Idle,
}

/// Where to begin where nothing is committed, and to go on where an offset is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reset {
    /// With the oldest record.
    Earliest,
    /// With what comes next.
    Latest,
    /// Not at all: it is an error.
    Fail,
}

/// Settings of a [`Consumer`].
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// How long a broker may hold back a fetch that finds nothing.
    pub fetch_wait: Duration,
    /// How much a broker should gather before it answers.
    pub fetch_bytes_min: u32,
    /// The most one fetch returns, beyond its first batch; over QUIC, all fetches together that a broker
    /// has at once.
    pub fetch_bytes_max: u32,
    /// The most one partition returns, beyond its first batch.
    pub partition_bytes_max: u32,
    /// Whether records of open and aborted transactions are left out.
    pub read_committed: bool,
    /// Whether checksums are verified.
    pub check_crcs: bool,
    /// What to do where there is no position.
    pub reset: Reset,
}

impl Default for ConsumerConfig {
    fn default() -> ConsumerConfig {
        ConsumerConfig {
            fetch_wait: Duration::from_millis(500),
            fetch_bytes_min: 1,
            fetch_bytes_max: 50 << 20,
            partition_bytes_max: 1 << 20,
            read_committed: true,
            check_crcs: true,
            reset: Reset::Earliest,
        }
    }
}

/// Why a consumer cannot go on.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConsumeError {
    /// The cluster does not answer, or refuses.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The position is gone and nothing says where to go on.
    #[error("partition {partition} of {topic}: offset {offset} is not there any more")]
    OutOfRange { topic: Arc<str>, partition: u32, offset: i64 },
    /// A batch cannot be read. What lies behind it can: seek past `offset`.
    #[error("partition {partition} of {topic}: batch at offset {offset}: {source}")]
    BadBatch { topic: Arc<str>, partition: u32, offset: i64, source: BatchError },
    /// Another member uses the same instance id.
    #[error("group {group}: another member has the same instance id")]
    Fenced { group: String },
    /// The group has members of a kind that cannot work with us.
    #[error("group {group}: the leader's assignment cannot be read: {reason}")]
    BadAssignment { group: String, reason: String },
}

/// Reads partitions, alone or as a member of a group.
pub struct Consumer {
    client: Client,
    config: ConsumerConfig,
    lane: Lane,
    positions: BTreeMap<Partition, i64>,
    queue: mpsc::Receiver<Fetched>,
    /// By broker and part of our lane.
    fetchers: BTreeMap<(BrokerId, u32), Fetcher>,
    /// Whether the tasks fit the positions. If not, nothing is in the queue.
    current: bool,
    not_before: Option<Instant>,
    backoff: Backoff,
    membership: Option<Membership>,
}

/// A task that fetches, until it is dropped: then it takes its leave of the broker.
struct Fetcher {
    orders: watch::Sender<Orders>,
    task: JoinHandle<()>,
}

impl Consumer {
    /// Reads exactly these partitions, each from its offset on.
    pub fn assign(
        client: Client,
        config: ConsumerConfig,
        positions: BTreeMap<Partition, i64>,
    ) -> Consumer {
        let lane = client.new_lane();
        // Replaced before anybody waits on it.
        let (_, queue) = mpsc::channel(1);
        Consumer {
            client,
            config,
            lane,
            positions,
            queue,
            fetchers: BTreeMap::new(),
            current: false,
            not_before: None,
            backoff: Backoff::new(),
            membership: None,
        }
    }

    /// Reads what the group assigns of these topics, from where the group is.
    pub fn subscribe(
        client: Client,
        config: ConsumerConfig,
        group: GroupConfig,
        topics: Vec<String>,
    ) -> Consumer {
        let membership = Membership::new(client.clone(), group, topics);
        let mut consumer = Consumer::assign(client, config, BTreeMap::new());
        consumer.membership = Some(membership);
        consumer
    }

    /// The next offset of every partition being read.
    pub fn positions(&self) -> &BTreeMap<Partition, i64> {
        &self.positions
    }

    /// Goes on at another offset. What was fetched ahead is forgotten.
    pub fn seek(&mut self, partition: Partition, offset: i64) {
        self.positions.insert(partition, offset);
        self.halt();
    }

    /// Waits for records, at most for `within`. Everything returned before counts as processed.
    ///
    /// Nothing is lost when it is given up half way.
    pub async fn poll(&mut self, within: Duration) -> Result<Event, ConsumeError> {
        let deadline = Instant::now() + within;
        loop {
            if let Some(event) = self.attend_group().await? {
                return Ok(event);
            }
            if !self.current && self.not_before.is_none_or(|time| time <= Instant::now()) {
                self.start_fetchers().await?;
            }
            let restart = if self.current { None } else { self.not_before };
            let wake = restart.map_or(deadline, |time| time.min(deadline));
            let changed = async {
                match &mut self.membership {
                    Some(membership) => membership.changed().await,
                    None => std::future::pending().await,
                }
            };
            // Each arm takes a whole message, or nothing.
            tokio::select! {
                Some(fetched) = self.queue.recv() => {
                    if let Some(event) = self.take(fetched).await? {
                        return Ok(event);
                    }
                }
                () = changed => {}
                () = sleep_until(wake) => {}
            }
            if Instant::now() >= deadline {
                return Ok(Event::Idle);
            }
        }
    }

    /// Commits the positions, unless that was not wanted, and leaves the group if there is one.
    pub async fn close(mut self) -> Result<(), ConsumeError> {
        self.halt();
        let fetchers = std::mem::take(&mut self.fetchers);
        let tasks: Vec<JoinHandle<()>> = fetchers.into_values().map(|it| it.task).collect();
        let committed = match &mut self.membership {
            Some(membership) => {
                let committed = membership.commit_unasked(&self.positions).await;
                if committed.is_ok() {
                    membership.leave().await;
                }
                committed
            }
            None => Ok(()),
        };
        for task in tasks {
            // It has but to say that its session is over, and ends by itself.
            let _ = timeout(fetcher::LEAVE_MAX, task).await;
        }
        committed
    }

    /// Commits the positions now.
    pub async fn commit(&mut self) -> Result<(), ConsumeError> {
        match &mut self.membership {
            Some(membership) => membership.commit(&self.positions).await,
            None => Ok(()),
        }
    }

    /// Takes part in the group: does what is due, step by step.
    async fn attend_group(&mut self) -> Result<Option<Event>, ConsumeError> {
        loop {
            let Some(membership) = &mut self.membership else { return Ok(None) };
            match membership.signal(Instant::now())? {
                Signal::Nothing => return Ok(None),
                Signal::Commit => membership.commit(&self.positions).await?,
                Signal::Rejoin => {
                    // What was read belongs to us until we have joined again; say how far we came.
                    membership.commit_unasked(&self.positions).await?;
                    if membership.is_cooperative() {
                        membership.rejoin(self.positions.keys().cloned().collect());
                    } else {
                        membership.rejoin(BTreeSet::new());
                        self.give_up_all();
                    }
                }
                Signal::Lost => {
                    membership.rejoin(BTreeSet::new());
                    self.give_up_all();
                }
                Signal::Settle(assigned) => {
                    self.take_over(&assigned).await?;
                    return Ok(Some(Event::Assigned(assigned)));
                }
            }
        }
    }

    fn give_up_all(&mut self) {
        self.halt();
        self.positions.clear();
    }

    /// Forgets what was fetched ahead. The tasks stop when they notice that nobody takes it, and wait for other orders.
    fn halt(&mut self) {
        (_, self.queue) = mpsc::channel(1);
        self.current = false;
    }

    /// Makes what is read what was assigned.
    async fn take_over(&mut self, assigned: &BTreeSet<Partition>) -> Result<(), ConsumeError> {
        let gave_up = self.positions.keys().any(|partition| !assigned.contains(partition));
        let new = assigned.iter().filter(|partition| !self.positions.contains_key(*partition));
        let mut missing: Vec<Partition> = new.cloned().collect();
        if gave_up || !missing.is_empty() {
            self.halt();
        }
        let membership = self.membership.as_mut().expect("a group has assigned something");
        if gave_up {
            // Whoever gets them next goes on where we are.
            membership.commit_unasked(&self.positions).await?;
        }
        let committed = membership.committed(&missing).await?;
        missing.retain(|partition| !committed.contains_key(partition));
        self.reset(missing).await?;
        for (partition, at) in committed {
            self.positions.insert(partition, at.offset);
        }
        self.positions.retain(|partition, _| assigned.contains(partition));
        let membership = self.membership.as_mut().expect("it was there above");
        membership.settle(gave_up);
        Ok(())
    }

    async fn start_fetchers(&mut self) -> Result<(), ConsumeError> {
        self.halt();
        self.not_before = None;
        let mut leaders: BTreeMap<BrokerId, BTreeMap<u32, Positions>> = BTreeMap::new();
        for (partition, offset) in &self.positions {
            let (topic, index) = partition;
            match self.client.leader(topic, *index).await {
                Ok((leader, epoch)) => {
                    let part = self.client.part_of(leader, topic, *index);
                    let of_part = leaders.entry(leader).or_default().entry(part).or_default();
                    of_part.insert(partition.clone(), (*offset, epoch));
                }
                Err(error) if self.client.may_retry(&error) => {
                    let topic = topic.clone();
                    self.restart_later(Some(&topic));
                    return Ok(());
                }
                Err(error) => return Err(error.into()),
            }
        }
        let (sender, queue) = mpsc::channel(QUEUE_MAX);
        self.queue = queue;
        let mut before = std::mem::take(&mut self.fetchers);
        for (leader, parts) in leaders {
            let mut consumer = self.config.clone();
            let count = u32::try_from(parts.len()).expect("there are as many lanes at most");
            consumer.fetch_bytes_max = (consumer.fetch_bytes_max / count).max(1);
            for (part, positions) in parts {
                let orders =
                    Orders { consumer: consumer.clone(), positions, queue: sender.clone() };
                let known = before.remove(&(leader, part));
                let fetcher = self.fetcher(known, leader, part, orders);
                self.fetchers.insert((leader, part), fetcher);
            }
        }
        self.current = true;
        Ok(())
    }

    /// Gives orders to a task that there is, or to a new one.
    fn fetcher(
        &self,
        known: Option<Fetcher>,
        leader: BrokerId,
        part: u32,
        orders: Orders,
    ) -> Fetcher {
        if let Some(fetcher) = known.filter(|it| !it.task.is_finished()) {
            fetcher.orders.send_replace(orders);
            return fetcher;
        }
        let (orders, receiver) = watch::channel(orders);
        let (client, lane) = (self.client.clone(), self.lane.part(part));
        let task = tokio::spawn(fetcher::run(client, lane, leader, receiver));
        Fetcher { orders, task }
    }

    async fn take(&mut self, fetched: Fetched) -> Result<Option<Event>, ConsumeError> {
        match fetched {
            Fetched::Records(records) => {
                let partition = (records.topic.to_string(), records.partition);
                self.positions.insert(partition, records.next_offset);
                self.backoff = Backoff::new();
                Ok(Some(Event::Records(records)))
            }
            Fetched::Bad { topic, partition, offset, source } => {
                self.halt();
                Err(ConsumeError::BadBatch { topic, partition, offset, source })
            }
            Fetched::Failed { topic, error } => {
                if error.code() == Some(ErrorCode::UnknownTopicOrPartition)
                    || !self.client.may_retry(&error)
                {
                    self.halt();
                    return Err(error.into());
                }
                self.restart_later(topic.as_deref());
                Ok(None)
            }
            Fetched::OutOfRange { topic, partition, offset } => {
                self.halt();
                if self.config.reset == Reset::Fail {
                    return Err(ConsumeError::OutOfRange { topic, partition, offset });
                }
                self.reset(vec![(topic.to_string(), partition)]).await?;
                Ok(None)
            }
        }
    }

    fn restart_later(&mut self, topic: Option<&str>) {
        match topic {
            Some(topic) => self.client.forget_topic(topic),
            None => self.positions.keys().for_each(|(topic, _)| self.client.forget_topic(topic)),
        }
        self.halt();
        self.not_before = Some(Instant::now() + self.backoff.next());
    }

    async fn reset(&mut self, partitions: Vec<Partition>) -> Result<(), ConsumeError> {
        let spec = match self.config.reset {
            Reset::Earliest => OffsetSpec::Earliest,
            Reset::Latest => OffsetSpec::Latest,
            Reset::Fail => match partitions.into_iter().next() {
                None => return Ok(()),
                Some((topic, partition)) => {
                    let topic = topic.into();
                    return Err(ConsumeError::OutOfRange { topic, partition, offset: -1 });
                }
            },
        };
        let wanted: Vec<_> = partitions.into_iter().map(|partition| (partition, spec)).collect();
        for (partition, at) in self.client.offsets(&wanted).await? {
            self.positions.insert(partition, at.offset.unwrap_or(0));
        }
        Ok(())
    }
}

/// Names the group in an error of one of its requests.
fn check_group<R: Call>(peer: &Peer, group: &str, code: i16) -> Result<(), ApiError> {
    Code(code).check().map_err(|code| ApiError::Refused {
        peer: peer.clone(),
        api: R::API,
        subject: format!("group {group}"),
        code,
        message: None,
    })
}
