//! Each answer with addresses, in each of its versions.

use brooklet_wire::message::{
    describe_cluster_response as cluster, describe_quorum_response as quorum,
    find_coordinator_response as coordinator, make, metadata_response as metadata,
    produce_response as produce,
};

use super::*;

/// Where doors are, for tests: a port for each node, whatever its address.
pub(crate) fn doors(node: Node, _host: &str, _port: u16) -> Result<SocketAddr, DoorError> {
    let port = match node {
        Node::Broker(id) => 20_000 + u16::try_from(id).unwrap(),
        Node::Controller(id) => 30_000 + u16::try_from(id).unwrap(),
    };
    Ok(SocketAddr::new([127, 0, 0, 1].into(), port))
}

/// Rewrites `answer` in each version, and compares with `expected` as that version can say it.
#[track_caller]
fn check<R: KafkaResponse + PartialEq + std::fmt::Debug>(
    api: Api,
    versions: std::ops::RangeInclusive<i16>,
    answer: impl Fn(i16) -> R,
    expected: impl Fn(i16) -> R,
) {
    for version in versions {
        let asked = Expected { api: api.key(), version, correlation: 7 };
        assert!(has_addresses(asked), "{api:?} {version}");
        let frame = encode_response(7, version, &answer(version)).unwrap().slice(4..);
        let rewritten = rewrite(&frame, asked, &mut doors).unwrap();
        let wanted = encode_response(7, version, &expected(version)).unwrap();
        assert_eq!(rewritten, Some(wanted), "{api:?} {version}");
        // Bytes behind it, or too few, are no answer.
        let more = Bytes::from([&frame[..], &[0]].concat());
        assert!(rewrite(&more, asked, &mut doors).is_err());
        assert!(rewrite(&frame.slice(..frame.len() - 1), asked, &mut doors).is_err());
    }
}

#[test]
fn metadata_names_doors_and_is_otherwise_as_it_was() {
    let answer = |places: [(&'static str, i32); 3]| {
        move |version: i16| {
            make(|it: &mut MetadataResponse| {
                for ((host, port), id) in places.into_iter().zip(1..) {
                    it.brokers.push(make(|it: &mut metadata::MetadataResponseBroker| {
                        (it.node_id, it.host, it.port) = (id, host.into(), port);
                        it.rack = (version >= 1).then(|| "rack".into());
                    }));
                }
                it.controller_id = if version >= 1 { 2 } else { -1 };
                it.topics.push(make(|it: &mut metadata::MetadataResponseTopic| {
                    it.name = Some("flights".into());
                    it.partitions.push(make(|it: &mut metadata::MetadataResponsePartition| {
                        (it.leader_id, it.replica_nodes) = (2, vec![1, 2]);
                    }));
                }));
            })
        }
    };
    // The third has no port, and so no address.
    let before = answer([("one.example", 9092), ("two.example", 9092), ("three.example", -1)]);
    let after = answer([("127.0.0.1", 20_001), ("127.0.0.1", 20_002), ("three.example", -1)]);
    check(Api::Metadata, 0..=13, before, after);
}

#[test]
fn coordinators_are_behind_doors_one_or_several() {
    let answer = |host: &'static str, port: i32| {
        move |version: i16| {
            make(|it: &mut FindCoordinatorResponse| {
                if version < 4 {
                    (it.node_id, it.host, it.port) = (3, host.into(), port);
                    return;
                }
                let one = |key: &str, id: i32, host: &str, port: i32, code: i16| {
                    make(|it: &mut coordinator::Coordinator| {
                        (it.key, it.node_id) = (key.into(), id);
                        (it.host, it.port, it.error_code) = (host.into(), port, code);
                    })
                };
                it.coordinators = vec![one("a", 3, host, port, 0), one("b", -1, "", -1, 15)];
            })
        }
    };
    let before = answer("three.example", 9092);
    check(Api::FindCoordinator, 0..=6, before, answer("127.0.0.1", 20_003));
    // Where there is none, nothing changes.
    let none = make(|it: &mut FindCoordinatorResponse| (it.node_id, it.port) = (-1, -1));
    let frame = encode_response(7, 3, &none).unwrap().slice(4..);
    let asked = Expected { api: Api::FindCoordinator.key(), version: 3, correlation: 7 };
    assert_eq!(rewrite(&frame, asked, &mut doors).unwrap(), None);
}

