//! The follower's side of one partition.
//!
//! **Where it sits.** A fetcher asks [`Follower::next`] what to ask the leader for, and hands over what it answered;
//! the outputs say what to do with the log.
//!
//! **What it decides.** Where to fetch from, where to cut what the leader does not have (KIP-101, 279, 595), how far
//! the high watermark is known, when to try again.
//!
//! **What it never does.** Ask for what follows records that are not durable here: to ask is to say that one has
//! everything before. So the high watermark proves copies on disks, which Kafka's does not.
//!
//! **Invariants.**
//! 1. One fetch is under way at a time, and the answer to any other is not heard.
//! 2. The high watermark is not beyond what is durable here and known to be the leader's.
//! 3. What lies before the high watermark is cut only with [`Violation::CutBelowHighWatermark`] said first. With clean
//!    elections that does not happen; after an unclean one it is how the copies agree again.

use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, Offset};

use crate::divergence::{self, EpochEnd};
use crate::partition::Partition;

/// A leader answers within that, or the fetch is lost: Kafka's `replica.socket.timeout.ms`.
const ANSWER_MAX: Duration = Duration::from_secs(30);

/// The first wait after a fetch that brought nothing.
const BACKOFF_MIN: Duration = Duration::from_millis(50);

/// The longest: Kafka's `replica.fetch.backoff.ms`.
const BACKOFF_MAX: Duration = Duration::from_secs(1);

/// What there is of the log here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogState {
    /// The first offset.
    pub start: Offset,
    /// Everything before is durable, or as good as: with `brooklet.flush=os` it is `end`.
    pub durable: Offset,
    /// The next offset.
    pub end: Offset,
    /// The epoch of the last record; none without records.
    pub last_epoch: Option<LeaderEpoch>,
}

/// Names one fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FetchId(pub u64);

/// What to ask the leader for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fetch {
    /// Comes back with the answer.
    pub id: FetchId,
    /// Whom to ask.
    pub leader: BrokerId,
    /// In which epoch of it.
    pub leader_epoch: LeaderEpoch,
    /// From where on: everything before is durable here.
    pub offset: Offset,
    /// The epoch of the record before; none (-1 on the wire) without records.
    pub last_epoch: Option<LeaderEpoch>,
    /// Where the log begins here.
    pub log_start: Offset,
}

/// Records of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// The first batch's first offset.
    pub base: Offset,
    /// The offset behind the last.
    pub end: Offset,
    /// The largest leader epoch of the batches.
    pub epoch: LeaderEpoch,
}

/// An answer without an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Served {
    /// What the leader knows to be safe.
    pub high_watermark: Offset,
    /// Where the leader's log begins.
    pub log_start: Offset,
    /// Records, if there were any.
    pub records: Option<Span>,
}

/// What came of a fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// Records, or none yet.
    Served(Served),
    /// The logs part before the offset: this is what the leader has.
    Diverging(EpochEnd),
    /// The offset is not in the leader's log, which is this: said by the answer, or asked for.
    OutOfRange { log_start: Offset, log_end: Offset },
    /// Another error.
    Refused(ErrorCode),
    /// There is no answer.
    Lost,
}

/// What came of which fetch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Answered {
    /// The fetch.
    pub id: FetchId,
    /// What came of it.
    pub answer: Answer,
}

/// Something that must not be. An operator is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Violation {
    /// Records are given up that were safe. Expected only after an unclean election.
    #[error("the log is cut to {to}, below the high watermark {high_watermark}")]
    CutBelowHighWatermark { to: Offset, high_watermark: Offset },
    /// The leader sent records that cannot follow on what is here.
    #[error("asked for {offset} in epoch {leader_epoch}, got {records:?}")]
    ForeignRecords { offset: Offset, leader_epoch: LeaderEpoch, records: Span },
    /// The leader says that logs part where they do not.
    #[error("asked for {offset} in epoch {leader_epoch}, which is said to diverge from {found:?}")]
    FalseDivergence { offset: Offset, leader_epoch: LeaderEpoch, found: EpochEnd },
}

/// Something must be done, in this order, and before anything else is told or asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FollowerOutput {
    /// Say it loudly.
    Violated(Violation),
    /// Append the answer's records, then say so by [`Follower::log_changed`].
    Append,
    /// Cut the log: nothing at `to` or after it stays.
    Truncate { to: Offset },
    /// Empty the log; it goes on at `at`.
    StartAt { at: Offset },
    /// The leader deleted what is before.
    DeleteBefore { offset: Offset },
    /// So much is known to be safe.
    HighWatermark(Offset),
}

