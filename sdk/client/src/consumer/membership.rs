//! One member of one group, by the classic protocol: its standing, its commits, its leaving.
//!
//! **How it is built.** One task at a time works for a member, reports once and ends: a
//! [`rebalance`] joins, and once it has, a [`heartbeat`] keeps the place until the group changes.
//! [`Membership`] takes the reports, says through [`signal`](Membership::signal) what its consumer
//! has to do, and starts the next task when that is done. Whatever waits for the broker may be given
//! up half way and is done again by the next call.
//!
//! **Eager and cooperative.** A member that offers only cooperative assignors keeps reading while the
//! group changes. Any other one has committed and given up everything before it joins, because the
//! group may choose an assignor that knows nothing of what it had.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    LeaveGroupRequest, OffsetCommitRequest, leave_group_request::MemberIdentity, make,
};
use tokio::sync::oneshot;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use super::assignor::Assignor;
use super::heartbeat::{self, Standing};
use super::protocol::NO_GENERATION;
use super::rebalance::{self, Joined, Outcome};
use super::{ConsumeError, check_group};
use crate::admin::CommittedOffset;
use crate::client::{Backoff, Client, Lane};
use crate::error::ApiError;
use crate::offsets::Partition;

/// Settings of a group's member.
#[derive(Clone, Debug)]
pub struct GroupConfig {
    /// The group.
    pub id: String,
    /// A name that survives restarts: the member then may return without a rebalance.
    pub instance_id: Option<String>,
    /// The group gives up on a member it has not heard of for so long.
    pub session_timeout: Duration,
    /// How long a rebalance waits for a member to join again.
    pub rebalance_timeout: Duration,
    /// How often a member says that it lives.
    pub heartbeat_interval: Duration,
    /// How often positions are committed; only by [`Consumer::commit`](super::Consumer::commit) if
    /// absent.
    pub commit_interval: Option<Duration>,
    /// In the order of preference. The group uses one that all its members offer.
    pub assignors: Vec<Assignor>,
}

impl GroupConfig {
    /// Kafka's defaults, and assignors that find a common one with every client in its own
    /// defaults: librdkafka's are `range` and `roundrobin`, Java's `range` and
    /// `cooperative-sticky`, and many programs set `cooperative-sticky` alone.
    pub fn new(id: impl Into<String>) -> GroupConfig {
        GroupConfig {
            id: id.into(),
            instance_id: None,
            session_timeout: Duration::from_secs(45),
            rebalance_timeout: Duration::from_secs(300),
            heartbeat_interval: Duration::from_secs(3),
            commit_interval: Some(Duration::from_secs(5)),
            assignors: vec![Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky],
        }
    }

    /// Whether the member keeps what it has while the group changes.
    pub(crate) fn is_cooperative(&self) -> bool {
        self.assignors.iter().all(|assignor| assignor.is_cooperative())
    }
}

/// Who the member is to the group.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) member_id: String,
    pub(crate) generation: i32,
}

/// What a consumer should do now.
pub(crate) enum Signal {
    /// Go on.
    Nothing,
    /// Commit: it is time.
    Commit,
    /// Commit, give up what an eager member gives up, and [`rejoin`](Membership::rejoin).
    Rejoin,
    /// Give up everything, which others may have by now, and [`rejoin`](Membership::rejoin).
    Lost,
    /// Take over what was assigned, and say so with [`settle`](Membership::settle).
    Settle(BTreeSet<Partition>),
}

pub(crate) struct Membership {
    client: Client,
    config: GroupConfig,
    topics: Vec<String>,
    identity: Identity,
    /// What the group gave us last.
    assigned: BTreeSet<Partition>,
    phase: Phase,
    /// For requests that are held back until all members have joined.
    rebalance_lane: Lane,
    /// For those that are answered at once.
    lane: Lane,
    committed_at: Instant,
    last_committed: BTreeMap<Partition, i64>,
    backoff: Backoff,
}

enum Phase {
    /// Not in the group, and to join it again at this time at the earliest.
    Out { not_before: Instant, lost: bool },
    /// On the way in.
    Joining(Work<Outcome>),
    /// Let in; the consumer has not yet taken over what it was given.
    Joined(Joined),
    /// In.
    Member(Work<Standing>),
}

/// A task that reports once. It ends with whoever waits for it.
struct Work<T> {
    report: oneshot::Receiver<T>,
    /// The report, once it is here.
    arrived: Option<T>,
    task: AbortHandle,
}

impl Membership {
    pub(crate) fn new(client: Client, config: GroupConfig, topics: Vec<String>) -> Membership {
        let now = Instant::now();
        Membership {
            rebalance_lane: client.new_lane(),
            lane: client.new_lane(),
            client,
            config,
            topics,
            identity: Identity { member_id: String::new(), generation: NO_GENERATION },
            assigned: BTreeSet::new(),
            phase: Phase::Out { not_before: now, lost: false },
            committed_at: now,
            last_committed: BTreeMap::new(),
            backoff: Backoff::new(),
        }
    }

