//! QUIC: one connection to each broker, and a stream in it for everybody who dials; another where it has no more streams.
//!
//! **What it decides.** When a connection is made and when it is given up: it lives as long as one of its streams, and
//! [`LINGER`] longer.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::task::{Context, Poll};
use std::time::Duration;
use std::{io, mem};

use bytes::Bytes;
use quinn::congestion::{BbrConfig, ControllerFactory, CubicConfig};
use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, Endpoint, IdleTimeout, TransportConfig, VarInt};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::lookup_host;
use tokio::time::{sleep, timeout};

use super::{Early, Outgoing, Stream, Writer, not_trusted};
use crate::config::{Address, Congestion, Transport, Urgency};
use crate::error::{ConnectError, Peer};

/// A connection whose last stream has ended is kept for so long: what was written last is acknowledged by then.
const LINGER: Duration = Duration::from_secs(1);
/// How long a stream may keep us waiting before another connection is made: several times the way to a broker and back.
const STREAM_WAIT_MAX: Duration = Duration::from_millis(500);
/// For the last packets to leave when a client takes leave.
const CLOSE_MAX: Duration = Duration::from_millis(500);
/// Keeps what lies between from forgetting us: the most forgetful forget UDP after thirty seconds.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// A broker of which nothing is heard for so long is gone.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// What a stream, and a connection, may have under way to us: 250 ms of 32 MB a second.
const STREAM_BYTES: u32 = 8 << 20;
const CONNECTION_BYTES: u32 = 16 << 20;

/// The sockets and connections of one client.
#[derive(Default)]
pub(super) struct Quic {
    congestion: Congestion,
    /// One for each family of addresses. Held for look-ups and updates only, never over a wait.
    endpoints: Mutex<BTreeMap<bool, Endpoint>>,
    /// One place for each broker. Held to find the place only; the place has its own lock, which is held while dialling, so
    /// that all streams share one connection.
    places: Mutex<BTreeMap<Address, Place>>,
}

type Place = Arc<tokio::sync::Mutex<Weak<Link>>>;

/// A connection, held by its streams.
struct Link {
    connection: quinn::Connection,
    /// Whether what was sent so far may still be refused as coming too early.
    early: Arc<AtomicBool>,
}

impl Drop for Link {
    fn drop(&mut self) {
        let connection = self.connection.clone();
        // Without a runtime there is nobody to send anything either.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(async move {
                sleep(LINGER).await;
                drop(connection);
            });
        }
    }
}

impl Quic {
    pub(super) fn new(congestion: Congestion) -> Quic {
        Quic { congestion, ..Quic::default() }
    }

    /// Opens a stream to `peer`, whose certificate has to have `name`, on the connection that there is or on a new one; with
    /// [`Early::NotTried`] always on a new one, as the last has come to nothing.
    pub(super) async fn dial(
        &self,
        peer: &Peer,
        config: Arc<QuicClientConfig>,
        name: &str,
        early: Early,
    ) -> Result<Stream, ConnectError> {
        let place = self.place(peer);
        let mut place = place.lock().await;
        let known = place.upgrade().filter(is_open).filter(|_| early != Early::NotTried);
        if let Some(link) = known {
            // A broker gives a connection so many streams. Where all of them are taken, another one has as many.
            if let Ok(opened) = timeout(STREAM_WAIT_MAX, open(peer, link)).await {
                return opened;
            }
        }
        let link = Arc::new(self.connect(peer, config, name, early).await?);
        *place = Arc::downgrade(&link);
        drop(place);
        open(peer, link).await
    }

    /// Opens a stream on the connection that there is, if it has one left.
    pub(super) async fn beside(&self, peer: &Peer) -> Result<Option<Stream>, ConnectError> {
        let place = self.place(peer);
        let known = place.lock().await.upgrade().filter(is_open);
        let Some(link) = known else { return Ok(None) };
        // A stream that has just ended makes room for another one, a way to the broker and back later.
        timeout(STREAM_WAIT_MAX, open(peer, link)).await.ok().transpose()
    }

    /// A connection that nobody else has.
    pub(super) async fn bare(
        &self,
        peer: &Peer,
        config: Arc<QuicClientConfig>,
        name: &str,
    ) -> Result<quinn::Connection, ConnectError> {
        let link = self.connect(peer, config, name, Early::Never).await?;
        Ok(link.connection.clone())
    }

    fn place(&self, peer: &Peer) -> Place {
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        places.entry(peer.address.clone()).or_default().clone()
    }

