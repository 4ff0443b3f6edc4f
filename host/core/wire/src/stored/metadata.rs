//! `__cluster_metadata`: our own records of what the cluster is. Format versions 1 and 2.
//!
//! A record is a value without a key: `version i8 = 1 · kind i8 · fields`, with the primitives of Kafka's
//! flexible messages. A kind's fields never change; a new need is a new kind.
//!
//! A decision is what stands or falls together. One that came to several facts is a value of version 2: `version
//! i8 = 2 · count · as many values of version 1, each behind its length`. One that came to a single fact is a
//! value of version 1, one that came to none has no value.

pub mod cluster;
#[cfg(test)]
mod tests;

use std::fmt;

use bytes::Bytes;
use kafka_wire_core::{BufferTarget, DecodeError, Decoder, EncodeError, Encoder, Uuid};

use self::cluster::ClusterRecord;
use super::{StoredError, read, text, written};

/// A fact about the cluster, as it is stored.
#[derive(Clone, PartialEq)]
pub enum MetadataRecord {
    /// A broker began to serve; not `clean` when it had not stopped in good order.
    BrokerStarted { broker: i32, clean: bool },
    /// A topic came into being.
    TopicCreated { id: [u8; 16], name: String, partitions: u32, settings: Vec<(String, String)> },
    /// A topic has this many partitions from now on.
    PartitionsAdded { id: [u8; 16], total: u32 },
    /// A topic is gone.
    TopicDeleted { id: [u8; 16] },
    /// Settings of a topic changed; `None` returns one to its default.
    TopicSettingsChanged { id: [u8; 16], changes: Changes },
    /// Settings of one broker, or of all, changed.
    BrokerSettingsChanged { broker: Option<i32>, changes: Changes },
    /// Producer ids below this have been handed out.
    ProducerIdsAllotted { next: u64 },
    /// A rule about who may do what holds.
    AclAdded { acl: StoredAcl },
    /// It holds no more.
    AclRemoved { acl: StoredAcl },
    /// This is kept of a user's password. The hash has the number that Kafka's wire gives it.
    UserSet {
        user: String,
        hash: i8,
        salt: Bytes,
        stored_key: Bytes,
        server_key: Bytes,
        iterations: u32,
    },
    /// Nothing is kept of it any more.
    UserRemoved { user: String, hash: i8 },
    /// A quota has this limit; `None` takes it away. Kinds as in AlterClientQuotas; no name is the default.
    QuotaSet { entity: Vec<(String, Option<String>)>, key: String, limit: Option<f64> },
    /// What came with clusters.
    Cluster(ClusterRecord),
}

/// A rule, with the numbers that Kafka's wire gives its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredAcl {
    pub resource: i8,
    pub pattern: i8,
    pub name: String,
    pub principal: String,
    pub host: String,
    pub operation: i8,
    pub permission: i8,
}

/// Settings by name; `None` removes one.
pub type Changes = Vec<(String, Option<String>)>;

const WHAT: &str = "metadata record";
const VERSION: i8 = 1;
/// The version of a value with several facts in it.
const SEVERAL: i8 = 2;

impl MetadataRecord {
    /// Reads a record's value.
    pub fn decode(value: Bytes) -> Result<MetadataRecord, StoredError> {
        let (version, kind) =
            read(WHAT, value.clone(), |decoder| Ok((decoder.read_i8()?, decoder.read_i8()?)))?;
        if version != VERSION {
            let (version, newest) = (version.into(), SEVERAL.into());
            return Err(StoredError::UnknownVersion { what: WHAT, version, newest });
        }
        let record = read(WHAT, value, |decoder| {
            decoder.read_i16()?;
            fields(decoder, kind)
        })?;
        record.ok_or(StoredError::UnknownKind { what: WHAT, kind: kind.into() })
    }

    /// Writes a record's value.
    pub fn encode(&self) -> Result<Bytes, StoredError> {
        written(WHAT, |encoder| {
            encoder.write_i8(VERSION)?;
            self.write(encoder)
        })
    }

    /// Reads the value of a decision: every fact it came to.
    pub fn decode_decision(value: Option<Bytes>) -> Result<Vec<MetadataRecord>, StoredError> {
        let Some(value) = value else { return Ok(Vec::new()) };
        if value.first().copied() != Some(SEVERAL.cast_unsigned()) {
            return Ok(vec![MetadataRecord::decode(value)?]);
        }
        let values = read(WHAT, value, |decoder| {
            decoder.read_i8()?;
            let count = decoder.read_compact_array_len()?;
            decoder.read_vec(count, Decoder::read_compact_bytes)
        })?;
        values.into_iter().map(MetadataRecord::decode).collect()
    }

