//! JoinGroup: who may come in, under which id, and whether that takes a rebalance.

use std::fmt::Write;
use std::sync::Arc;

use brooklet_types::ErrorCode;

use crate::group::{Group, Member};
use crate::reply::{GroupState, JoinReply, Reply};
use crate::request::{JoinRequest, RequestId};
use crate::settings::{
    MEMBER_METADATA_BYTES_MAX, NEW_MEMBER_JOIN_TIMEOUT, PENDING_MEMBERS_MAX, PROTOCOLS_MAX,
    Settings,
};
use crate::step::{After, Returned, Step, append_error};
use crate::timers::Alarm;

/// What can be said about a JoinGroup without looking at the group.
pub(crate) fn check_request(request: &JoinRequest, settings: &Settings) -> Result<(), ErrorCode> {
    if request.group.is_empty() {
        return Err(ErrorCode::InvalidGroupId);
    }
    let allowed = settings.session_timeout_ms_min..=settings.session_timeout_ms_max;
    if !allowed.contains(&request.session_timeout_ms) {
        return Err(ErrorCode::InvalidSessionTimeout);
    }
    let protocols = &request.protocols;
    let bytes: usize = protocols.iter().map(|(name, metadata)| name.len() + metadata.len()).sum();
    if protocols.len() > PROTOCOLS_MAX || bytes > MEMBER_METADATA_BYTES_MAX {
        return Err(ErrorCode::InvalidRequest);
    }
    // Kafka 4.3 never answers a protocol named twice; there is nothing to be compatible with.
    let twice = |(at, (name, _)): (usize, &(Arc<str>, _))| {
        protocols.iter().skip(at + 1).any(|(other, _)| other == name)
    };
    if protocols.iter().enumerate().any(twice) {
        return Err(ErrorCode::InvalidRequest);
    }
    Ok(())
}

/// `<prefix>-<random UUID>`, as Kafka makes them.
fn new_member_id(request: &JoinRequest, entropy: [u8; 16]) -> Arc<str> {
    let mut bytes = entropy;
    // Version 4 and variant 1 of RFC 9562.
    bytes[6] = (bytes[6] & 0x0f) | 0x40;
    bytes[8] = (bytes[8] & 0x3f) | 0x80;
    let prefix = request.instance_id.as_deref().unwrap_or(&request.client_id);
    let mut id = format!("{prefix}-");
    for (index, byte) in bytes.iter().enumerate() {
        if matches!(index, 4 | 6 | 8 | 10) {
            id.push('-');
        }
        write!(id, "{byte:02x}").expect("a string takes all that is written to it");
    }
    Arc::from(id)
}

impl Group {
    pub(crate) fn join(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        request: &JoinRequest,
        entropy: [u8; 16],
    ) {
        let member = &request.member_id;
        if !self.has_room_for(member, step.settings) {
            if self.members.contains_key(member) {
                // The group was made smaller, and others were faster.
                self.expel(step, member);
                self.rebalance(step);
            } else {
                self.pending_join.remove(member);
            }
            return step.refuse_join(id, ErrorCode::GroupMaxSizeReached, &Arc::from(""));
        }
        if !self.supports(&request.protocol_type, &request.protocols) {
            return step.refuse_join(id, ErrorCode::InconsistentGroupProtocol, member);
        }
        if member.is_empty() {
            let new_id = new_member_id(request, entropy);
            return self.join_new(step, id, request, new_id);
        }
        if self.pending_join.contains(member) && request.instance_id.is_none() {
            return self.admit(step, id, request, Arc::clone(member));
        }
        match self.check_member(member, request.instance_id.as_ref()) {
            Ok(()) => self.rejoin(step, id, request),
            Err(code) => step.refuse_join(id, code, member),
        }
    }

    /// Kafka's `acceptJoiningMember`. During a rebalance those count who are back already, so that
    /// a group above a lowered limit loses those who come last.
    fn has_room_for(&self, member: &str, settings: &Settings) -> bool {
        let known = self.members.get(member);
        let limit = settings.group_size_max;
        match self.state {
            GroupState::Empty | GroupState::Dead => true,
            GroupState::PreparingRebalance => {
                let waits = |member: &Member| member.awaiting_join.is_some();
                known.is_some_and(waits)
                    || self.members.values().filter(|member| waits(member)).count() < limit
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                known.is_some() || self.members.len() < limit
            }
        }
    }

    fn join_new(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        request: &JoinRequest,
        new_id: Arc<str>,
    ) {
        if let Some(instance) = &request.instance_id {
            return match self.statics.get(instance).cloned() {
                Some(old_id) => self.return_static(step, id, request, &old_id, new_id),
                None => self.admit(step, id, request, new_id),
            };
        }
        if !request.requires_known_member_id {
            return self.admit(step, id, request, new_id);
        }
        if self.pending_join.len() >= PENDING_MEMBERS_MAX {
            return step.refuse_join(id, ErrorCode::GroupMaxSizeReached, &Arc::from(""));
        }
        let member = Member::new(request);
        let alarm = Alarm::Member(Arc::clone(&new_id));
        step.timers.set(&self.id, alarm, step.now + member.session_timeout);
        step.refuse_join(id, ErrorCode::MemberIdRequired, &new_id);
        self.pending_join.insert(new_id);
    }

