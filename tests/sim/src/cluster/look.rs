//! Looks into brokers: what is in their logs, whom they take for a leader.

use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::{Disk, DiskFile};
use brooklet_shard::GROUPS_TOPIC;
use brooklet_shard::input::{OffsetQuery, Place as Sought, Request};
use brooklet_shard::output::{FoundOffset, LogDescription, Reply};
use brooklet_types::{Offset, TopicPartition};

use crate::cluster::bug::Bug;
use crate::cluster::node::{Node, Place};
use crate::cluster::records;
use crate::cluster::world::World;

impl World {
    /// Compares what all brokers have with what is known to be safe, from where the last look ended.
    pub(crate) fn compare(&mut self) -> Result<(), String> {
        for (at, log) in self.logs() {
            self.see_leader(at, log.partition)?;
            self.compare_log(at, &log)?;
        }
        Ok(())
    }

    /// Whether every broker has everything, and knows it. All of it is looked at again.
    pub(crate) fn whole(&mut self) -> Result<(), String> {
        self.looked.clear();
        let all = self.logs();
        for (at, log) in &all {
            let (id, here) = (at.broker, log.partition);
            if log.high_watermark != log.end {
                let (safe, end) = (log.high_watermark, log.end);
                return Err(format!("healed, and of {here:?} {safe} of {end} is safe to {id}"));
            }
            let leader =
                all.iter().find(|(_, other)| other.partition == here && other.end > log.end);
            if let Some((other, longer)) = leader {
                let (other, end) = (other.broker, longer.end);
                return Err(format!("healed, and {id} has {} of {here:?}, {other} {end}", log.end));
            }
        }
        self.compare()?;
        for (_, log) in all {
            self.oracles.acknowledged.ends(log.partition, log.end)?;
        }
        Ok(())
    }

    /// Every log of every broker that runs, of topics with named records.
    fn logs(&mut self) -> Vec<(Place, LogDescription)> {
        let mut all = Vec::new();
        let places: Vec<Place> = self.nodes.values().map(Node::place).collect();
        for at in places {
            let Some(running) = self.running(at) else { continue };
            let (shards, image) = (running.shards(), std::sync::Arc::clone(&running.applied));
            let is_named = |log: &LogDescription| {
                let topic = image.topic_by_id(log.partition.topic);
                topic.is_some_and(|topic| topic.name.as_str() != GROUPS_TOPIC)
            };
            for shard in 0..shards {
                if let Some(Reply::Logs(logs)) = self.look_now(at, shard, Request::DescribeLogs) {
                    all.extend(logs.into_iter().filter(is_named).map(|log| (at, log)));
                }
            }
        }
        all
    }

    fn compare_log(&mut self, at: Place, log: &LogDescription) -> Result<(), String> {
        let LogDescription { partition, start, high_watermark, .. } = *log;
        let known = self.looked.get(&(at, partition)).copied();
        let Looked { mut next, mut segment, mut position } =
            known.unwrap_or(Looked { next: start, segment: 0, position: 0 });
        let image = self.running(at).map(|running| std::sync::Arc::clone(&running.applied));
        let topic = image.as_ref().and_then(|image| image.topic_by_id(partition.topic));
        let name = topic.map(|topic| topic.name.as_str().to_owned()).unwrap_or_default();
        let folder = format!("topics/{name}-{}", partition.partition);
        let disk = self.nodes[&at.broker].disk.clone();
        while next < high_watermark {
            let here = segment_of(&disk, &folder, next)?;
            if here != segment {
                (segment, position) = (here, 0);
            }
            let path = format!("{folder}/{segment:020}.log");
            let bytes = read(&disk, &path, position).map_err(|error| format!("{path}: {error}"))?;
            let parsed = records::parse(next, &bytes);
            let parsed = parsed.map_err(|error| format!("{path} of {}: {error}", at.broker))?;
            if parsed.next == next {
                return Err(format!(
                    "{} takes {high_watermark} of {partition:?} for safe and has nothing at {next}",
                    at.broker
                ));
            }
            for seen in parsed.seen.iter().filter(|seen| seen.offset < high_watermark) {
                let oracles = &mut self.oracles;
                oracles.agreement.safe_to(at.broker, partition, *seen)?;
                oracles.acknowledged.safe(partition, *seen)?;
            }
            if parsed.next > high_watermark {
                break;
            }
            (next, position) = (parsed.next, position + parsed.bytes);
            self.looked.insert((at, partition), Looked { next, segment, position });
        }
        Ok(())
    }

    /// Remembers in which epoch a broker takes itself for the leader.
    pub(crate) fn see_leader(
        &mut self,
        at: Place,
        partition: TopicPartition,
    ) -> Result<(), String> {
        let Some(shards) = self.running(at).map(|running| running.shards()) else { return Ok(()) };
        let shard = brooklet_shard::shard_of(partition, shards);
        let query = OffsetQuery { place: Sought::Latest, current_epoch: None };
        let request = Request::ListOffsets(vec![(0, partition, query)]);
        let Some(Reply::Offsets(found)) = self.look_now(at, shard, request) else { return Ok(()) };
        match found.first() {
            Some((_, Ok(FoundOffset { epoch: Some(epoch), .. }))) => {
                self.oracles.epochs.leads(partition, *epoch, at)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Makes of a client's request what a bug would.
    #[expect(clippy::wildcard_enum_match_arm, reason = "the rest is as it was")]
    pub(crate) fn spoiled(&self, request: Request) -> Request {
        if self.bug != Bug::StaleLeaderAnswers {
            return request;
        }
        match request {
            Request::ListOffsets(mut queries) => {
                queries.iter_mut().for_each(|(_, _, query)| query.current_epoch = None);
                Request::ListOffsets(queries)
            }
            Request::Fetch(mut fetch) => {
                fetch.partitions.iter_mut().for_each(|one| one.current_epoch = None);
                Request::Fetch(fetch)
            }
            request => request,
        }
    }
}

/// How far a log was looked at: up to an offset, and where that is in its file.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Looked {
    next: Offset,
    segment: u64,
    position: u64,
}

/// The segment with that offset: the last that begins no later.
fn segment_of(disk: &MemoryDisk, folder: &str, offset: Offset) -> Result<u64, String> {
    let names = disk.list(folder).map_err(|error| error.to_string())?;
    let first = names.iter().filter_map(|name| name.strip_suffix(".log")?.parse::<u64>().ok());
    let found = first.filter(|first| *first <= offset.value()).max();
    found.ok_or_else(|| format!("{folder} has no segment with {offset}"))
}

/// Some of a file: as much as is looked at in one go.
fn read(disk: &MemoryDisk, path: &str, position: u64) -> std::io::Result<Vec<u8>> {
    let mut bytes = vec![0; 1 << 16];
    let count = disk.open(path)?.read_at(&mut bytes, position)?;
    bytes.truncate(count);
    Ok(bytes)
}
