//! The sender of records: a thread of its own, because timers of the runtime are as coarse as a
//! millisecond, and a record should leave when it is due.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use brooklet_client::{ProduceError, Producer, ProducerRecord};
use bytes::Bytes;
use tokio::sync::oneshot;

use super::report::Latencies;
use super::tracker::{Tally, Tracker};
use super::{Plan, Window};

/// Different values that are sent in turn.
const VALUES: usize = 1024;

/// What is to be sent.
pub(super) struct Load {
    pub(super) producer: Producer,
    pub(super) topic: Arc<str>,
    pub(super) values: Values,
    pub(super) partitions: u32,
    /// Records per second; as fast as possible without.
    pub(super) rate: Option<u64>,
    pub(super) until: Until,
}

/// When to stop.
#[derive(Clone, Copy)]
pub(super) enum Until {
    Time(Instant),
    Records(u64),
}

/// What a record's value is.
pub(super) enum Values {
    /// One of these in turn.
    Pool(Vec<Bytes>),
    /// Made for each record, of its number and the time it is due.
    Stamped(Box<dyn Fn(u64, Instant) -> Bytes + Send>),
}

/// A running sender. It stops when this is dropped.
pub(super) struct Sender {
    shared: Arc<Shared>,
    end: oneshot::Receiver<Result<Latencies, ProduceError>>,
}

#[derive(Default)]
struct Shared {
    stop: AtomicBool,
    sent: AtomicU64,
}

impl Load {
    /// As fast as the plan says, values of its size.
    pub(super) fn of(plan: &Plan, producer: Producer, until: Until) -> Load {
        Load {
            producer,
            topic: plan.topic.as_str().into(),
            values: Values::Pool(values(plan.bytes)),
            partitions: plan.partitions,
            rate: plan.rate,
            until,
        }
    }

    /// Starts to send. Records of the window count for how late the sender itself was.
    pub(super) fn start(self, tally: Tally, window: Window) -> Sender {
        let shared = Arc::new(Shared::default());
        let (report, end) = oneshot::channel();
        let runtime = tokio::runtime::Handle::current();
        let tracker = Tracker::new(tally);
        let of_thread = shared.clone();
        std::thread::spawn(move || {
            let outcome = runtime.block_on(self.send_all(&of_thread, tracker, window));
            // Nobody waits for a sender that was given up.
            let _ = report.send(outcome);
        });
        Sender { shared, end }
    }

    async fn send_all(
        self,
        shared: &Shared,
        mut tracker: Tracker,
        window: Window,
    ) -> Result<Latencies, ProduceError> {
        let mut late = Latencies::default();
        let mut number = 0;
        loop {
            let now = Instant::now();
            let due = self.rate.map_or(now, |rate| window.began + time_of(number, rate));
            let over = match self.until {
                Until::Time(end) => due >= end,
                Until::Records(count) => number >= count,
            };
            if over || shared.stop.load(Ordering::Relaxed) {
                return Ok(late);
            }
            if due > now {
                // This thread is ours alone: nothing else waits while it sleeps.
                std::thread::sleep(due - now);
            }
            if window.contains(due) {
                late.record(Instant::now().saturating_duration_since(due));
            }
            let delivery = self.producer.send(self.record(number, due)).await?;
            tracker.sent(delivery, due);
            number += 1;
            shared.sent.store(number, Ordering::Relaxed);
        }
    }

    fn record(&self, number: u64, due: Instant) -> ProducerRecord {
        let value = match &self.values {
            Values::Pool(pool) => {
                let length = u64::try_from(pool.len()).expect("a pool fits in memory");
                let at = usize::try_from(number % length).expect("below the pool's length");
                pool[at].clone()
            }
            Values::Stamped(make) => make(number, due),
        };
        let partition = number % u64::from(self.partitions);
        ProducerRecord {
            topic: self.topic.clone(),
            partition: Some(u32::try_from(partition).expect("below a u32")),
            value: Some(value),
            ..ProducerRecord::default()
        }
    }
}

impl Sender {
    /// Records handed to the producer so far.
    pub(super) fn sent(&self) -> u64 {
        self.shared.sent.load(Ordering::Relaxed)
    }

    /// Waits until everything is handed over; says how late that was.
    pub(super) async fn finish(&mut self) -> Result<Latencies, ProduceError> {
        (&mut self.end).await.unwrap_or(Err(ProduceError::Closed))
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
    }
}

/// When record `number` is due, from the first one on. Computed anew for each, so that nothing adds
/// up.
fn time_of(number: u64, rate: u64) -> Duration {
    let nanos = u128::from(number) * 1_000_000_000 / u128::from(rate);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

/// Values like those of sensors: JSON, which compresses to something like a third. The same in
/// every run.
fn values(bytes: usize) -> Vec<Bytes> {
    let mut chance = 0x2545_f491_4f6c_dd1d_u64;
    let mut value = || {
        let mut text = String::with_capacity(bytes + 64);
        while text.len() < bytes {
            chance ^= chance << 13;
            chance ^= chance >> 7;
            chance ^= chance << 17;
            let (device, time, reading) = (chance & 0xfff, chance >> 32, chance >> 20 & 0x3fff);
            text += &format!("{{\"device\":\"d-{device:03x}\",\"t\":{time},\"v\":{reading}}},");
        }
        text.truncate(bytes);
        Bytes::from(text)
    };
    (0..VALUES).map(|_| value()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_due_evenly_and_do_not_drift() {
        assert_eq!(time_of(0, 3), Duration::ZERO);
        assert_eq!(time_of(1, 3), Duration::from_nanos(333_333_333));
        assert_eq!(time_of(3_000_000, 3), Duration::from_secs(1_000_000));
    }

    #[test]
    fn values_have_their_size_and_differ() {
        for bytes in [1, 100, 1024] {
            let values = values(bytes);
            assert!(values.iter().all(|value| value.len() == bytes), "{bytes}");
        }
        assert_ne!(values(100)[0], values(100)[1]);
    }
}
