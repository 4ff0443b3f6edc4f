//! The cluster as its brokers tell it: one look, from which everything else here is reckoned.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_client::admin::Reassignment;
use brooklet_client::{Address, Admin, ApiError, BrokerAddress};
use brooklet_types::BrokerId;

/// A partition of a named topic.
pub(super) type Partition = (String, u32);

/// A setting that views have, whose partitions are another topic's.
const VIEW_OF: &str = "brooklet.view.of";

/// Who is there, and who keeps what.
#[derive(Clone, Debug, Default)]
pub(super) struct Picture {
    pub(super) cluster_id: String,
    /// Every broker that belongs to the cluster.
    pub(super) brokers: BTreeMap<BrokerId, Broker>,
    /// Every partition that is stored, Kafka's own too.
    pub(super) partitions: BTreeMap<Partition, Placed>,
    pub(super) moving: BTreeMap<Partition, Reassignment>,
}

/// One broker.
#[derive(Clone, Debug)]
pub(super) struct Broker {
    pub(super) address: Address,
    pub(super) rack: Option<String>,
    /// Whether it takes no part.
    pub(super) fenced: bool,
}

/// One partition.
#[derive(Clone, Debug, Default)]
pub(super) struct Placed {
    pub(super) leader: Option<BrokerId>,
    /// Who has, gets or loses a copy, the preferred leader first.
    pub(super) replicas: Vec<BrokerId>,
    /// Who will have one when the move under way is done.
    pub(super) wanted: Vec<BrokerId>,
    pub(super) in_sync: Vec<BrokerId>,
}

impl Picture {
    /// Asks for all of it.
    pub(super) async fn look(admin: &Admin) -> Result<Picture, ApiError> {
        let metadata = admin.client().metadata(None).await?;
        let cluster = admin.describe_cluster().await?;
        let moving = admin.reassignments().await?;
        let moving: BTreeMap<_, _> =
            moving.into_iter().map(|one| (one.partition.clone(), one)).collect();
        let names: Vec<String> = metadata.topics.keys().cloned().collect();
        let views = admin.setting_of_topics(&names, VIEW_OF).await?;
        let is_view =
            |(_, of): &(String, Option<String>)| of.as_ref().is_some_and(|of| !of.is_empty());
        let views: BTreeSet<String> =
            views.into_iter().filter(is_view).map(|(name, _)| name).collect();
        let mut partitions = BTreeMap::new();
        for (name, topic) in metadata.topics.iter().filter(|(name, _)| !views.contains(*name)) {
            for one in &topic.partitions {
                let at = (name.clone(), one.index);
                let leaves = moving.get(&at).map_or(&[][..], |it| it.removing.as_slice());
                let stays = one.replicas.iter().filter(|broker| !leaves.contains(broker));
                let placed = Placed {
                    leader: one.leader,
                    wanted: stays.copied().collect(),
                    replicas: one.replicas.clone(),
                    in_sync: one.in_sync.clone(),
                };
                partitions.insert(at, placed);
            }
        }
        let broker = |fenced| {
            move |it: BrokerAddress| (it.id, Broker { address: it.address, rack: it.rack, fenced })
        };
        let active = cluster.brokers.into_iter().map(broker(false));
        let brokers = active.chain(cluster.fenced.into_iter().map(broker(true))).collect();
        Ok(Picture { cluster_id: cluster.cluster_id, brokers, partitions, moving })
    }

    /// Whether a broker takes part.
    pub(super) fn is_active(&self, broker: BrokerId) -> bool {
        self.brokers.get(&broker).is_some_and(|known| !known.fenced)
    }

    /// The brokers that take part.
    pub(super) fn active(&self) -> impl Iterator<Item = BrokerId> {
        let active = self.brokers.iter().filter(|(_, broker)| !broker.fenced);
        active.map(|(id, _)| *id)
    }

    /// The partitions that a broker leads.
    pub(super) fn led_by(&self, broker: BrokerId) -> impl Iterator<Item = &Partition> {
        let led = self.partitions.iter().filter(move |(_, it)| it.leader == Some(broker));
        led.map(|(partition, _)| partition)
    }

    /// The partitions of which a broker has, gets or loses a copy.
    pub(super) fn kept_by(&self, broker: BrokerId) -> impl Iterator<Item = (&Partition, &Placed)> {
        self.partitions.iter().filter(move |(_, it)| it.replicas.contains(&broker))
    }
}

#[cfg(test)]
pub(super) mod tests;
