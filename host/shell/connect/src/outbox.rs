//! How far each source has come, and what it has still to deliver: one record in a compacted topic.
//!
//! A poll gives records and the position after them. Both are written into the outbox as one record; then the
//! records are delivered under the task's own producer id, in sequences that the outbox has as well; then the next
//! poll's record takes the place of this one. Whoever starts again delivers what the outbox holds once more: what
//! the broker has already, it knows by its sequence (KIP-98), and stores nothing. So each record is stored once
//! although no transaction spans the partitions; the price is that it is written twice.
//!
//! **Invariants.** A partition has at most [`ROUNDS_MAX`] batches on the way that the outbox still holds: no more
//! than the broker remembers of a producer.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brooklet_client::admin::NewTopic;
use brooklet_client::{
    Admin, ApiError, Client, ConsumeError, Consumer, ConsumerConfig, Event, OffsetSpec, Producer,
    ProducerConfig, ProducerRecord,
};
use brooklet_types::{ErrorCode, ProducerEpoch, ProducerId};
use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// The topic.
pub(crate) const TOPIC: &str = "__connect_outbox";
/// Batches of a partition that are delivered before the outbox is told. The broker remembers five.
pub(crate) const ROUNDS_MAX: usize = 4;
/// A record of the outbox is a poll's, which is smaller by far, with room for one that is out of proportion.
const RECORD_BYTES_MAX: usize = 64 << 20;
/// Segments are small, so that little is read at a start.
const SEGMENT_BYTES: u64 = 64 << 20;
/// How long to wait for records that are there.
const READ_WAIT: Duration = Duration::from_secs(30);

/// A partition of a topic.
pub(crate) type Partition = (String, u32);

/// Records of one partition that were not delivered yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Batch {
    pub(crate) partition: Partition,
    /// A record batch without a producer.
    pub(crate) bytes: Bytes,
    pub(crate) records: u32,
}

/// What the outbox holds of one source's part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Entry {
    pub(crate) producer: (ProducerId, ProducerEpoch),
    /// The sequence of the next record of each partition.
    pub(crate) sequences: BTreeMap<Partition, i32>,
    /// Where to go on once the batches are delivered; none before the first records.
    pub(crate) position: Option<Vec<u8>>,
    /// To be delivered, in this order.
    pub(crate) batches: Vec<Batch>,
}

#[derive(Serialize, Deserialize)]
struct Head {
    producer_id: i64,
    producer_epoch: u16,
    sequences: Vec<(String, u32, i32)>,
    position_bytes: Option<usize>,
    batches: Vec<(String, u32, u32, usize)>,
}

impl Entry {
    /// Notes that a batch has arrived.
    pub(crate) fn delivered(&mut self, batch: &Batch) {
        let sequence = self.sequences.entry(batch.partition.clone()).or_insert(0);
        *sequence = sequence.wrapping_add_unsigned(batch.records) & i32::MAX;
    }

    /// The sequence of the next batch of a partition.
    pub(crate) fn sequence(&self, partition: &Partition) -> i32 {
        self.sequences.get(partition).copied().unwrap_or(0)
    }

    /// A line of JSON, then the position's bytes, then those of each batch.
    fn encode(&self) -> Bytes {
        let of = |batch: &Batch| {
            let (topic, index) = batch.partition.clone();
            (topic, index, batch.records, batch.bytes.len())
        };
        let head = Head {
            producer_id: self.producer.0.to_wire(),
            producer_epoch: self.producer.1.0,
            sequences: self
                .sequences
                .iter()
                .map(|((topic, index), sequence)| (topic.clone(), *index, *sequence))
                .collect(),
            position_bytes: self.position.as_ref().map(Vec::len),
            batches: self.batches.iter().map(of).collect(),
        };
        let mut bytes = serde_json::to_vec(&head).expect("numbers and names");
        bytes.push(b'\n');
        bytes.extend_from_slice(self.position.as_deref().unwrap_or_default());
        for batch in &self.batches {
            bytes.extend_from_slice(&batch.bytes);
        }
        bytes.into()
    }

