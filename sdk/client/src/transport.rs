//! The one seam to the network: how a pair of byte streams to a broker comes about.
//!
//! Everything above holds a [`Reader`] and a [`Writer`] and need not tell what carries them.
//!
//! **What it decides.** Over what a broker is reached. Where QUIC is not answered, TLS is tried, at the same port or the one that
//! the address names: some networks let no UDP through. It never falls back to TCP in the clear, and
//! never after somebody has answered and was not believed.

mod quic;
mod trust;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use rustls_pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout};
use tokio_rustls::TlsConnector;

use self::quic::Quic;
use self::trust::Trust;
use crate::config::{self, Address, Congestion, TlsConfig, Transport, Urgency};
use crate::error::{ConnectError, Peer};

/// Bytes from a broker.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to a broker.
pub struct Writer(Outgoing);

enum Outgoing {
    /// Over TCP and TLS.
    Socket(Box<dyn AsyncWrite + Send + Unpin>),
    /// Over QUIC, which keeps what was written until it has arrived: a frame that is handed over need not be copied.
    Quic(quic::Half<quinn::SendStream>),
}

impl Writer {
    /// Writes a whole frame. Dropped half way, a part of it has been written.
    pub async fn write_frame(&mut self, frame: Bytes) -> io::Result<()> {
        match &mut self.0 {
            Outgoing::Socket(socket) => {
                socket.write_all(&frame).await?;
                socket.flush().await
            }
            Outgoing::Quic(half) => half.write_chunk(frame).await,
        }
    }

    /// Says what this way is for.
    pub fn urge(&self, urgency: Urgency) {
        match &self.0 {
            Outgoing::Socket(_) => {}
            Outgoing::Quic(half) => half.urge(urgency),
        }
    }

    /// Writes to anything that copies what it is given, or has passed it on when it says so.
    pub fn socket(socket: impl AsyncWrite + Send + Unpin + 'static) -> Writer {
        Writer(Outgoing::Socket(Box::new(socket)))
    }
}

impl AsyncWrite for Writer {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut self.0 {
            Outgoing::Socket(socket) => Pin::new(socket).poll_write(context, bytes),
            Outgoing::Quic(half) => Pin::new(half).poll_write(context, bytes),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Outgoing::Socket(socket) => Pin::new(socket).poll_flush(context),
            Outgoing::Quic(half) => Pin::new(half).poll_flush(context),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.0 {
            Outgoing::Socket(socket) => Pin::new(socket).poll_shutdown(context),
            Outgoing::Quic(half) => Pin::new(half).poll_shutdown(context),
        }
    }
}

/// How long UDP may stay without an answer before TLS is tried: several packets have been lost by then.
pub const QUIC_ANSWER_MAX: Duration = Duration::from_secs(3);
/// How long an address at which UDP was not answered is reached over TLS at once.
const BLOCKED_REMEMBERED: Duration = Duration::from_secs(60);
/// Such addresses that are remembered; beyond it the memory starts anew.
const BLOCKED_MAX: usize = 1000;

/// A way to a broker.
pub struct Stream {
    /// Its bytes.
    pub reader: Reader,
    /// Ours.
    pub writer: Writer,
    /// What carries them.
    pub transport: Transport,
    /// Whether what is written first may be refused as coming too early (0-RTT); another [`Dialer::dial`] is then due.
    pub early: bool,
}

/// A way to brokers that is not the network's, as from inside a broker's own process.
///
/// Nothing is added to what goes over it: it is as private, and as certain of who is at the other end, as the way itself.
pub trait Way: fmt::Debug + Send + Sync {
    /// Opens one connection. Dropping the future gives up; a client does so after
    /// [`connect_timeout`](crate::ClientConfig::connect_timeout).
    fn open<'a>(&'a self, to: &'a Address) -> Opening<'a>;
}

/// Both directions of a connection, once it is there.
pub type Opening<'a> = Pin<Box<dyn Future<Output = io::Result<(Reader, Writer)>> + Send + 'a>>;

