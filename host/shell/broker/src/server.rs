//! What serves clients: from an accepted socket to a connection with a router behind it.
//!
//! **Where it sits.** Between the listeners and [`connection`]; started and stopped by [`broker`](crate::broker).
//!
//! **What it decides.** Who gets a place, on which thread a client is served, and what is known of it when its
//! first request is read.

pub(crate) mod doors;
pub(crate) mod inner;
mod quic;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use brooklet_auth::Principal;
use brooklet_io::tcp::Listener;
use brooklet_io::tls::cluster::node_of;
use brooklet_io::tls::credentials::Credentials;
use brooklet_io::tls::handshake::{self, HandshakeError, Handshakes, Place};
use brooklet_io::tls::identity::PeerIdentity;
use brooklet_types::QuotaKey;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use self::doors::{Door, Socket, Terms};
use crate::access;
use crate::budget::Budget;
use crate::config::{Config, Transport};
use crate::connection::{self, ConnectionError, ConnectionLimits, Dispatch, Outlet};
use crate::context::{Context, Peer};
use crate::gate::Gate;
use crate::health::{self, Health};
use crate::reactor::Reactors;
use crate::router::Router;
use crate::spans;
use crate::throttle::Muted;
use crate::tokens::Accepted;

/// Memory for large requests of all connections together, in whole largest frames: enough for a
/// burst, and a fraction of any machine.
const BUDGET_FRAMES: usize = 5;
/// How logins by certificate are counted, beside the mechanisms of SASL.
const CERTIFICATE: &str = "certificate";
/// A stop answers what was accepted within this; the connections' own limit is below it.
const DRAIN_MAX: Duration = Duration::from_millis(4500);

/// Takes clients, and serves them. Clones are the same one.
#[derive(Clone)]
pub(crate) struct Server {
    shared: Arc<Shared>,
    /// One for each connection there may be.
    places: Arc<Semaphore>,
    handshakes: Handshakes,
    tasks: TaskTracker,
    reactors: Reactors,
}

/// What every connection needs.
struct Shared {
    context: Arc<Context>,
    limits: ConnectionLimits,
    budget: Budget,
}

impl Server {
    pub(crate) fn new(
        context: Arc<Context>,
        config: &Config,
        reactors: Reactors,
        handshakes: Handshakes,
    ) -> Server {
        let frame_bytes_max = usize::try_from(config.limits.frame_bytes_max.0)
            .expect("the configuration keeps a frame below 2 GiB");
        let limits = ConnectionLimits {
            frame_bytes_max,
            idle_max: config.limits.connection_idle_max,
            ..ConnectionLimits::default()
        };
        let places = usize::try_from(config.limits.connections_max).expect("32 bits fit");
        let budget = Budget::new(frame_bytes_max * BUDGET_FRAMES);
        Server {
            shared: Arc::new(Shared { context, limits, budget }),
            places: Arc::new(Semaphore::new(places)),
            handshakes,
            tasks: TaskTracker::new(),
            reactors,
        }
    }

    /// Takes clients from now on, until the broker stops.
    pub(crate) fn serve(
        &self,
        doors: Vec<Door>,
        admin: Option<(Listener, axum::Router)>,
        registry: Registry,
    ) {
        let mut certificates = Vec::new();
        for door in &doors {
            if let Some(credentials) = door.credentials() {
                certificates.push((door.name(), credentials.clone()));
                // Nobody exchanges one that the broker has made: it may stay asleep.
                if door.serving.pin.is_none() {
                    self.tasks.spawn(self.clone().follow(door.name(), credentials.clone()));
                }
            }
        }
        for door in &doors {
            if let Some(accepted) = door.terms.sasl.as_ref().filter(|it| it.has_file()) {
                let accepted = Arc::clone(accepted);
                self.tasks.spawn(self.clone().follow_keys(door.name(), accepted));
            }
        }
        self.listen(doors);
        if let Some((admin, routes)) = admin {
            let context = Arc::clone(&self.shared.context);
            let budget = self.shared.budget.clone();
            let shutdown = context.shutdown.clone();
            let health = Health { context, registry, budget, certificates };
            // Not tracked: a dashboard that keeps its connection open must not hold up a stop.
            tokio::spawn(async move {
                let socket = admin.into_socket();
                let served = health::serve(socket, Arc::new(health), routes, shutdown).await;
                if let Err(error) = served {
                    tracing::error!(%error, "serve probes and metrics");
                }
            });
        }
    }

