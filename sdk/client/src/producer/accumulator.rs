//! Where records wait to become batches: one open batch per target, and the full ones before it.
//!
//! Shared between those who send records and the task that sends batches. The lock is held for one
//! record or one batch, never over a wait or a compression.

use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use brooklet_types::Timestamp;
use brooklet_wire::batch::BatchBuilder;
use bytes::Bytes;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::Instant;

use super::{Delivery, Outcome, ProduceError, ProducerConfig, ProducerRecord, Target};

/// What a record costs in memory and on the wire beyond its bytes, at most.
const RECORD_OVERHEAD_BYTES: usize = 32;

/// A topic, and which line of its batches.
pub(crate) type Key = (Arc<str>, Target);

/// What senders of records and the sender of batches share.
pub(crate) struct Shared {
    pub(crate) config: ProducerConfig,
    accumulator: Mutex<Accumulator>,
    /// One permit per byte of [`ProducerConfig::buffer_bytes`].
    budget: Semaphore,
    /// A batch is full, or somebody flushes.
    pub(crate) wake: Notify,
    /// Batches that are not delivered yet, the open ones included.
    outstanding: watch::Sender<usize>,
    /// How many callers wait in `flush`.
    flushing: AtomicUsize,
}

/// The batches of all partitions that the sender has not taken yet.
#[derive(Default)]
pub(crate) struct Accumulator {
    queues: BTreeMap<Key, VecDeque<OpenBatch>>,
    /// Where records without key and partition go until that batch is full.
    sticky: BTreeMap<Arc<str>, u32>,
}

/// Records of one partition, in order; complete once another one stands behind it.
pub(crate) struct OpenBatch {
    pub(crate) builder: BatchBuilder,
    pub(crate) since: Instant,
    pub(crate) outcome: watch::Sender<Outcome>,
    /// What it takes of the budget.
    pub(crate) reserved: usize,
    full: bool,
}

impl Shared {
    pub(crate) fn new(config: ProducerConfig) -> Shared {
        let permits = config.buffer_bytes.min(Semaphore::MAX_PERMITS);
        Shared {
            config,
            accumulator: Mutex::default(),
            budget: Semaphore::new(permits),
            wake: Notify::new(),
            outstanding: watch::Sender::new(0),
            flushing: AtomicUsize::new(0),
        }
    }

    /// Waits for `bytes` of the budget.
    pub(crate) async fn reserve(&self, bytes: usize) {
        let permits = u32::try_from(bytes).expect("a record fits in the buffer");
        if self.budget.available_permits() < bytes {
            // What waits for more records must leave, or the budget never comes back.
            self.wake.notify_one();
        }
        let permit = self.budget.acquire_many(permits).await;
        permit.expect("the budget is never closed").forget();
    }

    /// Adds a record to its target's batch; without one, to that of whatever partition has its turn. The budget
    /// must have been reserved.
    pub(crate) fn push(
        &self,
        record: ProducerRecord,
        target: Option<Target>,
        count: u32,
        bytes: usize,
    ) -> Result<Delivery, ProduceError> {
        let timestamp = record.timestamp.unwrap_or_else(now);
        let mut accumulator = self.lock();
        let spreads = target.is_none();
        let target = target.unwrap_or_else(|| {
            Target::Partition(accumulator.sticky_partition(&record.topic, count))
        });
        let queue = accumulator.queues.entry((record.topic.clone(), target)).or_default();
        let limit = self.config.batch_bytes;
        let fits =
            |batch: &OpenBatch| !batch.full && batch.builder.uncompressed_bytes() + bytes <= limit;
        let opened = !queue.back().is_some_and(fits);
        if opened {
            if let Some(last) = queue.back_mut() {
                last.full = true;
            }
            queue.push_back(self.open());
        }
        let batch = queue.back_mut().expect("one was opened if there was none");
        let index = batch.builder.record_count();
        let headers: Vec<(&[u8], Option<&[u8]>)> =
            record.headers.iter().map(|(name, value)| (&name[..], value.as_deref())).collect();
        let (key, value) = (record.key.as_deref(), record.value.as_deref());
        let pushed = batch.builder.push(timestamp, key, value, &headers);
        if let Err(error) = pushed {
            self.budget.add_permits(bytes);
            return Err(ProduceError::Unencodable { reason: error.to_string() });
        }
        batch.reserved += bytes;
        batch.full = batch.builder.uncompressed_bytes() >= limit;
        let delivery = Delivery { outcome: batch.outcome.subscribe(), target, index };
        if opened && spreads && queue.len() > 1 {
            accumulator.move_on(&record.topic, count);
        }
        drop(accumulator);
        if opened {
            self.wake.notify_one();
        }
        Ok(delivery)
    }