/// Whether something may be sent with the first packet where an earlier session allows it.
///
/// The first request of a connection asks for versions and may be repeated by whoever has seen it; the next is sent when
/// it has been answered, and the handshake is complete by then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Early {
    /// If it can be.
    Tried,
    /// The handshake comes first, on a connection of its own: what was sent early has come to nothing.
    NotTried,
    /// The handshake comes first, for everybody who dials: whoever passes on requests of others cannot know which of them
    /// may be repeated. Not to be mixed with the other two in one [`Dialer`].
    Never,
}

/// Opens ways to brokers.
pub struct Dialer {
    trust: Trust,
    quic: Quic,
    /// Where UDP was not answered, and when. Held for look-ups and updates only, never over a wait.
    blocked: Mutex<BTreeMap<Address, Instant>>,
    /// What is taken instead of all of these.
    way: Option<Arc<dyn Way>>,
}

impl Default for Dialer {
    fn default() -> Dialer {
        Dialer::new(TlsConfig::default(), BTreeSet::new())
    }
}

impl Dialer {
    /// One that believes whom `tls` says, or, with pins, whoever has one of those certificates.
    pub fn new(tls: TlsConfig, pins: BTreeSet<config::Pin>) -> Dialer {
        Dialer {
            trust: Trust::new(tls, pins),
            quic: Quic::default(),
            blocked: Mutex::default(),
            way: None,
        }
    }

    /// The same, with sending over QUIC adapted to the link in this manner.
    pub fn adapting(self, congestion: Congestion) -> Dialer {
        Dialer { quic: Quic::new(congestion), ..self }
    }

    /// The same, with all brokers reached by `way`, whatever their addresses say.
    pub fn by(self, way: Option<Arc<dyn Way>>) -> Dialer {
        Dialer { way, ..self }
    }

    /// Opens a way to `peer` within `limit`, trying each of its addresses in turn.
    pub async fn dial(
        &self,
        peer: &Peer,
        limit: Duration,
        early: Early,
    ) -> Result<Stream, ConnectError> {
        if let Some(way) = &self.way {
            return within(peer, limit, by(way.as_ref(), peer)).await;
        }
        match peer.address.transport {
            Transport::Tcp => within(peer, limit, self.dial_tcp(peer)).await,
            Transport::Tls => within(peer, limit, self.dial_tls(peer, peer.address.port)).await,
            Transport::Quic => self.dial_quic(peer, limit, early).await,
        }
    }

    /// Opens another stream in the QUIC connection that there is to `peer`. None where there is no connection, or it has no
    /// more streams: none is made for it.
    pub async fn beside(&self, peer: &Peer) -> Result<Option<Stream>, ConnectError> {
        self.quic.beside(peer).await
    }

    /// A QUIC connection of its own, with the settings that all others have, for whoever speaks something else over it: what
    /// QUIC alone carries can be measured so.
    pub async fn bare(&self, peer: &Peer) -> Result<quinn::Connection, ConnectError> {
        within(
            peer,
            QUIC_ANSWER_MAX,
            self.quic.bare(peer, self.trust.quic(peer)?, self.trust.name(peer)),
        )
        .await
    }

    /// Takes leave of all brokers that were reached over QUIC.
    pub async fn close(&self) {
        self.quic.close().await;
    }

    async fn dial_tcp(&self, peer: &Peer) -> Result<Stream, ConnectError> {
        let stream = connect(peer, peer.address.port).await?;
        let (reader, writer) = stream.into_split();
        let (reader, writer) = (Box::new(reader), Writer::socket(writer));
        Ok(Stream { reader, writer, transport: Transport::Tcp, early: false })
    }

