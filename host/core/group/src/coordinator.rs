//! The coordinator: all groups of one partition of `__consumer_offsets`, and the doors to them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{ErrorCode, Instant, Offset, PartitionIndex, Timestamp, TopicName};

use crate::group::Group;
use crate::join;
use crate::record::GroupRecord;
use crate::reply::{
    DescribeReply, FetchReply, GroupState, JoinReply, LeaveReply, ListedGroup, Reply,
};
use crate::request::{CommitRequest, JoinRequest, LeavingMember, ListRequest, Request, RequestId};
use crate::settings::{GROUPS_MAX, Settings};
use crate::step::{After, Out, Step, append_error};
use crate::timers::{Alarm, Timers};

/// Names one append until its outcome is known. Later appends have greater tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct AppendToken(u64);

/// What a step asks of its caller.
#[derive(Debug, Default)]
pub struct Effects {
    /// To be sent now.
    pub replies: Vec<(RequestId, Reply)>,
    /// To be appended in this order; empty exactly when `append` is none.
    pub records: Vec<GroupRecord>,
    /// What to call [`Coordinator::appended`] with once the records are durable or refused.
    pub append: Option<AppendToken>,
}

/// An append whose outcome is not known.
#[derive(Debug)]
pub(crate) struct Append {
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) after: Vec<After>,
}

/// All groups of one partition of `__consumer_offsets`.
#[derive(Debug)]
pub struct Coordinator {
    pub(crate) settings: Settings,
    pub(crate) groups: BTreeMap<Arc<str>, Group>,
    pub(crate) timers: Timers,
    pub(crate) appends: BTreeMap<AppendToken, Append>,
    next_token: AppendToken,
    /// When to look for expired offsets and for groups that hold nothing.
    pub(crate) sweep_at: Option<Instant>,
}

impl Coordinator {
    /// A coordinator that knows nothing yet.
    pub fn new(settings: Settings) -> Coordinator {
        Coordinator {
            settings,
            groups: BTreeMap::new(),
            timers: Timers::default(),
            appends: BTreeMap::new(),
            next_token: AppendToken(0),
            sweep_at: None,
        }
    }

