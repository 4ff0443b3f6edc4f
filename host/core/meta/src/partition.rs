//! Who keeps one partition: replicas, who of them is in sync, who leads, and which state of it all this is.
//!
//! **Invariants** of a partition that was placed in a cluster, asserted when a change of one is decided
//! ([`Partition::assert_sound`]): the leader is in sync; who is in sync is a replica; who is eligible is a
//! replica and not in sync; who is being added or removed is a replica, and not both.

use brooklet_types::{BrokerId, LeaderEpoch};

/// Which state of one partition is meant. Grows with every change of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct PartitionEpoch(pub u32);

/// Whether a leader has still to make good an election that may have cost records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum LeaderRecovery {
    /// It has, or never had to.
    #[default]
    Recovered,
    /// It was elected uncleanly, and has not said yet that it is done.
    Recovering,
}

/// Who is to keep a new partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Assignment {
    /// Everybody, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Those of them who can begin at once, in the same order.
    pub in_sync: Vec<BrokerId>,
}

/// Who keeps one partition.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Partition {
    /// Who takes writes; none while nobody can.
    pub leader: Option<BrokerId>,
    /// The leader's term.
    pub leader_epoch: LeaderEpoch,
    /// Which state this is.
    pub epoch: PartitionEpoch,
    /// Who should have a copy, the preferred leader first.
    pub replicas: Vec<BrokerId>,
    /// Who has every acknowledged record, and takes part in acknowledging the next.
    pub in_sync: Vec<BrokerId>,
    /// Who has every acknowledged record too, because none was acknowledged since they fell behind (KIP-966).
    pub eligible: Vec<BrokerId>,
    /// Who led last, while nobody does and nobody is eligible or in sync.
    pub last_known: Vec<BrokerId>,
    /// Which replicas a reassignment adds.
    pub adding: Vec<BrokerId>,
    /// Which replicas it will remove.
    pub removing: Vec<BrokerId>,
    /// Whether the leader has to make good an unclean election.
    pub recovery: LeaderRecovery,
}

impl LeaderRecovery {
    /// Reads Kafka's number; none for one it does not have.
    pub fn from_wire(raw: i8) -> Option<LeaderRecovery> {
        match raw {
            0 => Some(LeaderRecovery::Recovered),
            1 => Some(LeaderRecovery::Recovering),
            _ => None,
        }
    }

    /// Kafka's number for it.
    pub fn to_wire(self) -> i8 {
        match self {
            LeaderRecovery::Recovered => 0,
            LeaderRecovery::Recovering => 1,
        }
    }
}

impl PartitionEpoch {
    /// Reads a wire epoch; a negative one is none.
    pub fn from_wire(raw: i32) -> Option<PartitionEpoch> {
        u32::try_from(raw).ok().map(PartitionEpoch)
    }

    /// The epoch as Kafka writes it.
    pub fn to_wire(self) -> i32 {
        i32::try_from(self.0).expect("an epoch grows by decisions, never to i32::MAX")
    }

    /// The next state's.
    pub fn next(self) -> PartitionEpoch {
        PartitionEpoch(self.0 + 1)
    }
}

impl Partition {
    /// A new partition, led by the first of those who can begin.
    pub fn new(assignment: &Assignment) -> Partition {
        let Assignment { replicas, in_sync } = assignment.clone();
        Partition { leader: in_sync.first().copied(), replicas, in_sync, ..Partition::default() }
    }

    /// Who leads it when everybody is there.
    pub fn preferred_leader(&self) -> Option<BrokerId> {
        self.replicas.first().copied()
    }

    /// Whether replicas are being added or removed.
    pub fn is_reassigning(&self) -> bool {
        !self.adding.is_empty() || !self.removing.is_empty()
    }

    /// Whether this broker has every acknowledged record, as far as the cluster knows.
    pub fn is_complete_on(&self, broker: BrokerId) -> bool {
        self.in_sync.contains(&broker) || self.eligible.contains(&broker)
    }

    /// Panics where an invariant of this module does not hold.
    pub fn assert_sound(&self) {
        let replicas = |brokers: &[BrokerId]| brokers.iter().all(|one| self.replicas.contains(one));
        assert!(self.leader.is_none_or(|leader| self.in_sync.contains(&leader)), "{self:?}");
        assert!(replicas(&self.in_sync), "{self:?}");
        assert!(replicas(&self.eligible), "{self:?}");
        assert!(replicas(&self.adding) && replicas(&self.removing), "{self:?}");
        assert!(!self.eligible.iter().any(|one| self.in_sync.contains(one)), "{self:?}");
        assert!(!self.adding.iter().any(|one| self.removing.contains(one)), "{self:?}");
    }
}
