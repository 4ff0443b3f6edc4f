//! The metadata's shards of several brokers, and messages between them that a test carries.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use brooklet_meta::Decision;
use brooklet_shard::{
    Change, ChangeError, ClusterId, DirectoryId, Member, MetadataReply, MetadataRequest,
    QuorumDescription, QuorumSeed, QuorumStanding,
};
use bytes::Bytes;

use super::*;

mod seeds;

/// As long as the quorum's own ticks.
const TICK: Duration = Duration::from_millis(100);

struct Node {
    disk: MemoryDisk,
    shard: Option<Shard<MemoryDisk>>,
    cluster: Arc<Cluster>,
    replies: BTreeMap<Ticket, MetadataReply>,
    described: Option<QuorumDescription>,
    /// What was told last of who leads.
    standing: QuorumStanding,
    events: Vec<Event>,
    /// Where syncs take their time: the one under way.
    sync: Option<SyncJob<MemoryDisk>>,
}

/// Brokers, numbered from 1.
struct Net {
    now: Instant,
    nodes: BTreeMap<i32, Node>,
    /// Messages under way: from, to, what.
    wire: VecDeque<(i32, i32, Bytes)>,
    /// Who hears nothing and is not heard.
    cut_off: BTreeSet<i32>,
    next_ticket: Ticket,
    /// Whether a sync is done only when somebody says so.
    slow: bool,
}

fn member(broker: i32) -> Member {
    let directory = DirectoryId([u8::try_from(broker).unwrap(); 16]);
    Member { broker: BrokerId(broker), directory }
}

impl Net {
    fn new() -> Net {
        let (nodes, wire, cut_off) = (BTreeMap::new(), VecDeque::new(), BTreeSet::new());
        Net { now: Instant::from_millis(1), nodes, wire, cut_off, next_ticket: 1, slow: false }
    }

    /// Three brokers in one quorum. The first has begun it alone.
    fn of_three() -> Net {
        let mut net = Net::new();
        net.start(1, MemoryDisk::default());
        for broker in [2, 3] {
            net.start(broker, MemoryDisk::default());
            net.change(1, Change::AddObserver(member(broker))).unwrap();
            net.pass(5);
            net.change(1, Change::AddVoter(member(broker))).unwrap();
        }
        net
    }

    fn start(&mut self, broker: i32, disk: MemoryDisk) {
        let seed = QuorumSeed {
            cluster: ClusterId([1; 16]),
            directory: member(broker).directory,
            entropy: u64::try_from(broker).unwrap(),
            joins: broker != 1,
        };
        disk.create_folder("topics").unwrap();
        disk.create_folder("journal").unwrap();
        let broker_id = BrokerId(broker);
        let metadata =
            Metadata::start(&disk, Cluster::default(), broker_id, true, (CLOCK, seed)).unwrap();
        let (journal, _) = Journal::open(&disk, "journal/0", ByteSize::mib(1)).unwrap();
        let journaled = Journaled { journal, recovered: BTreeMap::new() };
        let settings = ShardSettings {
            retention_check_interval: Duration::from_secs(300),
            tail_bytes_max: 1 << 20,
            disk_reserve: ByteSize(0),
            groups: brooklet_group::Settings::default(),
            compaction: CompactionSettings::default(),
        };
        let identity = Identity { broker: broker_id, shard: 0, shards: 1 };
        let cluster = metadata.cluster();
        let shard =
            Shard::new(disk.clone(), identity, settings, Some(metadata), journaled, self.now);
        let node = Node {
            disk,
            shard: Some(shard),
            cluster,
            replies: BTreeMap::new(),
            described: None,
            standing: QuorumStanding::default(),
            events: Vec::new(),
            sync: None,
        };
        self.nodes.insert(broker, node);
    }

    /// The power goes: what was not synced is lost.
    fn crash(&mut self, broker: i32) -> MemoryDisk {
        self.crash_keeping(broker, |_| 0)
    }

