//! One attempt to join a group: JoinGroup, as its leader the assignment, SyncGroup.
//!
//! A task of its own, because the broker holds both requests back until everybody is there, and a
//! cooperative member reads on meanwhile. It changes nothing; it reports.

use std::collections::{BTreeMap, BTreeSet};

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    JoinGroupRequest, JoinGroupResponse, SyncGroupRequest,
    join_group_request::JoinGroupRequestProtocol, make,
    sync_group_request::SyncGroupRequestAssignment,
};

use super::assignor::Assignor;
use super::membership::{GroupConfig, Identity};
use super::protocol::{
    decode_assignment, decode_subscription, encode_assignment, encode_subscription,
};
use super::{ConsumeError, check_group};
use crate::client::{Client, Lane};
use crate::connection::Connection;
use crate::error::{ApiError, Code};
use crate::offsets::Partition;

/// What a group's members are.
const PROTOCOL_TYPE: &str = "consumer";

/// Everything an attempt needs.
pub(crate) struct Request {
    pub(crate) client: Client,
    pub(crate) lane: Lane,
    pub(crate) config: GroupConfig,
    pub(crate) topics: Vec<String>,
    pub(crate) identity: Identity,
    /// What the member has, or an eager one had.
    pub(crate) owned: BTreeSet<Partition>,
}

/// What an attempt came to.
pub(crate) enum Outcome {
    /// The broker has named the member, which now has to join by that name.
    Named(String),
    /// It is in.
    Joined(Joined),
    /// It is not.
    Failed(ConsumeError),
}

/// A place in a group.
pub(crate) struct Joined {
    pub(crate) identity: Identity,
    pub(crate) assigned: BTreeSet<Partition>,
    /// As the leader: what was spread. When that changes, the group has to be told.
    pub(crate) led: Option<BTreeMap<String, u32>>,
}

/// Makes the attempt.
pub(crate) async fn run(request: Request) -> Outcome {
    let outcome = async {
        let (connection, joined) = request.join().await?;
        if Code(joined.error_code) == ErrorCode::MemberIdRequired {
            return Ok(Outcome::Named(joined.member_id.to_string()));
        }
        check_group::<JoinGroupRequest>(connection.peer(), &request.config.id, joined.error_code)?;
        request.sync(&connection, &joined).await.map(Outcome::Joined)
    };
    outcome.await.unwrap_or_else(Outcome::Failed)
}

impl Request {
    async fn join(&self) -> Result<(Connection, JoinGroupResponse), ApiError> {
        let connection = self.client.coordinator(&self.config.id, &self.lane).await?;
        let protocol = |assignor: &Assignor| {
            let (owned, generation) = (&self.owned, self.identity.generation);
            make(|wire: &mut JoinGroupRequestProtocol| {
                wire.name = assignor.name().into();
                wire.metadata = encode_subscription(*assignor, &self.topics, owned, generation);
            })
        };
        let request = make(|request: &mut JoinGroupRequest| {
            request.group_id = self.config.id.as_str().into();
            request.session_timeout_ms = millis(self.config.session_timeout);
            request.rebalance_timeout_ms = millis(self.config.rebalance_timeout);
            request.member_id = self.identity.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            request.protocol_type = PROTOCOL_TYPE.into();
            request.protocols = self.config.assignors.iter().map(protocol).collect();
        });
        let within = self.config.rebalance_timeout + self.client.config().request_timeout;
        let response = connection.submit(&request, within).await?.answer().await?;
        Ok((connection, response))
    }

    async fn sync(
        &self,
        connection: &Connection,
        joined: &JoinGroupResponse,
    ) -> Result<Joined, ConsumeError> {
        let protocol = joined.protocol_name.as_deref().unwrap_or_default();
        let (led, assignments) = if *joined.leader == *joined.member_id && !joined.skip_assignment {
            let (counts, assignments) = self.assign(protocol, joined).await?;
            (Some(counts), assignments)
        } else {
            (None, Vec::new())
        };
        let request = make::<SyncGroupRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.generation_id = joined.generation_id;
            request.member_id = joined.member_id.clone();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            request.protocol_type = Some(PROTOCOL_TYPE.into());
            request.protocol_name = Some(protocol.into());
            request.assignments = assignments;
        });
        // The leader may take its time to decide.
        let within = self.config.rebalance_timeout + self.client.config().request_timeout;
        let pending = connection.submit(&request, within).await.map_err(ApiError::from)?;
        let response = pending.answer().await.map_err(ApiError::from)?;
        check_group::<SyncGroupRequest>(connection.peer(), &self.config.id, response.error_code)?;
        let assigned = decode_assignment(response.assignment).map_err(|error| {
            ConsumeError::BadAssignment { group: self.config.id.clone(), reason: error.to_string() }
        })?;
        let identity =
            Identity { member_id: joined.member_id.to_string(), generation: joined.generation_id };
        Ok(Joined { identity, assigned, led })
    }

    /// Spreads partitions over the members, as their leader.
    async fn assign(
        &self,
        protocol: &str,
        joined: &JoinGroupResponse,
    ) -> Result<(BTreeMap<String, u32>, Vec<SyncGroupRequestAssignment>), ConsumeError> {
        let known = self.config.assignors.iter().find(|assignor| assignor.name() == protocol);
        let assignor = known.copied().ok_or_else(|| ConsumeError::BadAssignment {
            group: self.config.id.clone(),
            reason: format!("the group chose {protocol:?}, which we did not offer"),
        })?;
        let members = joined.members.iter().map(|member| {
            let instance_id = member.group_instance_id.as_ref().map(ToString::to_string);
            let id = member.member_id.to_string();
            decode_subscription(assignor, id, instance_id, member.metadata.clone())
        });
        let members: Vec<_> = members.collect();
        let wanted: BTreeSet<&String> = members.iter().flat_map(|member| &member.topics).collect();
        let wanted: Vec<String> = wanted.into_iter().cloned().collect();
        let counts = partition_counts(&self.client, &wanted).await?;
        let wire = |(member, partitions): (String, BTreeSet<Partition>)| {
            make(|wire: &mut SyncGroupRequestAssignment| {
                wire.member_id = member.into();
                wire.assignment = encode_assignment(&partitions);
            })
        };
        let assignment = assignor.assign(members, &counts);
        Ok((counts, assignment.into_iter().map(wire).collect()))
    }
}

/// How many partitions each topic has; 0 where it does not exist.
pub(crate) async fn partition_counts(
    client: &Client,
    topics: &[String],
) -> Result<BTreeMap<String, u32>, ApiError> {
    let metadata = client.metadata(Some(topics)).await?;
    let count = |topic: &String| {
        let partitions = metadata.topics.get(topic).map_or(0, |topic| topic.partitions.len());
        (topic.clone(), u32::try_from(partitions).unwrap_or(u32::MAX))
    };
    Ok(topics.iter().map(count).collect())
}

fn millis(duration: std::time::Duration) -> i32 {
    i32::try_from(duration.as_millis()).unwrap_or(i32::MAX)
}
