//! Who belongs to the cluster: UnregisterBroker, AddRaftVoter, RemoveRaftVoter.
//!
//! **Decides** that a broker that leaves is no observer of the quorum any more; else `meta` decides about brokers, the quorum
//! about its members. A voter's addresses are not looked at: a broker is reached where it has registered to be. Nor is the time that
//! a client allows: who no longer leads says so by itself. An answer always comes after the commit.

use brooklet_meta::decide::broker::{self as decide, NotRegistered};
use brooklet_meta::record::CLUSTER_LEVEL;
use brooklet_meta::{Cluster, Decision};
use brooklet_shard::{Change, ChangeError, Member, Replica};
use brooklet_types::{BrokerId, ErrorCode, Operation};
use brooklet_wire::message::{
    AddRaftVoterRequest, AddRaftVoterResponse, RemoveRaftVoterRequest, RemoveRaftVoterResponse,
    StrBytes, UnregisterBrokerRequest, UnregisterBrokerResponse, Uuid, make,
};

use crate::context::Call;
use crate::translate::members::{self as translate, Refused, VoterChange};

/// Answers UnregisterBroker.
pub(crate) async fn unregister_broker(
    call: &Call,
    request: UnregisterBrokerRequest,
) -> UnregisterBrokerResponse {
    let outcome = unregister(call, BrokerId(request.broker_id)).await;
    make(|it: &mut UnregisterBrokerResponse| {
        // Kafka says no null here.
        (it.error_code, it.error_message) = told(call, outcome, Some(StrBytes::default()));
    })
}

async fn unregister(call: &Call, broker: BrokerId) -> Result<(), Refused> {
    call.may(&call.cluster()).need_cluster(Operation::Alter).map_err(plain)?;
    forget_observer(call, broker).await.map_err(plain)?;
    let decide = move |cluster: &Cluster| match decide::unregister_broker(cluster, broker) {
        Ok(Decision { records, reply }) => Decision { records, reply: Ok(reply) },
        Err(error) => Decision { records: Vec::new(), reply: Err(error) },
    };
    let decided: Result<(), NotRegistered> = call.change(decide).await.map_err(plain)?;
    decided.map_err(|error| (error.code(), error.to_string()))
}

/// A broker that leaves and votes on nothing is told nothing any more. There is no request of Kafka's for that: its observers are
/// whoever has asked of late. One that runs asks to be let in again.
async fn forget_observer(call: &Call, broker: BrokerId) -> Result<(), ErrorCode> {
    let shards = &call.context.shards;
    let quorum = shards.describe_quorum().await.map_err(|_stopping| ErrorCode::NotController)?;
    let observer = |replica: &&Replica| replica.member.broker == broker && !replica.voter;
    for replica in quorum.replicas.iter().filter(observer) {
        let changed = shards.change_members(Change::Remove(replica.member)).await;
        match changed.map_err(|_stopping| ErrorCode::NotController)?? {
            Ok(()) | Err(ChangeError::Unknown { .. }) => {}
            Err(ChangeError::Propose(_)) => return Err(ErrorCode::NotController),
            // They pass, and the client asks again.
            Err(
                ChangeError::UnderWay
                | ChangeError::BrokerTaken { .. }
                | ChangeError::Already { .. }
                | ChangeError::TooMany { .. }
                | ChangeError::LastVoter { .. }
                | ChangeError::Leads { .. }
                | ChangeError::Behind { .. },
            ) => return Err(ErrorCode::RequestTimedOut),
        }
    }
    Ok(())
}

/// Answers AddRaftVoter.
pub(crate) async fn add_voter(call: &Call, request: AddRaftVoterRequest) -> AddRaftVoterResponse {
    let named = (request.cluster_id.as_deref(), request.voter_id, request.voter_directory_id);
    let outcome = change_voter(call, VoterChange::Add, named).await;
    make(|it: &mut AddRaftVoterResponse| {
        (it.error_code, it.error_message) = told(call, outcome, None);
    })
}

/// Answers RemoveRaftVoter.
pub(crate) async fn remove_voter(
    call: &Call,
    request: RemoveRaftVoterRequest,
) -> RemoveRaftVoterResponse {
    let named = (request.cluster_id.as_deref(), request.voter_id, request.voter_directory_id);
    let outcome = change_voter(call, VoterChange::Remove, named).await;
    make(|it: &mut RemoveRaftVoterResponse| {
        (it.error_code, it.error_message) = told(call, outcome, None);
    })
}

async fn change_voter(
    call: &Call,
    change: VoterChange,
    (cluster_id, broker, directory): (Option<&str>, i32, Uuid),
) -> Result<(), Refused> {
    call.may(&call.cluster()).need_cluster(Operation::Alter).map_err(plain)?;
    let own = call.context.cluster_id.as_str();
    let member = translate::voter(change, (cluster_id, own), broker, directory)?;
    let shards = &call.context.shards;
    let stopping = |_| plain(ErrorCode::NotController);
    let quorum = shards.describe_quorum().await.map_err(stopping)?;
    let leads = quorum.leader == Some(call.context.node);
    // An observer does not vote, so as a voter it is not there.
    let is_voter = |member: Member| translate::voters(&quorum).any(|it| it == member);
    let wanted = match change {
        VoterChange::Remove if leads && !is_voter(member) => {
            return Err(translate::is_none(member, &quorum));
        }
        VoterChange::Remove => Change::Remove(member),
        VoterChange::Add => Change::AddVoter(member),
    };
    let changed = shards.change_members(wanted).await.map_err(stopping)?.map_err(plain)?;
    let alone = call.cluster().level() < CLUSTER_LEVEL;
    changed.map_err(|error| translate::refused((change, member), error, &quorum, alone))
}

fn plain(code: ErrorCode) -> Refused {
    (code, code.message().to_owned())
}

/// The code and the text of an outcome; of one without an error, `nothing`.
fn told(
    call: &Call,
    outcome: Result<(), Refused>,
    nothing: Option<StrBytes>,
) -> (i16, Option<StrBytes>) {
    match outcome {
        Ok(()) => (ErrorCode::None.to_wire(), nothing),
        Err((code, message)) => (call.code(code), Some(StrBytes::from(message))),
    }
}
