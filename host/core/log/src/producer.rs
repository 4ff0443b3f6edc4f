//! What a partition remembers of its idempotent producers, so that a batch sent again is not stored
//! again and a batch that skips one is not stored at all.
//!
//! **Where it sits.** In a log, asked before every append and told after it.
//!
//! **What it decides.** Whether a batch is new, a duplicate (and of what), or out of order.
//!
//! **What it never does.** Write: [`Producers::to_snapshot`] gives the bytes of Kafka's `.snapshot` file
//! and [`Producers::from_snapshot`] reads them, the log does the rest.
//!
//! **Invariant.** A producer has at most [`PRODUCER_BATCHES_MAX`] batches, consecutive in sequence
//! and ascending in offset.
//!
//! Sources: KIP-98, KIP-360, Kafka's `ProducerAppendInfo` and `ProducerStateManager`.

use std::collections::{BTreeMap, VecDeque};

use brooklet_types::limits::PRODUCER_BATCHES_MAX;
use brooklet_types::{ErrorCode, Offset, ProducerEpoch, ProducerId, Timestamp};
use brooklet_wire::batch::BatchHeader;
use brooklet_wire::checksum;

/// Producers remembered for one partition. Beyond it the one that has been silent longest is
/// forgotten, as if it had expired; a client makes a producer id with every start.
const PRODUCERS_MAX: usize = 100_000;

/// Sequences go from 0 to this and begin again.
const SEQUENCE_MAX: u32 = i32::MAX as u32;

/// All producers of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Producers {
    by_id: BTreeMap<ProducerId, Producer>,
}

/// One producer, as one partition knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Producer {
    epoch: ProducerEpoch,
    batches: VecDeque<Stored>,
    last_timestamp: Timestamp,
}

/// A batch that was stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stored {
    first_sequence: u32,
    last_sequence: u32,
    base: Offset,
    last: Offset,
    timestamp: Timestamp,
}

/// What a batch is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// To be appended.
    New,
    /// Stored already, at these offsets.
    Duplicate { base: Offset, last: Offset },
}

/// Why a batch may not be appended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProducerError {
    /// A newer incarnation of the producer has written.
    #[error("producer {id:?} writes with epoch {epoch:?}, its newest is {newest:?}")]
    StaleEpoch { id: ProducerId, epoch: ProducerEpoch, newest: ProducerEpoch },
    /// A batch before it has not arrived.
    #[error("producer {id:?} sent sequence {sequence}, {expected} is next")]
    OutOfOrder { id: ProducerId, sequence: u32, expected: u32 },
}

impl ProducerError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            ProducerError::StaleEpoch { .. } => ErrorCode::InvalidProducerEpoch,
            ProducerError::OutOfOrder { .. } => ErrorCode::OutOfOrderSequenceNumber,
        }
    }
}

impl Producers {
    /// Whether `header`'s batch may be appended. Batches without a producer id always may.
    pub fn check(&self, header: &BatchHeader) -> Result<Verdict, ProducerError> {
        let Some((id, epoch, first, last)) = sequence_of(header) else { return Ok(Verdict::New) };
        // Forgotten, expired or never seen: whatever it sends is where it goes on (KIP-360).
        let Some(producer) = self.by_id.get(&id) else { return Ok(Verdict::New) };
        let newest = producer.epoch;
        if epoch < newest {
            return Err(ProducerError::StaleEpoch { id, epoch, newest });
        }
        if epoch > newest {
            let in_order = first == 0;
            let out_of_order = ProducerError::OutOfOrder { id, sequence: first, expected: 0 };
            return if in_order { Ok(Verdict::New) } else { Err(out_of_order) };
        }
        let same =
            |stored: &&Stored| stored.first_sequence == first && stored.last_sequence == last;
        if let Some(stored) = producer.batches.iter().find(same) {
            return Ok(Verdict::Duplicate { base: stored.base, last: stored.last });
        }
        let Some(newest) = producer.batches.back() else { return Ok(Verdict::New) };
        let expected = following(newest.last_sequence, 1);
        if first == expected {
            Ok(Verdict::New)
        } else {
            Err(ProducerError::OutOfOrder { id, sequence: first, expected })
        }
    }

