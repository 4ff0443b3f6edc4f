//! What the cluster is at one version: the state that [`MetaRecord`](crate::MetaRecord)s fold into.
//!
//! A [`Cluster`] is cloned for every change and shared as `Arc<Cluster>`; its maps are shared
//! between versions, so a clone costs a few reference counts and a change one copy of what changed.
//!
//! **Invariants.** `names` holds exactly the topics of `topics`, by id. A topic has at least one
//! partition. `version` grows by one with every applied record.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use brooklet_types::{
    Acl, BrokerId, PartitionIndex, ProducerId, QuotaEntity, QuotaKey, QuotaLimit, ScramCredential,
    ScramHash, TopicId, TopicName, TopicPartition,
};

use crate::broker::Registration;
use crate::partition::Partition;
use crate::record::FEATURE;

/// Names and values of settings.
pub type Settings = BTreeMap<String, String>;

/// What is kept of users' passwords, by user.
pub type Users = BTreeMap<String, BTreeMap<ScramHash, ScramCredential>>;

/// Limits by whom they are for.
pub type EntityQuotas = BTreeMap<QuotaEntity, BTreeMap<QuotaKey, QuotaLimit>>;

/// The cluster at one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cluster {
    pub(crate) version: u64,
    /// This broker's configuration file, as Kafka's broker settings: not replicated, so not part
    /// of the log. What is read from it is only ever a default.
    pub(crate) configured: Arc<Settings>,
    pub(crate) brokers: Arc<BTreeMap<BrokerId, Broker>>,
    pub(crate) topics: Arc<BTreeMap<TopicName, Arc<Topic>>>,
    pub(crate) names: Arc<BTreeMap<TopicId, TopicName>>,
    /// Settings of all brokers, set while running.
    pub(crate) broker_defaults: Arc<Settings>,
    pub(crate) next_producer_id: ProducerId,
    pub(crate) acls: Arc<BTreeSet<Acl>>,
    /// No user without a credential.
    pub(crate) users: Arc<Users>,
    /// No entity without a limit.
    pub(crate) quotas: Arc<EntityQuotas>,
    /// Levels of features; one that is not there is 0.
    pub(crate) features: Arc<BTreeMap<String, u16>>,
}

/// A broker that has been up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Broker {
    /// Its number.
    pub id: BrokerId,
    /// Its own settings, set while running.
    pub settings: Settings,
    /// How it has registered. None for a broker of a log from before there were clusters.
    pub registration: Option<Registration>,
}

/// One topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topic {
    /// This incarnation.
    pub id: TopicId,
    /// Its name.
    pub name: TopicName,
    /// Where each partition is, by its number.
    pub partitions: Vec<Partition>,
    /// What was set for this topic and nothing else.
    pub settings: Settings,
    /// The topic whose records this one shows, if it is a view: it has that topic's partitions and none of
    /// its own.
    pub view_of: Option<TopicId>,
}

impl Default for Cluster {
    fn default() -> Cluster {
        Cluster::new(Settings::new())
    }
}

impl Cluster {
    /// A cluster of which nothing is known yet, on a broker whose configuration file says
    /// `configured` (names and values of Kafka's broker settings, checked with
    /// [`crate::setting::broker::check`]).
    pub fn new(configured: Settings) -> Cluster {
        Cluster {
            version: 0,
            configured: Arc::new(configured),
            brokers: Arc::default(),
            topics: Arc::default(),
            names: Arc::default(),
            broker_defaults: Arc::default(),
            next_producer_id: ProducerId(0),
            acls: Arc::default(),
            users: Arc::default(),
            quotas: Arc::default(),
            features: Arc::default(),
        }
    }

    /// How many records made this state.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// Every topic, by name.
    pub fn topics(&self) -> impl ExactSizeIterator<Item = &Arc<Topic>> {
        self.topics.values()
    }

    /// Topics from `name` on, by name: where a listing that was cut goes on.
    pub fn topics_from<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a Arc<Topic>> {
        use std::ops::Bound;
        let range: (Bound<&str>, Bound<&str>) = (Bound::Included(name), Bound::Unbounded);
        self.topics.range::<str, _>(range).map(|(_, topic)| topic)
    }