    /// A new member is in; its JoinGroup waits for the rebalance this takes.
    fn admit(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        request: &JoinRequest,
        member_id: Arc<str>,
    ) {
        let mut member = Member::new(request);
        member.awaiting_join = Some(id);
        if let Some(initial) = &mut self.initial {
            initial.somebody_came = true;
        }
        if self.members.is_empty() {
            self.protocol_type = Some(Arc::clone(&request.protocol_type));
        }
        let alarm = Alarm::Member(Arc::clone(&member_id));
        step.timers.set(&self.id, alarm, step.now + NEW_MEMBER_JOIN_TIMEOUT);
        self.add(member_id, member);
        self.rebalance(step);
    }

    /// A member that we know joins again.
    fn rejoin(&mut self, step: &mut Step<'_>, id: RequestId, request: &JoinRequest) {
        let member_id = &request.member_id;
        let is_leader = self.is_leader(member_id);
        let same = self.members[member_id].protocols == request.protocols;
        let needs_rebalance = match self.state {
            GroupState::PreparingRebalance => true,
            // With the same metadata it only missed our reply.
            GroupState::CompletingRebalance => !same,
            // The leader may know of changes that its metadata does not show.
            GroupState::Stable => is_leader || !same,
            GroupState::Empty | GroupState::Dead => {
                unreachable!("an empty group has no members that could rejoin")
            }
        };
        if needs_rebalance {
            self.park_join(step, id, request, member_id);
            return self.rebalance(step);
        }
        let members = if is_leader { self.joined_members() } else { Vec::new() };
        let reply = JoinReply { members, ..self.join_reply(member_id) };
        step.reply(id, Reply::Join(reply));
    }

    /// Takes over a member's terms and lets its JoinGroup wait. An earlier one that still waits
    /// belongs to a connection its client gave up.
    fn park_join(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        request: &JoinRequest,
        member_id: &Arc<str>,
    ) {
        let member = self.members.get_mut(member_id).expect("the caller found it");
        member.take_terms(request);
        if let Some(superseded) = member.awaiting_join.replace(id) {
            step.refuse_join(superseded, ErrorCode::RebalanceInProgress, member_id);
        }
    }

    /// A static member is back without its id, as after a restart: it takes its own place.
    fn return_static(
        &mut self,
        step: &mut Step<'_>,
        id: RequestId,
        request: &JoinRequest,
        old_id: &Arc<str>,
        new_id: Arc<str>,
    ) {
        let old_leader = self.leader.clone().unwrap_or_default();
        let old = self.replace_id(step, old_id, &new_id);
        if let Some(waiting) = old.awaiting_join {
            step.refuse_join(waiting, ErrorCode::FencedInstanceId, old_id);
        }
        if let Some(waiting) = old.awaiting_sync {
            step.refuse_sync(waiting, ErrorCode::FencedInstanceId);
        }
        self.park_join(step, id, request, &new_id);
        step.extend_session(self, &new_id);
        // Anywhere but in a stable group the leader may know the old id and assign to that.
        let undisturbed = self.state == GroupState::Stable
            && self.protocol.as_ref() == Some(&self.elected_protocol());
        if !undisturbed {
            return self.rebalance(step);
        }
        let mut reply = self.join_reply(&new_id);
        if !request.supports_skipping_assignment {
            // Told that it leads, it would assign; the old id makes it a follower.
            reply.leader = old_leader;
        } else if self.is_leader(&new_id) {
            reply.skip_assignment = true;
            reply.members = self.joined_members();
        }
        step.record_group(self);
        let group = Arc::clone(&self.id);
        let old_id = Arc::clone(old_id);
        let old = Member { awaiting_join: None, awaiting_sync: None, ..old };
        let returned = Returned { group, id, old_id, old, new_id, reply };
        step.out.after.push(After::Returned(Box::new(returned)));
    }

    /// Gives a static member another id, and returns it as it was.
    fn replace_id(&mut self, step: &mut Step<'_>, old_id: &Arc<str>, new_id: &Arc<str>) -> Member {
        step.end_session(self, old_id);
        let led = self.is_leader(old_id);
        let old = self.remove(old_id).expect("instance ids name members");
        let replacement = Member { awaiting_join: None, awaiting_sync: None, ..old.clone() };
        self.add(Arc::clone(new_id), replacement);
        if led {
            self.leader = Some(Arc::clone(new_id));
        }
        old
    }

    /// The new id of a static member is durable, or the log refused it.
    pub(crate) fn returned(
        &mut self,
        step: &mut Step<'_>,
        returned: Returned,
        outcome: Result<(), ErrorCode>,
    ) {
        let Returned { id, old_id, old, new_id, reply, .. } = returned;
        // It may be gone again, replaced, or part of a rebalance that answers it.
        let waits =
            self.members.get(&new_id).is_some_and(|member| member.awaiting_join == Some(id));
        if !waits || self.state != GroupState::Stable {
            return;
        }
        let Err(code) = outcome else {
            let member = self.members.get_mut(&new_id).expect("found above");
            member.awaiting_join = None;
            step.extend_session(self, &new_id);
            return step.reply(id, Reply::Join(reply));
        };
        self.replace_id(step, &new_id, &old_id);
        self.members.insert(Arc::clone(&old_id), old);
        step.extend_session(self, &old_id);
        step.refuse_join(id, append_error(code), &Arc::from(""));
    }
}
