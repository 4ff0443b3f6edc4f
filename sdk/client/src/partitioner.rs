//! Which partition a record belongs to: the same one that Java and librdkafka (`murmur2_random`)
//! choose, so that programs in different languages agree where a key lives.

/// The partition of a key among `count`.
pub fn partition_of_key(key: &[u8], count: u32) -> u32 {
    assert!(count > 0, "a topic has partitions");
    // Java masks the sign away instead of taking the absolute value.
    (murmur2(key) & 0x7fff_ffff) % count
}

/// Java's `Utils.murmur2`, seed included.
pub fn murmur2(data: &[u8]) -> u32 {
    const SEED: u32 = 0x9747_b28c;
    const M: u32 = 0x5bd1_e995;
    const R: u32 = 24;
    // Java's arrays are shorter than 2^31; longer keys do not reach this function.
    let length = u32::try_from(data.len()).unwrap_or(u32::MAX);
    let mut hash = SEED ^ length;
    let mut chunks = data.chunks_exact(4);
    for chunk in &mut chunks {
        let word = u32::from_le_bytes(chunk.try_into().expect("chunks of four"));
        let mut word = word.wrapping_mul(M);
        word ^= word >> R;
        word = word.wrapping_mul(M);
        hash = hash.wrapping_mul(M) ^ word;
    }
    let rest = chunks.remainder();
    if !rest.is_empty() {
        for (byte, shift) in rest.iter().zip([0, 8, 16]) {
            hash ^= u32::from(*byte) << shift;
        }
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_hash_as_in_javas_own_tests() {
        // From Kafka's UtilsTest.testMurmur2.
        let cases: [(&[u8], i32); 7] = [
            (b"21", -973_932_308),
            (b"foobar", -790_332_482),
            (b"a-little-bit-long-string", -985_981_536),
            (b"a-little-bit-longer-string", -1_486_304_829),
            (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            (b"abc", 479_470_107),
            (b"", 275_646_681),
        ];
        for (key, expected) in cases {
            let name = String::from_utf8_lossy(key);
            assert_eq!(murmur2(key).cast_signed(), expected, "{name}");
            assert!(partition_of_key(key, 12) < 12, "{name}");
        }
    }
}
