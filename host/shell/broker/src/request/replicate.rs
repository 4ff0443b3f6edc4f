//! Fetch, as a follower asks it: records on their way to another broker that keeps a copy.
//!
//! **Decides** nothing: whether the broker may have them, and what its question proves, is the leader's shard's. No session is
//! kept and no plugin asked. **Never** copies a record.

use brooklet_shard::input::ReplicaFetch;
use brooklet_types::{BrokerId, ErrorCode, TopicPartition};
use brooklet_wire::message::FetchRequest;
use brooklet_wire::{WireError, fetch as wire_fetch};
use bytes::Bytes;

use super::fetch::run;
use crate::context::Call;
use crate::translate::peer::fetched::{self, Told};
use crate::translate::peer::{fetch as translate, fetched::refuse};

/// The whole answer, as the pieces of a frame.
pub(crate) async fn answer(
    call: &Call,
    from: BrokerId,
    correlation: i32,
    request: &FetchRequest,
) -> Result<Vec<Bytes>, WireError> {
    let refused =
        |code: ErrorCode| wire_fetch::encode(correlation, call.version, &refuse(code), Vec::new());
    let fetch = match translate::asked(request) {
        Ok(fetch) if fetch.broker == from => fetch,
        Ok(_) => return refused(ErrorCode::ClusterAuthorizationFailed),
        Err(error) => {
            tracing::warn!(%error, "fetch of another broker");
            return refused(error.code());
        }
    };
    let Some(told) = read(call, fetch).await else {
        return refused(ErrorCode::NotLeaderOrFollower);
    };
    let (response, pieces) = fetched::answer(told);
    wire_fetch::encode(correlation, call.version, &response, pieces)
}

/// Reads every partition; none when the broker is stopping.
async fn read(call: &Call, fetch: ReplicaFetch) -> Option<Vec<Told>> {
    let asked: Vec<TopicPartition> = fetch.partitions.iter().map(|it| it.partition).collect();
    let found = tokio::select! {
        // Dropping the fetch takes it back from its shard.
        () = call.context.shutdown.cancelled() => return None,
        found = call.context.shards.replicate(fetch) => found.ok()?,
    };
    let mut told: Vec<Option<Told>> = vec![None; asked.len()];
    let mut plans = Vec::new();
    for (slot, mut found) in found {
        let place = slot as usize;
        if let (Some(told), Some(partition)) = (told.get_mut(place), asked.get(place)) {
            *told = Some(Told::new(*partition, &found));
            plans.extend(found.plan.take().map(|plan| (slot, plan)));
        }
    }
    for (slot, result) in run(call, plans).await {
        let place = slot as usize;
        let (Some(told), Some(partition)) = (told.get_mut(place), asked.get(place)) else {
            continue;
        };
        *told = match result {
            Ok(records) => told.take().map(|told| told.with(records)),
            Err(error) => {
                tracing::warn!(%error, "read for a follower");
                Some(Told::refused(*partition, error.code()))
            }
        };
    }
    Some(told.into_iter().flatten().collect())
}
