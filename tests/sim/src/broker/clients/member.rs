//! A member of a consumer group: joins, is given its part or gives everybody theirs, shows that it is alive,
//! commits, and sometimes leaves, restarts or falls silent.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_group::{
    CommitOffset, CommitRequest, CommittedOffset, FetchReply, FetchRequest, Generation,
    HeartbeatRequest, JoinReply, JoinRequest, JoinedMember, LeaveRequest, LeavingMember,
    Reply as GroupReply, Request as GroupRequest, SyncReply, SyncRequest,
};
use brooklet_shard::GROUPS_TOPIC;
use brooklet_shard::input::Request;
use brooklet_shard::output::Reply;
use brooklet_types::{ErrorCode, Instant, PartitionIndex, TopicName, TopicPartition};
use bytes::Bytes;

use crate::broker::client::{Answer, Client, Context};
use crate::broker::promises::commits::Key;
use crate::broker::promises::generations::Generations;

/// A topic that nobody deletes.
const TOPIC: &str = "jobs";

/// A member.
#[derive(Debug)]
pub(crate) struct Member {
    name: String,
    group: Arc<str>,
    /// Its place among the partitions of `__consumer_offsets`.
    number_of_group: u64,
    instance: Option<Arc<str>>,
    requires_known_id: bool,
    session_ms: i32,
    rebalance_ms: i32,
    member_id: Arc<str>,
    generation: Option<Generation>,
    state: State,
    questions: BTreeMap<u64, Question>,
    next_number: u64,
}

#[derive(Debug)]
enum State {
    /// To join, now or after having been away.
    Out,
    /// Waits for the answer to this question.
    Waits(u64),
    /// Has joined; leads, if these are its members.
    Joined(Option<Vec<JoinedMember>>),
    /// Has its part.
    Stable,
}

#[derive(Debug)]
enum Question {
    Join,
    Sync,
    Heartbeat,
    Leave,
    Commit(Vec<(Key, i64)>),
    Fetch(Key, Instant),
}

impl Member {
    /// A member of one of some groups; whether it is static, and how patient it is, is random.
    pub(crate) fn new(name: String, group: u64, prng: &mut crate::prng::Prng) -> Member {
        let instance = prng.chance(30).then(|| Arc::from(format!("static-{name}")));
        let mut millis = || i32::try_from(150 + prng.below(1_500)).expect("small");
        let (session_ms, rebalance_ms) = (millis(), millis());
        Member {
            name,
            group: Arc::from(format!("group{group}")),
            number_of_group: group,
            instance,
            requires_known_id: prng.chance(60),
            session_ms,
            rebalance_ms,
            member_id: Arc::from(""),
            generation: None,
            state: State::Out,
            questions: BTreeMap::new(),
            next_number: 0,
        }
    }

    /// Asks the coordinator; none when there is no coordinator yet.
    fn ask(
        &mut self,
        ctx: &mut Context<'_>,
        question: Question,
        request: GroupRequest,
    ) -> Option<u64> {
        let topic = ctx.cluster.topic(GROUPS_TOPIC)?;
        let count = u64::try_from(topic.partitions.len()).expect("few");
        let index = u32::try_from(self.number_of_group % count).expect("few");
        let partition = PartitionIndex(index);
        let shard = ctx.shard_of(TopicPartition { topic: topic.id, partition });
        let mut entropy = [0; 16];
        for byte in &mut entropy {
            *byte = u8::try_from(ctx.prng.below(256)).expect("a byte");
        }
        self.next_number += 1;
        let number = self.next_number;
        self.questions.insert(number, question);
        ctx.ask(number, shard, Request::Group { partition, request, entropy });
        Some(number)
    }

    fn join(&mut self, ctx: &mut Context<'_>) {
        let request = JoinRequest {
            group: Arc::clone(&self.group),
            member_id: Arc::clone(&self.member_id),
            instance_id: self.instance.clone(),
            client_id: Arc::from(self.name.as_str()),
            client_host: Arc::from("/127.0.0.1"),
            session_timeout_ms: self.session_ms,
            rebalance_timeout_ms: self.rebalance_ms,
            protocol_type: Arc::from("consumer"),
            protocols: vec![(Arc::from("range"), Bytes::from(self.name.clone()))],
            requires_known_member_id: self.requires_known_id,
            supports_skipping_assignment: ctx.prng.chance(50),
        };
        if let Some(number) = self.ask(ctx, Question::Join, GroupRequest::Join(request)) {
            self.state = State::Waits(number);
        }
    }

