//! One partition as its shard sees it: a log, what of it consumers may see, and whose turn it is.

use std::io;

use brooklet_log::disk::{read_small, replace};
use brooklet_log::{Disk, Log, LogSettings};
use brooklet_meta::setting::effective::{EffectiveTopicSettings, Flush};
use brooklet_types::{
    ByteSize, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName, TopicPartition,
};

/// A partition that this broker leads.
#[derive(Debug)]
pub(crate) struct Partition<D: Disk> {
    pub(crate) id: TopicPartition,
    pub(crate) topic: TopicName,
    pub(crate) log: Log<D>,
    /// Our term as its leader, written into every batch.
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
        Partition { id, topic, log, epoch, flush: Flush::Sync, high_watermark }
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
    let other = found.as_deref().and_then(|found| {
        let found = std::str::from_utf8(found).ok()?;
        found.lines().find_map(|line| line.strip_prefix("topic_id: ")).map(str::to_owned)
    });
    match other {
        Some(other) if other == topic.to_string() => return Ok(false),
        // A file that says nothing is damaged, and no reason to throw records away.
        None if found.is_some() => {}
        Some(_) | None => disk.remove(folder)?,
    }
    disk.create_folder(folder)?;
    Ok(true)
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
