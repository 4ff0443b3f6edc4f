//! Listening on QUIC: connections, the streams in them, and what peers may take of us.
//!
//! **Where it sits.** Beside [`tcp`](crate::tcp): a bidirectional stream here is what a connection is there.
//!
//! **What it decides.** When a client has to show that it is where it says it is, how much memory a connection may
//! have, and when one is given up. **Never** reads what is sent over a stream.
//!
//! **Invariants.**
//! 1. Addresses that were not shown to be true have [`UNPROVED_MAX`] handshakes at most.
//! 2. A connection holds [`NARROW_BYTES`] in either direction until somebody vouches for it ([`Connection::widen`]),
//!    and [`WIDE_MAX`] of them [`WIDE_BYTES`].
//! 3. A client hears of a broker's crash from the next one at the same address, if that has the same certificate's key:
//!    at its first packet, not when it has heard of nobody for too long.
//! 4. What is read before a handshake is complete may be the replay of an earlier one: [`Handshake::done`] says
//!    when that is over.

use std::io;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, IdleTimeout, TokioRuntime,
    TransportConfig, VarInt,
};
pub use quinn::{RecvStream, SendStream};
use rustls_pki_types::CertificateDer;
use tokio::net::lookup_host;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::timeout;

use crate::entropy;
use crate::tcp::ListenError;
use crate::tls::credentials::{Credentials, Current};
use crate::tls::handshake::{HandshakeError, Handshakes, Place};
use crate::tls::identity::PeerIdentity;

/// Handshakes of addresses that may be somebody else's. Beyond it a client is first asked to
/// send back a token: a round trip more, and no memory of ours.
pub const UNPROVED_MAX: usize = 64;
/// What a connection may have under way in either direction before anybody vouches for it: requests
/// of a client that introduces itself.
pub const NARROW_BYTES: u32 = 256 << 10;
/// And after: a round trip of 250 ms then carries 32 MB a second.
pub const WIDE_BYTES: u32 = 8 << 20;
/// Connections that have that at once; one more goes on with [`NARROW_BYTES`]. 256 MiB in all.
pub const WIDE_MAX: usize = 32;
/// One stream alone has half of a connection's: it cannot keep all others waiting.
const STREAM_BYTES: u32 = WIDE_BYTES / 2;
/// First packets of clients that nobody has looked at yet, and their bytes.
const WAITING_MAX: usize = 1024;
const WAITING_BYTES: u64 = 16 << 10;
const WAITING_BYTES_ALL: u64 = 4 << 20;
/// What the system should keep while our thread is elsewhere: some milliseconds of a fast link.
const SOCKET_BYTES: usize = 4 << 20;
/// A connection's number: enough that nobody guesses one.
const NUMBER_BYTES: usize = 8;
/// For the last packets to leave at a stop.
const CLOSE_MAX: Duration = Duration::from_millis(500);

/// Why a stream or a connection is ended, as the other side is told. The numbers are ours: Kafka's
/// protocol has none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// Nothing is owed.
    Done = 0,
    /// As many are open as may be.
    Full = 1,
    /// What was sent is not Kafka's protocol, or breaks its limits.
    Refused = 2,
    /// Nothing was sent for too long.
    Idle = 3,
    /// The broker stops.
    Stopping = 4,
}

impl Reason {
    fn code(self) -> VarInt {
        VarInt::from_u32(self as u32)
    }

    fn text(self) -> &'static [u8] {
        match self {
            Reason::Done => b"",
            Reason::Full => b"as many are open as may be",
            Reason::Refused => b"refused",
            Reason::Idle => b"idle",
            Reason::Stopping => b"the broker is stopping",
        }
    }
}

/// What an operator may choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuicSettings {
    /// How sending adapts to the link.
    pub congestion: Congestion,
    /// Streams that one connection may have open at once.
    pub streams_max: u32,
    /// A connection of which nothing is heard for so long is gone. Clients send keep-alives within it.
    pub idle_max: Duration,
}

/// How sending adapts to the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Congestion {
    /// CUBIC, RFC 9438: slows down when packets are lost.
    Cubic,
    /// BBR: measures the link; for links that lose packets without being full. quinn calls its own experimental.
    Bbr,
}

/// Which of a connection's streams is sent first. It orders what waits to be sent: what does not fit into the connection's window is not
/// among it yet, so whoever fills that holds up the urgent as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Urgency {
    /// After all others.
    Bulk = -1,
    /// As everybody.
    Usual = 0,
    /// Before all others.
    Urgent = 1,
}

