//! The leader's side of one partition.
//!
//! **Where it sits.** Produce → log → *here* → reply; and a follower's fetch → *here* → read plan. A batch comes here
//! after it is in the leader's own log.
//!
//! **What it decides.** Whether a batch with `acks=all` is taken, and when it is acknowledged; whether a follower may
//! fetch from where it asks, or has to cut its log first; when the high watermark moves; who should be in the in-sync
//! set.
//!
//! **What it never does.** Decide who leads, or who *is* in the set: that is the controller's.
//!
//! **Differs from Kafka.** Each leader epoch forgets how far followers were, also when the leader stays the same: it
//! may have missed a leader in between, for whom they cut their logs. Who joins has to be caught up, and those who
//! join and those who leave are one change. Producers who wait when the set becomes too small are told so at once, since the high watermark then
//! stands still (KIP-966).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_types::{BrokerId, Instant, LeaderEpoch, Offset};

use crate::divergence::{self, EpochEnd};
use crate::in_sync::{AlterPartition, Altered, ChangeId, InSync};
use crate::partition::{BrokerEpoch, Brokers, Partition};
use crate::progress::Progress;
use crate::refusal::{AcceptError, FetchRefusal, Unacknowledged};
use crate::waiting::{RequestId, WAITING_MAX, Waiting};

/// What an operator may set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LeaderSettings {
    /// How long a follower may be behind before it leaves the in-sync set: `replica.lag.time.max.ms`.
    pub lag_max: Duration,
}

impl Default for LeaderSettings {
    /// Kafka's.
    fn default() -> LeaderSettings {
        LeaderSettings { lag_max: Duration::from_secs(30) }
    }
}

/// How far the leader's own log goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogEnds {
    /// Everything before is durable, or as good as: with `brooklet.flush=os` it is `end`.
    pub durable: Offset,
    /// The next offset.
    pub end: Offset,
}

/// A follower asks for records.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FollowerFetch {
    /// Who asks.
    pub follower: BrokerId,
    /// Which incarnation of it.
    pub broker_epoch: BrokerEpoch,
    /// Whom it takes this broker for. Followers always say it.
    pub leader_epoch: LeaderEpoch,
    /// It has everything before, durably.
    pub offset: Offset,
    /// The epoch of the record before; none when it has no records.
    pub last_epoch: Option<LeaderEpoch>,
}

/// What a fetch that is not refused gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FetchOutcome {
    /// Records from there on.
    Records,
    /// No records: its log is another from somewhere before, and this is what is here.
    Diverging(EpochEnd),
}

/// Something must be done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LeaderOutput {
    /// Consumers may read up to here; followers are told with the next answer.
    HighWatermark(Offset),
    /// A producer's batch is safe, or nobody knows.
    Answer { request: RequestId, outcome: Result<(), Unacknowledged> },
    /// Ask the controller for another in-sync set.
    Alter(AlterPartition),
}

/// A partition's leader.
#[derive(Clone, Debug)]
pub struct Leader {
    local: BrokerId,
    settings: LeaderSettings,
    /// What the metadata said last, but for the in-sync set.
    partition: Partition,
    brokers: Brokers,
    in_sync: InSync,
    /// All replicas but this broker.
    followers: BTreeMap<BrokerId, Progress>,
    /// Where the log ended when the epoch began.
    epoch_start: Offset,
    log: LogEnds,
    high_watermark: Offset,
    waiting: Waiting,
}

impl Leader {
    /// Begins to lead, as `partition` says of `local`. `high_watermark` is what is known of it from being a follower
    /// or from before a restart; nothing but safe.
    pub fn new(
        local: BrokerId,
        settings: LeaderSettings,
        partition: &Partition,
        log: LogEnds,
        high_watermark: Offset,
        now: Instant,
    ) -> Leader {
        assert_eq!(partition.leader, Some(local), "only the leader leads");
        let (confirmed, epoch) = (partition.in_sync.clone(), partition.partition_epoch);
        let mut leader = Leader {
            local,
            settings,
            partition: partition.clone(),
            brokers: Brokers::new(),
            in_sync: InSync::new(confirmed, epoch, ChangeId(1)),
            followers: BTreeMap::new(),
            epoch_start: log.end,
            log,
            high_watermark: high_watermark.min(log.durable),
            waiting: Waiting::default(),
        };
        leader.begin_epoch(partition, now);
        leader
    }

