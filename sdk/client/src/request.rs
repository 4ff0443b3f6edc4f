//! Which requests this client makes, and in which versions.
//!
//! The ranges are this client's own, not all the library can encode: each names the versions whose
//! meaning the code above was written for. The highest one a broker serves too is used.

use brooklet_wire::message::{self as wire, KafkaRequest, RequestResponsePair};

/// A request of this client.
pub trait Call: KafkaRequest + RequestResponsePair + Send + Sync + 'static {
    /// Kafka's number of the API.
    const KEY: i16;
    /// Kafka's name of the API.
    const API: &'static str;
    /// The versions this client speaks, both included.
    const VERSIONS: (i16, i16);
}

macro_rules! calls {
    ($($request:ident $key:literal $name:literal $from:literal..=$to:literal;)*) => {
        $(impl Call for wire::$request {
            const KEY: i16 = $key;
            const API: &'static str = $name;
            const VERSIONS: (i16, i16) = ($from, $to);
        })*

        /// All of them: number, name, and versions.
        pub const CALLS: &[(i16, &str, (i16, i16))] = &[$(($key, $name, ($from, $to)),)*];
    };
}

calls! {
    // 13 names topics by id only; a producer that knows names needs no second look-up.
    ProduceRequest 0 "Produce" 3..=12;
    // As for Produce: 13 names topics by id.
    FetchRequest 1 "Fetch" 4..=12;
    ListOffsetsRequest 2 "ListOffsets" 1..=10;
    // From 4 on a look-up can say that it must not create the topic.
    MetadataRequest 3 "Metadata" 4..=12;
    // 10 names topics by id.
    OffsetCommitRequest 8 "OffsetCommit" 2..=9;
    // From 8 on a request names groups, from 10 on topics by id.
    OffsetFetchRequest 9 "OffsetFetch" 8..=9;
    // From 4 on a request names several keys.
    FindCoordinatorRequest 10 "FindCoordinator" 4..=6;
    // From 5 on members may be static.
    JoinGroupRequest 11 "JoinGroup" 5..=9;
    HeartbeatRequest 12 "Heartbeat" 3..=4;
    LeaveGroupRequest 13 "LeaveGroup" 3..=5;
    SyncGroupRequest 14 "SyncGroup" 3..=5;
    DescribeGroupsRequest 15 "DescribeGroups" 0..=6;
    ListGroupsRequest 16 "ListGroups" 0..=5;
    // From 1 on tokens come as requests.
    SaslHandshakeRequest 17 "SaslHandshake" 1..=1;
    ApiVersionsRequest 18 "ApiVersions" 0..=3;
    CreateTopicsRequest 19 "CreateTopics" 4..=7;
    DeleteTopicsRequest 20 "DeleteTopics" 1..=6;
    DeleteRecordsRequest 21 "DeleteRecords" 0..=2;
    InitProducerIdRequest 22 "InitProducerId" 0..=5;
    DescribeAclsRequest 29 "DescribeAcls" 1..=3;
    CreateAclsRequest 30 "CreateAcls" 1..=3;
    DeleteAclsRequest 31 "DeleteAcls" 1..=3;
    DescribeConfigsRequest 32 "DescribeConfigs" 1..=4;
    DescribeLogDirsRequest 35 "DescribeLogDirs" 1..=4;
    SaslAuthenticateRequest 36 "SaslAuthenticate" 0..=2;
    CreatePartitionsRequest 37 "CreatePartitions" 0..=3;
    DeleteGroupsRequest 42 "DeleteGroups" 0..=2;
    // From 1 on a request says which kind of election it wants.
    ElectLeadersRequest 43 "ElectLeaders" 1..=2;
    IncrementalAlterConfigsRequest 44 "IncrementalAlterConfigs" 0..=1;
    AlterPartitionReassignmentsRequest 45 "AlterPartitionReassignments" 0..=1;
    ListPartitionReassignmentsRequest 46 "ListPartitionReassignments" 0..=0;
    OffsetDeleteRequest 47 "OffsetDelete" 0..=0;
    DescribeClientQuotasRequest 48 "DescribeClientQuotas" 0..=1;
    AlterClientQuotasRequest 49 "AlterClientQuotas" 0..=1;
    DescribeUserScramCredentialsRequest 50 "DescribeUserScramCredentials" 0..=0;
    AlterUserScramCredentialsRequest 51 "AlterUserScramCredentials" 0..=0;
    // From 2 on an answer names members' folders, which a change of voters needs.
    DescribeQuorumRequest 55 "DescribeQuorum" 0..=2;
    DescribeClusterRequest 60 "DescribeCluster" 0..=2;
    UnregisterBrokerRequest 64 "UnregisterBroker" 0..=0;
    AddRaftVoterRequest 80 "AddRaftVoter" 0..=0;
    RemoveRaftVoterRequest 81 "RemoveRaftVoter" 0..=0;
    // What follows brokers ask each other, in the one version that each has.
    FollowerFetchRequest 1 "Fetch" 18..=18;
    AlterPartitionRequest 56 "AlterPartition" 3..=3;
    EnvelopeRequest 58 "Envelope" 0..=0;
    BrokerRegistrationRequest 62 "BrokerRegistration" 4..=4;
    BrokerHeartbeatRequest 63 "BrokerHeartbeat" 2..=2;
    AllocateProducerIdsRequest 67 "AllocateProducerIds" 0..=0;
    QuorumMessageRequest 10_000 "QuorumMessage" 0..=0;
    JoinQuorumRequest 10_001 "JoinQuorum" 0..=0;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check<R: Call>() {
        assert_eq!(R::API_KEY.value(), R::KEY, "{}", R::API);
        assert!(R::SUPPORTED_VERSIONS.min().value() <= R::VERSIONS.0, "{}", R::API);
        assert!(R::SUPPORTED_VERSIONS.max().value() >= R::VERSIONS.1, "{}", R::API);
    }

    #[test]
    fn the_table_agrees_with_the_codec() {
        check::<wire::ProduceRequest>();
        check::<wire::FetchRequest>();
        check::<wire::ListOffsetsRequest>();
        check::<wire::MetadataRequest>();
        check::<wire::OffsetCommitRequest>();
        check::<wire::OffsetFetchRequest>();
        check::<wire::FindCoordinatorRequest>();
        check::<wire::JoinGroupRequest>();
        check::<wire::HeartbeatRequest>();
        check::<wire::LeaveGroupRequest>();
        check::<wire::SyncGroupRequest>();
        check::<wire::DescribeGroupsRequest>();
        check::<wire::ListGroupsRequest>();
        check::<wire::ApiVersionsRequest>();
        check::<wire::CreateTopicsRequest>();
        check::<wire::DeleteTopicsRequest>();
        check::<wire::DeleteRecordsRequest>();
        check::<wire::InitProducerIdRequest>();
        check::<wire::DescribeAclsRequest>();
        check::<wire::CreateAclsRequest>();
        check::<wire::DeleteAclsRequest>();
        check::<wire::DescribeConfigsRequest>();
        check::<wire::CreatePartitionsRequest>();
        check::<wire::DeleteGroupsRequest>();
        check::<wire::IncrementalAlterConfigsRequest>();
        check::<wire::OffsetDeleteRequest>();
        check::<wire::SaslHandshakeRequest>();
        check::<wire::SaslAuthenticateRequest>();
        check::<wire::DescribeClientQuotasRequest>();
        check::<wire::AlterClientQuotasRequest>();
        check::<wire::DescribeUserScramCredentialsRequest>();
        check::<wire::AlterUserScramCredentialsRequest>();
        check::<wire::DescribeClusterRequest>();
        check::<wire::DescribeLogDirsRequest>();
        check::<wire::ElectLeadersRequest>();
        check::<wire::AlterPartitionReassignmentsRequest>();
        check::<wire::ListPartitionReassignmentsRequest>();
        check::<wire::DescribeQuorumRequest>();
        check::<wire::UnregisterBrokerRequest>();
        check::<wire::AddRaftVoterRequest>();
        check::<wire::RemoveRaftVoterRequest>();
        check::<wire::FollowerFetchRequest>();
        check::<wire::AlterPartitionRequest>();
        check::<wire::EnvelopeRequest>();
        check::<wire::BrokerRegistrationRequest>();
        check::<wire::BrokerHeartbeatRequest>();
        check::<wire::AllocateProducerIdsRequest>();
        check::<wire::QuorumMessageRequest>();
        check::<wire::JoinQuorumRequest>();
    }
}
