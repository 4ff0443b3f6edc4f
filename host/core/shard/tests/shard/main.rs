//! A shard on a disk in memory: what is answered when, and what a restart finds again.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

use std::sync::Arc;
use std::time::Duration;

use brooklet_log::compaction::Job;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::journal::Journal;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Buffers, Disk};
use brooklet_meta::{Cluster, MetaRecord};
use brooklet_shard::input::{
    Acks, Fetch, FetchPartition, Input, OffsetQuery, Place, Produce, Request, Ticket,
};
use brooklet_shard::output::{Event, Output, Produced, Refusal, Reply};
use brooklet_shard::{
    ClusterId, CompactionSettings, DirectoryId, Identity, Journaled, Metadata, QuorumSeed, Shard,
    ShardSettings, SyncJob,
};
use brooklet_types::{
    BrokerId, ByteSize, ErrorCode, Instant, LeaderEpoch, Offset, PartitionIndex, Timestamp,
    TopicId, TopicName, TopicPartition,
};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;

mod compaction;
mod quorum;

const BROKER: BrokerId = BrokerId(1);
const CLOCK: Timestamp = Timestamp(1_000_000);
const SEED: QuorumSeed = QuorumSeed {
    cluster: ClusterId([1; 16]),
    directory: DirectoryId([2; 16]),
    entropy: 3,
    joins: false,
};
const TOPIC: TopicId = TopicId([9; 16]);

/// A shard, its disk, and what it has said that nobody has looked at yet.
struct Bench {
    disk: MemoryDisk,
    shard: Shard<MemoryDisk>,
    now: Instant,
    replies: Vec<(Ticket, Reply<MemoryDisk>)>,
    syncs: Vec<SyncJob<MemoryDisk>>,
    jobs: Vec<(TopicPartition, Box<Job<MemoryDisk>>)>,
    events: Vec<Event>,
    next_ticket: Ticket,
}

impl Bench {
    fn start(disk: MemoryDisk) -> Bench {
        Bench::start_after(disk, true)
    }

    /// Whether the last stop was clean decides whether a new epoch of leaders begins.
    fn start_after(disk: MemoryDisk, clean: bool) -> Bench {
        let metadata =
            Metadata::start(&disk, Cluster::default(), BROKER, clean, (CLOCK, SEED)).unwrap();
        disk.create_folder("journal").unwrap();
        let (journal, entries) = Journal::open(&disk, "journal/0", ByteSize::mib(1)).unwrap();
        let mut journaled = Journaled { journal, recovered: Default::default() };
        for entry in entries {
            journaled.recovered.entry(entry.partition).or_default().push(entry);
        }
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 1 << 20,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let identity = Identity { broker: BROKER, shard: 0, shards: 1 };
        let cluster = metadata.cluster();
        let now = Instant::from_millis(1);
        let shard = Shard::new(disk.clone(), identity, settings, Some(metadata), journaled, now);
        let mut bench = Bench {
            disk,
            shard,
            now,
            replies: Vec::new(),
            syncs: Vec::new(),
            jobs: Vec::new(),
            events: Vec::new(),
            next_ticket: 1,
        };
        bench.step(Input::Cluster { ticket: 0, cluster });
        bench.finish_syncs();
        bench.replies.clear();
        bench
    }

    /// A shard with a topic of `partitions` partitions and these settings.
    fn with_topic(partitions: u32, settings: &[(&str, &str)]) -> Bench {
        let mut bench = Bench::start(MemoryDisk::default());
        let settings: Vec<(String, String)> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let name = TopicName::new("flights").unwrap();
        let record = MetaRecord::TopicCreated { id: TOPIC, name, partitions, settings };
        let request = brooklet_shard::MetadataRequest::new(move |_: &Cluster| {
            brooklet_meta::Decision { records: vec![record], reply: () }
        });
        let ticket = bench.ask(Request::Metadata(request));
        bench.finish_syncs();
        assert!(matches!(bench.reply(ticket), Some(Reply::Metadata { .. })));
        bench
    }