    /// The metadata says this of the partition, and of the brokers that hold it. When somebody else leads, [`Leader::depose`] instead.
    pub fn metadata(
        &mut self,
        partition: &Partition,
        brokers: &Brokers,
        now: Instant,
        outbox: &mut Vec<LeaderOutput>,
    ) {
        assert_eq!(partition.leader, Some(self.local), "somebody else leads");
        let known = (self.partition.leader_epoch, self.partition.partition_epoch);
        if partition.leader_epoch > known.0 {
            self.begin_epoch(partition, now);
        } else if (partition.leader_epoch, partition.partition_epoch) >= known {
            // The controller's answer may have told of the set before, and of the set alone.
            if partition.partition_epoch > self.in_sync.epoch() {
                self.in_sync.confirm(partition.in_sync.clone(), partition.partition_epoch);
            }
            self.partition = partition.clone();
            self.know_followers(now);
        }
        let is_replica = |id: &BrokerId| self.partition.replicas.contains(id);
        self.brokers = brokers
            .iter()
            .filter(|(id, _)| is_replica(id))
            .map(|(id, live)| (*id, *live))
            .collect();
        self.settle(now, outbox);
    }

    /// Leads no more: who waits is sent to the new leader. Says what to go on with as a follower: the high watermark.
    pub fn depose(mut self, outbox: &mut Vec<LeaderOutput>) -> Offset {
        self.answer_all(Unacknowledged::Deposed, outbox);
        self.high_watermark
    }

    /// Whether a batch with `acks=all` may be appended. Asked before it is.
    pub fn accept(&self) -> Result<(), AcceptError> {
        let (in_sync, min) = (self.in_sync.confirmed().len(), self.partition.in_sync_min());
        if in_sync < min {
            return Err(AcceptError::NotEnoughReplicas { in_sync, min });
        }
        let waiting = self.waiting.len();
        if waiting >= WAITING_MAX {
            return Err(AcceptError::TooManyWaiting { waiting });
        }
        Ok(())
    }

    /// `request` wants to know when everything before `end` is safe. It was accepted, and the log's ends are told
    /// afterwards or were before.
    pub fn wait(
        &mut self,
        request: RequestId,
        end: Offset,
        now: Instant,
        outbox: &mut Vec<LeaderOutput>,
    ) {
        self.waiting.add(request, end);
        self.settle(now, outbox);
    }

    /// `request` got another answer, or nobody is there to be answered.
    pub fn withdraw(&mut self, request: RequestId) {
        self.waiting.withdraw(request);
    }

    /// Something was appended, or became durable.
    pub fn local(&mut self, log: LogEnds, now: Instant, outbox: &mut Vec<LeaderOutput>) {
        assert!(self.log.end <= log.end, "a leader does not cut its log");
        assert!(log.durable <= log.end);
        // A topic that goes over to `brooklet.flush=sync` has less that is durable than was relied on before.
        let durable = self.log.durable.max(log.durable);
        self.log = LogEnds { durable, end: log.end };
        self.settle(now, outbox);
    }

    /// A follower asks for records. Its log begins, here, at `log_start`, and `history` is that of the leader's log:
    /// the largest epoch with records that is not after the asked one, and where it ends.
    pub fn fetched(
        &mut self,
        fetch: &FollowerFetch,
        log_start: Offset,
        history: impl Fn(LeaderEpoch) -> Option<EpochEnd>,
        now: Instant,
        outbox: &mut Vec<LeaderOutput>,
    ) -> Result<FetchOutcome, FetchRefusal> {
        self.check(fetch)?;
        let offset = fetch.offset;
        let out_of_range = FetchRefusal::OutOfRange { offset, log_start, log_end: self.log.end };
        // Before the epochs: of what was deleted here nobody knows how it began.
        if offset < log_start {
            return Err(out_of_range);
        }
        let found =
            fetch.last_epoch.and_then(|last| divergence::found(offset, last, log_start, &history));
        if let Some(found) = found {
            return Ok(FetchOutcome::Diverging(found));
        }
        if offset > self.log.end {
            return Err(out_of_range);
        }
        // Only now: what does not match the log here is not a copy of it.
        let is_member = self.in_sync.confirmed().contains(&fetch.follower);
        if let Some(follower) = self.followers.get_mut(&fetch.follower) {
            follower.fetched(fetch.broker_epoch, is_member, offset, self.log.end, now);
        }
        self.settle(now, outbox);
        Ok(FetchOutcome::Records)
    }

