//! What a client does at its end of the link, in a process of its own.
//!
//! **Decides** what counts: values that were acknowledged or read once sending has found its pace, and a record's age from the
//! moment it was due, whether it could be sent then or not.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Address, Admin, Client, ClientConfig, Congestion, Consumer, ConsumerConfig, Delivery, Event,
    Producer, ProducerConfig, ProducerRecord,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval, sleep_until};

use crate::failure::{Failure, context};
use crate::figures::{Figures, at};
use crate::latency;

pub(crate) const PARTITIONS: u32 = 6;
pub(crate) const RECORD_BYTES: usize = 1 << 10;
/// What there is to read: more than the link carries in a measurement.
const STORED_BYTES: u64 = 64 << 20;
/// So much of each partition is asked for, or sent, at once. Smaller than the client's defaults, so that a link that carries
/// almost nothing still carries one of them in the time there is.
const FETCH_BYTES: u32 = 256 << 10;
const BATCH_BYTES: usize = 64 << 10;
/// What is counted at full speed has to last so long, or longer where little comes.
const COUNTED_MIN: Duration = Duration::from_secs(3);
const COUNTED_MAX: Duration = Duration::from_secs(12);
/// A few of the answers that count in bulk: what is less says more of when it was looked at than of the link.
const COUNTED_BYTES_MIN: u64 = 8 << 20;

/// How a client speaks to the broker.
pub(crate) struct Way {
    pub(crate) address: Address,
    pub(crate) congestion: Congestion,
    pub(crate) round_trip: Duration,
}

impl Way {
    /// A client with connections of its own.
    pub(crate) fn client(&self) -> Client {
        let mut config = ClientConfig::new(vec![self.address.clone()]);
        config.congestion = self.congestion;
        // Several losses in one handshake over the longest link.
        config.connect_timeout = Duration::from_secs(30);
        Client::new(config)
    }

    /// Slow start has found what it is going to find after some eight round trips.
    pub(crate) fn settled(&self) -> Duration {
        Duration::from_secs(1) + self.round_trip * 8
    }
}

/// Makes the topics, and stores what is to be read.
pub(crate) async fn fill(address: Address) -> Result<(), Failure> {
    let client = Client::new(ClientConfig::new(vec![address]));
    let admin = Admin::new(client.clone());
    for name in ["stored", "latency", "goodput"] {
        let topic =
            NewTopic { name: name.to_owned(), partitions: Some(PARTITIONS), ..NewTopic::default() };
        admin.create_topic(&topic, false).await.map_err(context("create a topic"))?;
    }
    let producer =
        Producer::start(client, ProducerConfig::default()).map_err(context("produce"))?;
    let mut last: Vec<Option<Delivery>> = vec![None; PARTITIONS as usize];
    for (number, place) in (0..STORED_BYTES / RECORD_BYTES as u64).zip((0..last.len()).cycle()) {
        let delivery = producer.send(record("stored", number)).await.map_err(context("produce"))?;
        if let Some(last) = last.get_mut(place) {
            *last = Some(delivery);
        }
    }
    producer.flush().await;
    for delivery in last.into_iter().flatten() {
        delivery.await.map_err(context("store what is to be read"))?;
    }
    Ok(())
}

/// Measures everything, the quietest first: what is still under way when a measurement ends disturbs the next one.
pub(crate) async fn run(way: &Way) -> Result<Figures, Failure> {
    let ages = latency::measure(way).await?;
    let consume = consume(way).await?;
    let produce = produce(way).await?;
    Ok(Figures {
        produce,
        consume,
        ack_p50: at(ages.acknowledged.clone(), 0.5),
        ack_p99: at(ages.acknowledged, 0.99),
        end_p99: at(ages.read, 0.99),
    })
}

/// The record of a number. Numbers go round the partitions.
pub(crate) fn record(topic: &str, number: u64) -> ProducerRecord {
    let mut value = vec![b'.'; RECORD_BYTES];
    for (byte, digit) in value.iter_mut().zip(number.to_be_bytes()) {
        *byte = digit;
    }
    let partition = u32::try_from(number % u64::from(PARTITIONS)).expect("a small remainder");
    ProducerRecord {
        topic: topic.into(),
        partition: Some(partition),
        value: Some(Bytes::from(value)),
        ..ProducerRecord::default()
    }
}

/// Reads all partitions of a topic from their beginning.
pub(crate) fn consumer(way: &Way, topic: &str) -> Consumer {
    let config = ConsumerConfig { partition_bytes_max: FETCH_BYTES, ..ConsumerConfig::default() };
    let places = (0..PARTITIONS).map(|partition| ((topic.to_owned(), partition), 0));
    Consumer::assign(way.client(), config, places.collect::<BTreeMap<_, _>>())
}

/// Megabytes a second that are read.
async fn consume(way: &Way) -> Result<f64, Failure> {
    let mut consumer = consumer(way, "stored");
    let count = Count::default();
    let read = async {
        let mut left = STORED_BYTES;
        while left > 0 {
            let event = consumer.poll(Duration::from_secs(1)).await.map_err(context("consume"))?;
            if let Event::Records(records) = event {
                let bytes = records.records.len() as u64 * RECORD_BYTES as u64;
                count.add(bytes);
                left = left.saturating_sub(bytes);
            }
        }
        Err(Failure(format!("{STORED_BYTES} bytes are not enough to read on this link")))
    };
    tokio::select! {
        // Neither is gone on with.
        ended = read => ended,
        rate = count.rate(way.settled()) => Ok(rate),
    }
}

/// Megabytes a second that are acknowledged.
async fn produce(way: &Way) -> Result<f64, Failure> {
    let config = ProducerConfig { batch_bytes: BATCH_BYTES, ..ProducerConfig::default() };
    let producer = Producer::start(way.client(), config).map_err(context("produce"))?;
    let count = Count::default();
    // One for each partition, whose records are acknowledged in order; as many as the producer's buffer holds.
    let mut queues = Vec::new();
    for _ in 0..PARTITIONS {
        let (queue, mut deliveries) = mpsc::channel::<Delivery>(32 << 10);
        queues.push(queue);
        let count = count.clone();
        tokio::spawn(async move {
            while let Some(delivery) = deliveries.recv().await {
                // What fails shows as less.
                if delivery.await.is_ok() {
                    count.add(RECORD_BYTES as u64);
                }
            }
        });
    }
    let send = async {
        for (number, queue) in (0..).zip(queues.iter().cycle()) {
            let delivery =
                producer.send(record("goodput", number)).await.map_err(context("produce"))?;
            queue.send(delivery).await.map_err(context("count"))?;
        }
        Ok(0.0)
    };
    tokio::select! {
        // Neither is gone on with.
        failed = send => failed,
        rate = count.rate(way.settled()) => Ok(rate),
    }
}

/// Bytes that have come to where they were to come.
#[derive(Clone, Default)]
struct Count(Arc<AtomicU64>);

impl Count {
    fn add(&self, bytes: u64) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Megabytes a second, once `settled` is over.
    async fn rate(&self, settled: Duration) -> f64 {
        sleep_until(Instant::now() + settled).await;
        let (began, before) = (Instant::now(), self.0.load(Ordering::Relaxed));
        let mut looks = interval(Duration::from_millis(20));
        loop {
            looks.tick().await;
            let (time, bytes) = (began.elapsed(), self.0.load(Ordering::Relaxed) - before);
            let enough = time >= COUNTED_MIN && bytes >= COUNTED_BYTES_MIN;
            if enough || time >= COUNTED_MAX {
                return bytes as f64 / 1e6 / time.as_secs_f64();
            }
        }
    }
}
