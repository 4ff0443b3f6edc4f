//! What a broker of a cluster does with its folder when it starts again: its first image is one of some time ago.

#![expect(clippy::unwrap_used, reason = "a test speaks by failing")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_meta::broker::{BrokerEpoch, DirectoryId as Folder, Incarnation, Registration};
use brooklet_meta::partition::Assignment;
use brooklet_meta::record::{ClusterRecord, FEATURE};
use brooklet_meta::{Cluster, Decision, MetaRecord};
use brooklet_shard::input::{Input, OffsetQuery, Place, Request};
use brooklet_shard::output::{Event, Output, Reply};
use brooklet_shard::start::{self, ShardPlan};
use brooklet_shard::{
    Change, ClusterId, CompactionSettings, DirectoryId, Member, MetadataRequest, QuorumSeed, Shard,
    ShardSettings,
};
use brooklet_types::{
    BrokerId, ByteSize, ErrorCode, Instant, PartitionIndex, Timestamp, TopicId, TopicName,
    TopicPartition,
};

const NOW: Instant = Instant::from_millis(1);
const CLOCK: Timestamp = Timestamp(1_000_000);
const ME: BrokerId = BrokerId(1);
const OTHER: BrokerId = BrokerId(2);
const TOPIC: TopicId = TopicId([9; 16]);
const PARTITION: TopicPartition = TopicPartition { topic: TOPIC, partition: PartitionIndex(0) };

/// A broker of one shard whose syncs are done at once.
struct Broker {
    shard: Shard<MemoryDisk>,
    replies: Vec<Reply<MemoryDisk>>,
    events: Vec<Event>,
}

