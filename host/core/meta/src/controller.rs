//! What the leader of the quorum does besides answering: it fences whom nobody hears of, lets observers vote, and
//! gives partitions back to their first replicas.
//!
//! **Where it sits.** Beside the metadata log, where that is led: made when leadership is gained, dropped when it is
//! lost. Whoever holds it asks what is due after everything that happens, carries it out as a decision or as a change
//! of members, and tells it nothing of that: it sees what has come of it in the cluster and its members.
//!
//! **What it decides.** Whom to fence and when ([`Liveness`]), who becomes a voter, when leaders are balanced.
//!
//! **What it never does.** Change anything itself, or write anything down.
//!
//! **Invariants.** A duty is handed out once, until the cluster shows what came of it or [`AGAIN`] has passed. Nobody becomes a voter who has not said something itself within [`FRESH`].

use std::time::Duration;

use brooklet_types::{BrokerId, Instant};

use crate::broker::{BrokerEpoch, DirectoryId};
use crate::cluster::Cluster;
use crate::decide::heartbeat::Heartbeat;
use crate::liveness::{HEARTBEAT, Liveness, SESSION};

/// The most voters that are made by themselves: two may die, and each decision waits for three. Kafka advises three
/// or five.
pub const VOTERS_MAX: usize = 5;

/// Who is to become a voter has been heard of within this: one heartbeat, and half of one for being late. A voter
/// that is dead on arrival can cost the majority.
pub const FRESH: Duration = Duration::from_millis(3000);

/// How long until a duty that was handed out and has come to nothing is handed out again.
pub const AGAIN: Duration = Duration::from_secs(1);

/// What may be set about a controller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ControllerSettings {
    /// After how long without a heartbeat a broker is fenced.
    pub session: Duration,
    /// How often leaders are balanced at most; never where there is none. Kafka's
    /// `leader.imbalance.check.interval.seconds` and `auto.leader.rebalance.enable`.
    pub balance: Option<Duration>,
}

/// Something the controller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Duty {
    /// [`crate::decide::heartbeat::fence_broker`], with these.
    Fence(BrokerId, BrokerEpoch),
    /// The observer that this broker is on that folder is to become a voter.
    Promote(BrokerId, DirectoryId),
    /// [`crate::decide::election::balance_leaders`].
    ElectPreferred,
}

/// The active controller's own state.
#[derive(Clone, Debug)]
pub struct Controller {
    settings: ControllerSettings,
    liveness: Liveness,
    next_balance: Option<Instant>,
    handed_out: Option<(Duty, Instant)>,
}

/// A member of the quorum: the broker, its folder, and whether it votes.
pub type QuorumMember = (BrokerId, DirectoryId, bool);

impl Default for ControllerSettings {
    fn default() -> ControllerSettings {
        ControllerSettings { session: SESSION, balance: Some(Duration::from_secs(300)) }
    }
}

impl Controller {
    /// One that has just begun to lead the quorum: it has heard of nobody, and everybody is given a whole session.
    pub fn new(cluster: &Cluster, now: Instant, settings: ControllerSettings) -> Controller {
        Controller {
            settings,
            liveness: Liveness::new(cluster, now, settings.session),
            next_balance: settings.balance.map(|interval| now + interval),
            handed_out: None,
        }
    }

    /// What is to be done, if anything. `cluster` is the newest with everything that is decided for good, `members`
    /// are those of the quorum.
    pub fn due(
        &mut self,
        now: Instant,
        cluster: &Cluster,
        members: &[QuorumMember],
    ) -> Option<Duty> {
        self.liveness.follow(cluster, now);
        let fence = self.liveness.stale(cluster, now).map(|(id, epoch)| Duty::Fence(id, epoch));
        let next = fence.or_else(|| self.promotion(now, cluster, members));
        let next = next.or_else(|| self.balance(now, cluster))?;
        let is_under_way = |(duty, since): (Duty, Instant)| duty == next && now < since + AGAIN;
        if self.handed_out.is_some_and(is_under_way) {
            return None;
        }
        self.handed_out = Some((next, now));
        Some(next)
    }

