//! QUIC's clients: a connection with streams, each of which is served as a connection of TCP is.
//!
//! **What it decides.** What is carried out before a handshake is complete: ApiVersions, Metadata and Fetch, which
//! change nothing and may therefore be replays. All else waits for it. And when a stream is too
//! quiet to be kept: one that was opened and says nothing has [`FIRST_MAX`], and no memory.
//!
//! **Invariants.** All of a connection lives on one reactor. A stream ends with its connection; at a stop every stream gets
//! what it is owed before the connection is closed.

use std::time::Duration;

use brooklet_io::quic::{self, Arriving, Connection, QuicListener, Reason, RecvStream, SendStream};
use brooklet_wire::version::Api;
use bytes::Bytes;
use tokio::io::AsyncReadExt;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::doors::Terms;
use super::{Server, Visit};
use crate::config::Transport;
use crate::connection::{CloseConnection, Dispatch, Dispatched, Started};
use crate::router::Router;
use crate::spans;

/// A stream is opened to be used.
const FIRST_MAX: Duration = Duration::from_secs(10);
/// For the last reply to be acknowledged at a stop: whoever is further away has lost it to the close.
const LAST_REPLY_MAX: Duration = Duration::from_millis(400);

/// Takes clients until the broker stops, and then waits for them.
pub(super) async fn accept(server: Server, mut listener: QuicListener, terms: Terms) {
    let context = &server.shared.context;
    let connections = TaskTracker::new();
    let mut number = 0u64;
    loop {
        let arriving = tokio::select! {
            biased;
            () = context.shutdown.cancelled() => break,
            // Cancel-safe: a client that is not taken stays in the queue.
            arriving = listener.accept() => arriving,
        };
        let Some(arriving) = arriving else {
            tracing::error!(listener = %listener.local(), "the socket for QUIC has failed");
            break;
        };
        number += 1;
        let remote = arriving.remote();
        let Ok(place) = server.places.clone().try_acquire_owned() else {
            tracing::warn!(%remote, "connection refused: as many are open as may be");
            arriving.refuse();
            continue;
        };
        if server.shared.too_often(remote).is_some() {
            arriving.refuse();
            continue;
        }
        let asks = listener.credentials().asks_clients();
        let task = serve(server.clone(), arriving, asks, terms.clone(), place);
        let span = spans::connection(number, Transport::Quic, remote);
        server.reactors.spawn(connections.track_future(task.instrument(span)));
    }
    connections.close();
    connections.wait().await;
    listener.close().await;
}

/// One connection, from its first packet on.
async fn serve(
    server: Server,
    arriving: Arriving,
    asks: bool,
    terms: Terms,
    _place: OwnedSemaphorePermit,
) {
    let shared = &server.shared;
    let (connection, handshake) = match arriving.accept() {
        Ok(accepted) => accepted,
        Err(error) => return shared.not_shaken(Transport::Quic, &error),
    };
    let _open = shared.context.metrics.connected();
    let (prove, proved) = watch::channel(false);
    let link = Link { server: server.clone(), connection, terms, proved };
    let mut handshake = Box::pin(handshake.done(&link.connection));
    // Who shows a certificate is known when it has been seen, and says nothing before.
    if asks {
        if let Err(error) = handshake.as_mut().await {
            return shared.not_shaken(Transport::Quic, &error);
        }
        prove.send_replace(true);
    }
    let mut streams = JoinSet::new();
    let mut number = 0u64;
    let reason = loop {
        let is_proved = *prove.borrow();
        tokio::select! {
            biased;
            () = shared.context.shutdown.cancelled() => break Reason::Stopping,
            // Polled again in the next turn, and no more once it is complete.
            done = handshake.as_mut(), if !is_proved => match done {
                Ok(()) => drop(prove.send_replace(true)),
                Err(error) => return shared.not_shaken(Transport::Quic, &error),
            },
            // A stream that panicked is closed, and the others go on.
            Some(_ended) = streams.join_next() => {}
            // Cancel-safe: a stream that is not taken stays in the queue.
            opened = link.connection.accept() => match opened {
                Ok((reader, writer)) => {
                    number += 1;
                    let task = link.clone().stream(reader, writer);
                    streams.spawn(task.instrument(spans::stream(number)));
                }
                Err(error) => {
                    tracing::debug!(%error, "disconnected");
                    break Reason::Done;
                }
            },
            () = sleep(shared.limits.idle_max), if streams.is_empty() => break Reason::Idle,
        }
    };
    // Each has a deadline of its own for what it owes.
    while streams.join_next().await.is_some() {}
    link.connection.close(reason);
}

