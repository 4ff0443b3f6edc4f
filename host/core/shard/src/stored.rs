//! Between what coordinators decide and what is written down: their records and `wire`'s formats.
//!
//! The logic does not know how its records are stored, and the formats do not know what they
//! mean; the two meet here and nowhere else.

mod cluster;
pub(crate) mod entry;
#[cfg(test)]
mod histories;
mod security;

use brooklet_group as group;
use brooklet_group::{Generation, GroupRecord};
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Buffers, Disk, Log, ReadError};
use brooklet_meta::MetaRecord;
use brooklet_quorum::DecodeError;
use brooklet_types::{
    BrokerId, LeaderEpoch, Offset, PartitionIndex, ProducerId, Timestamp, TopicId, TopicName,
};
use brooklet_wire::batch::{self, BatchBuilder, BatchError};
use brooklet_wire::compress::Codec;
use brooklet_wire::stored::StoredError;
use brooklet_wire::stored::groups::{GroupKey, GroupValue, MemberValue, OffsetValue};
use brooklet_wire::stored::metadata::MetadataRecord;
use bytes::Bytes;

/// Bytes of a coordinator's log that are read at a time while it is loaded.
const LOAD_BYTES: u32 = 4 << 20;

/// Why a coordinator's log cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The log cannot be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// A batch's records cannot be read.
    #[error("at offset {offset}: {source}")]
    Batch { offset: Offset, source: BatchError },
    /// A record is not one of ours.
    #[error("at offset {offset}: {source}")]
    Record { offset: Offset, source: StoredError },
    /// A rule, a user or a quota has a number or a name that this release does not know.
    #[error("at offset {offset}: a rule, user or quota of a later release")]
    Security { offset: Offset },
    /// A snapshot is too short to be one.
    #[error("at offset {offset}: a snapshot that ends too early")]
    Image { offset: Offset },
    /// A change of members is not one.
    #[error("at offset {offset}: {source}")]
    Members { offset: Offset, source: DecodeError },
    /// A broker or a partition has a number that this release does not know.
    #[error("at offset {offset}: a broker or partition of a later release")]
    Cluster { offset: Offset },
    /// A topic's name is not one.
    #[error("at offset {offset}: {source}")]
    Name { offset: Offset, source: brooklet_types::NameError },
}

/// A key and a value, as they are stored. No value is a tombstone.
pub(crate) type KeyValue = (Option<Bytes>, Option<Bytes>);

/// Puts records into one batch, so that they are stored together or not at all.
pub(crate) fn batch_of(records: &[KeyValue], clock: Timestamp) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    for (key, value) in records {
        let pushed = builder.push(clock, key.as_deref(), value.as_deref(), &[]);
        pushed.expect("a coordinator decides on few records at a time");
    }
    let bytes = builder.build().expect("what was pushed can be built");
    ValidatedBatch::trusted(bytes)
}

/// A record that was read back.
pub(crate) struct Found {
    pub(crate) offset: Offset,
    /// The leader epoch of its batch.
    pub(crate) epoch: LeaderEpoch,
    pub(crate) key: Option<Bytes>,
    pub(crate) value: Option<Bytes>,
}

/// Reads every record of a log, from its start to its end.
pub(crate) fn read_all<D: Disk>(
    log: &Log<D>,
    take: impl FnMut(Found) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    read_from(log, log.start_offset(), take)
}

/// Reads every record from the batch that holds `from` on.
pub(crate) fn read_from<D: Disk>(
    log: &Log<D>,
    from: Offset,
    mut take: impl FnMut(Found) -> Result<(), LoadError>,
) -> Result<(), LoadError> {
    let mut next = from;
    let mut buffers = Buffers::default();
    while next < log.end_offset() {
        let plan = log.read(next, log.end_offset(), LOAD_BYTES, true)?;
        let before = next;
        for chunk in plan.run(&mut buffers)? {
            for one in batch::split(&chunk) {
                let (header, bytes) =
                    one.map_err(|source| LoadError::Batch { offset: next, source })?;
                let failed = |source| LoadError::Batch { offset: header.base_offset(), source };
                let records = batch::records(bytes).map_err(failed)?;
                for record in records.iter() {
                    let record = record.map_err(failed)?;
                    let owned = |part: Option<&[u8]>| part.map(Bytes::copy_from_slice);
                    take(Found {
                        offset: record.offset,
                        epoch: header.partition_leader_epoch.unwrap_or_default(),
                        key: owned(record.key),
                        value: owned(record.value),
                    })?;
                }
                next = header.last_offset().next();
            }
        }
        if next == before {
            // What is left holds no batch: a hole up to the end.
            break;
        }
    }
    Ok(())
}

