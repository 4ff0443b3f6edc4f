//! DescribeCluster: who is there.

use brooklet_wire::message::{DescribeClusterRequest, DescribeClusterResponse};

use super::metadata::operations_of_cluster;
use crate::context::Call;
use crate::translate::cluster as translate;

/// Answers DescribeCluster.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let cluster = call.cluster();
    let operations = operations_of_cluster(&call.may(&cluster));
    let (cluster_id, this) = (&call.context.cluster_id, call.context.node);
    translate::describe(&request, cluster_id, this, &call.nodes(&cluster), operations)
}
