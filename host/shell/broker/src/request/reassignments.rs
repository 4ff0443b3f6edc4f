//! Partitions that move to other brokers: AlterPartitionReassignments, ListPartitionReassignments.
//!
//! **Decides** nothing: `meta` does. The time that a client allows is not looked at, as with topics: a move begins with a write, and goes
//! on by itself.

use brooklet_meta::Cluster;
use brooklet_meta::decide::reassignment::{alter_reassignments, list_reassignments};
use brooklet_types::Operation;
use brooklet_wire::message::{
    AlterPartitionReassignmentsRequest, AlterPartitionReassignmentsResponse,
    ListPartitionReassignmentsRequest, ListPartitionReassignmentsResponse,
};

use crate::context::Call;
use crate::translate::reassignments as translate;

/// Answers AlterPartitionReassignments.
pub(crate) async fn alter(
    call: &Call,
    request: AlterPartitionReassignmentsRequest,
) -> AlterPartitionReassignmentsResponse {
    let moves = translate::moves(&request);
    let any_factor = request.allow_replication_factor_change;
    let decide = move |cluster: &Cluster| alter_reassignments(cluster, any_factor, &moves);
    let moved = match call.may(&call.cluster()).need_cluster(Operation::Alter) {
        Ok(()) => call.change(decide).await,
        Err(code) => Err(code),
    };
    match moved {
        Ok(topics) => translate::moved(&request, &topics),
        Err(code) => {
            call.context.metrics.refused(call.api, code);
            translate::refused(&request, code)
        }
    }
}

/// Answers ListPartitionReassignments. What is under way every broker knows, the controller first.
pub(crate) async fn list(
    call: &Call,
    request: ListPartitionReassignmentsRequest,
) -> ListPartitionReassignmentsResponse {
    let cluster = call.cluster();
    if let Err(code) = call.may(&cluster).need_cluster(Operation::Describe) {
        call.context.metrics.refused(call.api, code);
        return translate::not_listed(&request, code);
    }
    let named = translate::named(&request);
    translate::listed(list_reassignments(&cluster, named.as_deref()))
}
