//! How old records are when they are acknowledged, and when they are read, at a rate that any link should carry.
//!
//! **Decides** that a record's age counts from the moment it was due: a sender that is held up does not hide it.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_client::{Consumer, Event, Producer, ProducerConfig};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until, timeout_at};

use crate::failure::{Failure, context};
use crate::load::{Way, consumer, record};

const TOPIC: &str = "latency";
/// Between two records: a hundred a second are less than one megabit.
const BETWEEN: Duration = Duration::from_millis(10);
const COUNTED: Duration = Duration::from_secs(4);
/// What has not come so long after the last was due is taken to be that old.
const GRACE: Duration = Duration::from_secs(5);

/// Ages in milliseconds.
pub(crate) struct Ages {
    pub(crate) acknowledged: Vec<f64>,
    pub(crate) read: Vec<f64>,
}

/// Sends records at their times, and counts those after the first moments.
pub(crate) async fn measure(way: &Way) -> Result<Ages, Failure> {
    let steps = |time: Duration| u64::try_from(time.as_millis() / BETWEEN.as_millis());
    let settled = steps(way.settled()).expect("seconds are few steps");
    let count = settled + steps(COUNTED).expect("seconds are few steps");
    let producer = Producer::start(way.client(), ProducerConfig::default());
    let producer = producer.map_err(context("produce"))?;
    let (read, mut reads) = mpsc::channel(1024);
    let mut reader = JoinSet::new();
    reader.spawn(follow(consumer(way, TOPIC), read));

    let start = Instant::now();
    let due = |number: u64| start + BETWEEN * u32::try_from(number).expect("few records");
    let mut waiting = JoinSet::new();
    let mut seen = BTreeMap::new();
    for number in 0..count {
        sleep_until(due(number)).await;
        let delivery = producer.send(record(TOPIC, number)).await.map_err(context("produce"))?;
        // What fails has not come.
        waiting.spawn(async move { delivery.await.ok().map(|_| (number, Instant::now())) });
        while let Ok((number, at)) = reads.try_recv() {
            seen.insert(number, at);
        }
    }
    let end = due(count) + GRACE;
    let mut acknowledged = BTreeMap::new();
    while let Ok(Some(done)) = timeout_at(end, waiting.join_next()).await {
        acknowledged.extend(done.map_err(context("wait for a record"))?);
    }
    while (seen.len() as u64) < count {
        let Ok(Some((number, at))) = timeout_at(end, reads.recv()).await else { break };
        seen.insert(number, at);
    }
    let ages = |moments: &BTreeMap<u64, Instant>| {
        let age = |number| {
            let at = moments.get(&number).copied().unwrap_or(end);
            at.saturating_duration_since(due(number)).as_secs_f64() * 1e3
        };
        (settled..count).map(age).collect()
    };
    Ok(Ages { acknowledged: ages(&acknowledged), read: ages(&seen) })
}

/// Says which numbers were read, and when. Ends when nobody listens, or with an error that shows as what has not come.
async fn follow(mut consumer: Consumer, read: mpsc::Sender<(u64, Instant)>) {
    while let Ok(event) = consumer.poll(Duration::from_secs(1)).await {
        let Event::Records(records) = event else { continue };
        let now = Instant::now();
        for record in records.records {
            let digits = record.value.as_ref().and_then(|value| value.first_chunk::<8>());
            let number = digits.map_or(u64::MAX, |digits| u64::from_be_bytes(*digits));
            if read.send((number, now)).await.is_err() {
                return;
            }
        }
    }
}
