//! What a log is told about its topic, as effective values.
//!
//! **Where it sits.** `meta` derives these from topic settings and their defaults; the log only
//! obeys. A changed setting takes effect with [`crate::Log::set_settings`].
//!
//! **What it never does.** Parse or know a setting's name.

use brooklet_types::{ByteSize, limits};

/// The effective values of one partition's topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogSettings {
    /// `segment.bytes`: a segment is closed before it grows beyond this.
    pub segment_bytes: u32,
    /// `segment.ms`: a segment is closed when its records span this much time.
    pub segment_ms: i64,
    /// `segment.index.bytes`: a segment is closed when an index is this long.
    pub segment_index_bytes: u32,
    /// `index.interval.bytes`: at least this much data between two index entries.
    pub index_interval_bytes: u32,
    /// `retention.ms`; none keeps for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; none keeps everything.
    pub retention_bytes: Option<ByteSize>,
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `delete.retention.ms`: how long a tombstone is kept for readers that lag.
    pub delete_retention_ms: i64,
    /// `min.compaction.lag.ms`.
    pub min_compaction_lag_ms: i64,
    /// `max.compaction.lag.ms`.
    pub max_compaction_lag_ms: i64,
    /// `min.cleanable.dirty.ratio`, in thousandths.
    pub min_cleanable_dirty_permille: u32,
    /// `max.message.bytes`.
    pub batch_bytes_max: u32,
    /// `producer.id.expiration.ms` of the broker.
    pub producer_expiration_ms: i64,
    /// Appends are refused when less than this would be left on the disk, so that commits and
    /// deletes still have room.
    pub disk_reserve: ByteSize,
}

/// Kafka's defaults.
impl Default for LogSettings {
    fn default() -> LogSettings {
        const DAY_MS: i64 = 24 * 60 * 60 * 1000;
        LogSettings {
            segment_bytes: 1 << 30,
            segment_ms: 7 * DAY_MS,
            segment_index_bytes: 10 << 20,
            index_interval_bytes: 4096,
            retention_ms: Some(7 * DAY_MS),
            retention_bytes: None,
            delete: true,
            compact: false,
            delete_retention_ms: DAY_MS,
            min_compaction_lag_ms: 0,
            max_compaction_lag_ms: i64::MAX,
            min_cleanable_dirty_permille: 500,
            batch_bytes_max: limits::BATCH_BYTES_MAX_DEFAULT,
            producer_expiration_ms: DAY_MS,
            disk_reserve: ByteSize::mib(64),
        }
    }
}