/// What the streams of a connection share.
#[derive(Clone)]
struct Link {
    server: Server,
    connection: Connection,
    terms: Terms,
    proved: watch::Receiver<bool>,
}

impl Link {
    /// One stream, from its first bytes on.
    async fn stream(self, mut reader: RecvStream, mut writer: SendStream) {
        let shutdown = &self.server.shared.context.shutdown;
        let mut first = [0; 4];
        let read = tokio::select! {
            () = shutdown.cancelled() => return,
            // Dropped half way it loses nothing that matters: the stream ends either way.
            read = timeout(FIRST_MAX, reader.read(&mut first)) => read,
        };
        let count = match read {
            Ok(Ok(Some(count))) => count,
            // Opened and closed, or the connection is gone.
            Ok(Ok(None) | Err(_)) => return,
            Err(_silent) => return quic::abort(&mut reader, &mut writer, Reason::Idle),
        };
        let Ok(_place) = self.server.places.clone().try_acquire_owned() else {
            tracing::warn!("stream refused: as many are open as may be");
            return quic::abort(&mut reader, &mut writer, Reason::Full);
        };
        // Only now is there something to keep it for.
        let first = Bytes::copy_from_slice(first.get(..count).unwrap_or_default());
        Box::pin(self.converse(first, reader, writer)).await;
    }

    async fn converse(self, first: Bytes, mut reader: RecvStream, mut writer: SendStream) {
        let visit = Visit {
            shared: self.server.shared.clone(),
            local: self.connection.local(),
            remote: self.connection.remote(),
            terms: self.terms.clone(),
            proved: Some(self.proved.clone()),
        };
        let Some(router) = visit.router(self.connection.identity()) else {
            return quic::abort(&mut reader, &mut writer, Reason::Refused);
        };
        let dispatch = Proving { router, link: &self };
        let shared = &self.server.shared;
        let bytes = first.as_ref().chain(&mut reader);
        match shared.serve(bytes, &mut writer, &dispatch).await {
            Ok(()) => tracing::debug!("stream ended"),
            Err(error) => {
                tracing::debug!(%error, "stream closed");
                return quic::abort(&mut reader, &mut writer, Reason::Refused);
            }
        }
        if shared.context.shutdown.is_cancelled() {
            // Closing the connection would take back what is under way.
            let _ = timeout(LAST_REPLY_MAX, writer.stopped()).await;
        }
    }
}

/// Hands frames to a router, and holds back those that may be replays of what changes something.
struct Proving<'a> {
    router: Router,
    link: &'a Link,
}

impl Dispatch for Proving<'_> {
    async fn dispatch(
        &self,
        frame: Bytes,
        started: Started,
    ) -> Result<Dispatched, CloseConnection> {
        if !changes_nothing(&frame) && !self.router.peer.is_proved().await {
            return Err(CloseConnection { reason: "the handshake was not completed".to_owned() });
        }
        let dispatched = self.router.dispatch(frame, started).await?;
        // It speaks Kafka, and for somebody: from here on it may have a round trip's worth of memory.
        if *self.link.proved.borrow() && self.router.is_known() {
            self.link.connection.widen();
        }
        Ok(dispatched)
    }

    fn frame_bytes_max(&self) -> usize {
        self.router.frame_bytes_max()
    }

    async fn overdue(&self) {
        self.router.overdue().await;
    }

    async fn unmuted(&self) {
        self.router.unmuted().await;
    }
}

/// Whether a request may be carried out although another may have sent it before.
fn changes_nothing(frame: &Bytes) -> bool {
    let key = frame.first_chunk().map(|key| i16::from_be_bytes(*key));
    match key.and_then(Api::from_wire) {
        Some(api) => matches!(api, Api::ApiVersions | Api::Metadata | Api::Fetch),
        // Refused by the router, with its reason.
        None => true,
    }
}
