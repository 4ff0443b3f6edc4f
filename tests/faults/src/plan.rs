//! Which faults there are, and which come in which order: all drawn from one seed before anything is started.
//!
//! Kinds are dealt like cards, so that a run of thirty has each of them in its measure, and the order is chance. Whom a fault
//! hits is known only when it comes: the plan says by which rule.

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use crate::network::Cut;

/// What happens to a broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// SIGKILL, and started again.
    Kill,
    /// SIGTERM: a controlled shutdown, and started again.
    Shutdown,
    /// SIGSTOP, and SIGCONT: it does not know that time has passed.
    Pause,
    /// Cut off from everybody, both ways.
    CutOff,
    /// Cut off one way: it hears everybody and nobody hears it.
    Mute,
    /// Cut off one way: it hears nobody.
    Deaf,
    /// Cut off from the other brokers; clients reach it.
    Apart,
    /// The other brokers do not hear it; clients do.
    MuteToBrokers,
    /// It does not hear the other brokers; it hears clients.
    DeafToBrokers,
    /// Its disk is full, and emptied.
    DiskFull,
}

/// Each kind, and how often it is among thirty.
const MEASURE: [(Kind, usize); 10] = [
    (Kind::Kill, 8),
    (Kind::Shutdown, 4),
    (Kind::Pause, 4),
    (Kind::CutOff, 3),
    (Kind::Mute, 2),
    (Kind::Deaf, 2),
    (Kind::Apart, 2),
    (Kind::MuteToBrokers, 1),
    (Kind::DeafToBrokers, 1),
    (Kind::DiskFull, 3),
];

impl Kind {
    /// The cut it is, if it is one.
    pub(crate) fn cut(self) -> Option<Cut> {
        match self {
            Kind::CutOff => Some(Cut::Off),
            Kind::Mute => Some(Cut::Mute),
            Kind::Deaf => Some(Cut::Deaf),
            Kind::Apart => Some(Cut::Apart),
            Kind::MuteToBrokers => Some(Cut::MuteToBrokers),
            Kind::DeafToBrokers => Some(Cut::DeafToBrokers),
            Kind::Kill | Kind::Shutdown | Kind::Pause | Kind::DiskFull => None,
        }
    }

    /// Its name, as it is given on the command line.
    pub(crate) fn name(self) -> String {
        let value = self.to_possible_value().expect("none is hidden");
        value.get_name().to_owned()
    }

    /// The shortest and the longest time that it lasts, in milliseconds.
    fn lasts_ms(self) -> (u64, u64) {
        match self {
            // A broker that is started again takes a moment by itself.
            Kind::Kill => (500, 6_000),
            Kind::Shutdown => (100, 3_000),
            // Short of every session, and beyond all of them.
            Kind::Pause
            | Kind::CutOff
            | Kind::Mute
            | Kind::Deaf
            | Kind::Apart
            | Kind::MuteToBrokers
            | Kind::DeafToBrokers => (500, 15_000),
            Kind::DiskFull => (2_000, 8_000),
        }
    }
}

/// Whom a fault hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Whom {
    /// Whoever leads most partitions.
    Leader,
    /// Whoever leads the metadata quorum.
    Controller,
    /// The broker at this place.
    Place(usize),
}

/// A fault to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) whom: Whom,
    /// How long it lasts.
    pub(crate) lasts: Duration,
    /// How long all is left in peace afterwards.
    pub(crate) calm: Duration,
}

/// Draws `count` faults of `kinds`.
pub(crate) fn draw(seed: u64, count: usize, kinds: &[Kind]) -> Vec<Fault> {
    let mut chance = Chance(seed);
    let mut faults = Vec::with_capacity(count);
    let mut deck: Vec<Kind> = Vec::new();
    while faults.len() < count {
        if deck.is_empty() {
            let dealt = MEASURE.iter().filter(|(kind, _)| kinds.contains(kind));
            deck = dealt.flat_map(|&(kind, times)| std::iter::repeat_n(kind, times)).collect();
            assert!(!deck.is_empty(), "there is a kind to draw");
        }
        let kind = deck.swap_remove(chance.below(deck.len()));
        let whom = match chance.below(10) {
            0..4 => Whom::Leader,
            4..7 => Whom::Controller,
            _ => Whom::Place(chance.below(crate::network::BROKERS)),
        };
        let (shortest, longest) = kind.lasts_ms();
        let lasts = chance.between(shortest, longest);
        let calm = chance.between(500, 3_000);
        faults.push(Fault { kind, whom, lasts, calm });
    }
    faults
}

/// Numbers from a seed: `splitmix64`.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: usize) -> usize {
        let limit = u64::try_from(limit).expect("a usize fits");
        usize::try_from(self.next() % limit).expect("below a usize")
    }

    fn between(&mut self, shortest_ms: u64, longest_ms: u64) -> Duration {
        Duration::from_millis(shortest_ms + self.next() % (longest_ms - shortest_ms + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<Kind> {
        MEASURE.iter().map(|(kind, _)| *kind).collect()
    }

    #[test]
    fn thirty_faults_have_every_kind_in_its_measure() {
        for seed in 0..20 {
            let faults = draw(seed, 30, &all());
            for (kind, times) in MEASURE {
                let drawn = faults.iter().filter(|fault| fault.kind == kind).count();
                assert_eq!(drawn, times, "{kind:?} of seed {seed}");
            }
        }
    }

    #[test]
    fn a_seed_is_a_plan_and_another_seed_another_one() {
        assert_eq!(draw(7, 40, &all()), draw(7, 40, &all()));
        assert_ne!(draw(7, 40, &all()), draw(8, 40, &all()));
    }

    #[test]
    fn only_what_was_asked_for_is_drawn() {
        let faults = draw(1, 50, &[Kind::Kill, Kind::Deaf]);
        assert!(faults.iter().all(|fault| matches!(fault.kind, Kind::Kill | Kind::Deaf)));
        assert!(faults.iter().any(|fault| fault.kind == Kind::Deaf));
    }
}