    fn decode(bytes: &Bytes) -> Option<Entry> {
        let line = bytes.iter().position(|byte| *byte == b'\n')?;
        let head: Head = serde_json::from_slice(&bytes[..line]).ok()?;
        let mut at = line + 1;
        let mut take = |length: usize| {
            let end = at.checked_add(length).filter(|end| *end <= bytes.len())?;
            Some(bytes.slice(std::mem::replace(&mut at, end)..end))
        };
        let position = match head.position_bytes {
            Some(length) => Some(take(length)?.to_vec()),
            None => None,
        };
        let mut batches = Vec::with_capacity(head.batches.len());
        for (topic, index, records, length) in head.batches {
            batches.push(Batch { partition: (topic, index), bytes: take(length)?, records });
        }
        let id = ProducerId::from_wire(head.producer_id)?;
        let sequences = head.sequences.into_iter();
        Some(Entry {
            producer: (id, ProducerEpoch(head.producer_epoch)),
            sequences: sequences.map(|(topic, index, it)| ((topic, index), it)).collect(),
            position,
            batches,
        })
    }
}

/// Why the outbox can't be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum OutboxError {
    #[error("{TOPIC}: {0}")]
    Api(#[from] ApiError),
    #[error("{TOPIC}: {0}")]
    Read(#[from] ConsumeError),
    #[error("{TOPIC}: {0}")]
    Write(#[from] brooklet_client::ProduceError),
    #[error("{TOPIC}: the record at offset {0} can't be read")]
    Unreadable(i64),
    #[error("{TOPIC}: its end was not reached within {READ_WAIT:?}")]
    Slow,
}

/// The outbox of all sources of this broker, which are its only writers.
pub(crate) struct Outbox {
    client: Client,
    producer: Producer,
    /// What each part's newest record says; protects the map alone.
    entries: Mutex<BTreeMap<String, Entry>>,
}

impl Outbox {
    /// Makes the topic if it is not there, and reads what it holds.
    pub(crate) async fn open(client: Client) -> Result<Outbox, OutboxError> {
        let admin = Admin::new(client.clone());
        let topic = NewTopic {
            name: TOPIC.to_owned(),
            partitions: Some(1),
            replication: None,
            settings: [
                ("cleanup.policy", "compact".to_owned()),
                ("max.message.bytes", RECORD_BYTES_MAX.to_string()),
                ("segment.bytes", SEGMENT_BYTES.to_string()),
                ("min.cleanable.dirty.ratio", "0.1".to_owned()),
                ("brooklet.flush", "sync".to_owned()),
            ]
            .map(|(name, value)| (name.to_owned(), value))
            .into(),
        };
        match admin.create_topic(&topic, false).await {
            Ok(_) => {}
            Err(error) if error.code() == Some(ErrorCode::TopicAlreadyExists) => {}
            Err(error) => return Err(error.into()),
        }
        let entries = read(&client).await?;
        let config = ProducerConfig {
            linger: Duration::ZERO,
            batch_bytes: RECORD_BYTES_MAX,
            ..ProducerConfig::default()
        };
        let producer = Producer::start(client.clone(), config)?;
        Ok(Outbox { client, producer, entries: Mutex::new(entries) })
    }

    /// What is known of a part of a source; a new one gets a producer of its own.
    pub(crate) async fn entry(&self, key: &str) -> Result<Entry, OutboxError> {
        if let Some(entry) = self.entries().get(key) {
            return Ok(entry.clone());
        }
        let producer = self.client.new_producer_id().await?;
        Ok(Entry { producer, sequences: BTreeMap::new(), position: None, batches: Vec::new() })
    }

    /// Puts a part's entry in the place of the one before. It is on the disk when this returns.
    pub(crate) async fn put(&self, key: &str, entry: &Entry) -> Result<(), OutboxError> {
        self.write(key, Some(entry.encode())).await?;
        self.entries().insert(key.to_owned(), entry.clone());
        Ok(())
    }

    /// Remembers what needs no record: that what the newest one holds was delivered.
    pub(crate) fn note(&self, key: &str, entry: &Entry) {
        self.entries().insert(key.to_owned(), entry.clone());
    }

    /// Forgets all parts of a connector.
    pub(crate) async fn forget(&self, connector: &str) -> Result<(), OutboxError> {
        let of_it = |key: &String| {
            serde_json::from_str::<(String, String)>(key).is_ok_and(|(name, _)| name == connector)
        };
        let keys: BTreeSet<String> =
            self.entries().keys().filter(|key| of_it(key)).cloned().collect();
        for key in keys {
            self.write(&key, None).await?;
            self.entries().remove(&key);
        }
        Ok(())
    }

    async fn write(&self, key: &str, value: Option<Bytes>) -> Result<(), OutboxError> {
        let record = ProducerRecord {
            topic: TOPIC.into(),
            partition: Some(0),
            key: Some(Bytes::copy_from_slice(key.as_bytes())),
            value,
            ..ProducerRecord::default()
        };
        self.producer.send(record).await?.await?;
        Ok(())
    }

    fn entries(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The key of a part of a source.
pub(crate) fn key(connector: &str, split: &str) -> String {
    serde_json::to_string(&(connector, split)).expect("two texts")
}

/// The newest record of each key.
async fn read(client: &Client) -> Result<BTreeMap<String, Entry>, OutboxError> {
    let partition = (TOPIC.to_owned(), 0);
    let of = |spec| [(partition.clone(), spec)];
    let end = client.offsets(&of(OffsetSpec::Latest)).await?;
    let end = end.get(&partition).and_then(|at| at.offset).unwrap_or(0);
    let start = client.offsets(&of(OffsetSpec::Earliest)).await?;
    let start = start.get(&partition).and_then(|at| at.offset).unwrap_or(0);
    let mut newest: BTreeMap<String, (i64, Bytes)> = BTreeMap::new();
    let mut next = start;
    let mut consumer =
        Consumer::assign(client.clone(), ConsumerConfig::default(), [(partition, start)].into());
    while next < end {
        let Event::Records(records) = consumer.poll(READ_WAIT).await? else {
            return Err(OutboxError::Slow);
        };
        next = records.next_offset;
        for record in records.records {
            let key = String::from_utf8_lossy(record.key.as_deref().unwrap_or_default());
            match record.value {
                Some(value) => newest.insert(key.into_owned(), (record.offset, value)),
                None => newest.remove(&*key),
            };
        }
    }
    let decode = |(key, (offset, value)): (String, (i64, Bytes))| {
        Ok((key, Entry::decode(&value).ok_or(OutboxError::Unreadable(offset))?))
    };
    newest.into_iter().map(decode).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry() -> Entry {
        let partition = ("a".to_owned(), 3);
        Entry {
            producer: (ProducerId::from_wire(7).unwrap(), ProducerEpoch(1)),
            sequences: [(partition.clone(), i32::MAX - 1)].into(),
            position: Some(b"\n{}".to_vec()),
            batches: vec![
                Batch { partition, bytes: Bytes::from_static(b"one\n"), records: 3 },
                Batch { partition: ("b".to_owned(), 0), bytes: Bytes::new(), records: 1 },
            ],
        }
    }

    #[test]
    fn an_entry_is_read_as_it_was_written() {
        let entry = entry();
        assert_eq!(Entry::decode(&entry.encode()), Some(entry.clone()));
        let first = Entry { position: None, batches: Vec::new(), ..entry };
        assert_eq!(Entry::decode(&first.encode()), Some(first));
    }

    #[test]
    fn an_entry_that_was_cut_is_none() {
        let whole = entry().encode();
        for length in 0..whole.len() {
            assert_eq!(Entry::decode(&whole.slice(..length)), None, "{length} bytes");
        }
    }

    #[test]
    fn sequences_begin_anew_after_the_last_one() {
        let mut entry = entry();
        let batch = entry.batches[0].clone();
        entry.delivered(&batch);
        // i32::MAX - 1, i32::MAX, 0, and so 1 is next.
        assert_eq!(entry.sequence(&batch.partition), 1);
    }
}
