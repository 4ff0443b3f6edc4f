//! One partition as its shard sees it: a log, what of it consumers may see, and whose turn it is.

use std::io;

use brooklet_log::disk::{read_small, replace};
use brooklet_log::{Disk, Log, LogSettings};
use brooklet_meta::setting::effective::{EffectiveTopicSettings, Flush};
use brooklet_replica::{self as replica, Follower, Leader, LogEnds, LogState};
use brooklet_types::{
    ByteSize, ErrorCode, Instant, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName,
    TopicPartition,
};

/// What this broker is to a partition.
#[derive(Debug)]
pub(crate) enum Role {
    /// Its leader, with the only copy.
    Alone,
    /// Its leader, from whom others copy.
    Leader(Box<Leader>),
    /// One who copies, or waits for somebody to copy from.
    Follower(Box<Following>),
}

/// A follower.
#[derive(Debug)]
pub(crate) struct Following {
    pub(crate) machine: Follower,
    /// Nothing is fetched before, as what came could not be stored.
    pub(crate) not_before: Instant,
}

/// A partition of which this broker has a copy.
#[derive(Debug)]
pub(crate) struct Partition<D: Disk> {
    pub(crate) id: TopicPartition,
    pub(crate) topic: TopicName,
    pub(crate) log: Log<D>,
    pub(crate) role: Role,
    /// The term of its leader; ours is written into every batch.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) flush: Flush,
    /// Consumers may read up to (not including) this.
    pub(crate) high_watermark: Offset,
}

impl<D: Disk> Partition<D> {
    /// A partition whose log has just been opened.
    pub(crate) fn new(
        id: TopicPartition,
        topic: TopicName,
        log: Log<D>,
        epoch: LeaderEpoch,
    ) -> Partition<D> {
        // What recovery found is on the disk, or at least as durable as it will ever be.
        let high_watermark = log.end_offset();
        Partition { id, topic, log, role: Role::Alone, epoch, flush: Flush::Sync, high_watermark }
    }

    /// Whether this broker takes writes for it.
    pub(crate) fn leads(&self) -> bool {
        matches!(self.role, Role::Alone | Role::Leader(_))
    }

    /// How far the log goes.
    pub(crate) fn ends(&self) -> LogEnds {
        let end = self.log.end_offset();
        let durable = match self.flush {
            Flush::Sync => self.log.durable_end(),
            Flush::Os => end,
        };
        LogEnds { durable, end }
    }

    /// What there is of the log.
    pub(crate) fn log_state(&self) -> LogState {
        let LogEnds { durable, end } = self.ends();
        let (start, last_epoch) = (self.log.start_offset(), self.log.latest_epoch());
        LogState { start, durable, end, last_epoch }
    }

    /// Whether what may be deleted by age or size, or compacted, is safe on other brokers: all closed segments are.
    pub(crate) fn may_lose_segments(&self) -> bool {
        match self.role {
            Role::Alone => true,
            Role::Leader(_) | Role::Follower(_) => {
                self.log.is_in_active_segment(self.high_watermark)
            }
        }
    }

    /// Takes over what the topic's settings say now; says whether that changes anything for the log.
    pub(crate) fn configure(
        &mut self,
        settings: &EffectiveTopicSettings,
        epoch: LeaderEpoch,
        disk_reserve: ByteSize,
    ) -> bool {
        self.flush = settings.flush;
        self.epoch = self.epoch.max(epoch);
        let log = LogSettings { disk_reserve, ..log_settings(settings) };
        let changes = *self.log.settings() != log;
        if changes {
            self.log.set_settings(log);
        }
        changes
    }

    /// Refuses a reader whose idea of the leader's term is not ours (KIP-320).
    pub(crate) fn check_epoch(&self, claimed: Option<LeaderEpoch>) -> Result<(), ErrorCode> {
        match claimed {
            Some(epoch) if epoch < self.epoch => Err(ErrorCode::FencedLeaderEpoch),
            Some(epoch) if epoch > self.epoch => Err(ErrorCode::UnknownLeaderEpoch),
            Some(_) | None => Ok(()),
        }
    }

    /// Moves the high watermark to `to`, if that is forward. Says by how many offsets.
    pub(crate) fn advance(&mut self, to: Offset) -> u64 {
        assert!(to <= self.log.end_offset(), "a high watermark beyond the log");
        let moved = to.distance_from(self.high_watermark);
        self.high_watermark = self.high_watermark.max(to);
        moved
    }
}

