//! The table of topic settings: all 33 of Kafka 4.3, and ours.

use super::kind::Kind;
use super::{Change, Setting};

const DOUBLE_RATIO: Kind = Kind::Double { min: 0.0, max: 1.0 };
const POSITIVE: Kind = Kind::Long { min: 1 };
const NOT_NEGATIVE: Kind = Kind::Long { min: 0 };
const INT_NOT_NEGATIVE: Kind = Kind::Int { min: 0, max: i32::MAX };
const CODECS: Kind = Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

const fn works(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: Option<&'static str>,
    text: &'static str,
) -> Setting {
    let change = Change::Online;
    Setting { name, kind, default: Some(default), change, synonym, effective: true, text }
}

const fn inert(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    synonym: Option<&'static str>,
    text: &'static str,
) -> Setting {
    let change = Change::Online;
    Setting { name, kind, default: Some(default), change, synonym, effective: false, text }
}

/// The plugins of a topic.
pub const PLUGINS: &str = "brooklet.plugins";
/// The topic that a view shows.
pub const VIEW_OF: &str = "brooklet.view.of";

/// Every topic setting, by name.
#[rustfmt::skip] // A table is read by columns.
pub static SETTINGS: &[Setting] = &[
    works("brooklet.flush", Kind::OneOf(&["sync", "os"]), "sync", None,
        "What acks=all waits for: 'sync', until the records are on the disk; 'os', until they are in the page cache, which survives the broker but not the machine."),
    works(PLUGINS, Kind::Text, "", None,
        "The plugins of this topic, as a list in RON or JSON: partitioner, serdes and compaction policy of a topic, transforms and serdes of a view."),
    works(VIEW_OF, Kind::Text, "", None,
        "The topic whose records this one shows, through its plugins. Given when the view is created, and never changed."),
    works("cleanup.policy", Kind::List(&["compact", "delete"]), "delete", Some("log.cleanup.policy"),
        "What happens to old segments: 'delete' removes them by retention time and size, 'compact' keeps only the newest record of each key. Both may be combined, and an empty list keeps everything."),
    works("compression.gzip.level", Kind::GzipLevel, "-1", Some("compression.gzip.level"),
        "The level for compression.type=gzip."),
    works("compression.lz4.level", Kind::Int { min: 1, max: 17 }, "9", Some("compression.lz4.level"),
        "The level for compression.type=lz4."),
    works("compression.type", CODECS, "producer", Some("compression.type"),
        "How batches are stored: 'producer' keeps each as it was sent, anything else compresses batches that came otherwise anew."),
    works("compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, "3", Some("compression.zstd.level"),
        "The level for compression.type=zstd."),
    works("delete.retention.ms", NOT_NEGATIVE, "86400000", Some("log.cleaner.delete.retention.ms"),
        "How long a compacted topic keeps tombstones, so that readers that lag still see the deletion."),
    inert("file.delete.delay.ms", NOT_NEGATIVE, "60000", Some("log.segment.delete.delay.ms"),
        "How long files of a deleted segment stay on the disk. Here they go once their last reader has let go."),
    inert("flush.messages", POSITIVE, "9223372036854775807", Some("log.flush.interval.messages"),
        "Sync to the disk after this many records. Here brooklet.flush decides."),
    inert("flush.ms", NOT_NEGATIVE, "9223372036854775807", Some("log.flush.interval.ms"),
        "Sync to the disk after this much time. Here brooklet.flush decides."),
    inert("follower.replication.throttled.replicas", Kind::Replicas, "", None,
        "Replicas whose replication is throttled on the follower's side: 'partition:broker' pairs, or '*'."),
    works("index.interval.bytes", INT_NOT_NEGATIVE, "4096", Some("log.index.interval.bytes"),
        "At least this much data lies between two entries of an index."),
    inert("leader.replication.throttled.replicas", Kind::Replicas, "", None,
        "Replicas whose replication is throttled on the leader's side: 'partition:broker' pairs, or '*'."),
    inert("local.retention.bytes", Kind::Long { min: -2 }, "-2", Some("log.local.retention.bytes"),
        "With tiered storage, how much stays on the local disk; -2 takes retention.bytes."),
    inert("local.retention.ms", Kind::Long { min: -2 }, "-2", Some("log.local.retention.ms"),
        "With tiered storage, how long records stay on the local disk; -2 takes retention.ms."),
    works("max.compaction.lag.ms", POSITIVE, "9223372036854775807", Some("log.cleaner.max.compaction.lag.ms"),
        "A record of a compacted topic waits no longer than this before it may be compacted."),
    works("max.message.bytes", INT_NOT_NEGATIVE, "1048588", Some("message.max.bytes"),
        "The largest record batch that is accepted, as it is stored."),
    works("message.timestamp.after.max.ms", NOT_NEGATIVE, "3600000", Some("log.message.timestamp.after.max.ms"),
        "A record's timestamp may lie this far ahead of the broker's clock. For CreateTime only."),
    works("message.timestamp.before.max.ms", NOT_NEGATIVE, "9223372036854775807", Some("log.message.timestamp.before.max.ms"),
        "A record's timestamp may lie this far behind the broker's clock. For CreateTime only."),
    works("message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), "CreateTime", Some("log.message.timestamp.type"),
        "Whether records keep the producer's timestamp or get the time at which they were appended."),
    works("min.cleanable.dirty.ratio", DOUBLE_RATIO, "0.5", Some("log.cleaner.min.cleanable.ratio"),
        "The share of a log that must be new since the last compaction before the next one starts."),
    works("min.compaction.lag.ms", NOT_NEGATIVE, "0", Some("log.cleaner.min.compaction.lag.ms"),
        "A record of a compacted topic is not compacted before this time has passed."),
    works("min.insync.replicas", Kind::Int { min: 1, max: i32::MAX }, "1", Some("min.insync.replicas"),
        "How many replicas must be in sync for a write with acks=all to be accepted."),
    inert("preallocate", Kind::Boolean, "false", Some("log.preallocate"),
        "Allocate a segment's whole file at once. Here files are always allocated ahead, in steps."),
    inert("remote.log.copy.disable", Kind::Boolean, "false", None,
        "With tiered storage, copy no further segments."),
    inert("remote.log.delete.on.disable", Kind::Boolean, "false", None,
        "With tiered storage, delete the copies when it is turned off."),
    inert("remote.storage.enable", Kind::Boolean, "false", None,
        "Tiered storage. This broker has none and refuses 'true'."),
    works("retention.bytes", Kind::Long { min: i64::MIN }, "-1", Some("log.retention.bytes"),
        "With cleanup.policy=delete, the size at which a partition's oldest segments are removed; negative for no limit."),
    works("retention.ms", Kind::Long { min: -1 }, "604800000", Some("log.retention.ms"),
        "With cleanup.policy=delete, the age at which segments are removed; -1 for no limit."),
    works("segment.bytes", Kind::Int { min: 1_048_576, max: i32::MAX }, "1073741824", Some("log.segment.bytes"),
        "A segment is closed before it grows beyond this. Retention and compaction take whole closed segments."),
    works("segment.index.bytes", Kind::Int { min: 4, max: i32::MAX }, "10485760", Some("log.index.size.max.bytes"),
        "A segment is closed when one of its indexes is this long."),
    inert("segment.jitter.ms", NOT_NEGATIVE, "0", Some("log.roll.jitter.ms"),
        "Random time taken off segment.ms, so that not all segments close at once."),
    works("segment.ms", POSITIVE, "604800000", Some("log.roll.ms"),
        "A segment is closed after this time even if it is not full, so that retention can have it."),
    inert("unclean.leader.election.enable", Kind::Boolean, "false", Some("unclean.leader.election.enable"),
        "Whether a replica that is not in sync may become leader as a last resort, at the price of records."),
];

/// The topic setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    let place = SETTINGS.binary_search_by(|setting| setting.name.cmp(name)).ok()?;
    SETTINGS.get(place)
}

/// The topic setting whose default is the broker's setting of that name.
pub fn of_synonym(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.synonym == Some(name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::setting::broker;

    #[test]
    fn the_table_is_sorted_and_its_defaults_are_valid() {
        assert!(SETTINGS.is_sorted_by_key(|setting| setting.name));
        assert_eq!(SETTINGS.len(), 33 + 3, "Kafka's and ours");
        for setting in SETTINGS {
            setting.check(setting.default.unwrap()).unwrap();
            if let Some(synonym) = setting.synonym {
                let broker = broker::find(synonym).expect(synonym);
                assert_eq!(broker.kind, setting.kind, "{synonym}");
            }
        }
    }
}
