//! The broker from start to stop, in reading order.
//!
//! **Where it sits.** Between the program, which has a configuration, and everything else here.
//!
//! **What it decides.** The order of things: the data folder is locked before anything is read, all
//! shards are open before a client is accepted, clients are answered before the shards end.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use brooklet_auth::Mechanism;
use brooklet_hook::Hooks;
use brooklet_io::quic::QuicSettings;
use brooklet_io::tcp::{ListenError, Listener};
use brooklet_io::tls::cluster::{self, Addresses, ClusterError, ClusterIdentity, JoinToken};
use brooklet_io::tls::handshake::Handshakes;
use brooklet_io::tls::{Fingerprint, TlsError};
use brooklet_io::{Clock, DataFolder, DataFolderError};
use brooklet_log::disk::read_small;
use brooklet_log::{Disk, DiskFile};
use brooklet_meta::Cluster;
use brooklet_meta::lifecycle::Refusal;
use brooklet_shard::{ClusterId, CompactionSettings, DirectoryId, QuorumSeed, ShardSettings};
use brooklet_types::{BrokerId, ByteSize, TopicId};
use prometheus_client::registry::Registry;
use tokio_util::sync::CancellationToken;

use crate::access::Access;
use crate::admin;
use crate::config::{Config, ListenerConfig, NODE_ID, Transport};
use crate::context::Context;
use crate::gate::Guard;
use crate::metrics::Metrics;
use crate::peers::{self, Peers, outward};
use crate::reactor::Reactors;
use crate::request::session::Sessions;
use crate::secrets::SecretError;
use crate::server::Server;
use crate::server::doors::{self, Door};
use crate::server::inner::InnerDoor;
use crate::start::{self, ShardPlan, StartError};
use crate::throttle::Throttle;
use crate::tokens::KeysError;
use crate::users::{self, UsersError};

/// Memory for the newest batches of all shards together.
const TAIL_BYTES_MAX: usize = 64 << 20;
/// Each shard's journal. At the rate at which a journal pays off, this is worth about a second of
/// writes between two checkpoints.
const JOURNAL_BYTES: ByteSize = ByteSize::mib(64);
/// Kafka's `log.retention.check.interval.ms`.
const RETENTION_CHECK_INTERVAL: Duration = Duration::from_secs(300);
/// Where the cluster's id is kept, of 22 characters of base64.
const IDENTITY: &str = "cluster-id";
const ID_BYTES: usize = 22;

/// Why the broker does not run.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// The data folder cannot be used.
    #[error(transparent)]
    Folder(#[from] DataFolderError),
    /// What is in the data folder cannot be used.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The file with the cluster's id is damaged.
    #[error("data folder: {IDENTITY} is not a cluster's id; restore it from a backup")]
    Identity,
    /// Which cluster the data folder belongs to cannot be read.
    #[error(transparent)]
    Belonging(#[from] ClusterError),
    /// The configuration says another number than the cluster.
    #[error(
        "the data folder is broker {node} of its cluster, and the configuration says {configured}"
    )]
    OtherBroker { node: BrokerId, configured: BrokerId },
    /// There is data of another cluster.
    #[error("the data in the folder is not of cluster {cluster_id}, which the folder belongs to")]
    OtherCluster { cluster_id: String },
    /// A joining broker begins with nothing.
    #[error("the data folder has the data of a broker already; a broker joins with an empty one")]
    NotEmpty,
    /// The cluster does not want this broker.
    #[error(transparent)]
    Cluster(Refusal),
    /// A port is taken, or an address is not ours.
    #[error(transparent)]
    Listen(#[from] ListenError),
    /// A listener's certificate cannot be served with.
    #[error("{listener}: {source}")]
    Tls { listener: String, source: TlsError },
    /// A listener's tokens cannot be checked.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The first users cannot be created, or what hides who is one cannot be had.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// There is no token for administration.
    #[error(transparent)]
    Admin(#[from] SecretError),
    /// What was put in from outside can't be used.
    #[error("{0}")]
    Extension(String),
    /// The disk says no.
    #[error("data folder: {0}")]
    Disk(#[from] io::Error),
}

/// What is known once clients are served.
#[derive(Clone, Debug)]
pub struct Ready {
    /// This broker.
    pub node: BrokerId,
    /// The cluster's id, for as long as the data folder exists.
    pub cluster_id: String,
    /// Where clients come in, with real ports, in the order of the configuration.
    pub listeners: Vec<Serving>,
    /// Where probes and metrics are served.
    pub admin: Option<SocketAddr>,
    /// Where clients in this process come in.
    pub inner: InnerDoor,
}

/// Where clients come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Serving {
    /// What carries the protocol.
    pub transport: Transport,
    /// The address, with its real port.
    pub address: SocketAddr,
    /// Whether clients have to say who they are by SASL.
    pub sasl: bool,
    /// The certificate's fingerprint, where the broker has made it for itself: nobody vouches for it, so a
    /// client has to know it.
    pub pin: Option<Fingerprint>,
}

impl fmt::Display for Serving {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.transport.scheme(), self.address)?;
        self.pin.iter().try_for_each(|pin| write!(formatter, "?pin={pin}"))
    }
}

