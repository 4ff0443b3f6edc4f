//! Hints in errors (KIP-951): a client that asked the wrong broker is told who leads, and where, and need not ask for
//! metadata first.
//!
//! **Decides** nothing: it tells what the image of the cluster says. An image that takes this broker for the leader of what it
//! has just refused to lead is behind, and is not told. A broker that is alone has nobody to send anybody to.

use std::collections::BTreeMap;

use brooklet_meta::{Cluster, Topic};
use brooklet_types::{BrokerId, ErrorCode, LeaderEpoch, PartitionIndex, TopicId};
use brooklet_wire::message::{
    FetchResponse, ProduceResponse, fetch_response, make, produce_response,
};

use super::place;
use crate::context::Call;
use crate::translate::nodes::{Node, Nodes};

/// From here on an answer to Produce has places for them.
const PRODUCE_SINCE: i16 = 10;
/// From here on an answer to Fetch has.
const FETCH_SINCE: i16 = 16;
/// From here on an answer to Produce names topics by id.
const PRODUCE_IDS_SINCE: i16 = 13;

/// Fills in who leads what was refused.
pub(super) fn produce(call: &Call, response: &mut ProduceResponse) {
    let partitions = response.responses.iter().flat_map(|topic| &topic.partition_responses);
    let is_of_leader = |code: i16| code == ErrorCode::NotLeaderOrFollower.to_wire();
    if call.version < PRODUCE_SINCE || !partitions.map(|it| it.error_code).any(is_of_leader) {
        return;
    }
    let cluster = call.cluster();
    let hints = Hints::new(&cluster, call.nodes(&cluster), call.context.node);
    hints.of_produce(response, call.version >= PRODUCE_IDS_SINCE);
}

/// Fills in who leads what was refused.
pub(super) fn fetch(call: &Call, response: &mut FetchResponse) {
    let mut partitions = response.responses.iter().flat_map(|topic| &topic.partitions);
    if call.version < FETCH_SINCE || !partitions.any(|it| refusal(it.error_code).is_some()) {
        return;
    }
    let cluster = call.cluster();
    Hints::new(&cluster, call.nodes(&cluster), call.context.node).of_fetch(response);
}

/// What is known of leaders, and of whom the client has been told.
struct Hints<'a> {
    cluster: &'a Cluster,
    nodes: Nodes<'a>,
    this: BrokerId,
    told: BTreeMap<BrokerId, Node>,
}

/// What errors are hints given with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Refusal {
    /// Somebody else leads.
    NotLeader,
    /// Somebody, perhaps this broker, has begun another term.
    Fenced,
}

fn refusal(code: i16) -> Option<Refusal> {
    if code == ErrorCode::NotLeaderOrFollower.to_wire() {
        return Some(Refusal::NotLeader);
    }
    (code == ErrorCode::FencedLeaderEpoch.to_wire()).then_some(Refusal::Fenced)
}

impl<'a> Hints<'a> {
    fn new(cluster: &'a Cluster, nodes: Nodes<'a>, this: BrokerId) -> Hints<'a> {
        Hints { cluster, nodes, this, told: BTreeMap::new() }
    }

    fn of_produce(mut self, response: &mut ProduceResponse, by_id: bool) {
        for topic in &mut response.responses {
            let found = place::topic(self.cluster, &topic.name, topic.topic_id, by_id).ok();
            for line in &mut topic.partition_responses {
                // Kafka's producers name no term, and are told nothing with another error.
                let refusal = refusal(line.error_code).filter(|it| *it == Refusal::NotLeader);
                if let Some((id, epoch)) =
                    self.leader(refusal, found.map(AsRef::as_ref), line.index)
                {
                    line.current_leader.leader_id = id.0;
                    line.current_leader.leader_epoch = epoch.to_wire();
                }
            }
        }
        let node = |node: Node| {
            make(|it: &mut produce_response::NodeEndpoint| {
                (it.node_id, it.host, it.port) = (node.id.0, node.host, node.port);
                it.rack = node.rack;
            })
        };
        response.node_endpoints = self.told.into_values().map(node).collect();
    }

    fn of_fetch(mut self, response: &mut FetchResponse) {
        for topic in &mut response.responses {
            let id = TopicId::from_wire(topic.topic_id.to_bytes());
            let found = id.and_then(|id| self.cluster.topic_by_id(id));
            for line in &mut topic.partitions {
                let refusal = refusal(line.error_code);
                let leader = self.leader(refusal, found.map(AsRef::as_ref), line.partition_index);
                if let Some((id, epoch)) = leader {
                    line.current_leader.leader_id = id.0;
                    line.current_leader.leader_epoch = epoch.to_wire();
                }
            }
        }
        let node = |node: Node| {
            make(|it: &mut fetch_response::NodeEndpoint| {
                (it.node_id, it.host, it.port) = (node.id.0, node.host, node.port);
                it.rack = node.rack;
            })
        };
        response.node_endpoints = self.told.into_values().map(node).collect();
    }

    /// Who leads a partition that was refused, and in which term. Where to reach it is told once.
    fn leader(
        &mut self,
        refusal: Option<Refusal>,
        topic: Option<&Topic>,
        index: i32,
    ) -> Option<(BrokerId, LeaderEpoch)> {
        let refusal = refusal.filter(|_| self.cluster.level() > 0)?;
        let partition = topic?.partition(PartitionIndex::from_wire(index)?)?;
        let leader = partition.leader?;
        if leader == self.this && refusal == Refusal::NotLeader {
            return None;
        }
        if let Some(node) = self.nodes.get(leader) {
            self.told.entry(leader).or_insert_with(|| node.clone());
        }
        Some((leader, partition.leader_epoch))
    }
}

