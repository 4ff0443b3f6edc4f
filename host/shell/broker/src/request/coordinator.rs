//! FindCoordinator: whom to ask about a group.
//!
//! **Decides** that it is the leader of the group's partition of the topic that groups are kept in, and sees to it that there is
//! one; while nobody leads it, there is no coordinator. Transactions have no coordinator: the answer is COORDINATOR_NOT_AVAILABLE, which clients try
//! again until their own timeout and then report by that name; INVALID_REQUEST would be fatal to a
//! Java producer with a text that blames the request.

use brooklet_meta::Cluster;
use brooklet_meta::placement::usable;
use brooklet_types::{ErrorCode, Operation, ResourceType};
use brooklet_wire::message::{
    FindCoordinatorRequest, FindCoordinatorResponse, StrBytes, find_coordinator_response, make,
};

use super::group::{OFFSETS_TOPIC, partition_of};
use super::metadata;
use crate::context::Call;
use crate::translate::nodes::{Node, Nodes};

const GROUP: i8 = 0;
const TRANSACTION: i8 = 1;

/// From here on a request names many keys.
const BATCHED_SINCE: i16 = 4;

/// Kafka's settings of `__consumer_offsets`: compacted, and in segments small enough to load.
const OFFSETS_SETTINGS: [(&str, &str); 3] = [
    ("cleanup.policy", "compact"),
    ("compression.type", "producer"),
    ("segment.bytes", "104857600"),
];

/// Answers FindCoordinator.
pub(crate) async fn handle(
    call: &Call,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    let may = call.may(&call.cluster());
    let permitted = |key: &StrBytes| match request.key_type {
        GROUP => may.need_group(Operation::Describe, key),
        TRANSACTION => may.need(Operation::Describe, ResourceType::TransactionalId, key),
        _ => Ok(()),
    };
    if call.version < BATCHED_SINCE {
        let found = match permitted(&request.key) {
            Ok(()) => find(call, request.key_type).await,
            Err(code) => Err(code),
        };
        let cluster = call.cluster();
        let nodes = call.nodes(&cluster);
        let found = found.and_then(|()| leader(&cluster, &nodes, &request.key));
        let line = coordinator(call, request.key.clone(), found);
        return make(|it: &mut FindCoordinatorResponse| {
            it.error_code = line.error_code;
            it.error_message = line.error_message.filter(|_| call.version >= 1);
            it.node_id = line.node_id;
            it.host = line.host;
            it.port = line.port;
        });
    }
    let permitted: Vec<_> = request.coordinator_keys.iter().map(permitted).collect();
    // Somebody who may ask for nothing creates nothing.
    let found = match permitted.iter().any(Result::is_ok) {
        true => find(call, request.key_type).await,
        false => Ok(()),
    };
    let cluster = call.cluster();
    let nodes = call.nodes(&cluster);
    make(|it: &mut FindCoordinatorResponse| {
        for (key, permitted) in request.coordinator_keys.iter().zip(permitted) {
            let found = permitted.and(found).and_then(|()| leader(&cluster, &nodes, key));
            it.coordinators.push(coordinator(call, key.clone(), found));
        }
    })
}

/// Who leads the partition of a group, if the client reaches it.
fn leader<'a>(cluster: &Cluster, nodes: &'a Nodes<'_>, group: &str) -> Result<&'a Node, ErrorCode> {
    let topic = cluster.topic(OFFSETS_TOPIC);
    let place = topic.and_then(|topic| {
        let count = u32::try_from(topic.partitions.len()).expect("partitions are limited");
        topic.partition(partition_of(group, count))
    });
    let leader = place.and_then(|place| nodes.get(place.leader?));
    leader.ok_or(ErrorCode::CoordinatorNotAvailable)
}