    /// `header`'s batch has been appended at `base`.
    pub fn record(&mut self, header: &BatchHeader, base: Offset) {
        let Some((id, epoch, first_sequence, last_sequence)) = sequence_of(header) else { return };
        let last = base.plus(brooklet_types::RecordCount(header.last_offset_delta));
        let timestamp = header.max_timestamp;
        if !self.by_id.contains_key(&id) && self.by_id.len() >= PRODUCERS_MAX {
            self.forget_the_most_silent();
        }
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: timestamp,
        });
        if producer.epoch != epoch {
            producer.epoch = epoch;
            producer.batches.clear();
        }
        producer.last_timestamp = timestamp;
        if producer.batches.len() == PRODUCER_BATCHES_MAX {
            producer.batches.pop_front();
        }
        producer.batches.push_back(Stored { first_sequence, last_sequence, base, last, timestamp });
    }

    /// Forgets who has been silent for longer than `expiration_ms`.
    pub fn expire(&mut self, now: Timestamp, expiration_ms: i64) {
        self.by_id.retain(|_, producer| now.millis_since(producer.last_timestamp) <= expiration_ms);
    }

    /// Everyone, by id.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (ProducerId, &Producer)> {
        self.by_id.iter().map(|(id, producer)| (*id, producer))
    }

    /// Whether nobody is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    fn forget_the_most_silent(&mut self) {
        let most_silent = self.by_id.iter().min_by_key(|(_, producer)| producer.last_timestamp);
        if let Some(id) = most_silent.map(|(id, _)| *id) {
            self.by_id.remove(&id);
        }
    }
}

impl Producer {
    /// Its newest incarnation.
    pub fn epoch(&self) -> ProducerEpoch {
        self.epoch
    }

    /// The sequence of its last record.
    pub fn last_sequence(&self) -> Option<u32> {
        self.batches.back().map(|stored| stored.last_sequence)
    }

    /// The newest time in its last batch.
    pub fn last_timestamp(&self) -> Timestamp {
        self.last_timestamp
    }

    /// The offset of its last record.
    pub fn last_offset(&self) -> Option<Offset> {
        self.batches.back().map(|stored| stored.last)
    }
}

/// Producer, epoch, first and last sequence of a batch that has them.
fn sequence_of(header: &BatchHeader) -> Option<(ProducerId, ProducerEpoch, u32, u32)> {
    let (id, epoch) = (header.producer_id?, header.producer_epoch?);
    let first = u32::try_from(header.base_sequence).ok()?;
    Some((id, epoch, first, following(first, header.last_offset_delta)))
}

/// The sequence `count` after `sequence`, beginning again behind the largest.
fn following(sequence: u32, count: u32) -> u32 {
    let sum = u64::from(sequence) + u64::from(count);
    u32::try_from(sum % (u64::from(SEQUENCE_MAX) + 1)).expect("the remainder is smaller")
}

const SNAPSHOT_VERSION: i16 = 1;
const SNAPSHOT_HEAD_BYTES: usize = 10;
const SNAPSHOT_ENTRY_BYTES: usize = 46;