#[cfg(test)]
mod tests {
    use brooklet_wire::message::encode_response;

    use super::*;
    use crate::translate::nodes::tests as scene;

    fn hints(cluster: &Cluster) -> Hints<'_> {
        Hints::new(cluster, scene::nodes(cluster, "SSL"), BrokerId(1))
    }

    /// One line for each of the topic's three partitions, led by 1, 2 and 3, and for one that it does not have.
    fn fetched(code: ErrorCode) -> FetchResponse {
        let line = |index| {
            make(|it: &mut fetch_response::PartitionData| {
                (it.partition_index, it.error_code) = (index, code.to_wire());
            })
        };
        make(|it: &mut FetchResponse| {
            it.responses.push(make(|topic: &mut fetch_response::FetchableTopicResponse| {
                topic.topic_id = place::uuid(scene::FLIGHTS);
                topic.partitions = (0..4).map(line).collect();
            }));
        })
    }

    fn produced(code: ErrorCode) -> ProduceResponse {
        let line = |index| {
            make(|it: &mut produce_response::PartitionProduceResponse| {
                (it.index, it.error_code) = (index, code.to_wire());
            })
        };
        make(|it: &mut ProduceResponse| {
            it.responses.push(make(|topic: &mut produce_response::TopicProduceResponse| {
                topic.name = "flights".into();
                topic.topic_id = place::uuid(scene::FLIGHTS);
                topic.partition_responses = (0..4).map(line).collect();
            }));
        })
    }

    const NOBODY: (i32, i32) = (-1, -1);

    #[test]
    fn who_asked_the_wrong_broker_is_told_who_leads_and_where_once() {
        let cluster = scene::cluster();
        for (code, first) in
            [(ErrorCode::NotLeaderOrFollower, NOBODY), (ErrorCode::FencedLeaderEpoch, (1, 0))]
        {
            let mut response = fetched(code);
            hints(&cluster).of_fetch(&mut response);
            let lines = response.responses[0].partitions.iter();
            let leaders: Vec<_> = lines
                .map(|it| (it.current_leader.leader_id, it.current_leader.leader_epoch))
                .collect();
            // The third has not the listener that the client came in by: it is told who, and not where.
            assert_eq!(leaders, [first, (2, 0), (3, 0), NOBODY], "{code:?}");
            let nodes = response.node_endpoints.iter();
            let nodes: Vec<_> = nodes.map(|it| (it.node_id, &*it.host, it.port)).collect();
            let own = [(1, "here", 1111)].into_iter().filter(|_| first != NOBODY);
            assert_eq!(nodes, own.chain([(2, "host2", 9093)]).collect::<Vec<_>>(), "{code:?}");
            for version in FETCH_SINCE..=18 {
                encode_response(1, version, &response).unwrap();
            }
        }
    }

    #[test]
    fn a_producer_is_told_by_name_and_by_id() {
        let cluster = scene::cluster();
        for by_id in [false, true] {
            let mut response = produced(ErrorCode::NotLeaderOrFollower);
            hints(&cluster).of_produce(&mut response, by_id);
            let lines = response.responses[0].partition_responses.iter();
            let leaders: Vec<_> = lines.map(|it| it.current_leader.leader_id).collect();
            assert_eq!(leaders, [-1, 2, 3, -1], "{by_id}");
            let rack = response.node_endpoints[0].rack.as_deref();
            assert_eq!((response.node_endpoints.len(), rack), (1, Some("b")));
            for version in PRODUCE_SINCE..=13 {
                encode_response(1, version, &response).unwrap();
            }
        }
        let mut response = produced(ErrorCode::FencedLeaderEpoch);
        hints(&cluster).of_produce(&mut response, true);
        assert_eq!(response, produced(ErrorCode::FencedLeaderEpoch), "not a producer's error");
    }

    #[test]
    fn with_other_errors_and_from_a_broker_alone_there_is_nothing_to_tell() {
        let cluster = scene::cluster();
        let mut response = fetched(ErrorCode::OffsetOutOfRange);
        hints(&cluster).of_fetch(&mut response);
        assert_eq!(response, fetched(ErrorCode::OffsetOutOfRange));
        let mut response = fetched(ErrorCode::FencedLeaderEpoch);
        hints(&Cluster::default()).of_fetch(&mut response);
        assert_eq!(response, fetched(ErrorCode::FencedLeaderEpoch));
    }
}
