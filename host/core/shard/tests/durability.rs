//! What a shard shows to whom and when, and what a start finds after it has ended without notice.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

use std::sync::Arc;
use std::time::Duration;

use brooklet_group as group;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::validate::ValidatedBatch;
use brooklet_log::{Buffers, Dirty, Disk};
use brooklet_meta::{Cluster, Decision, MetaRecord};
use brooklet_shard::input::{Acks, Fetch, FetchPartition, Input, Produce, Request, Ticket};
use brooklet_shard::output::{Output, Reply};
use brooklet_shard::start::{self, ShardPlan};
use brooklet_shard::{
    ClusterId, CompactionSettings, DirectoryId, GROUPS_TOPIC, MetadataRequest, QuorumSeed, Shard,
    ShardSettings, SyncJob,
};
use brooklet_types::{
    BrokerId, ByteSize, ErrorCode, Instant, Offset, PartitionIndex, ProducerEpoch, ProducerId,
    Timestamp, TopicId, TopicName, TopicPartition,
};
use brooklet_wire::batch::{self, BatchBuilder};
use brooklet_wire::compress::Codec;

const CLOCK: Timestamp = Timestamp(1_000_000);
const TOPIC: TopicId = TopicId([9; 16]);
const PARTITION: TopicPartition = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };

/// A broker of one shard.
struct Broker {
    disk: MemoryDisk,
    shard: Shard<MemoryDisk>,
    syncs: Vec<SyncJob<MemoryDisk>>,
    write_backs: Vec<(TopicPartition, Dirty<MemoryDisk>)>,
    replies: Vec<(Ticket, Reply<MemoryDisk>)>,
    next_ticket: Ticket,
}

impl Broker {
    /// As far as a start comes by itself: nothing is synced that it does not wait for.
    fn start(disk: &MemoryDisk) -> Broker {
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 0,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let plan = ShardPlan {
            broker: BrokerId(1),
            shards: 1,
            settings,
            journal_bytes: ByteSize::kib(64),
            cluster: Cluster::default(),
            quorum: QuorumSeed {
                cluster: ClusterId([1; 16]),
                directory: DirectoryId([2; 16]),
                entropy: 3,
                joins: false,
            },
        };
        let mut started = start::start(disk, plan, Instant::from_millis(1), CLOCK).unwrap();
        let mut broker = Broker {
            disk: disk.clone(),
            shard: started.shards.remove(0),
            syncs: Vec::new(),
            write_backs: Vec::new(),
            replies: Vec::new(),
            next_ticket: 1,
        };
        broker.step(Input::Cluster { ticket: 0, cluster: started.cluster });
        broker
    }

    /// With a topic of one partition and these settings.
    fn with_topic(settings: &[(&str, &str)]) -> Broker {
        Broker::with_partitions(1, settings)
    }

    fn with_partitions(partitions: u32, settings: &[(&str, &str)]) -> Broker {
        let mut broker = Broker::start(&MemoryDisk::default());
        let name = TopicName::new("flights").unwrap();
        let settings = settings.iter().map(|(name, value)| ((*name).into(), (*value).into()));
        let settings = settings.collect();
        broker.change(MetaRecord::TopicCreated { id: TOPIC, name, partitions, settings });
        broker
    }

    /// The power goes; of what was not synced nothing is left. The names of `kept` are.
    fn lose_power(self, kept: impl FnMut() -> bool) -> Broker {
        let Broker { disk, .. } = self;
        disk.settle_names(kept);
        disk.crash(|_, _| 0, false);
        Broker::start(&disk)
    }

    fn change(&mut self, record: MetaRecord) {
        let decide = move |_: &Cluster| Decision { records: vec![record], reply: () };
        self.ask(Request::Metadata(MetadataRequest::new(decide)));
        self.finish_syncs();
    }

    fn step(&mut self, input: Input) {
        let mut outbox = Vec::new();
        self.shard.step(Instant::from_millis(2), CLOCK, input, &mut outbox);
        self.shard.end_turn(&mut outbox);
        for output in outbox {
            match output {
                Output::Reply { ticket, reply } => self.replies.push((ticket, reply)),
                Output::Sync(job) => self.syncs.push(job),
                Output::ClusterChanged(cluster) => self.follow(cluster),
                Output::SendToBroker { .. } => panic!("there is no other broker"),
                Output::QuorumMoved(_) => {}
                Output::WriteBack { partition, dirty } => self.write_backs.push((partition, dirty)),
                Output::FetchFrom { .. } | Output::AlterPartitions { .. } => {
                    panic!("a broker alone")
                }
                Output::Compact { .. } | Output::Event(_) => {}
            }
        }
    }

