//! The only lines of the stories that know the coordinator's API.
//!
//! A script is one event a line, about one group `g`. Members have nicknames; their ids, and the
//! generation they are in, are remembered from the replies. Words of the form `key=value` change
//! what is otherwise taken for granted. Records become durable at once unless `hold` was said;
//! then `durable` and `refused` give the outcome of the oldest append.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

use brooklet_group::{
    AppendToken, CommitOffset, CommitRequest, CommittedOffset, Coordinator, Effects, FetchRequest,
    Generation, GroupRecord, HeartbeatRequest, JoinRequest, LeaveRequest, LeavingMember,
    ListRequest, Reply, Request, Settings, SyncRequest,
};
use brooklet_types::{ErrorCode, Instant, PartitionIndex, Timestamp, TopicName};
use bytes::Bytes;
use expect_test::Expect;

#[track_caller]
pub(crate) fn check(script: &str, expected: Expect) {
    check_with(Settings::default(), script, expected);
}

#[track_caller]
pub(crate) fn check_with(settings: Settings, script: &str, expected: Expect) {
    let mut scene = Scene::new(settings);
    for line in script.lines().map(str::trim).filter(|line| !line.is_empty()) {
        writeln!(scene.told, "{line}").unwrap();
        scene.play(line);
    }
    expected.assert_eq(&scene.told);
}

struct Scene {
    coordinator: Coordinator,
    settings: Settings,
    now_ms: u64,
    told: String,
    /// Member ids by nickname, and the generation each knows.
    ids: BTreeMap<String, Arc<str>>,
    generations: BTreeMap<String, Option<Generation>>,
    /// Who asked, by request.
    asked: Vec<String>,
    appends: Vec<(AppendToken, Vec<GroupRecord>)>,
    log: Vec<GroupRecord>,
    holds: bool,
}

/// The words of a line: those in order, and the `key=value` ones.
struct Words<'a> {
    plain: Vec<&'a str>,
    keyed: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn number(&self, key: &str, otherwise: i32) -> i32 {
        self.keyed.get(key).map_or(otherwise, |value| value.parse().unwrap())
    }

    fn text(&self, key: &str) -> Option<Arc<str>> {
        self.keyed.get(key).map(|value| Arc::from(*value))
    }
}

/// A consumer's subscription to comma-separated topics, in the protocol's version 0.
pub(crate) fn subscription(topics: &str) -> Bytes {
    let topics: Vec<&str> = topics.split(',').filter(|topic| !topic.is_empty()).collect();
    let mut bytes = vec![0, 0];
    bytes.extend(i32::try_from(topics.len()).unwrap().to_be_bytes());
    for topic in topics {
        bytes.extend(i16::try_from(topic.len()).unwrap().to_be_bytes());
        bytes.extend(topic.as_bytes());
    }
    bytes.extend([0xff; 4]);
    Bytes::from(bytes)
}

impl Scene {
    fn new(settings: Settings) -> Scene {
        Scene {
            coordinator: Coordinator::new(settings.clone()),
            settings,
            now_ms: 0,
            told: String::new(),
            ids: BTreeMap::new(),
            generations: BTreeMap::new(),
            asked: Vec::new(),
            appends: Vec::new(),
            log: Vec::new(),
            holds: false,
        }
    }

