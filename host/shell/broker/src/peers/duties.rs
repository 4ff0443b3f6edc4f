//! What the leader of the metadata's quorum sees to without being asked: whom nobody hears of is fenced, brokers that
//! joined become voters, partitions go back to their first replicas.
//!
//! **Where it sits.** Around `meta`'s controller, which says what is due. It is there while this broker leads.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use brooklet_meta::broker::DirectoryId;
use brooklet_meta::controller::{Controller, ControllerSettings, Duty, QuorumMember};
use brooklet_meta::decide::election::balance_leaders;
use brooklet_meta::decide::feature::begin_cluster;
use brooklet_meta::decide::heartbeat::fence_broker;
use brooklet_shard::{Change, Member, QuorumStanding};
use brooklet_types::ErrorCode;

use super::watching::Watching;
use super::{Peers, Whereabouts};
use crate::context::Context;
use crate::shards::Stopping;
use crate::users;

/// Partitions that get another leader at once; those that are left have their turn next.
const BALANCED_AT_ONCE: usize = 100;
/// Looked at no less often, whatever else happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Runs until this broker stops.
pub(super) async fn run(context: Arc<Context>, peers: Arc<Peers>) {
    let mut quorum = peers.quorum.clone();
    loop {
        if quorum.wait_for(|standing| standing.decides).await.is_err() {
            return;
        }
        tracing::info!("this broker leads the cluster's metadata");
        lead(&context, &peers).await;
        peers.set_controller(None);
        tracing::info!("another broker leads the cluster's metadata");
    }
}

/// As long as this broker leads.
async fn lead(context: &Context, peers: &Arc<Peers>) {
    let mut cluster = context.shards.watch();
    let mut quorum = peers.quorum.clone();
    let settings = ControllerSettings::default();
    let image = Arc::clone(&cluster.borrow_and_update());
    if image.level() == 0 {
        // The broker that a cluster begins with.
        match context.shards.change(begin_cluster).await {
            Ok(Ok(())) => tracing::info!("began a cluster"),
            Ok(Err(code)) => {
                // The disk may be full; whoever leads after us tries as well.
                tracing::warn!(code = code.name(), "no cluster begun: tried again");
                return tokio::time::sleep(LOOK_EVERY).await;
            }
            Err(_stopping) => return tokio::time::sleep(LOOK_EVERY).await,
        }
    }
    if let Err(error) = users::create_first(&context.shards, &peers.first_users).await {
        tracing::warn!(%error, "the first users are not created");
    }
    peers.set_controller(Some(Controller::new(&image, context.clock.now(), settings)));
    let mut watching = Watching::new(peers);
    while peers.whereabouts() == Whereabouts::Here {
        let image = Arc::clone(&cluster.borrow_and_update());
        watching.follow(&image);
        let members = members(&quorum.borrow_and_update());
        let now = context.clock.now();
        let due = peers.with_controller(|controller| {
            (controller.due(now, &image, &members), controller.next_deadline(&image))
        });
        let (duty, next) = due.expect("it is there while we lead");
        if let Some(duty) = duty {
            see_to(context, duty).await;
            continue;
        }
        let wait = next.map_or(LOOK_EVERY, |next| next.since(now)).min(LOOK_EVERY);
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            _ = cluster.changed() => {}
            _ = quorum.changed() => {}
            () = peers.heard.notified() => {}
        }
    }
}

fn members(standing: &QuorumStanding) -> Vec<QuorumMember> {
    let members = standing.members.iter();
    members.map(|(it, votes)| (it.broker, DirectoryId(it.directory.0), votes)).collect()
}

async fn see_to(context: &Context, duty: Duty) {
    match duty {
        Duty::Fence(broker, epoch) => {
            tracing::warn!(%broker, "broker has not been heard of, and is fenced");
            let fence = move |cluster: &_| fence_broker(cluster, broker, epoch);
            say(context.shards.change(fence).await);
        }
        Duty::Promote(broker, directory) => {
            let directory = brooklet_shard::DirectoryId(directory.0);
            let change = Change::AddVoter(Member { broker, directory });
            match context.shards.change_members(change).await {
                Ok(Ok(Ok(()))) => tracing::info!(%broker, "votes on the cluster's metadata"),
                Ok(Ok(Err(error))) => tracing::debug!(%broker, %error, "does not vote yet"),
                Ok(Err(_)) | Err(_) => {}
            }
        }
        Duty::ElectPreferred => {
            let balance = |cluster: &_| balance_leaders(cluster, BALANCED_AT_ONCE);
            say(context.shards.change(balance).await);
        }
    }
}

/// What was not decided is due again.
fn say<T>(decided: Result<Result<T, ErrorCode>, Stopping>) {
    if let Ok(Err(code)) = decided {
        tracing::debug!(code = code.name(), "not decided");
    }
}

impl Peers {
    fn set_controller(&self, controller: Option<Controller>) {
        *self.controller.lock().unwrap_or_else(PoisonError::into_inner) = controller;
    }

    /// Asks what only the controller knows; none where that is another.
    pub(crate) fn with_controller<T>(&self, ask: impl FnOnce(&mut Controller) -> T) -> Option<T> {
        let mut controller = self.controller.lock().unwrap_or_else(PoisonError::into_inner);
        controller.as_mut().map(ask)
    }

    /// Somebody was heard of: a duty may be due.
    pub(crate) fn was_heard(&self) {
        self.heard.notify_one();
    }
}