/// A fact about the cluster, ready to be stored.
#[cfg(test)]
pub(crate) fn metadata_record(record: &MetaRecord) -> KeyValue {
    let value = stored_record(record).encode().expect(SHORT);
    (None, Some(value))
}

/// What one decision about the cluster came to, as the value of one record; none if it came to nothing.
pub fn metadata_decision(records: &[MetaRecord]) -> Option<Bytes> {
    let stored: Vec<MetadataRecord> = records.iter().map(stored_record).collect();
    MetadataRecord::encode_decision(&stored).expect(SHORT)
}

/// What one decision about the cluster came to, as it was stored at `offset`: by [`metadata_decision`], or fact by
/// fact.
pub fn read_metadata_decision(
    offset: Offset,
    value: Option<Bytes>,
) -> Result<Vec<MetaRecord>, LoadError> {
    let stored = MetadataRecord::decode_decision(value);
    let stored = stored.map_err(|source| LoadError::Record { offset, source })?;
    stored.into_iter().map(|record| read_record(offset, record)).collect()
}

const SHORT: &str = "names and settings are checked to be short";

fn stored_record(record: &MetaRecord) -> MetadataRecord {
    match record.clone() {
        MetaRecord::BrokerStarted { broker, clean } => {
            MetadataRecord::BrokerStarted { broker: broker.0, clean }
        }
        MetaRecord::TopicCreated { id, name, partitions, settings } => {
            let name = name.as_str().to_owned();
            MetadataRecord::TopicCreated { id: id.0, name, partitions, settings }
        }
        MetaRecord::PartitionsAdded { id, total } => {
            MetadataRecord::PartitionsAdded { id: id.0, total }
        }
        MetaRecord::TopicDeleted { id } => MetadataRecord::TopicDeleted { id: id.0 },
        MetaRecord::TopicSettingsChanged { id, changes } => {
            MetadataRecord::TopicSettingsChanged { id: id.0, changes }
        }
        MetaRecord::BrokerSettingsChanged { broker, changes } => {
            let broker = broker.map(|broker| broker.0);
            MetadataRecord::BrokerSettingsChanged { broker, changes }
        }
        MetaRecord::ProducerIdsAllotted { next } => {
            MetadataRecord::ProducerIdsAllotted { next: next.0 }
        }
        MetaRecord::AclAdded { acl } => MetadataRecord::AclAdded { acl: security::acl(acl) },
        MetaRecord::AclRemoved { acl } => MetadataRecord::AclRemoved { acl: security::acl(acl) },
        MetaRecord::UserSet { user, hash, credential } => security::user(user, hash, credential),
        MetaRecord::UserRemoved { user, hash } => {
            MetadataRecord::UserRemoved { user, hash: hash.to_wire() }
        }
        MetaRecord::QuotaSet { entity, key, limit } => security::quota(&entity, key, limit),
        MetaRecord::Cluster(record) => MetadataRecord::Cluster(cluster::stored(record)),
    }
}

fn read_record(offset: Offset, stored: MetadataRecord) -> Result<MetaRecord, LoadError> {
    Ok(match stored {
        MetadataRecord::BrokerStarted { broker, clean } => {
            MetaRecord::BrokerStarted { broker: BrokerId(broker), clean }
        }
        MetadataRecord::TopicCreated { id, name, partitions, settings } => {
            let name =
                TopicName::new(&name).map_err(|source| LoadError::Name { offset, source })?;
            MetaRecord::TopicCreated { id: TopicId(id), name, partitions, settings }
        }
        MetadataRecord::PartitionsAdded { id, total } => {
            MetaRecord::PartitionsAdded { id: TopicId(id), total }
        }
        MetadataRecord::TopicDeleted { id } => MetaRecord::TopicDeleted { id: TopicId(id) },
        MetadataRecord::TopicSettingsChanged { id, changes } => {
            MetaRecord::TopicSettingsChanged { id: TopicId(id), changes }
        }
        MetadataRecord::BrokerSettingsChanged { broker, changes } => {
            let broker = broker.map(BrokerId);
            MetaRecord::BrokerSettingsChanged { broker, changes }
        }
        MetadataRecord::ProducerIdsAllotted { next } => {
            MetaRecord::ProducerIdsAllotted { next: ProducerId(next) }
        }
        security @ (MetadataRecord::AclAdded { .. }
        | MetadataRecord::AclRemoved { .. }
        | MetadataRecord::UserSet { .. }
        | MetadataRecord::UserRemoved { .. }
        | MetadataRecord::QuotaSet { .. }) => {
            security::read(security).ok_or(LoadError::Security { offset })?
        }
        MetadataRecord::Cluster(record) => MetaRecord::Cluster(cluster::read(offset, record)?),
    })
}

