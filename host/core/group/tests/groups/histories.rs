//! Random histories: members that come, go, stall and lie; a log that refuses; time that jumps.
//!
//! *Goal.* Every request is answered exactly once; a stable group hands everybody what its leader
//! gave; what is shown of offsets is durable; replaying the log rebuilds what was lived.
//! *Method.* Everything random comes from one generator, so a seed is a history. The model knows
//! nothing of rebalances: it checks what any client could see, and the replay.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use brooklet_group::{
    AppendToken, CommitOffset, CommitRequest, Coordinator, Effects, FetchRequest, Generation,
    GroupRecord, GroupState, HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember, Reply,
    Request, Settings, SyncRequest,
};
use brooklet_types::{ErrorCode, Instant, Offset, PartitionIndex, Timestamp, TopicName};
use bytes::Bytes;

use crate::scene::subscription;

const CLIENTS: usize = 6;
const GROUPS: [&str; 2] = ["g", "h"];

/// splitmix64: small, and good enough to draw lots.
struct Prng(u64);

impl Prng {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.below(100) < percent
    }
}

#[derive(Clone, Default)]
struct Client {
    group: Arc<str>,
    instance: Option<Arc<str>>,
    member_id: Arc<str>,
    generation: Option<Generation>,
    leads: Vec<Arc<str>>,
    joined: bool,
    synced: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Join,
    Sync,
    Heartbeat,
    Other,
}

struct History {
    prng: Prng,
    coordinator: Coordinator,
    now_ms: u64,
    clients: Vec<Client>,
    unanswered: BTreeMap<u64, (usize, Asked)>,
    next_request: u64,
    appends: VecDeque<(AppendToken, Vec<GroupRecord>)>,
    log: Vec<GroupRecord>,
    /// Groups whose last word was refused: they live on what the log does not know.
    ahead: BTreeSet<Arc<str>>,
    durable: BTreeMap<(Arc<str>, TopicName, PartitionIndex), Offset>,
    rebalanced: u64,
}

fn settings() -> Settings {
    Settings { group_size_max: 4, ..Settings::default() }
}

impl History {
    fn new(seed: u64) -> History {
        let mut prng = Prng(seed);
        let mut settings = settings();
        if prng.chance(50) {
            settings.initial_rebalance_delay = std::time::Duration::from_secs(3);
        }
        let client = |index: usize| Client {
            group: Arc::from(GROUPS[index % 4 / 3]),
            instance: (index % 3 == 2).then(|| Arc::from(format!("i{index}"))),
            ..Client::default()
        };
        History {
            prng,
            coordinator: Coordinator::new(settings),
            now_ms: 1,
            clients: (0..CLIENTS).map(client).collect(),
            unanswered: BTreeMap::new(),
            next_request: 0,
            appends: VecDeque::new(),
            log: Vec::new(),
            ahead: BTreeSet::new(),
            durable: BTreeMap::new(),
            rebalanced: 0,
        }
    }

    fn times(&self) -> (Instant, Timestamp) {
        (Instant::from_millis(self.now_ms), Timestamp(i64::try_from(self.now_ms).unwrap()))
    }

    fn turn(&mut self, healthy: bool) {
        let (now, clock) = self.times();
        if self.coordinator.next_deadline().is_some_and(|at| at <= now) {
            let effects = self.coordinator.tick(now, clock);
            self.carry_out(effects);
        }
        if !self.appends.is_empty() && (healthy || self.prng.chance(60)) {
            self.end_an_append(healthy);
        }
        let client = usize::try_from(self.prng.below(CLIENTS as u64)).unwrap();
        if healthy {
            self.behave(client);
            self.now_ms += 20;
        } else {
            self.misbehave(client);
            let jump = if self.prng.chance(2) { 20_000 } else { 300 };
            self.now_ms += self.prng.below(jump);
        }
    }

