//! The network: who reaches whom, and what becomes of a message.

use std::collections::BTreeSet;

use crate::prng::Prng;
use crate::quorum::plan::Plan;

/// What is between the hosts.
#[derive(Debug, Default)]
pub(crate) struct Network {
    /// From whom to whom nothing comes through.
    cut: BTreeSet<(usize, usize)>,
    /// Nothing is lost or late any more.
    healed: bool,
}

impl Network {
    /// After how many microseconds each copy of a message arrives.
    pub(crate) fn copies(&self, prng: &mut Prng, plan: &Plan, from: usize, to: usize) -> Vec<u64> {
        if self.healed {
            return vec![1 + prng.below(1000)];
        }
        if self.cut.contains(&(from, to)) || prng.chance(plan.lost) {
            return Vec::new();
        }
        let count = if prng.chance(plan.twice) { 2 } else { 1 };
        // Usually quick, sometimes as late as it gets: later messages overtake.
        let mut delay = || {
            let most = if prng.chance(80) { plan.delay_max / 10 } else { plan.delay_max };
            1 + prng.below(most)
        };
        (0..count).map(|_| delay()).collect()
    }

    /// Cuts some off from the others, in both directions or in one.
    pub(crate) fn cut(&mut self, some: &BTreeSet<usize>, hosts: usize, both: bool) {
        for one in 0..hosts {
            for other in 0..hosts {
                if some.contains(&one) && !some.contains(&other) {
                    self.cut.insert((one, other));
                    if both {
                        self.cut.insert((other, one));
                    }
                }
            }
        }
    }

    /// Mends every cut.
    pub(crate) fn mend(&mut self) {
        self.cut.clear();
    }

    /// Nothing goes wrong any more.
    pub(crate) fn heal(&mut self) {
        self.cut.clear();
        self.healed = true;
    }
}
