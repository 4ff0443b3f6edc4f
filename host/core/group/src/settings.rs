//! What an operator may change about groups, with Kafka's names and defaults where not said
//! otherwise, and the bounds nobody may change.

use std::time::Duration;

/// Effective values of the `group.*` and `offsets.*` broker settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// `group.min.session.timeout.ms`.
    pub session_timeout_ms_min: i32,
    /// `group.max.session.timeout.ms`.
    pub session_timeout_ms_max: i32,
    /// `group.initial.rebalance.delay.ms`: how long an empty group waits for company.
    pub initial_rebalance_delay: Duration,
    /// `group.max.size`.
    pub group_size_max: usize,
    /// `offset.metadata.max.bytes`, counted as Kafka does: in UTF-16 units.
    pub offset_metadata_max: usize,
    /// `offsets.retention.minutes`.
    pub offsets_retention: Duration,
    /// `offsets.retention.check.interval.ms`: the least time between two searches for expired
    /// offsets.
    pub offsets_retention_check_interval: Duration,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            session_timeout_ms_min: 6_000,
            session_timeout_ms_max: 1_800_000,
            // Kafka waits 3 s, for fleets that start together. A site's few consumers should not.
            initial_rebalance_delay: Duration::ZERO,
            // Kafka has no limit. Above this a rebalance takes longer than any sane timeout.
            group_size_max: 10_000,
            offset_metadata_max: brooklet_types::limits::OFFSET_METADATA_BYTES_MAX,
            offsets_retention: Duration::from_secs(7 * 24 * 60 * 60),
            offsets_retention_check_interval: Duration::from_secs(600),
        }
    }
}

/// Groups in one coordinator. Names are chosen by clients, so something must bound them; with
/// 50 partitions of `__consumer_offsets` this is half a million groups.
pub(crate) const GROUPS_MAX: usize = 10_000;

/// Committed positions of one group. A group that reads ten thousand topics of ten partitions.
pub(crate) const OFFSETS_PER_GROUP_MAX: usize = 100_000;

/// Protocols one member may offer. Clients offer one to four.
pub(crate) const PROTOCOLS_MAX: usize = 64;

/// Bytes of metadata of one member, over all its protocols: they are kept in memory, sent to the
/// leader and stored in one record, which must fit a batch.
pub(crate) const MEMBER_METADATA_BYTES_MAX: usize = 1 << 20;

/// Members that got an id and have not come back with it, per group. Each waits a session
/// timeout, so without a bound a loop of first joins would fill the memory.
pub(crate) const PENDING_MEMBERS_MAX: usize = 10_000;

/// Tombstones one tick writes, so that a mass expiry does not become one enormous batch. The
/// rest follows in the next tick, which is due at once.
pub(crate) const EXPIRED_PER_TICK_MAX: usize = 1_000;

/// How long the JoinGroup of a new member may wait. It knows no member id yet and cannot
/// heartbeat; without this, retries of a dead client would pile up. Kafka's value.
pub(crate) const NEW_MEMBER_JOIN_TIMEOUT: Duration = Duration::from_secs(300);
