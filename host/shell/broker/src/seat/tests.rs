//! A seat whose threads are the test: who carries out what, and in which order.

use std::sync::mpsc as blocking;
use std::time::Duration;

use brooklet_io::Clock;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_meta::decide::Decision;
use brooklet_meta::{Cluster, MetaRecord};
use brooklet_shard::input::{Acks, Fetch, FetchPartition, Produce};
use brooklet_shard::start::{ShardPlan, start};
use brooklet_shard::{
    ClusterId, CompactionSettings, DirectoryId, MetadataRequest, QuorumSeed, ShardSettings, SyncJob,
};
use brooklet_types::{
    BrokerId, ByteSize, Offset, PartitionIndex, Timestamp, TopicId, TopicName, TopicPartition,
};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;
use prometheus_client::registry::Registry;
use tokio::sync::watch;

use super::*;
use crate::metrics::Metrics;
use crate::peers::outward::outward;
use crate::shard_thread::inbox;

const FLIGHTS: TopicPartition =
    TopicPartition { topic: TopicId([9; 16]), partition: PartitionIndex(0) };

/// Larger than what is carried out in place.
const LARGE: usize = 100_000;

/// A seat without threads: the test is all of them.
struct Bench {
    seat: Arc<Seat<MemoryDisk>>,
    inbox: mpsc::Receiver<Envelope<MemoryDisk>>,
    syncs: blocking::Receiver<SyncJob<MemoryDisk>>,
    /// Kept, so that what the shard says to them is heard.
    _others: (blocking::Receiver<WriteBack<MemoryDisk>>, watch::Receiver<Arc<Cluster>>),
    _cleanings: blocking::Receiver<Cleaning<MemoryDisk>>,
    next_ticket: Ticket,
}

impl Bench {
    /// With a topic of one partition, which is as durable as `flush` says.
    async fn start(flush: &str) -> Bench {
        let clock = Clock::start();
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 1 << 20,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let plan = ShardPlan {
            broker: BrokerId(1),
            shards: 1,
            settings,
            journal_bytes: ByteSize::mib(1),
            cluster: Cluster::default(),
            quorum: QuorumSeed {
                cluster: ClusterId([1; 16]),
                directory: DirectoryId([2; 16]),
                entropy: 3,
                joins: false,
            },
        };
        let disk = MemoryDisk::default();
        let mut started = start(&disk, plan, clock.now(), clock.timestamp()).unwrap();
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        let (sender, inbox) = inbox();
        let (syncs, jobs) = blocking::channel();
        let (leisure, written_back) = blocking::channel();
        let (cleaner, cleanings) = blocking::channel();
        let (decided, changes) = watch::channel(Arc::clone(&started.cluster));
        let (outward, _) = outward();
        let outside =
            Outside { clock, syncs, leisure, cleaner, decided, metrics, shard: 0, outward };
        let seat = Seat::new(started.shards.remove(0), sender, outside);
        let (_others, _cleanings) = ((written_back, changes), cleanings);
        let mut bench = Bench { seat, inbox, syncs: jobs, _others, _cleanings, next_ticket: 1 };
        bench.follow(started.cluster).await;
        let record = MetaRecord::TopicCreated {
            id: FLIGHTS.topic,
            name: TopicName::new("flights").unwrap(),
            partitions: 1,
            settings: vec![("brooklet.flush".into(), flush.into())],
        };
        let create =
            MetadataRequest::new(move |_: &Cluster| Decision { records: vec![record], reply: () });
        let created = bench.ask(Request::Metadata(create)).await;
        bench.work();
        assert!(matches!(created.wait().await, Ok(Reply::Metadata { .. })));
        let cluster = Arc::clone(&bench._others.1.borrow());
        bench.follow(cluster).await;
        bench
    }

    async fn follow(&mut self, cluster: Arc<Cluster>) {
        let followed = self.seat.follow(self.next_ticket, cluster).await.unwrap();
        self.next_ticket += 1;
        self.work();
        assert!(matches!(followed.await, Ok(Reply::ClusterApplied)));
    }

    async fn ask(&mut self, request: Request) -> Answer<MemoryDisk> {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.seat.ask(ticket, request).await.unwrap()
    }

    async fn produce(&mut self, bytes: usize, acks: Acks) -> Answer<MemoryDisk> {
        let mut builder = BatchBuilder::new(Codec::None);
        builder.push(Timestamp(1), None, Some(&vec![b'x'; bytes]), &[]).unwrap();
        let batch = ValidatedBatch::trusted(builder.build().unwrap());
        let batches = vec![(0, FLIGHTS, batch)];
        self.ask(Request::Produce(Produce { batches, acks, timeout: Duration::ZERO })).await
    }

    async fn fetch(&mut self, wait_max: Duration) -> Answer<MemoryDisk> {
        let partition = FetchPartition {
            slot: 0,
            partition: FLIGHTS,
            offset: Offset::ZERO,
            max: ByteSize::mib(1),
            current_epoch: None,
            last_fetched_epoch: None,
            nearer: None,
        };
        let (min, max) = (ByteSize(1), ByteSize::mib(1));
        let (partitions, of_followers) = (vec![partition], false);
        self.ask(Request::Fetch(Fetch { partitions, min, max, wait_max, of_followers })).await
    }