    fn follow(&mut self, cluster: Arc<Cluster>) {
        self.step(Input::Cluster { ticket: 0, cluster });
    }

    fn finish_syncs(&mut self) {
        while let Some(job) = self.syncs.pop() {
            job.run().unwrap();
            self.step(Input::Synced { id: job.id });
        }
    }

    fn ask(&mut self, request: Request) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.step(Input::Request { ticket, request });
        ticket
    }

    fn produce(&mut self, sequence: i32) -> Ticket {
        let batches = vec![(0, PARTITION, Broker::batch(sequence))];
        self.ask(Request::Produce(Produce { batches, acks: Acks::All, timeout: Duration::ZERO }))
    }

    fn batch(sequence: i32) -> ValidatedBatch {
        let builder = BatchBuilder::new(Codec::None);
        let mut builder = builder.producer(ProducerId(1), ProducerEpoch(0), sequence);
        let value = format!("value {sequence}");
        builder.push(CLOCK, None, Some(value.as_bytes()), &[]).unwrap();
        ValidatedBatch::trusted(builder.build().unwrap())
    }

    fn is_answered(&self, ticket: Ticket) -> bool {
        self.replies.iter().any(|(answered, _)| *answered == ticket)
    }

    /// The first offset and every value that can be read.
    fn read(&mut self) -> (Offset, Vec<String>) {
        let wanted = |offset| FetchPartition {
            slot: 0,
            partition: PARTITION,
            offset,
            max: ByteSize::mib(1),
            current_epoch: None,
            last_fetched_epoch: None,
            nearer: None,
        };
        let mut start = Offset::ZERO;
        loop {
            let (min, max, wait_max) = (ByteSize(0), ByteSize::mib(1), Duration::ZERO);
            let partitions = vec![wanted(start)];
            let fetch = Fetch { partitions, min, max, wait_max, of_followers: false };
            let ticket = self.ask(Request::Fetch(fetch));
            let place = self.replies.iter().position(|(of, _)| *of == ticket).unwrap();
            let (_, reply) = self.replies.remove(place);
            let Reply::Fetched(mut found) = reply else { panic!("not a fetch's reply") };
            let found = found.remove(0).1;
            if found.log_start.unwrap() > start {
                start = found.log_start.unwrap();
                continue;
            }
            let chunks = found.plan.map(|plan| plan.run(&mut Buffers::default()).unwrap());
            let mut values = Vec::new();
            for chunk in chunks.into_iter().flatten() {
                for (_, bytes) in batch::split(&chunk).map(Result::unwrap) {
                    for record in batch::records(bytes).unwrap().iter() {
                        let value = record.unwrap().value.unwrap().to_vec();
                        values.push(String::from_utf8(value).unwrap());
                    }
                }
            }
            return (start, values);
        }
    }
}

#[test]
fn what_a_start_finds_is_shown_when_it_is_on_the_disk() {
    let mut broker = Broker::with_topic(&[]);
    broker.produce(0);
    // The process is killed; what it wrote is in the page cache.
    let mut broker = Broker::start(&broker.disk);
    assert!(!broker.is_answered(0), "nobody may read yet");
    broker.finish_syncs();
    assert!(broker.is_answered(0));
    let mut broker = broker.lose_power(|| false);
    assert_eq!(broker.read().1, ["value 0"]);
}

#[test]
fn a_batch_sent_again_is_acknowledged_when_it_is_on_the_disk() {
    let mut broker = Broker::with_topic(&[]);
    broker.produce(0);
    let mut broker = Broker::start(&broker.disk);
    let again = broker.produce(0);
    assert!(!broker.is_answered(again));
    broker.finish_syncs();
    assert!(broker.is_answered(again));
}

#[test]
fn who_waits_for_a_sync_is_answered_when_the_topic_goes() {
    let mut broker = Broker::with_topic(&[]);
    let first = broker.produce(0);
    // Written while a sync is under way; before the next one the topic is gone.
    let second = broker.produce(1);
    let mut newer = Cluster::default();
    for _ in 0..100 {
        newer.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true });
    }
    broker.follow(Arc::new(newer));
    broker.finish_syncs();
    assert!(broker.is_answered(first) && broker.is_answered(second));
}