    fn step(&mut self, input: Input) {
        let mut outbox = Vec::new();
        self.shard.step(self.now, CLOCK, input, &mut outbox);
        self.shard.end_turn(&mut outbox);
        for output in outbox {
            match output {
                Output::Reply { ticket, reply } => self.replies.push((ticket, reply)),
                Output::Sync(job) => self.syncs.push(job),
                Output::ClusterChanged(cluster) => self.follow(cluster),
                Output::SendToBroker { .. } => panic!("there is no other broker"),
                Output::QuorumMoved(_) => {}
                Output::WriteBack { dirty, .. } => dirty.sync().unwrap(),
                Output::Compact { partition, topic, job } => {
                    assert_eq!(topic.as_str(), "flights");
                    self.jobs.push((partition, job));
                }
                Output::FetchFrom { .. } | Output::AlterPartitions { .. } => {
                    panic!("a broker alone")
                }
                Output::Event(event) => self.events.push(event),
            }
        }
        assert!(self.syncs.len() <= 1, "one sync at a time");
        assert!(self.jobs.len() <= 1, "one job at a time");
    }

    fn follow(&mut self, cluster: Arc<Cluster>) {
        self.step(Input::Cluster { ticket: 0, cluster });
    }

    fn ask(&mut self, request: Request) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.step(Input::Request { ticket, request });
        ticket
    }

    fn finish_sync(&mut self) -> bool {
        let Some(job) = self.syncs.pop() else { return false };
        job.run().unwrap();
        self.step(Input::Synced { id: job.id });
        true
    }

    fn finish_syncs(&mut self) {
        while self.finish_sync() {}
    }

    /// Lets the shard look for a log to clean, if it wants to by then.
    fn look_for_dirt(&mut self) {
        self.now = self.now + Duration::from_secs(15);
        if self.shard.next_deadline().is_some_and(|deadline| deadline <= self.now) {
            self.step(Input::Tick);
        }
        self.finish_syncs();
    }

    /// Runs the cleaner's jobs to their end.
    fn clean(&mut self) {
        while let Some((partition, job)) = self.jobs.pop() {
            let outcome = job.run(&|| true).map(Box::new);
            self.step(Input::Compacted { partition, outcome });
        }
    }

    fn reply(&mut self, ticket: Ticket) -> Option<Reply<MemoryDisk>> {
        let place = self.replies.iter().position(|(answered, _)| *answered == ticket)?;
        Some(self.replies.remove(place).1)
    }

    fn produce(&mut self, partition: u32, value: &str, acks: Acks) -> Ticket {
        let batches = vec![(0, place(partition), record(value))];
        self.ask(Request::Produce(Produce { batches, acks, timeout: Duration::ZERO }))
    }

    fn produced(&mut self, ticket: Ticket) -> Option<Result<Produced, Refusal>> {
        let Reply::Produced(mut results) = self.reply(ticket)? else { panic!("not a produce's") };
        Some(results.remove(0).1)
    }

    fn fetch(&mut self, offset: u64, wait_ms: u64) -> Ticket {
        self.fetch_in(None, offset, wait_ms)
    }

    fn fetch_in(&mut self, epoch: Option<u32>, offset: u64, wait_ms: u64) -> Ticket {
        let wanted = FetchPartition {
            slot: 0,
            partition: place(0),
            offset: Offset::new(offset),
            max: ByteSize::mib(1),
            current_epoch: epoch.map(LeaderEpoch),
            last_fetched_epoch: None,
            nearer: None,
        };
        self.ask(Request::Fetch(Fetch {
            partitions: vec![wanted],
            min: ByteSize(1),
            max: ByteSize::mib(1),
            wait_max: Duration::from_millis(wait_ms),
            of_followers: false,
        }))
    }

    /// The values a fetch found, or its error; none when it is still waiting.
    fn fetched(&mut self, ticket: Ticket) -> Option<Result<Vec<String>, ErrorCode>> {
        let Reply::Fetched(mut found) = self.reply(ticket)? else { panic!("not a fetch's reply") };
        let found = found.remove(0).1;
        if let Some(code) = found.error {
            return Some(Err(code));
        }
        let mut values = Vec::new();
        if let Some(plan) = found.plan {
            for chunk in plan.run(&mut Buffers::default()).unwrap() {
                for (_, bytes) in batch::split(&chunk).map(Result::unwrap) {
                    for record in batch::records(bytes).unwrap().iter() {
                        let value = record.unwrap().value.unwrap().to_vec();
                        values.push(String::from_utf8(value).unwrap());
                    }
                }
            }
        }
        Some(Ok(values))
    }
}

