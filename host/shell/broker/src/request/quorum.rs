//! DescribeQuorum: which brokers keep the cluster's metadata, and how far each has its log.
//!
//! **Decides** nothing. The shard that has the metadata knows its quorum; only who leads it is asked for more. Of the other
//! members nobody notes when they last asked, nor where they listen: their times are unknown, and they are no nodes.

use brooklet_shard::{Index, QuorumDescription, Replica};
use brooklet_types::{BrokerId, ErrorCode, Offset, Operation, Timestamp, TopicName};
use brooklet_wire::message::describe_quorum_response::{
    Listener, Node, PartitionData, ReplicaState, TopicData,
};
use brooklet_wire::message::{DescribeQuorumRequest, DescribeQuorumResponse, StrBytes, Uuid, make};

use crate::context::Call;

/// The one partition of the metadata's topic.
const PARTITION: i32 = 0;
const TIME_UNKNOWN: i64 = -1;
/// The first version that tells members' folders and where they listen (KIP-853); none before can be written with them.
const FOLDERS_SINCE: i16 = 2;

/// Answers DescribeQuorum.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeQuorumRequest,
) -> DescribeQuorumResponse {
    if let Err(code) = call.may(&call.cluster()).need_cluster(Operation::Describe) {
        return make(|it: &mut DescribeQuorumResponse| {
            it.error_code = call.code(code);
            it.error_message = Some(code.message().into());
        });
    }
    let refuse = |code| {
        call.context.metrics.refused(call.api, code);
        refused(&request, code)
    };
    if !is_of_quorum(&request) {
        return refuse(ErrorCode::UnknownTopicOrPartition);
    }
    let node = call.context.node;
    match call.context.shards.describe_quorum().await {
        Ok(quorum) if quorum.leader == Some(node) => {
            let (host, port) = call.address();
            let port = u16::try_from(port).expect("made of a u16");
            let listener = make(|it: &mut Listener| {
                it.name = call.peer.listener.into();
                (it.host, it.port) = (host, port);
            });
            described(&quorum, call.version, call.timestamp(), (node, listener))
        }
        // Who stops leads nothing any more.
        Ok(_) | Err(_) => refuse(ErrorCode::NotLeaderOrFollower),
    }
}

/// Whether the quorum's partition is asked for, and nothing else.
fn is_of_quorum(request: &DescribeQuorumRequest) -> bool {
    let [topic] = request.topics.as_slice() else { return false };
    let [partition] = topic.partitions.as_slice() else { return false };
    &*topic.topic_name == TopicName::CLUSTER_METADATA && partition.partition_index == PARTITION
}

/// The same error for every partition that is asked for.
fn refused(request: &DescribeQuorumRequest, code: ErrorCode) -> DescribeQuorumResponse {
    let message = StrBytes::from(code.message());
    let partition = |index| {
        make(|it: &mut PartitionData| {
            it.partition_index = index;
            it.error_code = code.to_wire();
            it.error_message = Some(message.clone());
        })
    };
    make(|response: &mut DescribeQuorumResponse| {
        for topic in &request.topics {
            response.topics.push(make(|it: &mut TopicData| {
                it.topic_name = topic.topic_name.clone();
                let indexes = topic.partitions.iter().map(|asked| asked.partition_index);
                it.partitions = indexes.map(partition).collect();
            }));
        }
    })
}

/// What `leader`, who listens there, tells of the quorum that it leads.
fn described(
    quorum: &QuorumDescription,
    version: i16,
    now: Timestamp,
    (leader, listener): (BrokerId, Listener),
) -> DescribeQuorumResponse {
    let has_folders = version >= FOLDERS_SINCE;
    let states = |voter| {
        let replicas = quorum.replicas.iter().filter(move |replica| replica.voter == voter);
        let state = |replica: &Replica| {
            // A leader asks itself all the time.
            let is_leader = replica.member.broker == leader;
            let time = if is_leader { now.0 } else { TIME_UNKNOWN };
            make(|it: &mut ReplicaState| {
                it.replica_id = replica.member.broker.0;
                if has_folders {
                    it.replica_directory_id = Uuid::from_bytes(replica.member.directory.0);
                }
                it.log_end_offset = end(replica.acknowledged);
                (it.last_fetch_timestamp, it.last_caught_up_timestamp) = (time, time);
            })
        };
        replicas.map(state).collect()
    };
    let partition = make(|it: &mut PartitionData| {
        it.partition_index = PARTITION;
        it.leader_id = leader.0;
        it.leader_epoch = quorum.term.epoch().to_wire();
        it.high_watermark = end(quorum.committed);
        (it.current_voters, it.observers) = (states(true), states(false));
    });
    make(|response: &mut DescribeQuorumResponse| {
        response.topics = vec![make(|it: &mut TopicData| {
            it.topic_name = StrBytes::from(TopicName::CLUSTER_METADATA);
            it.partitions = vec![partition];
        })];
        if has_folders {
            response.nodes = vec![make(|it: &mut Node| {
                it.node_id = leader.0;
                it.listeners = vec![listener];
            })];
        }
    })
}