    /// Durability comes in order; a refusal may not.
    fn end_an_append(&mut self, healthy: bool) {
        let refused = !healthy && self.prng.chance(15);
        let at = if refused { self.prng.below(self.appends.len() as u64) } else { 0 };
        let (token, records) = self.appends.remove(usize::try_from(at).unwrap()).unwrap();
        for record in &records {
            match record {
                GroupRecord::Group { group, .. } if refused => {
                    self.ahead.insert(Arc::clone(group));
                }
                GroupRecord::Group { group, .. } => {
                    self.ahead.remove(group);
                }
                GroupRecord::Offset { group, topic, partition, value } if !refused => {
                    let key = (Arc::clone(group), topic.clone(), *partition);
                    match value {
                        Some(value) => self.durable.insert(key, value.offset.offset().unwrap()),
                        None => self.durable.remove(&key),
                    };
                }
                GroupRecord::Offset { .. } => {}
            }
        }
        let outcome = if refused {
            Err(ErrorCode::KafkaStorageError)
        } else {
            self.log.extend(records);
            Ok(())
        };
        let (now, clock) = self.times();
        let effects = self.coordinator.appended(now, clock, token, outcome);
        self.carry_out(effects);
    }

    fn behave(&mut self, index: usize) {
        let client = self.clients[index].clone();
        let busy = |(who, asked): &(usize, Asked)| *who == index && *asked != Asked::Other;
        if self.unanswered.values().any(busy) {
            return;
        }
        if !client.joined {
            self.join(index, client.member_id, false);
        } else if !client.synced {
            self.sync(index);
        } else {
            self.heartbeat(index);
        }
    }

    fn misbehave(&mut self, index: usize) {
        let client = self.clients[index].clone();
        match self.prng.below(20) {
            0..=9 => self.behave(index),
            10 => self.join(index, client.member_id, true),
            11 => self.join(index, Arc::from(""), false),
            12 => self.sync(index),
            13 => self.heartbeat(index),
            14 => self.leave(index),
            15 | 16 => self.commit(index),
            17 => self.fetch(index),
            18 => {
                let effects = if self.prng.chance(30) {
                    self.coordinator.topic_deleted("t0")
                } else {
                    return self.ask(index, Asked::Other, Request::Delete { group: client.group });
                };
                self.carry_out(effects);
            }
            _ => {
                let partitions = vec![self.partition()];
                let group = client.group;
                self.ask(index, Asked::Other, Request::DeleteOffsets { group, partitions });
            }
        }
    }

    fn join(&mut self, index: usize, member_id: Arc<str>, changed: bool) {
        let client = &self.clients[index];
        let topics = if changed { "t1" } else { "t2" };
        let protocols = vec![(Arc::from("range"), subscription(topics))];
        let request = Request::Join(JoinRequest {
            group: Arc::clone(&client.group),
            member_id,
            instance_id: client.instance.clone(),
            client_id: Arc::from(format!("c{index}")),
            client_host: Arc::from("/::1"),
            session_timeout_ms: 6_000,
            rebalance_timeout_ms: 8_000,
            protocol_type: Arc::from("consumer"),
            protocols,
            requires_known_member_id: index != 1,
            supports_skipping_assignment: index > 3,
        });
        self.ask(index, Asked::Join, request);
    }

    fn sync(&mut self, index: usize) {
        let client = &self.clients[index];
        let give = |id: &Arc<str>| (Arc::clone(id), Bytes::copy_from_slice(id.as_bytes()));
        let request = Request::Sync(SyncRequest {
            group: Arc::clone(&client.group),
            generation: client.generation,
            member_id: Arc::clone(&client.member_id),
            instance_id: client.instance.clone(),
            protocol_type: None,
            protocol: None,
            assignments: client.leads.iter().map(give).collect(),
        });
        self.ask(index, Asked::Sync, request);
    }

    fn heartbeat(&mut self, index: usize) {
        let client = &self.clients[index];
        let request = Request::Heartbeat(HeartbeatRequest {
            group: Arc::clone(&client.group),
            generation: client.generation,
            member_id: Arc::clone(&client.member_id),
            instance_id: client.instance.clone(),
        });
        self.ask(index, Asked::Heartbeat, request);
    }

