//! Brokers of one shard each on disks in memory, a controller, and what they say to each other, carried by hand.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use brooklet_log::Disk;
use brooklet_log::disk::memory::MemoryDisk;
use brooklet_log::journal::Journal;
use brooklet_meta::broker::{BrokerEpoch, DirectoryId, Incarnation, Registration};
use brooklet_meta::decide::alter_partition::alter_partitions;
use brooklet_meta::partition::Assignment;
use brooklet_meta::record::{ClusterRecord, FEATURE};
use brooklet_meta::{Cluster, MetaRecord, Partition};
use brooklet_shard::input::{
    Acks, AlterAnswer, CopyFound, Fetch, FetchPartition, Input, Produce, ReplicaFetch,
    ReplicaFetchPartition, Request, Ticket,
};
use brooklet_shard::output::{Alter, CopyFetch, Event, Fetched, Output, Produced, Refusal, Reply};
use brooklet_shard::{
    Altered, CompactionSettings, GROUPS_TOPIC, Identity, Journaled, PartitionEpoch, Shard,
    ShardSettings, SyncJob,
};
use brooklet_types::{
    BrokerId, ByteSize, ErrorCode, Instant, Offset, PartitionIndex, Timestamp, TopicId, TopicName,
    TopicPartition,
};

use crate::wire::{answer, bytes_of, carried, record, values};

pub(crate) const CLOCK: Timestamp = Timestamp(1_000_000);

/// Topics whose partition 0 is on the second of two shards, which has no metadata.
pub(crate) const FLIGHTS: TopicPartition = place(9);
pub(crate) const ALONE: TopicPartition = place(11);
pub(crate) const GROUPS: TopicPartition = place(7);

const fn place(id: u8) -> TopicPartition {
    TopicPartition { topic: TopicId([id; 16]), partition: PartitionIndex(0) }
}

/// One broker.
struct Node {
    disk: MemoryDisk,
    shard: Shard<MemoryDisk>,
    syncs: Vec<SyncJob<MemoryDisk>>,
    holds_syncs: bool,
    high_watermarks: BTreeMap<TopicPartition, Offset>,
}

/// A fetch that a leader has not answered.
struct UnderWay {
    from: i32,
    wanted: Vec<CopyFetch>,
}

pub(crate) struct World {
    pub(crate) cluster: Cluster,
    pub(crate) now: Instant,
    nodes: BTreeMap<i32, Node>,
    /// Whom nobody reaches, and who reaches nobody.
    pub(crate) cut_off: BTreeSet<i32>,
    unclean: BTreeSet<i32>,
    outputs: VecDeque<(i32, Output<MemoryDisk>)>,
    fetches: BTreeMap<(i32, Ticket), UnderWay>,
    replies: BTreeMap<Ticket, Reply<MemoryDisk>>,
    pub(crate) events: Vec<(i32, Event)>,
    next: u64,
}

impl World {
    /// Three brokers; `flights` has copies on the first `copies` of them, `alone` on the first only.
    pub(crate) fn new(copies: i32, settings: &[(&str, &str)]) -> World {
        let mut world = World {
            cluster: Cluster::default(),
            now: Instant::from_millis(1),
            nodes: BTreeMap::new(),
            cut_off: BTreeSet::new(),
            unclean: BTreeSet::new(),
            outputs: VecDeque::new(),
            fetches: BTreeMap::new(),
            replies: BTreeMap::new(),
            events: Vec::new(),
            next: 1,
        };
        world.apply(ClusterRecord::FeatureLevelSet { name: FEATURE.to_owned(), level: 1 });
        for id in 1..=3 {
            world.register(id);
            world.start(id, MemoryDisk::default());
        }
        let settings: Vec<_> =
            settings.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        world.create(FLIGHTS, "flights", copies, settings);
        world.create(ALONE, "alone", 1, Vec::new());
        world.create(GROUPS, GROUPS_TOPIC, copies, Vec::new());
        world.publish();
        world
    }

