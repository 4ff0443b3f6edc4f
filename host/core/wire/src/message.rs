//! Kafka's messages under our names and limits.
//!
//! **Decides** what a decoder may believe and how a frame is put together. **Never** interprets a
//! field. Record data of a decoded Produce request is a slice of the frame, never a copy.
//!
//! Bytes behind a complete request body are ignored, as Kafka's `AbstractRequest.parseRequest`
//! ignores them. A length field is believed only as far as bytes back it: strings, byte fields
//! and arrays are each bounded by the body, and the codec grows an array only as its elements
//! decode, so memory stays within a constant factor of the bytes received ([`EXPANSION_MAX`]).

use brooklet_types::limits;
pub use bytes::{Bytes, BytesMut};
pub use kafka_wire::{
    AlterConfigsRequest, AlterConfigsResponse, ApiVersionsRequest, ApiVersionsResponse,
    CreatePartitionsRequest, CreatePartitionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    DeleteGroupsRequest, DeleteGroupsResponse, DeleteRecordsRequest, DeleteRecordsResponse,
    DeleteTopicsRequest, DeleteTopicsResponse, DescribeClusterRequest, DescribeClusterResponse,
    DescribeConfigsRequest, DescribeConfigsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    DescribeLogDirsRequest, DescribeLogDirsResponse, DescribeProducersRequest,
    DescribeProducersResponse, DescribeQuorumRequest, DescribeQuorumResponse,
    DescribeTopicPartitionsRequest, DescribeTopicPartitionsResponse, FetchRequest, FetchResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, HeartbeatRequest, HeartbeatResponse,
    IncrementalAlterConfigsRequest, IncrementalAlterConfigsResponse, InitProducerIdRequest,
    InitProducerIdResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest,
    LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, ListOffsetsRequest,
    ListOffsetsResponse, MetadataRequest, MetadataResponse, OffsetCommitRequest,
    OffsetCommitResponse, OffsetDeleteRequest, OffsetDeleteResponse, OffsetFetchRequest,
    OffsetFetchResponse, OffsetForLeaderEpochRequest, OffsetForLeaderEpochResponse, ProduceRequest,
    ProduceResponse, SyncGroupRequest, SyncGroupResponse,
};
pub use kafka_wire::{
    ConsumerProtocolAssignment, ConsumerProtocolSubscription, KafkaMessage, KafkaRequest,
    KafkaResponse, RequestResponsePair, consumer_protocol_assignment,
    consumer_protocol_subscription, decode_consumer_protocol_assignment,
    decode_consumer_protocol_subscription, encode_consumer_protocol_assignment,
    encode_consumer_protocol_subscription,
};
use kafka_wire::{OutboundFrameLimits, response_header_version};
pub use kafka_wire::{
    alter_configs_request, alter_configs_response, api_versions_request, api_versions_response,
    create_partitions_request, create_partitions_response, create_topics_request,
    create_topics_response, delete_groups_request, delete_groups_response, delete_records_request,
    delete_records_response, delete_topics_request, delete_topics_response,
    describe_cluster_request, describe_cluster_response, describe_configs_request,
    describe_configs_response, describe_groups_request, describe_groups_response,
    describe_log_dirs_request, describe_log_dirs_response, describe_producers_request,
    describe_producers_response, describe_quorum_request, describe_quorum_response,
    describe_topic_partitions_request, describe_topic_partitions_response, fetch_request,
    fetch_response, find_coordinator_request, find_coordinator_response, heartbeat_request,
    heartbeat_response, incremental_alter_configs_request, incremental_alter_configs_response,
    init_producer_id_request, init_producer_id_response, join_group_request, join_group_response,
    leave_group_request, leave_group_response, list_groups_request, list_groups_response,
    list_offsets_request, list_offsets_response, metadata_request, metadata_response,
    offset_commit_request, offset_commit_response, offset_delete_request, offset_delete_response,
    offset_fetch_request, offset_fetch_response, offset_for_leader_epoch_request,
    offset_for_leader_epoch_response, produce_request, produce_response, sync_group_request,
    sync_group_response,
};
// Who is speaking and what they may do.
pub use kafka_wire::{
    AlterClientQuotasRequest, AlterClientQuotasResponse, AlterUserScramCredentialsRequest,
    AlterUserScramCredentialsResponse, CreateAclsRequest, CreateAclsResponse, DeleteAclsRequest,
    DeleteAclsResponse, DescribeAclsRequest, DescribeAclsResponse, DescribeClientQuotasRequest,
    DescribeClientQuotasResponse, DescribeUserScramCredentialsRequest,
    DescribeUserScramCredentialsResponse, SaslAuthenticateRequest, SaslAuthenticateResponse,
    SaslHandshakeRequest, SaslHandshakeResponse,
};
pub use kafka_wire::{
    alter_client_quotas_request, alter_client_quotas_response,
    alter_user_scram_credentials_request, alter_user_scram_credentials_response,
    create_acls_request, create_acls_response, delete_acls_request, delete_acls_response,
    describe_acls_request, describe_acls_response, describe_client_quotas_request,
    describe_client_quotas_response, describe_user_scram_credentials_request,
    describe_user_scram_credentials_response, sasl_authenticate_request,
    sasl_authenticate_response, sasl_handshake_request, sasl_handshake_response,
};
// How a cluster is changed.
pub use kafka_wire::{
    AddRaftVoterRequest, AddRaftVoterResponse, AlterPartitionReassignmentsRequest,
    AlterPartitionReassignmentsResponse, AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse,
    ElectLeadersRequest, ElectLeadersResponse, ListPartitionReassignmentsRequest,
    ListPartitionReassignmentsResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    UnregisterBrokerRequest, UnregisterBrokerResponse, UpdateFeaturesRequest,
    UpdateFeaturesResponse,
};
pub use kafka_wire::{
    add_raft_voter_request, add_raft_voter_response, alter_partition_reassignments_request,
    alter_partition_reassignments_response, alter_replica_log_dirs_request,
    alter_replica_log_dirs_response, elect_leaders_request, elect_leaders_response,
    list_partition_reassignments_request, list_partition_reassignments_response,
    remove_raft_voter_request, remove_raft_voter_response, unregister_broker_request,
    unregister_broker_response, update_features_request, update_features_response,
};
// What brokers say to each other.
pub use kafka_wire::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest,
    AlterPartitionResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, EnvelopeRequest, EnvelopeResponse,
    alter_partition_request, alter_partition_response, broker_registration_request,
};
use kafka_wire_core::Decoder;
pub use kafka_wire_core::{
    ApiVersion, DecodeError, DecodeLimits, EncodeError, StrBytes, TaggedFields, Uuid,
};