    /// The controller has answered, or will not.
    pub fn altered(
        &mut self,
        change: ChangeId,
        outcome: Altered,
        now: Instant,
        outbox: &mut Vec<LeaderOutput>,
    ) {
        match outcome {
            Altered::Applied { leader_epoch, partition_epoch, in_sync } => {
                // Of another leader epoch the metadata will tell. What is not newer is known.
                let is_news = partition_epoch > self.in_sync.epoch();
                if leader_epoch == self.partition.leader_epoch
                    && is_news
                    && in_sync.contains(&self.local)
                {
                    self.in_sync.confirm(in_sync, partition_epoch);
                    self.know_followers(now);
                }
            }
            Altered::Refused(code) => self.in_sync.refused(change, code, now),
            Altered::Lost => self.in_sync.lost(change, now),
        }
        self.settle(now, outbox);
    }

    /// Time has passed.
    pub fn tick(&mut self, now: Instant, outbox: &mut Vec<LeaderOutput>) {
        self.settle(now, outbox);
    }

    /// When [`Leader::tick`] is due; none while time alone changes nothing.
    pub fn next_deadline(&self) -> Option<Instant> {
        let until =
            |progress: &Progress| progress.caught_up_until(self.log.end, self.settings.lag_max);
        let may_change = self.in_sync.may_change();
        // A member that is behind leaves the set, unless a change is under way; anybody else holds up no longer.
        let is_due = |id: &BrokerId| may_change || !self.in_sync.confirmed().contains(id);
        let lags = self
            .followers
            .iter()
            .filter(|(id, _)| is_due(id))
            .filter_map(|(_, follower)| until(follower));
        lags.chain(self.in_sync.next_deadline()).min()
    }

    /// What consumers may read.
    pub fn high_watermark(&self) -> Offset {
        self.high_watermark
    }

    /// What a consumer is told when it asks for the latest offset; none while it may lie behind what an earlier
    /// leader told: OFFSET_NOT_AVAILABLE (KIP-207).
    pub fn latest_offset(&self) -> Option<Offset> {
        (self.high_watermark >= self.epoch_start).then_some(self.high_watermark)
    }

    /// The term.
    pub fn leader_epoch(&self) -> LeaderEpoch {
        self.partition.leader_epoch
    }

    /// The in-sync set that the controller confirmed last.
    pub fn in_sync(&self) -> &BTreeSet<BrokerId> {
        self.in_sync.confirmed()
    }

    fn check(&self, fetch: &FollowerFetch) -> Result<(), FetchRefusal> {
        let (claimed, current) = (fetch.leader_epoch, self.partition.leader_epoch);
        if claimed < current {
            return Err(FetchRefusal::OldLeaderEpoch { claimed, current });
        }
        if claimed > current {
            return Err(FetchRefusal::NewLeaderEpoch { claimed, current });
        }
        let follower = fetch.follower;
        let Some(progress) = self.followers.get(&follower) else {
            return Err(FetchRefusal::NotReplica { follower });
        };
        let registered = self.brokers.get(&follower).map(|live| live.epoch);
        // The follower may know its new epoch before the metadata comes here; never the other way round.
        match registered.max(progress.broker_epoch) {
            Some(current) if current > fetch.broker_epoch => {
                let claimed = fetch.broker_epoch;
                Err(FetchRefusal::StaleBrokerEpoch { follower, claimed, current })
            }
            Some(_) | None => Ok(()),
        }
    }

    fn begin_epoch(&mut self, partition: &Partition, now: Instant) {
        self.partition = partition.clone();
        let next = self.in_sync.next_change();
        self.in_sync = InSync::new(partition.in_sync.clone(), partition.partition_epoch, next);
        self.epoch_start = self.log.end;
        self.followers.clear();
        self.know_followers(now);
    }

    /// Has a row for each replica, and none for anybody else.
    fn know_followers(&mut self, now: Instant) {
        let Leader { partition, followers, in_sync, local, .. } = self;
        followers.retain(|id, _| partition.replicas.contains(id));
        for id in partition.replicas.iter().filter(|id| *id != local) {
            let is_member = in_sync.confirmed().contains(id);
            let progress = followers.entry(*id).or_insert_with(|| Progress::new(is_member, now));
            if is_member {
                progress.joined(now);
            }
        }
    }

