//! Connections to other brokers.
//!
//! **Where it sits.** Between what is to be said to a broker and the client crate, which holds the connection: QUIC, and TLS
//! where UDP is not answered. Both ends show certificates of the cluster's authority.
//!
//! **What it decides.** That each purpose has a connection of its own, a stream of one QUIC connection where that is spoken: what
//! takes long holds up nothing else. When one that failed is tried again. That whoever is dialled as broker 2 has to be broker 2.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet_client::connection::Connection;
use brooklet_client::transport::Dialer;
use brooklet_client::{
    Address, ClientConfig, ConnectError, IdentityFiles, Peer, TlsConfig, Transport,
};
use brooklet_io::tls::cluster::{self, ClusterIdentity};
use brooklet_types::BrokerId;
use tokio::time::Instant;

/// Long enough for QUIC not to be answered and TLS to be tried.
const CONNECT_MAX: Duration = Duration::from_secs(5);
/// An answer that is later than this ends its connection. A fetch that waits for records may take so much longer.
pub(super) const ANSWER_MAX: Duration = Duration::from_secs(2);
/// How long a broker that was not reached is left alone.
const AGAIN_MIN: Duration = Duration::from_millis(50);
const AGAIN_MAX: Duration = Duration::from_secs(1);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Lane {
    /// Messages of the quorum.
    Quorum,
    /// Registration, heartbeats and in-sync sets.
    Control,
    /// Requests of clients that the controller answers.
    Forward,
    /// Nothing is said on it: its end says that a process has ended.
    Watch,
    /// Records for one of our shards, which may have several fetches under way.
    Copies { shard: u32, number: usize },
}

/// Somebody to be reached.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Target {
    /// Its number; none for one that is known by its address alone.
    pub(crate) broker: Option<BrokerId>,
    pub(crate) host: String,
    pub(crate) port: u16,
}

/// All connections to other brokers.
pub(crate) struct Ways {
    tls: TlsConfig,
    config: ClientConfig,
    /// Protects the table, for look-ups only. A place has its own lock, held while its connection is opened.
    places: Mutex<BTreeMap<(Target, Lane), SharedPlace>>,
    /// Protects the table, for look-ups only. A dialler knows one name that it believes.
    dialers: Mutex<BTreeMap<Target, Arc<Dialer>>>,
}

type SharedPlace = Arc<tokio::sync::Mutex<Place>>;

#[derive(Default)]
struct Place {
    open: Option<Connection>,
    /// Not to be tried before, after so many failures.
    again: Option<(Instant, u32)>,
}

/// Why there is no connection.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WayError {
    /// It was tried a moment ago.
    #[error("not reached a moment ago")]
    TooSoon,
    /// It cannot be had.
    #[error(transparent)]
    Connect(#[from] ConnectError),
}

impl Ways {
    pub(crate) fn new(identity: &ClusterIdentity) -> Ways {
        let files = &identity.files;
        let own = IdentityFiles { certificate: files.certificate.clone(), key: files.key.clone() };
        let authorities = files.client_auth.authorities().map(ToOwned::to_owned);
        let tls = TlsConfig { authorities, identity: Some(own), ..TlsConfig::default() };
        let config = ClientConfig {
            client_id: format!("broker-{}", identity.node),
            connect_timeout: CONNECT_MAX,
            request_timeout: ANSWER_MAX,
            ..ClientConfig::new(Vec::new())
        };
        Ways { tls, config, places: Mutex::default(), dialers: Mutex::default() }
    }

    /// The connection for that purpose, opened if need be.
    pub(crate) async fn connection(&self, to: &Target, lane: Lane) -> Result<Connection, WayError> {
        let place = {
            let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(places.entry((to.clone(), lane)).or_default())
        };
        let mut place = place.lock().await;
        if let Some(open) = place.open.take_if(|open| open.is_closed() || open.is_gone()) {
            tracing::debug!(peer = %open.peer(), ?lane, "connection to a broker lost");
        }
        if let Some(open) = &place.open {
            return Ok(open.clone());
        }
        if place.again.is_some_and(|(again, _)| again > Instant::now()) {
            return Err(WayError::TooSoon);
        }
        // Over TCP the system says when a process has ended.
        let transport = if lane == Lane::Watch { Transport::Tls } else { Transport::Quic };
        let address = Address::new(transport, to.host.clone(), to.port);
        let peer = Peer { address, id: to.broker };
        match Connection::open(&self.dialer(to), peer, &self.config).await {
            Ok(open) => {
                *place = Place { open: Some(open.clone()), again: None };
                Ok(open)
            }
            Err(error) => {
                let failures = place.again.map_or(0, |(_, failures)| failures);
                let wait = AGAIN_MIN.saturating_mul(1 << failures.min(5)).min(AGAIN_MAX);
                place.again = Some((Instant::now() + wait, failures + 1));
                Err(error.into())
            }
        }
    }

    fn dialer(&self, to: &Target) -> Arc<Dialer> {
        let mut dialers = self.dialers.lock().unwrap_or_else(PoisonError::into_inner);
        let dialer = dialers.entry(to.clone()).or_insert_with(|| {
            let name = cluster::server_name(to.broker);
            let tls = TlsConfig { server_name: Some(name), ..self.tls.clone() };
            Arc::new(Dialer::new(tls, Default::default()))
        });
        Arc::clone(dialer)
    }

    /// Takes leave of everybody.
    pub(crate) async fn close(&self) {
        let dialers: Vec<Arc<Dialer>> = {
            let mut dialers = self.dialers.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::take(&mut *dialers).into_values().collect()
        };
        for dialer in dialers {
            dialer.close().await;
        }
    }
}

impl std::fmt::Debug for Ways {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Ways").finish_non_exhaustive()
    }
}