use crate::WireError;
pub use crate::peer::{
    FollowerFetchRequest, JoinQuorumRequest, JoinQuorumResponse, NotANumber, OWN_TAG,
    QuorumMessageRequest, QuorumMessageResponse, tagged_number, with_tagged_number,
};
use crate::version::Api;

/// The largest body of a request that carries no records. Elements of its arrays take more room
/// decoded than encoded, up to [`EXPANSION_MAX`] times, so the frame limit that is right for record
/// data is not for these; the largest honest ones, topics being created or described by the
/// thousand, stay below 1 MiB.
pub const PLAIN_REQUEST_BYTES_MAX: usize = 4 << 20;

/// The largest body of JoinGroup, SyncGroup and OffsetCommit, which carry what clients put in them:
/// subscriptions, the assignments of a whole group, the metadata of offsets. No array of small
/// elements lies inside another one of theirs, so [`ARRAY_ELEMENTS_MAX`] bounds the expansion.
pub const GROUP_REQUEST_BYTES_MAX: usize = 16 << 20;

/// The most elements one array may have: more than any honest request (Kafka's own advice ends at
/// 200,000 partitions a cluster).
pub const ARRAY_ELEMENTS_MAX: usize = 200_000;

/// The most topics and partitions a Produce request may have together. Its body may be as large as
/// a frame, and an empty partition of six bytes takes thirty times that.
pub const PRODUCE_ENTRIES_MAX: usize = 200_000;