    /// The power goes: of so many writes that were not synced, `kept` are there.
    fn crash_keeping(&mut self, broker: i32, mut kept: impl FnMut(usize) -> usize) -> MemoryDisk {
        let node = self.nodes.remove(&broker).unwrap();
        drop(node.shard);
        self.wire.retain(|(from, to, _)| *from != broker && *to != broker);
        node.disk.crash(|_, count| kept(count), false);
        node.disk
    }

    fn step(&mut self, broker: i32, input: Input) {
        let node = self.nodes.get_mut(&broker).unwrap();
        let shard = node.shard.as_mut().unwrap();
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            let mut outbox = Vec::new();
            shard.step(self.now, CLOCK, input, &mut outbox);
            shard.end_turn(&mut outbox);
            for output in outbox {
                match output {
                    Output::Reply { ticket, reply: Reply::Metadata { reply, .. } } => {
                        assert!(node.replies.insert(ticket, reply).is_none(), "answered twice");
                    }
                    Output::Reply { reply: Reply::Quorum(quorum), .. } => {
                        node.described = Some(quorum);
                    }
                    Output::Reply { .. } => {}
                    Output::Sync(job) if self.slow => {
                        assert!(node.sync.replace(job).is_none(), "one sync at a time");
                    }
                    Output::Sync(job) => {
                        job.run().unwrap();
                        inputs.push_back(Input::Synced { id: job.id });
                    }
                    Output::ClusterChanged(cluster) => node.cluster = cluster,
                    Output::QuorumMoved(standing) => node.standing = standing,
                    Output::SendToBroker { broker: to, message } => {
                        self.wire.push_back((broker, to.0, message));
                    }
                    Output::WriteBack { .. } | Output::Compact { .. } => {}
                    Output::FetchFrom { .. } | Output::AlterPartitions { .. } => {
                        panic!("partitions are not placed here")
                    }
                    Output::Event(event) => node.events.push(event),
                }
            }
        }
    }

    /// Carries what is under way, and what comes of it.
    fn carry(&mut self) {
        while let Some((from, to, message)) = self.wire.pop_front() {
            let is_lost = self.cut_off.contains(&from) || self.cut_off.contains(&to);
            if !is_lost && self.nodes.contains_key(&to) {
                self.step(to, Input::FromBroker { from: BrokerId(from), message });
            }
        }
    }

    /// Time for so many ticks.
    fn pass(&mut self, ticks: u32) {
        for _ in 0..ticks {
            self.now = self.now + TICK;
            let brokers: Vec<i32> = self.nodes.keys().copied().collect();
            for broker in brokers {
                self.step(broker, Input::Tick);
            }
            self.carry();
        }
    }

    fn ask(&mut self, broker: i32, request: Request) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.step(broker, Input::Request { ticket, request });
        self.carry();
        ticket
    }

    fn change(&mut self, leader: i32, change: Change) -> Result<(), ChangeError> {
        let ticket = self.ask(leader, Request::ChangeMembers(change));
        let reply = self.nodes.get_mut(&leader).unwrap().replies.remove(&ticket);
        *reply.expect("answered").unwrap().downcast().unwrap()
    }

    fn describe(&mut self, broker: i32) -> QuorumDescription {
        self.ask(broker, Request::DescribeQuorum);
        self.nodes.get_mut(&broker).unwrap().described.take().expect("answered at once")
    }

    /// Asks for a topic; the answer may come later.
    fn create(&mut self, broker: i32, name: &str) -> Ticket {
        let id = TopicId([name.bytes().next().unwrap(); 16]);
        let name = TopicName::new(name).unwrap();
        let settings = Vec::new();
        let record = MetaRecord::TopicCreated { id, name, partitions: 1, settings };
        self.ask(
            broker,
            Request::Metadata(MetadataRequest::new(move |_: &Cluster| Decision {
                records: vec![record],
                reply: (),
            })),
        )
    }

    fn answer(&mut self, broker: i32, ticket: Ticket) -> Option<Result<(), ErrorCode>> {
        let reply = self.nodes.get_mut(&broker).unwrap().replies.remove(&ticket)?;
        Some(reply.map(drop))
    }

    fn leader(&mut self) -> Option<i32> {
        let brokers: Vec<i32> = self.nodes.keys().copied().collect();
        brokers.into_iter().find(|broker| {
            // One that may not decide says so at once.
            let empty = MetadataRequest::new(|_: &Cluster| Decision { records: vec![], reply: () });
            let ticket = self.ask(*broker, Request::Metadata(empty));
            self.answer(*broker, ticket) == Some(Ok(()))
        })
    }

    fn wait_for_leader(&mut self) -> i32 {
        for _ in 0..100 {
            self.pass(1);
            if let Some(leader) = self.leader() {
                return leader;
            }
        }
        panic!("nobody leads after ten seconds");
    }

    fn topics(&self, broker: i32) -> Vec<&str> {
        self.nodes[&broker].cluster.topics().map(|topic| topic.name.as_str()).collect()
    }
}