    /// Writes the value of a decision that came to these facts.
    pub fn encode_decision(records: &[MetadataRecord]) -> Result<Option<Bytes>, StoredError> {
        if records.len() < 2 {
            return records.first().map(MetadataRecord::encode).transpose();
        }
        let values: Vec<Bytes> =
            records.iter().map(MetadataRecord::encode).collect::<Result<_, _>>()?;
        let value = written(WHAT, |encoder| {
            encoder.write_i8(SEVERAL)?;
            encoder.write_compact_array_len(values.len())?;
            values.iter().try_for_each(|value| encoder.write_compact_bytes(value))
        })?;
        Ok(Some(value))
    }

    fn write(&self, encoder: &mut Encoder<BufferTarget<'_>>) -> Result<(), EncodeError> {
        match self {
            MetadataRecord::BrokerStarted { broker, clean } => {
                encoder.write_i8(0)?;
                encoder.write_i32(*broker)?;
                encoder.write_bool(*clean)
            }
            MetadataRecord::TopicCreated { id, name, partitions, settings } => {
                encoder.write_i8(1)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                encoder.write_compact_string(&text(name))?;
                encoder.write_u32(*partitions)?;
                write_values(encoder, settings)
            }
            MetadataRecord::PartitionsAdded { id, total } => {
                encoder.write_i8(2)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                encoder.write_u32(*total)
            }
            MetadataRecord::TopicDeleted { id } => {
                encoder.write_i8(3)?;
                encoder.write_uuid(Uuid::from_bytes(*id))
            }
            MetadataRecord::TopicSettingsChanged { id, changes } => {
                encoder.write_i8(4)?;
                encoder.write_uuid(Uuid::from_bytes(*id))?;
                write_changes(encoder, changes)
            }
            MetadataRecord::BrokerSettingsChanged { broker, changes } => {
                encoder.write_i8(5)?;
                encoder.write_bool(broker.is_some())?;
                encoder.write_i32(broker.unwrap_or_default())?;
                write_changes(encoder, changes)
            }
            MetadataRecord::ProducerIdsAllotted { next } => {
                encoder.write_i8(6)?;
                encoder.write_i64(i64::try_from(*next).unwrap_or(i64::MAX))
            }
            MetadataRecord::AclAdded { acl } => {
                encoder.write_i8(7)?;
                write_acl(encoder, acl)
            }
            MetadataRecord::AclRemoved { acl } => {
                encoder.write_i8(8)?;
                write_acl(encoder, acl)
            }
            MetadataRecord::UserSet { user, hash, salt, stored_key, server_key, iterations } => {
                encoder.write_i8(9)?;
                write_user(encoder, user, *hash)?;
                for bytes in [salt, stored_key, server_key] {
                    encoder.write_compact_bytes(bytes)?;
                }
                encoder.write_u32(*iterations)
            }
            MetadataRecord::UserRemoved { user, hash } => {
                encoder.write_i8(10)?;
                write_user(encoder, user, *hash)
            }
            MetadataRecord::QuotaSet { entity, key, limit } => {
                encoder.write_i8(11)?;
                write_changes(encoder, entity)?;
                encoder.write_compact_string(&text(key))?;
                encoder.write_bool(limit.is_some())?;
                encoder.write_i64(limit.unwrap_or_default().to_bits().cast_signed())
            }
            MetadataRecord::Cluster(record) => record.write(encoder),
        }
    }
}

/// Keys and salts stay out of logs.
impl fmt::Debug for MetadataRecord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self {
            MetadataRecord::BrokerStarted { .. } => "BrokerStarted",
            MetadataRecord::TopicCreated { .. } => "TopicCreated",
            MetadataRecord::PartitionsAdded { .. } => "PartitionsAdded",
            MetadataRecord::TopicDeleted { .. } => "TopicDeleted",
            MetadataRecord::TopicSettingsChanged { .. } => "TopicSettingsChanged",
            MetadataRecord::BrokerSettingsChanged { .. } => "BrokerSettingsChanged",
            MetadataRecord::ProducerIdsAllotted { .. } => "ProducerIdsAllotted",
            MetadataRecord::AclAdded { .. } => "AclAdded",
            MetadataRecord::AclRemoved { .. } => "AclRemoved",
            MetadataRecord::UserSet { .. } => "UserSet",
            MetadataRecord::UserRemoved { .. } => "UserRemoved",
            MetadataRecord::QuotaSet { .. } => "QuotaSet",
            MetadataRecord::Cluster(record) => record.kind_name(),
        };
        formatter.write_str(kind)
    }
}