#[test]
fn what_a_log_has_synced_by_itself_is_shown() {
    let mut broker = Broker::with_topic(&[]);
    broker.produce(0);
    broker.finish_syncs();
    broker.produce(1);
    broker.produce(2);
    // Nobody may be told of a start that the log could end before, so the log syncs.
    broker.ask(Request::DeleteRecords(vec![(0, PARTITION, Some(Offset::new(1)))]));
    broker.finish_syncs();
    assert_eq!(broker.read(), (Offset::new(1), vec!["value 1".to_owned(), "value 2".to_owned()]));
}

#[test]
fn once_syncs_are_waited_for_they_cover_what_was_written_before() {
    // A segment is full with its second index entry.
    let small = [("segment.index.bytes", "4"), ("index.interval.bytes", "0")];
    let settings = [&[("brooklet.flush", "os")], &small[..]].concat();
    // The last of them begins a segment, or does not.
    for count in 3..7 {
        let mut broker = Broker::with_topic(&settings);
        for sequence in 0..count {
            broker.produce(sequence);
        }
        assert!(!broker.write_backs.is_empty(), "what is closed is to be written back at leisure");
        let changes = vec![("brooklet.flush".to_owned(), Some("sync".to_owned()))];
        broker.change(MetaRecord::TopicSettingsChanged { id: TOPIC, changes });
        let mut broker = broker.lose_power(|| false);
        let expected = (0..count).map(|sequence| format!("value {sequence}")).collect();
        assert_eq!(broker.read(), (Offset::ZERO, expected));
    }
}

#[test]
fn a_log_begins_where_it_began_whichever_names_the_power_leaves() {
    let small = [("segment.index.bytes", "4"), ("index.interval.bytes", "0")];
    for lost in 0..12 {
        let mut broker = Broker::with_topic(&small);
        for sequence in 0..4 {
            broker.produce(sequence);
        }
        let mut number = 0;
        let mut broker = broker.lose_power(|| {
            number += 1;
            number - 1 != lost
        });
        assert_eq!(broker.read().0, Offset::ZERO, "without change {lost}");
    }
}

#[test]
fn a_change_of_the_cluster_survives_among_many_writes() {
    let mut broker = Broker::with_partitions(20, &[]);
    broker.produce(0);
    // While a sync is under way: together that is what the journal is for.
    let batches = (0..20).map(|index| {
        let partition = TopicPartition { topic: TOPIC, partition: PartitionIndex(index) };
        (index, partition, Broker::batch(1))
    });
    let batches = batches.collect();
    broker.ask(Request::Produce(Produce { batches, acks: Acks::All, timeout: Duration::ZERO }));
    broker.change(MetaRecord::TopicDeleted { id: TOPIC });
    let broker = broker.lose_power(|| false);
    assert_eq!(broker.disk.list("topics").unwrap(), ["__cluster_metadata-0"]);
}

#[test]
fn who_waits_for_a_group_is_told_when_its_topic_goes() {
    let mut broker = Broker::start(&MemoryDisk::default());
    let created = |id| MetaRecord::TopicCreated {
        id,
        name: TopicName::new(GROUPS_TOPIC).unwrap(),
        partitions: 1,
        settings: Vec::new(),
    };
    broker.change(created(TOPIC));
    let commit = group::CommitRequest {
        group: Arc::from("pilots"),
        generation: None,
        member_id: Arc::from(""),
        instance_id: None,
        retention_ms: None,
        knows_group_id_not_found: true,
        offsets: vec![group::CommitOffset {
            topic: TopicName::new("flights").unwrap(),
            topic_id: None,
            partition: PartitionIndex(0),
            offset: Offset::new(7).into(),
            leader_epoch: None,
            metadata: Arc::from(""),
        }],
    };
    let request = group::Request::CommitOffsets(commit);
    let partition = PartitionIndex(0);
    let ticket = broker.ask(Request::Group { partition, request, entropy: [0; 16] });
    // Before the commit is durable there is another topic of that name.
    let mut newer = Cluster::default();
    for _ in 0..100 {
        newer.apply(&MetaRecord::BrokerStarted { broker: BrokerId(1), clean: true });
    }
    newer.apply(&created(TopicId([8; 16])));
    broker.follow(Arc::new(newer));
    broker.finish_syncs();
    let answers = broker.replies.iter().filter(|(of, _)| *of == ticket);
    let answers: Vec<_> = answers.map(|(_, reply)| reply).collect();
    let [Reply::Group(group::Reply::CommitOffsets(codes))] = answers[..] else {
        panic!("{answers:?}")
    };
    assert_eq!(codes[..], [ErrorCode::NotCoordinator]);
}
