//! Who gets the replicas of new partitions: spread over racks first, then over brokers.
//!
//! Kafka's `StripedReplicaPlacer`: racks take turns, and within a rack its brokers do; each partition begins one
//! rack further. Fenced brokers come last and never first in a list. Where everybody has had a turn the order is
//! shuffled, so that not the same brokers keep sharing partitions. One thing is not Kafka's: a rack goes on to its
//! next broker when it has given a leader, not with each partition. With nine brokers in three racks Kafka goes on
//! in step, and three of them lead everything.
//!
//! **What it never does.** Draw chance: where the turns begin, and the shuffles, follow from the entropy given.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, ErrorCode};

use crate::cluster::Cluster;

/// Why partitions cannot be placed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlacementError {
    /// A broker keeps one replica of a partition at most.
    #[error(
        "The target replication factor of {wanted} cannot be reached because only {brokers} \
         broker(s) are registered."
    )]
    TooFewBrokers { wanted: u16, brokers: usize },
    /// Nobody could lead.
    #[error("All brokers are currently fenced.")]
    AllFenced,
}

impl PlacementError {
    /// What the client is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            PlacementError::TooFewBrokers { .. } | PlacementError::AllFenced => {
                ErrorCode::InvalidReplicationFactor
            }
        }
    }
}

/// A broker that can be given replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Usable {
    /// Its number.
    pub broker: BrokerId,
    /// Where it stands.
    pub rack: Option<String>,
    /// Whether it cannot lead just now.
    pub fenced: bool,
}

/// The brokers that can be given replicas: those that are not about to stop.
pub fn usable(cluster: &Cluster) -> Vec<Usable> {
    let usable = |(id, broker): (&BrokerId, &crate::cluster::Broker)| {
        let registration = broker.registration.as_ref();
        if registration.is_some_and(|registration| registration.shutting_down) {
            return None;
        }
        let rack = registration.and_then(|registration| registration.rack.clone());
        Some(Usable { broker: *id, rack, fenced: !cluster.is_active(*id) })
    };
    cluster.brokers.iter().filter_map(usable).collect()
}

/// Places `partitions` new partitions with `wanted` replicas each.
pub fn place(
    brokers: &[Usable],
    partitions: u32,
    wanted: u16,
    entropy: u64,
) -> Result<Vec<Vec<BrokerId>>, PlacementError> {
    if brokers.iter().all(|broker| broker.fenced) {
        return Err(PlacementError::AllFenced);
    }
    if usize::from(wanted) > brokers.len() {
        return Err(PlacementError::TooFewBrokers { wanted, brokers: brokers.len() });
    }
    let mut racks = Racks::new(brokers, entropy);
    Ok((0..partitions).map(|_| racks.place(usize::from(wanted))).collect())
}

/// Brokers that take turns.
#[derive(Debug, Default)]
struct Turns {
    brokers: Vec<BrokerId>,
    /// How many have had their turn in this round.
    taken: usize,
    /// Where the round began.
    offset: usize,
}

impl Turns {
    fn begin_at(&mut self, chance: &mut Chance) {
        self.offset = chance.below(self.brokers.len());
    }

    fn next_round(&mut self, further: usize) {
        self.taken = 0;
        self.offset += further;
    }

    fn take(&mut self) -> Option<BrokerId> {
        if self.taken == self.brokers.len() {
            return None;
        }
        let place = (self.offset + self.taken) % self.brokers.len();
        self.taken += 1;
        self.brokers.get(place).copied()
    }
}

#[derive(Debug, Default)]
struct Rack {
    active: Turns,
    fenced: Turns,
}

#[derive(Debug)]
struct Racks {
    racks: Vec<Rack>,
    /// Which rack the next partition begins with.
    offset: usize,
    /// Partitions since the last shuffle.
    rounds: usize,
    active_count: usize,
    chance: Chance,
}

impl Racks {
    fn new(brokers: &[Usable], entropy: u64) -> Racks {
        let mut named: BTreeMap<Option<&str>, Rack> = BTreeMap::new();
        for Usable { broker, rack, fenced } in brokers {
            let rack = named.entry(rack.as_deref()).or_default();
            let turns = if *fenced { &mut rack.fenced } else { &mut rack.active };
            turns.brokers.push(*broker);
        }
        let mut chance = Chance(entropy);
        let mut racks: Vec<Rack> = named.into_values().collect();
        for rack in &mut racks {
            rack.active.brokers.sort_unstable();
            rack.fenced.brokers.sort_unstable();
            rack.active.begin_at(&mut chance);
            rack.fenced.begin_at(&mut chance);
        }
        let active_count = brokers.iter().filter(|broker| !broker.fenced).count();
        let offset = chance.below(racks.len());
        Racks { racks, offset, rounds: 0, active_count, chance }
    }