    fn create(
        &mut self,
        id: TopicPartition,
        name: &str,
        copies: i32,
        settings: Vec<(String, String)>,
    ) {
        let replicas: Vec<BrokerId> = (1..=copies).map(broker).collect();
        let in_sync = replicas.clone();
        let name = TopicName::new(name).unwrap();
        let partitions = vec![Assignment { replicas, in_sync }];
        self.apply(ClusterRecord::TopicPlaced { id: id.topic, name, partitions, settings });
    }

    pub(crate) fn apply(&mut self, record: ClusterRecord) {
        self.cluster.apply(&MetaRecord::Cluster(record));
    }

    /// Gives a broker a new registration.
    pub(crate) fn register(&mut self, id: i32) {
        let epoch = BrokerEpoch(self.cluster.version() + 1);
        let registration = Registration {
            epoch,
            incarnation: Incarnation([1; 16]),
            directory: DirectoryId([2; 16]),
            endpoints: Vec::new(),
            rack: None,
            features: BTreeMap::new(),
            fenced: false,
            shutting_down: false,
        };
        self.apply(ClusterRecord::BrokerRegistered { broker: broker(id), registration });
    }

    /// Starts a broker on a disk, with the registration that it has.
    pub(crate) fn start(&mut self, id: i32, disk: MemoryDisk) {
        disk.create_folder("journal").unwrap();
        let (journal, entries) = Journal::open(&disk, "journal/1", ByteSize::mib(1)).unwrap();
        let mut journaled = Journaled { journal, recovered: BTreeMap::new() };
        for entry in entries {
            journaled.recovered.entry(entry.partition).or_default().push(entry);
        }
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 0,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let identity = Identity { broker: broker(id), shard: 1, shards: 2 };
        let shard = Shard::new(disk.clone(), identity, settings, None, journaled, self.now);
        let epoch = self.cluster.registration(broker(id)).unwrap().epoch;
        let (syncs, high_watermarks) = (Vec::new(), BTreeMap::new());
        let holds_syncs = false;
        let node = Node { disk, shard, syncs, holds_syncs, high_watermarks };
        self.nodes.insert(id, node);
        self.step(id, Input::Registered { epoch });
    }

    /// A broker is killed and comes again; what was not synced is lost. The controller takes notice of it.
    pub(crate) fn restart(&mut self, id: i32) {
        let Node { disk, shard, .. } = self.nodes.remove(&id).unwrap();
        drop(shard);
        disk.crash(|_, _| 0, false);
        self.fetches.retain(|(leader, _), under_way| *leader != id && under_way.from != id);
        self.outputs.retain(|(from, _)| *from != id);
        self.register(id);
        self.start(id, disk);
        self.publish();
    }

    /// Changes one partition as the controller would.
    pub(crate) fn change(&mut self, id: TopicPartition, change: impl FnOnce(&mut Partition)) {
        let mut now = self.cluster.partition(id).unwrap().clone();
        now.epoch = now.epoch.next();
        change(&mut now);
        let (topic, partition) = (id.topic, id.partition);
        self.apply(ClusterRecord::PartitionChanged { topic, partition, now });
        self.publish();
    }

    /// Another broker leads from now on.
    pub(crate) fn elect(&mut self, id: TopicPartition, leader: i32) {
        self.change(id, |partition| {
            partition.leader = Some(broker(leader));
            partition.leader_epoch.0 += 1;
        });
    }

    /// Tells everybody who can be reached of the cluster, and lets them do what they do.
    pub(crate) fn publish(&mut self) {
        let cluster = Arc::new(self.cluster.clone());
        for id in self.reachable() {
            let cluster = Arc::clone(&cluster);
            self.step(id, Input::Cluster { ticket: 0, cluster });
        }
        self.run();
    }

    fn reachable(&self) -> Vec<i32> {
        self.nodes.keys().filter(|id| !self.cut_off.contains(id)).copied().collect()
    }

