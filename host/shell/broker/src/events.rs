//! What shards report, as lines of the log.

use brooklet_log::compaction::Cleaned;
use brooklet_shard::output::Event;

/// Writes one event down, at the level of who has to do something about it.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Recovered { folder, report } => tracing::info!(folder, report, "recovered"),
        Event::PartitionFailed { folder, problem } => tracing::error!(folder, "{problem}"),
        Event::CopiesDiffer { folder, problem } => tracing::error!(folder, "{problem}"),
        Event::DiskFull { folder } => {
            tracing::error!(
                folder,
                "disk is at its reserve: producers are refused until there is room"
            );
        }
        Event::Compacted { folder, topic: _, cleaned } => {
            let Cleaned { records_removed, bytes_before, bytes_after } = cleaned;
            tracing::debug!(folder, records_removed, bytes_before, bytes_after, "compacted");
        }
        Event::NotCompacted { folder, topic: _, error, again: None } => {
            tracing::error!(folder, %error, "not compacted until the cause is mended");
        }
        Event::NotCompacted { folder, topic: _, error, again: Some(wait) } => {
            tracing::error!(folder, %error, again_in_s = wait.as_secs(), "not compacted");
        }
        Event::QuorumMessageRefused { from, problem } => {
            tracing::warn!(broker = %from, problem, "message to the metadata quorum not taken");
        }
        Event::GroupsLoaded { partition } => tracing::debug!(partition, "groups loaded"),
    }
}
