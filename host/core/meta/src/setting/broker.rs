//! The table of broker settings: those that are the defaults of topics, which may change while the
//! broker runs, and those that tools look for to learn what kind of broker this is.
//!
//! Kafka has 395. A setting stands here if it says something true about this broker.

use super::kind::{Kind, SettingError};
use super::{Change, Setting};

const POSITIVE: Kind = Kind::Long { min: 1 };
const NOT_NEGATIVE: Kind = Kind::Long { min: 0 };
const INT_POSITIVE: Kind = Kind::Int { min: 1, max: i32::MAX };
const INT_NOT_NEGATIVE: Kind = Kind::Int { min: 0, max: i32::MAX };
const ANY_INT: Kind = Kind::Int { min: i32::MIN, max: i32::MAX };
const CODECS: Kind = Kind::OneOf(&["uncompressed", "zstd", "lz4", "snappy", "gzip", "producer"]);

/// The default of a topic's setting; its text is found there.
const fn topic(name: &'static str, kind: Kind, default: Option<&'static str>) -> Setting {
    let text = "The default of the topic setting of the same meaning.";
    Setting { name, kind, default, change: Change::Online, synonym: None, effective: true, text }
}

const fn inert_topic(name: &'static str, kind: Kind, default: Option<&'static str>) -> Setting {
    let text = "The default of the topic setting of the same meaning.";
    Setting { name, kind, default, change: Change::Online, synonym: None, effective: false, text }
}

const fn file(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    text: &'static str,
) -> Setting {
    Setting { name, kind, default, change: Change::File, synonym: None, effective: true, text }
}

const fn fixed(
    name: &'static str,
    kind: Kind,
    default: Option<&'static str>,
    text: &'static str,
) -> Setting {
    Setting { name, kind, default, change: Change::Never, synonym: None, effective: true, text }
}

