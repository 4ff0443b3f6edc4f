//! What shards report, as lines of the log.

use brooklet_shard::output::Event;

/// Writes one event down, at the level of who has to do something about it.
pub(crate) fn log(event: &Event) {
    match event {
        Event::Recovered { folder, report } => tracing::info!(folder, report, "recovered"),
        Event::PartitionFailed { folder, problem } => tracing::error!(folder, "{problem}"),
        Event::DiskFull { folder } => {
            tracing::error!(
                folder,
                "disk is at its reserve: producers are refused until there is room"
            );
        }
        Event::Compacted { folder, records_removed } => {
            tracing::debug!(folder, records_removed, "compacted");
        }
        Event::NotCompacted { folder, error } => {
            tracing::error!(folder, %error, "not compacted until the cause is mended");
        }
        Event::GroupsLoaded { partition } => tracing::debug!(partition, "groups loaded"),
    }
}