/// Kafka's `.snapshot` file: `version i16 · crc u32 · count i32`, then for each entry `producer id i64 ·
/// epoch i16 · last sequence i32 · last offset i64 · offset delta i32 · timestamp i64 ·
/// coordinator epoch i32 · first offset of the open transaction i64`.
///
/// Kafka writes a producer's last batch only and recognises only that one again after a restart.
/// We write all that are remembered, oldest first: Kafka's reader keeps the last of them.
impl Producers {
    /// The file's bytes.
    pub fn to_snapshot(&self) -> Vec<u8> {
        let mut bytes = vec![0; SNAPSHOT_HEAD_BYTES];
        let mut count: i32 = 0;
        for (id, producer) in &self.by_id {
            for stored in &producer.batches {
                count = count.saturating_add(1);
                bytes.extend(id.to_wire().to_be_bytes());
                bytes.extend(producer.epoch.to_wire().to_be_bytes());
                bytes.extend(stored.last_sequence.to_be_bytes());
                bytes.extend(stored.last.to_wire().to_be_bytes());
                let delta = u32::try_from(stored.last.distance_from(stored.base));
                bytes.extend(delta.expect("a batch's offsets span 32 bits").to_be_bytes());
                bytes.extend(stored.timestamp.0.to_be_bytes());
                bytes.extend((-1i32).to_be_bytes());
                bytes.extend((-1i64).to_be_bytes());
            }
        }
        bytes[..2].copy_from_slice(&SNAPSHOT_VERSION.to_be_bytes());
        bytes[6..10].copy_from_slice(&count.to_be_bytes());
        let crc = checksum::of(&bytes[6..]);
        bytes[2..6].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads a file's bytes; `None` when they are not a whole snapshot, which is as good as none.
    pub fn from_snapshot(bytes: &[u8]) -> Option<Producers> {
        let (head, entries) = bytes.split_at_checked(SNAPSHOT_HEAD_BYTES)?;
        let version = i16::from_be_bytes(head[..2].try_into().ok()?);
        let crc = u32::from_be_bytes(head[2..6].try_into().ok()?);
        let count = i32::from_be_bytes(head[6..10].try_into().ok()?);
        let expected = usize::try_from(count).ok()?.checked_mul(SNAPSHOT_ENTRY_BYTES)?;
        let whole = version == SNAPSHOT_VERSION
            && entries.len() == expected
            && checksum::of(&bytes[6..]) == crc;
        if !whole {
            return None;
        }
        let mut producers = Producers::default();
        for entry in entries.chunks_exact(SNAPSHOT_ENTRY_BYTES) {
            producers.load(entry)?;
        }
        Some(producers)
    }

    fn load(&mut self, entry: &[u8]) -> Option<()> {
        let id = ProducerId::from_wire(i64::from_be_bytes(entry[..8].try_into().ok()?))?;
        let epoch = ProducerEpoch::from_wire(i16::from_be_bytes(entry[8..10].try_into().ok()?))?;
        let last_sequence = i32::from_be_bytes(entry[10..14].try_into().ok()?);
        let last = Offset::from_wire(i64::from_be_bytes(entry[14..22].try_into().ok()?))?;
        let delta = u32::from_be_bytes(entry[22..26].try_into().ok()?);
        let timestamp = Timestamp(i64::from_be_bytes(entry[26..34].try_into().ok()?));
        let producer = self.by_id.entry(id).or_insert_with(|| Producer {
            epoch,
            batches: VecDeque::new(),
            last_timestamp: timestamp,
        });
        producer.epoch = epoch;
        producer.last_timestamp = timestamp;
        // A producer of which Kafka knows no batch yet has sequence -1.
        if let Ok(last_sequence) = u32::try_from(last_sequence) {
            let base = Offset::new(last.value().checked_sub(u64::from(delta))?);
            let back = u64::from(SEQUENCE_MAX) + 1 - u64::from(delta.min(SEQUENCE_MAX));
            let back = u32::try_from(back).ok()?;
            let first_sequence = following(last_sequence, back);
            if producer.batches.len() == PRODUCER_BATCHES_MAX {
                producer.batches.pop_front();
            }
            producer.batches.push_back(Stored {
                first_sequence,
                last_sequence,
                base,
                last,
                timestamp,
            });
        }
        Some(())
    }
}

#[cfg(test)]
mod tests {
    use brooklet_wire::batch::BatchBuilder;
    use brooklet_wire::compress::Codec;

    use super::*;

