//! Messages between brokers that are ours: of the metadata's quorum, and what we add to Kafka's.
//!
//! **Where it sits.** Beside the codec library's messages, of whose form these are: compact lengths, and tagged
//! fields at the end, so that a later release adds a field without a version. What an older one does not know it
//! passes over.
//!
//! **Decides** how they are written. **Never** looks into the quorum's own bytes, which are a slice of the frame.

use kafka_wire::{
    ApiDescriptor, FetchRequest, FetchResponse, KafkaMessage, KafkaRequest, KafkaResponse,
    MessageDescriptor, MessageDirection, RequestResponsePair, RetainedFootprint, RetainedSize,
};
use kafka_wire_core::{
    ApiKey, ApiVersion, Bytes, DecodeError, Decoder, EncodeError, EncodeTarget, Encoder,
    KafkaDecode, KafkaEncode, StrBytes, TaggedField, TaggedFields, Uuid, VersionRange,
};

/// The tag of a field that we add to a message of Kafka's, one to a message. Kafka counts its own from 0.
pub const OWN_TAG: u32 = 10_000;

/// A field of ours that does not hold a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("tagged field {OWN_TAG} of {bytes} bytes is not a number")]
pub struct NotANumber {
    /// How many bytes there are instead of eight.
    pub bytes: usize,
}

/// Tagged fields with one of ours, which holds `number`.
pub fn with_tagged_number(number: u64) -> TaggedFields {
    let data = Bytes::copy_from_slice(&number.to_be_bytes());
    // One field is in order.
    TaggedFields::from_sorted(vec![TaggedField::new(OWN_TAG, data)]).unwrap_or_default()
}

/// The number in our tagged field; none where there is no such field.
///
/// # Errors
/// If something else is in it.
pub fn tagged_number(fields: &TaggedFields) -> Result<Option<u64>, NotANumber> {
    let Some(field) = fields.iter().find(|field| field.tag() == OWN_TAG) else { return Ok(None) };
    let bytes = field.data().as_ref();
    let number = bytes.try_into().map_err(|_| NotANumber { bytes: bytes.len() })?;
    Ok(Some(u64::from_be_bytes(number)))
}

/// A message for the quorum of whoever reads it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumMessageRequest {
    /// What the sender's quorum said, which names its cluster and its sender itself.
    pub message: Bytes,
    /// Where the sender listens for other brokers: it may be somebody of whom the reader has not heard before.
    pub host: Option<StrBytes>,
    /// The port there.
    pub port: u16,
    /// Fields of later releases.
    pub unknown_tagged_fields: TaggedFields,
}

/// That a message has been handed to the quorum. What it came to, the quorum says in messages of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct QuorumMessageResponse {
    /// Kafka's error code, or 0.
    pub error_code: i16,
    /// Fields of later releases.
    pub unknown_tagged_fields: TaggedFields,
}

/// A broker asks to become a member of the quorum.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinQuorumRequest {
    /// Its number.
    pub broker_id: i32,
    /// The folder it keeps the metadata in.
    pub directory: Uuid,
    /// Fields of later releases.
    pub unknown_tagged_fields: TaggedFields,
}

/// Whether it is one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JoinQuorumResponse {
    /// Kafka's error code, or 0.
    pub error_code: i16,
    /// What is wrong, for people.
    pub error_message: Option<StrBytes>,
    /// Fields of later releases.
    pub unknown_tagged_fields: TaggedFields,
}

/// A Fetch of a follower: the same message, whose versions are those of brokers and not of our client, who names
/// topics by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FollowerFetchRequest(pub FetchRequest);

/// The names and numbers of a pair of ours.
macro_rules! pair {
    ($key:literal $name:literal $request:ident $response:ident) => {
        impl KafkaMessage for $request {
            const NAME: &'static str = concat!($name, "Request");
            const SUPPORTED_VERSIONS: VersionRange = FIRST;
            const FLEXIBLE_VERSIONS: Option<VersionRange> = Some(FIRST);
        }

        impl KafkaRequest for $request {
            const API_KEY: ApiKey = ApiKey::new($key);
            const API_DESCRIPTOR: &'static ApiDescriptor = &ApiDescriptor::new(
                $key,
                &descriptor($key, concat!($name, "Request"), MessageDirection::Request),
                &descriptor($key, concat!($name, "Response"), MessageDirection::Response),
                FIRST,
                Some(FIRST),
                false,
            );
        }

        impl RequestResponsePair for $request {
            type Response = $response;
        }

        impl KafkaMessage for $response {
            const NAME: &'static str = concat!($name, "Response");
            const SUPPORTED_VERSIONS: VersionRange = FIRST;
            const FLEXIBLE_VERSIONS: Option<VersionRange> = Some(FIRST);
        }

        impl KafkaResponse for $response {
            const API_KEY: ApiKey = ApiKey::new($key);
        }
    };
}

/// The one version there is of each.
const FIRST: VersionRange = VersionRange::new(0, 0);

const fn descriptor(
    key: i16,
    name: &'static str,
    direction: MessageDirection,
) -> MessageDescriptor {
    MessageDescriptor::new(key, name, direction, FIRST, Some(FIRST))
}

pair!(10_000 "QuorumMessage" QuorumMessageRequest QuorumMessageResponse);
pair!(10_001 "JoinQuorum" JoinQuorumRequest JoinQuorumResponse);

