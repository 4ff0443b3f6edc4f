//! What a leader knows of one follower: how far it is, and when it last had everything.

use std::time::Duration;

use brooklet_types::{Instant, Offset};

use crate::partition::BrokerEpoch;

/// One follower in one leader epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Progress {
    /// The incarnation that fetched last.
    pub(crate) broker_epoch: Option<BrokerEpoch>,
    /// Everything before is durable there; not known before its first fetch.
    pub(crate) offset: Option<Offset>,
    /// When it last had everything that there was.
    caught_up_at: Option<Instant>,
    /// Where the log ended at its last fetch, and when that was.
    last_fetch: Option<(Offset, Instant)>,
}

impl Progress {
    /// Nothing is known. A member of the in-sync set gets the whole time to be heard of.
    pub(crate) fn new(is_member: bool, now: Instant) -> Progress {
        Progress { caught_up_at: is_member.then_some(now), ..Progress::default() }
    }

    /// The controller counts it as in sync, whatever is known here.
    pub(crate) fn joined(&mut self, now: Instant) {
        self.caught_up_at.get_or_insert(now);
    }

    /// It asked for what follows `offset` while the log ended at `log_end`.
    pub(crate) fn fetched(
        &mut self,
        broker_epoch: BrokerEpoch,
        is_member: bool,
        offset: Offset,
        log_end: Offset,
        now: Instant,
    ) {
        if self.broker_epoch != Some(broker_epoch) {
            let caught_up_at = self.caught_up_at.filter(|_| is_member);
            *self =
                Progress { broker_epoch: Some(broker_epoch), caught_up_at, ..Progress::default() };
        }
        let caught_up_at = match self.last_fetch {
            _ if offset >= log_end => Some(now),
            // It is where the log ended last time: it had everything then.
            Some((end, at)) if offset >= end => Some(at),
            Some(_) | None => None,
        };
        self.caught_up_at = self.caught_up_at.max(caught_up_at);
        self.last_fetch = Some((log_end, now));
        // An incarnation does not lose what it proved to have: a lower offset is a fetch that was overtaken.
        self.offset = self.offset.max(Some(offset));
    }

    /// Whether it has everything, or had so less than `lag_max` ago.
    pub(crate) fn is_caught_up(&self, log_end: Offset, lag_max: Duration, now: Instant) -> bool {
        let recently = self.caught_up_at.is_some_and(|at| now.since(at) <= lag_max);
        self.offset.is_some_and(|offset| offset >= log_end) || recently
    }

    /// Until when that stays true by itself; none while it has everything, or did not for long enough already.
    pub(crate) fn caught_up_until(&self, log_end: Offset, lag_max: Duration) -> Option<Instant> {
        if self.offset.is_some_and(|offset| offset >= log_end) {
            return None;
        }
        Some(self.caught_up_at? + lag_max + Duration::from_micros(1))
    }

    /// It was behind for too long, and is not a member: only a fetch makes it caught up again.
    pub(crate) fn fell_behind(&mut self) {
        self.caught_up_at = None;
    }
}
