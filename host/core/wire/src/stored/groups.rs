//! `__consumer_offsets`, as Kafka writes it (its `OffsetCommitKey/Value` and
//! `GroupMetadataKey/Value` schemas), so that Kafka's tools read ours and ours read Kafka's.

use bytes::Bytes;
use kafka_wire_core::{DecodeError, Decoder, EncodeError, StrBytes};

use super::{StoredError, read, text, version_of, written};

/// What a record is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GroupKey {
    /// A group's position in one partition (versions 0 and 1).
    Offset { group: String, topic: String, partition: i32 },
    /// A classic group's members (version 2).
    Group { group: String },
    /// Something of the newer group protocols, which this release does not run.
    Other { version: i16 },
}

/// A committed offset.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OffsetValue {
    /// The next offset to read.
    pub offset: i64,
    /// The epoch of the record before it; -1 when the client did not say.
    pub leader_epoch: i32,
    /// Whatever the client attached.
    pub metadata: String,
    /// When it was committed, in milliseconds since 1970.
    pub commit_timestamp: i64,
    /// When it is to be forgotten; only what old clients asked for has one (version 1).
    pub expire_timestamp: Option<i64>,
}

/// A classic group after a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupValue {
    /// What kind of members it has: `consumer`, `connect`.
    pub protocol_type: String,
    /// Counts rebalances.
    pub generation: i32,
    /// The assignor that was chosen.
    pub protocol: Option<String>,
    /// The member that assigns.
    pub leader: Option<String>,
    /// When the group came into this state, in milliseconds since 1970; -1 when not known.
    pub state_timestamp: i64,
    /// Its members.
    pub members: Vec<MemberValue>,
}

/// One member of a classic group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MemberValue {
    /// The id the coordinator gave it.
    pub member_id: String,
    /// The id it gave itself, if it is static.
    pub instance_id: Option<String>,
    /// What its client calls itself.
    pub client_id: String,
    /// Where it connected from.
    pub client_host: String,
    /// How long it may take to join a rebalance.
    pub rebalance_timeout_ms: i32,
    /// How long it may be silent.
    pub session_timeout_ms: i32,
    /// Opaque: what it subscribes to.
    pub subscription: Bytes,
    /// Opaque: what it was assigned.
    pub assignment: Bytes,
}

const OFFSET_KEY: &str = "offset commit key";
const OFFSET_VALUE: &str = "offset commit value";
const GROUP_VALUE: &str = "group metadata value";

/// The newest versions of Kafka's schemas, which are flexible; we read them and write the ones
/// before, as Kafka 4.3 does.
const OFFSET_VALUE_NEWEST: i16 = 4;
const GROUP_VALUE_NEWEST: i16 = 4;

impl GroupKey {
    /// Reads a record's key.
    pub fn decode(key: Bytes) -> Result<GroupKey, StoredError> {
        let version = version_of(OFFSET_KEY, &key)?;
        read(OFFSET_KEY, key, |decoder| {
            decoder.read_i16()?;
            Ok(match version {
                0 | 1 => GroupKey::Offset {
                    group: decoder.read_string()?.into_string(),
                    topic: decoder.read_string()?.into_string(),
                    partition: decoder.read_i32()?,
                },
                2 => GroupKey::Group { group: decoder.read_string()?.into_string() },
                version => GroupKey::Other { version },
            })
        })
    }

    /// Writes a record's key.
    pub fn encode(&self) -> Result<Bytes, StoredError> {
        written(OFFSET_KEY, |encoder| match self {
            GroupKey::Offset { group, topic, partition } => {
                encoder.write_i16(1)?;
                encoder.write_string(&text(group))?;
                encoder.write_string(&text(topic))?;
                encoder.write_i32(*partition)
            }
            GroupKey::Group { group } => {
                encoder.write_i16(2)?;
                encoder.write_string(&text(group))
            }
            GroupKey::Other { version } => encoder.write_i16(*version),
        })
    }
}