fn place(partition: u32) -> TopicPartition {
    TopicPartition { topic: TOPIC, partition: PartitionIndex(partition) }
}

fn record(value: &str) -> ValidatedBatch {
    let mut builder = BatchBuilder::new(Codec::None);
    builder.push(CLOCK, Some(b"key"), Some(value.as_bytes()), &[]).unwrap();
    ValidatedBatch::trusted(builder.build().unwrap())
}

#[test]
fn acks_all_waits_for_a_sync_that_began_after_the_write() {
    let mut bench = Bench::with_topic(1, &[]);
    let first = bench.produce(0, "first", Acks::All);
    let second = bench.produce(0, "second", Acks::All);
    assert!(bench.produced(first).is_none() && bench.produced(second).is_none());
    assert!(bench.finish_sync());
    assert_eq!(bench.produced(first).unwrap().unwrap().base, Offset::new(0));
    assert!(bench.produced(second).is_none(), "written while the first sync ran");
    assert!(bench.finish_sync());
    assert_eq!(bench.produced(second).unwrap().unwrap().base, Offset::new(1));
    assert!(!bench.finish_sync(), "nothing is left to sync");
}

#[test]
fn acks_of_the_leader_wait_for_nothing_and_readers_wait_for_the_disk() {
    let mut bench = Bench::with_topic(1, &[]);
    let produced = bench.produce(0, "soon", Acks::Leader);
    assert!(bench.produced(produced).unwrap().is_ok());
    let early = bench.fetch(0, 0);
    assert_eq!(bench.fetched(early).unwrap().unwrap(), Vec::<String>::new());
    bench.finish_syncs();
    let late = bench.fetch(0, 0);
    assert_eq!(bench.fetched(late).unwrap().unwrap(), ["soon"]);
}

#[test]
fn a_topic_flushed_by_the_system_needs_no_sync() {
    let mut bench = Bench::with_topic(1, &[("brooklet.flush", "os")]);
    bench.finish_syncs();
    let produced = bench.produce(0, "at once", Acks::All);
    assert!(bench.produced(produced).unwrap().is_ok());
    assert!(!bench.finish_sync());
    let fetched = bench.fetch(0, 0);
    assert_eq!(bench.fetched(fetched).unwrap().unwrap(), ["at once"]);
}

#[test]
fn a_fetch_waits_until_there_is_something_or_its_time_is_up() {
    let mut bench = Bench::with_topic(1, &[]);
    let woken = bench.fetch(0, 500);
    assert!(bench.fetched(woken).is_none());
    bench.produce(0, "hello", Acks::All);
    bench.finish_syncs();
    assert_eq!(bench.fetched(woken).unwrap().unwrap(), ["hello"]);
    let late = bench.fetch(1, 500);
    assert!(bench.fetched(late).is_none());
    bench.now = bench.shard.next_deadline().unwrap();
    bench.step(Input::Tick);
    assert_eq!(bench.fetched(late).unwrap().unwrap(), Vec::<String>::new());
    let beyond = bench.fetch(2, 500);
    assert_eq!(bench.fetched(beyond).unwrap(), Err(ErrorCode::OffsetOutOfRange));
}

#[test]
fn an_abandoned_fetch_leaves_nothing_behind() {
    let mut bench = Bench::with_topic(1, &[]);
    let before = bench.shard.next_deadline();
    let ticket = bench.fetch(0, 500);
    bench.step(Input::Abandoned { ticket });
    assert_eq!(bench.shard.next_deadline(), before);
}

#[test]
fn no_more_copies_are_asked_for_than_a_topic_has() {
    let mut bench = Bench::with_topic(1, &[("min.insync.replicas", "2")]);
    let produced = bench.produce(0, "yes", Acks::All);
    bench.finish_syncs();
    assert!(bench.produced(produced).unwrap().is_ok());
}

