//! What members send between rebalances: SyncGroup, Heartbeat and LeaveGroup.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::ErrorCode;
use bytes::Bytes;

use crate::group::Group;
use crate::record::GroupRecord;
use crate::reply::{GroupState, LeaveReply, Reply};
use crate::request::{HeartbeatRequest, LeaveRequest, LeavingMember, RequestId, SyncRequest};
use crate::step::{After, Step};

impl Group {
    pub(crate) fn sync(&mut self, step: &mut Step<'_>, id: RequestId, request: &SyncRequest) {
        let member_id = &request.member_id;
        if let Err(code) = self.check_sync(request) {
            return step.refuse_sync(id, code);
        }
        self.synced(step, member_id);
        let is_leader = self.is_leader(member_id);
        let member = self.members.get_mut(member_id).expect("checked above");
        if self.state == GroupState::Stable {
            let assignment = member.assignment.clone();
            let reply = self.sync_reply(assignment);
            return step.reply(id, Reply::Sync(reply));
        }
        if let Some(superseded) = member.awaiting_sync.replace(id) {
            step.refuse_sync(superseded, ErrorCode::RebalanceInProgress);
        }
        if !is_leader || self.storing {
            return;
        }
        // Members only, and copied: what the leader says of strangers is not kept, and a slice
        // would keep the whole frame alive.
        let mut assignments: BTreeMap<Arc<str>, Bytes> = BTreeMap::new();
        for (to, assignment) in &request.assignments {
            if self.members.contains_key(to) {
                assignments.insert(Arc::clone(to), Bytes::copy_from_slice(assignment));
            }
        }
        let value = Some(self.value(&assignments));
        let group = Arc::clone(&self.id);
        step.out.records.push(GroupRecord::Group { group: Arc::clone(&group), value });
        self.storing = true;
        let generation = self.generation;
        step.out.after.push(After::HandOut { group, generation, assignments });
    }

    fn check_sync(&self, request: &SyncRequest) -> Result<(), ErrorCode> {
        self.check_member(&request.member_id, request.instance_id.as_ref())?;
        if request.generation != Some(self.generation) {
            return Err(ErrorCode::IllegalGeneration);
        }
        let differs = |claimed: &Option<Arc<str>>, ours: &Option<Arc<str>>| {
            claimed.is_some() && claimed != ours
        };
        if differs(&request.protocol_type, &self.protocol_type)
            || differs(&request.protocol, &self.protocol)
        {
            return Err(ErrorCode::InconsistentGroupProtocol);
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => Err(ErrorCode::UnknownMemberId),
            GroupState::PreparingRebalance => Err(ErrorCode::RebalanceInProgress),
            GroupState::CompletingRebalance | GroupState::Stable => Ok(()),
        }
    }

    /// Says that the member is alive, or what it should know instead.
    pub(crate) fn heartbeat(&self, step: &mut Step<'_>, request: &HeartbeatRequest) -> ErrorCode {
        if let Err(code) = self.check_member(&request.member_id, request.instance_id.as_ref()) {
            return code;
        }
        if request.generation != Some(self.generation) {
            return ErrorCode::IllegalGeneration;
        }
        match self.state {
            GroupState::Empty | GroupState::Dead => ErrorCode::UnknownMemberId,
            GroupState::PreparingRebalance => {
                // Alive, and it still reads what it was assigned; it should join when it can.
                step.extend_session(self, &request.member_id);
                ErrorCode::RebalanceInProgress
            }
            GroupState::CompletingRebalance | GroupState::Stable => {
                step.extend_session(self, &request.member_id);
                ErrorCode::None
            }
        }
    }

    pub(crate) fn leave(&mut self, step: &mut Step<'_>, id: RequestId, request: &LeaveRequest) {
        let mut members = Vec::with_capacity(request.members.len());
        let mut somebody_left = false;
        for leaving in &request.members {
            let code = match self.find_leaving(leaving) {
                Ok(member_id) => {
                    step.end_session(self, &member_id);
                    self.pending_join.remove(&member_id);
                    self.expel(step, &member_id);
                    somebody_left = true;
                    ErrorCode::None
                }
                Err(code) => code,
            };
            members.push((leaving.clone(), code));
        }
        if somebody_left {
            match self.state {
                GroupState::Stable | GroupState::CompletingRebalance => self.rebalance(step),
                GroupState::PreparingRebalance => self.try_complete_join(step),
                GroupState::Empty | GroupState::Dead => {}
            }
        }
        let stored = Reply::Leave(LeaveReply { error: ErrorCode::None, members });
        if step.out.records.is_empty() {
            step.reply(id, stored);
        } else {
            // The last one left. After a restart nobody shall wait for a member that took leave.
            step.out.after.push(After::Reply { id, stored });
        }
    }

    /// The id of whoever wants to leave; an operator may give the instance id only.
    fn find_leaving(&self, leaving: &LeavingMember) -> Result<Arc<str>, ErrorCode> {
        let LeavingMember { member_id, instance_id } = leaving;
        if member_id.is_empty() {
            let known = instance_id.as_ref().and_then(|instance| self.statics.get(instance));
            return known.cloned().ok_or(ErrorCode::UnknownMemberId);
        }
        if !self.pending_join.contains(member_id) {
            self.check_member(member_id, instance_id.as_ref())?;
        }
        Ok(Arc::clone(member_id))
    }
}