/// How each is written and read: its fields in their order, then the tagged ones.
macro_rules! fields {
    ($message:ident $($field:ident $write:ident($($how:tt)*) $read:ident;)+) => {
        impl KafkaEncode for $message {
            fn encode<T: EncodeTarget>(
                &self,
                encoder: &mut Encoder<T>,
                version: ApiVersion,
            ) -> Result<(), EncodeError> {
                if !Self::supports(version) {
                    let (message, supported) = (Self::NAME, Self::SUPPORTED_VERSIONS);
                    return Err(EncodeError::UnsupportedVersion { message, version, supported });
                }
                $(encoder.$write(self.$field $($how)*)?;)+
                encoder.write_tagged_fields(&self.unknown_tagged_fields)
            }
        }

        impl KafkaDecode for $message {
            fn decode(decoder: &mut Decoder, version: ApiVersion) -> Result<Self, DecodeError> {
                if !Self::supports(version) {
                    let (message, supported) = (Self::NAME, Self::SUPPORTED_VERSIONS);
                    return Err(DecodeError::UnsupportedVersion { message, version, supported });
                }
                // Fields of a structure are read in the order in which they stand here.
                Ok($message {
                    $($field: decoder.$read()?,)+
                    unknown_tagged_fields: decoder.read_tagged_fields()?,
                })
            }
        }

        impl RetainedSize for $message {
            fn retained_size(&self) -> RetainedFootprint {
                let tagged = self.unknown_tagged_fields.retained_size();
                tagged$(.saturating_add(self.$field.retained_size()))+
            }
        }
    };
}

fields!(QuorumMessageRequest
    message write_compact_bytes(.as_ref()) read_compact_bytes;
    host write_compact_nullable_string(.as_ref()) read_compact_nullable_string;
    port write_u16() read_u16;
);
fields!(QuorumMessageResponse
    error_code write_i16() read_i16;
);
fields!(JoinQuorumRequest
    broker_id write_i32() read_i32;
    directory write_uuid() read_uuid;
);
fields!(JoinQuorumResponse
    error_code write_i16() read_i16;
    error_message write_compact_nullable_string(.as_ref()) read_compact_nullable_string;
);

impl KafkaMessage for FollowerFetchRequest {
    const NAME: &'static str = FetchRequest::NAME;
    const SUPPORTED_VERSIONS: VersionRange = FetchRequest::SUPPORTED_VERSIONS;
    const FLEXIBLE_VERSIONS: Option<VersionRange> = FetchRequest::FLEXIBLE_VERSIONS;
}

impl KafkaRequest for FollowerFetchRequest {
    const API_KEY: ApiKey = FetchRequest::API_KEY;
    const API_DESCRIPTOR: &'static ApiDescriptor = FetchRequest::API_DESCRIPTOR;
}

impl RequestResponsePair for FollowerFetchRequest {
    type Response = FetchResponse;
}

impl KafkaEncode for FollowerFetchRequest {
    fn encode<T: EncodeTarget>(
        &self,
        encoder: &mut Encoder<T>,
        version: ApiVersion,
    ) -> Result<(), EncodeError> {
        self.0.encode(encoder, version)
    }
}

impl KafkaDecode for FollowerFetchRequest {
    fn decode(decoder: &mut Decoder, version: ApiVersion) -> Result<Self, DecodeError> {
        FetchRequest::decode(decoder, version).map(FollowerFetchRequest)
    }
}

impl RetainedSize for FollowerFetchRequest {
    fn retained_size(&self) -> RetainedFootprint {
        self.0.retained_size()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{decode_response, encode_response};

    #[test]
    fn our_messages_are_these_bytes() {
        let asked = JoinQuorumRequest {
            broker_id: 3,
            directory: Uuid::from_bytes([7; 16]),
            unknown_tagged_fields: TaggedFields::default(),
        };
        let bytes = asked.encode_to_bytes(ApiVersion::new(0)).unwrap();
        assert_eq!(bytes, [&[0, 0, 0, 3][..], &[7; 16], &[0]].concat());
        let told = QuorumMessageRequest {
            message: "raft".into(),
            host: Some("there".into()),
            port: 9192,
            ..Default::default()
        };
        let bytes = told.encode_to_bytes(ApiVersion::new(0)).unwrap();
        assert_eq!(bytes, b"\x05raft\x06there\x23\xe8\0".as_slice());
        let answer = JoinQuorumResponse {
            error_code: 41,
            error_message: Some("no".into()),
            unknown_tagged_fields: TaggedFields::default(),
        };
        let frame = encode_response(7, 0, &answer).unwrap();
        assert_eq!(frame, b"\0\0\0\x0b\0\0\0\x07\0\0\x29\x03no\0".as_slice());
        assert_eq!(decode_response(frame.slice(4..), 0), Ok((7, answer)));
    }

    #[test]
    fn there_is_no_other_version() {
        let asked = JoinQuorumRequest::default();
        assert!(asked.encode_to_bytes(ApiVersion::new(1)).is_err());
        assert!(encode_response(7, 1, &JoinQuorumResponse::default()).is_err());
        assert!(decode_response::<JoinQuorumResponse>(Bytes::from_static(&[0; 9]), 1).is_err());
    }

    #[test]
    fn a_number_of_ours_comes_back_and_nothing_else_does() {
        for number in [0, 1, u64::MAX] {
            assert_eq!(tagged_number(&with_tagged_number(number)), Ok(Some(number)));
        }
        assert_eq!(tagged_number(&TaggedFields::default()), Ok(None));
        let one = |tag, data: &'static [u8]| {
            TaggedFields::from_sorted(vec![TaggedField::new(tag, data.into())]).unwrap()
        };
        assert_eq!(tagged_number(&one(0, &[0; 8])), Ok(None));
        for bytes in [&[][..], &[0; 7], &[0; 9]] {
            let error = NotANumber { bytes: bytes.len() };
            assert_eq!(tagged_number(&one(OWN_TAG, bytes)), Err(error));
        }
    }
}
