//! The keys of one cleaning, numbered, and where each was last seen.
//!
//! **Where it sits.** In a job, in front of the policy, which knows keys by their numbers.
//!
//! **What it decides.** When the memory for keys is used up. A key costs the same whatever its length: what
//! is kept of it is a digest of 128 bits, as in Kafka's own map. Ours is keyed with what no client knows,
//! so that nobody can make two keys that are taken for one.

use std::collections::BTreeMap;

use brooklet_types::Offset;

/// What a key costs: its digest and its number in the map's nodes, of which a third is empty, and its
/// offset in a list that may just have doubled.
const KEY_BYTES: usize = 48;

/// Keys that were observed.
#[derive(Clone, Debug)]
pub struct Keys {
    seed: [u8; 32],
    numbers: BTreeMap<u128, u32>,
    /// By number.
    latest: Vec<Offset>,
    keys_max: usize,
}

impl Keys {
    /// Room for as many keys as fit into about `bytes_max`, and for one at least. `seed` is random, and
    /// nobody else's business.
    pub fn within(bytes_max: usize, seed: [u8; 32]) -> Keys {
        let keys_max = (bytes_max / KEY_BYTES).clamp(1, u32::MAX as usize);
        Keys { seed, numbers: BTreeMap::new(), latest: Vec::new(), keys_max }
    }

    /// How many keys there is room for.
    pub(crate) fn capacity(&self) -> usize {
        self.keys_max
    }

    /// The number of a key that is seen at `offset`, later than all before; none where there is no room
    /// for another.
    pub(crate) fn learn(&mut self, key: &[u8], offset: Offset) -> Option<u64> {
        let digest = self.digest(key);
        if let Some(&number) = self.numbers.get(&digest) {
            self.latest[number as usize] = offset;
            return Some(number.into());
        }
        if self.latest.len() == self.keys_max {
            return None;
        }
        let number = u32::try_from(self.latest.len()).expect("limited when it was made");
        self.numbers.insert(digest, number);
        self.latest.push(offset);
        Some(number.into())
    }

    /// The number of a key, and where it was seen last.
    pub(crate) fn find(&self, key: &[u8]) -> Option<(u64, Offset)> {
        let number = *self.numbers.get(&self.digest(key))?;
        Some((number.into(), self.latest[number as usize]))
    }

    fn digest(&self, key: &[u8]) -> u128 {
        let digest = blake3::keyed_hash(&self.seed, key);
        let first = digest.as_bytes().first_chunk().expect("it has twice as many");
        u128::from_le_bytes(*first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_numbered_as_they_come_until_there_is_no_room() {
        let mut keys = Keys::within(3 * KEY_BYTES + 1, [7; 32]);
        let learnt = [("a", 0), ("b", 1), ("a", 2), ("", 3), ("c", 4), ("b", 5)].map(|it| {
            let (key, offset): (&str, u64) = it;
            keys.learn(key.as_bytes(), Offset::new(offset))
        });
        assert_eq!(learnt, [Some(0), Some(1), Some(0), Some(2), None, Some(1)]);
        assert_eq!(keys.find(b"a"), Some((0, Offset::new(2))));
        assert_eq!(keys.find(b"b"), Some((1, Offset::new(5))));
        assert_eq!(keys.find(b"c"), None);
        let mut one = Keys::within(0, [7; 32]);
        let long = [b'x'; 10_000];
        assert_eq!((one.learn(&long, Offset::ZERO), one.capacity()), (Some(0), 1));
    }

    #[test]
    fn another_seed_makes_other_digests() {
        let digest = |seed| Keys::within(0, [seed; 32]).digest(b"key");
        assert_ne!(digest(1), digest(2));
        assert_eq!(digest(1), digest(1));
    }
}
