//! The in-sync set as a leader knows it: what the controller confirmed, and the one change that it asks for.
//!
//! **Where it sits.** Inside [`crate::Leader`], which says who should be in the set. Kafka's ISR state machine
//! (KIP-497), over AlterPartition with the epochs of the brokers (KIP-903).
//!
//! **What it decides.** Who counts for the high watermark, and when a change is asked for (again).
//!
//! **Invariant.** Every set that the controller may have at this moment, in this leader epoch, is a subset of what
//! [`InSync::counts`]: one that is being added counts from before it is asked for, one that is being removed until
//! that is confirmed, and one whose adding was given up while an earlier attempt may still be on its way counts until
//! that cannot be any more. The last is ours: Kafka lets go of it at once.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode, Instant, LeaderEpoch};

use crate::partition::{BrokerEpoch, PartitionEpoch};

/// The controller answers within that, or the answer is lost: Kafka's `request.timeout.ms`. An attempt that was
/// given up is not carried out later than that either, since no queue on its way is longer.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The first wait before a change is asked for again. Kafka's is always this long.
const RETRY_MIN: Duration = Duration::from_millis(50);

/// The longest: many partitions of many brokers ask the same controller.
const RETRY_MAX: Duration = Duration::from_secs(2);

/// Codes that say: the partition epoch is right, and this was not done and will not be.
const NOT_DONE: [ErrorCode; 2] = [ErrorCode::OperationNotAttempted, ErrorCode::IneligibleReplica];

/// Codes that say: there is news of this partition. It comes with the metadata; asking again would not help.
const NEWS_COMES: [ErrorCode; 6] = [
    ErrorCode::FencedLeaderEpoch,
    ErrorCode::InvalidUpdateVersion,
    ErrorCode::NewLeaderElected,
    ErrorCode::UnknownTopicOrPartition,
    ErrorCode::UnknownTopicId,
    ErrorCode::InvalidRequest,
];

/// Names one change, over all of its attempts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ChangeId(pub u64);

/// What to ask of the controller.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AlterPartition {
    /// Comes back with the answer.
    pub change: ChangeId,
    /// The term in which is asked.
    pub leader_epoch: LeaderEpoch,
    /// The state that this is a change of.
    pub partition_epoch: PartitionEpoch,
    /// The new set, each with the incarnation that is meant; none (-1 on the wire) of a member that has not fetched.
    pub in_sync: BTreeMap<BrokerId, Option<BrokerEpoch>>,
}

/// What has become of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Altered {
    /// It was carried out; this is the partition's state, by this change or by a later one.
    Applied {
        leader_epoch: LeaderEpoch,
        partition_epoch: PartitionEpoch,
        in_sync: BTreeSet<BrokerId>,
    },
    /// The controller said no.
    Refused(ErrorCode),
    /// There is no answer, or one from a broker that is not the controller.
    Lost,
}

#[derive(Clone, Debug)]
struct Change {
    asked: AlterPartition,
    attempts: u32,
    again_at: Instant,
}

/// The set, in one leader epoch.
#[derive(Clone, Debug)]
pub(crate) struct InSync {
    confirmed: BTreeSet<BrokerId>,
    epoch: PartitionEpoch,
    change: Option<Change>,
    /// Whose adding was given up and may yet happen, with the moment from which on it cannot.
    doubtful: BTreeMap<BrokerId, Instant>,
    /// No change before that, as the last was refused.
    rest_until: Option<Instant>,
    refusals: u32,
    next: ChangeId,
}

impl InSync {
    pub(crate) fn new(
        confirmed: BTreeSet<BrokerId>,
        epoch: PartitionEpoch,
        next: ChangeId,
    ) -> InSync {
        InSync {
            confirmed,
            epoch,
            change: None,
            doubtful: BTreeMap::new(),
            rest_until: None,
            refusals: 0,
            next,
        }
    }

