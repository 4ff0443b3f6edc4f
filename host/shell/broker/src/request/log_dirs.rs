//! DescribeLogDirs: how much every partition holds, and how much room there is.
//!
//! **Decides** nothing. There is one folder; its sizes are the file system's.

use std::collections::BTreeMap;

use brooklet_types::{ErrorCode, Operation, TopicPartition};
use brooklet_wire::message::{
    DescribeLogDirsRequest, DescribeLogDirsResponse, describe_log_dirs_response, make,
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
