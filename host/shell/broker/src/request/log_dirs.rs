//! DescribeLogDirs and AlterReplicaLogDirs: how much every partition holds, how much room there is, and in which folder.
//!
//! **Decides** nothing. There is one folder; its sizes are the file system's, and no copy is ever in another.

use std::collections::BTreeMap;

use brooklet_meta::Cluster;
use brooklet_types::{BrokerId, ErrorCode, Operation, PartitionIndex, TopicPartition};
use brooklet_wire::message::{
    AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, DescribeLogDirsRequest,
    DescribeLogDirsResponse, alter_replica_log_dirs_response, describe_log_dirs_response, make,
};

use crate::context::Call;

/// Answers DescribeLogDirs.
pub(crate) async fn describe(
    call: &Call,
    request: DescribeLogDirsRequest,
) -> DescribeLogDirsResponse {
    if let Err(code) = call.may(&call.cluster()).need_cluster(Operation::Describe) {
        let code = call.code(code);
        return make(|it: &mut DescribeLogDirsResponse| it.error_code = code);
    }
    let Ok(logs) = call.context.shards.describe_logs().await else {
        let code = call.code(ErrorCode::KafkaStorageError);
        return make(|it: &mut DescribeLogDirsResponse| it.error_code = code);
    };
    let sizes: BTreeMap<TopicPartition, u64> =
        logs.iter().map(|log| (log.partition, log.bytes)).collect();
    let cluster = call.cluster();
    let mut folder = make(|it: &mut describe_log_dirs_response::DescribeLogDirsResult| {
        it.log_dir = call.context.folder.as_str().into();
        (it.total_bytes, it.usable_bytes) = (-1, -1);
    });
    if let Ok(space) = brooklet_io::space::space(call.context.folder.as_ref()) {
        folder.total_bytes = i64::try_from(space.total).unwrap_or(i64::MAX);
        folder.usable_bytes = i64::try_from(space.usable).unwrap_or(i64::MAX);
    }
    for topic in cluster.topics() {
        let asked = request.topics.as_ref().map(|topics| {
            let named = topics.iter().filter(|asked| *asked.topic == *topic.name.as_str());
            named.flat_map(|asked| asked.partitions.iter().copied()).collect::<Vec<i32>>()
        });
        let mut answered = make(|it: &mut describe_log_dirs_response::DescribeLogDirsTopic| {
            it.name = topic.name.as_str().into();
        });
        for (index, _) in topic.indexed() {
            let wanted = asked.as_ref().is_none_or(|asked| asked.contains(&index.to_wire()));
            let size = sizes.get(&TopicPartition { topic: topic.id, partition: index });
            if let (true, Some(bytes)) = (wanted, size) {
                answered.partitions.push(make(
                    |it: &mut describe_log_dirs_response::DescribeLogDirsPartition| {
                        it.partition_index = index.to_wire();
                        it.partition_size = i64::try_from(*bytes).unwrap_or(i64::MAX);
                    },
                ));
            }
        }
        if !answered.partitions.is_empty() {
            folder.topics.push(answered);
        }
    }
    make(|it: &mut DescribeLogDirsResponse| it.results = vec![folder])
}

/// Answers AlterReplicaLogDirs: a copy stays in the one folder, if that is asked for.
pub(crate) async fn alter(
    call: &Call,
    request: AlterReplicaLogDirsRequest,
) -> AlterReplicaLogDirsResponse {
    let cluster = call.cluster();
    if let Err(code) = call.may(&cluster).need_cluster(Operation::Alter) {
        call.context.metrics.refused(call.api, code);
        return not_altered(&request, code);
    }
    altered(&request, &cluster, call.context.node, &call.context.folder)
}

/// Each copy once: of several folders for it the last counts.
fn altered(
    request: &AlterReplicaLogDirsRequest,
    cluster: &Cluster,
    node: BrokerId,
    own: &str,
) -> AlterReplicaLogDirsResponse {
    let mut wanted: BTreeMap<&str, BTreeMap<i32, &str>> = BTreeMap::new();
    for folder in &request.dirs {
        for topic in folder.topics.iter().filter(|topic| !topic.partitions.is_empty()) {
            let partitions = topic.partitions.iter().map(|index| (*index, &*folder.path));
            wanted.entry(&topic.name).or_default().extend(partitions);
        }
    }
    make(|response: &mut AlterReplicaLogDirsResponse| {
        for (name, partitions) in wanted {
            let place = |(index, path)| {
                let code = match path == own {
                    true => find_copy(cluster, node, name, index),
                    false => ErrorCode::LogDirNotFound,
                };
                line(index, code)
            };
            response.results.push(result(name, partitions.into_iter().map(place).collect()));
        }
    })
}

