//! What a seed decides before anything happens: how large things are, and how bad things get.

use std::time::Duration;

use brooklet_meta::Cluster;
use brooklet_shard::start::ShardPlan;
use brooklet_shard::{ClusterId, CompactionSettings, DirectoryId, QuorumSeed, ShardSettings};
use brooklet_types::{BrokerId, ByteSize};

use crate::prng::Prng;

/// The one broker.
pub(crate) const BROKER: BrokerId = BrokerId(1);

/// How a history goes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Events until it calms down.
    pub(crate) events: u64,
    /// Microseconds between two things that go wrong, on average.
    pub(crate) fault_every: u64,
    /// Whether the power is ever lost, in a hundred of what goes wrong.
    pub(crate) power: u64,
    /// Whether bits flip: afterwards less can be asked for.
    pub(crate) flips: bool,
    /// The longest sync, in microseconds.
    pub(crate) sync_max: u64,
    shard: ShardPlan,
}

impl Plan {
    pub(crate) fn new(prng: &mut Prng) -> Plan {
        let groups = brooklet_group::Settings {
            session_timeout_ms_min: 10,
            ..brooklet_group::Settings::default()
        };
        let settings = ShardSettings {
            retention_check_interval: Duration::from_millis(50 + prng.below(1000)),
            tail_bytes_max: if prng.chance(30) { 0 } else { 1 << 16 },
            disk_reserve: ByteSize(1 << 15),
            groups,
            compaction: CompactionSettings {
                backoff: Duration::from_millis(20 + prng.below(300)),
                key_bytes_max: usize::try_from(200 + prng.below(20_000)).expect("small"),
                key_seed: [7; 32],
            },
        };
        let shard = ShardPlan {
            broker: BROKER,
            shards: 1,
            settings,
            journal_bytes: ByteSize(512 * (8 + prng.below(100))),
            cluster: Cluster::default(),
            quorum: QuorumSeed {
                cluster: ClusterId([1; 16]),
                directory: DirectoryId([2; 16]),
                entropy: prng.below(u64::MAX),
                joins: false,
            },
        };
        Plan {
            events: 1500 + prng.below(2500),
            fault_every: 20_000 + prng.below(600_000),
            power: prng.below(101),
            flips: prng.chance(20),
            sync_max: [1_000, 20_000, 300_000][usize::try_from(prng.below(3)).expect("few")],
            shard,
        }
    }

    /// What the next start is given: the number of shards may differ from one to the next.
    pub(crate) fn shard_plan(&self, prng: &mut Prng) -> ShardPlan {
        let shards = u32::try_from(1 + prng.below(3)).expect("few");
        ShardPlan { shards, ..self.shard.clone() }
    }
}