    fn leave(&mut self, index: usize) {
        let client = &self.clients[index];
        let member_id = Arc::clone(&client.member_id);
        let members = vec![LeavingMember { member_id, instance_id: client.instance.clone() }];
        let request = LeaveRequest { group: Arc::clone(&client.group), members };
        self.ask(index, Asked::Other, Request::Leave(request));
    }

    fn partition(&mut self) -> (TopicName, PartitionIndex) {
        let topic = format!("t{}", self.prng.below(3));
        (TopicName::new(&topic).unwrap(), PartitionIndex(self.prng.below(2) as u32))
    }

    fn commit(&mut self, index: usize) {
        let (topic, partition) = self.partition();
        let offset = Offset::new(self.prng.below(1000)).into();
        let alone = self.prng.chance(20);
        let client = &self.clients[index];
        let request = Request::CommitOffsets(CommitRequest {
            group: Arc::clone(&client.group),
            generation: client.generation.filter(|_| !alone),
            member_id: if alone { Arc::from("") } else { Arc::clone(&client.member_id) },
            instance_id: client.instance.clone().filter(|_| !alone),
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets: vec![CommitOffset {
                topic,
                topic_id: None,
                partition,
                offset,
                leader_epoch: None,
                metadata: Arc::from(""),
            }],
        });
        self.ask(index, Asked::Other, request);
    }

    fn fetch(&mut self, index: usize) {
        let group = Arc::clone(&self.clients[index].group);
        let request = FetchRequest { group, partitions: None };
        self.ask(index, Asked::Other, Request::FetchOffsets(request));
    }

    fn ask(&mut self, index: usize, asked: Asked, request: Request) {
        let id = self.next_request;
        self.next_request += 1;
        self.unanswered.insert(id, (index, asked));
        let entropy = (u128::from(self.prng.next()) << 64 | u128::from(id)).to_be_bytes();
        let (now, clock) = self.times();
        let effects = self.coordinator.request(now, clock, id, request, entropy);
        self.carry_out(effects);
    }

    fn carry_out(&mut self, effects: Effects) {
        assert_eq!(effects.append.is_none(), effects.records.is_empty());
        for (id, reply) in effects.replies {
            let (index, _) = self.unanswered.remove(&id).expect("answered exactly once");
            self.hear(index, reply);
        }
        if let Some(token) = effects.append {
            self.appends.push_back((token, effects.records));
        }
    }

    fn hear(&mut self, index: usize, reply: Reply) {
        let group = Arc::clone(&self.clients[index].group);
        let client = &mut self.clients[index];
        match reply {
            Reply::Join(join) if join.error == ErrorCode::None => {
                self.rebalanced += 1;
                client.joined = true;
                client.synced = join.skip_assignment;
                client.member_id = join.member_id;
                client.generation = join.generation;
                client.leads = join.members.into_iter().map(|member| member.member_id).collect();
            }
            Reply::Join(join) => {
                client.joined = false;
                let keeps_id = join.error == ErrorCode::MemberIdRequired;
                client.member_id = if keeps_id { join.member_id } else { Arc::from("") };
            }
            Reply::Sync(sync) if sync.error == ErrorCode::None => client.synced = true,
            Reply::Heartbeat(ErrorCode::None) => {}
            Reply::Sync(_) | Reply::Heartbeat(_) => {
                let known = matches!(reply, Reply::Heartbeat(ErrorCode::RebalanceInProgress));
                client.joined = false;
                if !known {
                    client.member_id = Arc::from("");
                }
            }
            Reply::FetchOffsets(fetch) => {
                let shown = fetch.offsets.into_iter().map(|(topic, partition, value)| {
                    (
                        (Arc::clone(&group), topic, partition),
                        value.unwrap().offset.offset().unwrap(),
                    )
                });
                let shown: BTreeMap<_, _> = shown.collect();
                let durable = self.durable.iter().filter(|((of, ..), _)| *of == group);
                let durable = durable.map(|(key, offset)| (key.clone(), *offset)).collect();
                assert_eq!(shown, durable, "what is shown is what is durable");
            }
            Reply::Leave(_)
            | Reply::CommitOffsets(_)
            | Reply::Describe(_)
            | Reply::List(_)
            | Reply::Delete(_)
            | Reply::DeleteOffsets { .. } => {}
        }
    }

