//! A topic's settings as values to work with: parsed, with every default filled in.

use brooklet_types::{BrokerId, ByteSize};

use super::describe::topic_value;
use super::{kind, topic};
use crate::cluster::{Cluster, Settings, Topic};

/// Every setting that changes something on the record path, in effect for one topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EffectiveTopicSettings {
    /// `cleanup.policy` contains `delete`.
    pub delete: bool,
    /// `cleanup.policy` contains `compact`.
    pub compact: bool,
    /// `compression.type`, with its level.
    pub compression: Compression,
    /// `delete.retention.ms`
    pub delete_retention_ms: i64,
    /// `brooklet.flush`
    pub flush: Flush,
    /// `index.interval.bytes`
    pub index_interval_bytes: u32,
    /// `max.compaction.lag.ms`
    pub max_compaction_lag_ms: i64,
    /// `max.message.bytes`
    pub max_message_bytes: u32,
    /// `message.timestamp.after.max.ms`
    pub timestamp_after_max_ms: i64,
    /// `message.timestamp.before.max.ms`
    pub timestamp_before_max_ms: i64,
    /// `message.timestamp.type` is `LogAppendTime`.
    pub log_append_time: bool,
    /// `min.cleanable.dirty.ratio`, in thousandths.
    pub min_cleanable_dirty_permille: u32,
    /// `min.compaction.lag.ms`
    pub min_compaction_lag_ms: i64,
    /// `min.insync.replicas`
    pub min_in_sync_replicas: u32,
    /// `retention.bytes`; none for no limit.
    pub retention_bytes: Option<ByteSize>,
    /// `retention.ms`; none for no limit.
    pub retention_ms: Option<i64>,
    /// `segment.bytes`
    pub segment_bytes: u32,
    /// `segment.index.bytes`
    pub segment_index_bytes: u32,
    /// `segment.ms`
    pub segment_ms: i64,
}

/// What `acks=all` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flush {
    /// The disk.
    Sync,
    /// The page cache.
    Os,
}

/// How batches are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Compression {
    /// As they were sent.
    Producer,
    /// Plain.
    Uncompressed,
    /// With gzip; no level is the codec's own.
    Gzip { level: Option<i32> },
    /// With snappy.
    Snappy,
    /// With lz4.
    Lz4 { level: i32 },
    /// With zstd.
    Zstd { level: i32 },
}

/// What the controller asks of a topic's settings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplicationSettings {
    /// `min.insync.replicas`
    pub min_in_sync_replicas: u32,
    /// `unclean.leader.election.enable`
    pub unclean_elections: bool,
    /// `brooklet.flush`
    pub flush: Flush,
}

impl Cluster {
    /// The settings of `topic` as the controller works with them: no broker's own count, because all have to
    /// agree on them.
    pub fn replication(&self, topic: &Topic) -> ReplicationSettings {
        let read = Reader { cluster: self, this: None, own: &topic.settings };
        ReplicationSettings {
            min_in_sync_replicas: read.count("min.insync.replicas"),
            unclean_elections: read.flag("unclean.leader.election.enable"),
            flush: read.flush(),
        }
    }

    /// The settings of `topic` as broker `this` works with them.
    pub fn effective(&self, this: BrokerId, topic: &Topic) -> EffectiveTopicSettings {
        EffectiveTopicSettings::of(self, this, &topic.settings)
    }
}

impl EffectiveTopicSettings {
    /// The settings of a topic with these settings of its own.
    pub fn of(cluster: &Cluster, this: BrokerId, own: &Settings) -> EffectiveTopicSettings {
        let read = Reader { cluster, this: Some(this), own };
        let policies = read.value("cleanup.policy");
        let ratio = read.value("min.cleanable.dirty.ratio").trim().parse::<f64>().unwrap_or(0.5);
        let retention_bytes = u64::try_from(read.long("retention.bytes")).ok().map(ByteSize);
        let retention_ms = Some(read.long("retention.ms")).filter(|millis| *millis >= 0);
        EffectiveTopicSettings {
            delete: kind::items(&policies).contains(&"delete"),
            compact: kind::items(&policies).contains(&"compact"),
            compression: read.compression(),
            delete_retention_ms: read.long("delete.retention.ms"),
            flush: read.flush(),
            index_interval_bytes: read.count("index.interval.bytes"),
            max_compaction_lag_ms: read.long("max.compaction.lag.ms"),
            max_message_bytes: read.count("max.message.bytes"),
            timestamp_after_max_ms: read.long("message.timestamp.after.max.ms"),
            timestamp_before_max_ms: read.long("message.timestamp.before.max.ms"),
            log_append_time: read.value("message.timestamp.type") == "LogAppendTime",
            min_cleanable_dirty_permille: permille(ratio),
            min_compaction_lag_ms: read.long("min.compaction.lag.ms"),
            min_in_sync_replicas: read.count("min.insync.replicas"),
            retention_bytes,
            retention_ms,
            segment_bytes: read.count("segment.bytes"),
            segment_index_bytes: read.count("segment.index.bytes"),
            segment_ms: read.long("segment.ms"),
        }
    }
}

