//! What records about brokers and partitions do to the state.

use std::sync::Arc;

use brooklet_types::BrokerId;

use super::new_broker;
use crate::broker::{BrokerEpoch, Registration};
use crate::cluster::{Cluster, Topic};
use crate::partition::Partition;
use crate::record::ClusterRecord;

impl Cluster {
    pub(super) fn apply_cluster(&mut self, record: &ClusterRecord) {
        match record {
            ClusterRecord::BrokerRegistered { broker, registration } => {
                self.registered(*broker, registration);
            }
            ClusterRecord::BrokerChanged { broker, epoch, fenced, shutting_down } => {
                if let Some(registration) = self.registration_of(*broker, *epoch) {
                    registration.fenced = *fenced;
                    registration.shutting_down = *shutting_down;
                }
            }
            ClusterRecord::BrokerUnregistered { broker, epoch } => {
                if self.registration_of(*broker, *epoch).is_some() {
                    Arc::make_mut(&mut self.brokers).remove(broker);
                }
            }
            ClusterRecord::TopicPlaced { id, name, partitions, settings } => {
                let partitions = partitions.iter().map(Partition::new).collect();
                let settings = settings.iter().cloned().collect();
                let (id, name, view_of) = (*id, name.clone(), None);
                self.insert_topic(Topic { id, name, partitions, settings, view_of });
            }
            ClusterRecord::PartitionsPlaced { id, partitions } => {
                self.change_with_views(*id, |topic| {
                    topic.partitions.extend(partitions.iter().map(Partition::new));
                });
            }
            ClusterRecord::PartitionChanged { topic, partition, now } => {
                let place = usize::try_from(partition.0).ok();
                self.change_with_views(*topic, |topic| {
                    if let Some(old) = place.and_then(|place| topic.partitions.get_mut(place)) {
                        old.clone_from(now);
                    }
                });
            }
            ClusterRecord::FeatureLevelSet { name, level } => {
                let features = Arc::make_mut(&mut self.features);
                match level {
                    0 => features.remove(name),
                    level => features.insert(name.clone(), *level),
                };
            }
        }
    }

    fn registered(&mut self, id: BrokerId, registration: &Registration) {
        let brokers = Arc::make_mut(&mut self.brokers);
        let broker = brokers.entry(id).or_insert_with(|| new_broker(id));
        broker.registration = Some(registration.clone());
    }

    fn registration_of(&mut self, id: BrokerId, epoch: BrokerEpoch) -> Option<&mut Registration> {
        let broker = Arc::make_mut(&mut self.brokers).get_mut(&id)?;
        broker.registration.as_mut().filter(|registration| registration.epoch == epoch)
    }
}