#[derive(Clone, Copy, Debug)]
enum State {
    /// A fetch may go out from then on.
    Ready { not_before: Instant },
    /// One is out, and is lost then.
    Waiting { fetch: Fetch, until: Instant },
}

/// A partition's follower.
#[derive(Clone, Debug)]
pub struct Follower {
    leader: Option<BrokerId>,
    leader_epoch: LeaderEpoch,
    state: State,
    failures: u32,
    next: FetchId,
    high_watermark: Offset,
    /// What the leader said last, while the log here is known to be a part of its log.
    leader_says: Option<(Offset, Offset)>,
}

impl Follower {
    /// Begins to follow, as `partition` says, or to wait for a leader. `high_watermark` is what is known of it from
    /// another role or from before a restart; `first` is the id of the first fetch, not used in this role before.
    pub fn new(
        partition: &Partition,
        high_watermark: Offset,
        first: FetchId,
        now: Instant,
    ) -> Follower {
        Follower {
            leader: partition.leader,
            leader_epoch: partition.leader_epoch,
            state: State::Ready { not_before: now },
            failures: 0,
            next: first,
            high_watermark,
            leader_says: None,
        }
    }

    /// The metadata says this of the partition. When this broker leads, a [`crate::Leader`] takes over instead.
    pub fn metadata(&mut self, partition: &Partition, now: Instant) {
        if partition.leader_epoch > self.leader_epoch {
            *self = Follower::new(partition, self.high_watermark, self.next, now);
        }
    }

    /// What to ask for now. None while there is nobody to ask, an answer is under way, something is not durable yet,
    /// or it is not yet time to try again: [`Follower::next_deadline`] says when it is.
    pub fn next(&mut self, log: &LogState, now: Instant) -> Option<Fetch> {
        let leader = self.leader?;
        let may = match self.state {
            State::Ready { not_before } => not_before <= now,
            State::Waiting { until, .. } => until <= now,
        };
        if !may || log.durable < log.end {
            return None;
        }
        let (leader_epoch, offset) = (self.leader_epoch, log.end);
        let (last_epoch, log_start) = (log.last_epoch, log.start);
        let fetch = Fetch { id: self.next, leader, leader_epoch, offset, last_epoch, log_start };
        self.next.0 += 1;
        self.state = State::Waiting { fetch, until: now + ANSWER_MAX };
        Some(fetch)
    }

    /// The leader answered a fetch, or did not. `log` is what is here, `history` its epochs: the largest with
    /// records that is not after the asked one, and where it ends. `entropy` is any random number.
    pub fn answered(
        &mut self,
        Answered { id, answer }: Answered,
        log: &LogState,
        history: impl Fn(LeaderEpoch) -> Option<EpochEnd>,
        entropy: u64,
        now: Instant,
        outbox: &mut Vec<FollowerOutput>,
    ) {
        let State::Waiting { fetch, .. } = self.state else { return };
        if fetch.id != id {
            return;
        }
        assert_eq!(fetch.offset, log.end, "nobody else writes to a follower's log");
        let fine = match answer {
            Answer::Served(served) => self.served(&fetch, &served, log, outbox),
            Answer::Diverging(found) => {
                let to = divergence::cut(found, log.start, &history);
                self.cut(&fetch, found, to, log, outbox)
            }
            Answer::OutOfRange { log_start, log_end } => {
                self.out_of_range(log_start, log_end, log, outbox)
            }
            Answer::Refused(_) | Answer::Lost => false,
        };
        self.failures = if fine { 0 } else { self.failures.saturating_add(1) };
        let wait = if fine { Duration::ZERO } else { backoff(self.failures, entropy) };
        self.state = State::Ready { not_before: now + wait };
    }

    /// Something was appended, cut, deleted, or became durable here.
    pub fn log_changed(&mut self, log: &LogState, outbox: &mut Vec<FollowerOutput>) {
        assert!(log.start <= log.end && log.durable <= log.end);
        let Some((high_watermark, log_start)) = self.leader_says else { return };
        let before = self.high_watermark;
        self.high_watermark = before.max(high_watermark.min(log.durable));
        // First, and not further than what is safe: what lies before the leader's start was never compared with
        // anything, so it is not to be taken for safe.
        let offset = log_start.min(self.high_watermark);
        if offset > log.start {
            outbox.push(FollowerOutput::DeleteBefore { offset });
        }
        if self.high_watermark > before {
            outbox.push(FollowerOutput::HighWatermark(self.high_watermark));
        }
    }

