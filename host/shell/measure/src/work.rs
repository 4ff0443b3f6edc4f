//! The work itself: records in, records out, and records at their times.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Admin, ApiError, Client, Consumer, ConsumerConfig, Event, Producer, ProducerConfig,
    ProducerRecord,
};
use bytes::Bytes;

use crate::{MeasureError, Plan};

/// Nothing of a topic that is full of records comes for so long: it has gone wrong.
const PATIENCE: Duration = Duration::from_secs(30);
/// Of records at their times, those of the first moments do not count.
const WARM_UP: Duration = Duration::from_millis(300);

/// A topic for one measurement. What it is written to is not waited for: the link is measured, and not the disk.
pub(crate) struct Topic {
    name: Arc<str>,
    partitions: u32,
}

impl Topic {
    pub(crate) async fn create(client: &Client, partitions: u32) -> Result<Topic, ApiError> {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let name = format!("brooklet-links-{}-{number}", std::process::id());
        let topic = NewTopic {
            name: name.clone(),
            partitions: Some(partitions),
            replication: None,
            settings: vec![("brooklet.flush".to_owned(), "os".to_owned())],
        };
        Admin::new(client.clone()).create_topic(&topic, false).await?;
        Ok(Topic { name: name.into(), partitions })
    }

    pub(crate) async fn delete(self, client: &Client) -> Result<(), ApiError> {
        Admin::new(client.clone()).delete_topic(&self.name).await
    }

    fn record(&self, number: u64, value: &Bytes) -> ProducerRecord {
        let partition = u32::try_from(number % u64::from(self.partitions)).expect("below a u32");
        ProducerRecord {
            topic: Arc::clone(&self.name),
            partition: Some(partition),
            value: Some(value.clone()),
            ..ProducerRecord::default()
        }
    }
}

/// Megabytes of values a second, the last of them acknowledged.
pub(crate) async fn produce(
    client: &Client,
    topic: &Topic,
    plan: &Plan,
) -> Result<f64, MeasureError> {
    let length = plan.length;
    write(client, topic, plan.bytes, move |_, elapsed| elapsed < length).await
}

/// Writes `bytes` of values.
pub(crate) async fn fill(
    client: &Client,
    topic: &Topic,
    plan: &Plan,
    bytes: u64,
) -> Result<(), MeasureError> {
    write(client, topic, plan.bytes, move |written, _| written < bytes).await.map(drop)
}

/// As fast as it goes, on a task of its own: it is not to wait for whoever looks at the clock.
async fn write(
    client: &Client,
    topic: &Topic,
    bytes: usize,
    goes_on: impl Fn(u64, Duration) -> bool + Send + 'static,
) -> Result<f64, MeasureError> {
    let producer = Producer::start(client.clone(), ProducerConfig::default())?;
    let topic = Topic { name: Arc::clone(&topic.name), partitions: topic.partitions };
    let writing = async move {
        let value = Bytes::from(vec![0x5a; bytes]);
        let began = Instant::now();
        let (mut number, mut written) = (0, 0);
        let mut last = BTreeMap::new();
        while goes_on(written, began.elapsed()) {
            let record = topic.record(number, &value);
            let partition = record.partition;
            last.insert(partition, producer.send(record).await?);
            number += 1;
            written += u64::try_from(bytes).expect("a value is small");
        }
        producer.flush().await;
        // One that failed breaks off its partition, and what is behind it fails too, or is late.
        for (_, mut delivery) in last {
            delivery.wait().await?;
        }
        Ok::<_, MeasureError>(per_second(written, began.elapsed()))
    };
    tokio::spawn(writing).await.expect("it does not panic")
}

/// Megabytes of values a second, of a topic that is read again and again.
pub(crate) async fn consume(
    client: &Client,
    topic: &Topic,
    plan: &Plan,
) -> Result<f64, MeasureError> {
    let starts: BTreeMap<_, i64> =
        (0..topic.partitions).map(|index| ((topic.name.to_string(), index), 0)).collect();
    let (client, length) = (client.clone(), plan.length);
    let topic = Topic { name: Arc::clone(&topic.name), partitions: topic.partitions };
    let reading = async move {
        let began = Instant::now();
        let mut bytes = 0;
        while began.elapsed() < length {
            // Another one for each pass: it asks ahead, and what it asks for behind the last record is answered late.
            let config = ConsumerConfig::default();
            let mut consumer = Consumer::assign(client.clone(), config, starts.clone());
            let mut left = topic.partitions;
            while left > 0 && began.elapsed() < length {
                let Event::Records(batch) = consumer.poll(PATIENCE).await? else {
                    return Err(MeasureError::Silent { after: PATIENCE });
                };
                let values = batch.records.iter().filter_map(|record| record.value.as_ref());
                bytes +=
                    values.map(|value| u64::try_from(value.len()).expect("small")).sum::<u64>();
                left -= u32::from(batch.next_offset >= batch.high_watermark);
            }
        }
        Ok::<_, MeasureError>(per_second(bytes, began.elapsed()))
    };
    tokio::spawn(reading).await.expect("it does not panic")
}

#[expect(clippy::cast_precision_loss, reason = "nobody moves 2^53 bytes")]
fn per_second(bytes: u64, time: Duration) -> f64 {
    bytes as f64 / 1e6 / time.as_secs_f64()
}

/// From when each record was due until it was acknowledged.
pub(crate) async fn latencies(
    client: &Client,
    topic: &Topic,
    plan: &Plan,
) -> Result<Vec<Duration>, MeasureError> {
    let config = ProducerConfig { linger: Duration::ZERO, ..ProducerConfig::default() };
    let producer = Producer::start(client.clone(), config)?;
    let value = Bytes::from(vec![0x5a; plan.bytes]);
    let (send, mut due) = tokio::sync::mpsc::unbounded_channel();
    let (step, length) = (Duration::from_secs(1) / plan.rate, WARM_UP + plan.length);
    let (stop, stopped) = mpsc::channel::<()>();
    // A thread that is ours alone: timers of the runtime are as coarse as a millisecond.
    std::thread::spawn(move || {
        let began = Instant::now();
        let mut at = Duration::ZERO;
        while at < length {
            // Disconnected: nobody wants to know.
            let wait = (began + at).saturating_duration_since(Instant::now());
            if stopped.recv_timeout(wait) == Err(mpsc::RecvTimeoutError::Disconnected)
                || send.send((began + at, at >= WARM_UP)).is_err()
            {
                return;
            }
            at += step;
        }
    });
    let (tell, mut times) = tokio::sync::mpsc::unbounded_channel();
    let mut number = 0;
    while let Some((time, counts)) = due.recv().await {
        let mut delivery = producer.send(topic.record(number, &value)).await?;
        number += 1;
        let tell = tell.clone();
        tokio::spawn(async move {
            let outcome = delivery.wait().await.map(|_| (counts, time.elapsed()));
            // Nobody waits for the rest where one has failed.
            let _ = tell.send(outcome);
        });
    }
    drop((tell, stop));
    let mut all = Vec::new();
    while let Some(outcome) = times.recv().await {
        let (counts, took) = outcome?;
        all.extend(counts.then_some(took));
    }
    Ok(all)
}