    /// A later state of the same leader epoch. Whatever was asked for is done, or will be refused as it was a change
    /// of an earlier state.
    pub(crate) fn confirm(&mut self, confirmed: BTreeSet<BrokerId>, epoch: PartitionEpoch) {
        assert!(self.epoch < epoch);
        *self = InSync::new(confirmed, epoch, self.next);
    }

    /// Begins a change to `in_sync`.
    pub(crate) fn ask(
        &mut self,
        leader_epoch: LeaderEpoch,
        in_sync: BTreeMap<BrokerId, Option<BrokerEpoch>>,
        now: Instant,
    ) -> AlterPartition {
        assert!(self.change.is_none(), "one change at a time");
        let asked = AlterPartition {
            change: self.next,
            leader_epoch,
            partition_epoch: self.epoch,
            in_sync,
        };
        self.next.0 += 1;
        self.change =
            Some(Change { asked: asked.clone(), attempts: 1, again_at: now + ANSWER_MAX });
        asked
    }

    /// What to ask for once more, if it is time to.
    pub(crate) fn ask_again(&mut self, now: Instant) -> Option<AlterPartition> {
        let change = self.change.as_mut().filter(|change| change.again_at <= now)?;
        change.attempts += 1;
        change.again_at = now + ANSWER_MAX;
        Some(change.asked.clone())
    }

    /// An attempt of `change` was refused.
    pub(crate) fn refused(&mut self, id: ChangeId, code: ErrorCode, now: Instant) {
        let Some(change) = self.change.as_mut().filter(|change| change.asked.change == id) else {
            return;
        };
        if NEWS_COMES.contains(&code) {
            change.again_at = now + ANSWER_MAX;
        } else if NOT_DONE.contains(&code) {
            self.give_up(now);
        } else {
            change.again_at = now + retry_after(change.attempts);
        }
    }

    /// There is no answer to an attempt of `change`.
    pub(crate) fn lost(&mut self, id: ChangeId, now: Instant) {
        if let Some(change) = self.change.as_mut().filter(|change| change.asked.change == id) {
            change.again_at = now + retry_after(change.attempts);
        }
    }

    fn give_up(&mut self, now: Instant) {
        let Some(change) = self.change.take() else { return };
        // Refused was one attempt. If it was the only one, nothing can come of it.
        if change.attempts > 1 {
            let added = change.asked.in_sync.into_keys().filter(|id| !self.confirmed.contains(id));
            self.doubtful.extend(added.map(|id| (id, now + ANSWER_MAX)));
        }
        self.refusals += 1;
        self.rest_until = Some(now + retry_after(self.refusals));
    }

    /// Time has passed.
    pub(crate) fn tick(&mut self, now: Instant) {
        self.doubtful.retain(|_, until| *until > now);
        self.rest_until = self.rest_until.filter(|until| *until > now);
    }

    /// Whether a change may begin.
    pub(crate) fn may_change(&self) -> bool {
        self.change.is_none() && self.rest_until.is_none()
    }

    /// Whether `broker` may be in the controller's set.
    pub(crate) fn counts(&self, broker: BrokerId) -> bool {
        let is_asked = |change: &Change| change.asked.in_sync.contains_key(&broker);
        self.confirmed.contains(&broker)
            || self.change.as_ref().is_some_and(is_asked)
            || self.doubtful.contains_key(&broker)
    }

    /// What the controller confirmed last.
    pub(crate) fn confirmed(&self) -> &BTreeSet<BrokerId> {
        &self.confirmed
    }

    pub(crate) fn epoch(&self) -> PartitionEpoch {
        self.epoch
    }

    /// The id of the change that would be next: ids go on over leader epochs, so that a late answer finds nothing.
    pub(crate) fn next_change(&self) -> ChangeId {
        self.next
    }