/// What is put into a broker from outside.
pub struct Extensions {
    /// Who is asked about records.
    pub hooks: Arc<dyn Hooks>,
    /// More that is served beside probes and metrics, to who has the token of the data folder.
    pub routes: axum::Router,
    /// Adds to the metrics.
    pub register: Box<dyn FnOnce(&mut Registry) + Send>,
}

impl Extensions {
    /// Hooks and nothing else.
    pub fn hooks(hooks: Arc<dyn Hooks>) -> Extensions {
        Extensions { hooks, routes: axum::Router::new(), register: Box::new(|_| {}) }
    }
}

/// Runs a broker until `stop` fires; `ready` is told when clients are served.
pub async fn run(
    config: Config,
    hooks: Arc<dyn Hooks>,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), RunError> {
    run_extended(config, |_| Ok(Extensions::hooks(hooks)), stop, ready).await
}

/// The same with more put in. `extend` is called once the data folder is ours alone; what it complains of
/// ends the start.
#[expect(
    clippy::too_many_lines,
    reason = "a broker from its start to its stop, one line for each step"
)]
pub async fn run_extended(
    mut config: Config,
    extend: impl FnOnce(&Config) -> Result<Extensions, String>,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), RunError> {
    let disk = DataFolder::open(&config.data)?;
    let Extensions { hooks, routes, register } = extend(&config).map_err(RunError::Extension)?;
    // Ports are taken before the logs are read: one that is in use is found at once.
    let clock = Clock::start();
    let handshakes = Handshakes::default();
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let reactors = Reactors::start(processors)?;
    let doors = doors::open(&config, &clock, &handshakes, &reactors).await?;
    let admin = administration(&config, routes).await?;
    let belongs = Belonging::read(&disk, &config)?;
    let brokers = belongs.doors(&config.quic, &handshakes, &reactors).await?;
    let Belonging { identity, cluster_id, node } = belongs;
    config.node_id = node;
    let guard = Guard::new(users::secret(&config.data)?, processors);
    let mut registry = Registry::default();
    register(&mut registry);
    let metrics = Arc::new(Metrics::register(&mut registry));
    let (counting, asked) = (Arc::clone(&metrics), Arc::clone(&hooks));
    let (outward, wants) = outward::outward();
    let joins = identity.as_ref().is_some_and(|identity| !identity.seeds.is_empty());
    let plan = plan(&config, &cluster_id, (node, joins));
    let mut running =
        start::start(disk.clone(), plan, clock.clone(), counting, asked, outward).await?;
    let first_users = config.access.first_users.clone();
    let peers = identity.map(|identity| {
        let registers = peers::registers(&config, &identity, &doors, &running);
        let quorum = wants.quorum.clone();
        Arc::new(Peers::new(identity, registers, quorum, running.shards.clone(), first_users))
    });
    if peers.is_none() {
        users::create_first(&running.shards, &config.access.first_users).await?;
    }
    let shutdown = CancellationToken::new();
    // A broker that is dropped half way ends as well.
    let _end = shutdown.clone().drop_guard();
    let context = Arc::new(Context {
        shards: running.shards.clone(),
        hooks,
        clock,
        metrics,
        guard,
        access: Access::new(config.access.authorizer.clone()),
        throttle: Throttle::default(),
        node,
        cluster_id: cluster_id.clone(),
        auto_create: config.auto_create_topics,
        offsets_partitions: config.groups.offsets_partitions,
        folder: config.data.display().to_string(),
        disk,
        disk_reserve: config.limits.disk_reserve,
        producer_ids: tokio::sync::Mutex::new(0..0),
        sessions: Mutex::new(Sessions::default()),
        peers: peers.clone(),
        shutdown: shutdown.clone(),
    });
    let server = Server::new(Arc::clone(&context), &config, reactors, handshakes);
    let entered = match &peers {
        Some(peers) => {
            server.listen(brokers);
            peers.start(&context, wants);
            peers.enter(&stop).await
        }
        None => Ok(()),
    };
    if entered.is_ok() && !stop.is_cancelled() {
        context.follow_plugins().await;
        running.begin_cleaning();
        warn_of_no_users(&config, &context);
        let server = Arc::new(server.clone());
        ready(&open(&server, &context, doors, (admin, registry)));
        ended(peers.as_deref(), &stop).await;
    }
    tracing::info!("stopping");
    shutdown.cancel();
    server.drain().await;
    if let Some(peers) = &peers {
        peers.stop().await;
    }
    running.stop().await?;
    match peers.as_deref().and_then(Peers::refusal) {
        Some(refusal) => Err(RunError::Cluster(refusal)),
        None => entered,
    }
}

