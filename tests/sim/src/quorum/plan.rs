//! What a seed decides before anything happens: who there is, how large things are, and how bad things get.

use brooklet_quorum::{ClusterId, Member, Settings};

use crate::prng::Prng;

/// How a history goes.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// How many brokers there are.
    pub(crate) hosts: usize,
    /// How many of them begin as voters; the others have heard of no cluster.
    pub(crate) voters: usize,
    /// Events until it calms down.
    pub(crate) events: u64,
    /// Microseconds between two things that go wrong, on average.
    pub(crate) fault_every: u64,
    /// Microseconds between two things that somebody wants, on average.
    pub(crate) wish_every: u64,
    /// The longest write, in microseconds.
    pub(crate) write_max: u64,
    /// The longest way of a message, in microseconds.
    pub(crate) delay_max: u64,
    /// Messages lost, in a hundred.
    pub(crate) lost: u64,
    /// Messages that come twice, in a hundred.
    pub(crate) twice: u64,
    /// Entries after which a host takes a snapshot of its own.
    pub(crate) kept_max: usize,
    /// Entries that it leaves for those who are a little behind, at most.
    pub(crate) tail_max: u64,
    /// How often, in a hundred, a host crashes when a new term or vote is written and told.
    pub(crate) fragile: u64,
    /// How often, in a hundred, a host stands for election as soon as it starts.
    pub(crate) eager: u64,
    /// Whether members change.
    pub(crate) changes: bool,
    limits: Limits,
}

#[derive(Clone, Debug)]
struct Limits {
    append: usize,
    inflight: usize,
    uncommitted: usize,
    patience: u32,
    /// Ticks to an election, and to a heartbeat. Few, and members stand at the same moment.
    ticks: (u32, u32),
}

impl Plan {
    pub(crate) fn new(prng: &mut Prng) -> Plan {
        let mut up_to = |most: u64| usize::try_from(prng.below(most)).expect("few");
        let hosts = 3 + up_to(3);
        let voters = if up_to(4) == 0 { 1 } else { 3.min(hosts) + up_to(2).min(hosts - 3) };
        let limits = Limits {
            append: [1, 60, 4096][up_to(3)],
            inflight: [1, 3, 64][up_to(3)],
            uncommitted: [5000, 100_000][up_to(2)],
            patience: [15, 60][up_to(2)],
            ticks: [(2, 1), (4, 1), (10, 2)][up_to(3)],
        };
        let write_max = [500, 20_000, 400_000, 2_000_000][up_to(4)];
        let delay_max = [2_000, 50_000, 600_000][up_to(3)];
        let kept_max = [5, 30, 200][up_to(3)];
        Plan {
            hosts,
            voters,
            events: 1500 + prng.below(4000),
            fault_every: 100_000 + prng.below(3_000_000),
            wish_every: 20_000 + prng.below(200_000),
            write_max,
            delay_max,
            lost: prng.below(20),
            twice: prng.below(20),
            kept_max,
            tail_max: prng.below(20),
            eager: if prng.chance(50) { 20 } else { 90 },
            fragile: if prng.chance(50) { prng.below(30) } else { 0 },
            changes: prng.chance(70),
            limits,
        }
    }

    /// Bytes of entries after which a quorum takes no more.
    pub(crate) fn kept_bytes_max(&self) -> usize {
        4 * self.limits.uncommitted
    }

    /// What a quorum is told at a start.
    pub(crate) fn settings(&self, me: Member, entropy: u64) -> Settings {
        let limits = &self.limits;
        Settings {
            append_bytes_max: limits.append,
            inflight_max: limits.inflight,
            proposal_bytes_max: 200,
            uncommitted_bytes_max: limits.uncommitted,
            kept_bytes_max: self.kept_bytes_max(),
            snapshot_ticks: limits.patience,
            election_ticks: limits.ticks.0,
            heartbeat_ticks: limits.ticks.1,
            ..Settings::new(me, CLUSTER, entropy)
        }
    }
}

/// The one cluster.
pub(crate) const CLUSTER: ClusterId = ClusterId(*b"a cluster's name");
