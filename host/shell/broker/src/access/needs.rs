//! Which operation on which resource each request needs: Kafka's table ("Protocols and ACLs" of its security
//! documentation), and nothing else in this file.
//!
//! **Decides** nothing. A handler asks for what stands here, and for nothing that does not: tests fail otherwise
//! (`May` asserts it). That a request needs nothing has to be written down, too.

use brooklet_types::{Operation, ResourceType};
use brooklet_wire::version::Api;

/// One row: what has to be allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need {
    /// What is done.
    pub operation: Operation,
    /// To a resource of this kind.
    pub resource: ResourceType,
    /// What becomes of a client that may not.
    pub otherwise: Otherwise,
}

/// What becomes of a client that may not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Otherwise {
    /// It is told so, by the authorization error of the resource's kind.
    Refused,
    /// What it may not see is left out.
    LeftOut,
    /// Another row of the request has to allow it.
    Other,
}

macro_rules! rows {
    ($($operation:ident $resource:ident $otherwise:ident),+ $(,)?) => {
        &[$(Need {
            operation: Operation::$operation,
            resource: ResourceType::$resource,
            otherwise: Otherwise::$otherwise,
        }),+]
    };
}

/// The rows of a request.
#[rustfmt::skip] // A table is read by columns.
pub fn needs(api: Api) -> &'static [Need] {
    match api {
        Api::Produce => rows![Write Topic Refused],
        // Only brokers say that they are followers.
        Api::Fetch => rows![Read Topic Refused, ClusterAction Cluster Refused],
        Api::ListOffsets => rows![Describe Topic Refused],
        // A topic that is asked for by name is refused, in a list of all it is left out. Creating one by asking for it
        // takes CREATE of the cluster, or else of the topic.
        Api::Metadata => rows![
            Describe Topic Refused, Create Cluster Other, Create Topic Refused,
            Describe Cluster LeftOut,
        ],
        Api::OffsetCommit => rows![Read Group Refused, Read Topic Refused],
        Api::OffsetFetch => rows![Describe Group Refused, Describe Topic Refused],
        Api::FindCoordinator => rows![Describe Group Refused, Describe TransactionalId Refused],
        Api::JoinGroup | Api::Heartbeat | Api::LeaveGroup | Api::SyncGroup => rows![Read Group Refused],
        Api::DescribeGroups => rows![Describe Group Refused],
        Api::ListGroups => rows![Describe Cluster Other, Describe Group LeftOut],
        // Who asks these need not be known.
        Api::SaslHandshake | Api::ApiVersions | Api::SaslAuthenticate => &[],
        // What a new topic's settings are is told to who may know it.
        Api::CreateTopics => rows![
            Create Cluster Other, Create Topic Refused, DescribeConfigs Topic LeftOut,
        ],
        Api::DeleteTopics => rows![Delete Topic Refused, Describe Topic LeftOut],
        Api::DeleteRecords => rows![Delete Topic Refused],
        // Who may write to any topic may do so idempotently (KIP-679).
        Api::InitProducerId => rows![
            Write TransactionalId Refused, IdempotentWrite Cluster Refused, Write Topic Other,
        ],
        Api::OffsetForLeaderEpoch => rows![ClusterAction Cluster Other, Describe Topic Refused],
        Api::DescribeConfigs => rows![DescribeConfigs Topic Refused, DescribeConfigs Cluster Refused],
        Api::AlterConfigs | Api::IncrementalAlterConfigs => {
            rows![AlterConfigs Topic Refused, AlterConfigs Cluster Refused]
        }
        Api::DescribeLogDirs => rows![Describe Cluster Refused],
        Api::CreatePartitions => rows![Alter Topic Refused],
        Api::DeleteGroups => rows![Delete Group Refused],
        Api::OffsetDelete => rows![Delete Group Refused, Read Topic Refused],
        Api::DescribeUserScramCredentials => rows![Describe Cluster Refused],
        Api::AlterUserScramCredentials => rows![Alter Cluster Refused],
        Api::DescribeAcls => rows![Describe Cluster Refused],
        Api::CreateAcls | Api::DeleteAcls => rows![Alter Cluster Refused],
        Api::DescribeClientQuotas => rows![DescribeConfigs Cluster Refused],
        Api::AlterClientQuotas => rows![AlterConfigs Cluster Refused],
        Api::AlterReplicaLogDirs
        | Api::ElectLeaders
        | Api::AlterPartitionReassignments
        | Api::UpdateFeatures
        | Api::UnregisterBroker
        | Api::AddRaftVoter
        | Api::RemoveRaftVoter => rows![Alter Cluster Refused],
        Api::ListPartitionReassignments => rows![Describe Cluster Refused],
        Api::DescribeQuorum => rows![Describe Cluster Refused],
        // Who may not is told the rest.
        Api::DescribeCluster => rows![Describe Cluster LeftOut],
        Api::DescribeProducers => rows![Read Topic Refused],
        Api::DescribeTopicPartitions => rows![Describe Topic Refused],
        // Who asks these is known to be a broker of the cluster, and has no rules: Kafka's CLUSTER_ACTION.
        Api::AlterPartition
        | Api::Envelope
        | Api::BrokerRegistration
        | Api::BrokerHeartbeat
        | Api::AllocateProducerIds
        | Api::QuorumMessage
        | Api::JoinQuorum => &[],
    }
}

/// Whether a request of that kind asks for this.
pub(super) fn lists(api: Api, operation: Operation, resource: ResourceType) -> bool {
    needs(api).iter().any(|need| need.operation == operation && need.resource == resource)
}