    pub(crate) fn is_cooperative(&self) -> bool {
        self.config.is_cooperative()
    }

    /// What is to be done. The same again until it is.
    pub(crate) fn signal(&mut self, now: Instant) -> Result<Signal, ConsumeError> {
        match &mut self.phase {
            Phase::Out { not_before, .. } if now < *not_before => {}
            Phase::Out { lost: true, .. } => return Ok(Signal::Lost),
            Phase::Out { lost: false, .. } => return Ok(Signal::Rejoin),
            Phase::Joined(joined) => return Ok(Signal::Settle(joined.assigned.clone())),
            Phase::Joining(work) => {
                if let Some(outcome) = work.arrived() {
                    self.take_outcome(outcome)?;
                    return self.signal(now);
                }
            }
            Phase::Member(work) => {
                if let Some(standing) = work.arrived() {
                    self.take_standing(standing, now)?;
                    return self.signal(now);
                }
            }
        }
        match self.config.commit_interval {
            Some(interval) if now >= self.committed_at + interval => Ok(Signal::Commit),
            Some(_) | None => Ok(Signal::Nothing),
        }
    }

    /// Waits until [`signal`](Self::signal) may have something new to say.
    pub(crate) async fn changed(&mut self) {
        let time = self.config.commit_interval.map(|interval| self.committed_at + interval);
        // Whichever comes first; a report that is not taken stays where it is.
        tokio::select! {
            () = self.phase.changed() => {}
            () = tokio::time::sleep_until(time.unwrap_or_else(Instant::now)), if time.is_some() => {}
        }
    }

    /// Starts to join, with what the consumer still reads.
    pub(crate) fn rejoin(&mut self, owned: BTreeSet<Partition>) {
        let request = rebalance::Request {
            client: self.client.clone(),
            lane: self.rebalance_lane.clone(),
            config: self.config.clone(),
            topics: self.topics.clone(),
            identity: self.identity.clone(),
            // What an eager member had is only said to those who spread partitions by it.
            owned: if self.is_cooperative() { owned } else { self.assigned.clone() },
        };
        self.phase = Phase::Joining(Work::start(rebalance::run(request)));
    }

    /// The consumer has taken over what it was given. If it had to give something up for others,
    /// they get it when everybody has joined once more.
    pub(crate) fn settle(&mut self, gave_up: bool) {
        let now = Instant::now();
        let out = Phase::Out { not_before: now, lost: false };
        let Phase::Joined(joined) = std::mem::replace(&mut self.phase, out) else {
            unreachable!("only what was assigned can be taken over")
        };
        // What others had in between, they may have moved.
        let cooperative = self.is_cooperative();
        self.last_committed
            .retain(|partition, _| cooperative && joined.assigned.contains(partition));
        self.assigned = joined.assigned;
        self.committed_at = now;
        if !gave_up {
            let keeper = heartbeat::Keeper {
                client: self.client.clone(),
                lane: self.lane.clone(),
                group: self.config.id.clone(),
                instance_id: self.config.instance_id.clone(),
                interval: self.config.heartbeat_interval,
                identity: self.identity.clone(),
                led: joined.led,
            };
            self.phase = Phase::Member(Work::start(keeper.run()));
        }
    }

    fn take_outcome(&mut self, outcome: Outcome) -> Result<(), ConsumeError> {
        let now = Instant::now();
        self.phase = Phase::Out { not_before: now, lost: false };
        match outcome {
            Outcome::Named(member_id) => {
                self.identity.member_id = member_id;
                Ok(())
            }
            Outcome::Joined(joined) => {
                self.identity = joined.identity.clone();
                self.backoff = Backoff::new();
                self.phase = Phase::Joined(joined);
                Ok(())
            }
            Outcome::Failed(ConsumeError::Api(error)) => self.recover(error, now),
            Outcome::Failed(error) => Err(error),
        }
    }

    /// Forgets what the error says is wrong, so that the next attempt starts better.
    fn recover(&mut self, error: ApiError, now: Instant) -> Result<(), ConsumeError> {
        let mut lost = false;
        match error.code() {
            Some(ErrorCode::UnknownMemberId | ErrorCode::IllegalGeneration) => {
                self.forget(error.code() == Some(ErrorCode::UnknownMemberId));
                lost = true;
            }
            Some(ErrorCode::RebalanceInProgress) => {}
            Some(ErrorCode::FencedInstanceId) => {
                return Err(ConsumeError::Fenced { group: self.config.id.clone() });
            }
            Some(_) | None if self.client.may_retry(&error) => {
                self.client.forget_coordinator(&self.config.id);
            }
            Some(_) | None => return Err(error.into()),
        }
        self.phase = Phase::Out { not_before: now + self.backoff.next(), lost };
        Ok(())
    }

