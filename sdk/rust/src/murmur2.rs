//! The hash of Kafka's Java client, and the partition it chooses by it.
//!
//! **Where the numbers come from.** `org.apache.kafka.common.utils.Utils.murmur2` and
//! `BuiltInPartitioner.partitionForKey`.

const SEED: u32 = 0x9747_b28c;
const MULTIPLIER: u32 = 0x5bd1_e995;
const SHIFT: u32 = 24;

/// Kafka's murmur2, as the signed number that Java has.
#[inline]
pub fn hash(data: &[u8]) -> i32 {
    // Java's lengths are ints, and so is the seed's mixture with them.
    let length = u32::try_from(data.len()).expect("a key is shorter than 2 GiB");
    let mut hash = SEED ^ length;
    let (words, rest) = data.as_chunks::<4>();
    for word in words {
        let mut mixed = u32::from_le_bytes(*word).wrapping_mul(MULTIPLIER);
        mixed ^= mixed >> SHIFT;
        hash = hash.wrapping_mul(MULTIPLIER) ^ mixed.wrapping_mul(MULTIPLIER);
    }
    for (index, byte) in rest.iter().enumerate() {
        hash ^= u32::from(*byte) << (8 * index);
    }
    if !rest.is_empty() {
        hash = hash.wrapping_mul(MULTIPLIER);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(MULTIPLIER);
    (hash ^ (hash >> 15)).cast_signed()
}

/// The partition that the Java client chooses for a key.
#[inline]
pub fn partition(key: &[u8], partitions: u32) -> u32 {
    let positive = (hash(key) & i32::MAX).cast_unsigned();
    positive % partitions
}

#[cfg(test)]
mod tests {
    use super::*;

    /// From `UtilsTest.testMurmur2` of Apache Kafka; the last from librdkafka's `unittest_murmur2`.
    #[test]
    fn hashes_are_kafkas() {
        let table: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in table {
            assert_eq!(hash(key), expected, "{key:?}");
        }
    }

    proptest::proptest! {
        /// Against the formulation of the Java source, byte by byte.
        #[test]
        fn every_key_is_hashed_as_java_would(data in proptest::collection::vec(proptest::num::u8::ANY, 0..64)) {
            proptest::prop_assert_eq!(hash(&data), as_in_java(&data));
        }
    }

    fn as_in_java(data: &[u8]) -> i32 {
        let length = data.len() as i32;
        let m: i32 = 0x5bd1_e995;
        let mut h: i32 = 0x9747_b28c_u32 as i32 ^ length;
        for i in 0..data.len() / 4 {
            let at = |offset: usize| (data[i * 4 + offset] as i32) & 0xff;
            let mut k = at(0) + (at(1) << 8) + (at(2) << 16) + (at(3) << 24);
            k = k.wrapping_mul(m);
            k ^= ((k as u32) >> 24) as i32;
            k = k.wrapping_mul(m);
            h = h.wrapping_mul(m);
            h ^= k;
        }
        let tail = data.len() & !3;
        let rest = data.len() % 4;
        if rest >= 3 {
            h ^= ((data[tail + 2] as i32) & 0xff) << 16;
        }
        if rest >= 2 {
            h ^= ((data[tail + 1] as i32) & 0xff) << 8;
        }
        if rest >= 1 {
            h ^= (data[tail] as i32) & 0xff;
            h = h.wrapping_mul(m);
        }
        h ^= ((h as u32) >> 13) as i32;
        h = h.wrapping_mul(m);
        h ^ ((h as u32) >> 15) as i32
    }
}
