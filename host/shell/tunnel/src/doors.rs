//! The doors of a tunnel: a listener for each broker, and who is let through.
//!
//! **Decides** which port a broker has, and where it is dialled. **Never** closes a door before the tunnel ends: what clients
//! remember stays right, also where a broker has moved.
//!
//! **Invariants.** At most [`DOORS_MAX`] doors, and [`CLIENTS_MAX`] clients at all of them together; a client beyond waits
//! to be taken.

use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener as Socket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use brooklet_client::transport::{Dialer, Early, Stream};
use brooklet_client::{Address, ConnectError, Peer};
use brooklet_types::BrokerId;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::connection::{self, ConnectionError};
use crate::rewrite::{DoorError, Node};

/// Brokers of the largest cluster that one tunnel is made for.
pub(crate) const DOORS_MAX: usize = 1024;
/// Clients of one tunnel: each has two sockets' worth of buffers, and a stream of its broker's.
const CLIENTS_MAX: usize = 1024;
/// Ports that are tried behind the last one before any free one is taken.
const PORTS_TRIED_MAX: usize = 16;
/// How long to leave `accept` alone when the process is out of file descriptors or memory.
const EXHAUSTED_PAUSE: Duration = Duration::from_millis(100);

/// What all doors share.
pub(crate) struct Doors {
    /// Where to start.
    to: Vec<Address>,
    dialer: Dialer,
    connect_timeout: Duration,
    /// Where the first door is.
    first: SocketAddr,
    /// Whether ports follow the first one's; not where that was any free one.
    consecutive: bool,
    clients: Arc<Semaphore>,
    pub(crate) tasks: TaskTracker,
    stop: CancellationToken,
    /// Held for look-ups and updates only, never over a wait: what is called with it does not block.
    known: Mutex<Known>,
}

struct Known {
    doors: BTreeMap<Node, Arc<Door>>,
    /// The door that was there first, for whoever of `to` answers.
    bootstrap: Arc<Door>,
    /// The last port that was given away.
    last_port: u16,
}

/// A listener, and what it leads to.
struct Door {
    port: u16,
    /// Whose it is; nobody's in particular where clients begin.
    node: Option<Node>,
    /// Tried in this order. Held as `known` is.
    targets: Mutex<Vec<Address>>,
    /// Whether the last dial failed: said once, not for every client that tries.
    failing: AtomicBool,
}

impl Doors {
    /// Opens the first door on `socket`.
    pub(crate) fn open(
        socket: Socket,
        consecutive: bool,
        to: Vec<Address>,
        dialer: Dialer,
        connect_timeout: Duration,
        stop: CancellationToken,
    ) -> io::Result<Arc<Doors>> {
        let first = socket.local_addr()?;
        let bootstrap = Arc::new(Door::new(first.port(), None, to.clone()));
        let known = Known {
            doors: BTreeMap::new(),
            bootstrap: Arc::clone(&bootstrap),
            last_port: first.port(),
        };
        let doors = Arc::new(Doors {
            to,
            dialer,
            connect_timeout,
            first,
            consecutive,
            clients: Arc::new(Semaphore::new(CLIENTS_MAX)),
            tasks: TaskTracker::new(),
            stop,
            known: Mutex::new(known),
        });
        doors.attend(socket, bootstrap)?;
        Ok(doors)
    }