    /// Waits for its part; a leader brings everybody's.
    fn sync(&mut self, ctx: &mut Context<'_>, led: Option<Vec<JoinedMember>>) {
        let mut assignments = Vec::new();
        if let Some(members) = led {
            let plan = ctx.promises.generations.plan();
            for member in members {
                let name = String::from_utf8_lossy(&member.metadata).into_owned();
                let part = Bytes::from(Generations::part(plan, &name));
                assignments.push((member.member_id, part));
            }
        }
        let request = SyncRequest {
            group: Arc::clone(&self.group),
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
            instance_id: self.instance.clone(),
            protocol_type: Some(Arc::from("consumer")),
            protocol: Some(Arc::from("range")),
            assignments,
        };
        if let Some(number) = self.ask(ctx, Question::Sync, GroupRequest::Sync(request)) {
            self.state = State::Waits(number);
        }
    }

    /// What a member does that has its part.
    fn work(&mut self, ctx: &mut Context<'_>) {
        match ctx.prng.below(100) {
            0..3 if !ctx.calm => self.leave(ctx),
            3..6 if !ctx.calm => {
                // A restart: its id is forgotten, and it may take a while.
                (self.member_id, self.generation) = (Arc::from(""), None);
                self.state = State::Out;
                ctx.wake_within(500);
            }
            6..40 => self.commit(ctx),
            40..55 => self.fetch(ctx),
            _ => self.heartbeat(ctx),
        }
    }

    fn heartbeat(&mut self, ctx: &mut Context<'_>) {
        let request = HeartbeatRequest {
            group: Arc::clone(&self.group),
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
            instance_id: self.instance.clone(),
        };
        self.ask(ctx, Question::Heartbeat, GroupRequest::Heartbeat(request));
    }

    fn leave(&mut self, ctx: &mut Context<'_>) {
        let leaving = LeavingMember {
            member_id: Arc::clone(&self.member_id),
            instance_id: self.instance.clone(),
        };
        let request = LeaveRequest { group: Arc::clone(&self.group), members: vec![leaving] };
        self.ask(ctx, Question::Leave, GroupRequest::Leave(request));
        (self.member_id, self.generation) = (Arc::from(""), None);
        self.state = State::Out;
    }

    fn key(&self, partition: u32) -> Key {
        (self.group.to_string(), TOPIC.to_owned(), partition)
    }

    fn commit(&mut self, ctx: &mut Context<'_>) {
        let mut values = Vec::new();
        let mut offsets = Vec::new();
        for partition in 0..3 {
            if ctx.prng.chance(50) {
                continue;
            }
            let key = self.key(partition);
            let value = ctx.promises.commits.sent(&key, ctx.now);
            values.push((key, value));
            offsets.push(CommitOffset {
                topic: TopicName::new(TOPIC).expect("a legal name"),
                topic_id: None,
                partition: PartitionIndex(partition),
                offset: CommittedOffset::from_wire(value),
                leader_epoch: None,
                metadata: Arc::from(""),
            });
        }
        let request = CommitRequest {
            group: Arc::clone(&self.group),
            generation: self.generation,
            member_id: Arc::clone(&self.member_id),
            instance_id: self.instance.clone(),
            retention_ms: None,
            knows_group_id_not_found: true,
            offsets,
        };
        self.ask(ctx, Question::Commit(values), GroupRequest::CommitOffsets(request));
    }

    fn fetch(&mut self, ctx: &mut Context<'_>) {
        let partition = u32::try_from(ctx.prng.below(3)).expect("few");
        let topic = TopicName::new(TOPIC).expect("a legal name");
        let request = FetchRequest {
            group: Arc::clone(&self.group),
            partitions: Some(vec![(topic, PartitionIndex(partition))]),
        };
        let question = Question::Fetch(self.key(partition), ctx.now);
        self.ask(ctx, question, GroupRequest::FetchOffsets(request));
    }

    fn joined(&mut self, ctx: &mut Context<'_>, reply: JoinReply) -> Result<(), String> {
        if reply.error == ErrorCode::MemberIdRequired {
            self.member_id = reply.member_id;
            self.state = State::Out;
            return Ok(());
        }
        if reply.error != ErrorCode::None {
            return self.sent_away(reply.error);
        }
        let generation = reply.generation.ok_or("a member without a generation")?;
        ctx.promises.generations.led_by(&self.group, generation.0, &reply.leader)?;
        (self.member_id, self.generation) = (reply.member_id, Some(generation));
        let leads = reply.leader == self.member_id && !reply.skip_assignment;
        self.state = State::Joined(leads.then_some(reply.members));
        Ok(())
    }