/// A socket that QUIC is listened to on.
#[derive(Debug)]
pub struct QuicListener {
    endpoint: Endpoint,
    local: SocketAddr,
    credentials: Credentials,
    exchanged: watch::Receiver<Arc<Current>>,
    handshakes: Handshakes,
    wide: Arc<Semaphore>,
    settings: quinn::ServerConfig,
}

/// A client that wants to come in.
#[derive(Debug)]
pub struct Arriving {
    incoming: quinn::Incoming,
    place: Place,
    local: SocketAddr,
    wide: Arc<Semaphore>,
}

/// A connection, whose handshake may still be under way. Clones are the same one.
#[derive(Clone, Debug)]
pub struct Connection {
    connection: quinn::Connection,
    local: SocketAddr,
    wide: Arc<Wide>,
}

#[derive(Debug)]
struct Wide {
    places: Arc<Semaphore>,
    asked: AtomicBool,
    /// Protects the place once there is one; taken once, never over an await.
    place: Mutex<Option<OwnedSemaphorePermit>>,
}

/// The rest of a handshake.
pub struct Handshake {
    complete: quinn::ZeroRttAccepted,
    place: Place,
}

impl QuicListener {
    /// Listens on the first address of `host`; port 0 takes a free one. `on` reads the socket: where it also drives the connections,
    /// no packet has to wake another thread.
    pub async fn bind(
        host: &str,
        port: u16,
        credentials: Credentials,
        settings: &QuicSettings,
        handshakes: Handshakes,
        on: &Handle,
    ) -> Result<QuicListener, ListenError> {
        let resolve = |source| ListenError::Resolve { host: host.to_owned(), port, source };
        let mut addresses = lookup_host((host, port)).await.map_err(resolve)?;
        let none = || resolve(io::Error::from(io::ErrorKind::AddrNotAvailable));
        let address = addresses.next().ok_or_else(none)?;
        let bind = |source| ListenError::Bind { address, source };
        let socket = UdpSocket::bind(address).map_err(bind)?;
        // Less is slower, and no reason not to serve.
        let _ = rustix::net::sockopt::set_socket_recv_buffer_size(&socket, SOCKET_BYTES);
        let _ = rustix::net::sockopt::set_socket_send_buffer_size(&socket, SOCKET_BYTES);
        let local = socket.local_addr().map_err(bind)?;
        let exchanged = credentials.subscribe();
        let current = credentials.current();
        let settings = server_settings(&current, settings);
        let (own, runtime) = (endpoint_settings(&current), Arc::new(TokioRuntime));
        let endpoint = {
            let _on = on.enter();
            Endpoint::new(own, Some(settings.clone()), socket, runtime)
        };
        Ok(QuicListener {
            endpoint: endpoint.map_err(bind)?,
            local,
            credentials,
            exchanged,
            handshakes,
            wide: Arc::new(Semaphore::new(WIDE_MAX)),
            settings,
        })
    }

    /// The address with its real port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// What it is served with.
    pub fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    /// The next client; none once the socket has failed. Cancel-safe: a client that is not taken
    /// stays in the queue.
    pub async fn accept(&mut self) -> Option<Arriving> {
        loop {
            let incoming = tokio::select! {
                incoming = self.endpoint.accept() => incoming?,
                Ok(()) = self.exchanged.changed() => {
                    self.settings.crypto = crypto(&self.exchanged.borrow_and_update());
                    self.endpoint.set_server_config(Some(self.settings.clone()));
                    continue;
                }
            };
            let proved = incoming.remote_address_validated();
            if !proved && self.handshakes.count() >= UNPROVED_MAX {
                // One that cannot be asked has been asked before.
                let _ = incoming.retry();
                continue;
            }
            let Some(place) = self.handshakes.try_enter() else {
                // It asks again by itself, in a second.
                incoming.ignore();
                continue;
            };
            let (local, wide) = (self.local, Arc::clone(&self.wide));
            return Some(Arriving { incoming, place, local, wide });
        }
    }

    /// Ends all connections that are still open.
    pub async fn close(self) {
        self.endpoint.close(Reason::Stopping.code(), Reason::Stopping.text());
        // Who has not heard of it then finds out by itself.
        let _ = timeout(CLOSE_MAX, self.endpoint.wait_idle()).await;
    }
}

impl Arriving {
    /// The client's address.
    pub fn remote(&self) -> SocketAddr {
        self.incoming.remote_address()
    }

    /// Turns the client away.
    pub fn refuse(self) {
        self.incoming.refuse();
    }

