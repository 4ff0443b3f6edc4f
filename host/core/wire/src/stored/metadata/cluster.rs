//! The kinds of records that came with clusters: brokers, and who keeps which partition. Kinds 12 to 18.

use kafka_wire_core::{BufferTarget, DecodeError, Decoder, EncodeError, Encoder, Uuid};

use super::super::text;
use super::{read_values, write_values};

/// A fact about brokers among each other, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClusterRecord {
    /// A broker has registered.
    BrokerRegistered { broker: i32, registration: StoredRegistration },
    /// What a registration of a broker may do.
    BrokerChanged { broker: i32, epoch: u64, fenced: bool, shutting_down: bool },
    /// A registration of a broker is gone.
    BrokerUnregistered { broker: i32, epoch: u64 },
    /// A topic came into being, kept by these.
    TopicPlaced {
        id: [u8; 16],
        name: String,
        settings: Vec<(String, String)>,
        partitions: Vec<StoredAssignment>,
    },
    /// A topic has grown by these.
    PartitionsPlaced { id: [u8; 16], partitions: Vec<StoredAssignment> },
    /// Who keeps one partition from now on.
    PartitionChanged { id: [u8; 16], partition: u32, now: StoredPartition },
    /// A feature has this level.
    FeatureLevelSet { name: String, level: u16 },
}

/// A broker as it has registered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredRegistration {
    pub epoch: u64,
    pub incarnation: [u8; 16],
    pub directory: [u8; 16],
    pub endpoints: Vec<StoredEndpoint>,
    pub rack: Option<String>,
    /// Name, lowest and highest level.
    pub features: Vec<(String, u16, u16)>,
    pub fenced: bool,
    pub shutting_down: bool,
}

/// One address of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredEndpoint {
    pub name: String,
    pub host: String,
    pub port: u16,
    /// Kafka's number of the security protocol.
    pub protocol: i16,
}

/// Who keeps a new partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAssignment {
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
}

/// Who keeps a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredPartition {
    pub leader: Option<i32>,
    pub leader_epoch: u32,
    pub epoch: u32,
    /// The number of Kafka's `LeaderRecoveryState`.
    pub recovery: i8,
    pub replicas: Vec<i32>,
    pub in_sync: Vec<i32>,
    pub eligible: Vec<i32>,
    pub last_known: Vec<i32>,
    pub adding: Vec<i32>,
    pub removing: Vec<i32>,
}

type Output<'a, 'b> = &'a mut Encoder<BufferTarget<'b>>;

impl ClusterRecord {
    /// What it is, for messages.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            ClusterRecord::BrokerRegistered { .. } => "BrokerRegistered",
            ClusterRecord::BrokerChanged { .. } => "BrokerChanged",
            ClusterRecord::BrokerUnregistered { .. } => "BrokerUnregistered",
            ClusterRecord::TopicPlaced { .. } => "TopicPlaced",
            ClusterRecord::PartitionsPlaced { .. } => "PartitionsPlaced",
            ClusterRecord::PartitionChanged { .. } => "PartitionChanged",
            ClusterRecord::FeatureLevelSet { .. } => "FeatureLevelSet",
        }
    }

    pub(super) fn write(&self, encoder: Output<'_, '_>) -> Result<(), EncodeError> {
        match self {
            ClusterRecord::BrokerRegistered { broker, registration } => {
                encoder.write_i8(12)?;
                encoder.write_i32(*broker)?;
                write_registration(encoder, registration)
            }
            ClusterRecord::BrokerChanged { broker, epoch, fenced, shutting_down } => {
                encoder.write_i8(13)?;
                encoder.write_i32(*broker)?;
                encoder.write_unsigned_varlong(*epoch)?;
                encoder.write_bool(*fenced)?;
                encoder.write_bool(*shutting_down)
            }
            ClusterRecord::BrokerUnregistered { broker, epoch } => {
                encoder.write_i8(14)?;
                encoder.write_i32(*broker)?;
                encoder.write_unsigned_varlong(*epoch)
            }
            ClusterRecord::TopicPlaced { id, name, settings, partitions } => {
                encoder.write_i8(15)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                encoder.write_compact_string(&text(name))?;
                write_values(encoder, settings)?;
                write_assignments(encoder, partitions)
            }
            ClusterRecord::PartitionsPlaced { id, partitions } => {
                encoder.write_i8(16)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                write_assignments(encoder, partitions)
            }
            ClusterRecord::PartitionChanged { id, partition, now } => {
                encoder.write_i8(17)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                encoder.write_unsigned_varint(*partition)?;
                write_partition(encoder, now)
            }
            ClusterRecord::FeatureLevelSet { name, level } => {
                encoder.write_i8(18)?;
                encoder.write_compact_string(&text(name))?;
                encoder.write_u16(*level)
            }
        }
    }
}

/// The fields of a record of `kind`, or none when it is not one of these.
pub(super) fn fields(
    decoder: &mut Decoder,
    kind: i8,
) -> Result<Option<ClusterRecord>, DecodeError> {
    Ok(Some(match kind {
        12 => ClusterRecord::BrokerRegistered {
            broker: decoder.read_i32()?,
            registration: read_registration(decoder)?,
        },
        13 => ClusterRecord::BrokerChanged {
            broker: decoder.read_i32()?,
            epoch: decoder.read_unsigned_varlong()?,
            fenced: decoder.read_bool()?,
            shutting_down: decoder.read_bool()?,
        },
        14 => ClusterRecord::BrokerUnregistered {
            broker: decoder.read_i32()?,
            epoch: decoder.read_unsigned_varlong()?,
        },
        15 => ClusterRecord::TopicPlaced {
            id: decoder.read_uuid()?.to_bytes(),
            name: decoder.read_compact_string()?.into_string(),
            settings: read_values(decoder)?,
            partitions: read_assignments(decoder)?,
        },
        16 => ClusterRecord::PartitionsPlaced {
            id: decoder.read_uuid()?.to_bytes(),
            partitions: read_assignments(decoder)?,
        },
        17 => ClusterRecord::PartitionChanged {
            id: decoder.read_uuid()?.to_bytes(),
            partition: decoder.read_unsigned_varint()?,
            now: read_partition(decoder)?,
        },
        18 => ClusterRecord::FeatureLevelSet {
            name: decoder.read_compact_string()?.into_string(),
            level: decoder.read_u16()?,
        },
        _ => return Ok(None),
    }))
}

