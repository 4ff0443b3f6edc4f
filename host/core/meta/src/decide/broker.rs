//! Brokers come up, register, and are taken out of the cluster.

use std::collections::BTreeMap;

use brooklet_types::{BrokerId, ErrorCode, PartitionIndex, TopicId};

use super::change::{Change, stored_topics};
use super::{Decision, Draft};
use crate::broker::{BrokerEpoch, DirectoryId, Endpoint, FeatureRange, Incarnation, Registration};
use crate::cluster::Cluster;
use crate::partition::Partition;
use crate::record::{CLUSTER_LEVEL, ClusterRecord, FEATURE, MetaRecord};
use crate::setting::effective::{Flush, ReplicationSettings};

/// The most listeners and the most features a broker may register with. Ours has a handful of either, and every
/// broker keeps every other's.
pub const REGISTERED_MAX: usize = 64;

/// Why a broker may not start.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerStartError {
    /// The data folder is another broker's. Its partitions would have no leader.
    #[error("the data belongs to broker {owner}, and this is configured as broker {claimed}")]
    OtherBroker { owner: BrokerId, claimed: BrokerId },
}

/// Why a broker was not registered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RegisterError {
    /// The number is taken, by somebody who has been heard of.
    #[error(
        "Another broker is registered with that broker id. If the broker was recently restarted \
         this should self-resolve once the heartbeat manager expires the broker's session."
    )]
    Duplicate,
    /// It does not understand what the cluster has agreed on.
    #[error(
        "Unable to register because the broker does not support finalized version {level} of \
         {name}. The broker wants a version between {} and {}, inclusive.", .range.min, .range.max
    )]
    Unsupported { name: String, level: u16, range: FeatureRange },
    /// The log may still be read by a release without clusters.
    #[error("Unable to register because {FEATURE} is at level {0}, which has no clusters.")]
    NoClusters(u16),
    /// Nobody could reach it.
    #[error("Unable to register a broker without a listener.")]
    NoEndpoint,
    /// More than anybody should have to keep.
    #[error("Unable to register more than {REGISTERED_MAX} listeners or features.")]
    TooMany,
}

/// A request was made for a registration that is not the broker's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokerEpochError {
    /// It has none.
    #[error("No broker registration found for broker id {0}")]
    Unregistered(BrokerId),
    /// It has another.
    #[error("Expected broker epoch {expected}, but got broker epoch {got}")]
    Stale { expected: BrokerEpoch, got: BrokerEpoch },
}

/// A broker that was to be taken out is not in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("Broker ID {0} is not currently registered")]
pub struct NotRegistered(pub BrokerId);

/// A broker that wants to take part.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegisterBroker {
    /// Its number.
    pub broker: BrokerId,
    /// This run of it.
    pub incarnation: Incarnation,
    /// The folder it runs on.
    pub directory: DirectoryId,
    /// Where it is reached.
    pub endpoints: Vec<Endpoint>,
    /// Where it stands.
    pub rack: Option<String>,
    /// What it understands.
    pub features: BTreeMap<String, FeatureRange>,
    /// Whether its last run stopped in good order: nothing that it had acknowledged was only in its page cache.
    pub clean: bool,
}

impl RegisterError {
    /// What the broker is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            RegisterError::Duplicate => ErrorCode::DuplicateBrokerRegistration,
            RegisterError::Unsupported { .. } | RegisterError::NoClusters(_) => {
                ErrorCode::UnsupportedVersion
            }
            RegisterError::NoEndpoint | RegisterError::TooMany => ErrorCode::InvalidRegistration,
        }
    }
}

impl BrokerEpochError {
    /// What the broker is told.
    pub fn code(&self) -> ErrorCode {
        match self {
            BrokerEpochError::Unregistered(_) | BrokerEpochError::Stale { .. } => {
                ErrorCode::StaleBrokerEpoch
            }
        }
    }
}

impl NotRegistered {
    /// What the administrator is told.
    pub fn code(&self) -> ErrorCode {
        ErrorCode::BrokerIdNotRegistered
    }
}

/// Decides on the start of `broker` on its own, whose last stop was `clean` or not. A second number means that
/// the configuration and the data folder do not belong together.
pub fn broker_started(
    cluster: &Cluster,
    broker: BrokerId,
    clean: bool,
) -> Result<Decision<()>, BrokerStartError> {
    if let Some(owner) = cluster.brokers().map(|known| known.id).find(|known| *known != broker) {
        return Err(BrokerStartError::OtherBroker { owner, claimed: broker });
    }
    let records = vec![MetaRecord::BrokerStarted { broker, clean }];
    Ok(Decision { records, reply: () })
}

