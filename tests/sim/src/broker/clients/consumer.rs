//! A consumer without a group: finds its places, reads on from them, and waits where there is nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::{Buffers, ReadError};
use brooklet_shard::input::{Fetch, FetchPartition, OffsetQuery, Place, Request, Slot};
use brooklet_shard::output::{Fetched, FoundOffset, Reply};
use brooklet_types::{ByteSize, ErrorCode, Offset, Timestamp, TopicPartition};

use crate::broker::client::{Answer, Client, Context};
use crate::broker::promises::records::place;

/// A consumer.
#[derive(Debug)]
pub(crate) struct Consumer {
    name: String,
    positions: BTreeMap<TopicPartition, Offset>,
    in_flight: BTreeMap<u64, Vec<(TopicPartition, Offset)>>,
    next_number: u64,
}

impl Consumer {
    pub(crate) fn new(name: String) -> Consumer {
        let (positions, in_flight) = (BTreeMap::new(), BTreeMap::new());
        Consumer { name, positions, in_flight, next_number: 0 }
    }

    fn number(&mut self, asked: Vec<(TopicPartition, Offset)>) -> u64 {
        self.next_number += 1;
        self.in_flight.insert(self.next_number, asked);
        self.next_number
    }

    /// Partitions of one shard: those without a place are looked up, else some are read.
    fn ask(&mut self, ctx: &mut Context<'_>) {
        let all = ctx.partitions(|name| name.starts_with("data"));
        self.positions.retain(|partition, _| all.contains(partition));
        let shard = u32::try_from(ctx.prng.below(u64::from(ctx.shards))).expect("few");
        let mut here: Vec<TopicPartition> = all;
        here.retain(|partition| ctx.shard_of(*partition) == shard && ctx.prng.chance(60));
        let lost = here.iter().filter(|it| !self.positions.contains_key(it));
        let lost: Vec<TopicPartition> = lost.copied().collect();
        if !lost.is_empty() {
            self.look_up(ctx, shard, &lost);
        } else if !here.is_empty() {
            self.fetch(ctx, shard, &here);
        }
    }

    fn look_up(&mut self, ctx: &mut Context<'_>, shard: u32, partitions: &[TopicPartition]) {
        let sought = match ctx.prng.below(10) {
            0..6 => Place::Earliest,
            6 => Place::MaxTimestamp,
            7 => Place::At(Timestamp(ctx.clock.0 - 500)),
            _ => Place::Latest,
        };
        let asked = partitions.iter().map(|partition| (*partition, Offset::ZERO)).collect();
        let number = self.number(asked);
        let query = OffsetQuery { place: sought, current_epoch: None };
        let queries = (0..).zip(partitions).map(|(slot, partition)| (slot, *partition, query));
        ctx.ask(number, shard, Request::ListOffsets(queries.collect()));
    }

    fn fetch(&mut self, ctx: &mut Context<'_>, shard: u32, partitions: &[TopicPartition]) {
        let asked: Vec<_> = partitions.iter().map(|it| (*it, self.positions[it])).collect();
        let max = ByteSize(1 + ctx.prng.below(8_000));
        let wanted = (0..).zip(&asked).map(|(slot, (partition, offset))| FetchPartition {
            slot,
            partition: *partition,
            offset: *offset,
            max,
            current_epoch: None,
            last_fetched_epoch: None,
            nearer: None,
        });
        let fetch = Fetch {
            partitions: wanted.collect(),
            min: ByteSize(
                [0, 1, 1, 400, 100_000][usize::try_from(ctx.prng.below(5)).expect("few")],
            ),
            max: ByteSize(1 + ctx.prng.below(20_000)),
            wait_max: Duration::from_millis(ctx.prng.below(2) * ctx.prng.below(200)),
            of_followers: true,
        };
        let number = self.number(asked);
        ctx.ask(number, shard, Request::Fetch(fetch));
    }

    fn found(
        &mut self,
        ctx: &mut Context<'_>,
        asked: &[(TopicPartition, Offset)],
        found: Vec<(Slot, Result<FoundOffset, ErrorCode>)>,
    ) -> Result<(), String> {
        for (slot, found) in found {
            let (partition, _) = asked[usize::try_from(slot).expect("few")];
            let refuses = ctx.promises.disk_refuses;
            let facts = ctx.promises.topics.get(partition.topic);
            match found {
                Ok(found) => {
                    let offset = found.offset.unwrap_or(Offset::ZERO);
                    self.positions.insert(partition, offset);
                }
                Err(ErrorCode::NotLeaderOrFollower) if facts.deleted || refuses => {}
                Err(_) if facts.damaged => {}
                Err(code) => return Err(format!("offsets of {}: {code:?}", place(partition))),
            }
        }
        Ok(())
    }

    fn fetched(
        &mut self,
        ctx: &mut Context<'_>,
        (partition, offset): (TopicPartition, Offset),
        fetched: Fetched<MemoryDisk>,
    ) -> Result<(), String> {
        let refuses = ctx.promises.disk_refuses;
        let facts = ctx.promises.topics.get(partition.topic);
        if let Some(start) = fetched.log_start {
            ctx.promises.records.starts_at(partition, start, facts)?;
        }
        if let Some(code) = fetched.error {
            self.positions.remove(&partition);
            let before = fetched.log_start.is_some_and(|start| offset < start);
            #[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
            return match code {
                ErrorCode::NotLeaderOrFollower if facts.deleted || refuses => Ok(()),
                ErrorCode::OffsetOutOfRange if before || facts.was_os => Ok(()),
                _ if facts.damaged => Ok(()),
                code => Err(format!("a fetch of {} at {offset}: {code:?}", place(partition))),
            };
        }
        let Some(plan) = fetched.plan else { return Ok(()) };
        let chunks = match plan.run(&mut Buffers::default()) {
            Ok(chunks) => chunks,
            Err(ReadError::Corrupt { next, .. }) if facts.damaged => {
                self.positions.insert(partition, next.max(offset));
                return Ok(());
            }
            Err(_) if facts.damaged => return Ok(()),
            Err(error) => return Err(format!("{} at {offset}: {error}", place(partition))),
        };
        let read = ctx.promises.records.parse(offset, &chunks)?;
        if fetched.high_watermark.is_none_or(|end| end < read.next) {
            return Err(format!("{} is read beyond its high watermark", place(partition)));
        }
        self.positions.insert(partition, read.next);
        ctx.promises.records.read(partition, &read, facts)
    }
}

impl Client for Consumer {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        if self.in_flight.is_empty() {
            self.ask(ctx);
        }
        ctx.wake_within(30);
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let asked = self.in_flight.remove(&number).ok_or("an answer to no question")?;
        match answer {
            Answer::Gone => Ok(()),
            Answer::Reply(Reply::Offsets(found)) => self.found(ctx, &asked, found),
            Answer::Reply(Reply::Fetched(found)) => {
                for (slot, fetched) in found {
                    let asked = asked[usize::try_from(slot).expect("few")];
                    self.fetched(ctx, asked, fetched)?;
                }
                Ok(())
            }
            Answer::Reply(other) => Err(format!("a consumer is answered {other:?}")),
        }
    }
}
