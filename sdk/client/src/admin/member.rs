//! Who belongs to a cluster: the metadata's quorum and its voters, and brokers that leave for good.
//!
//! Any broker takes these requests and brings them to the controller, so they go to whoever is reached: the broker that
//! took administrative requests a moment ago may be the one that is to leave.

use brooklet_types::{BrokerId, TopicName};
use brooklet_wire::message::{
    AddRaftVoterRequest, DescribeQuorumRequest, RemoveRaftVoterRequest, StrBytes,
    UnregisterBrokerRequest, Uuid, add_raft_voter_request::Listener,
    describe_quorum_request as ask, describe_quorum_response::ReplicaState, make,
};

use super::{Admin, check, incomplete, timeout_ms};
use crate::error::ApiError;

/// What the listeners of a voter are called where their name matters to nobody.
const LISTENER: &str = "BROKER";

/// The brokers that keep the cluster's metadata.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quorum {
    /// Who leads it.
    pub leader: Option<BrokerId>,
    /// The leader's term.
    pub epoch: i32,
    /// How far its log is decided for good, as an offset.
    pub high_watermark: i64,
    /// Who votes.
    pub voters: Vec<QuorumMember>,
    /// Who is told everything and asked nothing.
    pub observers: Vec<QuorumMember>,
}

/// One of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QuorumMember {
    /// Its number.
    pub broker: BrokerId,
    /// The id of its folder; zeros from brokers before Kafka 4.0.
    pub directory: [u8; 16],
    /// The offset behind the last entry that it is known to have, -1 where none is.
    pub log_end: i64,
}

impl Quorum {
    /// The offset behind the leader's last entry.
    pub fn log_end(&self) -> i64 {
        let leader = self.voters.iter().find(|voter| Some(voter.broker) == self.leader);
        leader.map_or(self.high_watermark, |leader| leader.log_end)
    }
}

impl Admin {
    /// Asks who keeps the cluster's metadata, and how far each is.
    ///
    /// # Errors
    /// If it is refused, or nobody leads the quorum for so long.
    pub async fn describe_quorum(&self) -> Result<Quorum, ApiError> {
        let request = make(|request: &mut DescribeQuorumRequest| {
            request.topics = vec![make(|topic: &mut ask::TopicData| {
                topic.topic_name = TopicName::CLUSTER_METADATA.into();
                topic.partitions = vec![ask::PartitionData::default()];
            })];
        });
        self.client.retry(|| self.describe_quorum_once(&request)).await
    }

    async fn describe_quorum_once(
        &self,
        request: &DescribeQuorumRequest,
    ) -> Result<Quorum, ApiError> {
        let subject = "the metadata quorum";
        let connection = self.client.any().await?;
        let response = connection.call(request).await?;
        let message = &response.error_message;
        check::<DescribeQuorumRequest>(&connection, subject, response.error_code, message)?;
        let partition = response.topics.iter().flat_map(|topic| &topic.partitions).next();
        let partition =
            partition.ok_or_else(|| incomplete::<DescribeQuorumRequest>(&connection, subject))?;
        let (code, message) = (partition.error_code, &partition.error_message);
        check::<DescribeQuorumRequest>(&connection, subject, code, message)?;
        let members = |states: &[ReplicaState]| states.iter().map(member).collect();
        Ok(Quorum {
            leader: Some(BrokerId(partition.leader_id)).filter(|leader| leader.0 >= 0),
            epoch: partition.leader_epoch,
            high_watermark: partition.high_watermark,
            voters: members(&partition.current_voters),
            observers: members(&partition.observers),
        })
    }

    /// Lets an observer vote that is reached at `host` and `port`.
    ///
    /// # Errors
    /// If it votes already, is not known, or is too far behind.
    pub async fn add_voter(
        &self,
        broker: BrokerId,
        directory: [u8; 16],
        (host, port): (&str, u16),
    ) -> Result<(), ApiError> {
        let request = make(|request: &mut AddRaftVoterRequest| {
            request.cluster_id = None;
            request.timeout_ms = timeout_ms(&self.client);
            request.voter_id = broker.0;
            request.voter_directory_id = Uuid::from_bytes(directory);
            request.listeners = vec![make(|listener: &mut Listener| {
                listener.name = LISTENER.into();
                (listener.host, listener.port) = (StrBytes::from(host), port);
            })];
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let (code, message) = (response.error_code, &response.error_message);
            check::<AddRaftVoterRequest>(&connection, format!("broker {broker}"), code, message)
        };
        self.client.retry(once).await
    }

    /// Has a voter vote no more. One that runs asks to be let in again as an observer.
    ///
    /// # Errors
    /// If it does not vote, or leads the quorum.
    pub async fn remove_voter(
        &self,
        broker: BrokerId,
        directory: [u8; 16],
    ) -> Result<(), ApiError> {
        let request = make(|request: &mut RemoveRaftVoterRequest| {
            request.cluster_id = None;
            request.voter_id = broker.0;
            request.voter_directory_id = Uuid::from_bytes(directory);
        });
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let (code, message) = (response.error_code, &response.error_message);
            check::<RemoveRaftVoterRequest>(&connection, format!("broker {broker}"), code, message)
        };
        self.client.retry(once).await
    }

    /// Takes a broker out of the cluster, and with it whatever was acknowledged on it alone. One that runs registers again.
    ///
    /// # Errors
    /// If it does not belong to the cluster.
    pub async fn unregister_broker(&self, broker: BrokerId) -> Result<(), ApiError> {
        let request = make(|request: &mut UnregisterBrokerRequest| request.broker_id = broker.0);
        let once = || async {
            let connection = self.client.any().await?;
            let response = connection.call(&request).await?;
            let (code, message) = (response.error_code, &response.error_message);
            check::<UnregisterBrokerRequest>(&connection, format!("broker {broker}"), code, message)
        };
        self.client.retry(once).await
    }
}

fn member(state: &ReplicaState) -> QuorumMember {
    QuorumMember {
        broker: BrokerId(state.replica_id),
        directory: state.replica_directory_id.to_bytes(),
        log_end: state.log_end_offset,
    }
}
