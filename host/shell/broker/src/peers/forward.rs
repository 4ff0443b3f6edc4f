//! What only the controller answers, brought there for a client of this broker (KIP-590).
//!
//! **What it decides.** Which requests are brought elsewhere, and how long a client waits for a controller to be found. When none
//! is, this broker answers itself, that it is not the controller: clients ask again.
//!
//! **Invariant.** A request whose answer was lost is not sent again: it may have been carried out.

use std::ops::Range;
use std::time::Duration;

use brooklet_meta::decide::topic::NewTopic;
use brooklet_types::ErrorCode;
use brooklet_wire::message::{CreateTopicsRequest, create_topics_request, encode_request, make};
use brooklet_wire::version::Api;
use bytes::{BufMut, Bytes, BytesMut};
use tokio::time::{Instant, timeout_at};

use super::controller::AskError;
use super::ways::Lane;
use super::{Peers, Whereabouts};
use crate::access;
use crate::connection::Answer;
use crate::context::{Call, Context};
use crate::translate::peer::envelope::{self, Forwarded};
use crate::translate::peer::{NoAnswer, producer_ids};

/// How long a client waits for a controller to be found, and for what it says.
const FOUND_WITHIN: Duration = Duration::from_secs(5);
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
/// How long this broker may take to know what the controller has decided.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);
/// Before a controller that has just become one is asked again.
const AGAIN: Duration = Duration::from_millis(50);

/// Whether only the controller answers it.
fn is_the_controllers(api: Api) -> bool {
    match api {
        Api::CreateTopics
        | Api::DeleteTopics
        | Api::CreatePartitions
        | Api::CreateAcls
        | Api::DeleteAcls
        | Api::AlterConfigs
        | Api::IncrementalAlterConfigs
        | Api::AlterClientQuotas
        | Api::AlterUserScramCredentials
        | Api::DescribeQuorum
        | Api::ElectLeaders
        | Api::AlterPartitionReassignments
        | Api::ListPartitionReassignments
        | Api::UpdateFeatures
        | Api::UnregisterBroker
        | Api::AddRaftVoter
        | Api::RemoveRaftVoter => true,
        Api::Produce
        | Api::Fetch
        | Api::ListOffsets
        | Api::Metadata
        | Api::OffsetCommit
        | Api::OffsetFetch
        | Api::FindCoordinator
        | Api::JoinGroup
        | Api::Heartbeat
        | Api::LeaveGroup
        | Api::SyncGroup
        | Api::DescribeGroups
        | Api::ListGroups
        | Api::SaslHandshake
        | Api::ApiVersions
        | Api::DeleteRecords
        | Api::InitProducerId
        | Api::OffsetForLeaderEpoch
        | Api::DescribeAcls
        | Api::DescribeConfigs
        | Api::AlterReplicaLogDirs
        | Api::DescribeLogDirs
        | Api::SaslAuthenticate
        | Api::DeleteGroups
        | Api::OffsetDelete
        | Api::DescribeClientQuotas
        | Api::DescribeUserScramCredentials
        | Api::DescribeCluster
        | Api::DescribeProducers
        | Api::DescribeTopicPartitions
        | Api::AlterPartition
        | Api::Envelope
        | Api::BrokerRegistration
        | Api::BrokerHeartbeat
        | Api::AllocateProducerIds
        | Api::QuorumMessage
        | Api::JoinQuorum => false,
    }
}

/// The controller's answer to a client's request, `frame` without its length; none where this broker is to answer.
pub(crate) async fn to_controller(call: &Call, frame: Bytes) -> Option<Answer> {
    let peers = call.context.peers.as_ref()?;
    // What a broker brings was brought once.
    if !is_the_controllers(call.api) || call.peer.broker.is_some() {
        return None;
    }
    let forwarded = Forwarded {
        request: frame,
        principal: call.peer.principal().as_str().to_owned(),
        host: call.peer.remote.ip().to_canonical(),
    };
    let response = bring(&call.context, peers, &forwarded).await?;
    let mut whole = BytesMut::with_capacity(4 + response.len());
    whole.put_i32(i32::try_from(response.len()).expect("frames are limited"));
    whole.extend_from_slice(&response);
    Some(Answer::Reply(vec![whole.freeze()]))
}