    /// Lets the client in. The connection is driven by the runtime on which this is called.
    pub fn accept(self) -> Result<(Connection, Handshake), HandshakeError> {
        let Arriving { incoming, place, local, wide } = self;
        let connecting = incoming.accept()?;
        let (connection, complete) =
            connecting.into_0rtt().map_err(|_| ()).expect("a server never has to wait for it");
        let wide = Wide { places: wide, asked: AtomicBool::new(false), place: Mutex::default() };
        Ok((Connection { connection, local, wide: Arc::new(wide) }, Handshake { complete, place }))
    }
}

impl Handshake {
    /// Returns when the handshake is complete: nothing that `connection` brings from then on is a replay.
    pub async fn done(self, connection: &Connection) -> Result<(), HandshakeError> {
        // What it resolves to says whether anything came early, and nothing of success.
        let resolved = self.place.limit(self.complete).await;
        match (resolved, connection.connection.close_reason()) {
            (Ok(_), None) => Ok(()),
            (Ok(_), Some(reason)) => Err(reason.into()),
            (Err(error), _) => {
                connection.close(Reason::Idle);
                Err(error)
            }
        }
    }
}

impl Connection {
    /// The client's address as of now: a client may move.
    pub fn remote(&self) -> SocketAddr {
        self.connection.remote_address()
    }

    /// Our address, as the client reached it.
    pub fn local(&self) -> SocketAddr {
        let ip: IpAddr = self.connection.local_ip().unwrap_or(self.local.ip());
        SocketAddr::new(ip, self.local.port())
    }

    /// The next stream that the client opens. Cancel-safe: one that is not taken stays in the queue.
    pub async fn accept(&self) -> Result<(RecvStream, SendStream), HandshakeError> {
        let (writer, reader) = self.connection.accept_bi().await?;
        Ok((reader, writer))
    }

    /// Whose certificate the client has shown; known when the handshake is complete.
    pub fn identity(&self) -> Option<PeerIdentity> {
        let chain = self.connection.peer_identity()?;
        let chain = chain.downcast::<Vec<CertificateDer<'static>>>().ok()?;
        PeerIdentity::of(&chain)
    }

    /// Gives the connection the memory of one that somebody vouches for, if there is some left. The
    /// first call counts.
    pub fn widen(&self) {
        if self.wide.asked.swap(true, Ordering::Relaxed) {
            return;
        }
        let Ok(place) = Arc::clone(&self.wide.places).try_acquire_owned() else { return };
        self.connection.set_receive_window(VarInt::from_u32(WIDE_BYTES));
        self.connection.set_send_window(u64::from(WIDE_BYTES));
        *self.wide.place.lock().unwrap_or_else(PoisonError::into_inner) = Some(place);
    }

    /// Ends the connection and all its streams at once.
    pub fn close(&self, reason: Reason) {
        self.connection.close(reason.code(), reason.text());
    }
}

/// Says what a stream is for; of what was written before, some may be sent as it was.
pub fn urge(writer: &SendStream, urgency: Urgency) {
    // One that has ended sends nothing any more.
    let _ = writer.set_priority(urgency as i32);
}

/// Ends a stream without reading or writing more.
pub fn abort(reader: &mut RecvStream, writer: &mut SendStream, reason: Reason) {
    // One that has ended already is what is wanted.
    let _ = reader.stop(reason.code());
    let _ = writer.reset(reason.code());
}

fn crypto(current: &Current) -> Arc<dyn quinn::crypto::ServerConfig> {
    let config = QuicServerConfig::try_from(Arc::clone(&current.config));
    Arc::new(config.expect("our provider has the suite that QUIC begins with"))
}

/// What lets us tell clients of a broker that crashed that their connections are no more: the words by which they know
/// that it is the same broker, and numbers that we do not take for anybody else's because we have not given them out.
fn endpoint_settings(current: &Current) -> EndpointConfig {
    let mut settings = EndpointConfig::new(Arc::new(current.resets.clone()));
    settings.cid_generator(|| -> Box<dyn ConnectionIdGenerator> { Box::new(Numbers) });
    settings
}

/// Numbers for connections, none of which is taken for somebody else's.
#[derive(Debug)]
struct Numbers;