    /// When [`Follower::next`] is worth asking again, if the log does not change before.
    pub fn next_deadline(&self, log: &LogState) -> Option<Instant> {
        self.leader?;
        if log.durable < log.end {
            return None;
        }
        Some(match self.state {
            State::Ready { not_before } => not_before,
            State::Waiting { until, .. } => until,
        })
    }

    /// What is known to be safe.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// The term.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.leader_epoch
    }

    /// The id of the next fetch, for whoever follows after this follower.
    pub fn next_fetch(&self) -> FetchId {
        self.next
    }

    fn served(
        &mut self,
        fetch: &Fetch,
        served: &Served,
        log: &LogState,
        outbox: &mut Vec<FollowerOutput>,
    ) -> bool {
        if let Some(records) = served.records {
            let follows = fetch.offset <= records.base && records.base < records.end;
            if !follows || records.epoch > fetch.leader_epoch {
                let (offset, leader_epoch) = (fetch.offset, fetch.leader_epoch);
                let violation = Violation::ForeignRecords { offset, leader_epoch, records };
                outbox.push(FollowerOutput::Violated(violation));
                return false;
            }
        }
        self.leader_says = Some((served.high_watermark, served.log_start));
        match served.records {
            Some(_) => outbox.push(FollowerOutput::Append),
            None => self.log_changed(log, outbox),
        }
        true
    }

    fn cut(
        &mut self,
        fetch: &Fetch,
        found: EpochEnd,
        to: Offset,
        log: &LogState,
        outbox: &mut Vec<FollowerOutput>,
    ) -> bool {
        // A leader that sees a difference where there is none would have us ask for ever.
        if to >= log.end {
            let (offset, leader_epoch) = (fetch.offset, fetch.leader_epoch);
            let violation = Violation::FalseDivergence { offset, leader_epoch, found };
            outbox.push(FollowerOutput::Violated(violation));
            return false;
        }
        self.lower_high_watermark(to, outbox);
        outbox.push(if to < log.start {
            FollowerOutput::StartAt { at: to }
        } else {
            FollowerOutput::Truncate { to }
        });
        true
    }

    fn out_of_range(
        &mut self,
        leader_start: Offset,
        leader_end: Offset,
        log: &LogState,
        outbox: &mut Vec<FollowerOutput>,
    ) -> bool {
        if leader_start > log.end {
            // Everything here was deleted there, which only happens to what is safe.
            self.leader_says = None;
            self.high_watermark = self.high_watermark.max(leader_start);
            outbox.push(FollowerOutput::StartAt { at: leader_start });
            outbox.push(FollowerOutput::HighWatermark(self.high_watermark));
            return true;
        }
        if leader_end < log.end {
            // The epochs agree as far as they are known: there are no records here, and none there.
            self.lower_high_watermark(leader_end, outbox);
            outbox.push(FollowerOutput::StartAt { at: leader_end });
            return true;
        }
        // By now it is in range.
        false
    }

    /// The log is cut to `to`.
    fn lower_high_watermark(&mut self, to: Offset, outbox: &mut Vec<FollowerOutput>) {
        self.leader_says = None;
        if to < self.high_watermark {
            let high_watermark = self.high_watermark;
            let violation = Violation::CutBelowHighWatermark { to, high_watermark };
            outbox.push(FollowerOutput::Violated(violation));
            self.high_watermark = to;
        }
    }
}

/// Twice as long with each failure, and somewhere in its second half: followers of a broker that died do not all come
/// back at once.
fn backoff(failures: u32, entropy: u64) -> Duration {
    let doublings = failures.saturating_sub(1).min(16);
    let whole = BACKOFF_MIN.saturating_mul(1 << doublings).min(BACKOFF_MAX);
    let half = whole / 2;
    let micros = u64::try_from(half.as_micros()).expect("at most a second");
    half + Duration::from_micros(entropy % (micros + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_to_a_second_and_differ() {
        let table = [(1, 0, 25_000), (1, 25_000, 50_000), (1, 25_001, 25_000), (3, 0, 100_000)];
        for (failures, entropy, micros) in table {
            assert_eq!(backoff(failures, entropy), Duration::from_micros(micros));
        }
        assert_eq!(backoff(1000, 0), Duration::from_millis(500));
        assert_eq!(backoff(1000, 500_000), BACKOFF_MAX);
    }
}