/// Where probes and metrics are served, and what else is.
type Administration = Option<(Listener, axum::Router)>;

async fn administration(config: &Config, routes: axum::Router) -> Result<Administration, RunError> {
    let Some(address) = config.admin else { return Ok(None) };
    let listener = Listener::bind(&address.ip().to_string(), address.port()).await?;
    Ok(Some((listener, admin::guarded(routes, admin::token(&config.data)?))))
}

/// Takes clients from now on.
fn open(
    server: &Arc<Server>,
    context: &Context,
    doors: Vec<Door>,
    (admin, registry): (Administration, Registry),
) -> Ready {
    let listeners: Vec<Serving> = doors.iter().map(|door| door.serving).collect();
    let admin_address = admin.as_ref().map(|(listener, _)| listener.local());
    server.serve(doors, admin, registry);
    let first = listeners.first().expect("the configuration has one");
    let inner = InnerDoor::new(server, first.address);
    let (node, cluster_id) = (context.node, context.cluster_id.clone());
    Ready { node, cluster_id, listeners, admin: admin_address, inner }
}

/// Waits until the broker is to stop, and is out of the way of its cluster.
async fn ended(peers: Option<&Peers>, stop: &CancellationToken) {
    let Some(peers) = peers else { return stop.cancelled().await };
    tokio::select! {
        () = stop.cancelled() => peers.leave().await,
        () = peers.refused() => {}
    }
}

fn warn_of_no_users(config: &Config, context: &Context) {
    let asks_for_password = |listener: &ListenerConfig| {
        let mechanisms = listener.sasl.iter().flat_map(|sasl| &sasl.mechanisms);
        mechanisms.into_iter().any(|mechanism| *mechanism != Mechanism::OauthBearer)
    };
    if config.listeners.iter().any(asks_for_password) && context.shards.cluster().users().is_empty()
    {
        tracing::warn!("there are no users, so nobody can log in; access.first_users creates some");
    }
}

/// Which broker of which cluster a data folder is.
struct Belonging {
    /// None for a broker alone.
    identity: Option<ClusterIdentity>,
    cluster_id: String,
    node: BrokerId,
}

impl Belonging {
    fn read(disk: &DataFolder, config: &Config) -> Result<Belonging, RunError> {
        let Some(identity) = ClusterIdentity::read(&config.data)? else {
            let cluster_id = cluster_id(disk)?;
            return Ok(Belonging { identity: None, cluster_id, node: config.node_id });
        };
        let (cluster_id, node) = (identity.cluster_id.clone(), identity.node);
        if config.node_id != NODE_ID && config.node_id != node {
            return Err(RunError::OtherBroker { node, configured: config.node_id });
        }
        if let Some(own) = read_small(disk, IDENTITY, ID_BYTES)?
            && own != cluster_id.as_bytes()
        {
            return Err(RunError::OtherCluster { cluster_id });
        }
        Ok(Belonging { identity: Some(identity), cluster_id, node })
    }

    async fn doors(
        &self,
        settings: &QuicSettings,
        handshakes: &Handshakes,
        reactors: &Reactors,
    ) -> Result<Vec<Door>, RunError> {
        match &self.identity {
            Some(identity) => {
                doors::open_for_brokers(identity, settings, handshakes, reactors).await
            }
            None => Ok(Vec::new()),
        }
    }
}