    /// A broker may cut what was safe from here on: an election was not clean.
    pub(crate) fn expect_violation(&mut self, id: i32) {
        self.nodes.get_mut(&id).unwrap().high_watermarks.clear();
        self.unclean.insert(id);
    }

    pub(crate) fn hold_syncs(&mut self, id: i32, holds: bool) {
        self.nodes.get_mut(&id).unwrap().holds_syncs = holds;
        self.run();
    }

    pub(crate) fn step(&mut self, id: i32, input: Input) {
        let Some(node) = self.nodes.get_mut(&id) else { return };
        let mut outbox = Vec::new();
        node.shard.step(self.now, CLOCK, input, &mut outbox);
        node.shard.end_turn(&mut outbox);
        self.outputs.extend(outbox.into_iter().map(|output| (id, output)));
    }

    /// Carries what there is to carry, until everybody waits.
    pub(crate) fn run(&mut self) {
        loop {
            while let Some((id, output)) = self.outputs.pop_front() {
                self.perform(id, output);
            }
            self.finish_syncs();
            if self.outputs.is_empty() {
                break;
            }
        }
        for id in self.reachable() {
            self.check_high_watermarks(id);
        }
    }

    fn finish_syncs(&mut self) {
        for id in self.nodes.keys().copied().collect::<Vec<_>>() {
            let node = self.nodes.get_mut(&id).unwrap();
            if node.holds_syncs {
                continue;
            }
            if let Some(job) = node.syncs.pop() {
                job.run().unwrap();
                self.step(id, Input::Synced { id: job.id });
            }
        }
    }

    fn perform(&mut self, id: i32, output: Output<MemoryDisk>) {
        match output {
            Output::Reply { ticket, reply } => match self.fetches.remove(&(id, ticket)) {
                Some(under_way) => self.carry_back(id, under_way, reply),
                None => {
                    let again = self.replies.insert(ticket, reply);
                    assert!(ticket == 0 || again.is_none(), "answered twice: {ticket}");
                }
            },
            Output::Sync(job) => {
                let node = self.nodes.get_mut(&id).unwrap();
                node.syncs.push(job);
                assert!(node.syncs.len() == 1, "one sync at a time");
            }
            Output::WriteBack { dirty, .. } => dirty.sync().unwrap(),
            Output::FetchFrom { leader, epoch, partitions } => {
                self.carry_fetch(id, leader.0, epoch, partitions);
            }
            Output::AlterPartitions { epoch, wanted } => self.alter(id, epoch, wanted),
            Output::Event(Event::GroupsLoaded { .. }) => {}
            Output::Event(event) => self.events.push((id, event)),
            Output::QuorumMoved(_) => {}
            Output::Compact { .. } | Output::ClusterChanged(_) | Output::SendToBroker { .. } => {
                panic!("{output:?}")
            }
        }
    }

    fn carry_fetch(&mut self, from: i32, leader: i32, epoch: BrokerEpoch, wanted: Vec<CopyFetch>) {
        if self.cut_off.contains(&from) || self.cut_off.contains(&leader) {
            let lost = |one: &CopyFetch| answer(one, CopyFound::Lost);
            let answers = wanted.iter().map(lost).collect();
            return self.step(from, Input::FetchedFrom { answers, entropy: self.next });
        }
        let asked = |(slot, one): (usize, &CopyFetch)| ReplicaFetchPartition {
            slot: u32::try_from(slot).unwrap(),
            partition: one.partition,
            offset: one.offset,
            max: ByteSize::mib(1),
            leader_epoch: one.leader_epoch,
            last_epoch: one.last_epoch,
            high_watermark: Some(one.high_watermark),
        };
        let fetch = ReplicaFetch {
            broker: broker(from),
            epoch,
            partitions: wanted.iter().enumerate().map(asked).collect(),
            min: ByteSize(1),
            max: ByteSize::mib(10),
            wait_max: Duration::from_millis(500),
        };
        let ticket = self.ticket();
        self.fetches.insert((leader, ticket), UnderWay { from, wanted });
        self.step(leader, Input::Request { ticket, request: Request::Replicate(fetch) });
    }

