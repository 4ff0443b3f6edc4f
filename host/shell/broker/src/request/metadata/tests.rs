//! What is told of one partition, in each version.

use super::*;
use crate::translate::nodes::tests as scene;

type Told = (ErrorCode, i32, Vec<i32>, Vec<i32>);

/// The error, the leader, the replicas and those of them that are not reached, told to who came in by `listener`.
fn told(cluster: &Cluster, listener: &str, version: i16) -> Told {
    let nodes = scene::nodes(cluster, listener);
    let line = partition(PartitionIndex(2), scene::partition(cluster, 2), &nodes, version);
    let code = ErrorCode::from_wire(line.error_code).unwrap();
    assert_eq!(line.partition_index, 2);
    (code, line.leader_id, line.replica_nodes, line.offline_replicas)
}

#[test]
fn a_leader_without_the_clients_listener_is_told_as_the_version_can() {
    let cluster = scene::cluster();
    let (all, none) = (vec![3, 1, 2], Vec::new());
    for version in 0..=13 {
        let expected = (ErrorCode::None, 3, all.clone(), none.clone());
        assert_eq!(told(&cluster, "PLAINTEXT", version), expected, "v{version}");
    }
    let table = [
        (0, ErrorCode::LeaderNotAvailable, vec![1, 2], none.clone()),
        (1, ErrorCode::LeaderNotAvailable, all.clone(), none),
        (5, ErrorCode::LeaderNotAvailable, all.clone(), vec![3]),
        (6, ErrorCode::ListenerNotFound, all.clone(), vec![3]),
        (13, ErrorCode::ListenerNotFound, all, vec![3]),
    ];
    for (version, code, replicas, offline) in table {
        let expected = (code, -1, replicas, offline);
        assert_eq!(told(&cluster, "SSL", version), expected, "v{version}");
    }
}

#[test]
fn a_replica_that_is_fenced_is_offline_and_to_the_first_version_not_there() {
    let mut cluster = scene::cluster();
    scene::fence(&mut cluster, 2);
    let table = [
        (0, ErrorCode::ReplicaNotAvailable, vec![3, 1], vec![]),
        (4, ErrorCode::None, vec![3, 1, 2], vec![]),
        (5, ErrorCode::None, vec![3, 1, 2], vec![2]),
    ];
    for (version, code, replicas, offline) in table {
        let expected = (code, 3, replicas, offline);
        assert_eq!(told(&cluster, "PLAINTEXT", version), expected, "v{version}");
    }
}

#[test]
fn every_version_can_be_written_with_brokers_that_say_where_they_stand() {
    let mut cluster = scene::cluster();
    scene::fence(&mut cluster, 2);
    let nodes = scene::nodes(&cluster, "PLAINTEXT");
    let topic = cluster.topic_by_id(scene::FLIGHTS).unwrap();
    for version in 0..=13 {
        let response = make(|it: &mut MetadataResponse| {
            it.brokers = nodes.reached().map(|node| broker(node, version)).collect();
            it.topics = vec![described(topic, &nodes, version)];
        });
        let frame = brooklet_wire::message::encode_response(1, version, &response).unwrap();
        let (_, read) =
            brooklet_wire::message::decode_response::<MetadataResponse>(frame.slice(4..), version)
                .unwrap();
        let racks: Vec<Option<&str>> =
            read.brokers.iter().map(|broker| broker.rack.as_deref()).collect();
        let expected = if version > 0 { [Some("a"), Some("b")] } else { [None, None] };
        assert_eq!(racks, expected, "v{version}");
    }
}