    /// When time alone changes something.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let again = self.change.as_ref().map(|change| change.again_at);
        let doubts = self.doubtful.values().copied();
        doubts.chain(again).chain(self.rest_until).min()
    }
}

/// Twice as long each time.
fn retry_after(attempts: u32) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    RETRY_MIN.saturating_mul(1 << doublings).min(RETRY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: BrokerId = BrokerId(1);
    const B: BrokerId = BrokerId(2);

    fn at(millis: u64) -> Instant {
        Instant::from_millis(millis)
    }

    /// A alone, B being added.
    fn adding() -> (InSync, ChangeId) {
        let mut set = InSync::new(BTreeSet::from([A]), PartitionEpoch(3), ChangeId(7));
        let wanted = BTreeMap::from([(A, Some(BrokerEpoch(1))), (B, Some(BrokerEpoch(2)))]);
        let asked = set.ask(LeaderEpoch(1), wanted, at(0));
        (set, asked.change)
    }

    #[test]
    fn each_code_says_what_becomes_of_a_change() {
        // Whether it stays, and when the next attempt, or the next change, may be.
        let table = [
            (ErrorCode::IneligibleReplica, false, 50),
            (ErrorCode::OperationNotAttempted, false, 50),
            (ErrorCode::FencedLeaderEpoch, true, 30_000),
            (ErrorCode::InvalidUpdateVersion, true, 30_000),
            (ErrorCode::NewLeaderElected, true, 30_000),
            (ErrorCode::UnknownTopicOrPartition, true, 30_000),
            (ErrorCode::UnknownTopicId, true, 30_000),
            (ErrorCode::InvalidRequest, true, 30_000),
            (ErrorCode::NotController, true, 50),
            (ErrorCode::StaleBrokerEpoch, true, 50),
            (ErrorCode::RequestTimedOut, true, 50),
            (ErrorCode::UnknownServerError, true, 50),
        ];
        for (code, stays, next) in table {
            let (mut set, change) = adding();
            set.refused(change, code, at(0));
            assert_eq!(set.counts(B), stays, "{}", code.name());
            assert_eq!(set.next_deadline(), Some(at(next)), "{}", code.name());
            assert!(!set.may_change(), "{}", code.name());
        }
    }

    #[test]
    fn an_answer_to_another_change_says_nothing() {
        let (mut set, change) = adding();
        set.refused(ChangeId(change.0 - 1), ErrorCode::IneligibleReplica, at(0));
        set.lost(ChangeId(change.0 + 1), at(0));
        assert!(set.counts(B));
        assert_eq!(set.next_deadline(), Some(at(30_000)));
    }

    #[test]
    fn a_refusal_of_a_second_attempt_leaves_a_doubt_for_a_while() {
        let (mut set, change) = adding();
        set.lost(change, at(0));
        assert_eq!(set.ask_again(at(49)), None);
        assert!(set.ask_again(at(50)).is_some());
        set.refused(change, ErrorCode::IneligibleReplica, at(100));
        for (now, counts) in [(150, true), (30_099, true), (30_100, false)] {
            set.tick(at(now));
            assert_eq!(set.counts(B), counts, "at {now} ms");
            assert!(set.may_change(), "at {now} ms");
        }
    }

    #[test]
    fn a_later_state_ends_every_doubt_and_every_change() {
        let (mut set, change) = adding();
        set.lost(change, at(0));
        set.ask_again(at(50));
        set.refused(change, ErrorCode::OperationNotAttempted, at(100));
        set.confirm(BTreeSet::from([A]), PartitionEpoch(4));
        assert!(!set.counts(B));
        assert!(set.may_change());
        assert_eq!(set.next_deadline(), None);
    }

    #[test]
    fn waits_grow_and_end_at_a_limit() {
        let waits = [1, 2, 3, 6, 7, 100].map(|attempts| retry_after(attempts).as_millis());
        assert_eq!(waits, [50, 100, 200, 1600, 2000, 2000]);
    }
}