fn permille(ratio: f64) -> u32 {
    // Whole numbers between 0 and 1,000 after the clamp: the search finds the nearest from below.
    let scaled = (ratio.clamp(0.0, 1.0) * 1000.0).round();
    (0..=1000).rev().find(|whole| f64::from(*whole) <= scaled).unwrap_or(0)
}

struct Reader<'a> {
    cluster: &'a Cluster,
    /// Whose own settings count too.
    this: Option<BrokerId>,
    own: &'a Settings,
}

impl Reader<'_> {
    /// The value in effect. One that was valid when it was stored and is not any more, because a
    /// later release is stricter, counts as not set.
    fn value(&self, name: &str) -> String {
        let setting = topic::find(name).expect("only names of the table are read");
        let value = topic_value(self.cluster, self.this, self.own, setting);
        if setting.check(&value).is_ok() {
            return value;
        }
        setting.default.expect("every topic setting has a default").to_owned()
    }

    fn flag(&self, name: &str) -> bool {
        self.value(name).trim().eq_ignore_ascii_case("true")
    }

    fn long(&self, name: &str) -> i64 {
        self.value(name).trim().parse().expect("checked as a LONG or INT")
    }

    fn count(&self, name: &str) -> u32 {
        u32::try_from(self.long(name)).expect("checked as an INT that is not negative")
    }

    fn level(&self, name: &str) -> i32 {
        i32::try_from(self.long(name)).expect("checked as an INT")
    }

    fn flush(&self) -> Flush {
        if self.value("brooklet.flush") == "os" { Flush::Os } else { Flush::Sync }
    }

    fn compression(&self) -> Compression {
        match self.value("compression.type").as_str() {
            "uncompressed" => Compression::Uncompressed,
            "gzip" => {
                let level = self.level("compression.gzip.level");
                Compression::Gzip { level: Some(level).filter(|level| *level > 0) }
            }
            "snappy" => Compression::Snappy,
            "lz4" => Compression::Lz4 { level: self.level("compression.lz4.level") },
            "zstd" => Compression::Zstd { level: self.level("compression.zstd.level") },
            _ => Compression::Producer,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_settings_a_topic_has_kafkas_defaults() {
        let cluster = Cluster::default();
        let effective = EffectiveTopicSettings::of(&cluster, BrokerId(1), &Settings::new());
        assert!(effective.delete && !effective.compact);
        assert_eq!(effective.retention_ms, Some(604_800_000));
        assert_eq!(effective.retention_bytes, None);
        assert_eq!(effective.min_cleanable_dirty_permille, 500);
        assert_eq!(effective.flush, Flush::Sync);
        assert_eq!(effective.compression, Compression::Producer);
    }

    #[test]
    fn a_topics_own_value_beats_the_brokers_and_an_invalid_one_counts_as_not_set() {
        let configured = [("log.retention.ms".into(), "5".into())].into();
        let cluster = Cluster::new(configured);
        let of = |name: &str, value: &str| {
            let own = [(name.to_owned(), value.to_owned())].into();
            EffectiveTopicSettings::of(&cluster, BrokerId(1), &own)
        };
        assert_eq!(of("segment.ms", "9").retention_ms, Some(5));
        assert_eq!(of("retention.ms", " 7 ").retention_ms, Some(7));
        assert_eq!(of("retention.ms", "-1").retention_ms, None);
        assert_eq!(of("retention.ms", "garbage").retention_ms, Some(604_800_000));
        assert_eq!(of("min.cleanable.dirty.ratio", "0.01").min_cleanable_dirty_permille, 10);
    }
}