    /// Takes whoever comes by these doors.
    pub(crate) fn listen(&self, doors: Vec<Door>) {
        for Door { socket, terms, .. } in doors {
            let server = self.clone();
            match socket {
                Socket::Tcp(listener) => self.tasks.spawn(server.accept(listener, None, terms)),
                Socket::Tls(listener, credentials) => {
                    self.tasks.spawn(server.accept(listener, Some(credentials), terms))
                }
                Socket::Quic(listener) => self.tasks.spawn(quic::accept(server, *listener, terms)),
            };
        }
    }

    /// Has a listener's certificate follow its files.
    async fn follow(self, listener: String, credentials: Credentials) {
        let context = &self.shared.context;
        let stop = context.shutdown.clone();
        let follow = credentials.follow(stop, |seen| match seen {
            Ok(current) => {
                let fingerprint = current.fingerprint;
                tracing::info!(listener, %fingerprint, "certificate exchanged");
            }
            Err(reason) => {
                context.metrics.links.certificate_refused(&listener);
                tracing::warn!(listener, reason, "certificate not exchanged: the old one stays");
            }
        });
        follow.await;
    }

    /// Has a listener's keys for tokens follow their file.
    async fn follow_keys(self, listener: String, accepted: Arc<Accepted>) {
        let context = &self.shared.context;
        let follow = accepted.follow(context.shutdown.clone(), |seen| match seen {
            Ok(()) => tracing::info!(listener, "token keys exchanged"),
            Err(reason) => {
                context.metrics.links.keys_refused(&listener);
                tracing::warn!(listener, reason, "token keys not exchanged: the old ones stay");
            }
        });
        follow.await;
    }

    /// Takes clients over TCP, with TLS or without, until the broker stops.
    async fn accept(self, listener: Listener, credentials: Option<Credentials>, terms: Terms) {
        let transport = if credentials.is_some() { Transport::Tls } else { Transport::Tcp };
        let shutdown = self.shared.context.shutdown.clone();
        let mut number = 0u64;
        loop {
            let entering = async {
                // The place comes before the client: whoever cannot be shaken hands with waits outside.
                let hand = match &credentials {
                    None => None,
                    Some(credentials) => Some((self.handshakes.enter().await, credentials)),
                };
                (hand, listener.accept().await)
            };
            let (hand, (stream, remote)) = tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                // Cancel-safe: a client that is not taken stays in the queue.
                entered = entering => entered,
            };
            number += 1;
            let Ok(place) = Arc::clone(&self.places).try_acquire_owned() else {
                tracing::warn!(%remote, "connection refused: as many are open as may be");
                continue;
            };
            if let Some(wait) = self.shared.too_often(remote) {
                self.tasks.spawn(leave_alone(stream, place, wait, shutdown.clone()));
                continue;
            }
            // It moves to the thread that serves it. One that cannot has gone already.
            let Ok((local, stream)) =
                stream.local_addr().and_then(|it| Ok((it, stream.into_std()?)))
            else {
                continue;
            };
            let hand =
                hand.map(|(place, credentials)| (place, credentials.current().config.clone()));
            let visit = Visit {
                shared: Arc::clone(&self.shared),
                local,
                remote,
                terms: terms.clone(),
                proved: None,
            };
            let span = spans::connection(number, transport, remote);
            let task = async move {
                let _open = visit.shared.context.metrics.connected();
                match TcpStream::from_std(stream) {
                    Ok(stream) => visit.over_tcp(stream, hand).await,
                    Err(error) => tracing::warn!(%error, "connection not taken"),
                }
                drop(place);
            };
            self.reactors.spawn(self.tasks.track_future(task.instrument(span)));
        }
    }

    /// Waits until all clients have got what they are owed.
    pub(crate) async fn drain(&self) {
        self.tasks.close();
        if tokio::time::timeout(DRAIN_MAX, self.tasks.wait()).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "stopping with replies still owed");
        }
    }
}

/// Closes a connection that came too soon behind others, a while later: who finds it closed at once tries again at once.
async fn leave_alone(
    stream: TcpStream,
    place: OwnedSemaphorePermit,
    wait: Duration,
    shutdown: CancellationToken,
) {
    tokio::select! {
        () = tokio::time::sleep(wait) => {}
        () = shutdown.cancelled() => {}
    }
    drop((stream, place));
}

/// What is known of a client before it has said anything.
struct Visit {
    shared: Arc<Shared>,
    local: SocketAddr,
    remote: SocketAddr,
    terms: Terms,
    proved: Option<watch::Receiver<bool>>,
}

