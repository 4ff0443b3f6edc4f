//! ElectLeaders: leaders by an administrator's wish.
//!
//! **Decides** nothing: `meta` says who may lead. The time that a client allows is not looked at, as with topics.

use brooklet_meta::Cluster;
use brooklet_meta::decide::election::{TopicElections, elect_leaders};
use brooklet_types::{ErrorCode, Operation};
use brooklet_wire::message::{ElectLeadersRequest, ElectLeadersResponse};

use crate::context::Call;
use crate::translate::elections as translate;

/// The first version with an error for the whole request; none before can be written with one.
const ERROR_SINCE: i16 = 1;

/// Answers ElectLeaders.
pub(crate) async fn elect(call: &Call, request: ElectLeadersRequest) -> ElectLeadersResponse {
    let mut response = match elect_permitted(call, &request).await {
        Ok(topics) => translate::elected(&topics),
        Err((code, message)) => {
            call.context.metrics.refused(call.api, code);
            translate::refused(&request, code, &message)
        }
    };
    if call.version < ERROR_SINCE {
        response.error_code = ErrorCode::None.to_wire();
    }
    response
}

/// What became of every partition, or the error of all with its text.
async fn elect_permitted(
    call: &Call,
    request: &ElectLeadersRequest,
) -> Result<Vec<TopicElections>, (ErrorCode, String)> {
    let plain = |code: ErrorCode| (code, code.message().to_owned());
    call.may(&call.cluster()).need_cluster(Operation::Alter).map_err(plain)?;
    let named = translate::named(request);
    // Where nothing is named it does not matter which election was meant.
    if named.as_ref().is_some_and(Vec::is_empty) {
        return Ok(Vec::new());
    }
    let number = request.election_type;
    let election = translate::election_type(number)
        .ok_or_else(|| (ErrorCode::InvalidRequest, format!("Unknown election type {number}")))?;
    let decide = move |cluster: &Cluster| elect_leaders(cluster, election, named.as_deref());
    call.change(decide).await.map_err(plain)
}
