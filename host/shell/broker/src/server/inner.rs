//! The way in from the broker's own process: no socket, no encryption, no login.
//!
//! Whoever holds an [`InnerDoor`] could read the broker's memory just as well, so there is nobody to be asked for proof.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Weak};

use tokio::io::{DuplexStream, duplex, split};
use tracing::Instrument;

use super::doors::Terms;
use super::{Server, Visit};
use crate::spans;

/// What either side may be ahead of the other: a few batches, so that a thread is not woken for each piece of one.
const AHEAD_BYTES_MAX: usize = 256 << 10;

/// Lets clients in from the broker's own process. Clones are the same door.
#[derive(Clone)]
pub struct InnerDoor {
    /// It is not kept from ending.
    server: Weak<Server>,
    /// What they are told to connect to, if they ask: where others come in.
    address: SocketAddr,
}

impl fmt::Debug for InnerDoor {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("InnerDoor").field("address", &self.address).finish_non_exhaustive()
    }
}

impl InnerDoor {
    pub(crate) fn new(server: &Arc<Server>, address: SocketAddr) -> InnerDoor {
        InnerDoor { server: Arc::downgrade(server), address }
    }

    /// Opens a connection: what is written to it the broker reads. It takes no place from those who come over a network.
    ///
    /// # Errors
    ///
    /// `NotConnected` when the broker has ended.
    pub fn enter(&self) -> io::Result<DuplexStream> {
        let server = self.server.upgrade().ok_or(io::ErrorKind::NotConnected)?;
        let Server { shared, tasks, reactors, .. } = server.as_ref();
        let (ours, theirs) = duplex(AHEAD_BYTES_MAX);
        let visit = Visit {
            shared: Arc::clone(shared),
            local: self.address,
            remote: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            terms: Terms::inner(),
            proved: None,
        };
        let task = async move {
            let shared = Arc::clone(&visit.shared);
            let _open = shared.context.metrics.connected();
            let Some(router) = visit.router(None) else { return };
            let (reader, writer) = split(ours);
            shared.converse(reader, writer, &router).await;
        };
        reactors.spawn(tasks.track_future(task.instrument(spans::inner_connection())));
        Ok(theirs)
    }
}
