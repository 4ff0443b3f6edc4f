//! One group: its members, where its rebalance stands, and its durable offsets.
//!
//! Nothing here answers anybody or looks at a clock; the steps of a rebalance are in `rebalance`,
//! the requests in `join`, `sync` and `leave`.
//!
//! A rebalance is a conversation and lives in memory only. What it leads to (a generation with its
//! assignments) and what members commit are facts, become records, and are believed when durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{ErrorCode, PartitionIndex, Timestamp, TopicName};
use bytes::Bytes;

use crate::record::{GroupValue, MemberValue, OffsetValue};
use crate::reply::{DescribeReply, DescribedMember, GroupState, JoinedMember};
use crate::request::{Generation, JoinRequest, RequestId};
use crate::subscription;

/// The protocol type of ordinary consumers, whose subscriptions can be read.
const CONSUMER: &str = "consumer";

#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) id: Arc<str>,
    pub(crate) state: GroupState,
    pub(crate) state_since: Option<Timestamp>,
    pub(crate) generation: Generation,
    pub(crate) protocol_type: Option<Arc<str>>,
    pub(crate) protocol: Option<Arc<str>>,
    pub(crate) leader: Option<Arc<str>>,
    pub(crate) members: BTreeMap<Arc<str>, Member>,
    /// Member ids by instance id.
    pub(crate) statics: BTreeMap<Arc<str>, Arc<str>>,
    /// Ids given out with MEMBER_ID_REQUIRED and not yet used.
    pub(crate) pending_join: BTreeSet<Arc<str>>,
    /// Members of this generation that have not sent SyncGroup.
    pub(crate) pending_sync: BTreeSet<Arc<str>>,
    /// While the first rebalance of an empty group waits for company.
    pub(crate) initial: Option<InitialDelay>,
    /// The leader's assignments of this generation are on their way to the log.
    pub(crate) storing: bool,
    /// What the members subscribe to, if that could be read.
    pub(crate) subscribed: Option<BTreeSet<Box<str>>>,
    pub(crate) offsets: BTreeMap<(TopicName, PartitionIndex), OffsetValue>,
    /// The log holds a generation of this group, so removing it takes a tombstone.
    pub(crate) stored: bool,
    /// Appends under way that concern this group.
    pub(crate) appends: u32,
    /// A tombstone is on its way to the log.
    pub(crate) removing: bool,
}

/// The first rebalance of an empty group is put off, again whenever somebody came meanwhile.
#[derive(Clone, Copy, Debug)]
pub(crate) struct InitialDelay {
    pub(crate) remaining: Duration,
    pub(crate) somebody_came: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Member {
    pub(crate) instance_id: Option<Arc<str>>,
    pub(crate) client_id: Arc<str>,
    pub(crate) client_host: Arc<str>,
    pub(crate) session_timeout: Duration,
    pub(crate) rebalance_timeout: Duration,
    pub(crate) protocols: Vec<(Arc<str>, Bytes)>,
    pub(crate) assignment: Bytes,
    /// The JoinGroup that waits for the rebalance.
    pub(crate) awaiting_join: Option<RequestId>,
    /// The SyncGroup that waits for the assignments.
    pub(crate) awaiting_sync: Option<RequestId>,
    /// Has not been through a rebalance, so does not know that it is a member.
    pub(crate) is_new: bool,
}

impl Member {
    pub(crate) fn new(request: &JoinRequest) -> Member {
        let mut member = Member {
            instance_id: request.instance_id.clone(),
            client_id: Arc::clone(&request.client_id),
            client_host: Arc::clone(&request.client_host),
            session_timeout: Duration::ZERO,
            rebalance_timeout: Duration::ZERO,
            protocols: Vec::new(),
            assignment: Bytes::new(),
            awaiting_join: None,
            awaiting_sync: None,
            is_new: true,
        };
        member.take_terms(request);
        member
    }

    /// Takes over what a JoinGroup says about protocols and timeouts.
    pub(crate) fn take_terms(&mut self, request: &JoinRequest) {
        self.session_timeout = millis(request.session_timeout_ms);
        self.rebalance_timeout = millis(request.rebalance_timeout_ms);
        // Copied, because a slice would keep the whole frame it came in alive.
        let copied = |(name, metadata): &(Arc<str>, Bytes)| {
            (Arc::clone(name), Bytes::copy_from_slice(metadata))
        };
        self.protocols = request.protocols.iter().map(copied).collect();
    }

    /// The metadata for one protocol; empty for one it does not speak.
    pub(crate) fn metadata(&self, protocol: &str) -> Bytes {
        let spoken = self.protocols.iter().find(|(name, _)| &**name == protocol);
        spoken.map(|(_, metadata)| metadata.clone()).unwrap_or_default()
    }