/// The offset behind an entry: entries are numbered from 1, and their records from 0.
fn end(entry: Index) -> i64 {
    Offset::new(entry.0).to_wire()
}

#[cfg(test)]
mod tests {
    use brooklet_shard::{DirectoryId, Member, Term};
    use brooklet_wire::message::{describe_quorum_request, encode_response};

    use super::*;

    fn request(topics: &[(&str, &[i32])]) -> DescribeQuorumRequest {
        let topic = |(name, indexes): &(&str, &[i32])| {
            make(|it: &mut describe_quorum_request::TopicData| {
                it.topic_name = (*name).into();
                it.partitions = indexes
                    .iter()
                    .map(|index| {
                        make(|it: &mut describe_quorum_request::PartitionData| {
                            it.partition_index = *index;
                        })
                    })
                    .collect();
            })
        };
        make(|it: &mut DescribeQuorumRequest| it.topics = topics.iter().map(topic).collect())
    }

    #[test]
    fn only_the_quorums_own_partition_may_be_asked_for_and_alone() {
        const QUORUM: &str = "__cluster_metadata";
        assert!(is_of_quorum(&request(&[(QUORUM, &[0])])));
        let others: [&[(&str, &[i32])]; 8] = [
            &[],
            &[(QUORUM, &[])],
            &[(QUORUM, &[1])],
            &[(QUORUM, &[-1])],
            &[(QUORUM, &[0, 0])],
            &[("t", &[0])],
            &[(QUORUM, &[0]), ("t", &[0])],
            &[(QUORUM, &[0]), (QUORUM, &[0])],
        ];
        for topics in others {
            assert!(!is_of_quorum(&request(topics)), "{topics:?}");
        }
    }

    #[test]
    fn every_partition_that_is_refused_says_why() {
        let request = request(&[("t", &[3, 4]), ("u", &[])]);
        let response = refused(&request, ErrorCode::NotLeaderOrFollower);
        assert_eq!(response.error_code, 0);
        let names: Vec<&str> = response.topics.iter().map(|topic| &*topic.topic_name).collect();
        assert_eq!(names, ["t", "u"]);
        let lines = response.topics.iter().flat_map(|topic| &topic.partitions);
        let lines: Vec<_> = lines.map(|line| (line.partition_index, line.error_code)).collect();
        let code = ErrorCode::NotLeaderOrFollower.to_wire();
        assert_eq!(lines, [(3, code), (4, code)]);
    }

    /// Led by broker 2, with an observer.
    fn quorum() -> QuorumDescription {
        let replica = |broker: u8, voter, acknowledged| Replica {
            member: Member {
                broker: BrokerId(i32::from(broker)),
                directory: DirectoryId([broker; 16]),
            },
            voter,
            acknowledged: Index(acknowledged),
            active: true,
        };
        QuorumDescription {
            leader: Some(BrokerId(2)),
            term: Term(7),
            committed: Index(40),
            replicas: vec![replica(1, true, 40), replica(2, true, 41), replica(3, false, 0)],
        }
    }

    #[test]
    fn a_leader_tells_how_far_everybody_is_and_times_only_of_itself() {
        let listener = make(|it: &mut Listener| it.name = "PLAINTEXT".into());
        let told = (BrokerId(2), listener.clone());
        let response = described(&quorum(), 2, Timestamp(99), told);
        let partition = &response.topics[0].partitions[0];
        assert_eq!((partition.leader_id, partition.leader_epoch), (2, 7));
        assert_eq!(partition.high_watermark, 40);
        let lines = |states: &[ReplicaState]| -> Vec<_> {
            let line = |it: &ReplicaState| {
                let times = (it.last_fetch_timestamp, it.last_caught_up_timestamp);
                (it.replica_id, it.replica_directory_id.to_bytes()[0], it.log_end_offset, times)
            };
            states.iter().map(line).collect()
        };
        let (voters, observers) = (&partition.current_voters, &partition.observers);
        assert_eq!(lines(voters), [(1, 1, 40, (-1, -1)), (2, 2, 41, (99, 99))]);
        assert_eq!(lines(observers), [(3, 3, 0, (-1, -1))]);
        let nodes: Vec<_> = response.nodes.iter().map(|it| (it.node_id, &it.listeners)).collect();
        assert_eq!(nodes, [(2, &vec![listener])]);
    }

    #[test]
    fn every_version_can_be_written() {
        let refusal = refused(&request(&[("t", &[0])]), ErrorCode::NotLeaderOrFollower);
        for version in 0..=2 {
            let told = (BrokerId(2), Listener::default());
            let response = described(&quorum(), version, Timestamp(99), told);
            for response in [&response, &refusal] {
                encode_response(7, version, response).unwrap();
            }
        }
    }
}