impl ConnectionIdGenerator for Numbers {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&entropy::bytes::<NUMBER_BYTES>())
    }

    fn cid_len(&self) -> usize {
        NUMBER_BYTES
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

fn server_settings(current: &Current, settings: &QuicSettings) -> quinn::ServerConfig {
    let congestion: Arc<dyn ControllerFactory + Send + Sync> = match settings.congestion {
        Congestion::Cubic => Arc::new(CubicConfig::default()),
        Congestion::Bbr => Arc::new(BbrConfig::default()),
    };
    let idle = IdleTimeout::try_from(settings.idle_max).expect("the configuration limits it");
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(settings.streams_max))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_BYTES))
        .receive_window(VarInt::from_u32(NARROW_BYTES))
        .send_window(u64::from(NARROW_BYTES))
        .congestion_controller_factory(congestion);
    let mut server = quinn::ServerConfig::with_crypto(crypto(current));
    server
        .transport_config(Arc::new(transport))
        .migration(true)
        .max_incoming(WAITING_MAX)
        .incoming_buffer_size(WAITING_BYTES)
        .incoming_buffer_size_total(WAITING_BYTES_ALL);
    server
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use quinn::crypto::rustls::QuicClientConfig;
    use rustls::version::TLS13;
    use rustls::{ClientConfig, RootCertStore};
    use rustls_pki_types::pem::PemObject;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::Clock;
    use crate::tls::issue::self_made;
    use crate::tls::{ALPN, credentials::Purpose, provider};

    const WAIT_MAX: Duration = Duration::from_secs(20);
    const SETTINGS: QuicSettings = QuicSettings {
        congestion: Congestion::Cubic,
        streams_max: 4,
        idle_max: Duration::from_secs(60),
    };

    /// Serves the folder's certificate, and lets everybody in, until its runtime is gone: then nobody is told.
    fn serve(folder: &Path, port: u16) -> (Runtime, u16) {
        let runtime = Runtime::new().unwrap();
        let files = self_made(folder, &Clock::start()).unwrap();
        let credentials = Credentials::open(files, Purpose::Quic).unwrap();
        let bind = async {
            let on = Handle::current();
            loop {
                let bound = QuicListener::bind(
                    "127.0.0.1",
                    port,
                    credentials.clone(),
                    &SETTINGS,
                    Handshakes::default(),
                    &on,
                );
                match bound.await {
                    Ok(listener) => return listener,
                    // The one before is still letting go of the port.
                    Err(_) => tokio::time::sleep(Duration::from_millis(10)).await, // polls
                }
            }
        };
        let mut listener = runtime.block_on(async { timeout(WAIT_MAX, bind).await.unwrap() });
        let port = listener.local().port();
        runtime.spawn(async move {
            while let Some(arriving) = listener.accept().await {
                let (connection, handshake) = arriving.accept().unwrap();
                handshake.done(&connection).await.unwrap();
                let _streams = connection.accept().await;
            }
        });
        (runtime, port)
    }

    #[test]
    fn a_stream_may_be_more_urgent_than_others_or_less() {
        let folder = tempfile::tempdir().unwrap();
        let (_server, port) = serve(folder.path(), 0);
        let client = Runtime::new().unwrap();
        client.block_on(async {
            let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let config = trusting(folder.path());
            let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
            let connection = timeout(WAIT_MAX, connecting).await.unwrap().unwrap();
            let (mut writer, _reader) = connection.open_bi().await.unwrap();
            let mut seen = Vec::new();
            for urgency in [Urgency::Bulk, Urgency::Urgent, Urgency::Usual] {
                urge(&writer, urgency);
                seen.push(writer.priority().unwrap());
            }
            assert_eq!(seen, [-1, 1, 0]);
            writer.reset(VarInt::from_u32(0)).unwrap();
            urge(&writer, Urgency::Bulk);
        });
    }

    fn trusting(folder: &Path) -> quinn::ClientConfig {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_file(folder.join("self-made.pem")).unwrap();
        roots.add(own).unwrap();
        let mut config = ClientConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&TLS13])
            .unwrap()
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.alpn_protocols = vec![ALPN.to_vec()];
        quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).unwrap()))
    }

    #[test]
    fn a_client_hears_of_a_crash_from_the_broker_that_came_after_it() {
        let folder = tempfile::tempdir().unwrap();
        let (first, port) = serve(folder.path(), 0);
        let client = Runtime::new().unwrap();
        let (_endpoint, connection) = client.block_on(async {
            let endpoint = Endpoint::client("127.0.0.1:0".parse().unwrap()).unwrap();
            let address = SocketAddr::from(([127, 0, 0, 1], port));
            let config = trusting(folder.path());
            let connecting = endpoint.connect_with(config, address, "localhost").unwrap();
            (endpoint, timeout(WAIT_MAX, connecting).await.unwrap().unwrap())
        });
        first.shutdown_background();
        let (_second, _) = serve(folder.path(), port);
        let ended = client.block_on(async {
            let (mut writer, _reader) = connection.open_bi().await.unwrap();
            writer.write_all(b"still there?").await.unwrap();
            timeout(WAIT_MAX, connection.closed()).await
        });
        assert_eq!(ended.ok(), Some(quinn::ConnectionError::Reset));
    }
}
