//! Other brokers of the cluster: how they are reached, and what is said to them.
//!
//! **Where it sits.** Between the shards, which say what they want of others ([`outward`]), and connections of the client crate
//! ([`ways`]). What others ask of this broker comes in by a listener of its own and is answered in `request::brokers`.
//!
//! **What it decides.** Who is asked: the leader of the metadata's quorum is the controller. Nothing that brokers agree on:
//! `meta`, `quorum` and `replica` do.
//!
//! **Invariants.** There is a [`Peers`] where the data folder belongs to a cluster, and nowhere else. Every question has a
//! deadline; what may be said again is not kept.

mod controller;
mod copies;
mod duties;
pub(crate) mod forward;
mod messages;
pub mod outward;
mod registers;
mod standing;
mod watching;
pub(crate) mod ways;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet_io::tls::cluster::ClusterIdentity;
use brooklet_meta::Cluster;
use brooklet_meta::controller::Controller;
use brooklet_meta::decide::broker::RegisterBroker;
use brooklet_meta::lifecycle::{Refusal, Standing};
use brooklet_shard::QuorumStanding;
use brooklet_shard::input::Input;
use brooklet_types::BrokerId;
use brooklet_wire::message::{QuorumMessageRequest, make};
use bytes::Bytes;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::outward::{Want, Wants};
pub(crate) use self::registers::registers;
use self::ways::{Target, Ways};
use crate::broker::RunError;
use crate::context::{Context, Shards};

/// How often a broker that waits to be let in says so.
const SAID_EVERY: Duration = Duration::from_secs(5);

/// The name of the listener for brokers among the endpoints that a broker registers.
pub(crate) const LISTENER: &str = "CLUSTER";

/// What a broker knows of the others, and has with them.
#[derive(Debug)]
pub(crate) struct Peers {
    pub(crate) me: BrokerId,
    pub(crate) identity: ClusterIdentity,
    /// What this run registers as.
    registers: RegisterBroker,
    ways: Ways,
    /// Who leads the quorum.
    quorum: watch::Receiver<QuorumStanding>,
    shards: Shards,
    /// Created by whoever leads a cluster that has none.
    first_users: BTreeMap<String, PathBuf>,
    /// Protects where brokers have said that they listen; for look-ups only.
    heard_of: Mutex<BTreeMap<BrokerId, Target>>,
    /// Protects what the controller knows, while that is us; held for a question, never over an await.
    controller: Mutex<Option<Controller>>,
    /// Told when somebody was heard of whom the controller may have a duty for.
    heard: tokio::sync::Notify,
    standing: watch::Sender<Standing>,
    /// This broker is to get out of the way.
    leave: CancellationToken,
    /// What is under way for other brokers ends.
    end: CancellationToken,
    tasks: TaskTracker,
}

/// Who decides for the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whereabouts {
    /// This broker.
    Here,
    /// Another.
    There(BrokerId),
    /// Nobody is known to.
    Nowhere,
}

