//! A frame of a client or a broker: the header, then the request of the API and version that it names.

use brooklet_wire::WireError;
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{self, Bytes, KafkaRequest, decode_request, encode_request};
use brooklet_wire::version::Api;

/// A frame, without its length. What is read can be written, and is then read as the same.
pub fn run(frame: &[u8]) {
    let mut body = Bytes::copy_from_slice(frame);
    let Ok(header) = parse_header(&mut body) else { return };
    let Some(api) = Api::from_wire(header.api).filter(|api| api.serves(header.version)) else {
        return;
    };
    // What it says is the client's to know.
    let _ = decode(api, body, header.version);
}

/// Reads the request of an API.
///
/// # Errors
/// If it is none.
pub fn decode(api: Api, body: Bytes, version: i16) -> Result<(), WireError> {
    match api {
        Api::Produce => check::<message::ProduceRequest>(body, version),
        Api::Fetch => check::<message::FetchRequest>(body, version),
        Api::ListOffsets => check::<message::ListOffsetsRequest>(body, version),
        Api::Metadata => check::<message::MetadataRequest>(body, version),
        Api::OffsetCommit => check::<message::OffsetCommitRequest>(body, version),
        Api::OffsetFetch => check::<message::OffsetFetchRequest>(body, version),
        Api::FindCoordinator => check::<message::FindCoordinatorRequest>(body, version),
        Api::JoinGroup => check::<message::JoinGroupRequest>(body, version),
        Api::Heartbeat => check::<message::HeartbeatRequest>(body, version),
        Api::LeaveGroup => check::<message::LeaveGroupRequest>(body, version),
        Api::SyncGroup => check::<message::SyncGroupRequest>(body, version),
        Api::DescribeGroups => check::<message::DescribeGroupsRequest>(body, version),
        Api::ListGroups => check::<message::ListGroupsRequest>(body, version),
        Api::SaslHandshake => check::<message::SaslHandshakeRequest>(body, version),
        Api::ApiVersions => check::<message::ApiVersionsRequest>(body, version),
        Api::CreateTopics => check::<message::CreateTopicsRequest>(body, version),
        Api::DeleteTopics => check::<message::DeleteTopicsRequest>(body, version),
        Api::DeleteRecords => check::<message::DeleteRecordsRequest>(body, version),
        Api::InitProducerId => check::<message::InitProducerIdRequest>(body, version),
        Api::OffsetForLeaderEpoch => check::<message::OffsetForLeaderEpochRequest>(body, version),
        Api::DescribeAcls => check::<message::DescribeAclsRequest>(body, version),
        Api::CreateAcls => check::<message::CreateAclsRequest>(body, version),
        Api::DeleteAcls => check::<message::DeleteAclsRequest>(body, version),
        Api::DescribeConfigs => check::<message::DescribeConfigsRequest>(body, version),
        Api::AlterConfigs => check::<message::AlterConfigsRequest>(body, version),
        Api::DescribeLogDirs => check::<message::DescribeLogDirsRequest>(body, version),
        Api::SaslAuthenticate => check::<message::SaslAuthenticateRequest>(body, version),
        Api::CreatePartitions => check::<message::CreatePartitionsRequest>(body, version),
        Api::DeleteGroups => check::<message::DeleteGroupsRequest>(body, version),
        Api::IncrementalAlterConfigs => {
            check::<message::IncrementalAlterConfigsRequest>(body, version)
        }
        Api::OffsetDelete => check::<message::OffsetDeleteRequest>(body, version),
        Api::DescribeUserScramCredentials => {
            check::<message::DescribeUserScramCredentialsRequest>(body, version)
        }
        Api::AlterUserScramCredentials => {
            check::<message::AlterUserScramCredentialsRequest>(body, version)
        }
        Api::DescribeClientQuotas => check::<message::DescribeClientQuotasRequest>(body, version),
        Api::AlterClientQuotas => check::<message::AlterClientQuotasRequest>(body, version),
        Api::AlterReplicaLogDirs => check::<message::AlterReplicaLogDirsRequest>(body, version),
        Api::ElectLeaders => check::<message::ElectLeadersRequest>(body, version),
        Api::AlterPartitionReassignments => {
            check::<message::AlterPartitionReassignmentsRequest>(body, version)
        }
        Api::ListPartitionReassignments => {
            check::<message::ListPartitionReassignmentsRequest>(body, version)
        }
        Api::UpdateFeatures => check::<message::UpdateFeaturesRequest>(body, version),
        Api::UnregisterBroker => check::<message::UnregisterBrokerRequest>(body, version),
        Api::AddRaftVoter => check::<message::AddRaftVoterRequest>(body, version),
        Api::RemoveRaftVoter => check::<message::RemoveRaftVoterRequest>(body, version),
        Api::DescribeQuorum => check::<message::DescribeQuorumRequest>(body, version),
        Api::DescribeCluster => check::<message::DescribeClusterRequest>(body, version),
        Api::AlterPartition => check::<message::AlterPartitionRequest>(body, version),
        Api::Envelope => check::<message::EnvelopeRequest>(body, version),
        Api::BrokerRegistration => check::<message::BrokerRegistrationRequest>(body, version),
        Api::BrokerHeartbeat => check::<message::BrokerHeartbeatRequest>(body, version),
        Api::AllocateProducerIds => check::<message::AllocateProducerIdsRequest>(body, version),
        Api::QuorumMessage => check::<message::QuorumMessageRequest>(body, version),
        Api::JoinQuorum => check::<message::JoinQuorumRequest>(body, version),
        Api::DescribeProducers => check::<message::DescribeProducersRequest>(body, version),
        Api::DescribeTopicPartitions => {
            check::<message::DescribeTopicPartitionsRequest>(body, version)
        }
    }
}

/// What was read is written, read again and written again: both must be the same bytes. Bytes and not values, for a quota that
/// is no number equals nothing.
fn check<R: KafkaRequest>(body: Bytes, version: i16) -> Result<(), WireError> {
    let request: R = decode_request(body, version)?;
    // Not everything that is taken could have been sent: a null where no null is written.
    let Ok(written) = encode_request(1, version, None, &request) else { return Ok(()) };
    let mut frame = written.slice(size_of::<i32>()..);
    parse_header(&mut frame)?;
    let again: R = decode_request(frame, version)?;
    let once_more = encode_request(1, version, None, &again).expect("what was just read");
    assert_eq!(written, once_more, "version {version}");
    Ok(())
}
