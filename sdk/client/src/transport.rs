//! The one seam to the network: how a pair of byte streams to a broker comes about.
//!
//! Everything above holds a [`Reader`] and a [`Writer`] and cannot tell what carries them, so a
//! second transport is a second variant of [`Transport`] and one arm in [`Transport::dial`].

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

use crate::error::{ConnectError, Peer};

/// Bytes from a broker.
pub type Reader = Box<dyn AsyncRead + Send + Unpin>;
/// Bytes to a broker.
pub type Writer = Box<dyn AsyncWrite + Send + Unpin>;

/// What carries the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Transport {
    /// Plain TCP.
    #[default]
    Tcp,
}

impl Transport {
    /// Opens a stream to `peer` within `limit`, trying each of its addresses in turn.
    pub async fn dial(
        self,
        peer: &Peer,
        limit: Duration,
    ) -> Result<(Reader, Writer), ConnectError> {
        match self {
            Transport::Tcp => match timeout(limit, dial_tcp(peer)).await {
                Ok(outcome) => outcome,
                Err(_) => Err(ConnectError::Timeout { peer: peer.clone(), after: limit }),
            },
        }
    }
}

async fn dial_tcp(peer: &Peer) -> Result<(Reader, Writer), ConnectError> {
    let resolve = |source| ConnectError::Resolve { peer: peer.clone(), source: Arc::new(source) };
    let host = peer.address.host.as_str();
    let addresses = lookup_host((host, peer.address.port)).await.map_err(resolve)?;
    let mut last = std::io::Error::new(std::io::ErrorKind::NotFound, "the name has no address");
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(stream) => {
                // Requests are written whole; waiting to merge them only adds latency. A socket
                // that refuses the option still works.
                let _ = stream.set_nodelay(true);
                let (reader, writer) = stream.into_split();
                return Ok((Box::new(reader), Box::new(writer)));
            }
            Err(error) => last = error,
        }
    }
    Err(ConnectError::Unreachable { peer: peer.clone(), source: Arc::new(last) })
}