/// The most memory decoding a request takes, in terms of its body. A test measures it: the worst are
/// elements whose every field is empty, three bytes that become a hundred and more, at the moment
/// their array doubles its room.
pub const EXPANSION_MAX: usize = 128;

/// The most unknown tagged fields one structure may have; today's Kafka has three at most.
pub const TAGGED_FIELDS_MAX: usize = 64;

/// Reads a request's body, which is what `frame::parse_header` left.
pub fn decode_request<R: KafkaRequest>(body: Bytes, version: i16) -> Result<R, WireError> {
    let api = Api::from_wire(R::API_KEY.value());
    let limit = match api {
        // What brokers hand on is one field, which stays a slice of the frame.
        Some(Api::Produce | Api::Envelope | Api::QuorumMessage) => limits::FRAME_BYTES_MAX,
        Some(Api::JoinGroup | Api::SyncGroup | Api::OffsetCommit) => GROUP_REQUEST_BYTES_MAX,
        _ => PLAIN_REQUEST_BYTES_MAX,
    };
    if body.len() > limit {
        return Err(WireError::TooLarge { message: R::NAME, bytes: body.len(), limit });
    }
    let at = ApiVersion::new(version);
    let error = |source| WireError::Decode { message: R::NAME, version, source };
    if api == Some(Api::Produce) {
        let mut decoder = decoder(body.clone())?;
        count_produce_entries(&mut decoder, version, R::is_flexible(at)).map_err(error)?;
    }
    R::decode(&mut decoder(body)?, at).map_err(error)
}

/// Walks a Produce request without keeping anything of it: the codec bounds each array, but not
/// all of them together.
fn count_produce_entries(
    decoder: &mut Decoder,
    version: i16,
    flexible: bool,
) -> Result<(), DecodeError> {
    /// The first version that names topics by id.
    const TOPIC_IDS_FROM: i16 = 13;
    let mut left = PRODUCE_ENTRIES_MAX;
    let array = |decoder: &mut Decoder| match flexible {
        true => decoder.read_compact_array_len(),
        false => decoder.read_array_len(),
    };
    let tags = |decoder: &mut Decoder| match flexible {
        true => decoder.read_tagged_fields().map(drop),
        false => Ok(()),
    };
    match flexible {
        true => decoder.read_compact_nullable_string()?,
        false => decoder.read_nullable_string()?,
    };
    decoder.read_i16()?;
    decoder.read_i32()?;
    for _ in 0..array(decoder)?.get() {
        take_entry(&mut left, decoder)?;
        match (version, flexible) {
            (TOPIC_IDS_FROM.., _) => decoder.read_uuid().map(drop)?,
            (_, true) => decoder.read_compact_string().map(drop)?,
            (_, false) => decoder.read_string().map(drop)?,
        }
        for _ in 0..array(decoder)?.get() {
            take_entry(&mut left, decoder)?;
            decoder.read_i32()?;
            match flexible {
                true => decoder.read_compact_nullable_bytes()?,
                false => decoder.read_nullable_bytes()?,
            };
            tags(decoder)?;
        }
        tags(decoder)?;
    }
    Ok(())
}

fn take_entry(left: &mut usize, decoder: &Decoder) -> Result<(), DecodeError> {
    let limit = PRODUCE_ENTRIES_MAX;
    *left = left.checked_sub(1).ok_or(DecodeError::LimitExceeded {
        kind: "topics and partitions",
        length: limit.saturating_add(1),
        limit,
        offset: decoder.offset(),
    })?;
    Ok(())
}

/// A response as a whole frame: length, header and body.
pub fn encode_response<R: KafkaResponse>(
    correlation: i32,
    version: i16,
    response: &R,
) -> Result<Bytes, WireError> {
    let error = |source| WireError::Encode { message: R::NAME, version, source };
    let at = ApiVersion::new(version);
    let header = response_header(R::API_KEY.value(), version, R::is_flexible(at));
    let body = response.encoded_len(at).map_err(error)?;
    let length = body.saturating_add(header);
    let prefix = i32::try_from(length).map_err(|_| WireError::TooLarge {
        message: R::NAME,
        bytes: length,
        limit: limits::FRAME_BYTES_MAX,
    })?;
    let mut frame = BytesMut::with_capacity(length.saturating_add(4));
    frame.extend_from_slice(&prefix.to_be_bytes());
    frame.extend_from_slice(&correlation.to_be_bytes());
    if header > 4 {
        // An empty section of tagged fields.
        frame.extend_from_slice(&[0]);
    }
    response.encode_into(&mut frame, at).map_err(error)?;
    Ok(frame.freeze())
}