    fn carry_back(&mut self, leader: i32, under_way: UnderWay, reply: Reply<MemoryDisk>) {
        let UnderWay { from, wanted } = under_way;
        let Reply::Fetched(found) = reply else { panic!("not a fetch's reply") };
        let is_lost = self.cut_off.contains(&from) || self.cut_off.contains(&leader);
        let carried = |(slot, fetched): (u32, Fetched<MemoryDisk>)| {
            let one = &wanted[usize::try_from(slot).unwrap()];
            answer(one, if is_lost { CopyFound::Lost } else { carried(fetched) })
        };
        let answers = found.into_iter().map(carried).collect();
        self.step(from, Input::FetchedFrom { answers, entropy: self.next });
    }

    fn alter(&mut self, id: i32, epoch: BrokerEpoch, asked: Vec<Alter>) {
        let wanted: Vec<_> = asked.iter().map(|one| one.wanted.clone()).collect();
        let outcomes: Vec<Altered> = if self.cut_off.contains(&id) {
            wanted.iter().map(|_| Altered::Lost).collect()
        } else {
            let decision = alter_partitions(&self.cluster, broker(id), epoch, &wanted).unwrap();
            decision.records.iter().for_each(|record| self.cluster.apply(record));
            let outcome = |one: Result<Partition, _>| match one {
                Ok(partition) => Altered::Applied {
                    leader_epoch: partition.leader_epoch,
                    partition_epoch: PartitionEpoch(partition.epoch.0),
                    in_sync: partition.in_sync.into_iter().collect(),
                },
                Err(error) => Altered::Refused(
                    brooklet_meta::decide::alter_partition::AlterPartitionError::code(&error),
                ),
            };
            decision.reply.into_iter().map(outcome).collect()
        };
        let answers = asked.into_iter().zip(outcomes).map(|(one, outcome)| {
            let Alter { change, wanted } = one;
            let (topic, partition) = (wanted.topic, wanted.partition);
            let partition = TopicPartition { topic, partition };
            AlterAnswer { partition, leader_epoch: wanted.leader_epoch, change, outcome }
        });
        let answers = answers.collect();
        self.step(id, Input::Altered(answers));
        let cluster = Arc::new(self.cluster.clone());
        for id in self.reachable() {
            self.step(id, Input::Cluster { ticket: 0, cluster: Arc::clone(&cluster) });
        }
    }