    /// The replicas of the next partition. There are enough brokers, and one of them is active.
    fn place(&mut self, wanted: usize) -> Vec<BrokerId> {
        if self.rounds == self.active_count && self.active_count > 1 {
            self.shuffle();
        }
        let count = self.racks.len();
        let mut places = (0..count).cycle().skip(self.offset % count);
        let leads = |(place, rack): (usize, &mut Rack)| Some((place, rack.active.take()?));
        let (before, from) = self.racks.split_at_mut(self.offset % count);
        let turns = from.iter_mut().chain(before).enumerate();
        let (distance, leader) = turns.map(leads).find_map(|one| one).expect("one is active");
        let first = (self.offset + distance) % count;
        let mut replicas = vec![leader];
        // The rack that gave the leader has had its turn.
        let mut passed_first = false;
        while replicas.len() < wanted {
            let place = places.next().expect("it goes round for ever");
            if place == first && !passed_first {
                passed_first = true;
                continue;
            }
            let rack = self.racks.get_mut(place).expect("within the count");
            replicas.extend(rack.active.take().or_else(|| rack.fenced.take()));
        }
        self.next_round(first);
        replicas
    }

    fn next_round(&mut self, led: usize) {
        self.offset += 1;
        self.rounds += 1;
        for (place, rack) in self.racks.iter_mut().enumerate() {
            rack.active.next_round(usize::from(place == led));
            rack.fenced.next_round(1);
        }
    }

    fn shuffle(&mut self) {
        self.rounds = 0;
        self.chance.shuffle(&mut self.racks);
        for rack in &mut self.racks {
            self.chance.shuffle(&mut rack.active.brokers);
            self.chance.shuffle(&mut rack.fenced.brokers);
        }
    }
}

/// Numbers that follow from the entropy they began with (SplitMix64).
#[derive(Debug)]
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `limit`; 0 where there is none.
    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit.max(1)).expect("a count fits");
        usize::try_from(self.next() % limit).expect("below a count")
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.below(last + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn brokers(list: &[(i32, &str, bool)]) -> Vec<Usable> {
        let usable = |(id, rack, fenced): &(i32, &str, bool)| Usable {
            broker: BrokerId(*id),
            rack: (!rack.is_empty()).then(|| (*rack).to_owned()),
            fenced: *fenced,
        };
        list.iter().map(usable).collect()
    }

    #[test]
    fn what_cannot_be_placed_is_refused_in_kafkas_words() {
        let fenced = brokers(&[(1, "", true), (2, "", true)]);
        let error = place(&fenced, 1, 2, 0).unwrap_err();
        assert_eq!(error.to_string(), "All brokers are currently fenced.");
        let error = place(&brokers(&[(1, "", false), (2, "", true)]), 1, 3, 0).unwrap_err();
        let expected = "The target replication factor of 3 cannot be reached because only 2 \
                        broker(s) are registered.";
        assert_eq!(error.to_string(), expected);
        assert_eq!(error.code(), ErrorCode::InvalidReplicationFactor);
    }

    #[test]
    fn replicas_go_to_different_racks_and_to_all_brokers() {
        let racks = ["a", "b", "c"];
        let nine: Vec<(i32, &str, bool)> =
            (0..9).zip(racks.iter().cycle()).map(|(id, rack)| (id, *rack, false)).collect();
        let nine = brokers(&nine);
        for entropy in 0..50 {
            let placed = place(&nine, 9, 3, entropy).unwrap();
            let mut leaders: Vec<i32> = placed.iter().map(|replicas| replicas[0].0).collect();
            leaders.sort_unstable();
            assert_eq!(leaders, (0..9).collect::<Vec<i32>>(), "each leads once: {placed:?}");
            for replicas in &placed {
                let mut racks: Vec<i32> = replicas.iter().map(|one| one.0 % 3).collect();
                racks.sort_unstable();
                assert_eq!(racks, [0, 1, 2], "{replicas:?}");
            }
        }
    }

    #[test]
    fn a_fenced_broker_is_taken_last_and_never_leads() {
        let some = brokers(&[(1, "", false), (2, "", true), (3, "", false), (4, "", true)]);
        for entropy in 0..50 {
            for replicas in place(&some, 5, 2, entropy).unwrap() {
                assert!(replicas.iter().all(|one| [1, 3].contains(&one.0)), "{replicas:?}");
            }
            for replicas in place(&some, 5, 4, entropy).unwrap() {
                assert!([1, 3].contains(&replicas[0].0), "{replicas:?}");
                let mut all: Vec<i32> = replicas.iter().map(|one| one.0).collect();
                all.sort_unstable();
                assert_eq!(all, [1, 2, 3, 4]);
            }
        }
    }

    #[test]
    fn one_broker_takes_everything_and_a_small_rack_its_share() {
        let alone = place(&brokers(&[(7, "", false)]), 3, 1, 9).unwrap();
        assert_eq!(alone, vec![vec![BrokerId(7)]; 3]);
        // Ten in one rack, one in the other: each partition has a replica there.
        let mut uneven: Vec<(i32, &str, bool)> = (0..10).map(|id| (id, "a", false)).collect();
        uneven.push((10, "b", false));
        for replicas in place(&brokers(&uneven), 20, 2, 3).unwrap() {
            assert!(replicas.contains(&BrokerId(10)), "{replicas:?}");
        }
    }

    #[test]
    fn the_same_entropy_places_the_same_and_another_begins_elsewhere() {
        let four = brokers(&[(1, "", false), (2, "", false), (3, "", false), (4, "", false)]);
        let placed = |entropy| place(&four, 3, 2, entropy).unwrap();
        assert_eq!(placed(5), placed(5));
        assert!((0..20).any(|entropy| placed(entropy) != placed(5)));
    }
}
