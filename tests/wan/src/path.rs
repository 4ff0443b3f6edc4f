//! One direction of a link: what becomes of a packet, and when it arrives.
//!
//! **Decides** which packets get through and when: a sender's packets leave one behind the other at the link's bandwidth, wait
//! for that in a queue with an end, and arrive the delay later, or are lost. **Never** looks at a clock or a device: time
//! arrives as an argument, since the link's beginning, and chance is a seed.
//!
//! **Invariants.** Packets arrive in their order. A lost packet takes its time on the link all the same. What waits is
//! bounded by the queue, and what is under way by bandwidth and delay.

use std::collections::VecDeque;
use std::time::Duration;

/// What a direction is like.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// From the end of sending a packet to its arrival.
    pub(crate) delay: Duration,
    pub(crate) bytes_per_second: u64,
    /// A packet that finds more than this waiting before it, itself included, is dropped.
    pub(crate) queue_bytes: u64,
    /// Of a million packets, so many are lost, each by itself.
    pub(crate) loss_ppm: u32,
}

/// What became of a packet that was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It will arrive.
    Carried,
    /// It takes its place and will not arrive.
    Lost,
    /// There was no room for it.
    Dropped,
}

/// One direction, with what is under way.
pub(crate) struct Path {
    terms: Terms,
    dice: Dice,
    /// When the last packet taken has left the queue.
    free_at: Duration,
    /// Arrivals, in order.
    under_way: VecDeque<(Duration, Vec<u8>)>,
}

impl Path {
    pub(crate) fn new(terms: Terms, seed: u64) -> Path {
        Path { terms, dice: Dice(seed), free_at: Duration::ZERO, under_way: VecDeque::new() }
    }

    /// Takes a packet at `now`, which does not go backwards.
    pub(crate) fn offer(&mut self, now: Duration, packet: &[u8]) -> Fate {
        let bytes = u64::try_from(packet.len()).expect("a packet is small");
        let waits = self.free_at.saturating_sub(now);
        let waiting = waits.as_nanos() * u128::from(self.terms.bytes_per_second) / 1_000_000_000;
        if waiting + u128::from(bytes) > u128::from(self.terms.queue_bytes) {
            return Fate::Dropped;
        }
        let takes = Duration::from_nanos(bytes * 1_000_000_000 / self.terms.bytes_per_second);
        self.free_at = self.free_at.max(now) + takes;
        if self.dice.below(1_000_000) < u64::from(self.terms.loss_ppm) {
            return Fate::Lost;
        }
        self.under_way.push_back((self.free_at + self.terms.delay, packet.to_vec()));
        Fate::Carried
    }

    /// The next packet that has arrived by `now`.
    pub(crate) fn arrived(&mut self, now: Duration) -> Option<Vec<u8>> {
        self.under_way.pop_front_if(|(at, _)| *at <= now).map(|(_, packet)| packet)
    }

    /// When the next packet arrives.
    pub(crate) fn next_arrival(&self) -> Option<Duration> {
        self.under_way.front().map(|(at, _)| *at)
    }
}

/// Chance from a seed: splitmix64.
struct Dice(u64);

impl Dice {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINK: Terms = Terms {
        delay: Duration::from_millis(10),
        // A packet of a thousand bytes takes a millisecond.
        bytes_per_second: 1_000_000,
        queue_bytes: 3_000,
        loss_ppm: 0,
    };

    /// Offers packets of a thousand bytes at these milliseconds; when each arrives, in microseconds, none for never.
    fn arrivals(terms: Terms, offers: &[u64]) -> Vec<Option<u128>> {
        let mut path = Path::new(terms, 1);
        let mut arrivals = Vec::new();
        for at in offers {
            let fate = path.offer(Duration::from_millis(*at), &[0; 1_000]);
            let last = path.under_way.back().map(|(at, _)| at.as_micros());
            arrivals.push(last.filter(|_| fate == Fate::Carried));
        }
        arrivals
    }

    #[test]
    fn packets_leave_one_behind_the_other_and_arrive_the_delay_later() {
        let cases: [(&[u64], &[Option<u128>]); 4] = [
            (&[0], &[Some(11_000)]),
            (&[0, 0, 0], &[Some(11_000), Some(12_000), Some(13_000)]),
            // An idle link does not save up.
            (&[0, 100], &[Some(11_000), Some(111_000)]),
            // The fourth finds three waiting; a millisecond later there is room for one.
            (&[0, 0, 0, 0, 1], &[Some(11_000), Some(12_000), Some(13_000), None, Some(14_000)]),
        ];
        for (offers, expected) in cases {
            assert_eq!(arrivals(LINK, offers), expected, "{offers:?}");
        }
    }

    #[test]
    fn nothing_arrives_before_its_time_and_all_in_order() {
        let mut path = Path::new(LINK, 1);
        for mark in 0..3_u8 {
            assert_eq!(path.offer(Duration::ZERO, &[mark; 1_000]), Fate::Carried);
        }
        assert_eq!(path.next_arrival(), Some(Duration::from_millis(11)));
        assert_eq!(path.arrived(Duration::from_micros(10_999)), None);
        let now = Duration::from_millis(12);
        let both: Vec<Option<u8>> =
            (0..3).map(|_| path.arrived(now).and_then(|packet| packet.first().copied())).collect();
        assert_eq!(both, [Some(0), Some(1), None]);
    }

    #[test]
    fn so_many_are_lost_as_was_said_and_take_their_time_nevertheless() {
        for loss_ppm in [0, 10_000, 30_000, 50_000, 1_000_000] {
            let mut path = Path::new(Terms { loss_ppm, queue_bytes: u64::MAX, ..LINK }, 7);
            let lost =
                (0..100_000).filter(|_| path.offer(Duration::ZERO, &[0; 1_000]) == Fate::Lost);
            let lost = lost.count();
            let expected = usize::try_from(loss_ppm / 10).unwrap();
            assert!(lost.abs_diff(expected) <= expected / 20, "{lost} of {expected} at {loss_ppm}");
            assert_eq!(path.free_at, Duration::from_secs(100));
        }
    }

    #[test]
    fn a_seed_says_which_are_lost() {
        let lost = |seed| {
            let mut path = Path::new(Terms { loss_ppm: 50_000, ..LINK }, seed);
            let offers = (0..1_000).map(|at| path.offer(Duration::from_millis(at), &[0; 100]));
            offers.map(|fate| fate == Fate::Lost).collect::<Vec<_>>()
        };
        assert_eq!(lost(3), lost(3));
        assert_ne!(lost(3), lost(4));
    }
}
