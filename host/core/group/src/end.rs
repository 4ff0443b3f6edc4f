//! The end of a coordinator: its partition of `__consumer_offsets` is gone, or out of service.
//!
//! Whoever waits is sent elsewhere. What was decided and is not durable yet may have been stored or not: the
//! answer says neither.

use std::sync::Arc;

use brooklet_types::ErrorCode;

use crate::coordinator::Coordinator;
use crate::reply::{JoinReply, Reply, SyncReply};
use crate::request::RequestId;
use crate::step::After;

impl Coordinator {
    /// Answers everybody who waits.
    pub fn end(self) -> Vec<(RequestId, Reply)> {
        let gone = ErrorCode::NotCoordinator;
        let mut replies = Vec::new();
        for after in self.appends.into_values().flat_map(|append| append.after) {
            match after {
                After::Reply { id, stored } => replies.push((id, stored.refused(gone))),
                // Whoever waits for these waits as a member.
                After::HandOut { .. }
                | After::Returned(_)
                | After::Removed { .. }
                | After::Expired => {}
            }
        }
        let groups = self.groups.into_values();
        for (member_id, member) in groups.flat_map(|group| group.members) {
            if let Some(id) = member.awaiting_join {
                let reply = JoinReply::refused(gone, Arc::clone(&member_id));
                replies.push((id, Reply::Join(reply)));
            }
            if let Some(id) = member.awaiting_sync {
                replies.push((id, Reply::Sync(SyncReply::refused(gone))));
            }
        }
        replies
    }
}
