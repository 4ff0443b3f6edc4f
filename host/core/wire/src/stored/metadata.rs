//! `__cluster_metadata`: our own records of what the cluster is. Format version 1.
//!
//! A record is a value without a key: `version i8 · kind i8 · fields`, with the primitives of Kafka's
//! flexible messages. A kind's fields never change; a new need is a new kind.

use bytes::Bytes;
use kafka_wire_core::{BufferTarget, DecodeError, Decoder, EncodeError, Encoder, Uuid};

use super::{StoredError, read, text, written};

/// A fact about the cluster, as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

/// Settings by name; `None` removes one.
pub type Changes = Vec<(String, Option<String>)>;

const WHAT: &str = "metadata record";
const VERSION: i8 = 1;

impl MetadataRecord {
    /// Reads a record's value.
    pub fn decode(value: Bytes) -> Result<MetadataRecord, StoredError> {
        let (version, kind) =
            read(WHAT, value.clone(), |decoder| Ok((decoder.read_i8()?, decoder.read_i8()?)))?;
        if version != VERSION {
            let (version, newest) = (version.into(), VERSION.into());
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
                encoder.write_compact_array_len(settings.len())?;
                settings.iter().try_for_each(|(name, value)| {
                    encoder.write_compact_string(&text(name))?;
                    encoder.write_compact_string(&text(value))
                })
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
        }
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
            settings: {
                let count = decoder.read_compact_array_len()?;
                decoder.read_vec(count, |decoder| {
                    let name = decoder.read_compact_string()?.into_string();
                    Ok((name, decoder.read_compact_string()?.into_string()))
                })?
            },
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
        _ => return Ok(None),
    }))
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

#[cfg(test)]
mod tests {
    use super::*;

    fn every_kind() -> Vec<MetadataRecord> {
        let id = [3; 16];
        let changes = vec![("a".to_owned(), Some("1".to_owned())), ("b".to_owned(), None)];
        vec![
            MetadataRecord::BrokerStarted { broker: 1, clean: false },
            MetadataRecord::TopicCreated {
                id,
                name: "flights".into(),
                partitions: 12,
                settings: vec![("cleanup.policy".into(), "compact".into())],
            },
            MetadataRecord::PartitionsAdded { id, total: 24 },
            MetadataRecord::TopicDeleted { id },
            MetadataRecord::TopicSettingsChanged { id, changes: changes.clone() },
            MetadataRecord::BrokerSettingsChanged { broker: None, changes: changes.clone() },
            MetadataRecord::BrokerSettingsChanged { broker: Some(2), changes },
            MetadataRecord::ProducerIdsAllotted { next: 2000 },
        ]
    }

    #[test]
    fn every_kind_comes_back_as_it_was_written_and_never_from_less() {
        for record in every_kind() {
            let bytes = record.encode().unwrap();
            assert_eq!(MetadataRecord::decode(bytes.clone()).unwrap(), record);
            for cut in 0..bytes.len() {
                let shorter = MetadataRecord::decode(bytes.slice(..cut));
                assert!(shorter.is_err(), "{record:?} cut to {cut} bytes");
            }
        }
    }

    #[test]
    fn the_bytes_of_version_1_never_change() {
        let bytes: Vec<u8> =
            every_kind().iter().flat_map(|record| record.encode().unwrap().to_vec()).collect();
        assert_eq!(crate::checksum::of(&bytes), GOLDEN, "{bytes:02x?}");
    }

    /// The checksum of every kind, back to back. A change here is a change of the format.
    const GOLDEN: u32 = 2_895_074_207;

    #[test]
    fn what_a_later_release_wrote_is_named() {
        let kind = MetadataRecord::decode(Bytes::from_static(&[1, 99])).unwrap_err();
        assert!(kind.to_string().contains("unknown kind 99"), "{kind}");
        let version = MetadataRecord::decode(Bytes::from_static(&[2, 0])).unwrap_err();
        assert!(version.to_string().contains("version 2"), "{version}");
    }
}
