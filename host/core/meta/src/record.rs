//! The facts the metadata log consists of.
//!
//! An older release refuses a log with a kind of record it does not know. So kinds come in levels, and one of a
//! level is written only when that level has been set for the cluster ([`FEATURE`]), which every broker of it
//! must understand: level 0 is one broker alone, level 1 brought clusters.

use brooklet_types::{
    Acl, BrokerId, PartitionIndex, ProducerId, QuotaEntity, QuotaKey, QuotaLimit, ScramCredential,
    ScramHash, TopicId, TopicName,
};

use crate::broker::{BrokerEpoch, FeatureRange, Registration};
use crate::partition::{Assignment, Partition};

/// The feature whose level says which kinds of records may be written.
pub const FEATURE: &str = "brooklet.metadata.version";

/// What this release understands of it.
pub const LEVELS: FeatureRange = FeatureRange { min: 0, max: 1 };

/// The first level with the records of clusters.
pub const CLUSTER_LEVEL: u16 = 1;

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
    /// A fact about more brokers than one.
    Cluster(ClusterRecord),
}

/// A fact about brokers among each other. Kept for ever too. [`CLUSTER_LEVEL`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRecord {
    /// A broker has registered, or changed how it is registered.
    BrokerRegistered { broker: BrokerId, registration: Registration },
    /// What that registration of a broker may do.
    BrokerChanged { broker: BrokerId, epoch: BrokerEpoch, fenced: bool, shutting_down: bool },
    /// That registration of a broker is gone, with the broker's settings.
    BrokerUnregistered { broker: BrokerId, epoch: BrokerEpoch },
    /// A topic exists, and these keep its partitions.
    TopicPlaced {
        id: TopicId,
        name: TopicName,
        partitions: Vec<Assignment>,
        settings: Vec<(String, String)>,
    },
    /// A topic has grown by these partitions.
    PartitionsPlaced { id: TopicId, partitions: Vec<Assignment> },
    /// Who keeps one partition from now on: all of it, so that reading it needs no rule that could change.
    PartitionChanged { topic: TopicId, partition: PartitionIndex, now: Partition },
    /// A feature has this level; 0 is as if it had none.
    FeatureLevelSet { name: String, level: u16 },
}

impl MetaRecord {
    /// The level with which this kind of record came.
    pub fn level(&self) -> u16 {
        match self {
            MetaRecord::BrokerStarted { .. }
            | MetaRecord::TopicCreated { .. }
            | MetaRecord::PartitionsAdded { .. }
            | MetaRecord::TopicDeleted { .. }
            | MetaRecord::TopicSettingsChanged { .. }
            | MetaRecord::BrokerSettingsChanged { .. }
            | MetaRecord::ProducerIdsAllotted { .. }
            | MetaRecord::AclAdded { .. }
            | MetaRecord::AclRemoved { .. }
            | MetaRecord::UserSet { .. }
            | MetaRecord::UserRemoved { .. }
            | MetaRecord::QuotaSet { .. } => 0,
            MetaRecord::Cluster(_) => CLUSTER_LEVEL,
        }
    }
}

impl From<ClusterRecord> for MetaRecord {
    fn from(record: ClusterRecord) -> MetaRecord {
        MetaRecord::Cluster(record)
    }
}
