//! The sockets that clients come in by, opened from the configuration.
//!
//! **Decides** which certificate a listener is served with: its own, everybody's, or, for QUIC without either,
//! one that the broker makes for itself and keeps in its data folder.

use std::sync::Arc;

use brooklet_auth::principal::mapping::PrincipalMapping;
use brooklet_io::Clock;
use brooklet_io::quic::{QuicListener, QuicSettings};
use brooklet_io::tcp::Listener;
use brooklet_io::tls::cluster::ClusterIdentity;
use brooklet_io::tls::credentials::{Credentials, Purpose};
use brooklet_io::tls::handshake::Handshakes;
use brooklet_io::tls::{TlsError, issue};

use crate::broker::{RunError, Serving};
use crate::config::{Address, Config, ListenerConfig, Transport};
use crate::peers;
use crate::reactor::Reactors;
use crate::tokens::{Accepted, KeysError};

/// Where certificates are kept that the broker has made for itself.
const FOLDER: &str = "tls";

/// A socket that is listened on.
pub(crate) struct Door {
    pub(crate) socket: Socket,
    pub(crate) serving: Serving,
    pub(crate) terms: Terms,
}

/// What clients of one listener are told and asked. Cheap to clone: every connection has it.
#[derive(Clone)]
pub(crate) struct Terms {
    /// The listener's name.
    pub(crate) listener: &'static str,
    /// Where to connect to; none where it is the address that a client came in on.
    pub(crate) advertised: Option<Arc<Address>>,
    /// How they say who they are.
    pub(crate) sasl: Option<Arc<Accepted>>,
    /// Who they are by their certificates, where they have no other way to say it.
    pub(crate) principals: Arc<PrincipalMapping>,
    /// Whether they are the broker's own, whom no rule keeps from anything.
    pub(crate) is_own: bool,
    /// The cluster whose brokers come in here, and nobody else; none for clients.
    pub(crate) cluster: Option<Arc<str>>,
}

/// How clients come in.
pub(crate) enum Socket {
    Tcp(Listener),
    Tls(Listener, Credentials),
    Quic(Box<QuicListener>),
}

impl Door {
    /// What it is served with; none for TCP.
    pub(crate) fn credentials(&self) -> Option<&Credentials> {
        match &self.socket {
            Socket::Tcp(_) => None,
            Socket::Tls(_, credentials) => Some(credentials),
            Socket::Quic(listener) => Some(listener.credentials()),
        }
    }

    /// The listener's address as it was configured, with its real port.
    pub(crate) fn name(&self) -> String {
        Serving { pin: None, ..self.serving }.to_string()
    }
}

/// Opens all of them, or none.
pub(crate) async fn open(
    config: &Config,
    clock: &Clock,
    handshakes: &Handshakes,
    reactors: &Reactors,
) -> Result<Vec<Door>, RunError> {
    let mut doors = Vec::new();
    for listener in &config.listeners {
        let door = open_one(config, listener, clock, (handshakes, reactors)).await?;
        say_whether_it_is_good(&door, clock);
        doors.push(door);
    }
    Ok(doors)
}

