//! What requests change of partitions, within quotas (KIP-599): CreateTopics, DeleteTopics, CreatePartitions.
//!
//! **Decides** which topics of a request stay as they are for now, and how long its client waits. Of versions that do not know the
//! error all are changed; the client waits all the same.
//!
//! Where a quota holds, what a request comes to is decided twice: here, for what it costs, and then where the metadata is. Should
//! something come in between, somebody has paid for what did not happen.

use std::time::Duration;

use brooklet_types::{ErrorCode, QuotaKey};
use brooklet_wire::message::StrBytes;

use crate::context::Call;

/// The changes of one request.
pub(super) struct Changes<'a> {
    call: &'a Call,
    /// Whether the client knows the error.
    strict: bool,
    wait: Duration,
}

impl Changes<'_> {
    /// None where no quota holds. `strict_since` is the first version that knows the error.
    pub(super) fn of(call: &Call, strict_since: i16) -> Option<Changes<'_>> {
        let strict = call.version >= strict_since;
        call.pays_for_changes().then_some(Changes { call, strict, wait: Duration::ZERO })
    }

    /// Whether a topic may get, or lose, so many partitions now.
    pub(super) fn may(&mut self, partitions: usize) -> bool {
        let partitions = u32::try_from(partitions).unwrap_or(u32::MAX);
        match self.call.change_partitions(partitions, self.strict) {
            Ok(wait) => {
                self.wait = self.wait.max(wait);
                true
            }
            Err(wait) => {
                self.wait = self.wait.max(wait);
                false
            }
        }
    }

    /// How long the client has to wait, which from now on it does.
    pub(super) fn settle(self) -> Duration {
        self.call.wait_for(QuotaKey::ControllerMutationRate, self.wait)
    }
}

/// The code and the text for a topic that stays as it is.
pub(super) fn exceeded(call: &Call) -> (i16, Option<StrBytes>) {
    let code = ErrorCode::ThrottlingQuotaExceeded;
    (call.code(code), Some(code.message().into()))
}