    fn play(&mut self, line: &str) {
        let mut words = Words { plain: Vec::new(), keyed: BTreeMap::new() };
        for word in line.split_whitespace() {
            match word.split_once('=') {
                Some((key, value)) => drop(words.keyed.insert(key, value)),
                None => words.plain.push(word),
            }
        }
        let who = words.plain.get(1).copied().unwrap_or("");
        match words.plain[0] {
            "join" => self.ask(who, self.join(who, &words)),
            "sync" => self.ask(who, self.sync(who, &words)),
            "beat" => {
                let request = HeartbeatRequest {
                    group: self.group(&words),
                    generation: self.generation(who, &words),
                    member_id: self.id(who, &words),
                    instance_id: words.text("instance"),
                };
                self.ask(who, Request::Heartbeat(request));
            }
            "leave" => {
                let one = |nickname: &&str| LeavingMember {
                    member_id: self.id(nickname, &words),
                    instance_id: words.text("instance"),
                };
                let members = words.plain[1..].iter().map(one).collect();
                self.ask(who, Request::Leave(LeaveRequest { group: self.group(&words), members }));
            }
            "commit" => self.ask(who, self.commit(who, &words)),
            "fetch" => {
                let partitions = words.plain.get(1).map(|_| vec![partition(&words.plain[1..])]);
                let request = FetchRequest { group: self.group(&words), partitions };
                self.ask("", Request::FetchOffsets(request));
            }
            "forget" => {
                let partitions = vec![partition(&words.plain[1..])];
                let group = self.group(&words);
                self.ask("", Request::DeleteOffsets { group, partitions });
            }
            "topic-deleted" => {
                let effects = self.coordinator.topic_deleted(who);
                self.carry_out(effects);
            }
            "describe" => self.ask("", Request::Describe { group: self.group(&words) }),
            "delete" => self.ask("", Request::Delete { group: self.group(&words) }),
            "list" => {
                let filter = |key| words.text(key).into_iter().collect();
                let request = ListRequest { states: filter("state"), types: filter("type") };
                self.ask("", Request::List(request));
            }
            "hold" => self.holds = true,
            "durable" => self.outcome(Ok(())),
            "refused" => self.outcome(Err(ErrorCode::KafkaStorageError)),
            "wait" => self.wait(who.parse().unwrap()),
            "restart" => self.restart(),
            other => panic!("no such event: {other}"),
        }
    }

    fn join(&self, who: &str, words: &Words<'_>) -> Request {
        let protocol = |(name, default): (&'static str, Option<&str>)| {
            let topics = words.keyed.get(name).copied().or(default)?;
            Some((Arc::from(name), subscription(topics)))
        };
        let named = words.keyed.contains_key("sticky") || words.keyed.contains_key("range");
        let offered = [("range", (!named).then_some("t")), ("sticky", None)];
        let mut protocols: Vec<_> = offered.into_iter().filter_map(protocol).collect();
        if words.plain.contains(&"prefers-sticky") {
            protocols.reverse();
        }
        let version = words.number("v", 9);
        Request::Join(JoinRequest {
            group: self.group(words),
            member_id: self.id(who, words),
            instance_id: words.text("instance"),
            client_id: Arc::from(who),
            client_host: Arc::from("/127.0.0.1"),
            session_timeout_ms: words.number("session", 10_000),
            rebalance_timeout_ms: words.number("rebalance", 60_000),
            protocol_type: words.text("type").unwrap_or_else(|| Arc::from("consumer")),
            protocols,
            requires_known_member_id: version >= 4,
            supports_skipping_assignment: version >= 9,
        })
    }

    fn sync(&self, who: &str, words: &Words<'_>) -> Request {
        let known = |(nickname, assignment): (&&str, &&str)| {
            Some((self.ids.get(*nickname)?.clone(), Bytes::copy_from_slice(assignment.as_bytes())))
        };
        Request::Sync(SyncRequest {
            group: self.group(words),
            generation: self.generation(who, words),
            member_id: self.id(who, words),
            instance_id: words.text("instance"),
            protocol_type: words.text("type"),
            protocol: words.text("protocol"),
            assignments: words.keyed.iter().filter_map(known).collect(),
        })
    }

    fn commit(&self, who: &str, words: &Words<'_>) -> Request {
        let (topic, partition) = partition(&words.plain[2..]);
        let metadata = "m".repeat(usize::try_from(words.number("metadata", 0)).unwrap());
        let offset = CommitOffset {
            topic,
            topic_id: None,
            partition,
            offset: CommittedOffset::from_wire(words.plain[4].parse().unwrap()),
            leader_epoch: None,
            metadata: Arc::from(metadata),
        };
        Request::CommitOffsets(CommitRequest {
            group: self.group(words),
            generation: self.generation(who, words),
            member_id: self.id(who, words),
            instance_id: words.text("instance"),
            retention_ms: words.keyed.get("retention").map(|value| value.parse().unwrap()),
            knows_group_id_not_found: words.number("v", 9) >= 9,
            offsets: vec![offset],
        })
    }

