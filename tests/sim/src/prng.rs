//! The one source of chance: SplitMix64, so that a seed is a history on every machine.

/// A generator.
#[derive(Clone, Debug)]
pub struct Prng(u64);

impl Prng {
    /// The generator of a seed.
    pub fn new(seed: u64) -> Prng {
        Prng(seed)
    }

    /// Any number below `limit`, which is not zero.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// True `percent` times in a hundred.
    pub fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }

    /// Any of these, if there are any.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> Option<&'a T> {
        let count = u64::try_from(from.len()).expect("few");
        (count > 0).then(|| &from[usize::try_from(self.below(count)).expect("few")])
    }
}