/// Every broker setting, by name.
#[rustfmt::skip] // A table is read by columns.
pub static SETTINGS: &[Setting] = &[
    file("advertised.listeners", Kind::List(&[]), None, "The addresses clients are told to use; without one, the address they came in on."),
    file("allow.everyone.if.no.acl.found", Kind::Boolean, Some("false"), "Whether a resource that no rule is about is open to everybody."),
    file("authorizer.class.name", Kind::Text, Some(""), "Who says what clients may do; empty where everybody may do everything."),
    file("auto.create.topics.enable", Kind::Boolean, Some("true"), "Whether asking for a topic that does not exist creates it."),
    fixed("broker.id", ANY_INT, Some("-1"), "This broker's number; the same as node.id."),
    file("broker.rack", Kind::Text, None, "Where this broker stands."),
    topic("compression.gzip.level", Kind::GzipLevel, Some("-1")),
    topic("compression.lz4.level", Kind::Int { min: 1, max: 17 }, Some("9")),
    topic("compression.type", CODECS, Some("producer")),
    topic("compression.zstd.level", Kind::Int { min: -131_072, max: 22 }, Some("3")),
    file("connections.max.idle.ms", Kind::Long { min: i64::MIN }, Some("600000"), "A connection that says nothing for this long is closed."),
    file("default.replication.factor", Kind::Int { min: 1, max: i16::MAX as i32 }, Some("1"), "Replicas of a topic whose creator leaves it open."),
    fixed("delete.topic.enable", Kind::Boolean, Some("true"), "Whether topics can be deleted."),
    fixed("fetch.max.bytes", Kind::Int { min: 1024, max: i32::MAX }, Some("57671680"), "The most one fetch returns, whatever it asks for."),
    file("group.initial.rebalance.delay.ms", INT_NOT_NEGATIVE, Some("3000"), "How long a new group waits for more members before its first rebalance."),
    file("group.max.session.timeout.ms", INT_POSITIVE, Some("1800000"), "The longest session timeout a group member may ask for."),
    file("group.max.size", INT_POSITIVE, Some("2147483647"), "The most members one group may have."),
    file("group.min.session.timeout.ms", INT_POSITIVE, Some("6000"), "The shortest session timeout a group member may ask for."),
    fixed("inter.broker.protocol.version", Kind::Text, Some("4.3"), "The Kafka release whose protocol this broker speaks. Kafka itself dropped the setting; tools still ask for it."),
    file("listeners", Kind::List(&[]), None, "The addresses this broker listens on."),
    file("log.cleaner.backoff.ms", NOT_NEGATIVE, Some("15000"), "Where nothing was to be compacted, the next look is no sooner than this."),
    file("log.cleaner.dedupe.buffer.size", Kind::Long { min: i64::MIN }, Some("134217728"), "Memory for the keys of the logs that are being compacted."),
    fixed("log.cleaner.enable", Kind::Boolean, Some("true"), "Whether compaction runs."),
    topic("log.cleaner.delete.retention.ms", NOT_NEGATIVE, Some("86400000")),
    topic("log.cleaner.max.compaction.lag.ms", POSITIVE, Some("9223372036854775807")),
    topic("log.cleaner.min.cleanable.ratio", Kind::Double { min: 0.0, max: 1.0 }, Some("0.5")),
    topic("log.cleaner.min.compaction.lag.ms", NOT_NEGATIVE, Some("0")),
    topic("log.cleanup.policy", Kind::List(&["compact", "delete"]), Some("delete")),
    fixed("log.dirs", Kind::List(&[]), None, "The folder with this broker's data."),
    inert_topic("log.flush.interval.messages", POSITIVE, Some("9223372036854775807")),
    inert_topic("log.flush.interval.ms", NOT_NEGATIVE, None),
    topic("log.index.interval.bytes", INT_NOT_NEGATIVE, Some("4096")),
    topic("log.index.size.max.bytes", Kind::Int { min: 4, max: i32::MAX }, Some("10485760")),
    inert_topic("log.local.retention.bytes", Kind::Long { min: -2 }, Some("-2")),
    inert_topic("log.local.retention.ms", Kind::Long { min: -2 }, Some("-2")),
    topic("log.message.timestamp.after.max.ms", NOT_NEGATIVE, Some("3600000")),
    topic("log.message.timestamp.before.max.ms", NOT_NEGATIVE, Some("9223372036854775807")),
    topic("log.message.timestamp.type", Kind::OneOf(&["CreateTime", "LogAppendTime"]), Some("CreateTime")),
    inert_topic("log.preallocate", Kind::Boolean, Some("false")),
    topic("log.retention.bytes", Kind::Long { min: i64::MIN }, Some("-1")),
    fixed("log.retention.hours", ANY_INT, Some("168"), "What retention is if neither log.retention.ms nor log.retention.minutes is set."),
    fixed("log.retention.minutes", ANY_INT, None, "Not used: set log.retention.ms."),
    topic("log.retention.ms", Kind::Long { min: -1 }, None),
    fixed("log.roll.hours", INT_POSITIVE, Some("168"), "When segments are closed if log.roll.ms is not set."),
    inert_topic("log.roll.jitter.ms", NOT_NEGATIVE, None),
    topic("log.roll.ms", POSITIVE, None),
    topic("log.segment.bytes", Kind::Int { min: 1_048_576, max: i32::MAX }, Some("1073741824")),
    inert_topic("log.segment.delete.delay.ms", NOT_NEGATIVE, Some("60000")),
    topic("message.max.bytes", INT_NOT_NEGATIVE, Some("1048588")),
    topic("min.insync.replicas", INT_POSITIVE, Some("1")),
    fixed("node.id", ANY_INT, None, "This broker's number in the cluster."),
    file("num.partitions", INT_POSITIVE, Some("1"), "Partitions of a topic whose creator leaves it open."),
    fixed("offset.metadata.max.bytes", ANY_INT, Some("4096"), "The most a client may note beside a committed offset."),
    file("offsets.retention.minutes", INT_POSITIVE, Some("10080"), "How long an empty group's offsets are kept."),
    file("offsets.topic.num.partitions", INT_POSITIVE, Some("50"), "Partitions of the topic with the groups and their offsets."),
    fixed("offsets.topic.replication.factor", Kind::Short, Some("3"), "Replicas of the topic with the groups and their offsets."),
    fixed("process.roles", Kind::List(&["broker", "controller"]), None, "What this process is: broker and controller in one."),
    fixed("producer.id.expiration.ms", INT_POSITIVE, Some("86400000"), "How long an idempotent producer is remembered."),
    file("replica.selector.class", Kind::Text, None, "How a follower is chosen for a consumer that says where it stands: by rack, on a broker that has one."),
    file("socket.request.max.bytes", INT_POSITIVE, Some("104857600"), "The largest request that is read."),
    file("super.users", Kind::Text, Some(""), "Who may do everything, whatever rules say."),
    inert_topic("unclean.leader.election.enable", Kind::Boolean, Some("false")),
];

/// The broker setting of that name.
pub fn find(name: &str) -> Option<&'static Setting> {
    SETTINGS.iter().find(|setting| setting.name == name)
}

/// Why a broker's setting was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerSettingError {
    /// There is none of that name.
    #[error("Unknown broker config name: {name}")]
    Unknown { name: String },
    /// The value is not one.
    #[error(transparent)]
    Value(#[from] SettingError),
}

/// Checks one broker setting.
pub fn check(name: &str, value: &str) -> Result<(), BrokerSettingError> {
    let unknown = || BrokerSettingError::Unknown { name: name.to_owned() };
    Ok(find(name).ok_or_else(unknown)?.check(value)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_defaults_are_valid() {
        let mut names: Vec<&str> = SETTINGS.iter().map(|setting| setting.name).collect();
        names.sort_unstable();
        assert!(names.is_sorted_by(|one, other| one < other));
        for setting in SETTINGS {
            if let Some(default) = setting.default {
                setting.check(default).unwrap();
            }
        }
    }
}