    fn group(&self, words: &Words<'_>) -> Arc<str> {
        words.text("group").unwrap_or_else(|| Arc::from("g"))
    }

    /// `-` is nobody, and `id=` gives the id of somebody else.
    fn id(&self, who: &str, words: &Words<'_>) -> Arc<str> {
        let who = words.keyed.get("id").copied().unwrap_or(who);
        let unknown = if who.starts_with('?') { who } else { "" };
        self.ids.get(who).cloned().unwrap_or_else(|| Arc::from(unknown))
    }

    fn generation(&self, who: &str, words: &Words<'_>) -> Option<Generation> {
        match words.keyed.get("generation") {
            Some(given) => Generation::from_wire(given.parse().unwrap()),
            None => self.generations.get(who).copied().flatten(),
        }
    }

    fn ask(&mut self, who: &str, request: Request) {
        let id = self.asked.len() as u64;
        self.asked.push(who.to_owned());
        let mut entropy = [0; 16];
        entropy[15] = u8::try_from(id).unwrap();
        let (now, clock) = self.times();
        let effects = self.coordinator.request(now, clock, id, request, entropy);
        self.carry_out(effects);
    }

    fn times(&self) -> (Instant, Timestamp) {
        let clock = 1_000_000 + i64::try_from(self.now_ms).unwrap();
        (Instant::from_millis(self.now_ms), Timestamp(clock))
    }

    /// Time passes, and every alarm rings when it is due.
    fn wait(&mut self, millis: u64) {
        let end = self.now_ms + millis;
        loop {
            let due = self.coordinator.next_deadline().map(|at| at.as_micros().div_ceil(1000));
            let Some(due) = due.filter(|due| *due <= end) else { break };
            self.now_ms = self.now_ms.max(due);
            let before = self.told.len();
            let (now, clock) = self.times();
            let effects = self.coordinator.tick(now, clock);
            self.carry_out(effects);
            if self.told.len() > before {
                self.told.insert_str(before, &format!("    at {} ms\n", self.now_ms));
            }
        }
        self.now_ms = end;
    }

    fn outcome(&mut self, outcome: Result<(), ErrorCode>) {
        let (token, records) = self.appends.remove(0);
        if outcome.is_ok() {
            self.log.extend(records);
        }
        let (now, clock) = self.times();
        let effects = self.coordinator.appended(now, clock, token, outcome);
        self.carry_out(effects);
    }

    /// A new coordinator reads what the old one wrote.
    fn restart(&mut self) {
        self.coordinator = Coordinator::new(self.settings.clone());
        self.appends.clear();
        for record in &self.log {
            self.coordinator.replay(record);
        }
        let (now, clock) = self.times();
        self.coordinator.loaded(now, clock);
    }

    fn carry_out(&mut self, effects: Effects) {
        assert_eq!(effects.append.is_none(), effects.records.is_empty());
        for record in &effects.records {
            let line = self.record(record);
            writeln!(self.told, "    write {line}").unwrap();
        }
        for (id, reply) in effects.replies {
            let who = self.asked[usize::try_from(id).unwrap()].clone();
            let line = self.reply(&who, reply);
            let to = if who.is_empty() { String::new() } else { format!("{who}: ") };
            writeln!(self.told, "    → {to}{line}").unwrap();
        }
        if let Some(token) = effects.append {
            self.appends.push((token, effects.records));
            if !self.holds {
                self.outcome(Ok(()));
            }
        }
    }

    fn nickname(&self, id: &str) -> String {
        let known = self.ids.iter().find(|(_, known)| ***known == *id);
        known.map_or_else(|| format!("{id:?}"), |(nickname, _)| nickname.clone())
    }

