//! What a seed decides before anything happens: how many brokers, how large things are, how bad things get.

use std::time::Duration;

use brooklet_meta::Cluster;
use brooklet_shard::start::ShardPlan;
use brooklet_shard::{ClusterId, CompactionSettings, DirectoryId, QuorumSeed, ShardSettings};
use brooklet_types::{BrokerId, ByteSize};

use crate::prng::Prng;

/// What can go wrong. Each history has some of it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Faults {
    /// Messages are lost, of a hundred.
    pub(crate) loss: u64,
    /// Messages of the quorum come twice, of a hundred.
    pub(crate) twice: u64,
    /// Some messages are late.
    pub(crate) late: bool,
    /// Ways between brokers are shut, in one direction or both.
    pub(crate) partitions: bool,
    /// Processes die.
    pub(crate) kills: bool,
    /// And the power goes.
    pub(crate) power: bool,
    /// Brokers are stopped in good order.
    pub(crate) stops: bool,
}

/// How a history goes. Times are microseconds.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) nodes: i32,
    pub(crate) faults: Faults,
    /// Whether nothing goes wrong before everything is there.
    pub(crate) calm_start: bool,
    /// How long things go wrong.
    pub(crate) storm: u64,
    /// Between two things that go wrong, on average half of that.
    pub(crate) fault_every: u64,
    /// How long a message takes at most, unless it is late.
    pub(crate) delay: u64,
    /// How long a sync takes at most.
    pub(crate) sync: u64,
    pub(crate) replication: i16,
    pub(crate) min_in_sync: u32,
    pub(crate) topics: u64,
    pub(crate) partitions: i32,
    /// How often a producer sends, at most.
    pub(crate) produce_ms: u64,
    settings: ShardSettings,
    journal_bytes: ByteSize,
}

impl Plan {
    pub(crate) fn new(prng: &mut Prng) -> Plan {
        let nodes = 3 + i32::try_from(prng.below(3)).expect("few");
        let pick = |prng: &mut Prng, of: [u64; 3]| of[usize::try_from(prng.below(3)).expect("few")];
        let faults = Faults {
            loss: if prng.chance(50) { prng.below(15) } else { 0 },
            twice: prng.below(20),
            late: prng.chance(50),
            partitions: prng.chance(60),
            kills: prng.chance(80),
            power: prng.chance(70),
            stops: prng.chance(50),
        };
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(5),
            tail_bytes_max: if prng.chance(30) { 0 } else { 1 << 16 },
            disk_reserve: ByteSize(1 << 15),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings {
                backoff: Duration::from_secs(10),
                key_bytes_max: 20_000,
                key_seed: [7; 32],
            },
        };
        Plan {
            nodes,
            faults,
            calm_start: prng.chance(80),
            storm: 1_000_000 * (20 + prng.below(60)),
            fault_every: pick(prng, [2_000_000, 6_000_000, 20_000_000]),
            delay: pick(prng, [2_000, 10_000, 40_000]),
            sync: pick(prng, [2_000, 20_000, 200_000]),
            replication: if nodes > 3 && prng.chance(30) { 4 } else { 3 },
            min_in_sync: u32::try_from(1 + prng.below(3)).expect("few"),
            topics: 1 + prng.below(2),
            partitions: 1 + i32::try_from(prng.below(4)).expect("few"),
            produce_ms: pick(prng, [20, 100, 400]),
            settings,
            journal_bytes: ByteSize(512 * (8 + prng.below(100))),
        }
    }

    /// What the next start of a broker is given: the number of shards may differ from one to the next.
    pub(crate) fn shard_plan(
        &self,
        prng: &mut Prng,
        broker: BrokerId,
        directory: [u8; 16],
    ) -> ShardPlan {
        ShardPlan {
            broker,
            shards: u32::try_from(1 + prng.below(3)).expect("few"),
            settings: self.settings.clone(),
            journal_bytes: self.journal_bytes,
            cluster: Cluster::default(),
            quorum: QuorumSeed {
                cluster: ClusterId([1; 16]),
                directory: DirectoryId(directory),
                entropy: prng.below(u64::MAX),
                joins: broker != FIRST,
            },
        }
    }

    pub(crate) fn brokers(&self) -> impl Iterator<Item = BrokerId> + use<> {
        (1..=self.nodes).map(BrokerId)
    }
}

/// The broker that begins the cluster.
pub(crate) const FIRST: BrokerId = BrokerId(1);