/// Registers a broker. It is fenced until it has caught up. `is_live` says whether the broker that has the number
/// now has been heard of within its session ([`crate::liveness`]).
pub fn register_broker(
    cluster: &Cluster,
    is_live: bool,
    wanted: &RegisterBroker,
) -> Result<Decision<BrokerEpoch>, RegisterError> {
    check_registration(cluster, wanted)?;
    let mut draft = Draft::of(cluster);
    let known = cluster.registration(wanted.broker);
    let amended = known.filter(|known| known.incarnation == wanted.incarnation);
    // Who is about to stop has said so: the next run need not wait for its session to end.
    let is_taken = is_live && known.is_some_and(|known| !known.shutting_down);
    if amended.is_none() && is_taken {
        return Err(RegisterError::Duplicate);
    }
    let next = BrokerEpoch(cluster.version() + 1);
    let registration = Registration {
        epoch: amended.map_or(next, |known| known.epoch),
        incarnation: wanted.incarnation,
        directory: wanted.directory,
        endpoints: wanted.endpoints.clone(),
        rack: wanted.rack.clone(),
        features: wanted.features.clone(),
        fenced: amended.is_none_or(|known| known.fenced),
        shutting_down: amended.is_some_and(|known| known.shutting_down),
    };
    let epoch = registration.epoch;
    let broker = wanted.broker;
    draft.push(ClusterRecord::BrokerRegistered { broker, registration });
    if amended.is_none() {
        let is_other_folder = known.is_some_and(|known| known.directory != wanted.directory);
        change_partitions(&mut draft, |change, settings, before| {
            change.remove_in_sync(broker);
            let is_lost =
                is_other_folder || (!wanted.clean && may_have_lost(settings, before, broker));
            change.lost = is_lost.then_some(broker);
            before.is_complete_on(broker)
        });
    }
    Ok(draft.decide(false, epoch))
}

/// Whether a broker that stopped uncleanly has to be taken for incomplete: not where every acknowledged record was
/// on its disk, and not where nobody else is complete either.
fn may_have_lost(settings: ReplicationSettings, partition: &Partition, broker: BrokerId) -> bool {
    let mut complete = partition.in_sync.iter().chain(&partition.eligible);
    settings.flush == Flush::Os && complete.any(|one| *one != broker)
}

fn check_registration(cluster: &Cluster, wanted: &RegisterBroker) -> Result<(), RegisterError> {
    if cluster.level() < CLUSTER_LEVEL {
        return Err(RegisterError::NoClusters(cluster.level()));
    }
    if wanted.endpoints.is_empty() {
        return Err(RegisterError::NoEndpoint);
    }
    if wanted.endpoints.len() > REGISTERED_MAX || wanted.features.len() > REGISTERED_MAX {
        return Err(RegisterError::TooMany);
    }
    for (name, level) in cluster.features().iter() {
        // Who does not name a feature understands what there was before it.
        let range = wanted.features.get(name).copied().unwrap_or(FeatureRange { min: 0, max: 0 });
        if !range.contains(*level) {
            let (name, level) = (name.clone(), *level);
            return Err(RegisterError::Unsupported { name, level, range });
        }
    }
    Ok(())
}

/// Takes a broker out of the cluster, and with it whatever was acknowledged on it alone.
pub fn unregister_broker(
    cluster: &Cluster,
    broker: BrokerId,
) -> Result<Decision<()>, NotRegistered> {
    let registration = cluster.registration(broker).ok_or(NotRegistered(broker))?;
    let mut draft = Draft::of(cluster);
    draft.push(ClusterRecord::BrokerUnregistered { broker, epoch: registration.epoch });
    change_partitions(&mut draft, |change, _settings, before| {
        change.remove_in_sync(broker);
        change.lost = Some(broker);
        before.is_complete_on(broker)
    });
    Ok(draft.decide(false, ()))
}

/// The registration of a broker, if `epoch` is its epoch.
pub(super) fn check_epoch(
    cluster: &Cluster,
    broker: BrokerId,
    epoch: BrokerEpoch,
) -> Result<&Registration, BrokerEpochError> {
    let known = cluster.registration(broker).ok_or(BrokerEpochError::Unregistered(broker))?;
    if known.epoch != epoch {
        return Err(BrokerEpochError::Stale { expected: known.epoch, got: epoch });
    }
    Ok(known)
}

/// Changes every stored partition that `change` says is concerned, and keeps what comes to something. It is one
/// decision, so it has as many records as partitions are concerned.
pub(super) fn change_partitions(
    draft: &mut Draft,
    mut change: impl FnMut(&mut Change<'_>, ReplicationSettings, &Partition) -> bool,
) {
    let mut changed: Vec<(TopicId, PartitionIndex, Partition)> = Vec::new();
    for (topic, settings) in stored_topics(&draft.cluster) {
        for (index, before) in topic.indexed() {
            let mut one = Change::of(&draft.cluster, settings, before);
            if change(&mut one, settings, before) {
                changed.extend(one.build().map(|now| (topic.id, index, now)));
            }
        }
    }
    for (topic, partition, now) in changed {
        draft.push(ClusterRecord::PartitionChanged { topic, partition, now });
    }
}