    /// The topic of that name.
    pub fn topic(&self, name: &str) -> Option<&Arc<Topic>> {
        self.topics.get(name)
    }

    /// The topic of that id.
    pub fn topic_by_id(&self, id: TopicId) -> Option<&Arc<Topic>> {
        self.topics.get(self.names.get(&id)?)
    }

    /// One partition of one incarnation of a topic.
    pub fn partition(&self, id: TopicPartition) -> Option<&Partition> {
        self.topic_by_id(id.topic)?.partition(id.partition)
    }

    /// Whether that partition exists.
    pub fn has(&self, id: TopicPartition) -> bool {
        self.partition(id).is_some()
    }

    /// Partitions of all topics, without those that views only show.
    pub fn partition_count(&self) -> usize {
        let stored = self.topics.values().filter(|topic| topic.view_of.is_none());
        stored.map(|topic| topic.partitions.len()).sum()
    }

    /// The views of a topic.
    pub fn views_of(&self, id: TopicId) -> impl Iterator<Item = &Arc<Topic>> {
        self.topics.values().filter(move |topic| topic.view_of == Some(id))
    }

    /// Every broker that has been up.
    pub fn brokers(&self) -> impl ExactSizeIterator<Item = &Broker> {
        self.brokers.values()
    }

    /// The broker of that number.
    pub fn broker(&self, id: BrokerId) -> Option<&Broker> {
        self.brokers.get(&id)
    }

    /// How the broker of that number has registered.
    pub fn registration(&self, id: BrokerId) -> Option<&Registration> {
        self.brokers.get(&id)?.registration.as_ref()
    }

    /// Whether a broker may lead and be in sync. Before there were clusters the one broker always was.
    pub fn is_active(&self, id: BrokerId) -> bool {
        let Some(broker) = self.brokers.get(&id) else { return false };
        match &broker.registration {
            Some(registration) => registration.is_active(),
            None => self.level() == 0,
        }
    }

    /// The level of the metadata: which kinds of records may be written. See [`crate::record`].
    pub fn level(&self) -> u16 {
        self.feature(FEATURE)
    }

    /// The level of a feature; 0 where it was never set.
    pub fn feature(&self, name: &str) -> u16 {
        self.features.get(name).copied().unwrap_or_default()
    }

    /// Every feature with a level above 0.
    pub fn features(&self) -> &Arc<BTreeMap<String, u16>> {
        &self.features
    }

    /// What was set for all brokers while running.
    pub fn broker_defaults(&self) -> &Settings {
        &self.broker_defaults
    }

    /// What this broker's configuration file says.
    pub fn configured(&self) -> &Settings {
        &self.configured
    }

    /// The rules about who may do what. The same set has the same place, so that who makes something of it
    /// can see whether it has changed.
    pub fn acls(&self) -> &Arc<BTreeSet<Acl>> {
        &self.acls
    }

    /// What is kept of users' passwords.
    pub fn users(&self) -> &Arc<Users> {
        &self.users
    }

    /// What is kept of one user's password for one hash.
    pub fn credential(&self, user: &str, hash: ScramHash) -> Option<&ScramCredential> {
        self.users.get(user)?.get(&hash)
    }

    /// The quotas. The same ones have the same place.
    pub fn quotas(&self) -> &Arc<EntityQuotas> {
        &self.quotas
    }

    /// The first producer id that nobody was given.
    pub fn next_producer_id(&self) -> ProducerId {
        self.next_producer_id
    }
}

impl Topic {
    /// The partition of that number.
    pub fn partition(&self, index: PartitionIndex) -> Option<&Partition> {
        self.partitions.get(usize::try_from(index.0).ok()?)
    }

    /// The topic whose log holds this one's records: its own, or that of the topic it is a view of.
    pub fn stored_in(&self) -> TopicId {
        self.view_of.unwrap_or(self.id)
    }

    /// Partitions with their numbers.
    pub fn indexed(&self) -> impl ExactSizeIterator<Item = (PartitionIndex, &Partition)> {
        self.partitions.iter().enumerate().map(|(index, partition)| {
            (PartitionIndex(u32::try_from(index).expect("partitions are limited")), partition)
        })
    }
}
