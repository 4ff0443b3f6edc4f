//! The fold: what each record does to the state. It cannot fail; what is written has happened.
//!
//! Placement is here only for logs from before there were clusters: a partition is led by the broker with the
//! lowest number. In a cluster the records say who keeps what.

mod cluster;

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::{BrokerId, LeaderEpoch, TopicId};

use crate::cluster::{Broker, Cluster, Settings, Topic};
use crate::partition::{Assignment, Partition};
use crate::record::{MetaRecord, SettingChange};
use crate::setting::topic::VIEW_OF;

impl Cluster {
    /// Folds one fact into the state.
    pub fn apply(&mut self, record: &MetaRecord) {
        self.version += 1;
        match record {
            MetaRecord::BrokerStarted { broker, clean } => self.broker_started(*broker, *clean),
            MetaRecord::TopicCreated { id, name, partitions, settings } => {
                let settings: Settings = settings.iter().cloned().collect();
                let base = settings.get(VIEW_OF).and_then(|base| self.topics.get(base.as_str()));
                let view_of = base.map(|base| base.id);
                // What a view shows is where its records are, term for term.
                let shown = base.map(|base| base.partitions.clone());
                let partitions = shown.unwrap_or_else(|| self.placed(*partitions));
                let name = name.clone();
                self.insert_topic(Topic { id: *id, name, partitions, settings, view_of });
            }
            MetaRecord::PartitionsAdded { id, total } => {
                let placed = self.placed(*total);
                self.change_with_views(*id, |topic| {
                    let old = topic.partitions.len();
                    topic.partitions.extend(placed.iter().skip(old).cloned());
                });
            }
            MetaRecord::TopicDeleted { id } => {
                if let Some(name) = Arc::make_mut(&mut self.names).remove(id) {
                    Arc::make_mut(&mut self.topics).remove(&name);
                }
            }
            MetaRecord::TopicSettingsChanged { id, changes } => {
                self.change_topic(*id, |topic| change_settings(&mut topic.settings, changes));
            }
            MetaRecord::BrokerSettingsChanged { broker: None, changes } => {
                change_settings(Arc::make_mut(&mut self.broker_defaults), changes);
            }
            MetaRecord::BrokerSettingsChanged { broker: Some(id), changes } => {
                if let Some(broker) = Arc::make_mut(&mut self.brokers).get_mut(id) {
                    change_settings(&mut broker.settings, changes);
                }
            }
            MetaRecord::ProducerIdsAllotted { next } => {
                self.next_producer_id = self.next_producer_id.max(*next);
            }
            MetaRecord::AclAdded { acl } => {
                Arc::make_mut(&mut self.acls).insert(acl.clone());
            }
            MetaRecord::AclRemoved { acl } => {
                Arc::make_mut(&mut self.acls).remove(acl);
            }
            MetaRecord::UserSet { user, hash, credential } => {
                let credentials = Arc::make_mut(&mut self.users).entry(user.clone()).or_default();
                credentials.insert(*hash, credential.clone());
            }
            MetaRecord::UserRemoved { user, hash } => {
                let users = Arc::make_mut(&mut self.users);
                remove_within(users, user, hash);
            }
            MetaRecord::QuotaSet { entity, key, limit: Some(limit) } => {
                let limits = Arc::make_mut(&mut self.quotas).entry(entity.clone()).or_default();
                limits.insert(*key, *limit);
            }
            MetaRecord::QuotaSet { entity, key, limit: None } => {
                let quotas = Arc::make_mut(&mut self.quotas);
                remove_within(quotas, entity, key);
            }
            MetaRecord::Cluster(record) => self.apply_cluster(record),
        }
        debug_assert_eq!(self.names.len(), self.topics.len());
    }

    fn broker_started(&mut self, id: BrokerId, clean: bool) {
        let brokers = Arc::make_mut(&mut self.brokers);
        brokers.entry(id).or_insert_with(|| new_broker(id));
        if clean {
            return;
        }
        for topic in Arc::make_mut(&mut self.topics).values_mut() {
            for partition in &mut Arc::make_mut(topic).partitions {
                if partition.leader == Some(id) {
                    partition.leader_epoch = LeaderEpoch(partition.leader_epoch.0 + 1);
                    partition.epoch = partition.epoch.next();
                }
            }
        }
    }

    fn placed(&self, partitions: u32) -> Vec<Partition> {
        let replicas: Vec<BrokerId> = self.brokers.keys().take(1).copied().collect();
        let in_sync = replicas.clone();
        let alone = Partition::new(&Assignment { replicas, in_sync });
        (0..partitions).map(|_| alone.clone()).collect()
    }

    fn insert_topic(&mut self, topic: Topic) {
        let names = Arc::make_mut(&mut self.names);
        names.insert(topic.id, topic.name.clone());
        let topics = Arc::make_mut(&mut self.topics);
        let id = topic.id;
        let replaced = topics.insert(topic.name.clone(), Arc::new(topic));
        if let Some(replaced) = replaced.filter(|replaced| replaced.id != id) {
            names.remove(&replaced.id);
        }
    }

    /// Changes a topic's partitions, and those of its views, which are the same.
    fn change_with_views(&mut self, id: TopicId, change: impl Fn(&mut Topic)) {
        let views: Vec<TopicId> = self.views_of(id).map(|view| view.id).collect();
        for id in std::iter::once(id).chain(views) {
            self.change_topic(id, &change);
        }
    }

    fn change_topic(&mut self, id: TopicId, change: impl FnOnce(&mut Topic)) {
        let Some(name) = self.names.get(&id) else { return };
        if let Some(topic) = Arc::make_mut(&mut self.topics).get_mut(name) {
            change(Arc::make_mut(topic));
        }
    }
}

fn new_broker(id: BrokerId) -> Broker {
    Broker { id, settings: Settings::new(), registration: None }
}

/// Removes what lies under two keys, and the first with its last.
fn remove_within<K: Ord, L: Ord, V>(
    outer: &mut BTreeMap<K, BTreeMap<L, V>>,
    first: &K,
    second: &L,
) {
    if let Some(inner) = outer.get_mut(first) {
        inner.remove(second);
        if inner.is_empty() {
            outer.remove(first);
        }
    }
}

fn change_settings(settings: &mut Settings, changes: &[SettingChange]) {
    for (name, value) in changes {
        match value {
            Some(value) => settings.insert(name.clone(), value.clone()),
            None => settings.remove(name),
        };
    }
}
