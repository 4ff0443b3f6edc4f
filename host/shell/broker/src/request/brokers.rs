//! What other brokers of the cluster ask: to be registered, heard of, to have in-sync sets changed and producer ids given, and
//! what the members of the metadata's quorum tell each other.
//!
//! **Decides** that a broker speaks for itself alone. `meta` and `quorum` decide the rest. The controller's own questions come here
//! as well, without a connection.

use brooklet_meta::decide::alter_partition::alter_partitions;
use brooklet_meta::decide::broker::register_broker;
use brooklet_meta::decide::heartbeat::{HeartbeatReply, heartbeat as decide_heartbeat};
use brooklet_meta::decide::producer_id::allocate_producer_ids;
use brooklet_meta::{Cluster, Decision};
use brooklet_shard::input::Input;
use brooklet_shard::{Change, ChangeError, Member};
use brooklet_types::{BrokerId, ErrorCode};
use brooklet_wire::message::{
    AllocateProducerIdsRequest, AllocateProducerIdsResponse, AlterPartitionRequest,
    AlterPartitionResponse, BrokerHeartbeatRequest, BrokerHeartbeatResponse,
    BrokerRegistrationRequest, BrokerRegistrationResponse, JoinQuorumRequest, JoinQuorumResponse,
    QuorumMessageRequest, QuorumMessageResponse,
};

use crate::context::{Context, Shards};
use crate::translate::peer::{Malformed, alter, heartbeat as translate, join as joining};
use crate::translate::peer::{producer_ids, registration};