    /// Time passes; who wants to hear of it does.
    pub(crate) fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        self.run();
        while self.now < until {
            let deadlines = self.nodes.values().filter_map(|node| node.shard.next_deadline());
            self.now = deadlines.min().unwrap_or(until).max(self.now).min(until);
            for id in self.nodes.keys().copied().collect::<Vec<_>>() {
                let deadline = self.nodes[&id].shard.next_deadline();
                if deadline.is_some_and(|deadline| deadline <= self.now) {
                    self.step(id, Input::Tick);
                }
            }
            self.run();
        }
    }

    fn ticket(&mut self) -> Ticket {
        self.next += 1;
        self.next
    }

    pub(crate) fn ask(&mut self, id: i32, request: Request) -> Ticket {
        let ticket = self.ticket();
        self.step(id, Input::Request { ticket, request });
        self.run();
        ticket
    }

    pub(crate) fn reply(&mut self, ticket: Ticket) -> Option<Reply<MemoryDisk>> {
        self.replies.remove(&ticket)
    }

    pub(crate) fn produce(&mut self, id: i32, value: &str, acks: Acks) -> Ticket {
        self.produce_to(id, &[FLIGHTS], value, acks)
    }

    /// Gives followers a minute.
    pub(crate) fn produce_to(
        &mut self,
        id: i32,
        to: &[TopicPartition],
        value: &str,
        acks: Acks,
    ) -> Ticket {
        let timeout = Duration::from_secs(60);
        let batches = (0..).zip(to).map(|(slot, id)| (slot, *id, record(value))).collect();
        self.ask(id, Request::Produce(Produce { batches, acks, timeout }))
    }

    /// The code and offset of each partition of a produce; none while it waits.
    pub(crate) fn produced(&mut self, ticket: Ticket) -> Option<Vec<Result<u64, ErrorCode>>> {
        let Reply::Produced(results) = self.reply(ticket)? else { panic!("not a produce's") };
        let told = |(_, result): (u32, Result<Produced, Refusal>)| {
            result.map(|produced| produced.base.value()).map_err(|refusal| refusal.code)
        };
        Some(results.into_iter().map(told).collect())
    }

    pub(crate) fn fetch(&mut self, id: i32, offset: u64, wait_ms: u64) -> Ticket {
        self.ask(id, Request::Fetch(reading(offset, wait_ms)))
    }

    /// What a fetch found; none while it waits.
    pub(crate) fn fetched(&mut self, ticket: Ticket) -> Option<Result<Vec<String>, ErrorCode>> {
        let Reply::Fetched(mut found) = self.reply(ticket)? else { panic!("not a fetch's reply") };
        let found = found.remove(0).1;
        Some(match found.error {
            Some(code) => Err(code),
            None => Ok(values(&bytes_of(found))),
        })
    }

    /// What a consumer finds at a broker.
    pub(crate) fn read(&mut self, id: i32) -> Vec<String> {
        let (start, _, _) = self.log(id, FLIGHTS).unwrap();
        let ticket = self.fetch(id, start, 0);
        self.fetched(ticket).unwrap().unwrap()
    }

    /// Start, high watermark and end of a broker's copy.
    pub(crate) fn log(&mut self, id: i32, of: TopicPartition) -> Option<(u64, u64, u64)> {
        let ticket = self.ticket();
        let mut outbox = Vec::new();
        let request = Request::DescribeLogs;
        let node = self.nodes.get_mut(&id).unwrap();
        node.shard.step(self.now, CLOCK, Input::Request { ticket, request }, &mut outbox);
        let Some(Output::Reply { reply: Reply::Logs(logs), .. }) = outbox.pop() else {
            panic!("no answer")
        };
        let log = logs.into_iter().find(|log| log.partition == of)?;
        Some((log.start.value(), log.high_watermark.value(), log.end.value()))
    }

    fn check_high_watermarks(&mut self, id: i32) {
        for of in [FLIGHTS, ALONE, GROUPS] {
            let Some((_, high_watermark, _)) = self.log(id, of) else { continue };
            let now = Offset::new(high_watermark);
            let node = self.nodes.get_mut(&id).unwrap();
            let before = node.high_watermarks.insert(of, now).unwrap_or_default();
            let may = before <= now || self.unclean.contains(&id);
            assert!(may, "broker {id}: {of:?} from {before} back to {now}");
        }
    }

    /// The names of the files and folders in a broker's folder of topics.
    pub(crate) fn folders(&self, id: i32) -> Vec<String> {
        self.nodes[&id].disk.list("topics").unwrap_or_default()
    }

    pub(crate) fn in_sync(&self, id: TopicPartition) -> Vec<i32> {
        self.cluster.partition(id).unwrap().in_sync.iter().map(|one| one.0).collect()
    }
}

/// What a consumer of `flights` asks for that knows of followers.
pub(crate) fn reading(offset: u64, wait_ms: u64) -> Fetch {
    let wanted = FetchPartition {
        slot: 0,
        partition: FLIGHTS,
        offset: Offset::new(offset),
        max: ByteSize::mib(1),
        current_epoch: None,
        last_fetched_epoch: None,
        nearer: None,
    };
    let (min, max) = (ByteSize(1), ByteSize::mib(1));
    let wait_max = Duration::from_millis(wait_ms);
    Fetch { partitions: vec![wanted], min, max, wait_max, of_followers: true }
}

pub(crate) fn broker(id: i32) -> BrokerId {
    BrokerId(id)
}
