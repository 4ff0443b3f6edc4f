//! DescribeCluster: who is there.

use brooklet_wire::message::{DescribeClusterRequest, DescribeClusterResponse};

use crate::context::Call;
use crate::translate::cluster as translate;

/// Answers DescribeCluster.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeClusterRequest,
) -> DescribeClusterResponse {
    let (host, port) = call.address();
    let port = u16::try_from(port).expect("made of a u16");
    translate::describe(&request, &call.context.cluster_id, call.context.node, &host, port)
}
