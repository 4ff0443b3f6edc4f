//! Brokers are heard of, or are not: they are fenced, unfenced, and moved out of the way before they stop.
//!
//! What a broker may do next depends on what it may do now and what it asks for; Kafka's
//! `BrokerHeartbeatManager.calculateNextBrokerState`.

use brooklet_types::BrokerId;

use super::broker::{BrokerEpochError, change_partitions, check_epoch};
use super::{Decision, Draft};
use crate::broker::{BrokerEpoch, Registration};
use crate::cluster::Cluster;
use crate::record::ClusterRecord;

/// A broker says that it is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub broker: BrokerId,
    /// As which registration.
    pub epoch: BrokerEpoch,
    /// The version of the image it works with ([`Cluster::version`]).
    pub metadata_version: u64,
    /// Whether it would rather lead nothing.
    pub wants_fence: bool,
    /// Whether it would like to stop.
    pub wants_shutdown: bool,
}

/// What it is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeartbeatReply {
    /// Whether it knows of its own registration.
    pub is_caught_up: bool,
    /// Whether it may lead nothing.
    pub is_fenced: bool,
    /// Whether it is being moved out of the way.
    pub is_shutting_down: bool,
    /// Whether it may stop now.
    pub should_stop: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Fenced,
    Active,
    ShuttingDown,
    Stopped,
}

/// Decides what a broker that was heard of may do. `others_know` says whether everybody who is active knows that it
/// leads nothing any more ([`crate::liveness::Liveness::others_know`]).
pub fn heartbeat(
    cluster: &Cluster,
    others_know: bool,
    heard: &Heartbeat,
) -> Result<Decision<HeartbeatReply>, BrokerEpochError> {
    let known = check_epoch(cluster, heard.broker, heard.epoch)?;
    let is_caught_up = heard.metadata_version >= known.epoch.0;
    let now = state(known);
    let next = match now {
        State::Fenced if heard.wants_shutdown => State::Stopped,
        State::Fenced if is_caught_up && !heard.wants_fence && !known.shutting_down => {
            State::Active
        }
        State::Fenced => State::Fenced,
        State::Active if heard.wants_shutdown && heard.wants_fence => State::Stopped,
        State::Active if heard.wants_fence => State::Fenced,
        State::Active if heard.wants_shutdown && leads_any(cluster, heard.broker) => {
            State::ShuttingDown
        }
        State::Active if heard.wants_shutdown => State::Stopped,
        State::Active => State::Active,
        State::ShuttingDown if leads_any(cluster, heard.broker) || !others_know => {
            State::ShuttingDown
        }
        State::ShuttingDown | State::Stopped => State::Stopped,
    };
    let mut draft = Draft::of(cluster);
    if next != now {
        // Who stops says so in its registration: its next run need not wait for the end of this session.
        let (fenced, shutting_down) = match next {
            State::Fenced => (true, known.shutting_down),
            State::Active => (false, false),
            State::ShuttingDown => (false, true),
            State::Stopped => (true, true),
        };
        change_registration(&mut draft, heard.broker, known, fenced, shutting_down);
    }
    let reply = HeartbeatReply {
        is_caught_up,
        is_fenced: matches!(next, State::Fenced | State::Stopped),
        is_shutting_down: next == State::ShuttingDown,
        should_stop: next == State::Stopped,
    };
    Ok(draft.decide(false, reply))
}

/// Fences a broker that has not been heard of for too long. Nothing if it is fenced, or has registered anew.
pub fn fence_broker(cluster: &Cluster, broker: BrokerId, epoch: BrokerEpoch) -> Decision<()> {
    let mut draft = Draft::of(cluster);
    if let Ok(known) = check_epoch(cluster, broker, epoch) {
        change_registration(&mut draft, broker, known, true, known.shutting_down);
    }
    draft.decide(false, ())
}

fn state(known: &Registration) -> State {
    match (known.fenced, known.shutting_down) {
        // Who was fenced while it was shutting down leads nothing and may stop whenever it asks.
        (true, _) => State::Fenced,
        (false, true) => State::ShuttingDown,
        (false, false) => State::Active,
    }
}

fn leads_any(cluster: &Cluster, broker: BrokerId) -> bool {
    let mut partitions = cluster.topics().flat_map(|topic| &topic.partitions);
    partitions.any(|partition| partition.leader == Some(broker))
}

/// Changes what a broker may do, and moves leaders to or away from it.
fn change_registration(
    draft: &mut Draft,
    broker: BrokerId,
    known: &Registration,
    fenced: bool,
    shutting_down: bool,
) {
    if (known.fenced, known.shutting_down) == (fenced, shutting_down) {
        return;
    }
    let (epoch, was_active) = (known.epoch, known.is_active());
    draft.push(ClusterRecord::BrokerChanged { broker, epoch, fenced, shutting_down });
    if draft.cluster.is_active(broker) {
        change_partitions(draft, |_change, _settings, before| before.leader.is_none());
    } else if was_active {
        change_partitions(draft, |change, _settings, before| {
            change.remove_in_sync(broker);
            before.in_sync.contains(&broker)
        });
    }
}