#[test]
fn many_dirty_partitions_cost_one_sync_and_survive_the_power() {
    const PARTITIONS: u32 = 200;
    let mut bench = Bench::with_topic(PARTITIONS, &[]);
    bench.finish_syncs();
    let batches =
        (0..PARTITIONS).map(|index| (index, place(index), record(&format!("value {index}"))));
    let produce = Produce { batches: batches.collect(), acks: Acks::All, timeout: Duration::ZERO };
    let ticket = bench.ask(Request::Produce(produce));
    assert_eq!(bench.syncs[0].sync_count(), 1, "the journal's");
    bench.finish_syncs();
    assert!(matches!(bench.reply(ticket), Some(Reply::Produced(_))));
    let disk = bench.disk.clone();
    drop(bench);
    // Of the segments' unsynced writes nothing is left.
    disk.crash(|_, _| 0, false);
    let mut bench = Bench::start(disk);
    for index in 0..PARTITIONS {
        let query = OffsetQuery { place: Place::Latest, current_epoch: None };
        let ticket = bench.ask(Request::ListOffsets(vec![(0, place(index), query)]));
        let Some(Reply::Offsets(found)) = bench.reply(ticket) else { panic!("no offsets") };
        let found = found[0].1.unwrap();
        assert_eq!(found.offset, Some(Offset::new(1)), "partition {index}");
    }
    let fetched = bench.fetch(0, 0);
    assert_eq!(bench.fetched(fetched).unwrap().unwrap(), ["value 0"]);
}

#[test]
fn what_was_acknowledged_is_there_after_a_restart() {
    let mut bench = Bench::with_topic(1, &[]);
    for number in 0..20 {
        bench.produce(0, &format!("value {number}"), Acks::All);
    }
    bench.finish_syncs();
    let disk = bench.disk.clone();
    drop(bench);
    disk.crash(|_, _| 0, false);
    let mut bench = Bench::start(disk);
    let fetched = bench.fetch(0, 0);
    assert_eq!(bench.fetched(fetched).unwrap().unwrap().len(), 20);
}

#[test]
fn who_knows_another_epoch_of_leaders_is_told_so() {
    let mut bench = Bench::with_topic(1, &[]);
    bench.produce(0, "of epoch 0", Acks::All);
    bench.finish_syncs();
    let disk = bench.disk.clone();
    drop(bench);
    let mut bench = Bench::start_after(disk, false);
    let table = [
        (None, Ok(())),
        (Some(0), Err(ErrorCode::FencedLeaderEpoch)),
        (Some(1), Ok(())),
        (Some(2), Err(ErrorCode::UnknownLeaderEpoch)),
    ];
    for (epoch, expected) in table {
        let ticket = bench.fetch_in(epoch, 0, 0);
        assert_eq!(bench.fetched(ticket).unwrap().map(|_| ()), expected, "fetch in {epoch:?}");
        let query = OffsetQuery { place: Place::Latest, current_epoch: epoch.map(LeaderEpoch) };
        let ticket = bench.ask(Request::ListOffsets(vec![(0, place(0), query)]));
        let Some(Reply::Offsets(found)) = bench.reply(ticket) else { panic!("no offsets") };
        assert_eq!(found[0].1.map(|_| ()), expected, "offsets in {epoch:?}");
    }
}

#[test]
fn a_deleted_topic_leaves_no_files_and_no_readers() {
    let mut bench = Bench::with_topic(1, &[]);
    bench.produce(0, "gone", Acks::All);
    bench.finish_syncs();
    let waiting = bench.fetch(1, 500);
    let request = brooklet_shard::MetadataRequest::new(|_: &Cluster| brooklet_meta::Decision {
        records: vec![MetaRecord::TopicDeleted { id: TOPIC }],
        reply: (),
    });
    bench.ask(Request::Metadata(request));
    bench.finish_syncs();
    assert_eq!(bench.fetched(waiting).unwrap(), Err(ErrorCode::NotLeaderOrFollower));
    assert_eq!(bench.disk.list("topics").unwrap(), ["__cluster_metadata-0"]);
}