/// A request as a whole frame, for a client.
pub fn encode_request<R: KafkaRequest>(
    correlation: i32,
    version: i16,
    client_id: Option<&str>,
    request: &R,
) -> Result<Bytes, WireError> {
    let mut frame = BytesMut::new();
    let limits = OutboundFrameLimits::new(limits::FRAME_BYTES_MAX);
    let client_id = client_id.map(StrBytes::from);
    let at = ApiVersion::new(version);
    kafka_wire::encode_request(&mut frame, correlation, client_id, request, at, limits)
        .map_err(|source| WireError::Encode { message: R::NAME, version, source })?;
    Ok(frame.freeze())
}

/// Reads a response frame (without its length) and the correlation id it answers, for a client.
/// Bytes behind the body are refused: a client that misreads its broker should say so.
pub fn decode_response<R: KafkaResponse>(
    frame_body: Bytes,
    version: i16,
) -> Result<(i32, R), WireError> {
    let error = |source| WireError::Decode { message: R::NAME, version, source };
    let at = ApiVersion::new(version);
    let mut decoder = decoder(frame_body)?;
    let correlation = decoder.read_i32().map_err(error)?;
    if response_header(R::API_KEY.value(), version, R::is_flexible(at)) > 4 {
        decoder.read_tagged_fields().map_err(error)?;
    }
    let response = R::decode(&mut decoder, at).map_err(error)?;
    decoder.finish().map_err(error)?;
    Ok((correlation, response))
}

/// A message made by filling its defaults: Kafka adds fields, so none can be written out whole.
pub fn make<T: Default>(fill: impl FnOnce(&mut T)) -> T {
    let mut value = T::default();
    fill(&mut value);
    value
}

/// The size of a response header: v1 adds a section of tagged fields, always empty here.
/// ApiVersions has v0 in every version, so that a client can read the answer to a version the
/// broker does not know.
pub(crate) fn response_header(api: i16, version: i16, flexible: bool) -> usize {
    let key = kafka_wire_core::ApiKey::new(api);
    match response_header_version(key, ApiVersion::new(version), flexible) {
        0 => 4,
        _ => 5,
    }
}

/// A decoder that believes no length beyond the bytes it was given.
pub(crate) fn decoder(input: Bytes) -> Result<Decoder, WireError> {
    let bytes = input.len();
    let mut limits = DecodeLimits::default();
    limits.max_frame_bytes = limits::FRAME_BYTES_MAX;
    limits.max_string_bytes = bytes;
    limits.max_bytes_bytes = bytes;
    limits.max_array_elements = bytes.min(ARRAY_ELEMENTS_MAX);
    limits.max_tagged_fields = TAGGED_FIELDS_MAX;
    limits.max_tag_bytes = bytes;
    limits.max_total_tag_bytes = bytes;
    Decoder::new(input, limits).map_err(|source| WireError::Frame { source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_no_bytes_back_is_refused() {
        let body = Bytes::from_static(&[0xff, 0xff, 0xff, 0xff, 0x0f]);
        assert!(decode_request::<MetadataRequest>(body, 13).is_err());
    }

    #[test]
    fn an_answer_to_an_unknown_api_versions_request_has_the_oldest_header() {
        let response = ApiVersionsResponse::default();
        assert_eq!(encode_response(7, 0, &response).unwrap().len(), 4 + 4 + 2 + 4);
        let newest = encode_response(7, 4, &response).unwrap();
        let read = decode_response::<ApiVersionsResponse>(newest.slice(4..), 4).unwrap();
        assert_eq!(read, (7, response));
    }
}
