//! Everything an operator asks of a cluster: topics, settings, groups, users, rules, quotas, brokers.
//!
//! One request each, tried again while that helps. Nothing is remembered between calls.

mod acl;
mod group;
mod member;
mod place;
mod quota;
mod setting;
mod topic;
mod user;

use brooklet_types::BrokerId;
use brooklet_wire::message::describe_cluster_response::DescribeClusterBroker;
use brooklet_wire::message::{DescribeClusterRequest, StrBytes, make};

pub use acl::{AclFilter, NamePattern};
pub use group::{CommittedOffset, GroupDescription, GroupListing, GroupMember};
pub(crate) use group::{commit_topics, committed};
pub use member::{Quorum, QuorumMember};
pub use place::{Election, Outcome, Reassignment};
pub use quota::{ClientQuota, QuotaFilter};
pub use setting::{Change, Resource, Setting, SettingSource};
pub use topic::NewTopic;
pub use user::{NewPassword, User};

use crate::client::Client;
use crate::config::Address;
use crate::connection::Connection;
use crate::error::{ApiError, Code};
use crate::metadata::BrokerAddress;
use crate::request::Call;

/// The administrative side of a [`Client`].
#[derive(Clone)]
pub struct Admin {
    client: Client,
}

/// Who makes up the cluster.
#[derive(Clone, Debug)]
pub struct ClusterDescription {
    /// Its id.
    pub cluster_id: String,
    /// Who takes administrative requests, if anybody.
    pub controller: Option<BrokerId>,
    /// Every broker that takes part.
    pub brokers: Vec<BrokerAddress>,
    /// Those that belong to it and take no part: they have stopped, or are not heard of. None from brokers before Kafka 4.0.
    pub fenced: Vec<BrokerAddress>,
}

impl Admin {
    /// Speaks through `client`.
    pub fn new(client: Client) -> Admin {
        Admin { client }
    }

    /// The client it speaks through.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// Asks who makes up the cluster.
    pub async fn describe_cluster(&self) -> Result<ClusterDescription, ApiError> {
        self.client.retry(|| self.describe_cluster_once()).await
    }

    async fn describe_cluster_once(&self) -> Result<ClusterDescription, ApiError> {
        let connection = self.client.any().await?;
        let tells_fenced = connection.version::<DescribeClusterRequest>()? >= 2;
        let request = make(|request: &mut DescribeClusterRequest| {
            request.include_fenced_brokers = tells_fenced;
        });
        let response = connection.call(&request).await?;
        let message = &response.error_message;
        check::<DescribeClusterRequest>(&connection, "cluster", response.error_code, message)?;
        let broker = |wire: &DescribeClusterBroker| {
            let port = u16::try_from(wire.port).ok()?;
            Some(BrokerAddress {
                id: BrokerId(wire.broker_id),
                address: Address::new(connection.transport(), wire.host.to_string(), port),
                rack: wire.rack.as_ref().map(ToString::to_string),
            })
        };
        let (fenced, active): (Vec<_>, Vec<_>) =
            response.brokers.iter().partition(|broker| broker.is_fenced);
        Ok(ClusterDescription {
            cluster_id: response.cluster_id.to_string(),
            controller: Some(BrokerId(response.controller_id)).filter(|id| id.0 >= 0),
            brokers: active.into_iter().filter_map(broker).collect(),
            fenced: fenced.into_iter().filter_map(broker).collect(),
        })
    }
}

/// Turns a code in an answer into an error that says whose it is.
fn check<R: Call>(
    connection: &Connection,
    subject: impl Into<String>,
    code: i16,
    message: &Option<StrBytes>,
) -> Result<(), ApiError> {
    Code(code).check().map_err(|code| ApiError::Refused {
        peer: connection.peer().clone(),
        api: R::API,
        subject: subject.into(),
        code,
        message: message.as_ref().map(ToString::to_string).filter(|text| !text.is_empty()),
    })
}

/// The error for an answer that leaves out what was asked for.
fn incomplete<R: Call>(connection: &Connection, subject: impl Into<String>) -> ApiError {
    let peer = connection.peer().clone();
    ApiError::Incomplete { peer, api: R::API, subject: subject.into() }
}

/// A request's own time limit, for the broker: what we wait for an answer.
fn timeout_ms(client: &Client) -> i32 {
    i32::try_from(client.config().request_timeout.as_millis()).unwrap_or(i32::MAX)
}