fn plan(config: &Config, cluster_id: &str, (node, joins): (BrokerId, bool)) -> ShardPlan {
    let groups = &config.groups;
    let millis = |duration: Duration| i32::try_from(duration.as_millis()).unwrap_or(i32::MAX);
    let shards = usize::try_from(config.shards).expect("a handful");
    let keys = usize::try_from(config.cleaner.dedupe_buffer.0);
    let keys = keys.expect("the configuration keeps it below 2 GiB");
    ShardPlan {
        broker: node,
        shards: config.shards,
        journal_bytes: JOURNAL_BYTES,
        settings: ShardSettings {
            retention_check_interval: RETENTION_CHECK_INTERVAL,
            tail_bytes_max: TAIL_BYTES_MAX / shards.max(1),
            disk_reserve: config.limits.disk_reserve,
            compaction: CompactionSettings {
                backoff: config.cleaner.backoff,
                // Each shard may have a cleaning that knows its keys and waits for its turn.
                key_bytes_max: keys / shards.max(1),
                key_seed: brooklet_io::entropy::bytes(),
            },
            groups: brooklet_group::Settings {
                session_timeout_ms_min: millis(groups.session_timeout_min),
                session_timeout_ms_max: millis(groups.session_timeout_max),
                initial_rebalance_delay: groups.initial_rebalance_delay,
                group_size_max: usize::try_from(groups.members_max).unwrap_or(usize::MAX),
                offsets_retention: groups.offsets_retention,
                ..brooklet_group::Settings::default()
            },
        },
        cluster: Cluster::new(config.broker_settings()),
        quorum: QuorumSeed {
            cluster: ClusterId(id_bytes(cluster_id)),
            directory: DirectoryId(brooklet_io::entropy::bytes()),
            entropy: u64::from_be_bytes(brooklet_io::entropy::bytes()),
            joins,
        },
    }
}

/// The sixteen bytes that a cluster's id stands for.
fn id_bytes(id: &str) -> [u8; 16] {
    // The last of 22 characters has four bits too many.
    let config = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::RequireNone)
        .with_decode_allow_trailing_bits(true);
    let bytes = GeneralPurpose::new(&alphabet::URL_SAFE, config).decode(id);
    bytes.ok().and_then(|bytes| bytes.try_into().ok()).expect("22 characters that were looked at")
}

/// The cluster's id: read, or made on the first start.
pub(crate) fn cluster_id(disk: &DataFolder) -> Result<String, RunError> {
    if let Some(bytes) = read_small(disk, IDENTITY, ID_BYTES)? {
        let id = String::from_utf8(bytes).map_err(|_| RunError::Identity)?;
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        let whole = id.len() == ID_BYTES && id.bytes().all(plain);
        return if whole { Ok(id) } else { Err(RunError::Identity) };
    }
    if disk.list("")?.iter().any(|name| name == IDENTITY) {
        return Err(RunError::Identity);
    }
    let id = TopicId::from_random(brooklet_io::entropy::bytes()).to_string();
    // Written whole under another name: a crash must not leave half an id.
    let fresh = format!("{IDENTITY}.tmp");
    let file = disk.create(&fresh)?;
    file.write_at(&[id.as_bytes()], 0)?;
    file.sync()?;
    disk.rename(&fresh, IDENTITY)?;
    disk.sync_folder("")?;
    Ok(id)
}

/// Makes the data folder `data` that of the first broker of a cluster, with what is in it. The broker must not be running.
pub fn found_cluster(
    data: &Path,
    node: BrokerId,
    addresses: &Addresses,
) -> Result<ClusterIdentity, RunError> {
    let disk = DataFolder::open(data)?;
    let id = cluster_id(&disk)?;
    Ok(cluster::init(data, &id, node, addresses, &Clock::start())?)
}

/// Makes the data folder `data`, which has nothing in it yet, that of a broker of the token's cluster.
pub fn join_cluster(
    data: &Path,
    token: &JoinToken,
    addresses: &Addresses,
) -> Result<ClusterIdentity, RunError> {
    // Who is a broker of it already gets another certificate, also while it runs.
    if ClusterIdentity::read(data)?.is_none() {
        let disk = DataFolder::open(data)?;
        if disk.list("")?.iter().any(|name| name == IDENTITY) {
            return Err(RunError::NotEmpty);
        }
    }
    Ok(cluster::join(data, token, addresses, &Clock::start())?)
}
