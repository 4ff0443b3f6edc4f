//! A partitioner by rendezvous hashing (highest random weight, Thaler and Ravishankar 1998): each key
//! weighs every partition, and goes to the heaviest.
//!
//! **Invariants.** When a partition is added, a key stays where it was or goes to the new one, and about
//! one in `n` goes: nothing is shuffled between old partitions.
//!
//! **Limits.** A record costs a multiplication per partition; with thousands of them `murmur2` is
//! cheaper. Records without a key go round.

use brooklet::{Batch, Columns, Context, Error, NoConfig, Partitioner};

/// The partitioner.
#[derive(Debug, Default)]
pub struct Rendezvous {
    /// Where the next record without a key goes.
    next: u32,
}

impl Partitioner for Rendezvous {
    type Config = NoConfig;

    fn new(_: NoConfig, _: &Context) -> Result<Rendezvous, Error> {
        Ok(Rendezvous::default())
    }

    fn columns(&self) -> Columns {
        Columns::KEYS
    }

    fn partition(
        &mut self,
        batch: &Batch<'_>,
        partitions: u32,
        chosen: &mut Vec<u32>,
    ) -> Result<(), Error> {
        for key in batch.keys().iter() {
            chosen.push(match key {
                Some(key) => heaviest(key, partitions),
                None => {
                    let here = self.next % partitions;
                    self.next = (here + 1) % partitions;
                    here
                }
            });
        }
        Ok(())
    }
}

/// The partition that weighs most for a key; of two that weigh the same, the first.
fn heaviest(key: &[u8], partitions: u32) -> u32 {
    let digest = fnv1a(key);
    let (mut best, mut heaviest) = (0, weight(digest, 0));
    for partition in 1..partitions {
        let weight = weight(digest, partition);
        if weight > heaviest {
            (best, heaviest) = (partition, weight);
        }
    }
    best
}

/// FNV-1a with 64 bits: the same on every machine and in every version, which is what counts here.
fn fnv1a(key: &[u8]) -> u64 {
    key.iter().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01b3)
    })
}

/// What a partition weighs for a key: the finalizer of `splitmix64` over both. FNV alone leaves its upper
/// bits poorly mixed.
#[inline]
fn weight(digest: u64, partition: u32) -> u64 {
    let step = u64::from(partition).wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let mut mixed = digest.wrapping_add(step);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

brooklet::plugin! {
    name: "rendezvous",
    description: "Places by rendezvous hashing of the key: a new partition takes its share, nothing else moves.",
    roles: { partitioner: Rendezvous },
}

#[cfg(test)]
mod tests {
    use brooklet_testing::{Partitioning, Rec};
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn places_never_change_between_versions() {
        let places: Vec<u32> = [&b""[..], b"a", b"UA", b"N14228", b"\xff\x00"]
            .iter()
            .map(|key| heaviest(key, 12))
            .collect();
        assert_eq!(places, [5, 1, 5, 0, 1]);
    }

    #[test]
    fn keys_are_spread_evenly() {
        let mut counts = [0_u32; 10];
        for number in 0..10_000 {
            counts[heaviest(format!("key-{number}").as_bytes(), 10) as usize] += 1;
        }
        // Binomial with a deviation of 30: five of them either way.
        assert!(counts.iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_new_partition_takes_its_share() {
        let moved = (0..10_000).filter(|number| {
            let key = format!("key-{number}");
            heaviest(key.as_bytes(), 9) != heaviest(key.as_bytes(), 10)
        });
        let moved = moved.count();
        assert!((850..1150).contains(&moved), "{moved} of 10000 moved, a tenth was due");
    }

    #[test]
    fn what_has_no_key_goes_round() {
        let mut plugin = Partitioning::<Rendezvous>::start("{}").unwrap();
        let records = [Rec::value("1"), Rec::new("k", "2"), Rec::value("3")];
        let expected = [0, heaviest(b"k", 3), 1];
        assert_eq!(plugin.place(&records, 3).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn nothing_moves_between_old_partitions(
            key in proptest::collection::vec(any::<u8>(), 0..40),
            partitions in 1_u32..200,
        ) {
            let (before, after) = (heaviest(&key, partitions), heaviest(&key, partitions + 1));
            prop_assert!(after == before || after == partitions);
            prop_assert!(before < partitions);
        }
    }
}