    async fn connect(
        &self,
        peer: &Peer,
        config: Arc<QuicClientConfig>,
        name: &str,
        early: Early,
    ) -> Result<Link, ConnectError> {
        let resolve =
            |source| ConnectError::Resolve { peer: peer.clone(), source: Arc::new(source) };
        let unreachable =
            |source| ConnectError::Unreachable { peer: peer.clone(), source: Arc::new(source) };
        let Address { host, port, .. } = &peer.address;
        let addresses = lookup_host((host.as_str(), *port)).await.map_err(resolve)?;
        let mut last =
            unreachable(io::Error::new(io::ErrorKind::NotFound, "the name has no address"));
        let mut settings = quinn::ClientConfig::new(config);
        settings.transport_config(Arc::new(transport_settings(self.congestion)));
        for address in addresses {
            let endpoint = self.endpoint(address).map_err(unreachable)?;
            let connecting = endpoint.connect_with(settings.clone(), address, name);
            let mut connecting = connecting.map_err(|error| not_trusted(peer, &error))?;
            if early == Early::Tried {
                connecting = match connecting.into_0rtt() {
                    Ok((connection, accepted)) => {
                        let early = Arc::new(AtomicBool::new(true));
                        let flag = Arc::clone(&early);
                        // Ends with the handshake, however it goes.
                        tokio::spawn(async move { flag.store(!accepted.await, Ordering::Relaxed) });
                        return Ok(Link { connection, early });
                    }
                    Err(connecting) => connecting,
                };
            }
            match connecting.await {
                Ok(connection) => return Ok(Link { connection, early: Arc::default() }),
                Err(ConnectionError::TimedOut) => {
                    last = ConnectError::Timeout { peer: peer.clone(), after: IDLE_MAX };
                }
                // Somebody has answered: another address is not a better one.
                Err(error) => return Err(not_trusted(peer, &error)),
            }
        }
        Err(last)
    }

    fn endpoint(&self, to: SocketAddr) -> io::Result<Endpoint> {
        let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(endpoint) = endpoints.get(&to.is_ipv6()) {
            return Ok(endpoint.clone());
        }
        let any: IpAddr =
            if to.is_ipv6() { Ipv6Addr::UNSPECIFIED.into() } else { Ipv4Addr::UNSPECIFIED.into() };
        let endpoint = Endpoint::client(SocketAddr::new(any, 0))?;
        endpoints.insert(to.is_ipv6(), endpoint.clone());
        Ok(endpoint)
    }

    pub(super) async fn close(&self) {
        let endpoints = {
            let mut endpoints = self.endpoints.lock().unwrap_or_else(PoisonError::into_inner);
            mem::take(&mut *endpoints)
        };
        for endpoint in endpoints.into_values() {
            endpoint.close(VarInt::from_u32(0), b"");
            // A broker that does not hear of it finds out by itself.
            let _ = timeout(CLOSE_MAX, endpoint.wait_idle()).await;
        }
    }
}

fn transport_settings(congestion: Congestion) -> TransportConfig {
    let idle = IdleTimeout::try_from(IDLE_MAX).expect("a minute fits");
    let mut settings = TransportConfig::default();
    settings
        // Brokers open no streams.
        .max_concurrent_bidi_streams(VarInt::from_u32(0))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .datagram_receive_buffer_size(None)
        .congestion_controller_factory(controller(congestion))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .max_idle_timeout(Some(idle))
        .stream_receive_window(VarInt::from_u32(STREAM_BYTES))
        .receive_window(VarInt::from_u32(CONNECTION_BYTES))
        .send_window(u64::from(CONNECTION_BYTES));
    settings
}

fn controller(congestion: Congestion) -> Arc<dyn ControllerFactory + Send + Sync> {
    match congestion {
        Congestion::Cubic => Arc::new(CubicConfig::default()),
        Congestion::Bbr => Arc::new(BbrConfig::default()),
    }
}

fn is_open(link: &Arc<Link>) -> bool {
    link.connection.close_reason().is_none()
}

async fn open(peer: &Peer, link: Arc<Link>) -> Result<Stream, ConnectError> {
    let opened = link.connection.open_bi().await;
    let (writer, reader) = opened.map_err(|error| not_trusted(peer, &error))?;
    let early = link.early.load(Ordering::Relaxed);
    let reader = Half { stream: reader, link: Arc::clone(&link) };
    let writer = Half { stream: writer, link };
    let writer = Writer(Outgoing::Quic(writer));
    Ok(Stream { reader: Box::new(reader), writer, transport: Transport::Quic, early })
}

/// One direction of a stream, which keeps its connection.
pub(super) struct Half<S> {
    stream: S,
    link: Arc<Link>,
}

impl Half<quinn::SendStream> {
    /// Says what the stream is for.
    pub(super) fn urge(&self, urgency: Urgency) {
        // One that has ended sends nothing any more.
        let _ = self.stream.set_priority(urgency as i32);
    }

    /// Writes all of it, without a copy.
    pub(super) async fn write_chunk(&mut self, chunk: Bytes) -> io::Result<()> {
        Ok(self.stream.write_chunk(chunk).await?)
    }
}

impl AsyncRead for Half<quinn::RecvStream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = AsyncRead::poll_read(Pin::new(&mut self.stream), context, buffer);
        // The stream knows that its connection is lost, and the connection why.
        read.map_err(|error| match self.link.connection.close_reason() {
            None => error,
            Some(reason) => io::Error::new(error.kind(), reason),
        })
    }
}

impl AsyncWrite for Half<quinn::SendStream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        AsyncWrite::poll_write(Pin::new(&mut self.stream), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_flush(Pin::new(&mut self.stream), context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), context)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use quinn::congestion::{Bbr, Cubic};

    use super::*;

    #[test]
    fn sending_is_controlled_as_the_settings_say() {
        let built = |congestion| controller(congestion).build(Instant::now(), 1200).into_any();
        assert!(built(Congestion::Cubic).is::<Cubic>());
        assert!(built(Congestion::Bbr).is::<Bbr>());
    }
}