/// Answers BrokerRegistration.
pub(crate) async fn register(
    context: &Context,
    from: BrokerId,
    request: &BrokerRegistrationRequest,
) -> BrokerRegistrationResponse {
    let decided = async {
        let asked = registration::asked(request).map_err(|error| malformed(&error))?;
        if asked.cluster_id != context.cluster_id {
            return Err(ErrorCode::InconsistentClusterId);
        }
        let wanted = asked.wanted;
        if wanted.broker != from {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        let peers = context.peers.as_ref().ok_or(ErrorCode::NotController)?;
        let now = context.clock.now();
        let is_live = peers.with_controller(|controller| controller.is_live(now, from));
        let is_live = is_live.ok_or(ErrorCode::NotController)?;
        let decide = move |cluster: &Cluster| match register_broker(cluster, is_live, &wanted) {
            Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
            Err(error) => {
                tracing::debug!(broker = %from, %error, "broker not registered");
                Decision { records: Vec::new(), reply: Err(error.code()) }
            }
        };
        change(&context.shards, decide).await?
    };
    registration::answer(decided.await)
}

/// Answers BrokerHeartbeat.
pub(crate) async fn heartbeat(
    context: &Context,
    from: BrokerId,
    request: &BrokerHeartbeatRequest,
) -> BrokerHeartbeatResponse {
    let decided = async {
        let heard = translate::asked(request).map_err(|error| malformed(&error))?;
        if heard.broker != from {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        let peers = context.peers.as_ref().ok_or(ErrorCode::NotController)?;
        let (now, cluster) = (context.clock.now(), context.shards.cluster());
        let others_know = peers.with_controller(|controller| {
            controller.heard(now, &heard);
            controller.others_know(&cluster, from)
        });
        let others_know = others_know.ok_or(ErrorCode::NotController)?;
        peers.was_heard();
        let decide = move |cluster: &Cluster| -> Decision<Result<HeartbeatReply, ErrorCode>> {
            match decide_heartbeat(cluster, others_know, &heard) {
                Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
                Err(error) => Decision { records: Vec::new(), reply: Err(error.code()) },
            }
        };
        change(&context.shards, decide).await?
    };
    translate::answer(decided.await)
}

/// Answers AlterPartition.
pub(crate) async fn alter(
    shards: &Shards,
    from: BrokerId,
    request: &AlterPartitionRequest,
) -> AlterPartitionResponse {
    let asked = match alter::asked(request) {
        Ok(asked) if asked.broker == from => asked,
        Ok(_) => return alter::answer(&[], Err(ErrorCode::ClusterAuthorizationFailed)),
        Err(error) => return alter::answer(&[], Err(malformed(&error))),
    };
    let (epoch, wanted) = (asked.epoch, asked.wanted.clone());
    let decide = move |cluster: &Cluster| match alter_partitions(cluster, from, epoch, &wanted) {
        Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
        Err(error) => Decision { records: Vec::new(), reply: Err(error.code()) },
    };
    match change(shards, decide).await {
        Ok(Ok(reply)) => alter::answer(&asked.wanted, Ok(&reply)),
        Ok(Err(code)) | Err(code) => alter::answer(&asked.wanted, Err(code)),
    }
}

/// Answers AllocateProducerIds.
pub(crate) async fn allocate(
    context: &Context,
    from: BrokerId,
    request: AllocateProducerIdsRequest,
) -> AllocateProducerIdsResponse {
    let decided = async {
        let asked = producer_ids::asked(&request).map_err(|error| malformed(&error))?;
        let (broker, epoch) = asked;
        if broker != from {
            return Err(ErrorCode::ClusterAuthorizationFailed);
        }
        let decide = move |cluster: &Cluster| match allocate_producer_ids(cluster, broker, epoch) {
            Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
            Err(error) => Decision { records: Vec::new(), reply: Err(error.code()) },
        };
        change(&context.shards, decide).await?
    };
    producer_ids::answer(decided.await)
}

/// Takes a message of the quorum.
pub(crate) async fn message(
    context: &Context,
    from: BrokerId,
    request: QuorumMessageRequest,
) -> QuorumMessageResponse {
    if let Some(peers) = &context.peers {
        if let Some(host) = &request.host {
            peers.heard_of(from, host, request.port);
        }
        // Who stops hears nothing.
        let message = request.message;
        let _ = context.shards.tell(0, Input::FromBroker { from, message }).await;
    }
    QuorumMessageResponse::default()
}

/// Lets a broker into the quorum, as one that is told everything and asked nothing. It votes when the controller sees to that.
pub(crate) async fn join(
    context: &Context,
    from: BrokerId,
    request: &JoinQuorumRequest,
) -> JoinQuorumResponse {
    let (broker, directory) = match joining::asked(request) {
        Ok(asked) => asked,
        Err(error) => {
            return joining::answer(Err((malformed(&error), error.to_string().as_str())));
        }
    };
    if broker != from {
        let code = ErrorCode::ClusterAuthorizationFailed;
        return joining::answer(Err((code, "a broker asks for itself alone")));
    }
    let member = Member { broker, directory };
    let mut joined = change_members(context, Change::AddObserver(member)).await;
    if let Ok(Err(ChangeError::BrokerTaken { other })) = joined {
        // It is registered on its new folder, so the old one is not served by anybody.
        tracing::warn!(%broker, "broker has another folder: the one before leaves the quorum");
        joined = change_members(context, Change::Remove(other)).await;
        if matches!(joined, Ok(Ok(()))) {
            joined = change_members(context, Change::AddObserver(member)).await;
        }
    }
    match joined {
        Ok(Ok(()) | Err(ChangeError::Already { .. })) => joining::answer(Ok(())),
        Ok(Err(error)) => {
            let code = match &error {
                ChangeError::Propose(_) => ErrorCode::NotController,
                ChangeError::UnderWay
                | ChangeError::BrokerTaken { .. }
                | ChangeError::Already { .. }
                | ChangeError::Unknown { .. }
                | ChangeError::TooMany { .. }
                | ChangeError::LastVoter { .. }
                | ChangeError::Leads { .. }
                | ChangeError::Behind { .. } => ErrorCode::InvalidRequest,
            };
            joining::answer(Err((code, error.to_string().as_str())))
        }
        Err(code) => joining::answer(Err((code, code.message()))),
    }
}

async fn change_members(
    context: &Context,
    change: Change,
) -> Result<Result<(), ChangeError>, ErrorCode> {
    let changed = context.shards.change_members(change).await;
    changed.map_err(|_stopping| ErrorCode::NotController)?
}

async fn change<Decided: Send + 'static>(
    shards: &Shards,
    decide: impl FnOnce(&Cluster) -> Decision<Decided> + Send + 'static,
) -> Result<Decided, ErrorCode> {
    shards.change(decide).await.map_err(|_stopping| ErrorCode::NotController)?
}

/// A broker that says what means nothing is broken, or of another release.
fn malformed(error: &Malformed) -> ErrorCode {
    tracing::warn!(%error, "request of another broker");
    error.code()
}
