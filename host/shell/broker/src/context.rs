//! What every request handler has at hand.
//!
//! **Decides** nothing. [`Context`] is one for the broker, [`Peer`] one for each connection, [`Call`]
//! one for each request.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, LazyLock, Mutex, OnceLock, PoisonError};

use brooklet_auth::Principal;
use brooklet_hook::Hooks;
use brooklet_io::{Clock, DataFolder};
use brooklet_log::Buffers;
use brooklet_log::validate::TopicRules;
use brooklet_meta::{Cluster, Decision, Topic};
use brooklet_types::{BrokerId, ByteSize, ErrorCode, Timestamp, TopicId};
use brooklet_wire::message::StrBytes;
use brooklet_wire::version::Api;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::access::{self, Access};
use crate::gate::Guard;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::request::plugins;
use crate::request::produce::rules_of;
use crate::request::session::Sessions;
use crate::throttle::{Muted, Throttle};
use crate::translate::nodes::{Entrance, Nodes};

/// The shards of a broker that stores on a real disk.
pub(crate) type Shards = crate::shards::Shards<DataFolder>;

/// What all requests share.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) shards: Shards,
    pub(crate) hooks: Arc<dyn Hooks>,
    pub(crate) clock: Clock,
    pub(crate) metrics: Arc<Metrics>,
    /// What is needed to find out who a client is.
    pub(crate) guard: Guard,
    /// What clients may do.
    pub(crate) access: Access,
    /// What clients take.
    pub(crate) throttle: Throttle,
    /// This broker.
    pub(crate) node: BrokerId,
    pub(crate) cluster_id: String,
    /// Whether asking for a topic that does not exist creates it.
    pub(crate) auto_create: bool,
    /// How many partitions `__consumer_offsets` gets when it is created.
    pub(crate) offsets_partitions: u32,
    /// The data folder, as administrators are shown it.
    pub(crate) folder: String,
    /// The data folder, for its room.
    pub(crate) disk: DataFolder,
    /// Appends are refused when less than this would be left.
    pub(crate) disk_reserve: ByteSize,
    /// Producer ids that were allotted to this broker and not yet given out. A lock of tokio's:
    /// it is held while the next block is fetched, so that a crowd fetches one.
    pub(crate) producer_ids: tokio::sync::Mutex<Range<u64>>,
    /// Protects the table of fetch sessions; held for a look-up, never over an await.
    pub(crate) sessions: Mutex<Sessions>,
    /// The other brokers; none where the data folder belongs to no cluster.
    pub(crate) peers: Option<Arc<Peers>>,
    /// Fires when the broker is to stop: whoever waits for records waits no longer.
    pub(crate) shutdown: CancellationToken,
}

/// Who is at the other end of a connection.
#[derive(Debug)]
pub(crate) struct Peer {
    /// Our address, as the client reached it.
    pub(crate) local: SocketAddr,
    /// The client's.
    pub(crate) remote: SocketAddr,
    /// The client's, as rules name it.
    pub(crate) host: String,
    /// Who the client is, once that is known; it does not become somebody else.
    pub(crate) identity: OnceLock<Principal>,
    /// The broker of the cluster that it is, by its certificate; none for clients.
    pub(crate) broker: Option<BrokerId>,
    /// Until when it is not read from, having taken too much.
    pub(crate) muted: Muted,
    /// The listener that it came in by, as Kafka names listeners.
    pub(crate) listener: &'static str,
    /// What the listener tells clients to connect to; none tells them `local`.
    pub(crate) advertised: Option<(String, u16)>,
    /// Turns true when the handshake is complete; none where nothing is taken before.
    pub(crate) proved: Option<watch::Receiver<bool>>,
    /// Protects what was worked out of topic settings; only this connection's task takes it.
    pub(crate) rules: Mutex<Rules>,
    /// Protects memory that answers are read into; one fetch at a time takes all of it out.
    pub(crate) buffers: Mutex<Buffers>,
}

/// What topics ask of batches, as of one version of the cluster.
#[derive(Debug, Default)]
pub(crate) struct Rules {
    version: u64,
    by_topic: BTreeMap<TopicId, Arc<TopicRules>>,
}

/// One request, and all that surrounds it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) context: Arc<Context>,
    pub(crate) peer: Arc<Peer>,
    pub(crate) api: Api,
    pub(crate) version: i16,
    pub(crate) client_id: Option<StrBytes>,
    /// Whether what it takes could be too much: nobody looks, where the cluster has no quotas.
    pub(crate) is_metered: bool,
}

impl Context {
    /// Whether producers are refused for want of room.
    pub(crate) fn disk_is_full(&self) -> bool {
        brooklet_log::Disk::free(&self.disk).is_ok_and(|free| free <= self.disk_reserve)
    }
}