    /// Takes a record from the log, while loading.
    pub fn replay(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset { group, topic, partition, value } => {
                let key = (topic.clone(), *partition);
                if let Some(value) = value {
                    let offsets = &mut self.group_mut(group).offsets;
                    offsets.insert(key, value.clone());
                } else if let Some(group) = self.groups.get_mut(group) {
                    group.offsets.remove(&key);
                }
            }
            GroupRecord::Group { group, value: Some(value) } => {
                self.group_mut(group).install(value);
            }
            GroupRecord::Group { group, value: None } => {
                if let Some(known) = self.groups.get_mut(group) {
                    let offsets = std::mem::take(&mut known.offsets);
                    *known = Group { offsets, ..Group::new(Arc::clone(group)) };
                }
            }
        }
    }

    /// The log is read: from `now` on members must show that they are alive.
    pub fn loaded(&mut self, now: Instant, clock: Timestamp) {
        self.groups.retain(|_, group| group.stored || !group.offsets.is_empty());
        let ids: Vec<Arc<str>> = self.groups.keys().cloned().collect();
        for id in ids {
            let out = self.with_group(now, clock, &id, |group, step| {
                let members: Vec<Arc<str>> = group.members.keys().cloned().collect();
                for member in &members {
                    step.extend_session(group, member);
                }
                if members.len() > step.settings.group_size_max {
                    group.rebalance(step);
                }
            });
            let silent = out.is_some_and(|out| out.replies.is_empty() && out.records.is_empty());
            assert!(silent, "loading {id:?} has nobody to answer and nothing to write");
        }
        if !self.groups.is_empty() {
            self.sweep_within(now, self.settings.offsets_retention_check_interval);
        }
    }

    /// Answers a request, now or later. `entropy` becomes part of a member id, should one be due.
    pub fn request(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: RequestId,
        request: Request,
        entropy: [u8; 16],
    ) -> Effects {
        let out = self.dispatch(now, clock, id, &request, entropy);
        self.finish(out)
    }

    /// The records of `token` are durable, or were refused. Durability is told in the order of
    /// the appends; a refusal may come out of turn.
    pub fn appended(
        &mut self,
        now: Instant,
        clock: Timestamp,
        token: AppendToken,
        outcome: Result<(), ErrorCode>,
    ) -> Effects {
        let is_oldest = self.appends.first_key_value().is_some_and(|(oldest, _)| *oldest == token);
        assert!(outcome.is_err() || is_oldest, "appends become durable in order: {token:?}");
        let append = self.appends.remove(&token).expect("an append has one outcome");
        for id in groups_of(&append.records) {
            let group = self.groups.get_mut(&id).expect("a group under an append stays");
            group.appends -= 1;
        }
        if outcome.is_ok() {
            append.records.iter().for_each(|record| self.apply(record));
        }
        let mut all = Out::default();
        for after in append.after {
            let mut out = self.follow_up(now, clock, after, outcome);
            all.replies.append(&mut out.replies);
            all.records.append(&mut out.records);
            all.after.append(&mut out.after);
        }
        self.finish(all)
    }

    /// Rings the alarms that are due and expires offsets.
    pub fn tick(&mut self, now: Instant, clock: Timestamp) -> Effects {
        let mut all = Out::default();
        while let Some((id, alarm)) = self.timers.pop_due(now) {
            let out = self.with_group(now, clock, &id, |group, step| match alarm {
                Alarm::Join => group.join_phase_is_over(step),
                Alarm::Sync => group.sync_phase_is_over(step),
                Alarm::Member(member) => group.session_is_over(step, &member),
            });
            // An alarm can outlive its group by the moment between two steps; nobody waits then.
            let Some(mut out) = out else { continue };
            all.replies.append(&mut out.replies);
            all.records.append(&mut out.records);
            all.after.append(&mut out.after);
        }
        // One thing at a time: the sweep looks at groups nothing is being written about.
        if all.records.is_empty() && self.sweep_at.is_some_and(|at| at <= now) {
            self.sweep(now, clock, &mut all);
        }
        self.finish(all)
    }

    /// When [`Coordinator::tick`] has something to do. None while every group sleeps.
    pub fn next_deadline(&self) -> Option<Instant> {
        [self.timers.next(), self.sweep_at].into_iter().flatten().min()
    }

    /// A topic is gone: so is what was committed for it.
    pub fn topic_deleted(&mut self, topic: &str) -> Effects {
        let mut out = Out::default();
        // A group that is being removed has its tombstones under way.
        for (id, group) in self.groups.iter().filter(|(_, group)| !group.removing) {
            let in_flight = self.in_flight(id);
            let known: BTreeSet<_> = group.offsets.keys().chain(&in_flight).collect();
            let gone = known.into_iter().filter(|(name, _)| name.as_str() == topic);
            out.records.extend(gone.map(|key| group.tombstone(key)));
        }
        self.finish(out)
    }

    /// Every committed position that is an offset, for measuring lag.
    pub fn committed(
        &self,
    ) -> impl Iterator<Item = (&Arc<str>, &TopicName, PartitionIndex, Offset)> {
        self.groups.iter().flat_map(|(id, group)| {
            let offsets = group.offsets.iter();
            offsets.filter_map(move |((topic, partition), value)| {
                Some((id, topic, *partition, value.offset.offset()?))
            })
        })
    }

    /// How many groups there are.
    pub fn group_count(&self) -> usize {
        self.groups.len()
    }

    /// The groups that pass the filters.
    pub fn list(&self, request: &ListRequest) -> Vec<ListedGroup> {
        let passes = |filter: &[Arc<str>], name: &str| {
            filter.is_empty() || filter.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
        };
        let mut listed = Vec::new();
        for group in self.groups.values() {
            if passes(&request.types, "classic") && passes(&request.states, group.state.name()) {
                listed.push(ListedGroup {
                    group: Arc::clone(&group.id),
                    protocol_type: group.protocol_type.clone().unwrap_or_default(),
                    state: group.state,
                });
            }
        }
        listed
    }

    fn dispatch(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: RequestId,
        request: &Request,
        entropy: [u8; 16],
    ) -> Out {
        let answered = |reply| Out { replies: vec![(id, reply)], ..Out::default() };
        let unknown = |code| answered(request.refused(code));
        match request {
            Request::Join(join) => self.join(now, clock, id, join, entropy),
            Request::CommitOffsets(commit) => self.commit(now, clock, id, commit),
            Request::Delete { group } => self.delete(id, group),
            Request::DeleteOffsets { group, partitions } => {
                self.delete_offsets(id, group, partitions)
            }
            Request::Sync(sync) => self
                .with_group(now, clock, &sync.group, |group, step| group.sync(step, id, sync))
                .unwrap_or_else(|| unknown(ErrorCode::UnknownMemberId)),
            Request::Heartbeat(heartbeat) => self
                .with_group(now, clock, &heartbeat.group, |group, step| {
                    let code = group.heartbeat(step, heartbeat);
                    step.reply(id, Reply::Heartbeat(code));
                })
                .unwrap_or_else(|| unknown(ErrorCode::UnknownMemberId)),
            Request::Leave(leave) => self
                .with_group(now, clock, &leave.group, |group, step| group.leave(step, id, leave))
                .unwrap_or_else(|| {
                    let unknown =
                        |member: &LeavingMember| (member.clone(), ErrorCode::UnknownMemberId);
                    let members = leave.members.iter().map(unknown).collect();
                    answered(Reply::Leave(LeaveReply { error: ErrorCode::None, members }))
                }),
            Request::FetchOffsets(fetch) => {
                let nothing = || Group::new(Arc::clone(&fetch.group)).fetch(fetch);
                let reply: FetchReply =
                    self.groups.get(&fetch.group).map_or_else(nothing, |group| group.fetch(fetch));
                answered(Reply::FetchOffsets(reply))
            }
            Request::Describe { group } => {
                let dead = || DescribeReply::dead(ErrorCode::None);
                let reply = self.groups.get(group).map_or_else(dead, Group::describe);
                answered(Reply::Describe(reply))
            }
            Request::List(list) => answered(Reply::List(self.list(list))),
        }
    }

    fn join(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: RequestId,
        request: &JoinRequest,
        entropy: [u8; 16],
    ) -> Out {
        let refused = |code| {
            let reply = JoinReply::refused(code, Arc::clone(&request.member_id));
            Out { replies: vec![(id, Reply::Join(reply))], ..Out::default() }
        };
        if let Err(code) = join::check_request(request, &self.settings) {
            return refused(code);
        }
        let known = self.groups.get(&request.group);
        if known.is_none() && !request.member_id.is_empty() {
            return refused(ErrorCode::UnknownMemberId);
        }
        if let Err(code) = self.check_alive(&request.group) {
            return refused(code);
        }
        self.group_mut(&request.group);
        self.sweep_within(now, self.settings.offsets_retention_check_interval);
        let joining = |group: &mut Group, step: &mut Step<'_>| {
            group.join(step, id, request, entropy);
        };
        self.with_group(now, clock, &request.group, joining).expect("made above")
    }

    fn commit(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: RequestId,
        request: &CommitRequest,
    ) -> Out {
        let refused = |code| {
            let reply = Reply::CommitOffsets(vec![code; request.offsets.len()]);
            Out { replies: vec![(id, reply)], ..Out::default() }
        };
        if let Err(code) = self.check_alive(&request.group) {
            return refused(code);
        }
        if request.generation.is_some() && !self.groups.contains_key(&request.group) {
            return refused(if request.knows_group_id_not_found {
                ErrorCode::GroupIdNotFound
            } else {
                ErrorCode::IllegalGeneration
            });
        }
        self.group_mut(&request.group);
        self.sweep_within(now, self.settings.offsets_retention_check_interval);
        let committing = |group: &mut Group, step: &mut Step<'_>| {
            if let Err(code) = group.check_commit(request) {
                step.out = refused(code);
                return;
            }
            if matches!(group.state, GroupState::Stable | GroupState::PreparingRebalance) {
                // Who commits is alive.
                step.extend_session(group, &request.member_id);
            }
            let (codes, records) = group.decide_commit(request, step.settings, step.clock);
            let stored = Reply::CommitOffsets(codes);
            if records.is_empty() {
                step.reply(id, stored);
            } else {
                step.out.records = records;
                step.out.after.push(After::Reply { id, stored });
            }
        };
        self.with_group(now, clock, &request.group, committing).expect("made above")
    }

    /// Whether a group can be changed, or made.
    fn check_alive(&self, group: &str) -> Result<(), ErrorCode> {
        match self.groups.get(group) {
            // Its tombstone is on its way; in a moment it can be made anew.
            Some(known) if known.removing => Err(ErrorCode::CoordinatorLoadInProgress),
            Some(_) => Ok(()),
            None if self.groups.len() >= GROUPS_MAX => Err(ErrorCode::PolicyViolation),
            None => Ok(()),
        }
    }

    /// Folds a durable record into the state that answers are made of.
    fn apply(&mut self, record: &GroupRecord) {
        match record {
            GroupRecord::Offset { group, topic, partition, value } => {
                let group = self.groups.get_mut(group).expect("a group under an append stays");
                let key = (topic.clone(), *partition);
                match value {
                    Some(value) => group.offsets.insert(key, value.clone()),
                    None => group.offsets.remove(&key),
                };
            }
            GroupRecord::Group { group, value } => {
                let group = self.groups.get_mut(group).expect("a group under an append stays");
                group.stored = value.is_some();
            }
        }
    }

    fn follow_up(
        &mut self,
        now: Instant,
        clock: Timestamp,
        after: After,
        outcome: Result<(), ErrorCode>,
    ) -> Out {
        match after {
            After::Reply { id, stored } => {
                let reply = match outcome {
                    Ok(()) => stored,
                    Err(code) => stored.refused(append_error(code)),
                };
                Out { replies: vec![(id, reply)], ..Out::default() }
            }
            After::HandOut { group, generation, assignments } => {
                let hand_out = |group: &mut Group, step: &mut Step<'_>| {
                    group.hand_out(step, generation, assignments, outcome);
                };
                self.with_group(now, clock, &group, hand_out).unwrap_or_default()
            }
            After::Returned(returned) => {
                let group = Arc::clone(&returned.group);
                let answer = |group: &mut Group, step: &mut Step<'_>| {
                    group.returned(step, *returned, outcome);
                };
                self.with_group(now, clock, &group, answer).unwrap_or_default()
            }
            After::Removed { group } => {
                if outcome.is_ok() {
                    let gone = self.groups.remove(&group).expect("it was being removed");
                    assert_eq!(gone.appends, 0, "group {group:?} is gone before its records");
                } else if let Some(group) = self.groups.get_mut(&group) {
                    group.removing = false;
                }
                Out::default()
            }
            After::Expired => {
                let interval = self.settings.offsets_retention_check_interval;
                let wait = if outcome.is_ok() { Duration::ZERO } else { interval };
                self.sweep_within(now, wait);
                Out::default()
            }
        }
    }

    fn group_mut(&mut self, id: &Arc<str>) -> &mut Group {
        let made = || Group::new(Arc::clone(id));
        self.groups.entry(Arc::clone(id)).or_insert_with(made)
    }

    /// Runs one step on one group, if it is there, and checks what must hold behind it.
    fn with_group(
        &mut self,
        now: Instant,
        clock: Timestamp,
        id: &Arc<str>,
        run: impl FnOnce(&mut Group, &mut Step<'_>),
    ) -> Option<Out> {
        let group = self.groups.get_mut(id)?;
        let (settings, timers) = (&self.settings, &mut self.timers);
        let mut step = Step { now, clock, settings, timers, out: Out::default() };
        run(group, &mut step);
        group.assert_invariants();
        Some(step.out)
    }

    /// Gives the step's records a token and remembers what follows them.
    fn finish(&mut self, out: Out) -> Effects {
        let Out { replies, records, after } = out;
        if records.is_empty() {
            assert!(after.is_empty(), "something waits for records that do not exist");
            return Effects { replies, records, append: None };
        }
        for id in groups_of(&records) {
            self.groups.get_mut(&id).expect("records are about groups we have").appends += 1;
        }
        let token = self.next_token;
        self.next_token = AppendToken(token.0 + 1);
        self.appends.insert(token, Append { records: records.clone(), after });
        Effects { replies, records, append: Some(token) }
    }
}

fn groups_of(records: &[GroupRecord]) -> BTreeSet<Arc<str>> {
    let id = |record: &GroupRecord| match record {
        GroupRecord::Offset { group, .. } | GroupRecord::Group { group, .. } => Arc::clone(group),
    };
    records.iter().map(id).collect()
}
