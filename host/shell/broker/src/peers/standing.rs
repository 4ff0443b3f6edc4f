//! This broker's own standing: registered, heard of, and out of the way before it stops.
//!
//! **Where it sits.** Around `meta`'s machine of it, whose questions are brought to the controller here.
//!
//! **What it decides.** When a broker that waits to be let into the quorum asks again.

use std::sync::Arc;
use std::time::Duration;

use brooklet_meta::broker::BrokerEpoch;
use brooklet_meta::lifecycle::{Answer, Lifecycle, Question, Standing};
use brooklet_shard::DirectoryId;
use brooklet_shard::input::Input;
use brooklet_types::Instant;
use tokio::time::timeout;

use super::controller::AskError;
use super::{Peers, Whereabouts};
use crate::context::Context;
use crate::request::brokers;
use crate::translate::peer::{NoAnswer, heartbeat, join, registration};

/// How often a broker asks to be let into the quorum.
const JOIN_EVERY: Duration = Duration::from_secs(1);

/// How long a broker tries to get out of the way.
const LEAVE_MAX: Duration = Duration::from_secs(3);

/// How long the quorum may take to have another leader.
const HAND_OVER_MAX: Duration = Duration::from_secs(1);

/// Runs until this broker is out of the way, or may not take part.
pub(super) async fn run(context: Arc<Context>, peers: Arc<Peers>) {
    let now = || context.clock.now();
    let mut life = Lifecycle::new(peers.registers.clone(), now());
    let mut cluster = context.shards.watch();
    let mut quorum = peers.quorum.clone();
    let mut registered = None;
    let mut joins = now();
    let mut controller = Whereabouts::Nowhere;
    loop {
        let followed = Arc::clone(&cluster.borrow_and_update());
        quorum.borrow_and_update();
        life.image_changed(now(), &followed);
        // It may have changed while a question was under way.
        if peers.whereabouts() != controller {
            controller = peers.whereabouts();
            life.controller_changed(now());
        }
        if let Some(epoch) = life.epoch().filter(|epoch| registered != Some(*epoch)) {
            registered = Some(epoch);
            tell_shards(&context, epoch).await;
        }
        peers.standing.send_replace(life.standing());
        if matches!(life.standing(), Standing::Gone | Standing::Refused(_)) {
            return;
        }
        if now() >= joins && life.epoch().is_some() && !is_member(&peers) {
            joins = now() + JOIN_EVERY;
            ask_to_join(&context, &peers).await;
        }
        if let Some(question) = life.next(now(), &followed) {
            answer(&context, &peers, &mut life, question).await;
            continue;
        }
        let due = [life.next_deadline(), (!is_member(&peers)).then_some(joins)];
        let wait = due.into_iter().flatten().min().map(|due: Instant| due.since(now()));
        tokio::select! {
            () = tokio::time::sleep(wait.unwrap_or(JOIN_EVERY)) => {}
            _ = cluster.changed() => {}
            _ = quorum.changed() => {}
            () = peers.leave.cancelled(), if !is_leaving(&life) => {
                hand_over(&context, &peers).await;
                life.stop(now());
            }
        }
    }
}

fn is_leaving(life: &Lifecycle) -> bool {
    matches!(life.standing(), Standing::Leaving | Standing::Gone)
}

fn is_member(peers: &Peers) -> bool {
    let standing = peers.quorum.borrow();
    standing.members.of_broker(peers.me).is_some()
}

/// Brings a question to the controller, and tells the machine what has come of it.
async fn answer(context: &Context, peers: &Peers, life: &mut Lifecycle, question: Question) {
    let now = || context.clock.now();
    match question {
        Question::Register(_) => {
            life.registered(now(), register(context, peers).await);
        }
        Question::Heartbeat(heartbeat) => {
            let asked = heartbeat::ask(&heartbeat);
            let here = brokers::heartbeat(context, peers.me, &asked);
            let response = peers.controller_answers(&asked, here).await;
            let reply = response.map(|it| heartbeat::answered(&it));
            life.heartbeat_answered(now(), told("heartbeat", reply));
        }
    }
}

async fn register(context: &Context, peers: &Peers) -> Answer<BrokerEpoch> {
    let request = registration::ask(&peers.registers, &context.cluster_id);
    let here = brokers::register(context, peers.me, &request);
    let response = peers.controller_answers(&request, here).await;
    told("registration", response.map(|it| registration::answered(&it)))
}

/// What came of a question, as the machine wants to hear it.
fn told<T>(what: &str, reply: Result<Result<T, NoAnswer>, AskError>) -> Answer<T> {
    match reply {
        Ok(Ok(reply)) => Answer::Ok(reply),
        Ok(Err(error)) => {
            tracing::debug!(%error, "{what} refused");
            Answer::Refused(error.code())
        }
        Err(error) => {
            tracing::debug!(%error, "{what} lost");
            Answer::Lost
        }
    }
}

/// Asks to be let into the quorum. When it is, the quorum says so.
async fn ask_to_join(context: &Context, peers: &Peers) {
    let directory = DirectoryId(peers.registers.directory.0);
    let request = join::ask(peers.me, directory);
    let here = brokers::join(context, peers.me, &request);
    let response = peers.controller_answers(&request, here).await;
    match response.map(|it| join::answered(&it)) {
        Ok(Ok(())) => tracing::debug!("let into the metadata quorum"),
        Ok(Err(error)) => tracing::info!(%error, "not let into the metadata quorum yet"),
        Err(error) => tracing::debug!(%error, "not let into the metadata quorum yet"),
    }
}

async fn tell_shards(context: &Context, epoch: BrokerEpoch) {
    tracing::info!(epoch = epoch.0, "registered with the cluster");
    for shard in context.shards.all() {
        // A shard that has stopped is registered as nothing.
        let _ = context.shards.tell(shard, Input::Registered { epoch }).await;
    }
}

/// Has another broker lead the quorum, if this one does and there is another.
async fn hand_over(context: &Context, peers: &Peers) {
    if peers.whereabouts() != Whereabouts::Here {
        return;
    }
    let Ok(Some(to)) = context.shards.hand_over().await else { return };
    let mut quorum = peers.quorum.clone();
    let led = quorum.wait_for(|it| it.leader.is_some_and(|leader| leader != peers.me));
    let led = timeout(HAND_OVER_MAX, led).await.is_ok();
    tracing::info!(%to, led, "handed over the lead of the metadata quorum");
}

/// Waits until nobody counts on this broker any more.
pub(super) async fn left(peers: &Peers) {
    let mut standing = peers.standing();
    let gone = standing.wait_for(|it| matches!(it, Standing::Gone | Standing::Refused(_)));
    if timeout(LEAVE_MAX, gone).await.is_err() {
        tracing::warn!("stopping although the cluster still counts on this broker");
    }
}