async fn find(call: &Call, key_type: i8) -> Result<(), ErrorCode> {
    match key_type {
        GROUP => ensure_offsets_topic(call).await,
        TRANSACTION => Err(ErrorCode::CoordinatorNotAvailable),
        _ => Err(ErrorCode::InvalidRequest),
    }
}

fn coordinator(
    call: &Call,
    key: StrBytes,
    found: Result<&Node, ErrorCode>,
) -> find_coordinator_response::Coordinator {
    make(|line: &mut find_coordinator_response::Coordinator| {
        line.key = key;
        line.error_code = call.code(found.err().unwrap_or(ErrorCode::None));
        match found {
            Ok(node) => {
                // Kafka's word for "no error", as long as the answer had room for one error only.
                let is_single = call.version < BATCHED_SINCE;
                let message = if is_single { ErrorCode::None.name() } else { "" };
                line.error_message = Some(message.into());
                line.node_id = node.id.0;
                (line.host, line.port) = (node.host.clone(), node.port);
            }
            Err(code) => {
                line.error_message = Some(code.message().into());
                (line.node_id, line.port) = (-1, -1);
            }
        }
    })
}

/// How many brokers keep each partition: Kafka's three, or as many as there are, so that a cluster of two has groups.
/// -1 leaves it to the defaults, where a broker is alone.
fn copies(cluster: &Cluster) -> i16 {
    const COPIES: i16 = 3;
    if cluster.level() == 0 {
        return -1;
    }
    i16::try_from(usable(cluster).len()).map_or(COPIES, |brokers| brokers.clamp(1, COPIES))
}

async fn ensure_offsets_topic(call: &Call) -> Result<(), ErrorCode> {
    if call.cluster().topic(OFFSETS_TOPIC).is_none() {
        let settings =
            OFFSETS_SETTINGS.map(|(name, value)| (name.to_owned(), Some(value.to_owned()))).into();
        let partitions = i32::try_from(call.context.offsets_partitions).unwrap_or(i32::MAX);
        let mut topic = metadata::new_topic(OFFSETS_TOPIC.to_owned(), partitions, settings);
        topic.replication_factor = copies(&call.cluster());
        metadata::create(call, vec![topic]).await;
    }
    // Two clients may have created it at once: what counts is that it is there.
    let there = call.cluster().topic(OFFSETS_TOPIC).is_some();
    if there { Ok(()) } else { Err(ErrorCode::CoordinatorNotAvailable) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::translate::nodes::tests as scene;

    #[test]
    fn a_group_is_coordinated_by_who_leads_its_partition_if_the_client_gets_there() {
        let mut cluster = scene::cluster();
        let found = |cluster: &Cluster, listener: &str| {
            let nodes = scene::nodes(cluster, listener);
            leader(cluster, &nodes, "g").map(|node| (node.id.0, node.port))
        };
        assert_eq!(found(&cluster, "PLAINTEXT"), Ok((3, 9092)));
        assert_eq!(found(&cluster, "SSL"), Err(ErrorCode::CoordinatorNotAvailable));
        scene::fence(&mut cluster, 3);
        assert_eq!(found(&cluster, "SSL"), Ok((1, 1111)), "the next in line");
        scene::fence(&mut cluster, 1);
        scene::fence(&mut cluster, 2);
        assert_eq!(found(&cluster, "PLAINTEXT"), Err(ErrorCode::CoordinatorNotAvailable));
        let empty = Cluster::default();
        assert_eq!(found(&empty, "PLAINTEXT"), Err(ErrorCode::CoordinatorNotAvailable));
    }

    #[test]
    fn groups_are_kept_by_three_brokers_or_as_many_as_there_are() {
        let mut cluster = scene::cluster();
        assert_eq!(copies(&Cluster::default()), -1);
        assert_eq!(copies(&cluster), 3);
        scene::fence(&mut cluster, 2);
        assert_eq!(copies(&cluster), 3, "it will be back");
        scene::stop(&mut cluster, 3);
        assert_eq!(copies(&cluster), 2);
    }
}
