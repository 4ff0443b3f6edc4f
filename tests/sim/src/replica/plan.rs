//! What a seed decides before anything happens: how many brokers, how large things are, how bad things get.

use std::time::Duration;

use brooklet_types::BrokerId;

use crate::prng::Prng;

/// The controller, on the network.
pub(crate) const CONTROLLER: BrokerId = BrokerId(0);

/// How a history goes. Times are microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) brokers: Vec<BrokerId>,
    pub(crate) min_in_sync: u32,
    pub(crate) flush_os: bool,
    /// `replica.lag.time.max.ms`.
    pub(crate) lag_max: Duration,
    /// A broker that was not heard of for so long is fenced: Kafka's 9 s, or less, so that more is decided.
    pub(crate) session: Duration,
    /// Between two heartbeats.
    pub(crate) heartbeat: u64,
    /// How long things go wrong.
    pub(crate) storm: u64,
    /// Between two things that go wrong, on average half of that.
    pub(crate) fault_every: u64,
    /// Messages that are lost, of a hundred, while things go wrong.
    pub(crate) loss: u64,
    /// Messages that come twice, of a hundred.
    pub(crate) twice: u64,
    /// How long a message takes at most, unless it is late.
    pub(crate) delay: u64,
    /// How long a sync takes at most.
    pub(crate) sync: u64,
    /// Between two records, at most.
    pub(crate) produce_every: u64,
    /// Records in one answer, at most.
    pub(crate) fetch_count: u64,
}

impl Plan {
    pub(crate) fn new(prng: &mut Prng) -> Plan {
        let count = 3 + i32::try_from(prng.below(3)).expect("few");
        let pick = |prng: &mut Prng, of: [u64; 3]| of[usize::try_from(prng.below(3)).expect("few")];
        let session = pick(prng, [500_000, 2_000_000, 9_000_000]);
        Plan {
            session: Duration::from_micros(session),
            heartbeat: session / 4,
            brokers: (1..=count).map(BrokerId).collect(),
            min_in_sync: u32::try_from(1 + prng.below(3)).expect("few"),
            flush_os: prng.chance(20),
            lag_max: Duration::from_millis(pick(prng, [1_000, 5_000, 30_000])),
            storm: 1_000_000 * (20 + prng.below(100)),
            fault_every: pick(prng, [500_000, 3_000_000, 15_000_000]),
            loss: prng.below(20),
            twice: prng.below(20),
            delay: pick(prng, [2_000, 20_000, 60_000]),
            sync: pick(prng, [2_000, 50_000, 400_000]),
            produce_every: pick(prng, [20_000, 100_000, 400_000]),
            fetch_count: 1 + prng.below(20),
        }
    }
}