/// The fields of a record of `kind`, or `None` when there is no such kind.
fn fields(decoder: &mut Decoder, kind: i8) -> Result<Option<MetadataRecord>, DecodeError> {
    Ok(Some(match kind {
        0 => MetadataRecord::BrokerStarted {
            broker: decoder.read_i32()?,
            clean: decoder.read_bool()?,
        },
        1 => MetadataRecord::TopicCreated {
            id: decoder.read_uuid()?.to_bytes(),
            name: decoder.read_compact_string()?.into_string(),
            partitions: decoder.read_u32()?,
            settings: read_values(decoder)?,
        },
        2 => MetadataRecord::PartitionsAdded {
            id: decoder.read_uuid()?.to_bytes(),
            total: decoder.read_u32()?,
        },
        3 => MetadataRecord::TopicDeleted { id: decoder.read_uuid()?.to_bytes() },
        4 => MetadataRecord::TopicSettingsChanged {
            id: decoder.read_uuid()?.to_bytes(),
            changes: read_changes(decoder)?,
        },
        5 => {
            let (one, broker) = (decoder.read_bool()?, decoder.read_i32()?);
            let changes = read_changes(decoder)?;
            MetadataRecord::BrokerSettingsChanged { broker: one.then_some(broker), changes }
        }
        6 => MetadataRecord::ProducerIdsAllotted {
            next: u64::try_from(decoder.read_i64()?).unwrap_or_default(),
        },
        7 => MetadataRecord::AclAdded { acl: read_acl(decoder)? },
        8 => MetadataRecord::AclRemoved { acl: read_acl(decoder)? },
        9 => MetadataRecord::UserSet {
            user: decoder.read_compact_string()?.into_string(),
            hash: decoder.read_i8()?,
            salt: decoder.read_compact_bytes()?,
            stored_key: decoder.read_compact_bytes()?,
            server_key: decoder.read_compact_bytes()?,
            iterations: decoder.read_u32()?,
        },
        10 => MetadataRecord::UserRemoved {
            user: decoder.read_compact_string()?.into_string(),
            hash: decoder.read_i8()?,
        },
        11 => {
            let entity = read_changes(decoder)?;
            let key = decoder.read_compact_string()?.into_string();
            let set = decoder.read_bool()?;
            let limit = f64::from_bits(decoder.read_i64()?.cast_unsigned());
            MetadataRecord::QuotaSet { entity, key, limit: set.then_some(limit) }
        }
        kind => return Ok(cluster::fields(decoder, kind)?.map(MetadataRecord::Cluster)),
    }))
}

fn write_user(
    encoder: &mut Encoder<BufferTarget<'_>>,
    user: &str,
    hash: i8,
) -> Result<(), EncodeError> {
    encoder.write_compact_string(&text(user))?;
    encoder.write_i8(hash)
}

fn write_acl(encoder: &mut Encoder<BufferTarget<'_>>, acl: &StoredAcl) -> Result<(), EncodeError> {
    encoder.write_i8(acl.resource)?;
    encoder.write_i8(acl.pattern)?;
    for part in [&acl.name, &acl.principal, &acl.host] {
        encoder.write_compact_string(&text(part))?;
    }
    encoder.write_i8(acl.operation)?;
    encoder.write_i8(acl.permission)
}

fn read_acl(decoder: &mut Decoder) -> Result<StoredAcl, DecodeError> {
    Ok(StoredAcl {
        resource: decoder.read_i8()?,
        pattern: decoder.read_i8()?,
        name: decoder.read_compact_string()?.into_string(),
        principal: decoder.read_compact_string()?.into_string(),
        host: decoder.read_compact_string()?.into_string(),
        operation: decoder.read_i8()?,
        permission: decoder.read_i8()?,
    })
}

fn write_values(
    encoder: &mut Encoder<BufferTarget<'_>>,
    settings: &[(String, String)],
) -> Result<(), EncodeError> {
    encoder.write_compact_array_len(settings.len())?;
    settings.iter().try_for_each(|(name, value)| {
        encoder.write_compact_string(&text(name))?;
        encoder.write_compact_string(&text(value))
    })
}

fn read_values(decoder: &mut Decoder) -> Result<Vec<(String, String)>, DecodeError> {
    let count = decoder.read_compact_array_len()?;
    decoder.read_vec(count, |decoder| {
        let name = decoder.read_compact_string()?.into_string();
        Ok((name, decoder.read_compact_string()?.into_string()))
    })
}

fn write_changes(
    encoder: &mut Encoder<BufferTarget<'_>>,
    changes: &Changes,
) -> Result<(), EncodeError> {
    encoder.write_compact_array_len(changes.len())?;
    changes.iter().try_for_each(|(name, value)| {
        encoder.write_compact_string(&text(name))?;
        encoder.write_compact_nullable_string(value.as_deref().map(text).as_ref())
    })
}

fn read_changes(decoder: &mut Decoder) -> Result<Changes, DecodeError> {
    let count = decoder.read_compact_array_len()?;
    decoder.read_vec(count, |decoder| {
        let name = decoder.read_compact_string()?.into_string();
        let value = decoder.read_compact_nullable_string()?;
        Ok((name, value.map(|value| value.into_string())))
    })
}