impl OffsetValue {
    /// Reads a record's value.
    pub fn decode(value: Bytes) -> Result<OffsetValue, StoredError> {
        let version = known(OFFSET_VALUE, &value, OFFSET_VALUE_NEWEST)?;
        read(OFFSET_VALUE, value, |decoder| {
            decoder.read_i16()?;
            let offset = decoder.read_i64()?;
            let leader_epoch = if version >= 3 { decoder.read_i32()? } else { -1 };
            let metadata = string(decoder, version >= 4)?;
            let commit_timestamp = decoder.read_i64()?;
            let expires = if version == 1 { Some(decoder.read_i64()?) } else { None };
            let expire_timestamp = expires.filter(|at| *at >= 0);
            Ok(OffsetValue { offset, leader_epoch, metadata, commit_timestamp, expire_timestamp })
        })
    }

    /// Writes a record's value: version 1 where the offset expires by itself, else version 3.
    pub fn encode(&self) -> Result<Bytes, StoredError> {
        written(OFFSET_VALUE, |encoder| {
            encoder.write_i16(if self.expire_timestamp.is_some() { 1 } else { 3 })?;
            encoder.write_i64(self.offset)?;
            if self.expire_timestamp.is_none() {
                encoder.write_i32(self.leader_epoch)?;
            }
            encoder.write_string(&text(&self.metadata))?;
            encoder.write_i64(self.commit_timestamp)?;
            self.expire_timestamp.map_or(Ok(()), |at| encoder.write_i64(at))
        })
    }
}

impl GroupValue {
    /// Reads a record's value.
    pub fn decode(value: Bytes) -> Result<GroupValue, StoredError> {
        let version = known(GROUP_VALUE, &value, GROUP_VALUE_NEWEST)?;
        let flexible = version >= 4;
        read(GROUP_VALUE, value, |decoder| {
            decoder.read_i16()?;
            let protocol_type = string(decoder, flexible)?;
            let generation = decoder.read_i32()?;
            let protocol = nullable(decoder, flexible)?;
            let leader = nullable(decoder, flexible)?;
            let state_timestamp = if version >= 2 { decoder.read_i64()? } else { -1 };
            let count = if flexible {
                decoder.read_compact_array_len()?
            } else {
                decoder.read_array_len()?
            };
            let members = decoder.read_vec(count, |decoder| member(decoder, version))?;
            Ok(GroupValue { protocol_type, generation, protocol, leader, state_timestamp, members })
        })
    }

    /// Writes a record's value, version 3.
    pub fn encode(&self) -> Result<Bytes, StoredError> {
        written(GROUP_VALUE, |encoder| {
            encoder.write_i16(3)?;
            encoder.write_string(&text(&self.protocol_type))?;
            encoder.write_i32(self.generation)?;
            encoder.write_nullable_string(optional(self.protocol.as_deref()).as_ref())?;
            encoder.write_nullable_string(optional(self.leader.as_deref()).as_ref())?;
            encoder.write_i64(self.state_timestamp)?;
            encoder.write_array_len(self.members.len())?;
            self.members.iter().try_for_each(|member| member.encode(encoder))
        })
    }
}

impl MemberValue {
    fn encode<T: kafka_wire_core::EncodeTarget>(
        &self,
        encoder: &mut kafka_wire_core::Encoder<T>,
    ) -> Result<(), EncodeError> {
        encoder.write_string(&text(&self.member_id))?;
        encoder.write_nullable_string(optional(self.instance_id.as_deref()).as_ref())?;
        encoder.write_string(&text(&self.client_id))?;
        encoder.write_string(&text(&self.client_host))?;
        encoder.write_i32(self.rebalance_timeout_ms)?;
        encoder.write_i32(self.session_timeout_ms)?;
        encoder.write_bytes(&self.subscription)?;
        encoder.write_bytes(&self.assignment)
    }
}

