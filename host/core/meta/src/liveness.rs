//! Who of the brokers has been heard of, and whose session is over: what only the active controller knows.
//!
//! None of it is written down. A controller that takes over has heard of nobody yet and gives everybody a full
//! session.
//!
//! **What it never does.** Fence. It says whom to fence; deciding and writing that down is
//! [`crate::decide::heartbeat::fence_broker`].
//!
//! **Invariant.** There is a session for registered brokers only, one for each ([`Liveness::follow`]).

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_types::{BrokerId, Instant};

use crate::broker::BrokerEpoch;
use crate::cluster::Cluster;
use crate::decide::heartbeat::Heartbeat;

/// A broker that is not heard of for this long is fenced: `broker.session.timeout.ms`.
pub const SESSION: Duration = Duration::from_secs(9);

/// How often a broker says that it is there: several times in a session, as Kafka's `broker.heartbeat.interval.ms`.
pub const HEARTBEAT: Duration = Duration::from_secs(2);

/// The sessions of all brokers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Liveness {
    session: Duration,
    sessions: BTreeMap<BrokerId, Session>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Session {
    epoch: BrokerEpoch,
    heard: Instant,
    /// Whether its process is known to have ended since.
    lost: bool,
    /// Whether it has been heard of at all: else it only was given the time to be.
    has_spoken: bool,
    /// What it knew when it was last heard of.
    metadata_version: u64,
    /// The first version in which it was seen shutting down, by when it had been moved out of the way.
    leaving_since: Option<u64>,
}

impl Session {
    fn end(&self, session: Duration) -> Instant {
        if self.lost { self.heard } else { self.heard + session }
    }
}

impl Liveness {
    /// A new controller's: everybody who is registered counts as heard of just now.
    pub fn new(cluster: &Cluster, now: Instant, session: Duration) -> Liveness {
        let mut liveness = Liveness { session, sessions: BTreeMap::new() };
        liveness.follow(cluster, now);
        liveness
    }

    /// Takes over who is registered: to be called with every new version of the cluster. Who has registered
    /// anew begins a session, who is gone has none.
    pub fn follow(&mut self, cluster: &Cluster, now: Instant) {
        self.sessions.retain(|broker, _| cluster.registration(*broker).is_some());
        for broker in cluster.brokers() {
            let Some(registration) = &broker.registration else { continue };
            let epoch = registration.epoch;
            let new = Session {
                epoch,
                heard: now,
                lost: false,
                has_spoken: false,
                metadata_version: 0,
                leaving_since: None,
            };
            let session = self.sessions.entry(broker.id).or_insert(new);
            if session.epoch != epoch {
                *session = new;
            }
            if registration.shutting_down {
                session.leaving_since.get_or_insert(cluster.version());
            }
        }
    }

    /// A broker was heard of. Nothing if that registration of it is not the one that counts.
    pub fn heard(&mut self, now: Instant, heartbeat: &Heartbeat) {
        if let Some(session) = self.sessions.get_mut(&heartbeat.broker)
            && session.epoch == heartbeat.epoch
        {
            session.heard = session.heard.max(now);
            session.has_spoken = true;
            session.lost = false;
            session.metadata_version = session.metadata_version.max(heartbeat.metadata_version);
        }
    }

    /// A broker's process has ended: its session is over. Nothing if that registration of it is not the one that counts.
    pub fn lost(&mut self, broker: BrokerId, epoch: BrokerEpoch) {
        if let Some(session) = self.sessions.get_mut(&broker)
            && session.epoch == epoch
        {
            session.lost = true;
        }
    }

    /// Whether the broker of that number has been heard of within its session.
    pub fn is_live(&self, now: Instant, broker: BrokerId) -> bool {
        self.sessions.get(&broker).is_some_and(|session| now < session.end(self.session))
    }

    /// Whether the broker of that number has itself been heard of, no longer ago than `within`.
    pub fn has_spoken(&self, now: Instant, broker: BrokerId, within: Duration) -> bool {
        let session = self.sessions.get(&broker).filter(|session| session.has_spoken);
        session.is_some_and(|session| now <= session.heard + within)
    }

    /// Whether every active broker knows that this one has been moved out of the way, so that none still follows
    /// it or sends clients there.
    pub fn others_know(&self, cluster: &Cluster, broker: BrokerId) -> bool {
        let session = self.sessions.get(&broker);
        let Some(since) = session.and_then(|session| session.leaving_since) else { return false };
        let active = |(id, _): &(&BrokerId, &Session)| cluster.is_active(**id);
        self.sessions.iter().filter(active).all(|(_, other)| other.metadata_version >= since)
    }

    /// The broker whose session ended first, if one has: it is to be fenced, and then this is asked again, so that
    /// what the one fencing came to is known to the next.
    pub fn stale(&self, cluster: &Cluster, now: Instant) -> Option<(BrokerId, BrokerEpoch)> {
        let (broker, session) = self.first_to_end(cluster)?;
        (session.end(self.session) <= now).then_some((broker, session.epoch))
    }

    /// When to ask next whom to fence; none while there is nobody to fence.
    pub fn next_deadline(&self, cluster: &Cluster) -> Option<Instant> {
        self.first_to_end(cluster).map(|(_, session)| session.end(self.session))
    }

    fn first_to_end(&self, cluster: &Cluster) -> Option<(BrokerId, &Session)> {
        let is_unfenced =
            |id: &BrokerId| cluster.registration(*id).is_some_and(|known| !known.fenced);
        let unfenced = self.sessions.iter().filter(|(id, _)| is_unfenced(id));
        unfenced
            .min_by_key(|(id, session)| (session.end(self.session), **id))
            .map(|(id, session)| (*id, session))
    }
}