impl Visit {
    /// Serves a client of TCP or, with a handshake to be made first, of TLS.
    async fn over_tcp(
        self,
        stream: TcpStream,
        hand: Option<(Place, Arc<handshake::ServerConfig>)>,
    ) {
        let shared = Arc::clone(&self.shared);
        let Some((place, config)) = hand else {
            let (reader, writer) = stream.into_split();
            let Some(router) = self.router(None) else { return };
            return shared.converse(reader, writer, &router).await;
        };
        let stream = match handshake::accept(stream, config, place).await {
            Ok(stream) => stream,
            Err(error) => return shared.not_shaken(Transport::Tls, &error),
        };
        let Some(router) = self.router(handshake::identity(stream.get_ref().1)) else { return };
        // Both halves are used by one task: the lock between them is always free.
        let (reader, writer) = tokio::io::split(stream);
        Box::pin(shared.converse(reader, writer, &router)).await;
    }

    /// What answers the client, which is asked who it is if need be; none for one whose certificate is nobody's here.
    fn router(self, identity: Option<PeerIdentity>) -> Option<Router> {
        let Visit { shared, local, remote, terms, proved } = self;
        if let Some(identity) = &identity {
            spans::identified(identity);
        }
        let gate = terms.sasl.map(Gate::new);
        let known = OnceLock::new();
        let mut broker = None;
        if let Some(cluster_id) = &terms.cluster {
            match node_of(identity.as_ref()?, cluster_id) {
                Ok(node) => broker = Some(node),
                Err(error) => {
                    tracing::warn!(%error, "connection of another broker refused");
                    return None;
                }
            }
        }
        if terms.is_own {
            spans::authenticated(known.get_or_init(access::own));
        }
        if let (None, Some(identity), None) = (&gate, &identity, broker) {
            let links = &shared.context.metrics.links;
            match terms.principals.name(&identity.subject) {
                Ok(name) => {
                    let principal = known.get_or_init(|| Principal::user(&name));
                    spans::authenticated(principal);
                    links.authenticated(CERTIFICATE);
                }
                Err(error) => {
                    links.not_authenticated(CERTIFICATE);
                    tracing::debug!(%error, "connection closed");
                    return None;
                }
            }
        }
        let peer = Peer {
            local,
            remote,
            host: remote.ip().to_canonical().to_string(),
            identity: known,
            broker,
            muted: Muted::default(),
            listener: terms.listener,
            advertised: terms.advertised.map(|it| (it.host.clone(), it.port)),
            proved,
            rules: Mutex::default(),
            buffers: Mutex::default(),
        };
        Some(Router { context: Arc::clone(&shared.context), peer: Arc::new(peer), gate })
    }
}

impl Shared {
    /// How long a new connection is left alone, if its address has made too many (KIP-612).
    fn too_often(&self, remote: SocketAddr) -> Option<Duration> {
        let cluster = self.context.shards.cluster();
        if cluster.quotas().is_empty() {
            return None;
        }
        let host = remote.ip().to_canonical().to_string();
        let now = self.context.clock.now();
        let wait = self.context.throttle.connect(&cluster, &host, now).err()?;
        self.context.metrics.access.throttled(QuotaKey::ConnectionCreationRate, wait);
        tracing::debug!(%remote, ?wait, "connection closed: there were too many from there");
        Some(wait)
    }

    async fn converse(
        &self,
        reader: impl AsyncRead + Unpin + Send,
        writer: impl AsyncWrite + Unpin + Send,
        dispatch: &impl Dispatch,
    ) {
        match self.serve(reader, connection::Socket(writer), dispatch).await {
            Ok(()) => tracing::debug!("disconnected"),
            Err(error) => tracing::debug!(%error, "connection closed"),
        }
    }

    async fn serve(
        &self,
        reader: impl AsyncRead + Unpin + Send,
        writer: impl Outlet,
        dispatch: &impl Dispatch,
    ) -> Result<(), ConnectionError> {
        let (limits, shutdown) = (&self.limits, &self.context.shutdown);
        connection::serve(reader, writer, dispatch, limits, &self.budget, shutdown).await
    }

    /// The internet does that: it is counted, and worth a line only to whoever looks for it.
    fn not_shaken(&self, transport: Transport, error: &HandshakeError) {
        self.context.metrics.links.handshake_failed(transport);
        tracing::debug!(%error, "connection not taken");
    }
}
