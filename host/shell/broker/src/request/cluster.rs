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
    let (host, port) = call.address();
    let port = u16::try_from(port).expect("made of a u16");
    let operations = operations_of_cluster(&call.may(&call.cluster()));
    let (cluster_id, node) = (&call.context.cluster_id, call.context.node);
    translate::describe(&request, cluster_id, node, (&host, port), operations)
}