/// What the controller answers, once this broker knows of it too; nothing where this broker is the controller or none is found.
async fn bring(context: &Context, peers: &Peers, forwarded: &Forwarded) -> Option<Bytes> {
    let request = envelope::ask(forwarded);
    let found_by = Instant::now() + FOUND_WITHIN;
    loop {
        match peers.whereabouts() {
            Whereabouts::Here => return None,
            Whereabouts::There(_) => {}
            Whereabouts::Nowhere => {
                let mut quorum = peers.quorum.clone();
                let found = quorum.wait_for(|standing| standing.leader.is_some());
                timeout_at(found_by, found).await.ok()?.ok()?;
                tokio::time::sleep(AGAIN).await;
                if Instant::now() >= found_by {
                    return None;
                }
                continue;
            }
        }
        let answered = peers.ask(Lane::Forward, &request, ANSWERED_WITHIN).await;
        match answered.map(|response| envelope::answered(&response)) {
            Ok(Ok(returned)) => {
                if let Some(version) = returned.version {
                    context.shards.followed(version, FOLLOWED_WITHIN).await;
                    context.follow_plugins().await;
                }
                return Some(returned.response);
            }
            Ok(Err(NoAnswer::Malformed(error))) => {
                tracing::warn!(%error, "answer of the controller");
                return None;
            }
            Err(AskError::NoAnswer(reason)) => {
                tracing::debug!(reason, "answer of the controller lost");
                return None;
            }
            Ok(Err(NoAnswer::Refused(_))) | Err(AskError::NoController | AskError::NotAsked(_)) => {
                if Instant::now() >= found_by {
                    return None;
                }
                tokio::time::sleep(AGAIN).await;
            }
        }
    }
}

/// Has the controller create topics by our own wish, where that is another broker. Says whether it was asked.
pub(crate) async fn create_topics(context: &Context, topics: &[NewTopic]) -> bool {
    const VERSION: i16 = 7;
    let Some(peers) = &context.peers else { return false };
    if peers.whereabouts() == Whereabouts::Here {
        return false;
    }
    let request = make(|it: &mut CreateTopicsRequest| {
        it.timeout_ms = i32::try_from(ANSWERED_WITHIN.as_millis()).expect("seconds");
        it.topics = topics.iter().map(wanted).collect();
    });
    let Ok(frame) = encode_request(0, VERSION, Some("broker"), &request) else { return false };
    let forwarded = Forwarded {
        // Without its length.
        request: frame.slice(4..),
        principal: access::OWN.to_owned(),
        host: std::net::Ipv4Addr::LOCALHOST.into(),
    };
    bring(context, peers, &forwarded).await.is_some()
}

fn wanted(topic: &NewTopic) -> create_topics_request::CreatableTopic {
    make(|it: &mut create_topics_request::CreatableTopic| {
        it.name = topic.name.as_str().into();
        it.num_partitions = topic.partitions;
        it.replication_factor = topic.replication_factor;
        it.configs = topic
            .settings
            .iter()
            .map(|(name, value)| {
                make(|it: &mut create_topics_request::CreatableTopicConfig| {
                    it.name = name.as_str().into();
                    it.value = value.as_deref().map(Into::into);
                })
            })
            .collect();
    })
}

/// A block of producer ids from the controller, where that is another broker.
pub(crate) async fn allocate(peers: &Peers) -> Result<Range<u64>, ErrorCode> {
    let epoch = peers.registered_as().ok_or(ErrorCode::CoordinatorNotAvailable)?;
    let request = producer_ids::ask(peers.me, epoch);
    let answered = peers.ask(Lane::Control, &request, FOUND_WITHIN).await;
    let response = answered.map_err(|_| ErrorCode::CoordinatorLoadInProgress)?;
    // Clients ask again.
    producer_ids::answered(&response).map_err(|_| ErrorCode::CoordinatorLoadInProgress)
}
