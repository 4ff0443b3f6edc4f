//! One who keeps positions in a group: commits each a little further on, and asks what is committed.

use std::sync::Arc;

use brooklet_group as group;
use brooklet_meta::Cluster;
use brooklet_shard::GROUPS_TOPIC;
use brooklet_shard::input::Request;
use brooklet_shard::output::Reply;
use brooklet_types::{
    BrokerId, ErrorCode, LeaderEpoch, Offset, PartitionIndex, TopicName, TopicPartition,
};

use crate::cluster::client::{Client, Context};
use crate::cluster::network::{Answer, Question};

/// A leader and its epoch.
type Term = (BrokerId, LeaderEpoch);

/// A group of its own.
#[derive(Debug)]
pub(crate) struct Committer {
    number: u64,
    under_way: Option<(u64, Asked)>,
    partition: Option<TopicPartition>,
    next_number: u64,
    next_offset: u64,
}

#[derive(Clone, Copy, Debug)]
enum Asked {
    Commit(u64),
    /// With what had been acknowledged by then, and in which term of which leader.
    Fetch(u64, Option<Term>),
}

impl Committer {
    pub(crate) fn new(number: u64) -> Committer {
        Committer { number, under_way: None, partition: None, next_number: 0, next_offset: 1 }
    }

    fn group(&self) -> Arc<str> {
        Arc::from(format!("group{}", self.number))
    }

    fn commit(&mut self) -> group::Request {
        let offset = Offset::new(self.next_offset);
        self.next_offset += 1;
        group::Request::CommitOffsets(group::CommitRequest {
            group: self.group(),
            generation: None,
            member_id: Arc::from(""),
            instance_id: None,
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets: vec![group::CommitOffset {
                topic: topic(),
                topic_id: None,
                partition: PartitionIndex(0),
                offset: offset.into(),
                leader_epoch: None,
                metadata: Arc::from(""),
            }],
        })
    }
}

/// Who leads, by the newest that was decided.
fn term(ctx: &Context<'_>, partition: TopicPartition) -> Option<Term> {
    let known = ctx.oracles.images.newest()?.partition(partition)?;
    Some((known.leader?, known.leader_epoch))
}

fn topic() -> TopicName {
    TopicName::new("data0").expect("a legal name")
}

/// What a coordinator may say for a while.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
fn refused(code: ErrorCode) -> Result<(), String> {
    match code {
        ErrorCode::NotCoordinator
        | ErrorCode::CoordinatorNotAvailable
        | ErrorCode::CoordinatorLoadInProgress => Ok(()),
        code => Err(format!("a coordinator refuses: {code:?}")),
    }
}

impl Client for Committer {
    fn name(&self) -> String {
        format!("committer{}", self.number)
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(200);
        let all = ctx.partitions(|name| name == GROUPS_TOPIC);
        if all.is_empty() || self.under_way.is_some() {
            return;
        }
        let place = usize::try_from(self.number).expect("few") % all.len();
        let partition = all[place];
        let leader = ctx.known(partition).and_then(|known| known.leader);
        let to = leader.filter(|_| ctx.prng.chance(90)).unwrap_or_else(|| ctx.anybody());
        self.next_number += 1;
        let (asked, request) = if ctx.prng.chance(60) {
            let value = self.next_offset;
            ctx.oracles.commits.sent(self.number, value);
            (Asked::Commit(value), self.commit())
        } else {
            let partitions = Some(vec![(topic(), PartitionIndex(0))]);
            let fetch = group::FetchRequest { group: self.group(), partitions };
            let acknowledged = ctx.oracles.commits.acknowledged(self.number);
            // A coordinator that has not heard of its successor answers with what it knows, as Kafka's does.
            let term = term(ctx, partition).filter(|(leader, _)| *leader == to);
            (Asked::Fetch(acknowledged, term), group::Request::FetchOffsets(fetch))
        };
        self.under_way = Some((self.next_number, asked));
        self.partition = Some(partition);
        let request = Request::Group { partition: partition.partition, request, entropy: [0; 16] };
        ctx.ask(self.next_number, to, Question::Ask(partition, request));
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let (of, asked) = self.under_way.take().ok_or("an answer to no question")?;
        assert_eq!(of, number, "one question at a time");
        let Answer::Reply(reply) = answer else { return Ok(()) };
        match (asked, *reply) {
            (Asked::Commit(value), Reply::Group(group::Reply::CommitOffsets(codes))) => {
                ctx.notes.push(format!("{} commits {value}: {:?}", self.name(), codes[0]));
                if codes[0] == ErrorCode::None {
                    ctx.oracles.commits.committed(self.number, value);
                    return Ok(());
                }
                refused(codes[0])
            }
            (Asked::Fetch(acknowledged, led), Reply::Group(group::Reply::FetchOffsets(found))) => {
                if found.error != ErrorCode::None {
                    return refused(found.error);
                }
                let value = found.offsets.first().and_then(|(_, _, value)| value.as_ref());
                let value = value.map(|value| value.offset.to_wire());
                ctx.notes.push(format!("{} finds {value:?}", self.name()));
                let now = self.partition.and_then(|partition| term(ctx, partition));
                if led.is_none() || led != now {
                    return Ok(());
                }
                ctx.oracles.commits.fetched(self.number, acknowledged, value)
            }
            (_, other) => Err(format!("a committer is answered {other:?}")),
        }
    }

    fn settled(&self, _: &Cluster) -> Result<(), String> {
        Ok(())
    }
}