    async fn dial_tls(&self, peer: &Peer, port: u16) -> Result<Stream, ConnectError> {
        let config = self.trust.tls(peer)?;
        let name = server_name(peer, self.trust.name(peer))?;
        let stream = connect(peer, port).await?;
        let shaken = TlsConnector::from(config).connect(name, stream).await;
        let stream = shaken.map_err(|error| not_trusted(peer, &error))?;
        let (reader, writer) = tokio::io::split(stream);
        let (reader, writer) = (Box::new(reader), Writer::socket(writer));
        Ok(Stream { reader, writer, transport: Transport::Tls, early: false })
    }

    async fn dial_quic(
        &self,
        peer: &Peer,
        limit: Duration,
        early: Early,
    ) -> Result<Stream, ConnectError> {
        let (config, name) = (self.trust.quic(peer)?, self.trust.name(peer));
        let port = peer.address.tls_port.unwrap_or(peer.address.port);
        let began = Instant::now();
        let is_blocked = self.blocked(|blocked| {
            blocked.get(&peer.address).is_some_and(|since| since.elapsed() < BLOCKED_REMEMBERED)
        });
        if is_blocked {
            let stream = within(peer, limit, self.dial_tls(peer, port)).await;
            if stream.is_err() {
                // Perhaps it is the other way round by now.
                self.blocked(|blocked| blocked.remove(&peer.address));
            }
            return stream;
        }
        let quic_limit = limit.min(QUIC_ANSWER_MAX);
        let dialled = within(peer, quic_limit, self.quic.dial(peer, config, name, early)).await;
        let Err(ConnectError::Timeout { .. }) = &dialled else { return dialled };
        let quic = dialled.err().map(Box::new).expect("it timed out");
        let left = limit.saturating_sub(began.elapsed());
        match within(peer, left, self.dial_tls(peer, port)).await {
            Ok(stream) => {
                tracing::warn!(%peer, port, "QUIC is not answered: TLS is used instead");
                self.blocked(|blocked| {
                    if blocked.len() >= BLOCKED_MAX {
                        blocked.clear();
                    }
                    blocked.insert(peer.address.clone(), Instant::now())
                });
                Ok(stream)
            }
            Err(tls) => Err(ConnectError::NeitherNor { quic, tls: Box::new(tls) }),
        }
    }

    fn blocked<T>(&self, act: impl FnOnce(&mut BTreeMap<Address, Instant>) -> T) -> T {
        act(&mut self.blocked.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn by(way: &dyn Way, peer: &Peer) -> Result<Stream, ConnectError> {
    let opened = way.open(&peer.address).await;
    let (reader, writer) = opened.map_err(|error| ConnectError::Unreachable {
        peer: peer.clone(),
        source: Arc::new(error),
    })?;
    Ok(Stream { reader, writer, transport: peer.address.transport, early: false })
}

async fn within<T>(
    peer: &Peer,
    limit: Duration,
    dial: impl Future<Output = Result<T, ConnectError>>,
) -> Result<T, ConnectError> {
    match timeout(limit, dial).await {
        Ok(outcome) => outcome,
        Err(_) => Err(ConnectError::Timeout { peer: peer.clone(), after: limit }),
    }
}

fn not_trusted(peer: &Peer, error: &dyn fmt::Display) -> ConnectError {
    ConnectError::NotTrusted { peer: peer.clone(), reason: error.to_string().into() }
}

fn server_name(peer: &Peer, name: &str) -> Result<ServerName<'static>, ConnectError> {
    let name = ServerName::try_from(name.to_owned());
    name.map_err(|error| not_trusted(peer, &error))
}

async fn connect(peer: &Peer, port: u16) -> Result<TcpStream, ConnectError> {
    let resolve = |source| ConnectError::Resolve { peer: peer.clone(), source: Arc::new(source) };
    let host = peer.address.host.as_str();
    let addresses = lookup_host((host, port)).await.map_err(resolve)?;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written whole; waiting to merge them only adds latency. A socket
                // that refuses the option still works.
                let _ = stream.set_nodelay(true);
                return Ok(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Unreachable { peer: peer.clone(), source: Arc::new(last) })
}
