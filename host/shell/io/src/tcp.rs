//! Listening on TCP.
//!
//! **Decides** how a socket is set up, and which failures of `accept` pass. **Never** reads.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream, lookup_host};

/// How long to leave `accept` alone when the process is out of file descriptors or memory. The
/// system would report the same connection again at once, and we would spin.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// A listening socket.
#[derive(Debug)]
pub struct Listener {
    socket: TcpListener,
    local: SocketAddr,
}

/// An address that cannot be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// The host's name leads nowhere.
    #[error("listen on {host}:{port}: the name has no address: {source}")]
    Resolve { host: String, port: u16, source: io::Error },
    /// Another process has the port, or it needs a privilege, or the address is not ours.
    #[error("listen on {address}: {source}")]
    Bind { address: SocketAddr, source: io::Error },
}

impl Listener {
    /// Listens on the first address of `host`; port 0 takes a free one.
    pub async fn bind(host: &str, port: u16) -> Result<Listener, ListenError> {
        let resolve = |source| ListenError::Resolve { host: host.to_owned(), port, source };
        let mut addresses = lookup_host((host, port)).await.map_err(resolve)?;
        let none = || resolve(io::Error::from(io::ErrorKind::AddrNotAvailable));
        let address = addresses.next().ok_or_else(none)?;
        let bind = |source| ListenError::Bind { address, source };
        let socket = TcpListener::bind(address).await.map_err(bind)?;
        let local = socket.local_addr().map_err(bind)?;
        Ok(Listener { socket, local })
    }

    /// The address with its real port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// The next client. Cancel-safe: a client that is not taken stays in the queue.
    pub async fn accept(&self) -> (TcpStream, SocketAddr) {
        loop {
            match self.socket.accept().await {
                Ok((stream, peer)) => {
                    // Replies are whole when they are written: there is nothing to wait for. A
                    // failure means that the client has already gone, which reading will find.
                    let _ = stream.set_nodelay(true);
                    return (stream, peer);
                }
                // The client left before we came; the next one is waiting.
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_exhausted) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
            }
        }
    }

    /// The socket itself, for a server that accepts by itself.
    pub fn into_socket(self) -> TcpListener {
        self.socket
    }
}

/// Raises the process's limit of open files to what the system allows: each connection is one, and
/// each partition a few.
pub fn raise_open_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    // Where it is not allowed, what there is has to do.
    let _ = setrlimit(Resource::Nofile, raised);
}