    fn batch(epoch: u16, sequence: i32, records: u32) -> BatchHeader {
        let mut builder =
            BatchBuilder::new(Codec::None).producer(ProducerId(9), ProducerEpoch(epoch), sequence);
        for _ in 0..records {
            builder.push(Timestamp(50), None, Some(b"v"), &[]).unwrap();
        }
        BatchHeader::parse(&builder.build().unwrap()).unwrap()
    }

    /// Appends one batch after the other, each where the last ended.
    fn after(batches: &[(u16, i32, u32)]) -> Producers {
        let mut producers = Producers::default();
        let mut next = 0;
        for (epoch, sequence, records) in batches {
            let header = batch(*epoch, *sequence, *records);
            assert_eq!(producers.check(&header), Ok(Verdict::New), "{epoch} {sequence}");
            producers.record(&header, Offset::new(next));
            next += u64::from(*records);
        }
        producers
    }

    #[test]
    fn what_follows_is_new_and_what_skips_is_refused() {
        let producers = after(&[(0, 0, 3), (0, 3, 2)]);
        assert_eq!(producers.check(&batch(0, 5, 1)), Ok(Verdict::New));
        let skipped = producers.check(&batch(0, 6, 1)).unwrap_err();
        assert_eq!(skipped.code(), ErrorCode::OutOfOrderSequenceNumber);
        let half_known = producers.check(&batch(0, 3, 1)).unwrap_err();
        assert_eq!(half_known.code(), ErrorCode::OutOfOrderSequenceNumber);
    }

    #[test]
    fn the_last_five_batches_are_recognised_and_no_more() {
        let producers = after(&[(0, 0, 1), (0, 1, 2), (0, 3, 1), (0, 4, 1), (0, 5, 1), (0, 6, 1)]);
        let again = producers.check(&batch(0, 1, 2));
        assert_eq!(again, Ok(Verdict::Duplicate { base: Offset::new(1), last: Offset::new(2) }));
        assert!(producers.check(&batch(0, 0, 1)).is_err());
    }

    #[test]
    fn a_new_epoch_begins_at_zero_and_fences_the_old() {
        let producers = after(&[(0, 0, 1), (1, 0, 1)]);
        assert_eq!(
            producers.check(&batch(0, 1, 1)).unwrap_err().code(),
            ErrorCode::InvalidProducerEpoch
        );
        assert_eq!(
            producers.check(&batch(2, 7, 1)).unwrap_err().code(),
            ErrorCode::OutOfOrderSequenceNumber
        );
        assert_eq!(producers.check(&batch(2, 0, 1)), Ok(Verdict::New));
    }

    #[test]
    fn an_unknown_producer_may_begin_anywhere() {
        assert_eq!(Producers::default().check(&batch(3, 77, 2)), Ok(Verdict::New));
    }

    #[test]
    fn sequences_begin_again_behind_the_largest() {
        let producers = after(&[(0, i32::MAX - 1, 3)]);
        assert_eq!(producers.check(&batch(0, 1, 1)), Ok(Verdict::New));
        assert!(producers.check(&batch(0, 0, 1)).is_err());
    }

    #[test]
    fn who_is_silent_expires() {
        let mut producers = after(&[(0, 0, 1)]);
        producers.expire(Timestamp(150), 100);
        assert!(!producers.is_empty());
        producers.expire(Timestamp(151), 100);
        assert!(producers.is_empty());
    }

    #[test]
    fn a_snapshot_comes_back_whole_or_not_at_all() {
        let producers = after(&[(0, i32::MAX - 1, 3), (0, 1, 2), (0, 3, 1)]);
        let bytes = producers.to_snapshot();
        assert_eq!(Producers::from_snapshot(&bytes), Some(producers));
        for cut in 0..bytes.len() {
            assert_eq!(Producers::from_snapshot(&bytes[..cut]), None, "cut to {cut} bytes");
        }
        for position in 0..bytes.len() {
            let mut flipped = bytes.clone();
            flipped[position] ^= 0x40;
            assert_eq!(Producers::from_snapshot(&flipped), None, "flipped at {position}");
        }
    }
}
