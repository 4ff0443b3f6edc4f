//! A consumer without a group: reads every partition from its start, and asks where it ends.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_log::Buffers;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::Cluster;
use brooklet_shard::input::{Fetch, FetchPartition, OffsetQuery, Place, Request};
use brooklet_shard::output::{Fetched, FoundOffset, Reply};
use brooklet_types::{ByteSize, ErrorCode, LeaderEpoch, Offset, TopicPartition};

use crate::cluster::client::{Client, Context};
use crate::cluster::network::{Answer, Question};
use crate::cluster::records::{self, Parsed};

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    number: u64,
    positions: BTreeMap<TopicPartition, Offset>,
    under_way: BTreeMap<u64, (TopicPartition, LeaderEpoch, Offset)>,
    next_number: u64,
}

impl Consumer {
    pub(crate) fn new(number: u64) -> Consumer {
        let (positions, under_way) = (BTreeMap::new(), BTreeMap::new());
        Consumer { number, positions, under_way, next_number: 0 }
    }

    fn fetched(
        &mut self,
        ctx: &mut Context<'_>,
        (partition, offset): (TopicPartition, Offset),
        fetched: Fetched<MemoryDisk>,
    ) -> Result<(), String> {
        if let Some(code) = fetched.error {
            return refused(partition, code);
        }
        let Some(plan) = fetched.plan else { return Ok(()) };
        let chunks = plan.run(&mut Buffers::default()).map_err(|error| error.to_string())?;
        let bytes: Vec<u8> = chunks.into_iter().flatten().collect();
        let Parsed { seen, next, .. } = records::parse(offset, &bytes)?;
        if fetched.high_watermark.is_none_or(|end| end < next) {
            return Err(format!("{partition:?} is read to {next}, beyond its high watermark"));
        }
        self.positions.insert(partition, next);
        seen.iter().try_for_each(|one| ctx.oracles.agreement.read(partition, *one))
    }

    fn told(
        &self,
        ctx: &mut Context<'_>,
        (partition, epoch): (TopicPartition, LeaderEpoch),
        found: Result<FoundOffset, ErrorCode>,
    ) -> Result<(), String> {
        match found {
            Ok(FoundOffset { offset: Some(latest), .. }) => {
                ctx.oracles.watermark.told(self.number, partition, epoch, latest)
            }
            Ok(_) => Err("a partition ends nowhere".to_owned()),
            Err(code) => refused(partition, code),
        }
    }
}

/// What a broker may say to a consumer that asks the wrong one, or too early.
#[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
fn refused(partition: TopicPartition, code: ErrorCode) -> Result<(), String> {
    match code {
        ErrorCode::NotLeaderOrFollower
        | ErrorCode::FencedLeaderEpoch
        | ErrorCode::UnknownLeaderEpoch
        | ErrorCode::OffsetNotAvailable => Ok(()),
        // What a new leader does not know yet to be safe.
        ErrorCode::OffsetOutOfRange => Ok(()),
        code => Err(format!("{partition:?} is refused: {code:?}")),
    }
}

impl Client for Consumer {
    fn name(&self) -> String {
        format!("consumer{}", self.number)
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(150);
        let all = ctx.partitions(|name| name.starts_with("data"));
        let Some(partition) = ctx.prng.pick(&all).copied() else { return };
        let is_busy = self.under_way.values().any(|(busy, _, _)| *busy == partition);
        let Some(known) = ctx.known(partition).filter(|_| !is_busy) else { return };
        let epoch = known.leader_epoch;
        let to = known.leader.filter(|_| ctx.prng.chance(80));
        let to = to.unwrap_or_else(|| ctx.anybody());
        let offset = self.positions.get(&partition).copied().unwrap_or_default();
        self.next_number += 1;
        let number = self.next_number;
        self.under_way.insert(number, (partition, epoch, offset));
        let request = if ctx.prng.chance(30) {
            let query = OffsetQuery { place: Place::Latest, current_epoch: Some(epoch) };
            Request::ListOffsets(vec![(0, partition, query)])
        } else {
            let wanted = FetchPartition {
                slot: 0,
                partition,
                offset,
                max: ByteSize::kib(64),
                current_epoch: Some(epoch),
                last_fetched_epoch: None,
                nearer: None,
            };
            Request::Fetch(Fetch {
                partitions: vec![wanted],
                min: ByteSize(1),
                max: ByteSize::kib(64),
                wait_max: Duration::from_millis(100),
                of_followers: false,
            })
        };
        ctx.ask(number, to, Question::Ask(partition, request));
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let asked = self.under_way.remove(&number).ok_or("an answer to no question")?;
        let (partition, epoch, offset) = asked;
        let Answer::Reply(reply) = answer else { return Ok(()) };
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
        match *reply {
            Reply::Fetched(mut found) => self.fetched(ctx, (partition, offset), found.remove(0).1),
            Reply::Offsets(mut found) => self.told(ctx, (partition, epoch), found.remove(0).1),
            other => Err(format!("a consumer is answered {other:?}")),
        }
    }

    fn settled(&self, _: &Cluster) -> Result<(), String> {
        Ok(())
    }
}
