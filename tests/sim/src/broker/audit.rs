//! Reads everything there is, and compares it with what was promised.

use std::time::Duration;

use brooklet_log::Buffers;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_shard::input::{Fetch, FetchPartition, Request};
use brooklet_shard::output::{Fetched, Reply};
use brooklet_types::{ByteSize, Offset, TopicPartition};

use crate::broker::promises::records::{Read, place};
use crate::broker::world::World;

impl World {
    /// Reads every partition from its start to its high watermark.
    pub(crate) fn audit(&mut self) -> Result<(), String> {
        let cluster = self.broker.as_ref().expect("it runs").applied();
        for topic in cluster.topics().filter(|topic| topic.name.as_str().starts_with("data")) {
            for (partition, _) in topic.indexed() {
                let id = TopicPartition { topic: topic.id, partition };
                self.audit_partition(id)?;
            }
        }
        Ok(())
    }

    fn audit_partition(&mut self, id: TopicPartition) -> Result<(), String> {
        let facts = self.promises.topics.get(id.topic);
        let first = self.fetch_now(id, Offset::ZERO)?;
        let (Some(start), Some(high_watermark)) = (first.log_start, first.high_watermark) else {
            return Err(format!("{} cannot be read: {:?}", place(id), first.error));
        };
        self.note(format_args!("{} is {start} to {high_watermark}", place(id)));
        let records = &mut self.promises.records;
        records.starts_at(id, start, facts)?;
        records.stands_at(id, start, high_watermark)?;
        let mut all = Read { from: start, next: start, records: Vec::new() };
        while all.next < high_watermark {
            let fetched = self.fetch_now(id, all.next)?;
            if let Some(code) = fetched.error {
                if facts.damaged {
                    return Ok(());
                }
                return Err(format!("{} at {}: {code:?}", place(id), all.next));
            }
            let Some(plan) = fetched.plan else { break };
            let chunks = match plan.run(&mut Buffers::default()) {
                Ok(chunks) => chunks,
                Err(_) if facts.damaged => return Ok(()),
                Err(error) => return Err(format!("{} at {}: {error}", place(id), all.next)),
            };
            let read = self.promises.records.parse(all.next, &chunks)?;
            if read.next == all.next {
                // What is left was compacted.
                break;
            }
            all.next = read.next;
            all.records.extend(read.records);
        }
        if all.next < high_watermark && !facts.was_compacted && !facts.damaged {
            let next = all.next;
            return Err(format!("{} is read to {next} of {high_watermark}", place(id)));
        }
        self.promises.records.audited(id, &all, facts)
    }

    fn fetch_now(
        &mut self,
        partition: TopicPartition,
        offset: Offset,
    ) -> Result<Fetched<MemoryDisk>, String> {
        let shards = self.broker.as_ref().expect("it runs").shards();
        let shard = brooklet_shard::shard_of(partition, shards);
        let wanted = FetchPartition {
            slot: 0,
            partition,
            offset,
            max: ByteSize::kib(16),
            current_epoch: None,
            last_fetched_epoch: None,
            nearer: None,
        };
        let fetch = Fetch {
            partitions: vec![wanted],
            min: ByteSize(0),
            max: ByteSize::kib(16),
            wait_max: Duration::ZERO,
            of_followers: true,
        };
        let Reply::Fetched(mut found) = self.ask_now(shard, Request::Fetch(fetch))? else {
            return Err("a fetch is answered otherwise".to_owned());
        };
        Ok(found.remove(0).1)
    }
}