    fn synced(&mut self, ctx: &mut Context<'_>, reply: &SyncReply) -> Result<(), String> {
        if reply.error != ErrorCode::None {
            return self.sent_away(reply.error);
        }
        let generation = self.generation.ok_or("a part without a generation")?;
        let part = String::from_utf8_lossy(&reply.assignment);
        ctx.promises.generations.assigned(&self.group, generation.0, &self.name, &part)?;
        self.state = State::Stable;
        Ok(())
    }

    /// It is not, or no longer, a member of that generation: it joins again.
    fn sent_away(&mut self, code: ErrorCode) -> Result<(), String> {
        #[expect(clippy::wildcard_enum_match_arm, reason = "no other is expected")]
        match code {
            ErrorCode::None => return Ok(()),
            ErrorCode::UnknownMemberId
            | ErrorCode::FencedInstanceId
            | ErrorCode::GroupIdNotFound => {
                self.member_id = Arc::from("");
            }
            ErrorCode::RebalanceInProgress
            | ErrorCode::IllegalGeneration
            | ErrorCode::NotCoordinator
            | ErrorCode::CoordinatorNotAvailable
            | ErrorCode::CoordinatorLoadInProgress => {}
            code => return Err(format!("a member is told {code:?}")),
        }
        if !matches!(self.state, State::Waits(_)) {
            (self.generation, self.state) = (None, State::Out);
        }
        Ok(())
    }

    fn committed(
        &mut self,
        ctx: &mut Context<'_>,
        values: &[(Key, i64)],
        codes: &[ErrorCode],
    ) -> Result<(), String> {
        if codes.len() != values.len() {
            return Err(format!("{} commits have {} codes", values.len(), codes.len()));
        }
        let mut first = ErrorCode::None;
        for ((key, value), code) in values.iter().zip(codes) {
            let unclear = [ErrorCode::NotCoordinator, ErrorCode::CoordinatorNotAvailable];
            if !unclear.contains(code) {
                let stored = *code == ErrorCode::None;
                ctx.promises.commits.answered(key, *value, ctx.now, stored);
            }
            first = *code;
        }
        self.sent_away(first)
    }

    fn fetched(
        &mut self,
        ctx: &mut Context<'_>,
        key: &Key,
        asked: Instant,
        reply: &FetchReply,
    ) -> Result<(), String> {
        if reply.error != ErrorCode::None {
            return self.sent_away(reply.error);
        }
        let found = reply.offsets.first().ok_or("no position at all")?;
        let value = found.2.as_ref().map(|value| value.offset.to_wire());
        ctx.promises.commits.fetched(key, asked, value)
    }
}

impl Client for Member {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn wake(&mut self, ctx: &mut Context<'_>) {
        ctx.wake_within(40);
        match std::mem::replace(&mut self.state, State::Out) {
            State::Out => self.join(ctx),
            State::Joined(led) => self.sync(ctx, led),
            State::Stable => {
                self.state = State::Stable;
                self.work(ctx);
            }
            State::Waits(number) => self.state = State::Waits(number),
        }
    }

    fn answered(
        &mut self,
        ctx: &mut Context<'_>,
        number: u64,
        answer: Answer,
    ) -> Result<(), String> {
        let question = self.questions.remove(&number).ok_or("an answer to no question")?;
        let waited = matches!(self.state, State::Waits(for_it) if for_it == number);
        if waited {
            self.state = State::Out;
        }
        let reply = match answer {
            Answer::Gone => return Ok(()),
            Answer::Reply(Reply::Group(reply)) => reply,
            Answer::Reply(other) => return Err(format!("a member is answered {other:?}")),
        };
        match (question, reply) {
            (Question::Join, GroupReply::Join(reply)) if waited => self.joined(ctx, reply),
            (Question::Sync, GroupReply::Sync(reply)) if waited => self.synced(ctx, &reply),
            (Question::Heartbeat, GroupReply::Heartbeat(code)) => self.sent_away(code),
            (Question::Leave, GroupReply::Leave(_)) => Ok(()),
            (Question::Commit(values), GroupReply::CommitOffsets(codes)) => {
                self.committed(ctx, &values, &codes)
            }
            (Question::Fetch(key, asked), GroupReply::FetchOffsets(reply)) => {
                self.fetched(ctx, &key, asked, &reply)
            }
            (question, reply) => Err(format!("{question:?} is answered {reply:?}")),
        }
    }

    fn settled(&self) -> Result<(), String> {
        match self.state {
            State::Stable => Ok(()),
            State::Out | State::Waits(_) | State::Joined(_) => {
                Err(format!("{} of {} is still {:?}", self.name, self.group, self.state))
            }
        }
    }
}