    fn speaks(&self, protocol: &str) -> bool {
        self.protocols.iter().any(|(name, _)| &**name == protocol)
    }
}

/// A wire duration; a negative one is none at all.
fn millis(raw: i32) -> Duration {
    Duration::from_millis(u64::try_from(raw).unwrap_or(0))
}

impl Group {
    pub(crate) fn new(id: Arc<str>) -> Group {
        Group {
            id,
            state: GroupState::Empty,
            state_since: None,
            generation: Generation::default(),
            protocol_type: None,
            protocol: None,
            leader: None,
            members: BTreeMap::new(),
            statics: BTreeMap::new(),
            pending_join: BTreeSet::new(),
            pending_sync: BTreeSet::new(),
            initial: None,
            storing: false,
            subscribed: None,
            offsets: BTreeMap::new(),
            stored: false,
            appends: 0,
            removing: false,
        }
    }

    /// Becomes what a record says; the offsets have records of their own.
    pub(crate) fn install(&mut self, value: &GroupValue) {
        let offsets = std::mem::take(&mut self.offsets);
        *self = Group::new(Arc::clone(&self.id));
        self.offsets = offsets;
        self.stored = true;
        self.generation = value.generation;
        self.protocol_type = Some(&value.protocol_type).filter(|name| !name.is_empty()).cloned();
        self.state_since = value.current_state_timestamp;
        if !value.members.is_empty() {
            self.state = GroupState::Stable;
            // A generation with members has a protocol; if a foreign record has none, so be it.
            self.protocol = Some(value.protocol.clone().unwrap_or_default());
        }
        for stored in &value.members {
            let protocol = self.protocol.clone().unwrap_or_default();
            let member = Member {
                instance_id: stored.instance_id.clone(),
                client_id: Arc::clone(&stored.client_id),
                client_host: Arc::clone(&stored.client_host),
                session_timeout: millis(stored.session_timeout_ms),
                rebalance_timeout: millis(stored.rebalance_timeout_ms),
                protocols: vec![(protocol, stored.subscription.clone())],
                assignment: stored.assignment.clone(),
                awaiting_join: None,
                awaiting_sync: None,
                is_new: false,
            };
            self.add(Arc::clone(&stored.member_id), member);
        }
        if let Some(leader) = value.leader.as_ref().filter(|id| self.members.contains_key(*id)) {
            self.leader = Some(Arc::clone(leader));
        }
        self.read_subscriptions();
    }

    pub(crate) fn add(&mut self, id: Arc<str>, member: Member) {
        self.pending_join.remove(&id);
        if let Some(instance) = &member.instance_id {
            self.statics.insert(Arc::clone(instance), Arc::clone(&id));
        }
        if self.leader.is_none() {
            self.leader = Some(Arc::clone(&id));
        }
        self.members.insert(id, member);
    }

    pub(crate) fn remove(&mut self, id: &str) -> Option<Member> {
        self.pending_sync.remove(id);
        let member = self.members.remove(id)?;
        if let Some(instance) = &member.instance_id {
            self.statics.remove(instance);
        }
        if self.leader.as_deref() == Some(id) {
            self.leader = self.members.keys().next().cloned();
        }
        Some(member)
    }

    pub(crate) fn enter(&mut self, state: GroupState, clock: Timestamp) {
        self.state = state;
        self.state_since = Some(clock);
    }

    /// Begins the next generation with whoever is left.
    pub(crate) fn begin_generation(&mut self, clock: Timestamp) {
        self.generation = self.generation.next();
        self.pending_sync.clear();
        self.storing = false;
        if self.members.is_empty() {
            self.protocol = None;
            self.enter(GroupState::Empty, clock);
        } else {
            self.protocol = Some(self.elected_protocol());
            self.enter(GroupState::CompletingRebalance, clock);
        }
        self.read_subscriptions();
    }

    fn read_subscriptions(&mut self) {
        self.subscribed = None;
        if self.protocol_type.as_deref() != Some(CONSUMER) {
            return;
        }
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let mut all = BTreeSet::new();
        for member in self.members.values() {
            let Some(topics) = subscription::topics(&member.metadata(protocol)) else { return };
            all.extend(topics);
        }
        self.subscribed = Some(all);
    }

    /// Makes sure that the leader is somebody who takes part; says whether there is one.
    pub(crate) fn elect_joined_leader(&mut self) -> bool {
        let joined = |id: &&Arc<str>| self.members[*id].awaiting_join.is_some();
        if self.leader.as_ref().filter(joined).is_none() {
            let Some(id) = self.members.keys().find(joined).cloned() else { return false };
            self.leader = Some(id);
        }
        true
    }

    pub(crate) fn is_leader(&self, member: &str) -> bool {
        self.leader.as_deref() == Some(member)
    }

    pub(crate) fn is_consumers(&self) -> bool {
        self.protocol_type.as_deref() == Some(CONSUMER)
    }

    /// Whether a member reads `topic`; when that cannot be known, consumers are assumed to.
    pub(crate) fn is_subscribed(&self, topic: &TopicName) -> bool {
        match &self.subscribed {
            Some(topics) => topics.contains(topic.as_str()),
            None => self.is_consumers(),
        }
    }

