//! The state as facts that rebuild it: what a snapshot of the metadata log holds in place of all that came before.
//!
//! The facts say nothing of how the state came about, so there are about as many as there are things. They are for
//! a file of its own and not for the log: whatever its level, they may be of any kind.

use brooklet_types::PartitionIndex;

use crate::cluster::{Broker, Cluster, Settings, Topic};
use crate::partition::{Assignment, Partition};
use crate::record::{ClusterRecord, MetaRecord, SettingChange};

impl Cluster {
    /// Facts that an empty cluster becomes this one by, but for its version and its broker's configuration.
    pub fn facts(&self) -> Vec<MetaRecord> {
        let mut facts = Vec::new();
        for (name, level) in self.features.iter() {
            let (name, level) = (name.clone(), *level);
            facts.push(ClusterRecord::FeatureLevelSet { name, level }.into());
        }
        self.brokers.values().for_each(|broker| broker_facts(broker, &mut facts));
        settings_facts(&self.broker_defaults, &mut facts, |changes| {
            MetaRecord::BrokerSettingsChanged { broker: None, changes }
        });
        // A view takes over the partitions of what it shows, so that comes first.
        let (stored, views): (Vec<&Topic>, Vec<&Topic>) =
            self.topics.values().map(AsRef::as_ref).partition(|topic| topic.view_of.is_none());
        stored.into_iter().for_each(|topic| topic_facts(topic, &mut facts));
        facts.extend(views.into_iter().map(view_fact));
        facts.push(MetaRecord::ProducerIdsAllotted { next: self.next_producer_id });
        self.access_facts(&mut facts);
        facts
    }

    /// The cluster that was at `version` when it came to these facts, on a broker with this configuration.
    pub fn restored(configured: Settings, version: u64, facts: &[MetaRecord]) -> Cluster {
        let mut cluster = Cluster::new(configured);
        for fact in facts {
            cluster.apply(fact);
        }
        cluster.version = version;
        cluster
    }

    fn access_facts(&self, facts: &mut Vec<MetaRecord>) {
        facts.extend(self.acls.iter().map(|acl| MetaRecord::AclAdded { acl: acl.clone() }));
        for (user, credentials) in self.users.iter() {
            facts.extend(credentials.iter().map(|(hash, credential)| MetaRecord::UserSet {
                user: user.clone(),
                hash: *hash,
                credential: credential.clone(),
            }));
        }
        for (entity, limits) in self.quotas.iter() {
            facts.extend(limits.iter().map(|(key, limit)| MetaRecord::QuotaSet {
                entity: entity.clone(),
                key: *key,
                limit: Some(*limit),
            }));
        }
    }
}

fn broker_facts(broker: &Broker, facts: &mut Vec<MetaRecord>) {
    let id = broker.id;
    facts.push(match broker.registration.clone() {
        Some(registration) => ClusterRecord::BrokerRegistered { broker: id, registration }.into(),
        None => MetaRecord::BrokerStarted { broker: id, clean: true },
    });
    settings_facts(&broker.settings, facts, |changes| MetaRecord::BrokerSettingsChanged {
        broker: Some(id),
        changes,
    });
}

fn settings_facts(
    settings: &Settings,
    facts: &mut Vec<MetaRecord>,
    fact: impl FnOnce(Vec<SettingChange>) -> MetaRecord,
) {
    if !settings.is_empty() {
        let changes = settings.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
        facts.push(fact(changes.collect()));
    }
}

fn topic_facts(topic: &Topic, facts: &mut Vec<MetaRecord>) {
    let assignment = |partition: &Partition| Assignment {
        replicas: partition.replicas.clone(),
        in_sync: partition.in_sync.clone(),
    };
    let placed = ClusterRecord::TopicPlaced {
        id: topic.id,
        name: topic.name.clone(),
        partitions: topic.partitions.iter().map(assignment).collect(),
        settings: topic.settings.clone().into_iter().collect(),
    };
    facts.push(placed.into());
    let is_older = |(_, partition): &(PartitionIndex, &Partition)| {
        Partition::new(&assignment(partition)) != **partition
    };
    facts.extend(topic.indexed().filter(is_older).map(|(index, partition)| {
        let (topic, now) = (topic.id, partition.clone());
        ClusterRecord::PartitionChanged { topic, partition: index, now }.into()
    }));
}

fn view_fact(view: &Topic) -> MetaRecord {
    MetaRecord::TopicCreated {
        id: view.id,
        name: view.name.clone(),
        partitions: u32::try_from(view.partitions.len()).expect("partitions are limited"),
        settings: view.settings.clone().into_iter().collect(),
    }
}
