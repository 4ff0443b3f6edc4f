//! What the controller is asked to decide, and answers as they come over the wire.

use brooklet_log::Buffers;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::broker::{BrokerEpoch, DirectoryId};
use brooklet_meta::controller::{Duty, QuorumMember};
use brooklet_meta::decide::alter_partition::{AlterPartition, alter_partitions};
use brooklet_meta::decide::election::balance_leaders;
use brooklet_meta::decide::heartbeat::fence_broker;
use brooklet_meta::decide::setting::{Alteration, Operation, Resource, alter_settings};
use brooklet_meta::decide::topic::{NewTopic, create_topics};
use brooklet_meta::lifecycle;
use brooklet_meta::{Cluster, Decision, Partition};
use brooklet_shard::input::{CopyFound, Request};
use brooklet_shard::output::{Fetched, Reply};
use brooklet_shard::{Altered, Change, Member, MetadataRequest, PartitionEpoch, QuorumDescription};
use brooklet_types::{BrokerId, ErrorCode};

use crate::cluster::network::Answer;

/// A decision's answer, or why there is none.
pub(crate) type Decided<T> = Result<T, ErrorCode>;

pub(crate) fn decided<Answer: Send + 'static>(
    decide: impl FnOnce(&Cluster) -> Decision<Answer> + Send + 'static,
) -> Request {
    Request::Metadata(MetadataRequest::new(decide))
}

pub(crate) fn refused<T>(code: ErrorCode) -> Decision<Decided<T>> {
    Decision { records: Vec::new(), reply: Err(code) }
}

pub(crate) fn not_controller() -> Answer {
    let reply = Err(ErrorCode::NotController);
    Answer::Reply(Box::new(Reply::Metadata { reply, version: 0 }))
}

pub(crate) fn altered(
    cluster: &Cluster,
    from: BrokerId,
    epoch: BrokerEpoch,
    wanted: &[AlterPartition],
) -> Decision<Decided<Vec<Decided<Partition>>>> {
    match alter_partitions(cluster, from, epoch, wanted) {
        Err(error) => refused(error.code()),
        Ok(Decision { records, reply }) => {
            let reply = reply.into_iter().map(|one| one.map_err(|error| error.code()));
            Decision { records, reply: Ok(reply.collect()) }
        }
    }
}

pub(crate) fn created(cluster: &Cluster, topic: NewTopic) -> Decision<Decided<()>> {
    let Decision { records, mut reply } = create_topics(cluster, &[topic], false);
    let reply = reply.remove(0).map(drop).map_err(|error| error.code());
    Decision { records, reply }
}

/// Sets something that nothing here depends on.
pub(crate) fn set(cluster: &Cluster, value: u64) -> Decision<Decided<()>> {
    let change = Alteration {
        name: "log.cleaner.min.compaction.lag.ms".to_owned(),
        operation: Operation::Set,
        value: Some(value.to_string()),
    };
    let all = Resource::Broker(String::new());
    let Decision { records, .. } = alter_settings(cluster, &[(all, vec![change])], false);
    Decision { records, reply: Ok(()) }
}

/// What the shard is asked, so that a duty is done.
pub(crate) fn carried_out(duty: Duty) -> Request {
    match duty {
        Duty::Fence(broker, epoch) => {
            decided(move |cluster: &Cluster| fence_broker(cluster, broker, epoch))
        }
        Duty::Promote(broker, DirectoryId(directory)) => {
            let directory = brooklet_shard::DirectoryId(directory);
            Request::ChangeMembers(Change::AddVoter(Member { broker, directory }))
        }
        Duty::ElectPreferred => decided(|cluster: &Cluster| balance_leaders(cluster, 100)),
    }
}

pub(crate) fn members(quorum: &QuorumDescription) -> Vec<QuorumMember> {
    let member = |it: &brooklet_shard::Replica| {
        (it.member.broker, DirectoryId(it.member.directory.0), it.voter)
    };
    quorum.replicas.iter().map(member).collect()
}

/// The answer to a question for the controller.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else answers those")]
pub(crate) fn taken<T: 'static>(answer: Answer) -> Result<lifecycle::Answer<T>, String> {
    match answer {
        Answer::Lost => Ok(lifecycle::Answer::Lost),
        Answer::Reply(reply) => match *reply {
            Reply::Metadata { reply: Err(code), .. } => Ok(lifecycle::Answer::Refused(code)),
            Reply::Metadata { reply: Ok(reply), .. } => {
                let decided = reply.downcast::<Decided<T>>();
                match *decided.map_err(|_| "a decision of another kind".to_owned())? {
                    Ok(taken) => Ok(lifecycle::Answer::Ok(taken)),
                    Err(code) => Ok(lifecycle::Answer::Refused(code)),
                }
            }
            other => Err(format!("the controller answers {other:?}")),
        },
        Answer::Found(_) => Err("the controller answers with records".to_owned()),
    }
}

pub(crate) fn outcome(one: Decided<Partition>) -> Altered {
    match one {
        Ok(partition) => Altered::Applied {
            leader_epoch: partition.leader_epoch,
            partition_epoch: PartitionEpoch(partition.epoch.0),
            in_sync: partition.in_sync.into_iter().collect(),
        },
        Err(code) => Altered::Refused(code),
    }
}

/// What a leader found, as it comes over the wire.
pub(crate) fn carried(fetched: Fetched<MemoryDisk>) -> CopyFound {
    let Fetched { error, high_watermark, log_start, diverging, plan, nearer: _ } = fetched;
    match (error, diverging) {
        (Some(ErrorCode::OffsetOutOfRange), Some(end)) => {
            let (log_start, log_end) = (log_start.expect("told"), end.end.expect("told"));
            CopyFound::OutOfRange { log_start, log_end }
        }
        (Some(code), _) => CopyFound::Refused(code),
        (None, Some(end)) => {
            CopyFound::Diverging { epoch: end.epoch.expect("told"), end: end.end.expect("told") }
        }
        (None, None) => {
            let read = plan.map(|plan| plan.run(&mut Buffers::default()));
            let Ok(chunks) = read.transpose() else {
                return CopyFound::Refused(ErrorCode::KafkaStorageError);
            };
            let records: Vec<u8> = chunks.into_iter().flatten().flatten().collect();
            CopyFound::Served {
                high_watermark: high_watermark.expect("told"),
                log_start: log_start.expect("told"),
                records: records.into(),
            }
        }
    }
}