    /// The port of the door to a node that is said to be at `address`. Opens it where there is none.
    pub(crate) fn port_to(
        self: &Arc<Doors>,
        node: Node,
        address: Address,
    ) -> Result<u16, DoorError> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(door) = known.doors.get(&node) {
            self.note(door, node, address);
            return Ok(door.port);
        }
        if self.is_where_clients_begin(&known, node, &address) {
            let bootstrap = Arc::clone(&known.bootstrap);
            let port = bootstrap.port;
            known.doors.insert(node, bootstrap);
            return Ok(port);
        }
        if known.doors.len() >= DOORS_MAX {
            return Err(DoorError::TooMany { limit: DOORS_MAX });
        }
        let socket = self.bind(known.last_port)?;
        let port = socket.local_addr()?.port();
        let door = Arc::new(Door::new(port, Some(node), vec![address.clone()]));
        self.attend(socket, Arc::clone(&door))?;
        known.last_port = port;
        known.doors.insert(node, door);
        tracing::info!(?node, %address, port, "a door was opened");
        Ok(port)
    }

    /// The addresses of all doors, the first one first.
    pub(crate) fn all(&self) -> Vec<SocketAddr> {
        let known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let ports = known.doors.values().map(|door| door.port);
        let others = ports.filter(|port| *port != known.bootstrap.port);
        let ports = std::iter::once(known.bootstrap.port).chain(others);
        ports.map(|port| SocketAddr::new(self.first.ip(), port)).collect()
    }

    /// Takes leave of all brokers.
    pub(crate) async fn close(&self) {
        self.dialer.close().await;
    }

    /// Whether the broker that we were told to reach is this one: then one door will do. Of several nobody knows which.
    fn is_where_clients_begin(&self, known: &Known, node: Node, address: &Address) -> bool {
        let taken = known.doors.values().any(|door| Arc::ptr_eq(door, &known.bootstrap));
        let [to] = self.to.as_slice() else { return false };
        matches!(node, Node::Broker(_)) && !taken && leads_to(to, address)
    }

    /// Remembers where a node is said to be by now.
    fn note(&self, door: &Door, node: Node, address: Address) {
        let mut targets = door.targets.lock().unwrap_or_else(PoisonError::into_inner);
        if targets.first().is_some_and(|target| leads_to(target, &address)) {
            return;
        }
        tracing::info!(?node, %address, port = door.port, "a broker has moved");
        // Where clients begin, what we were told stays, so that a wrong address cannot cut us off.
        let told = self.to.iter().filter(|_| door.node.is_none()).cloned();
        *targets =
            std::iter::once(address.clone()).chain(told.filter(|to| *to != address)).collect();
    }

    fn bind(&self, last_port: u16) -> io::Result<Socket> {
        let ip = self.first.ip();
        let behind = (last_port..u16::MAX).skip(1).take(PORTS_TRIED_MAX);
        let mut behind = behind.filter(|_| self.consecutive);
        // Taken by somebody else, or not ours to take: either way another will do.
        let next = behind.find_map(|port| Socket::bind(SocketAddr::new(ip, port)).ok());
        next.map_or_else(|| Socket::bind(SocketAddr::new(ip, 0)), Ok)
    }

    /// Takes clients at a door until the tunnel stops.
    fn attend(self: &Arc<Doors>, socket: Socket, door: Arc<Door>) -> io::Result<()> {
        socket.set_nonblocking(true)?;
        let listener = TcpListener::from_std(socket)?;
        let doors = Arc::clone(self);
        // Boxed, as clients open doors.
        let attending: Pin<Box<dyn Future<Output = ()> + Send>> = Box::pin(async move {
            let stop = doors.stop.clone();
            // A client that is not taken stays in the socket's queue.
            tokio::select! {
                () = stop.cancelled() => {}
                () = doors.accept(&listener, door) => {}
            }
        });
        self.tasks.spawn(attending);
        Ok(())
    }

    async fn accept(self: &Arc<Doors>, listener: &TcpListener, door: Arc<Door>) {
        loop {
            let place = Arc::clone(&self.clients).acquire_owned().await.expect("never closed");
            let client = loop {
                match listener.accept().await {
                    Ok((client, _)) => break client,
                    // The client left before we came; the next one is waiting.
                    Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                    Err(_exhausted) => tokio::time::sleep(EXHAUSTED_PAUSE).await,
                }
            };
            let (doors, door) = (Arc::clone(self), Arc::clone(&door));
            self.tasks.spawn(async move {
                doors.let_through(client, &door).await;
                drop(place);
            });
        }
    }

    async fn let_through(self: Arc<Doors>, client: TcpStream, door: &Door) {
        // Requests and answers are whole when they are written. A client that has gone already is found when it is read from.
        let _ = client.set_nodelay(true);
        let dialled = tokio::select! {
            dialled = self.dial(door) => dialled,
            // Nothing was asked yet.
            () = self.stop.cancelled() => return,
        };
        // Why not has been said, and the client sees that its connection is closed.
        let Some((peer, stream)) = dialled else { return };
        let Ok(reached) = connection::reached_at(&client) else { return };
        let transport = stream.transport;
        let mut local = |node, host: &str, port| {
            let address = Address::new(transport, host, port);
            let port = self.port_to(node, address)?;
            Ok(SocketAddr::new(reached, port))
        };
        match connection::serve(client, stream, &mut local, &self.stop).await {
            Ok(()) => {}
            // Clients leave as they like.
            Err(error @ ConnectionError::Client(_)) => tracing::debug!(%peer, "closed: {error}"),
            Err(error @ ConnectionError::Idle(_)) => tracing::info!(%peer, "closed: {error}"),
            Err(
                error @ (ConnectionError::Broker(_)
                | ConnectionError::Requests(_)
                | ConnectionError::Answers(_)
                | ConnectionError::Stalled(_)
                | ConnectionError::Undrained),
            ) => tracing::warn!(%peer, "closed: {error}"),
        }
    }

    /// Reaches what is behind a door. Where nobody can be, that is said, once until somebody is.
    async fn dial(&self, door: &Door) -> Option<(Peer, Stream)> {
        let targets = door.targets.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let id = match door.node {
            Some(Node::Broker(id) | Node::Controller(id)) => Some(BrokerId(id)),
            None => None,
        };
        let mut failures: Vec<ConnectError> = Vec::new();
        for address in targets {
            let peer = Peer { address, id };
            match self.dialer.dial(&peer, self.connect_timeout, Early::Never).await {
                Ok(stream) => {
                    if door.failing.swap(false, Ordering::Relaxed) {
                        tracing::info!(%peer, transport = stream.transport.scheme(), "reached again");
                    }
                    return Some((peer, stream));
                }
                Err(error) => failures.push(error),
            }
        }
        let first = !door.failing.swap(true, Ordering::Relaxed);
        for error in &failures {
            if first {
                tracing::warn!(port = door.port, "{error}; clients are closed until that changes");
            } else {
                tracing::debug!(port = door.port, "{error}");
            }
        }
        None
    }
}

impl Door {
    fn new(port: u16, node: Option<Node>, targets: Vec<Address>) -> Door {
        Door { port, node, targets: Mutex::new(targets), failing: AtomicBool::new(false) }
    }
}

/// Whether what we dial is what a broker says of itself. What it says has the port of the transport that it was asked over.
fn leads_to(dialled: &Address, said: &Address) -> bool {
    let same_host = dialled.host.eq_ignore_ascii_case(&said.host);
    let tls_port = dialled.tls_port.unwrap_or(dialled.port);
    let same_port = match said.transport {
        transport if transport == dialled.transport => said.port == dialled.port,
        brooklet_client::Transport::Tls => said.port == tls_port,
        brooklet_client::Transport::Tcp | brooklet_client::Transport::Quic => false,
    };
    same_host && same_port
}

#[cfg(test)]
mod tests;