    pub(crate) fn has_all_joined(&self) -> bool {
        let waiting = self.members.values().all(|member| member.awaiting_join.is_some());
        waiting && self.pending_join.is_empty()
    }

    pub(crate) fn rebalance_timeout(&self) -> Duration {
        self.members.values().map(|member| member.rebalance_timeout).max().unwrap_or_default()
    }

    /// Whether one could join who offers `protocols`: something all members speak.
    pub(crate) fn supports(&self, protocol_type: &str, protocols: &[(Arc<str>, Bytes)]) -> bool {
        if self.state == GroupState::Empty {
            return !protocol_type.is_empty() && !protocols.is_empty();
        }
        let common = |name: &str| self.members.values().all(|member| member.speaks(name));
        self.protocol_type.as_deref() == Some(protocol_type)
            && protocols.iter().any(|(name, _)| common(name))
    }

    /// What all speak and most prefer; between equals the first in the alphabet.
    pub(crate) fn elected_protocol(&self) -> Arc<str> {
        let common = |name: &str| self.members.values().all(|member| member.speaks(name));
        let mut votes: BTreeMap<Arc<str>, usize> = BTreeMap::new();
        for member in self.members.values() {
            let vote = member.protocols.iter().find(|(name, _)| common(name));
            if let Some((name, _)) = vote {
                *votes.entry(Arc::clone(name)).or_default() += 1;
            }
        }
        let most = votes.values().max().copied().unwrap_or_default();
        let winner = votes.into_iter().find(|(_, count)| *count == most);
        winner.expect("nobody joins without a protocol in common").0
    }

    /// Whether the member is who it says, as far as ids tell.
    pub(crate) fn check_member(
        &self,
        member: &str,
        instance: Option<&Arc<str>>,
    ) -> Result<(), ErrorCode> {
        if let Some(instance) = instance {
            let known = self.statics.get(instance).ok_or(ErrorCode::UnknownMemberId)?;
            if &**known != member {
                return Err(ErrorCode::FencedInstanceId);
            }
        }
        if !self.members.contains_key(member) {
            return Err(ErrorCode::UnknownMemberId);
        }
        Ok(())
    }

    /// Everybody, for the leader.
    pub(crate) fn joined_members(&self) -> Vec<JoinedMember> {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let shown = |(id, member): (&Arc<str>, &Member)| JoinedMember {
            member_id: Arc::clone(id),
            instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol),
        };
        self.members.iter().map(shown).collect()
    }

    pub(crate) fn describe(&self) -> DescribeReply {
        let stable = self.state == GroupState::Stable;
        let protocol = self.protocol.clone().filter(|_| stable).unwrap_or_default();
        let shown = |(id, member): (&Arc<str>, &Member)| DescribedMember {
            member_id: Arc::clone(id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            metadata: if stable { member.metadata(&protocol) } else { Bytes::new() },
            // Until it has the next, it still reads what it was assigned.
            assignment: member.assignment.clone(),
        };
        DescribeReply {
            error: ErrorCode::None,
            state: self.state,
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            members: self.members.iter().map(shown).collect(),
            protocol,
        }
    }

    /// The group as a record, with the assignments given or, for the others, those it has.
    pub(crate) fn value(&self, assignments: &BTreeMap<Arc<str>, Bytes>) -> GroupValue {
        let protocol = self.protocol.as_deref().unwrap_or_default();
        let to_ms = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
        let stored = |(id, member): (&Arc<str>, &Member)| MemberValue {
            member_id: Arc::clone(id),
            instance_id: member.instance_id.clone(),
            client_id: Arc::clone(&member.client_id),
            client_host: Arc::clone(&member.client_host),
            rebalance_timeout_ms: to_ms(member.rebalance_timeout),
            session_timeout_ms: to_ms(member.session_timeout),
            subscription: member.metadata(protocol),
            assignment: assignments.get(id).unwrap_or(&member.assignment).clone(),
        };
        GroupValue {
            protocol_type: self.protocol_type.clone().unwrap_or_default(),
            generation: self.generation,
            protocol: self.protocol.clone(),
            leader: self.leader.clone(),
            current_state_timestamp: self.state_since,
            members: self.members.iter().map(stored).collect(),
        }
    }

    /// What must hold after every step.
    pub(crate) fn assert_invariants(&self) {
        let id = &self.id;
        let leads = self.leader.as_ref().is_some_and(|leader| self.members.contains_key(leader));
        assert_eq!(leads, !self.members.is_empty(), "group {id:?}: the leader is a member");
        let has_members = !self.members.is_empty();
        match self.state {
            GroupState::Empty => assert!(!has_members, "group {id:?} is empty with members"),
            GroupState::Stable | GroupState::CompletingRebalance => {
                assert!(has_members, "group {id:?} is {} without members", self.state);
                assert!(self.protocol.is_some(), "group {id:?} has no protocol");
            }
            GroupState::PreparingRebalance => {}
            GroupState::Dead => panic!("group {id:?} is dead and still here"),
        }
        debug_assert!(self.pending_sync.iter().all(|member| self.members.contains_key(member)));
    }
}