/// Whether there is a copy here.
fn find_copy(cluster: &Cluster, node: BrokerId, name: &str, index: i32) -> ErrorCode {
    let topic = cluster.topic(name).filter(|topic| topic.view_of.is_none());
    let partition = topic.and_then(|topic| topic.partition(PartitionIndex::from_wire(index)?));
    match partition {
        None => ErrorCode::UnknownTopicOrPartition,
        Some(partition) if !partition.replicas.contains(&node) => ErrorCode::NotLeaderOrFollower,
        Some(_) => ErrorCode::None,
    }
}

/// The same error for every place in the request.
fn not_altered(
    request: &AlterReplicaLogDirsRequest,
    code: ErrorCode,
) -> AlterReplicaLogDirsResponse {
    make(|response: &mut AlterReplicaLogDirsResponse| {
        for topic in request.dirs.iter().flat_map(|folder| &folder.topics) {
            let partitions = topic.partitions.iter().map(|index| line(*index, code));
            response.results.push(result(&topic.name, partitions.collect()));
        }
    })
}

fn result(
    name: &str,
    partitions: Vec<alter_replica_log_dirs_response::AlterReplicaLogDirPartitionResult>,
) -> alter_replica_log_dirs_response::AlterReplicaLogDirTopicResult {
    make(|it: &mut alter_replica_log_dirs_response::AlterReplicaLogDirTopicResult| {
        (it.topic_name, it.partitions) = (name.into(), partitions);
    })
}

fn line(
    index: i32,
    code: ErrorCode,
) -> alter_replica_log_dirs_response::AlterReplicaLogDirPartitionResult {
    make(|it: &mut alter_replica_log_dirs_response::AlterReplicaLogDirPartitionResult| {
        (it.partition_index, it.error_code) = (index, code.to_wire());
    })
}

#[cfg(test)]
mod tests {
    use brooklet_meta::partition::Assignment;
    use brooklet_meta::record::ClusterRecord;
    use brooklet_types::{TopicId, TopicName};
    use brooklet_wire::message::alter_replica_log_dirs_request::{
        AlterReplicaLogDir, AlterReplicaLogDirTopic,
    };

    use super::*;

    /// Topic `t`, whose first partition is on broker 1 and whose second is on broker 2.
    fn cluster() -> Cluster {
        let on = |broker| {
            let replicas = vec![BrokerId(broker)];
            Assignment { in_sync: replicas.clone(), replicas }
        };
        let placed = ClusterRecord::TopicPlaced {
            id: TopicId([1; 16]),
            name: TopicName::new("t").unwrap(),
            partitions: vec![on(1), on(2)],
            settings: Vec::new(),
        };
        let mut cluster = Cluster::default();
        cluster.apply(&placed.into());
        cluster
    }

    #[test]
    fn a_copy_is_in_the_one_folder_of_its_broker() {
        let folder = |path: &str, partitions: &[i32]| {
            make(|it: &mut AlterReplicaLogDir| {
                it.path = path.into();
                it.topics = vec![make(|it: &mut AlterReplicaLogDirTopic| {
                    (it.name, it.partitions) = ("t".into(), partitions.to_vec());
                })];
            })
        };
        let request = make(|it: &mut AlterReplicaLogDirsRequest| {
            it.dirs =
                vec![folder("/else", &[0]), folder("/own", &[2, 1, 0]), folder("/else", &[7])];
        });
        let response = altered(&request, &cluster(), BrokerId(1), "/own");
        let told = response.results.iter().flat_map(|topic| &topic.partitions);
        let told: Vec<_> = told.map(|line| (line.partition_index, line.error_code)).collect();
        let expected = [
            (0, ErrorCode::None),
            (1, ErrorCode::NotLeaderOrFollower),
            (2, ErrorCode::UnknownTopicOrPartition),
            (7, ErrorCode::LogDirNotFound),
        ];
        assert_eq!(told, expected.map(|(index, code)| (index, code.to_wire())));
    }
}