async fn open_one(
    config: &Config,
    listener: &ListenerConfig,
    clock: &Clock,
    (handshakes, reactors): (&Handshakes, &Reactors),
) -> Result<Door, RunError> {
    let Address { transport, host, port } = &listener.address;
    let (transport, port) = (*transport, *port);
    let refused =
        |source: TlsError| RunError::Tls { listener: listener.address.to_string(), source };
    let files = listener.tls.as_ref().or(config.tls.as_ref()).cloned();
    let mut pin = None;
    let (socket, address) = match transport {
        Transport::Tcp => {
            let listener = Listener::bind(host, port).await?;
            let address = listener.local();
            (Socket::Tcp(listener), address)
        }
        Transport::Tls => {
            let files = files.expect("the configuration has seen to it");
            let credentials = Credentials::open(files, Purpose::Tls).map_err(refused)?;
            let listener = Listener::bind(host, port).await?;
            let address = listener.local();
            (Socket::Tls(listener, credentials), address)
        }
        Transport::Quic => {
            let is_self_made = files.is_none();
            let files = match files {
                Some(files) => files,
                None => issue::self_made(&config.data.join(FOLDER), clock).map_err(refused)?,
            };
            let credentials = Credentials::open(files, Purpose::Quic).map_err(refused)?;
            pin = is_self_made.then(|| credentials.current().fingerprint);
            let (settings, handshakes) = (&config.quic, handshakes.clone());
            let on = reactors.first();
            let listener =
                QuicListener::bind(host, port, credentials, settings, handshakes, on).await?;
            let address = listener.local();
            (Socket::Quic(Box::new(listener)), address)
        }
    };
    let serving = Serving { transport, address, sasl: listener.sasl.is_some(), pin };
    Ok(Door { socket, serving, terms: Terms::of(listener)? })
}

impl Terms {
    /// For clients in the broker's own process.
    pub(crate) fn inner() -> Terms {
        let (listener, principals) = ("INNER", Arc::default());
        Terms { listener, advertised: None, sasl: None, principals, is_own: true, cluster: None }
    }

    fn of(listener: &ListenerConfig) -> Result<Terms, KeysError> {
        let sasl = listener.sasl.as_ref().map(Accepted::open).transpose()?;
        let rules = listener.principals.as_deref().map(PrincipalMapping::parse);
        let principals = rules.map_or_else(PrincipalMapping::default, |it| {
            it.expect("the configuration was checked")
        });
        Ok(Terms {
            listener: listener.kafka_name(),
            advertised: listener.advertised.clone().map(Arc::new),
            sasl: sasl.map(Arc::new),
            principals: Arc::new(principals),
            is_own: false,
            cluster: None,
        })
    }

    /// For the other brokers of a cluster.
    fn of_brokers(cluster_id: &str) -> Terms {
        let cluster = Some(Arc::from(cluster_id));
        Terms { listener: peers::LISTENER, cluster, ..Terms::inner() }
    }
}

/// Opens the doors for the other brokers of the cluster: QUIC, and TLS at the same port where that is free.
pub(crate) async fn open_for_brokers(
    identity: &ClusterIdentity,
    settings: &QuicSettings,
    handshakes: &Handshakes,
    reactors: &Reactors,
) -> Result<Vec<Door>, RunError> {
    let (host, port) = &identity.addresses.listen;
    let (host, port) = (host.as_str(), *port);
    let name = format!("{host}:{port} for brokers");
    let refused = |source: TlsError| RunError::Tls { listener: name.clone(), source };
    let open = |purpose| Credentials::open(identity.files.clone(), purpose).map_err(refused);
    let door = |transport, socket, address| {
        let serving = Serving { transport, address, sasl: false, pin: None };
        Door { socket, serving, terms: Terms::of_brokers(&identity.cluster_id) }
    };
    let tls = Listener::bind(host, port).await?;
    let address = tls.local();
    let (handshakes, on) = (handshakes.clone(), reactors.first());
    let credentials = open(Purpose::Quic)?;
    let quic = QuicListener::bind(host, address.port(), credentials, settings, handshakes, on);
    let quic = quic.await?;
    Ok(vec![
        door(Transport::Tls, Socket::Tls(tls, open(Purpose::Tls)?), address),
        door(Transport::Quic, Socket::Quic(Box::new(quic)), address),
    ])
}

fn say_whether_it_is_good(door: &Door, clock: &Clock) {
    let Some(credentials) = door.credentials() else { return };
    let (current, listener) = (credentials.current(), door.name());
    let certificate = credentials.files().certificate.display();
    if current.expires < clock.timestamp().0 / 1000 {
        tracing::warn!(listener, %certificate, "certificate has expired: clients will refuse it");
    }
    if let Some(pin) = door.serving.pin {
        tracing::info!(listener, fingerprint = %pin, "certificate made by the broker itself");
    }
}
