//! One step of a coordinator: what it may look at, and where its effects gather.

use std::collections::BTreeMap;
use std::sync::Arc;

use brooklet_types::{ErrorCode, Instant, Timestamp};
use bytes::Bytes;

use crate::group::{Group, Member};
use crate::record::GroupRecord;
use crate::reply::{JoinReply, Reply, SyncReply};
use crate::request::{Generation, RequestId};
use crate::settings::Settings;
use crate::timers::{Alarm, Timers};

/// The surroundings of one step.
#[derive(Debug)]
pub(crate) struct Step<'a> {
    pub(crate) now: Instant,
    pub(crate) clock: Timestamp,
    pub(crate) settings: &'a Settings,
    pub(crate) timers: &'a mut Timers,
    pub(crate) out: Out,
}

/// What a step leads to.
#[derive(Debug, Default)]
pub(crate) struct Out {
    pub(crate) replies: Vec<(RequestId, Reply)>,
    pub(crate) records: Vec<GroupRecord>,
    pub(crate) after: Vec<After>,
}

/// What happens when the step's records are durable, or refused.
#[derive(Debug)]
pub(crate) enum After {
    /// Say this, or the same refused.
    Reply { id: RequestId, stored: Reply },
    /// The leader's assignments are handed out.
    HandOut { group: Arc<str>, generation: Generation, assignments: BTreeMap<Arc<str>, Bytes> },
    /// A static member came back under a new id; its JoinGroup is answered, or all is undone.
    Returned(Box<Returned>),
    /// The group is gone.
    Removed { group: Arc<str> },
    /// Expired offsets are gone; there may be more.
    Expired,
}

/// How a static member was before it came back.
#[derive(Debug)]
pub(crate) struct Returned {
    pub(crate) group: Arc<str>,
    pub(crate) id: RequestId,
    pub(crate) old_id: Arc<str>,
    pub(crate) old: Member,
    pub(crate) new_id: Arc<str>,
    pub(crate) reply: JoinReply,
}

impl Step<'_> {
    pub(crate) fn reply(&mut self, id: RequestId, reply: Reply) {
        self.out.replies.push((id, reply));
    }

    pub(crate) fn refuse_join(&mut self, id: RequestId, code: ErrorCode, member: &Arc<str>) {
        self.reply(id, Reply::Join(JoinReply::refused(code, Arc::clone(member))));
    }

    pub(crate) fn refuse_sync(&mut self, id: RequestId, code: ErrorCode) {
        self.reply(id, Reply::Sync(SyncReply::refused(code)));
    }

    /// Writes down where the group stands, with the assignments its members have.
    pub(crate) fn record_group(&mut self, group: &Group) {
        let value = Some(group.value(&BTreeMap::new()));
        self.out.records.push(GroupRecord::Group { group: Arc::clone(&group.id), value });
    }

    /// The member spoke; the session starts anew.
    pub(crate) fn extend_session(&mut self, group: &Group, member: &Arc<str>) {
        let Some(known) = group.members.get(member) else { return };
        let at = self.now + known.session_timeout;
        self.timers.set(&group.id, Alarm::Member(Arc::clone(member)), at);
    }

    pub(crate) fn end_session(&mut self, group: &Group, member: &Arc<str>) {
        self.timers.cancel(&group.id, Alarm::Member(Arc::clone(member)));
    }
}

/// What a client is told when the log refused a group's record. Kafka's
/// `appendGroupMetadataErrorToResponseError`: come back, here or elsewhere.
pub(crate) fn append_error(code: ErrorCode) -> ErrorCode {
    #[expect(clippy::wildcard_enum_match_arm, reason = "Kafka passes every other code on")]
    match code {
        ErrorCode::UnknownTopicOrPartition
        | ErrorCode::NotEnoughReplicas
        | ErrorCode::NotEnoughReplicasAfterAppend
        | ErrorCode::RequestTimedOut => ErrorCode::CoordinatorNotAvailable,
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge
        | ErrorCode::RecordListTooLarge
        | ErrorCode::InvalidFetchSize => ErrorCode::UnknownServerError,
        other => other,
    }
}