#[test]
fn a_described_cluster_has_doors_of_its_own_for_controllers() {
    let answer = |of_controllers: i8, host: &'static str, port: i32| {
        move |version: i16| {
            make(|it: &mut DescribeClusterResponse| {
                it.endpoint_type = if version >= 1 { of_controllers } else { 1 };
                it.cluster_id = "cluster".into();
                it.brokers.push(make(|it: &mut cluster::DescribeClusterBroker| {
                    (it.broker_id, it.host, it.port) = (1, host.into(), port);
                    it.rack = Some("rack".into());
                }));
            })
        }
    };
    let (before, after) = (answer(1, "one.example", 9092), answer(1, "127.0.0.1", 20_001));
    check(Api::DescribeCluster, 0..=2, before, after);
    let (before, after) = (answer(2, "one.example", 9093), answer(2, "127.0.0.1", 30_001));
    check(Api::DescribeCluster, 1..=2, before, after);
}

#[test]
fn a_producer_that_is_sent_elsewhere_is_sent_to_a_door() {
    let answer = |host: &'static str, port: i32| {
        move |_version: i16| {
            make(|it: &mut ProduceResponse| {
                it.node_endpoints.push(make(|it: &mut produce::NodeEndpoint| {
                    (it.node_id, it.host, it.port) = (2, host.into(), port);
                }));
            })
        }
    };
    check(Api::Produce, 10..=13, answer("two.example", 9092), answer("127.0.0.1", 20_002));
    let before = Expected { api: Api::Produce.key(), version: 9, correlation: 7 };
    assert!(!has_addresses(before));
}

#[test]
fn members_of_the_quorum_have_a_door_each_whatever_else_they_listen_on() {
    let answer = |listeners: &'static [(&'static str, u16)]| {
        move |_version: i16| {
            make(|it: &mut DescribeQuorumResponse| {
                for id in [1, 2] {
                    it.nodes.push(make(|it: &mut quorum::Node| {
                        it.node_id = id;
                        for (host, port) in listeners {
                            it.listeners.push(make(|it: &mut quorum::Listener| {
                                it.name = "CONTROLLER".into();
                                (it.host, it.port) =
                                    ((*host).into(), *port + u16::try_from(id).unwrap());
                            }));
                        }
                    }));
                }
            })
        }
    };
    let after = answer(&[("127.0.0.1", 30_000)]);
    check(Api::DescribeQuorum, 2..=2, answer(&[("one.example", 9092)]), after);
    let several = answer(&[("one.example", 9092), ("other.example", 9093)]);
    check(Api::DescribeQuorum, 2..=2, several, after);
    let before = Expected { api: Api::DescribeQuorum.key(), version: 1, correlation: 7 };
    assert!(!has_addresses(before));
    // A member of which nobody knows where it listens has no door.
    let frame = encode_response(7, 2, &answer(&[])(2)).unwrap().slice(4..);
    let asked = Expected { version: 2, ..before };
    assert_eq!(rewrite(&frame, asked, &mut doors).unwrap(), None);
}

#[test]
fn a_node_without_a_door_is_an_error() {
    let answer = make(|it: &mut MetadataResponse| {
        it.brokers.push(make(|it: &mut metadata::MetadataResponseBroker| {
            (it.host, it.port) = ("one.example".into(), 9092);
        }));
    });
    let frame = encode_response(7, 9, &answer).unwrap().slice(4..);
    let asked = Expected { api: Api::Metadata.key(), version: 9, correlation: 7 };
    let mut none = |_: Node, _: &str, _: u16| Err(DoorError::TooMany { limit: 3 });
    let error = rewrite(&frame, asked, &mut none).unwrap_err();
    assert_eq!(error.to_string(), "there are 3 doors already");
}