    fn record(&self, record: &GroupRecord) -> String {
        match record {
            GroupRecord::Offset { group, topic, partition, value } => match value {
                Some(value) => format!("{group} {topic}-{partition} at {}", value.offset.to_wire()),
                None => format!("{group} {topic}-{partition} forgotten"),
            },
            GroupRecord::Group { group, value: None } => format!("{group} removed"),
            GroupRecord::Group { group, value: Some(value) } => {
                let mut line = format!("{group} generation {}", value.generation.0);
                for member in &value.members {
                    let assignment = String::from_utf8_lossy(&member.assignment);
                    write!(line, " {}={assignment}", self.nickname(&member.member_id)).unwrap();
                }
                line
            }
        }
    }

    fn reply(&mut self, who: &str, reply: Reply) -> String {
        match reply {
            Reply::Join(join) => {
                if !join.member_id.is_empty() {
                    self.ids.insert(who.to_owned(), Arc::clone(&join.member_id));
                }
                if join.error != ErrorCode::None {
                    return format!("join {}", join.error.name());
                }
                self.generations.insert(who.to_owned(), join.generation);
                let generation = join.generation.unwrap().0;
                let protocol = join.protocol.unwrap_or_default();
                let leader = self.nickname(&join.leader);
                let mut line = format!("join generation {generation} {protocol}, {leader} leads");
                if !join.members.is_empty() {
                    let ids = join.members.iter().map(|member| self.nickname(&member.member_id));
                    write!(line, " {}", ids.collect::<Vec<_>>().join(" ")).unwrap();
                }
                if join.skip_assignment {
                    line.push_str(", need not assign");
                }
                line
            }
            Reply::Sync(sync) if sync.error == ErrorCode::None => {
                format!("sync {:?}", String::from_utf8_lossy(&sync.assignment))
            }
            Reply::Sync(sync) => format!("sync {}", sync.error.name()),
            Reply::Heartbeat(code) => format!("beat {}", code.name()),
            Reply::Leave(leave) => {
                let mut line = format!("leave {}", leave.error.name());
                for (_, code) in leave.members {
                    write!(line, " {}", code.name()).unwrap();
                }
                line
            }
            Reply::CommitOffsets(codes) => format!("commit {}", names(&codes)),
            Reply::FetchOffsets(fetch) => {
                let mut line = String::from("fetch");
                for (topic, partition, value) in fetch.offsets {
                    let offset =
                        value.map_or("none".into(), |value| value.offset.to_wire().to_string());
                    write!(line, " {topic}-{partition}={offset}").unwrap();
                }
                line
            }
            Reply::Describe(described) => {
                let mut line = format!("{} {}", described.state, described.protocol);
                for member in described.members {
                    let assignment = String::from_utf8_lossy(&member.assignment).into_owned();
                    write!(line, " {}={assignment}", self.nickname(&member.member_id)).unwrap();
                }
                line
            }
            Reply::List(groups) => {
                let shown = |group: &brooklet_group::ListedGroup| {
                    format!("{} {:?} {}", group.group, group.protocol_type, group.state)
                };
                groups.iter().map(shown).collect::<Vec<_>>().join(", ")
            }
            Reply::Delete(code) => format!("delete {}", code.name()),
            Reply::DeleteOffsets { error, partitions } => {
                format!("forget {} {}", error.name(), names(&partitions))
            }
        }
    }
}

fn names(codes: &[ErrorCode]) -> String {
    codes.iter().map(|code| code.name()).collect::<Vec<_>>().join(" ")
}

fn partition(words: &[&str]) -> (TopicName, PartitionIndex) {
    (TopicName::new(words[0]).unwrap(), PartitionIndex(words[1].parse().unwrap()))
}

/// Settings whose offsets expire after an hour.
pub(crate) fn short_retention() -> Settings {
    let offsets_retention = Duration::from_secs(3600);
    Settings { offsets_retention, ..Settings::default() }
}