fn write_registration(
    encoder: Output<'_, '_>,
    registration: &StoredRegistration,
) -> Result<(), EncodeError> {
    encoder.write_unsigned_varlong(registration.epoch)?;
    encoder.write_uuid(Uuid::from_bytes(registration.incarnation))?;
    encoder.write_uuid(Uuid::from_bytes(registration.directory))?;
    encoder.write_compact_array_len(registration.endpoints.len())?;
    for endpoint in &registration.endpoints {
        encoder.write_compact_string(&text(&endpoint.name))?;
        encoder.write_compact_string(&text(&endpoint.host))?;
        encoder.write_u16(endpoint.port)?;
        encoder.write_i16(endpoint.protocol)?;
    }
    encoder.write_compact_nullable_string(registration.rack.as_deref().map(text).as_ref())?;
    encoder.write_compact_array_len(registration.features.len())?;
    for (name, min, max) in &registration.features {
        encoder.write_compact_string(&text(name))?;
        encoder.write_u16(*min)?;
        encoder.write_u16(*max)?;
    }
    encoder.write_bool(registration.fenced)?;
    encoder.write_bool(registration.shutting_down)
}

fn read_registration(decoder: &mut Decoder) -> Result<StoredRegistration, DecodeError> {
    Ok(StoredRegistration {
        epoch: decoder.read_unsigned_varlong()?,
        incarnation: decoder.read_uuid()?.to_bytes(),
        directory: decoder.read_uuid()?.to_bytes(),
        endpoints: {
            let count = decoder.read_compact_array_len()?;
            decoder.read_vec(count, |decoder| {
                Ok(StoredEndpoint {
                    name: decoder.read_compact_string()?.into_string(),
                    host: decoder.read_compact_string()?.into_string(),
                    port: decoder.read_u16()?,
                    protocol: decoder.read_i16()?,
                })
            })?
        },
        rack: decoder.read_compact_nullable_string()?.map(|rack| rack.into_string()),
        features: {
            let count = decoder.read_compact_array_len()?;
            decoder.read_vec(count, |decoder| {
                let name = decoder.read_compact_string()?.into_string();
                Ok((name, decoder.read_u16()?, decoder.read_u16()?))
            })?
        },
        fenced: decoder.read_bool()?,
        shutting_down: decoder.read_bool()?,
    })
}

fn write_assignments(
    encoder: Output<'_, '_>,
    assignments: &[StoredAssignment],
) -> Result<(), EncodeError> {
    encoder.write_compact_array_len(assignments.len())?;
    assignments.iter().try_for_each(|assignment| {
        write_brokers(encoder, &assignment.replicas)?;
        write_brokers(encoder, &assignment.in_sync)
    })
}

fn read_assignments(decoder: &mut Decoder) -> Result<Vec<StoredAssignment>, DecodeError> {
    let count = decoder.read_compact_array_len()?;
    decoder.read_vec(count, |decoder| {
        let replicas = read_brokers(decoder)?;
        Ok(StoredAssignment { replicas, in_sync: read_brokers(decoder)? })
    })
}

fn write_partition(
    encoder: Output<'_, '_>,
    partition: &StoredPartition,
) -> Result<(), EncodeError> {
    let leader: Vec<i32> = partition.leader.into_iter().collect();
    write_brokers(encoder, &leader)?;
    encoder.write_unsigned_varint(partition.leader_epoch)?;
    encoder.write_unsigned_varint(partition.epoch)?;
    encoder.write_i8(partition.recovery)?;
    let StoredPartition { replicas, in_sync, eligible, last_known, adding, removing, .. } =
        partition;
    [replicas, in_sync, eligible, last_known, adding, removing]
        .into_iter()
        .try_for_each(|brokers| write_brokers(encoder, brokers))
}

fn read_partition(decoder: &mut Decoder) -> Result<StoredPartition, DecodeError> {
    Ok(StoredPartition {
        leader: read_brokers(decoder)?.first().copied(),
        leader_epoch: decoder.read_unsigned_varint()?,
        epoch: decoder.read_unsigned_varint()?,
        recovery: decoder.read_i8()?,
        replicas: read_brokers(decoder)?,
        in_sync: read_brokers(decoder)?,
        eligible: read_brokers(decoder)?,
        last_known: read_brokers(decoder)?,
        adding: read_brokers(decoder)?,
        removing: read_brokers(decoder)?,
    })
}

fn write_brokers(encoder: Output<'_, '_>, brokers: &[i32]) -> Result<(), EncodeError> {
    encoder.write_compact_array_len(brokers.len())?;
    brokers.iter().try_for_each(|broker| encoder.write_i32(*broker))
}

fn read_brokers(decoder: &mut Decoder) -> Result<Vec<i32>, DecodeError> {
    let count = decoder.read_compact_array_len()?;
    decoder.read_vec(count, Decoder::read_i32)
}