    /// Takes the oldest batch of `key` if it is complete, or has waited long enough.
    pub(crate) fn take(&self, key: &Key, now: Instant) -> Option<OpenBatch> {
        let mut accumulator = self.lock();
        let queue = accumulator.queues.get_mut(key)?;
        let first = queue.front()?;
        let ready = self.is_ready_at(first, queue.len()) <= now;
        if ready { queue.pop_front() } else { None }
    }

    /// Every partition with a batch, and when its oldest may be taken.
    pub(crate) fn waiting(&self) -> Vec<(Key, Instant)> {
        let accumulator = self.lock();
        let waiting = accumulator.queues.iter().filter_map(|(key, queue)| {
            let first = queue.front()?;
            Some((key.clone(), self.is_ready_at(first, queue.len())))
        });
        waiting.collect()
    }

    /// Tells everybody who waits for a batch what became of it, and returns its budget.
    pub(crate) fn finish(
        &self,
        outcome: &watch::Sender<Outcome>,
        reserved: usize,
        result: Result<super::Stored, ProduceError>,
    ) {
        outcome.send_replace(Some(result));
        self.budget.add_permits(reserved);
        self.outstanding.send_modify(|count| *count -= 1);
    }

    pub(crate) async fn flush(&self) {
        self.flushing.fetch_add(1, Ordering::SeqCst);
        // Also when the caller stops waiting.
        let _done = OnDrop(|| self.flushing.fetch_sub(1, Ordering::SeqCst));
        self.wake.notify_one();
        let mut outstanding = self.outstanding.subscribe();
        let waited = outstanding.wait_for(|count| *count == 0).await;
        waited.expect("the sender of the count lives as long as the producer");
    }

    pub(crate) fn buffered_bytes(&self) -> usize {
        self.config.buffer_bytes.saturating_sub(self.budget.available_permits())
    }

    fn is_ready_at(&self, first: &OpenBatch, queued: usize) -> Instant {
        let short = self.budget.available_permits() < self.config.batch_bytes;
        let at_once = queued > 1 || first.full || short || self.flushing.load(Ordering::SeqCst) > 0;
        if at_once { first.since } else { first.since + self.config.linger }
    }

    fn open(&self) -> OpenBatch {
        self.outstanding.send_modify(|count| *count += 1);
        let builder = BatchBuilder::new(self.config.compression);
        OpenBatch {
            builder: match self.config.compression_level {
                Some(level) => builder.level(level),
                None => builder,
            },
            since: Instant::now(),
            outcome: watch::Sender::new(None),
            reserved: 0,
            full: false,
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Accumulator> {
        // A record is either in a batch or not; a panic elsewhere leaves nothing half done.
        self.accumulator.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Accumulator {
    fn sticky_partition(&mut self, topic: &Arc<str>, count: u32) -> u32 {
        *self.sticky.entry(topic.clone()).or_insert_with(|| {
            // Many small producers should not all begin with partition 0.
            let chance = std::hash::BuildHasher::hash_one(&std::hash::RandomState::new(), 0);
            u32::try_from(chance % u64::from(count)).expect("below a u32")
        }) % count
    }

    fn move_on(&mut self, topic: &Arc<str>, count: u32) {
        if let Some(partition) = self.sticky.get_mut(topic) {
            *partition = (*partition + 1) % count;
        }
    }
}

/// What a record takes of the budget.
pub(crate) fn record_bytes(record: &ProducerRecord) -> usize {
    let length = |bytes: &Option<Bytes>| bytes.as_ref().map_or(0, Bytes::len);
    let headers = record.headers.iter();
    let headers = headers.map(|(name, value)| name.len() + length(value) + RECORD_OVERHEAD_BYTES);
    length(&record.key) + length(&record.value) + headers.sum::<usize>() + RECORD_OVERHEAD_BYTES
}

fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}

struct OnDrop<R, F: Fn() -> R>(F);

impl<R, F: Fn() -> R> Drop for OnDrop<R, F> {
    fn drop(&mut self) {
        (self.0)();
    }
}