impl Peers {
    pub(crate) fn new(
        identity: ClusterIdentity,
        registers: RegisterBroker,
        quorum: watch::Receiver<QuorumStanding>,
        shards: Shards,
        first_users: BTreeMap<String, PathBuf>,
    ) -> Peers {
        let since = brooklet_types::Instant::default();
        let (standing, _) = watch::channel(Standing::Registering { since, last_refusal: None });
        Peers {
            me: identity.node,
            ways: Ways::new(&identity),
            identity,
            registers,
            quorum,
            shards,
            first_users,
            heard_of: Mutex::default(),
            controller: Mutex::default(),
            heard: tokio::sync::Notify::new(),
            standing,
            leave: CancellationToken::new(),
            end: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// Begins to say what the shards want said, to register and, where this broker leads the quorum, to see to the cluster.
    pub(crate) fn start(self: &Arc<Self>, context: &Arc<Context>, wants: Wants) {
        let shards = context.shards.clone();
        self.spawn(async move {
            // Who leads is told with the first tick. A shard that has stopped tells nothing.
            let _ = shards.tell(0, Input::Tick).await;
        });
        self.spawn(run_wants(Arc::clone(self), wants.wants));
        self.spawn(standing::run(Arc::clone(context), Arc::clone(self)));
        self.spawn(duties::run(Arc::clone(context), Arc::clone(self)));
    }

    /// Waits until this broker may take part, or is to stop.
    pub(crate) async fn enter(&self, stop: &CancellationToken) -> Result<(), RunError> {
        let mut standing = self.standing();
        let mut slow = tokio::time::interval(SAID_EVERY);
        slow.reset();
        loop {
            let now = *standing.borrow_and_update();
            match now {
                Standing::Active => return Ok(()),
                Standing::Refused(refusal) => return Err(RunError::Cluster(refusal)),
                Standing::Registering { .. }
                | Standing::CatchingUp
                | Standing::Fenced
                | Standing::Leaving
                | Standing::Gone => {}
            }
            tokio::select! {
                () = stop.cancelled() => return Ok(()),
                _ = standing.changed() => {}
                _ = slow.tick() => {
                    let leader = self.quorum.borrow().leader.map(|leader| leader.0);
                    tracing::info!(standing = ?now, leader, "waiting for the cluster");
                }
            }
        }
    }

    /// Why this broker may not take part any more, if it may not.
    pub(crate) fn refusal(&self) -> Option<Refusal> {
        match *self.standing.borrow() {
            Standing::Refused(refusal) => Some(refusal),
            Standing::Registering { .. }
            | Standing::CatchingUp
            | Standing::Active
            | Standing::Fenced
            | Standing::Leaving
            | Standing::Gone => None,
        }
    }

    /// Returns when this broker may not take part any more.
    pub(crate) async fn refused(&self) {
        let mut standing = self.standing();
        let is_refused = |it: &Standing| matches!(it, Standing::Refused(_));
        if standing.wait_for(is_refused).await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// What this broker is to the cluster, as it changes.
    pub(crate) fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Gets out of the way of the cluster, which goes on without this broker. Waits until nobody counts on it, or as long as
    /// that may take.
    pub(crate) async fn leave(&self) {
        self.leave.cancel();
        standing::left(self).await;
    }

    /// Ends what is under way for other brokers.
    pub(crate) async fn stop(&self) {
        self.end.cancel();
        self.tasks.close();
        self.tasks.wait().await;
        self.ways.close().await;
    }

    /// Who decides for the cluster, as far as is known here.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let standing = self.quorum.borrow();
        match standing.leader {
            Some(leader) if leader == self.me && standing.decides => Whereabouts::Here,
            Some(leader) if leader != self.me => Whereabouts::There(leader),
            Some(_) | None => Whereabouts::Nowhere,
        }
    }

    /// Notes where a broker says that it listens for others.
    pub(crate) fn heard_of(&self, broker: BrokerId, host: &str, port: u16) {
        let mut heard_of = self.heard_of.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = heard_of.get(&broker).is_some_and(|it| it.host == host && it.port == port);
        if !is_known {
            let target = Target { broker: Some(broker), host: host.to_owned(), port };
            heard_of.insert(broker, target);
        }
    }

    /// Where a broker listens for others: what it has said itself, or has registered.
    fn target(&self, broker: BrokerId) -> Option<Target> {
        let heard_of = self.heard_of.lock().unwrap_or_else(PoisonError::into_inner);
        heard_of.get(&broker).cloned().or_else(|| registered(&self.shards.cluster(), broker))
    }

    /// A message of the quorum as it is sent.
    fn quorum_message(&self, message: Bytes) -> QuorumMessageRequest {
        make(|it: &mut QuorumMessageRequest| {
            it.message = message;
            let (host, port) = &self.identity.addresses.advertised;
            (it.host, it.port) = (Some(host.as_str().into()), *port);
        })
    }
}

/// Where a broker has registered that it listens for others.
fn registered(cluster: &Cluster, broker: BrokerId) -> Option<Target> {
    let endpoint = cluster.registration(broker)?.endpoint(LISTENER)?;
    let (host, port) = (endpoint.host.clone(), endpoint.port);
    Some(Target { broker: Some(broker), host, port })
}

/// Passes on what the shards want, to who sees to it.
async fn run_wants(peers: Arc<Peers>, mut wants: mpsc::Receiver<Want>) {
    let mut messages: BTreeMap<BrokerId, mpsc::Sender<Bytes>> = BTreeMap::new();
    let mut copies = copies::Fetchers::default();
    while let Some(want) = wants.recv().await {
        match want {
            Want::Message { to, message } => {
                let queue = messages.entry(to).or_insert_with(|| {
                    let (queue, messages) = mpsc::channel(messages::QUEUE_MAX);
                    peers.spawn(messages::deliver(Arc::clone(&peers), to, messages));
                    queue
                });
                // A full queue is a broker that is not reached; raft says what counts again.
                let _ = queue.try_send(message);
            }
            Want::Copies { shard, leader, epoch, partitions } => {
                copies.fetch(&peers, (shard, leader), epoch, partitions);
            }
            Want::Alter { shard, epoch, wanted } => {
                peers.spawn(controller::alter(Arc::clone(&peers), shard, epoch, wanted));
            }
        }
    }
}

impl Peers {
    /// Runs something until this broker stops.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(self.end.clone().run_until_cancelled_owned(task));
    }
}