    /// What the shard's two threads would do by now.
    fn work(&mut self) {
        loop {
            let mut taken = Vec::new();
            while let Ok(envelope) = self.inbox.try_recv() {
                taken.push(envelope);
            }
            let jobs: Vec<_> = self.syncs.try_iter().collect();
            if taken.is_empty() && jobs.is_empty() {
                return;
            }
            self.seat.turn(&mut taken);
            for job in jobs {
                job.run().unwrap();
                self.seat.tell(Input::Synced { id: job.id });
            }
        }
    }
}

/// The base offset of a produced batch.
async fn base(answer: Answer<MemoryDisk>) -> u64 {
    let Ok(Reply::Produced(results)) = answer.wait().await else { panic!("not produced") };
    results[0].1.as_ref().unwrap().base.value()
}

#[tokio::test]
async fn a_small_request_to_a_shard_at_rest_is_answered_at_once() {
    let mut bench = Bench::start("os").await;
    let answer = bench.produce(10, Acks::All).await;
    assert!(matches!(answer, Answer::Now(_)));
    assert_eq!(base(answer).await, 0);
    assert!(bench.inbox.try_recv().is_err(), "nothing was queued");
}

/// ARCHITECTURE §3 says two queues. The second is the connection's, of which nothing is here: what is counted
/// is that a request waits in one queue, and that its reply goes straight to whoever asked.
#[tokio::test]
async fn a_request_passes_one_queue_to_its_shard_and_its_reply_none_on_the_way_back() {
    for (flush, syncs) in [("os", 0), ("sync", 1)] {
        let mut bench = Bench::start(flush).await;
        let answer = bench.produce(LARGE, Acks::All).await;
        let Answer::Later(mut answer) = answer else { panic!("a large one is queued") };
        assert_eq!((bench.inbox.len(), bench.syncs.try_iter().count()), (1, 0), "{flush}");
        let mut taken = vec![bench.inbox.recv().await.unwrap()];
        bench.seat.turn(&mut taken);
        let jobs: Vec<_> = bench.syncs.try_iter().collect();
        assert_eq!(jobs.len(), syncs, "{flush}");
        for job in jobs {
            assert!(answer.try_recv().is_err(), "answered before it was synced");
            job.run().unwrap();
            bench.seat.tell(Input::Synced { id: job.id });
        }
        assert!(matches!(answer.try_recv(), Ok(Reply::Produced(_))), "{flush}");
        assert_eq!(bench.inbox.len(), 0, "nothing was queued again");
        assert_eq!(bench.syncs.try_iter().count(), 0);
        assert!(bench._others.0.try_recv().is_err() && bench._cleanings.try_recv().is_err());
    }
}

#[tokio::test]
async fn none_overtakes_what_is_in_the_queue() {
    let mut bench = Bench::start("os").await;
    let large = bench.produce(LARGE, Acks::All).await;
    let small = bench.produce(10, Acks::All).await;
    assert!(matches!((&large, &small), (Answer::Later(_), Answer::Later(_))));
    bench.work();
    assert_eq!((base(large).await, base(small).await), (0, 1));
    assert!(matches!(bench.produce(10, Acks::All).await, Answer::Now(_)), "at rest again");
}

#[tokio::test]
async fn an_asker_that_gives_up_in_front_of_a_full_queue_leaves_no_trace() {
    let mut bench = Bench::start("os").await;
    while bench.seat.inbox.capacity() > 0 {
        drop(bench.produce(LARGE, Acks::All).await);
    }
    let waiting = bench.produce(LARGE, Acks::All);
    assert!(tokio::time::timeout(Duration::from_millis(10), waiting).await.is_err());
    bench.work();
    assert!(matches!(bench.produce(10, Acks::All).await, Answer::Now(_)), "at rest again");
}

#[tokio::test]
async fn what_must_be_durable_is_answered_when_it_is_and_the_shard_is_free_meanwhile() {
    let mut bench = Bench::start("sync").await;
    let durable = bench.produce(10, Acks::All).await;
    let mut durable = match durable {
        Answer::Later(answer) => answer,
        Answer::Now(_) => panic!("answered before it was synced"),
    };
    let job = bench.syncs.try_recv().unwrap();
    assert!(matches!(bench.produce(10, Acks::Leader).await, Answer::Now(_)));
    assert!(durable.try_recv().is_err());
    job.run().unwrap();
    bench.seat.tell(Input::Synced { id: job.id });
    assert!(durable.try_recv().is_ok());
}

#[tokio::test]
async fn a_wait_that_begins_elsewhere_has_the_threads_look_at_the_time() {
    let mut bench = Bench::start("os").await;
    let fetch = bench.fetch(Duration::from_secs(5)).await;
    assert!(matches!(fetch, Answer::Later(_)));
    assert!(matches!(bench.inbox.try_recv(), Ok(Envelope::Tell(Input::Tick))));
    bench.fetch(Duration::from_secs(50)).await;
    assert!(bench.inbox.try_recv().is_err(), "the first wait is over sooner");
    bench.produce(10, Acks::All).await;
    assert!(matches!(fetch.wait().await, Ok(Reply::Fetched(_))));
}

#[tokio::test]
async fn a_shard_that_has_stopped_takes_nothing() {
    let mut bench = Bench::start("os").await;
    let stopped = bench.seat.stop().await.unwrap();
    let late = bench.produce(10, Acks::All).await;
    bench.work();
    assert_eq!(stopped.await.unwrap().len(), 2, "the metadata's and the topic's");
    assert!(late.wait().await.is_err());
}