    fn take_standing(&mut self, standing: Standing, now: Instant) -> Result<(), ConsumeError> {
        let lost = matches!(standing, Standing::Lost { .. });
        self.phase = Phase::Out { not_before: now, lost };
        match standing {
            Standing::GroupChanges => {}
            Standing::Lost { known } => self.forget(!known),
            Standing::Fenced => {
                return Err(ConsumeError::Fenced { group: self.config.id.clone() });
            }
        }
        Ok(())
    }

    fn forget(&mut self, member_id: bool) {
        self.identity.generation = NO_GENERATION;
        self.assigned.clear();
        self.last_committed.clear();
        if member_id {
            self.identity.member_id.clear();
        }
    }

    /// Where the group is in these partitions.
    pub(crate) async fn committed(
        &self,
        partitions: &[Partition],
    ) -> Result<BTreeMap<Partition, CommittedOffset>, ConsumeError> {
        let ask =
            || crate::admin::committed(&self.client, &self.lane, &self.config.id, Some(partitions));
        Ok(self.client.retry_known(ask).await?)
    }

    /// Commits without being asked to, unless that is not wanted.
    pub(crate) async fn commit_unasked(
        &mut self,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<(), ConsumeError> {
        match self.config.commit_interval {
            Some(_) => self.commit(positions).await,
            None => Ok(()),
        }
    }

    /// Commits what has moved since the last time. A commit that comes too late for its generation
    /// is not an error: whoever has the partitions now goes on from the one before.
    pub(crate) async fn commit(
        &mut self,
        positions: &BTreeMap<Partition, i64>,
    ) -> Result<(), ConsumeError> {
        self.committed_at = Instant::now();
        let moved: BTreeMap<Partition, i64> = positions
            .iter()
            .filter(|(partition, offset)| self.last_committed.get(*partition) != Some(*offset))
            .map(|(partition, offset)| (partition.clone(), *offset))
            .collect();
        if moved.is_empty() || self.identity.generation == NO_GENERATION {
            return Ok(());
        }
        let request = make::<OffsetCommitRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.generation_id_or_member_epoch = self.identity.generation;
            request.member_id = self.identity.member_id.as_str().into();
            request.group_instance_id = self.config.instance_id.as_deref().map(Into::into);
            let offsets = moved.iter().map(|(partition, offset)| (partition, *offset, -1));
            request.topics = crate::admin::commit_topics(offsets);
        });
        let once = || async {
            let connection = self.client.coordinator(&self.config.id, &self.lane).await?;
            let response = connection.call(&request).await?;
            let results = response.topics.iter().flat_map(|topic| &topic.partitions);
            for result in results {
                let (peer, code) = (connection.peer(), result.error_code);
                check_group::<OffsetCommitRequest>(peer, &self.config.id, code)?;
            }
            Ok(())
        };
        match self.client.retry_known(once).await {
            Ok(()) => {
                self.last_committed.extend(moved);
                Ok(())
            }
            // The heartbeat or the rebalance finds the same, and knows what to do about it.
            Err(error)
                if matches!(
                    error.code(),
                    Some(
                        ErrorCode::IllegalGeneration
                            | ErrorCode::UnknownMemberId
                            | ErrorCode::RebalanceInProgress
                    )
                ) =>
            {
                Ok(())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Tells the group not to wait for us. A static member is expected back and says nothing.
    pub(crate) async fn leave(&mut self) {
        self.phase = Phase::Out { not_before: Instant::now(), lost: false };
        if self.identity.member_id.is_empty() || self.config.instance_id.is_some() {
            return;
        }
        let request = make::<LeaveGroupRequest>(|request| {
            request.group_id = self.config.id.as_str().into();
            request.members = vec![make(|member: &mut MemberIdentity| {
                member.member_id = self.identity.member_id.as_str().into();
                member.reason = Some("the consumer was closed".into());
            })];
        });
        if let Ok(connection) = self.client.coordinator(&self.config.id, &self.lane).await {
            // The group notices without us, only later.
            let _ = connection.call(&request).await;
        }
    }
}

impl Phase {
    async fn changed(&mut self) {
        match self {
            Phase::Out { not_before, .. } => tokio::time::sleep_until(*not_before).await,
            Phase::Joining(work) => work.wait().await,
            Phase::Joined(_) => {}
            Phase::Member(work) => work.wait().await,
        }
    }
}

impl<T: Send + 'static> Work<T> {
    fn start(task: impl Future<Output = T> + Send + 'static) -> Work<T> {
        let (sender, report) = oneshot::channel();
        let task = tokio::spawn(async move {
            // Nobody waits for a task that was given up.
            let _ = sender.send(task.await);
        });
        Work { report, arrived: None, task: task.abort_handle() }
    }

    /// Waits for the report, and keeps it.
    async fn wait(&mut self) {
        if self.arrived.is_none() {
            let report = (&mut self.report).await;
            self.arrived = Some(report.expect("a task reports before it ends"));
        }
    }

    fn arrived(&mut self) -> Option<T> {
        self.arrived.take().or_else(|| self.report.try_recv().ok())
    }
}

impl<T> Drop for Work<T> {
    fn drop(&mut self) {
        self.task.abort();
    }
}
