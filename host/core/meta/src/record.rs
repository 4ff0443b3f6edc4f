//! The facts the metadata log consists of.

use brooklet_types::{
    Acl, BrokerId, ProducerId, QuotaEntity, QuotaKey, QuotaLimit, ScramCredential, ScramHash,
    TopicId, TopicName,
};

/// One setting and its new value; none takes it back to what it would be by itself.
pub type SettingChange = (String, Option<String>);

/// A fact about the cluster. Kept for ever, so variants are added and never changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MetaRecord {
    /// A broker is up. After an unclean stop (`clean` is false) it may have lost records that
    /// only its page cache held, so every partition it leads gets a new leader epoch.
    BrokerStarted { broker: BrokerId, clean: bool },
    /// A topic exists.
    TopicCreated { id: TopicId, name: TopicName, partitions: u32, settings: Vec<(String, String)> },
    /// A topic has grown to `total` partitions.
    PartitionsAdded { id: TopicId, total: u32 },
    /// A topic is gone, with all its records.
    TopicDeleted { id: TopicId },
    /// Some of a topic's own settings changed.
    TopicSettingsChanged { id: TopicId, changes: Vec<SettingChange> },
    /// Some settings of one broker, or of all that have none of their own, changed.
    BrokerSettingsChanged { broker: Option<BrokerId>, changes: Vec<SettingChange> },
    /// Every producer id before `next` is given out or skipped.
    ProducerIdsAllotted { next: ProducerId },
    /// A rule about who may do what holds.
    AclAdded { acl: Acl },
    /// It holds no more.
    AclRemoved { acl: Acl },
    /// A user has a password, of which this is kept.
    UserSet { user: String, hash: ScramHash, credential: ScramCredential },
    /// It is no longer one.
    UserRemoved { user: String, hash: ScramHash },
    /// A quota has this limit, or none any more.
    QuotaSet { entity: QuotaEntity, key: QuotaKey, limit: Option<QuotaLimit> },
}
