//! The steps of a rebalance: from somebody's wish for one to everybody's assignment.
//!
//! `Empty|Stable|CompletingRebalance → PreparingRebalance → CompletingRebalance → Stable`, or back
//! to `Empty` when nobody is left. Each phase has a deadline, so a rebalance ends whoever stops.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::ErrorCode;
use bytes::Bytes;

use crate::group::{Group, InitialDelay};
use crate::reply::{GroupState, JoinReply, Reply, SyncReply};
use crate::request::Generation;
use crate::step::{Step, append_error};
use crate::timers::Alarm;

/// When only silent static members are left, the join phase waits again. A group may have said
/// that its rebalances last no time at all; the search for its members shall not spin.
const POSTPONEMENT_MIN: Duration = Duration::from_secs(1);

impl Group {
    /// Somebody came, went or changed: rebalance, or go on with the rebalance there is.
    pub(crate) fn rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::PreparingRebalance {
            self.try_complete_join(step);
        } else {
            self.prepare_rebalance(step);
        }
    }

    fn prepare_rebalance(&mut self, step: &mut Step<'_>) {
        if self.state == GroupState::CompletingRebalance {
            // Those who wait for this generation's assignments must join the next.
            self.drop_assignments(step, ErrorCode::RebalanceInProgress);
        }
        step.timers.cancel(&self.id, Alarm::Sync);
        let was_empty = self.state == GroupState::Empty;
        self.enter(GroupState::PreparingRebalance, step.clock);
        let delay = step.settings.initial_rebalance_delay;
        if !was_empty {
            self.try_complete_join(step);
        } else if delay.is_zero() {
            self.complete_join(step);
        } else {
            let remaining = self.rebalance_timeout().saturating_sub(delay);
            self.initial = Some(InitialDelay { remaining, somebody_came: false });
            step.timers.set(&self.id, Alarm::Join, step.now + delay);
        }
    }

    /// Completes the join phase if nobody is missing, else makes sure that it ends some day.
    pub(crate) fn try_complete_join(&mut self, step: &mut Step<'_>) {
        if self.initial.is_some() {
            return;
        }
        if self.has_all_joined() {
            self.complete_join(step);
        } else if !step.timers.is_set(&self.id, Alarm::Join) {
            // Set once: those who keep joining must not put off the end for all.
            let at = step.now + self.rebalance_timeout();
            step.timers.set(&self.id, Alarm::Join, at);
        }
    }

    /// The join phase has lasted long enough.
    pub(crate) fn join_phase_is_over(&mut self, step: &mut Step<'_>) {
        if self.state != GroupState::PreparingRebalance {
            return;
        }
        let Some(initial) = self.initial.take() else { return self.complete_join(step) };
        if !initial.somebody_came || initial.remaining.is_zero() {
            return self.complete_join(step);
        }
        let delay = step.settings.initial_rebalance_delay;
        let remaining = initial.remaining.saturating_sub(delay);
        self.initial = Some(InitialDelay { remaining, somebody_came: false });
        step.timers.set(&self.id, Alarm::Join, step.now + delay.min(initial.remaining));
    }

    fn complete_join(&mut self, step: &mut Step<'_>) {
        step.timers.cancel(&self.id, Alarm::Join);
        self.initial = None;
        // Dynamic members that did not come back are out; static ones have until their session ends.
        let mut missing = Vec::new();
        for (id, member) in &self.members {
            if member.awaiting_join.is_none() && member.instance_id.is_none() {
                missing.push(Arc::clone(id));
            }
        }
        for id in missing {
            step.end_session(self, &id);
            self.remove(&id);
        }
        if !self.members.is_empty() && !self.elect_joined_leader() {
            let at = step.now + self.rebalance_timeout().max(POSTPONEMENT_MIN);
            step.timers.set(&self.id, Alarm::Join, at);
            return;
        }
        self.begin_generation(step.clock);
        if self.members.is_empty() {
            // Should the log refuse this, a restart brings the last generation back, and its
            // members time out. Nothing depends on it, so nothing waits for it.
            step.record_group(self);
        } else {
            self.answer_joins(step);
        }
    }

    fn answer_joins(&mut self, step: &mut Step<'_>) {
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let members = if self.is_leader(&id) { self.joined_members() } else { Vec::new() };
            let reply = JoinReply { members, ..self.join_reply(&id) };
            let member = self.members.get_mut(&id).expect("listed above");
            member.is_new = false;
            if let Some(request) = member.awaiting_join.take() {
                step.reply(request, Reply::Join(reply));
            }
            step.extend_session(self, &id);
            self.pending_sync.insert(id);
        }
        let at = step.now + self.rebalance_timeout();
        step.timers.set(&self.id, Alarm::Sync, at);
    }

    /// The current generation as a member sees it that is not the leader.
    pub(crate) fn join_reply(&self, member: &Arc<str>) -> JoinReply {
        JoinReply {
            error: ErrorCode::None,
            member_id: Arc::clone(member),
            generation: Some(self.generation),
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            leader: self.leader.clone().unwrap_or_default(),
            skip_assignment: false,
            members: Vec::new(),
        }
    }

    pub(crate) fn sync_reply(&self, assignment: Bytes) -> SyncReply {
        SyncReply {
            error: ErrorCode::None,
            protocol_type: self.protocol_type.clone(),
            protocol: self.protocol.clone(),
            assignment,
        }
    }

    /// The sync phase has lasted long enough: who did not ask for an assignment is out.
    pub(crate) fn sync_phase_is_over(&mut self, step: &mut Step<'_>) {
        let silent = std::mem::take(&mut self.pending_sync);
        if silent.is_empty() {
            return;
        }
        for id in silent {
            step.end_session(self, &id);
            self.remove(&id);
        }
        self.prepare_rebalance(step);
    }

    /// A member asked for its assignment, or is gone: perhaps nobody is missing any more.
    pub(crate) fn synced(&mut self, step: &mut Step<'_>, member: &str) {
        self.pending_sync.remove(member);
        if self.pending_sync.is_empty() {
            step.timers.cancel(&self.id, Alarm::Sync);
        }
    }

    /// The leader's assignments are durable, or the log refused them.
    pub(crate) fn hand_out(
        &mut self,
        step: &mut Step<'_>,
        generation: Generation,
        mut assignments: BTreeMap<Arc<str>, Bytes>,
        outcome: Result<(), ErrorCode>,
    ) {
        // The group may have moved on meanwhile, and those who waited were told so.
        if self.state != GroupState::CompletingRebalance || self.generation != generation {
            return;
        }
        self.storing = false;
        if let Err(code) = outcome {
            self.drop_assignments(step, append_error(code));
            return self.prepare_rebalance(step);
        }
        self.enter(GroupState::Stable, step.clock);
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let assignment = assignments.remove(&id).unwrap_or_default();
            let reply = self.sync_reply(assignment.clone());
            let member = self.members.get_mut(&id).expect("listed above");
            member.assignment = assignment;
            if let Some(request) = member.awaiting_sync.take() {
                step.reply(request, Reply::Sync(reply));
                step.extend_session(self, &id);
            }
        }
    }

    fn drop_assignments(&mut self, step: &mut Step<'_>, code: ErrorCode) {
        self.storing = false;
        let ids: Vec<Arc<str>> = self.members.keys().cloned().collect();
        for id in ids {
            let member = self.members.get_mut(&id).expect("listed above");
            member.assignment = Bytes::new();
            if let Some(request) = member.awaiting_sync.take() {
                step.refuse_sync(request, code);
                step.extend_session(self, &id);
            }
        }
    }

    /// A member, or one that was to become a member, was silent for too long.
    pub(crate) fn session_is_over(&mut self, step: &mut Step<'_>, id: &Arc<str>) {
        if self.pending_join.remove(id) {
            if self.state == GroupState::PreparingRebalance {
                self.try_complete_join(step);
            }
            return;
        }
        let Some(member) = self.members.get(id) else { return };
        // Who waits for us need not speak. A new member cannot speak, so its wait has an end.
        let waits = member.awaiting_join.is_some() || member.awaiting_sync.is_some();
        if member.is_new || !waits {
            self.expel(step, id);
            self.rebalance(step);
        }
    }

    /// Removes a member, telling whatever request of it waits. The caller rebalances.
    pub(crate) fn expel(&mut self, step: &mut Step<'_>, id: &Arc<str>) {
        step.end_session(self, id);
        if let Some(member) = self.remove(id) {
            if let Some(request) = member.awaiting_join {
                step.refuse_join(request, ErrorCode::UnknownMemberId, &Arc::from(""));
            }
            if let Some(request) = member.awaiting_sync {
                step.refuse_sync(request, ErrorCode::UnknownMemberId);
            }
        }
    }
}