#[test]
fn what_one_broker_decided_alone_the_others_hear_of() {
    let mut net = Net::new();
    net.start(1, MemoryDisk::default());
    let ticket = net.create(1, "alone");
    assert_eq!(net.answer(1, ticket), Some(Ok(())));
    net.start(2, MemoryDisk::default());
    net.pass(30);
    assert_eq!(net.topics(2), [""; 0], "it waits to be told");
    net.change(1, Change::AddObserver(member(2))).unwrap();
    net.pass(5);
    assert_eq!(net.topics(2), ["alone"]);
    assert_eq!(net.nodes[&1].cluster, net.nodes[&2].cluster);
    assert_eq!(
        net.change(1, Change::AddObserver(member(2))),
        Err(ChangeError::Already { member: member(2) })
    );
}

#[test]
fn a_change_is_answered_when_most_have_it_on_their_disks() {
    let mut net = Net::of_three();
    let ticket = net.create(1, "all");
    assert_eq!(net.answer(1, ticket), Some(Ok(())));
    net.cut_off = [3].into();
    let ticket = net.create(1, "most");
    assert_eq!(net.answer(1, ticket), Some(Ok(())));
    net.cut_off = [2, 3].into();
    let ticket = net.create(1, "few");
    assert_eq!(net.answer(1, ticket), None);
    // Sooner or later a leader that nobody hears gives up, and says so.
    net.pass(40);
    assert_eq!(net.answer(1, ticket), Some(Err(ErrorCode::NotController)));
    assert!(!net.topics(1).contains(&"few"));
    net.cut_off.clear();
    net.wait_for_leader();
    net.pass(5);
    for broker in [1, 2, 3] {
        assert_eq!(net.nodes[&broker].cluster, net.nodes[&1].cluster, "broker {broker}");
        assert!(net.topics(broker).contains(&"most"), "broker {broker}");
    }
}

#[test]
fn a_leader_that_is_about_to_stop_hands_over_and_everybody_is_told_who_leads() {
    let mut net = Net::of_three();
    let told = |net: &Net, broker: i32| {
        let standing = &net.nodes[&broker].standing;
        (standing.leader, standing.decides, standing.members.iter().count())
    };
    net.pass(5);
    for broker in [1, 2, 3] {
        assert_eq!(told(&net, broker), (Some(BrokerId(1)), broker == 1, 3));
    }
    net.ask(1, Request::HandOver);
    net.carry();
    net.pass(1);
    let (leader, decides, _) = told(&net, 1);
    let leader = leader.expect("known within a tick");
    assert!(leader != BrokerId(1) && !decides);
    assert_eq!(told(&net, leader.0), (Some(leader), true, 3));
    // Alone with nobody to hear it, a leader stays what it is.
    net.cut_off = [1, 2, 3].into_iter().filter(|it| *it != leader.0).collect();
    net.pass(12);
    net.ask(leader.0, Request::HandOver);
    assert_eq!(net.nodes[&leader.0].events.len(), 0);
}

