//! Newtypes for everything Kafka numbers, so that no two kinds of number can be confused.
//!
//! Kafka's wire says "none" with -1 (or all zeroes for topic ids). The sentinel stops at the
//! codec: inside the broker absence is an `Option`.

use std::fmt;

/// A broker of the cluster. Kafka's `node.id`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BrokerId(pub i32);

/// A partition's number within its topic, from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionIndex(pub u32);

/// The term of one leader of one partition. Grows with every change of leader and every unclean
/// restart, and is written into each batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct LeaderEpoch(pub u32);

/// An idempotent or transactional producer, allotted by `InitProducerId`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ProducerId(pub u64);

/// The incarnation of a producer id; a newer one fences the older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct ProducerEpoch(pub u16);

/// Which topic of a name is meant: a deleted and re-created topic has another id (KIP-516).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicId(pub [u8; 16]);

/// One partition of one incarnation of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TopicPartition {
    /// The topic's incarnation.
    pub topic: TopicId,
    /// The partition within it.
    pub partition: PartitionIndex,
}

impl PartitionIndex {
    /// Reads a wire partition number; a negative one names no partition.
    pub fn from_wire(raw: i32) -> Option<PartitionIndex> {
        u32::try_from(raw).ok().map(PartitionIndex)
    }

    /// The number as Kafka writes it.
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).expect("partition counts are limited far below i32::MAX")
    }
}

impl LeaderEpoch {
    /// Reads a wire epoch; a negative one means "not known".
    pub fn from_wire(raw: i32) -> Option<LeaderEpoch> {
        u32::try_from(raw).ok().map(LeaderEpoch)
    }

    /// The epoch as Kafka writes it.
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).expect("an epoch grows by restarts and elections, never to i32::MAX")
    }
}

impl ProducerId {
    /// Reads a wire producer id; a negative one means "not idempotent".
    pub fn from_wire(raw: i64) -> Option<ProducerId> {
        u64::try_from(raw).ok().map(ProducerId)
    }

    /// The id as Kafka writes it.
    pub fn to_wire(self) -> i64 {
        i64::try_from(self.0).expect("ids are allotted from zero, one at a time")
    }
}

impl ProducerEpoch {
    /// Reads a wire epoch; a negative one means "none".
    pub fn from_wire(raw: i16) -> Option<ProducerEpoch> {
        u16::try_from(raw).ok().map(ProducerEpoch)
    }

    /// The epoch as Kafka writes it.
    pub fn to_wire(self) -> i16 {
        i16::try_from(self.0).expect("read from an i16 or bumped only below i16::MAX")
    }
}

impl TopicId {
    /// Reads a wire topic id; all zeroes means "none".
    pub fn from_wire(raw: [u8; 16]) -> Option<TopicId> {
        (raw != [0; 16]).then_some(TopicId(raw))
    }

    /// A version-4 UUID out of sixteen random bytes.
    pub fn from_random(mut bytes: [u8; 16]) -> TopicId {
        bytes[6] = (bytes[6] & 0x0f) | 0x40;
        bytes[8] = (bytes[8] & 0x3f) | 0x80;
        TopicId(bytes)
    }
}

impl fmt::Display for BrokerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for PartitionIndex {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for LeaderEpoch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

impl fmt::Display for ProducerId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(formatter)
    }
}

/// Kafka's spelling: URL-safe base64 without padding, 22 characters.
impl fmt::Display for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        const ALPHABET: &[u8; 64] =
            b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
        let number = u128::from_be_bytes(self.0);
        // 22 sextets hold 132 bits: the last one carries two bits and four of padding.
        for sextet in 0..22 {
            let shifted = if sextet < 21 { number >> (122 - 6 * sextet) } else { number << 4 };
            let index = usize::try_from(shifted & 0x3f).expect("six bits");
            write!(formatter, "{}", char::from(ALPHABET[index]))?;
        }
        Ok(())
    }
}

impl fmt::Debug for TopicId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_id_is_written_as_kafka_writes_it() {
        assert_eq!(TopicId([0; 16]).to_string(), "AAAAAAAAAAAAAAAAAAAAAA");
        assert_eq!(TopicId([0xff; 16]).to_string(), "_____________________w");
        let counting = std::array::from_fn(|index| u8::try_from(index).unwrap());
        assert_eq!(TopicId(counting).to_string(), "AAECAwQFBgcICQoLDA0ODw");
    }

    #[test]
    fn sentinels_stop_at_the_codec() {
        assert_eq!(ProducerId::from_wire(-1), None);
        assert_eq!(TopicId::from_wire([0; 16]), None);
        assert_eq!(LeaderEpoch::from_wire(7), Some(LeaderEpoch(7)));
    }
}