    /// Replays the log into a new coordinator and compares what can be seen of both.
    fn compare_with_replay(&mut self) {
        let (now, clock) = self.times();
        // Without a limit, as a group above it would rebalance at once; silent static members
        // can take a group there.
        let mut replayed = Coordinator::new(Settings { group_size_max: 100, ..settings() });
        self.log.iter().for_each(|record| replayed.replay(record));
        replayed.loaded(now, clock);
        let offsets = |coordinator: &Coordinator| {
            let all = coordinator.committed();
            let owned = all.map(|(group, topic, partition, offset)| {
                ((Arc::clone(group), topic.clone(), partition), offset)
            });
            owned.collect::<BTreeMap<_, _>>()
        };
        assert_eq!(offsets(&self.coordinator), self.durable);
        assert_eq!(offsets(&replayed), self.durable);
        for group in GROUPS.map(Arc::from) {
            let open = self.appends.iter().flat_map(|(_, records)| records).any(
                |record| matches!(record, GroupRecord::Group { group: of, .. } if *of == group),
            );
            let lived = describe(&mut self.coordinator, now, clock, &group);
            if lived.state == GroupState::Stable && !open && !self.ahead.contains(&group) {
                let again = describe(&mut replayed, now, clock, &group);
                assert_eq!(lived, again, "the replayed group {group}");
                let served =
                    |member: &brooklet_group::DescribedMember| !member.assignment.is_empty();
                assert!(lived.members.iter().all(served), "a stable group serves all");
            }
        }
    }
}

fn describe(
    coordinator: &mut Coordinator,
    now: Instant,
    clock: Timestamp,
    group: &Arc<str>,
) -> brooklet_group::DescribeReply {
    let request = Request::Describe { group: Arc::clone(group) };
    let mut effects = coordinator.request(now, clock, u64::MAX, request, [0; 16]);
    match effects.replies.pop() {
        Some((_, Reply::Describe(described))) => described,
        other => panic!("a description is answered at once, not with {other:?}"),
    }
}

fn live(seed: u64) -> u64 {
    let mut history = History::new(seed);
    for turn in 0..1_500 {
        history.turn(false);
        if turn % 10 == 0 {
            history.compare_with_replay();
        }
    }
    for _ in 0..4_000 {
        history.turn(true);
    }
    while let Some((token, records)) = history.appends.pop_front() {
        history.log.extend(records);
        let (now, clock) = history.times();
        let effects = history.coordinator.appended(now, clock, token, Ok(()));
        history.carry_out(effects);
    }
    let joins = history.unanswered.values().filter(|(_, asked)| *asked == Asked::Join).count();
    assert_eq!(history.unanswered.len(), 0, "healed, and {joins} joins and more still wait");
    let (now, clock) = history.times();
    let described = describe(&mut history.coordinator, now, clock, &Arc::from("h"));
    assert_eq!(described.state, GroupState::Stable, "healed, and not stable");
    history.rebalanced
}

#[test]
#[expect(clippy::disallowed_methods, reason = "a failing seed is repeated from the command line")]
fn whatever_happens_everybody_is_answered_and_the_log_tells_the_same_story() {
    if let Ok(seed) = std::env::var("BROOKLET_SEED") {
        live(seed.parse().expect("BROOKLET_SEED is a number"));
        return;
    }
    let mut joined = 0;
    for seed in 0..60 {
        let outcome = std::panic::catch_unwind(|| live(seed));
        joined += outcome.unwrap_or_else(|_| {
            panic!("repeat with BROOKLET_SEED={seed} cargo test -p brooklet-group whatever")
        });
    }
    assert!(joined > 1_000, "these histories are too quiet to prove anything: {joined} joins");
}

#[test]
fn a_seed_is_a_history() {
    assert_eq!(live(7), live(7));
}
