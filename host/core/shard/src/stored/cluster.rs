//! Brokers and partitions between `meta`'s records and `wire`'s.

use brooklet_meta::Partition;
use brooklet_meta::broker::{
    BrokerEpoch, DirectoryId, Endpoint, FeatureRange, Incarnation, Registration,
};
use brooklet_meta::partition::{Assignment, LeaderRecovery, PartitionEpoch};
use brooklet_meta::record::ClusterRecord;
use brooklet_types::{BrokerId, LeaderEpoch, Offset, PartitionIndex, TopicId, TopicName};
use brooklet_wire::stored::metadata::cluster::{
    ClusterRecord as Stored, StoredAssignment, StoredEndpoint, StoredPartition, StoredRegistration,
};

use super::LoadError;

pub(super) fn stored(record: ClusterRecord) -> Stored {
    match record {
        ClusterRecord::BrokerRegistered { broker, registration } => {
            let registration = stored_registration(registration);
            Stored::BrokerRegistered { broker: broker.0, registration }
        }
        ClusterRecord::BrokerChanged { broker, epoch, fenced, shutting_down } => {
            let (broker, epoch) = (broker.0, epoch.0);
            Stored::BrokerChanged { broker, epoch, fenced, shutting_down }
        }
        ClusterRecord::BrokerUnregistered { broker, epoch } => {
            Stored::BrokerUnregistered { broker: broker.0, epoch: epoch.0 }
        }
        ClusterRecord::TopicPlaced { id, name, partitions, settings } => Stored::TopicPlaced {
            id: id.0,
            name: name.as_str().to_owned(),
            settings,
            partitions: partitions.into_iter().map(stored_assignment).collect(),
        },
        ClusterRecord::PartitionsPlaced { id, partitions } => {
            let partitions = partitions.into_iter().map(stored_assignment).collect();
            Stored::PartitionsPlaced { id: id.0, partitions }
        }
        ClusterRecord::PartitionChanged { topic, partition, now } => {
            let (partition, now) = (partition.0, stored_partition(now));
            Stored::PartitionChanged { id: topic.0, partition, now }
        }
        ClusterRecord::FeatureLevelSet { name, level } => Stored::FeatureLevelSet { name, level },
    }
}

/// A fact about brokers or partitions, as it was stored at `offset`.
pub(super) fn read(offset: Offset, stored: Stored) -> Result<ClusterRecord, LoadError> {
    Ok(match stored {
        Stored::BrokerRegistered { broker, registration } => {
            let registration = read_registration(registration);
            ClusterRecord::BrokerRegistered { broker: BrokerId(broker), registration }
        }
        Stored::BrokerChanged { broker, epoch, fenced, shutting_down } => {
            let (broker, epoch) = (BrokerId(broker), BrokerEpoch(epoch));
            ClusterRecord::BrokerChanged { broker, epoch, fenced, shutting_down }
        }
        Stored::BrokerUnregistered { broker, epoch } => {
            let (broker, epoch) = (BrokerId(broker), BrokerEpoch(epoch));
            ClusterRecord::BrokerUnregistered { broker, epoch }
        }
        Stored::TopicPlaced { id, name, settings, partitions } => {
            let name = TopicName::new(&name);
            let name = name.map_err(|source| LoadError::Name { offset, source })?;
            let partitions = partitions.into_iter().map(read_assignment).collect();
            ClusterRecord::TopicPlaced { id: TopicId(id), name, partitions, settings }
        }
        Stored::PartitionsPlaced { id, partitions } => {
            let partitions = partitions.into_iter().map(read_assignment).collect();
            ClusterRecord::PartitionsPlaced { id: TopicId(id), partitions }
        }
        Stored::PartitionChanged { id, partition, now } => {
            let now = read_partition(now).ok_or(LoadError::Cluster { offset })?;
            let (topic, partition) = (TopicId(id), PartitionIndex(partition));
            ClusterRecord::PartitionChanged { topic, partition, now }
        }
        Stored::FeatureLevelSet { name, level } => ClusterRecord::FeatureLevelSet { name, level },
    })
}

fn stored_registration(registration: Registration) -> StoredRegistration {
    let endpoint = |endpoint: Endpoint| StoredEndpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
        protocol: endpoint.protocol,
    };
    let features = registration.features.into_iter();
    StoredRegistration {
        epoch: registration.epoch.0,
        incarnation: registration.incarnation.0,
        directory: registration.directory.0,
        endpoints: registration.endpoints.into_iter().map(endpoint).collect(),
        rack: registration.rack,
        features: features.map(|(name, range)| (name, range.min, range.max)).collect(),
        fenced: registration.fenced,
        shutting_down: registration.shutting_down,
    }
}

fn read_registration(stored: StoredRegistration) -> Registration {
    let endpoint = |endpoint: StoredEndpoint| Endpoint {
        name: endpoint.name,
        host: endpoint.host,
        port: endpoint.port,
        protocol: endpoint.protocol,
    };
    let features = stored.features.into_iter();
    Registration {
        epoch: BrokerEpoch(stored.epoch),
        incarnation: Incarnation(stored.incarnation),
        directory: DirectoryId(stored.directory),
        endpoints: stored.endpoints.into_iter().map(endpoint).collect(),
        rack: stored.rack,
        features: features.map(|(name, min, max)| (name, FeatureRange { min, max })).collect(),
        fenced: stored.fenced,
        shutting_down: stored.shutting_down,
    }
}

fn stored_assignment(assignment: Assignment) -> StoredAssignment {
    StoredAssignment {
        replicas: numbers(assignment.replicas),
        in_sync: numbers(assignment.in_sync),
    }
}

fn read_assignment(stored: StoredAssignment) -> Assignment {
    Assignment { replicas: brokers(stored.replicas), in_sync: brokers(stored.in_sync) }
}

fn stored_partition(partition: Partition) -> StoredPartition {
    StoredPartition {
        leader: partition.leader.map(|leader| leader.0),
        leader_epoch: partition.leader_epoch.0,
        epoch: partition.epoch.0,
        recovery: partition.recovery.to_wire(),
        replicas: numbers(partition.replicas),
        in_sync: numbers(partition.in_sync),
        eligible: numbers(partition.eligible),
        last_known: numbers(partition.last_known),
        adding: numbers(partition.adding),
        removing: numbers(partition.removing),
    }
}

/// None where the recovery is none that this release knows.
fn read_partition(stored: StoredPartition) -> Option<Partition> {
    Some(Partition {
        leader: stored.leader.map(BrokerId),
        leader_epoch: LeaderEpoch(stored.leader_epoch),
        epoch: PartitionEpoch(stored.epoch),
        recovery: LeaderRecovery::from_wire(stored.recovery)?,
        replicas: brokers(stored.replicas),
        in_sync: brokers(stored.in_sync),
        eligible: brokers(stored.eligible),
        last_known: brokers(stored.last_known),
        adding: brokers(stored.adding),
        removing: brokers(stored.removing),
    })
}

fn numbers(brokers: Vec<BrokerId>) -> Vec<i32> {
    brokers.into_iter().map(|broker| broker.0).collect()
}

fn brokers(numbers: Vec<i32>) -> Vec<BrokerId> {
    numbers.into_iter().map(BrokerId).collect()
}