/// The newest epoch of which a log has batches and which is not after `asked`, and where it ends.
pub(crate) fn history<D: Disk>(log: &Log<D>, asked: LeaderEpoch) -> Option<replica::EpochEnd> {
    let latest = log.latest_epoch()?;
    if asked >= latest {
        return Some(replica::EpochEnd { epoch: latest, end: log.end_offset() });
    }
    let (_, end) = log.epoch_end(asked)?;
    // Where nothing is so old, `end` is where the log's first epoch begins, and nothing is before that.
    let epoch = log.epoch_at(Offset::new(end.value().checked_sub(1)?))?;
    Some(replica::EpochEnd { epoch, end })
}

/// Where a partition's files are, relative to the data folder. Kafka's name for the folder.
pub(crate) fn folder(topic: &TopicName, partition: PartitionIndex) -> String {
    format!("{TOPICS}/{topic}-{partition}")
}

/// Where the folders of all partitions are.
pub(crate) const TOPICS: &str = "topics";

const IDENTITY: &str = "partition.metadata";

/// Kafka's file is two short lines.
const IDENTITY_BYTES_MAX: usize = 4096;

/// Makes sure that what is in `folder` belongs to `topic` and not to a deleted topic of the same
/// name, whose files a crash may have left behind. Says whether it is to be signed.
pub(crate) fn claim_folder<D: Disk>(disk: &D, folder: &str, topic: TopicId) -> io::Result<bool> {
    let found = read_small(disk, &format!("{folder}/{IDENTITY}"), IDENTITY_BYTES_MAX)?;
    match found.as_deref().and_then(topic_id) {
        Some(other) if other == topic.to_string() => return Ok(false),
        // A file that says nothing is damaged, and no reason to throw records away.
        None if found.is_some() => {}
        Some(_) | None => disk.remove(folder)?,
    }
    disk.create_folder(folder)?;
    Ok(true)
}

/// The topic that `folder` belongs to, as it is written there, if it is.
pub(crate) fn owner<D: Disk>(disk: &D, folder: &str) -> io::Result<Option<String>> {
    let found = read_small(disk, &format!("{folder}/{IDENTITY}"), IDENTITY_BYTES_MAX)?;
    Ok(found.as_deref().and_then(topic_id))
}

fn topic_id(identity: &[u8]) -> Option<String> {
    let identity = std::str::from_utf8(identity).ok()?;
    identity.lines().find_map(|line| line.strip_prefix("topic_id: ")).map(str::to_owned)
}

/// Writes down that `folder` belongs to `topic`, with the names that are in it by now: if that of the first
/// segment were lost and a later one's not, the log would begin where nobody has asked it to.
pub(crate) fn sign_folder<D: Disk>(disk: &D, folder: &str, topic: TopicId) -> io::Result<()> {
    let identity = format!("version: 0\ntopic_id: {topic}\n");
    replace(disk, folder, IDENTITY, identity.as_bytes())?;
    disk.sync_folder(TOPICS)
}

/// What a topic's settings mean for its logs. The log knows no settings by name and the metadata
/// knows no logs, so the two meet here. Producers expire as the broker says.
fn log_settings(settings: &EffectiveTopicSettings) -> LogSettings {
    // A record may not wait in the active segment for longer than it may wait to be compacted.
    let segment_ms_max = if settings.compact { settings.max_compaction_lag_ms } else { i64::MAX };
    LogSettings {
        segment_bytes: settings.segment_bytes,
        segment_ms: settings.segment_ms.min(segment_ms_max),
        segment_index_bytes: settings.segment_index_bytes,
        index_interval_bytes: settings.index_interval_bytes,
        retention_ms: settings.retention_ms,
        retention_bytes: settings.retention_bytes,
        delete: settings.delete,
        compact: settings.compact,
        delete_retention_ms: settings.delete_retention_ms,
        min_compaction_lag_ms: settings.min_compaction_lag_ms,
        max_compaction_lag_ms: settings.max_compaction_lag_ms,
        min_cleanable_dirty_permille: settings.min_cleanable_dirty_permille,
        batch_bytes_max: settings.max_message_bytes,
        ..LogSettings::default()
    }
}

#[cfg(test)]
mod tests {
    use brooklet_meta::Cluster;
    use brooklet_types::BrokerId;

    use super::*;

    #[test]
    fn a_segment_closes_in_time_for_its_records_to_be_compacted() {
        let closes_after = |policy: &str, lag: &str, segment_ms: &str| {
            let own = [
                ("cleanup.policy", policy),
                ("max.compaction.lag.ms", lag),
                ("segment.ms", segment_ms),
            ];
            let own = own.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
            let effective = EffectiveTopicSettings::of(&Cluster::default(), BrokerId(1), &own);
            log_settings(&effective).segment_ms
        };
        assert_eq!(closes_after("compact", "500", "1000"), 500);
        assert_eq!(closes_after("compact,delete", "5000", "1000"), 1000);
        assert_eq!(closes_after("delete", "500", "1000"), 1000);
    }
}