fn member(decoder: &mut Decoder, version: i16) -> Result<MemberValue, DecodeError> {
    let flexible = version >= 4;
    let member_id = string(decoder, flexible)?;
    let instance_id = if version >= 3 { nullable(decoder, flexible)? } else { None };
    let client_id = string(decoder, flexible)?;
    let client_host = string(decoder, flexible)?;
    let rebalance = if version >= 1 { Some(decoder.read_i32()?) } else { None };
    let session_timeout_ms = decoder.read_i32()?;
    let rebalance_timeout_ms = rebalance.unwrap_or(session_timeout_ms);
    let mut bytes = || if flexible { decoder.read_compact_bytes() } else { decoder.read_bytes() };
    let (subscription, assignment) = (bytes()?, bytes()?);
    if flexible {
        decoder.read_tagged_fields()?;
    }
    Ok(MemberValue {
        member_id,
        instance_id,
        client_id,
        client_host,
        rebalance_timeout_ms,
        session_timeout_ms,
        subscription,
        assignment,
    })
}

fn known(what: &'static str, value: &Bytes, newest: i16) -> Result<i16, StoredError> {
    let version = version_of(what, value)?;
    if (0..=newest).contains(&version) {
        Ok(version)
    } else {
        Err(StoredError::UnknownVersion { what, version, newest })
    }
}

fn string(decoder: &mut Decoder, flexible: bool) -> Result<String, DecodeError> {
    let string = if flexible { decoder.read_compact_string() } else { decoder.read_string() };
    string.map(StrBytes::into_string)
}

fn nullable(decoder: &mut Decoder, flexible: bool) -> Result<Option<String>, DecodeError> {
    let string = if flexible {
        decoder.read_compact_nullable_string()
    } else {
        decoder.read_nullable_string()
    };
    string.map(|string| string.map(StrBytes::into_string))
}

fn optional(string: Option<&str>) -> Option<StrBytes> {
    string.map(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offset_is_written_as_kafka_writes_it() {
        let key = GroupKey::Offset { group: "g".into(), topic: "t".into(), partition: 2 };
        let bytes = key.encode().unwrap();
        assert_eq!(&bytes[..], [0, 1, 0, 1, b'g', 0, 1, b't', 0, 0, 0, 2]);
        assert_eq!(GroupKey::decode(bytes).unwrap(), key);

        let value = OffsetValue {
            offset: 5,
            leader_epoch: 1,
            metadata: "m".into(),
            commit_timestamp: 7,
            expire_timestamp: None,
        };
        let bytes = value.encode().unwrap();
        let expected =
            [0, 3, 0, 0, 0, 0, 0, 0, 0, 5, 0, 0, 0, 1, 0, 1, b'm', 0, 0, 0, 0, 0, 0, 0, 7];
        assert_eq!(&bytes[..], expected);
        assert_eq!(OffsetValue::decode(bytes).unwrap(), value);

        let expiring = OffsetValue { expire_timestamp: Some(9), leader_epoch: -1, ..value };
        assert_eq!(OffsetValue::decode(expiring.encode().unwrap()).unwrap(), expiring);
    }

    #[test]
    fn a_group_comes_back_as_it_was_written_and_never_from_less() {
        let member = MemberValue {
            member_id: "m-1".into(),
            instance_id: Some("i".into()),
            client_id: "c".into(),
            client_host: "/127.0.0.1".into(),
            rebalance_timeout_ms: 60_000,
            session_timeout_ms: 10_000,
            subscription: Bytes::from_static(b"sub"),
            assignment: Bytes::from_static(b""),
        };
        let value = GroupValue {
            protocol_type: "consumer".into(),
            generation: 3,
            protocol: Some("range".into()),
            leader: None,
            state_timestamp: 12,
            members: vec![member.clone(), MemberValue { instance_id: None, ..member }],
        };
        let bytes = value.encode().unwrap();
        assert_eq!(GroupValue::decode(bytes.clone()).unwrap(), value);
        for cut in 0..bytes.len() {
            assert!(GroupValue::decode(bytes.slice(..cut)).is_err(), "cut to {cut} bytes");
        }
    }

    #[test]
    fn what_a_later_release_wrote_is_named() {
        let key = GroupKey::decode(Bytes::from_static(&[0, 3, 0, 1, b'g'])).unwrap();
        assert_eq!(key, GroupKey::Other { version: 3 });
        let refused = OffsetValue::decode(Bytes::from_static(&[0, 9])).unwrap_err();
        assert!(refused.to_string().contains("version 9"), "{refused}");
    }
}