    /// When something is due, if nothing happens before. Promotions wait for heartbeats, and for nothing else.
    pub fn next_deadline(&self, cluster: &Cluster) -> Option<Instant> {
        let fence = self.liveness.next_deadline(cluster).map(|at| match self.handed_out {
            Some((Duty::Fence(..), since)) => at.max(since + AGAIN),
            Some((Duty::Promote(..) | Duty::ElectPreferred, _)) | None => at,
        });
        // It is not looked at while something else is to be done.
        let balance = self.next_balance.map(|at| match self.handed_out {
            Some((_, since)) => at.max(since + AGAIN),
            None => at,
        });
        fence.into_iter().chain(balance).min()
    }

    /// A broker was heard of.
    pub fn heard(&mut self, now: Instant, heartbeat: &Heartbeat) {
        self.liveness.heard(now, heartbeat);
    }

    /// A broker's process has ended, as somebody could tell who had a connection to it.
    pub fn lost(&mut self, broker: BrokerId, epoch: BrokerEpoch) {
        self.liveness.lost(broker, epoch);
    }

    /// Whether a broker has been heard of within its session: what registering its number asks.
    pub fn is_live(&self, now: Instant, broker: BrokerId) -> bool {
        self.liveness.is_live(now, broker)
    }

    /// Whether every active broker knows that this one has been moved out of the way: what a heartbeat asks.
    pub fn others_know(&self, cluster: &Cluster, broker: BrokerId) -> bool {
        self.liveness.others_know(cluster, broker)
    }

    /// An observer that is to vote. Voters are an odd number where that is possible: an even one needs a larger
    /// majority and survives no more deaths. From an odd number on two are added right after each other, so there are
    /// two to add, and enough left should one of them die at once.
    fn promotion(&self, now: Instant, cluster: &Cluster, members: &[QuorumMember]) -> Option<Duty> {
        let is_there = |(id, directory, _): &&QuorumMember| {
            let on_this_folder =
                cluster.registration(*id).is_some_and(|known| known.directory == *directory);
            cluster.is_active(*id) && on_this_folder && self.liveness.has_spoken(now, *id, FRESH)
        };
        let voters = members.iter().filter(|(_, _, votes)| *votes).count();
        let there: Vec<&QuorumMember> = members.iter().filter(is_there).collect();
        let candidate = there.iter().find(|(_, _, votes)| !votes)?;
        let is_due = if voters.is_multiple_of(2) {
            voters < VOTERS_MAX
        } else {
            let most = there.len().min(VOTERS_MAX);
            let target = if most.is_multiple_of(2) { most.saturating_sub(1) } else { most };
            voters + 2 <= target
        };
        is_due.then_some(Duty::Promote(candidate.0, candidate.1))
    }

    /// Looks at every partition, so no more often than is set.
    fn balance(&mut self, now: Instant, cluster: &Cluster) -> Option<Duty> {
        let (interval, due) = (self.settings.balance?, self.next_balance?);
        if now < due {
            return None;
        }
        self.next_balance = Some(now + interval);
        let stored = cluster.topics().filter(|topic| topic.view_of.is_none());
        let mut partitions = stored.flat_map(|topic| &topic.partitions);
        let is_elsewhere = |preferred: BrokerId, partition: &crate::partition::Partition| {
            partition.leader != Some(preferred)
                && partition.in_sync.contains(&preferred)
                && cluster.is_active(preferred)
        };
        let is_needed = partitions.any(|partition| {
            partition.preferred_leader().is_some_and(|first| is_elsewhere(first, partition))
        });
        is_needed.then_some(Duty::ElectPreferred)
    }
}

/// [`FRESH`] is longer than the time between two heartbeats.
const _: () = assert!(FRESH.as_millis() > HEARTBEAT.as_millis());

#[cfg(test)]
mod tests;