    /// What follows from whatever happened.
    fn settle(&mut self, now: Instant, outbox: &mut Vec<LeaderOutput>) {
        let before = self.high_watermark;
        self.in_sync.tick(now);
        self.forget_who_fell_behind(now);
        // Before the high watermark moves: who joins counts from here on.
        self.change_in_sync(now, outbox);
        self.advance(now, outbox);
        let (in_sync, min) = (self.in_sync.confirmed().len(), self.partition.in_sync_min());
        if in_sync < min {
            self.answer_all(Unacknowledged::NotEnoughReplicas { in_sync, min }, outbox);
        }
        assert!(before <= self.high_watermark);
        assert!(self.high_watermark <= self.log.durable);
    }

    fn forget_who_fell_behind(&mut self, now: Instant) {
        let (end, lag_max) = (self.log.end, self.settings.lag_max);
        for (id, follower) in &mut self.followers {
            let is_member = self.in_sync.confirmed().contains(id);
            if !is_member && !follower.is_caught_up(end, lag_max, now) {
                follower.fell_behind();
            }
        }
    }

    fn change_in_sync(&mut self, now: Instant, outbox: &mut Vec<LeaderOutput>) {
        if let Some(again) = self.in_sync.ask_again(now) {
            outbox.push(LeaderOutput::Alter(again));
            return;
        }
        if !self.in_sync.may_change() {
            return;
        }
        let confirmed = self.in_sync.confirmed();
        let wanted = |id: &BrokerId, follower: &Progress| {
            if confirmed.contains(id) {
                follower.is_caught_up(self.log.end, self.settings.lag_max, now)
            } else {
                self.can_join(*id, follower, now)
            }
        };
        let followers = self.followers.iter().filter(|(id, follower)| wanted(id, follower));
        let mut set: BTreeMap<BrokerId, Option<BrokerEpoch>> =
            followers.map(|(id, follower)| (*id, follower.broker_epoch)).collect();
        set.insert(self.local, self.brokers.get(&self.local).map(|live| live.epoch));
        if set.keys().ne(confirmed) {
            let asked = self.in_sync.ask(self.partition.leader_epoch, set, now);
            outbox.push(LeaderOutput::Alter(asked));
        }
    }

    /// Whether a follower has everything that is safe, and everything that this leader began with: another leader
    /// may have said that it was safe. Unlike with Kafka it has to be caught up too, or it would be put out again.
    fn can_join(&self, id: BrokerId, follower: &Progress, now: Instant) -> bool {
        let from = self.high_watermark.max(self.epoch_start);
        let is_caught_up = follower.is_caught_up(self.log.end, self.settings.lag_max, now);
        let has_all = follower.offset.is_some_and(|offset| offset >= from);
        is_caught_up && has_all && self.is_eligible(id, follower)
    }

    /// Whether the controller would have it, as far as is known: not fenced, and the incarnation that fetched.
    fn is_eligible(&self, id: BrokerId, follower: &Progress) -> bool {
        let live = self.brokers.get(&id).filter(|live| live.can_join);
        live.is_some_and(|live| follower.broker_epoch == Some(live.epoch))
    }

    /// Moves the high watermark to where everybody who counts is, and answers who waited for it.
    fn advance(&mut self, now: Instant, outbox: &mut Vec<LeaderOutput>) {
        if let Some(safe) = self.safe_end(now).filter(|safe| *safe > self.high_watermark) {
            self.high_watermark = safe;
            outbox.push(LeaderOutput::HighWatermark(safe));
        }
        while let Some(request) = self.waiting.pop_before(self.high_watermark) {
            outbox.push(LeaderOutput::Answer { request, outcome: Ok(()) });
        }
    }

    /// Before which offset everybody who counts has everything. None while somebody was not heard of, or while the
    /// set is too small for anything to become safe.
    fn safe_end(&self, now: Instant) -> Option<Offset> {
        if self.in_sync.confirmed().len() < self.partition.in_sync_min() {
            return None;
        }
        let (end, lag_max) = (self.log.end, self.settings.lag_max);
        let mut safe = self.log.durable;
        for (id, follower) in &self.followers {
            // Who is about to join is waited for, or it would never catch up with the high watermark of a busy leader.
            let joins =
                || follower.is_caught_up(end, lag_max, now) && self.is_eligible(*id, follower);
            if self.in_sync.counts(*id) || joins() {
                safe = safe.min(follower.offset?);
            }
        }
        Some(safe)
    }

    fn answer_all(&mut self, why: Unacknowledged, outbox: &mut Vec<LeaderOutput>) {
        while let Some(request) = self.waiting.pop() {
            outbox.push(LeaderOutput::Answer { request, outcome: Err(why) });
        }
    }
}