#[test]
fn any_of_three_may_lose_its_power() {
    let mut net = Net::of_three();
    let mut expected = Vec::new();
    for round in 0..6 {
        let leader = net.wait_for_leader();
        let name = format!("{}-topic", char::from(b'a' + round));
        let ticket = net.create(leader, &name);
        assert_eq!(net.answer(leader, ticket), Some(Ok(())), "{name}");
        expected.push(name);
        let broker = i32::from(round % 3) + 1;
        let disk = net.crash(broker);
        let other = net.wait_for_leader();
        let name = format!("{}-topic", char::from(b'k' + round));
        let ticket = net.create(other, &name);
        assert_eq!(net.answer(other, ticket), Some(Ok(())), "{name}");
        expected.push(name);
        net.start(broker, disk);
        net.pass(10);
    }
    expected.sort();
    for broker in [1, 2, 3] {
        assert_eq!(net.topics(broker), expected, "broker {broker}");
    }
}

#[test]
fn a_log_that_has_grown_begins_anew_and_is_sent_as_its_state() {
    let mut net = Net::new();
    net.start(1, MemoryDisk::default());
    let long = "x".repeat(1 << 20);
    for name in ["a", "b", "c", "d", "e", "f", "g"] {
        let ticket = net.create(1, name);
        assert_eq!(net.answer(1, ticket), Some(Ok(())));
        let id = TopicId([name.as_bytes()[0]; 16]);
        let changes = vec![("note".to_owned(), Some(long.clone()))];
        let record = MetaRecord::TopicSettingsChanged { id, changes };
        let ticket = net.ask(
            1,
            Request::Metadata(MetadataRequest::new(move |_: &Cluster| Decision {
                records: vec![record],
                reply: (),
            })),
        );
        assert_eq!(net.answer(1, ticket), Some(Ok(())));
    }
    let before = Arc::clone(&net.nodes[&1].cluster);
    let disk = net.crash(1);
    assert!(disk.files()["topics/__cluster_metadata-0/quorum-start"].len() > 4 << 20);
    net.start(1, disk);
    for topic in before.topics() {
        assert_eq!(net.nodes[&1].cluster.topic(topic.name.as_str()), Some(topic));
    }
    net.start(2, MemoryDisk::default());
    net.change(1, Change::AddObserver(member(2))).unwrap();
    net.pass(5);
    assert_eq!(net.nodes[&1].cluster, net.nodes[&2].cluster);
    let disk = net.crash(2);
    net.start(2, disk);
    assert_eq!(net.topics(2), ["a", "b", "c", "d", "e", "f", "g"]);
}

#[test]
fn who_leads_describes_everybody_and_who_follows_only_itself() {
    let mut net = Net::of_three();
    net.start(4, MemoryDisk::default());
    net.change(1, Change::AddObserver(member(4))).unwrap();
    net.pass(5);
    net.cut_off = [3].into();
    let ticket = net.create(1, "most");
    assert_eq!(net.answer(1, ticket), Some(Ok(())));
    net.pass(1);
    let quorum = net.describe(1);
    assert_eq!(quorum.leader, Some(BrokerId(1)));
    let lines = |quorum: &QuorumDescription| -> Vec<_> {
        let line = |it: &brooklet_shard::Replica| {
            (it.member, it.voter, it.acknowledged == quorum.committed)
        };
        quorum.replicas.iter().map(line).collect()
    };
    let expected = [(1, true, true), (2, true, true), (3, true, false), (4, false, true)];
    let expected = expected.map(|(broker, voter, has_all)| (member(broker), voter, has_all));
    assert_eq!(lines(&quorum), expected);
    let followed = net.describe(2);
    assert_eq!((followed.leader, followed.term), (Some(BrokerId(1)), quorum.term));
    assert_eq!(lines(&followed), expected[1..2]);
}