impl Context {
    /// Has the hook follow which topics have which plugins.
    pub(crate) async fn follow_plugins(&self) {
        let topics = plugins::of_cluster(&self.shards.cluster());
        self.hooks.follow(topics).await;
    }
}

impl Call {
    /// The cluster as of now. A handler takes it once, so that one answer is of one version.
    pub(crate) fn cluster(&self) -> Arc<Cluster> {
        self.context.shards.cluster()
    }

    /// An error on its way to the client, counted.
    pub(crate) fn code(&self, code: ErrorCode) -> i16 {
        if !code.is_none() {
            self.context.metrics.refused(self.api, code);
        }
        code.to_wire()
    }

    /// Changes the cluster, and waits until the change is durable and followed.
    pub(crate) async fn change<Decided: Send + 'static>(
        &self,
        decide: impl FnOnce(&Cluster) -> Decision<Decided> + Send + 'static,
    ) -> Result<Decided, ErrorCode> {
        let decided = self.context.shards.change(decide).await;
        let decided = decided.map_err(|_stopping| ErrorCode::NotController)??;
        // What is answered from now on is answered under the plugins that are bound now.
        self.context.follow_plugins().await;
        Ok(decided)
    }

    /// The time of the day.
    pub(crate) fn timestamp(&self) -> Timestamp {
        self.context.clock.timestamp()
    }

    /// Where this client should connect to.
    pub(crate) fn address(&self) -> (StrBytes, i32) {
        self.peer.address()
    }

    /// The brokers that this client is told of.
    pub(crate) fn nodes<'a>(&'a self, cluster: &'a Cluster) -> Nodes<'a> {
        let (host, port) = self.address();
        let (this, listener) = (self.context.node, self.peer.listener);
        Nodes::new(cluster, Entrance { this, host, port, listener })
    }

    /// What `topic` asks of a batch. Worked out once per connection and version of the cluster:
    /// settings are texts, and this is the record path.
    pub(crate) fn rules(&self, cluster: &Cluster, topic: &Topic) -> Arc<TopicRules> {
        let mut rules = self.peer.rules.lock().unwrap_or_else(PoisonError::into_inner);
        if rules.version != cluster.version() {
            *rules = Rules { version: cluster.version(), by_topic: BTreeMap::new() };
        }
        let known = rules.by_topic.entry(topic.id);
        let node = self.context.node;
        Arc::clone(known.or_insert_with(|| Arc::new(rules_of(&cluster.effective(node, topic)))))
    }
}

/// Who speaks where nobody is asked who they are.
static ANONYMOUS: LazyLock<Principal> = LazyLock::new(Principal::anonymous);

impl Peer {
    /// Who the client is.
    pub(crate) fn principal(&self) -> &Principal {
        self.identity.get().unwrap_or(&ANONYMOUS)
    }

    /// Whether it belongs to what runs in the broker's own process.
    pub(crate) fn is_own(&self) -> bool {
        self.principal().as_str() == access::OWN
    }

    /// Returns when nothing that this client has sent can be the replay of what another has: at once,
    /// but while the handshake of QUIC is under way. False if that has failed.
    pub(crate) async fn is_proved(&self) -> bool {
        match &self.proved {
            None => true,
            Some(proved) => proved.clone().wait_for(|proved| *proved).await.is_ok(),
        }
    }

    /// Where this client should connect to: what the operator said, or the address it came in on.
    pub(crate) fn address(&self) -> (StrBytes, i32) {
        match &self.advertised {
            Some((host, port)) => (StrBytes::from(host.as_str()), i32::from(*port)),
            None => {
                let host = self.local.ip().to_canonical().to_string();
                (StrBytes::from(host), i32::from(self.local.port()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_is_told_the_address_it_came_in_on_unless_the_operator_knows_better() {
        let peer = |local: &str, advertised: Option<(&str, u16)>| Peer {
            local: local.parse().unwrap(),
            remote: "127.0.0.1:50000".parse().unwrap(),
            host: "127.0.0.1".to_owned(),
            identity: OnceLock::new(),
            broker: None,
            muted: Muted::default(),
            listener: "PLAINTEXT",
            advertised: advertised.map(|(host, port)| (host.to_owned(), port)),
            proved: None,
            rules: Mutex::default(),
            buffers: Default::default(),
        };
        let table = [
            (peer("10.0.0.5:9092", None), "10.0.0.5", 9092),
            (peer("[::1]:9093", None), "::1", 9093),
            // An IPv4 client of a listener on all addresses.
            (peer("[::ffff:192.168.1.7]:9092", None), "192.168.1.7", 9092),
            (peer("10.0.0.5:9092", Some(("edge.example", 443))), "edge.example", 443),
        ];
        for (peer, host, port) in table {
            assert_eq!(peer.address(), (StrBytes::from(host), port), "{peer:?}");
        }
    }
}