/// A fact about a group, ready to be stored.
pub(crate) fn group_record(record: &GroupRecord) -> KeyValue {
    let (key, value) = match record {
        GroupRecord::Offset { group, topic, partition, value } => {
            let key = GroupKey::Offset {
                group: group.to_string(),
                topic: topic.to_string(),
                partition: partition.to_wire(),
            };
            (key, value.as_ref().map(|value| offset_value(value).encode()))
        }
        GroupRecord::Group { group, value } => {
            let key = GroupKey::Group { group: group.to_string() };
            (key, value.as_ref().map(|value| group_value(value).encode()))
        }
    };
    let short = "ids, metadata and members are checked to be short";
    (Some(key.encode().expect(short)), value.transpose().expect(short))
}

/// A fact about a group, as it was stored; none for the newer group protocols' records.
pub(crate) fn read_group_record(
    offset: Offset,
    key: Option<Bytes>,
    value: Option<Bytes>,
) -> Result<Option<GroupRecord>, LoadError> {
    let failed = |source| LoadError::Record { offset, source };
    let Some(key) = key else { return Ok(None) };
    Ok(match GroupKey::decode(key).map_err(failed)? {
        GroupKey::Other { .. } => None,
        GroupKey::Offset { group, topic, partition } => {
            let value = value.map(OffsetValue::decode).transpose().map_err(failed)?;
            let topic =
                TopicName::new(&topic).map_err(|source| LoadError::Name { offset, source })?;
            let partition = PartitionIndex::from_wire(partition).unwrap_or_default();
            let value = value.map(read_offset_value);
            Some(GroupRecord::Offset { group: group.into(), topic, partition, value })
        }
        GroupKey::Group { group } => {
            let value = value.map(GroupValue::decode).transpose().map_err(failed)?;
            let value = value.map(read_group_value);
            Some(GroupRecord::Group { group: group.into(), value })
        }
    })
}

fn offset_value(value: &group::OffsetValue) -> OffsetValue {
    OffsetValue {
        offset: value.offset.to_wire(),
        leader_epoch: value.leader_epoch.map_or(-1, LeaderEpoch::to_wire),
        metadata: value.metadata.to_string(),
        commit_timestamp: value.commit_timestamp.0,
        expire_timestamp: value.expire_timestamp.map(|at| at.0),
    }
}

fn read_offset_value(value: OffsetValue) -> group::OffsetValue {
    group::OffsetValue {
        offset: group::CommittedOffset::from_wire(value.offset),
        leader_epoch: LeaderEpoch::from_wire(value.leader_epoch),
        metadata: value.metadata.into(),
        commit_timestamp: Timestamp(value.commit_timestamp),
        expire_timestamp: value.expire_timestamp.map(Timestamp),
        topic_id: None,
    }
}

fn group_value(value: &group::GroupValue) -> GroupValue {
    let member = |member: &group::MemberValue| MemberValue {
        member_id: member.member_id.to_string(),
        instance_id: member.instance_id.as_deref().map(str::to_owned),
        client_id: member.client_id.to_string(),
        client_host: member.client_host.to_string(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.subscription.clone(),
        assignment: member.assignment.clone(),
    };
    GroupValue {
        protocol_type: value.protocol_type.to_string(),
        generation: value.generation.to_wire(),
        protocol: value.protocol.as_deref().map(str::to_owned),
        leader: value.leader.as_deref().map(str::to_owned),
        state_timestamp: value.current_state_timestamp.map_or(-1, |at| at.0),
        members: value.members.iter().map(member).collect(),
    }
}

fn read_group_value(value: GroupValue) -> group::GroupValue {
    let member = |member: MemberValue| group::MemberValue {
        member_id: member.member_id.into(),
        instance_id: member.instance_id.map(Into::into),
        client_id: member.client_id.into(),
        client_host: member.client_host.into(),
        rebalance_timeout_ms: member.rebalance_timeout_ms,
        session_timeout_ms: member.session_timeout_ms,
        subscription: member.subscription,
        assignment: member.assignment,
    };
    group::GroupValue {
        protocol_type: value.protocol_type.into(),
        generation: Generation::from_wire(value.generation).unwrap_or_default(),
        protocol: value.protocol.map(Into::into),
        leader: value.leader.map(Into::into),
        current_state_timestamp: (value.state_timestamp >= 0)
            .then_some(Timestamp(value.state_timestamp)),
        members: value.members.into_iter().map(member).collect(),
    }
}