impl Broker {
    fn start(disk: &MemoryDisk) -> Broker {
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 0,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let plan = ShardPlan {
            broker: ME,
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
        let mut started = start::start(disk, plan, NOW, CLOCK).unwrap();
        let shard = started.shards.remove(0);
        let mut broker = Broker { shard, replies: Vec::new(), events: Vec::new() };
        broker.follow(started.cluster);
        broker
    }

    fn follow(&mut self, cluster: Arc<Cluster>) {
        self.step(Input::Cluster { ticket: 0, cluster });
    }

    fn ask(&mut self, request: Request) {
        self.step(Input::Request { ticket: 0, request });
    }

    fn change(&mut self, record: MetaRecord) {
        let decide = move |_: &Cluster| Decision { records: vec![record], reply: () };
        self.ask(Request::Metadata(MetadataRequest::new(decide)));
    }

    fn step(&mut self, input: Input) {
        let mut inputs = vec![input];
        while let Some(input) = inputs.pop() {
            let mut outbox = Vec::new();
            self.shard.step(NOW, CLOCK, input, &mut outbox);
            self.shard.end_turn(&mut outbox);
            for output in outbox {
                match output {
                    Output::QuorumMoved(_) => {}
                    Output::Reply { reply, .. } => self.replies.push(reply),
                    Output::Sync(job) => {
                        job.run().unwrap();
                        inputs.push(Input::Synced { id: job.id });
                    }
                    Output::ClusterChanged(cluster) => {
                        inputs.push(Input::Cluster { ticket: 0, cluster });
                    }
                    Output::Event(event) => self.events.push(event),
                    Output::SendToBroker { .. }
                    | Output::FetchFrom { .. }
                    | Output::AlterPartitions { .. }
                    | Output::WriteBack { .. }
                    | Output::Compact { .. } => {}
                }
            }
        }
    }

    /// Whether it takes itself for the leader of the partition.
    fn leads(&mut self) -> bool {
        self.replies.clear();
        let query = OffsetQuery { place: Place::Latest, current_epoch: None };
        self.ask(Request::ListOffsets(vec![(0, PARTITION, query)]));
        let Some(Reply::Offsets(found)) = self.replies.pop() else { panic!("no answer") };
        found[0].1 != Err(ErrorCode::NotLeaderOrFollower)
    }
}

fn registration(epoch: BrokerEpoch) -> Registration {
    Registration {
        epoch,
        incarnation: Incarnation([1; 16]),
        directory: Folder([2; 16]),
        endpoints: Vec::new(),
        rack: None,
        features: BTreeMap::new(),
        fenced: false,
        shutting_down: false,
    }
}

/// A folder of a broker that was alone and has let another one into its quorum since.
fn member() -> MemoryDisk {
    let disk = MemoryDisk::default();
    let mut broker = Broker::start(&disk);
    let (name, settings) = (TopicName::new("flights").unwrap(), Vec::new());
    broker.change(MetaRecord::TopicCreated { id: TOPIC, name, partitions: 1, settings });
    assert!(broker.leads());
    let other = Member { broker: OTHER, directory: DirectoryId([3; 16]) };
    broker.ask(Request::ChangeMembers(Change::AddObserver(other)));
    disk
}

/// The cluster that this broker is registered in, by that epoch, and whose partition these keep.
fn cluster(epoch: BrokerEpoch, replicas: &[BrokerId]) -> Arc<Cluster> {
    let mut cluster = Cluster::default();
    let registration = registration(epoch);
    let (replicas, name) = (replicas.to_vec(), TopicName::new("flights").unwrap());
    let partitions = vec![Assignment { in_sync: replicas.clone(), replicas }];
    for record in [
        ClusterRecord::FeatureLevelSet { name: FEATURE.to_owned(), level: 1 },
        ClusterRecord::BrokerRegistered { broker: ME, registration },
        ClusterRecord::TopicPlaced { id: TOPIC, name, partitions, settings: Vec::new() },
    ] {
        cluster.apply(&MetaRecord::Cluster(record));
    }
    Arc::new(cluster)
}

#[test]
fn a_member_leads_nothing_and_removes_nothing_before_it_knows_what_was_decided() {
    let disk = member();
    let before = disk.list("topics/flights-0").unwrap();
    let mut broker = Broker::start(&disk);
    assert!(!broker.leads(), "somebody else may lead by now");
    assert_eq!(disk.list("topics/flights-0").unwrap(), before);
    // Nor with an image that is of before it was registered.
    broker.follow(cluster(BrokerEpoch(2), &[ME]));
    assert!(!broker.leads());
    broker.step(Input::Registered { epoch: BrokerEpoch(2) });
    assert!(broker.leads());
    assert_eq!(disk.list("topics/flights-0").unwrap(), before);
}

#[test]
fn what_is_not_kept_here_any_more_is_removed_with_the_first_image() {
    let disk = member();
    for (folder, identity) in [
        ("topics/gone-0", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n"),
        ("topics/gone-1~-0", "version: 0\ntopic_id: AAAAAAAAAAAAAAAAAAAAAQ\n"),
        ("topics/unsigned-0", ""),
        ("topics/notes", ""),
    ] {
        disk.create_folder(folder).unwrap();
        disk.put(&format!("{folder}/partition.metadata"), identity.as_bytes().to_vec());
    }
    let mut broker = Broker::start(&disk);
    broker.step(Input::Registered { epoch: BrokerEpoch(2) });
    assert!(disk.list("topics").unwrap().contains(&"gone-0".to_owned()));
    // While it was down its copy was moved to another.
    broker.follow(cluster(BrokerEpoch(2), &[OTHER]));
    let kept = ["__cluster_metadata-0", "notes", "unsigned-0"];
    assert_eq!(disk.list("topics").unwrap(), kept);
    assert_eq!(broker.events.len(), 3, "{:?}", broker.events);
    // What comes later is nobody's business.
    disk.create_folder("topics/late-0").unwrap();
    disk.put("topics/late-0/partition.metadata", b"topic_id: AAAAAAAAAAAAAAAAAAAAAQ\n".to_vec());
    broker.follow(cluster(BrokerEpoch(2), &[OTHER]));
    assert!(disk.list("topics").unwrap().contains(&"late-0".to_owned()));
}

#[test]
fn whoever_began_a_cluster_starts_again_before_the_others_vote() {
    let disk = MemoryDisk::default();
    let mut broker = Broker::start(&disk);
    let name = FEATURE.to_owned();
    broker.change(ClusterRecord::FeatureLevelSet { name, level: 1 }.into());
    for (epoch, broker_id) in (2..).map(BrokerEpoch).zip([ME, OTHER]) {
        let registration = registration(epoch);
        broker.change(ClusterRecord::BrokerRegistered { broker: broker_id, registration }.into());
    }
    // It is the only member of its quorum, and not the only broker that it knows of.
    let mut broker = Broker::start(&disk);
    assert!(broker.events.is_empty());
    let name = TopicName::new("flights").unwrap();
    broker.change(
        ClusterRecord::TopicPlaced {
            id: TOPIC,
            name,
            partitions: vec![Assignment { replicas: vec![ME], in_sync: vec![ME] }],
            settings: Vec::new(),
        }
        .into(),
    );
    broker.step(Input::Registered { epoch: BrokerEpoch(2) });
    assert!(broker.leads());
}
