//! What is measured: which carriers, on which links, in which order.

use std::fmt;
use std::time::Duration;

use crate::path::Terms;

/// How sending adapts to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Congestion {
    Cubic,
    Bbr,
}

impl Congestion {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Congestion::Cubic => "cubic",
            Congestion::Bbr => "bbr",
        }
    }
}

/// What carries Kafka's protocol, with the same control of sending at both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Carrier {
    Tls(Congestion),
    Quic(Congestion),
}

impl Carrier {
    pub(crate) const ALL: [Carrier; 4] = [
        Carrier::Tls(Congestion::Cubic),
        Carrier::Tls(Congestion::Bbr),
        Carrier::Quic(Congestion::Cubic),
        Carrier::Quic(Congestion::Bbr),
    ];

    pub(crate) fn congestion(self) -> Congestion {
        match self {
            Carrier::Tls(congestion) | Carrier::Quic(congestion) => congestion,
        }
    }

    pub(crate) fn is_quic(self) -> bool {
        match self {
            Carrier::Quic(_) => true,
            Carrier::Tls(_) => false,
        }
    }
}

impl fmt::Display for Carrier {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let transport = if self.is_quic() { "QUIC" } else { "TCP+TLS" };
        write!(formatter, "{transport} {}", self.congestion().name())
    }
}

/// What a link is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Weather {
    /// Milliseconds there and back.
    pub(crate) round_trip_ms: u64,
    pub(crate) loss_percent: u32,
}

impl Weather {
    /// Of a link of so many megabits a second: its queue holds a round trip's worth, as is the rule of thumb, and no less than
    /// twenty packets.
    pub(crate) fn terms(self, megabits: u64) -> Terms {
        let bytes_per_second = megabits * 1_000_000 / 8;
        Terms {
            delay: Duration::from_micros(self.round_trip_ms * 500),
            bytes_per_second,
            queue_bytes: (bytes_per_second * self.round_trip_ms / 1_000).max(20 * 1_500),
            loss_ppm: self.loss_percent * 10_000,
        }
    }
}

/// One carrier on one link, once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) carrier: Carrier,
    pub(crate) weather: Weather,
    /// Which packets are lost: the same for all carriers of a round.
    pub(crate) seed: u64,
}

/// Everything once, then once more: what changes on this machine meanwhile changes for all carriers.
pub(crate) fn runs(weathers: &[Weather], rounds: u32, seed: u64) -> Vec<Run> {
    let round = |round: u32| {
        let seed = seed.wrapping_add(u64::from(round));
        let of = move |weather: &Weather| {
            let weather = *weather;
            Carrier::ALL.map(move |carrier| Run { carrier, weather, seed })
        };
        weathers.iter().flat_map(of)
    };
    (0..rounds).flat_map(round).collect()
}

/// What the issue asks for, and the same without loss.
pub(crate) fn weathers() -> Vec<Weather> {
    let of =
        |round_trip_ms| [0, 1, 3, 5].map(|loss_percent| Weather { round_trip_ms, loss_percent });
    [20, 80, 250].into_iter().flat_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_queue_holds_a_round_trip() {
        let terms = |round_trip_ms| Weather { round_trip_ms, loss_percent: 3 }.terms(80);
        assert_eq!(terms(250).bytes_per_second, 10_000_000);
        assert_eq!(terms(250).queue_bytes, 2_500_000);
        assert_eq!(terms(250).delay, Duration::from_millis(125));
        assert_eq!(terms(250).loss_ppm, 30_000);
        assert_eq!(terms(1).queue_bytes, 30_000);
    }

    #[test]
    fn a_round_has_every_carrier_on_every_link_under_one_seed() {
        let runs = runs(&weathers(), 2, 40);
        assert_eq!(runs.len(), 2 * 12 * 4);
        let (first, second) = runs.split_at(48);
        assert!(first.iter().all(|run| run.seed == 40) && second.iter().all(|run| run.seed == 41));
        let neighbours: Vec<_> =
            first.iter().take(4).map(|run| (run.carrier, run.weather)).collect();
        assert_eq!(
            neighbours,
            Carrier::ALL.map(|it| (it, Weather { round_trip_ms: 20, loss_percent: 0 }))
        );
    }
}
