//! One client's connection: frames in, replies out, in order.
//!
//! **Where it sits.** Between a socket and the router. It knows what a frame is, and nothing of
//! what one says.
//!
//! **What it decides.** When to read on, when to give up on a peer, and how much memory it may take.
//! Pushing back is not reading: a slot for the request, and the bytes of its frame, are taken
//! before it is read.
//!
//! **Invariants.** Replies leave in the order of their requests. A request that was accepted is
//! answered also when the broker stops or the client has closed its sending side, within
//! `drain_max`. Memory follows what arrived and not what was promised. Nothing is spawned here, so
//! nothing can be leaked: reading and writing are two halves of one task.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use brooklet_types::limits;

use crate::budget::{Budget, Charge};

mod replies;

pub use replies::{Outlet, Socket};

/// What an idle connection keeps ready: most requests that are not Produce fit.
const IDLE_BUFFER_BYTES: usize = 1024;
/// How long a connection keeps a buffer of the size of its last frame: a busy one reads a frame with
/// one system call, an idle one costs next to nothing.
const KEEP_BUFFER: Duration = Duration::from_secs(5);
/// Frames up to here are not charged to the broker's budget: ten thousand of them are 640 MB that
/// nobody has at once, and heartbeats must pass when the budget is spent.
const UNCHARGED_BYTES: usize = 64 << 10;
/// What is reserved at once for a frame whose length is known. Beyond it the buffer doubles as
/// bytes arrive, so a promise of 100 MiB costs one.
const RESERVE_BYTES_MAX: usize = 1 << 20;
/// A request is worked on while this waits; polled only when all answers before it are there.
pub type Pending = Pin<Box<dyn Future<Output = Answer> + Send>>;

/// What becomes of one request.
#[derive(Debug, PartialEq, Eq)]
pub enum Answer {
    /// These pieces, one after the other, are the whole frame.
    Reply(Vec<Bytes>),
    /// The same, and then the connection closes: there is nothing more to talk about.
    Last(Vec<Bytes>),
    /// The client expects no reply (Produce with `acks=0`).
    Silence,
    /// The request cannot be answered: close, as Kafka does.
    Close,
}

/// Hands a frame to whoever answers it.
pub trait Dispatch: Send + Sync {
    /// Returns once the request has its place in line; the answer comes later. With `alone` false,
    /// earlier requests that are not Produce have not been carried out: a request that depends on
    /// them must do nothing before the pending answer is polled.
    fn dispatch(
        &self,
        frame: Bytes,
        started: Started,
    ) -> impl Future<Output = Result<Dispatched, CloseConnection>> + Send;

    /// The longest frame that is taken now, where that is less than the limits allow: little is kept for a peer
    /// that nobody knows.
    fn frame_bytes_max(&self) -> usize {
        usize::MAX
    }

    /// Returns when the peer may go on: at once, but for one that has taken too much.
    fn unmuted(&self) -> impl Future<Output = ()> + Send {
        std::future::ready(())
    }

    /// Returns when the peer should long have said who it is; never for one that is known or need not be.
    fn overdue(&self) -> impl Future<Output = ()> + Send {
        std::future::pending()
    }
}

/// Whether a request may start before its turn to be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Started {
    /// All requests before it have been carried out or are in line.
    Now,
    /// Requests before it wait to be carried out, and it must wait with them.
    InTurn,
}

/// A request that has its place in line.
pub struct Dispatched {
    /// The answer to come.
    pub pending: Pending,
    /// Whether it is only waiting (a Produce in a shard's queue), so that the next may start.
    pub in_line: bool,
}

/// The frame is no request that could be answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloseConnection {
    /// What was wrong.
    pub reason: String,
}

/// What one connection may take, and how long it may take it for.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// The longest frame. Kafka's `socket.request.max.bytes`.
    pub frame_bytes_max: usize,
    /// Requests being worked on at once.
    pub requests_in_flight_max: usize,
    /// Bytes of requests being worked on at once.
    pub bytes_in_flight_max: usize,
    /// Nothing asked and nothing owed for so long: close. Kafka's `connections.max.idle.ms`.
    pub idle_max: Duration,
    /// Half a frame, and nothing more for so long: close.
    pub stall_max: Duration,
    /// The same while the broker's budget is short.
    pub stall_short_max: Duration,
    /// A reply of which the client takes nothing for so long: close.
    pub write_stall_max: Duration,
    /// Replies that are owed when reading has ended leave within this, or not at all.
    pub drain_max: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> ConnectionLimits {
        ConnectionLimits {
            frame_bytes_max: limits::FRAME_BYTES_MAX,
            requests_in_flight_max: limits::REQUESTS_IN_FLIGHT_MAX,
            bytes_in_flight_max: limits::CONNECTION_BYTES_MAX,
            idle_max: Duration::from_secs(600),
            // A link that is silent for a minute in the middle of a frame will not come back.
            stall_max: Duration::from_secs(60),
            stall_short_max: Duration::from_secs(2),
            write_stall_max: Duration::from_secs(30),
            // Below the five seconds in which the broker stops.
            drain_max: Duration::from_secs(4),
        }
    }
}

/// Why a connection ended other than by the client's leaving.
#[derive(Debug, thiserror::Error)]
pub enum ConnectionError {
    /// The length field is negative or beyond the limit.
    #[error("frame of {claimed} bytes, the limit is {limit}")]
    FrameTooLarge { claimed: i32, limit: usize },
    /// The client sent half a frame and then nothing.
    #[error("frame stalled after {received} of {expected} bytes")]
    Stalled { received: usize, expected: usize },
    /// The client does not take its replies.
    #[error("reply not taken for {waited:?}")]
    SlowReader { waited: Duration },
    /// The client has not said who it is.
    #[error("not authenticated in time")]
    Unauthenticated,
    /// Nothing happened for long.
    #[error("idle for {idle:?}")]
    Idle { idle: Duration },
    /// The router says so.
    #[error("request refused: {0}")]
    Refused(String),
    /// An accepted request can only be answered by closing.
    #[error("request without an answer")]
    NoAnswer,
    /// Replies were owed for too long after reading had ended.
    #[error("replies still owed after {waited:?}")]
    Undrained { waited: Duration },
    /// The socket failed.
    #[error("socket: {0}")]
    Socket(#[from] io::Error),
}

/// Serves one client until it leaves, misbehaves, or `shutdown` fires.
pub async fn serve(
    reader: impl AsyncRead + Unpin + Send,
    writer: impl Outlet,
    dispatch: &impl Dispatch,
    limits: &ConnectionLimits,
    budget: &Budget,
    shutdown: &CancellationToken,
) -> Result<(), ConnectionError> {
    // The reading half owns the sender: when it ends, for whatever reason, the queue closes, and
    // the writing half ends as soon as it has emptied it.
    let (accepted, owed) = mpsc::channel(limits.requests_in_flight_max);
    let drain = CancellationToken::new();
    let ended = drain.clone().drop_guard();
    let mut reading = Reading {
        reader,
        buffer: BytesMut::new(),
        charge: Charge::default(),
        accepted,
        slots: Arc::new(Semaphore::new(limits.requests_in_flight_max)),
        bytes: Arc::new(Semaphore::new(limits.bytes_in_flight_max)),
        not_in_line: Arc::new(AtomicUsize::new(0)),
        likely: IDLE_BUFFER_BYTES,
        limits,
        budget,
    };
    let read = async move {
        let result = reading.run(dispatch, shutdown).await;
        drop((reading, ended));
        result
    };
    let late = async {
        drain.cancelled().await;
        tokio::time::sleep(limits.drain_max).await;
    };
    let write = async {
        tokio::select! {
            written = replies::write_replies(writer, owed, limits.write_stall_max) => written,
            () = late => Err(ConnectionError::Undrained { waited: limits.drain_max }),
        }
    };
    // A failure to write ends reading at once; the end of reading lets the writing half finish.
    let (read, ()) = tokio::try_join!(async { Ok(read.await) }, write)?;
    read
}

/// A request in flight, and what it frees once its reply has left.
struct InFlight {
    pending: Pending,
    _slot: OwnedSemaphorePermit,
    _bytes: OwnedSemaphorePermit,
    _charge: Charge,
    _turn: Option<Turn>,
}

/// Counts a request that has not been carried out yet.
struct Turn(Arc<AtomicUsize>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

struct Reading<'a, R> {
    reader: R,
    buffer: BytesMut,
    /// What `buffer` has taken from the budget.
    charge: Charge,
    accepted: mpsc::Sender<InFlight>,
    slots: Arc<Semaphore>,
    bytes: Arc<Semaphore>,
    not_in_line: Arc<AtomicUsize>,
    /// How many bytes to have room for when nothing of a frame is here yet.
    likely: usize,
    limits: &'a ConnectionLimits,
    budget: &'a Budget,
}

impl<R: AsyncRead + Unpin> Reading<'_, R> {
    async fn run(
        &mut self,
        dispatch: &impl Dispatch,
        shutdown: &CancellationToken,
    ) -> Result<(), ConnectionError> {
        loop {
            let slots = Arc::clone(&self.slots);
            let accepted = self.accepted.clone();
            let limit = self.limits.frame_bytes_max.min(dispatch.frame_bytes_max());
            let next = async {
                // The slot comes before the frame: pushing back must not need memory.
                let slot = slots.acquire_owned().await.expect("never closed");
                let frame = self.read_frame(limit).await?;
                // Behind the frame: what was read ahead of the answer that muted the peer waits, too.
                dispatch.unmuted().await;
                Ok::<_, ConnectionError>(frame.map(|frame| (slot, frame)))
            };
            let next = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ok(()),
                () = accepted.closed() => return Ok(()),
                () = dispatch.overdue() => return Err(ConnectionError::Unauthenticated),
                // Dropped half way it loses nothing that matters: the connection ends either way.
                next = next => next?,
            };
            let Some((slot, frame)) = next else { return Ok(()) };
            self.accept(dispatch, slot, frame).await?;
        }
    }

    async fn accept(
        &mut self,
        dispatch: &impl Dispatch,
        slot: OwnedSemaphorePermit,
        frame: Bytes,
    ) -> Result<(), ConnectionError> {
        // A frame above the limit takes all there is, and is then alone.
        let weight = frame.len().min(self.limits.bytes_in_flight_max);
        let weight = u32::try_from(weight).expect("limited to 32 MiB");
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(weight).await;
        let bytes = bytes.expect("never closed");
        let charge = if self.buffer.is_empty() {
            // The rest of the allocation belongs to the frame, and goes with it.
            self.buffer = BytesMut::new();
            std::mem::take(&mut self.charge)
        } else {
            // The next frame lies in the same allocation: it carries the charge on.
            Charge::default()
        };
        let earlier = self.not_in_line.load(Ordering::Acquire);
        let started = if earlier == 0 { Started::Now } else { Started::InTurn };
        let dispatched = dispatch.dispatch(frame, started).await;
        let dispatched = dispatched.map_err(|close| ConnectionError::Refused(close.reason))?;
        let turn = (!dispatched.in_line).then(|| {
            self.not_in_line.fetch_add(1, Ordering::AcqRel);
            Turn(Arc::clone(&self.not_in_line))
        });
        let in_flight = InFlight {
            pending: dispatched.pending,
            _slot: slot,
            _bytes: bytes,
            _charge: charge,
            _turn: turn,
        };
        // Cannot wait, having a slot, and fails only when the writer is gone, seen by `run`.
        let _ = self.accepted.send(in_flight).await;
        Ok(())
    }

    /// Reads one length-prefixed frame of up to `limit` bytes; `None` means the client closed between two frames.
    async fn read_frame(&mut self, limit: usize) -> Result<Option<Bytes>, ConnectionError> {
        const PREFIX_BYTES: usize = size_of::<i32>();
        loop {
            let mut expected = PREFIX_BYTES;
            if let Some(prefix) = self.buffer.first_chunk::<PREFIX_BYTES>() {
                let claimed = i32::from_be_bytes(*prefix);
                let length = usize::try_from(claimed).ok().filter(|&length| length <= limit);
                let length = length.ok_or(ConnectionError::FrameTooLarge { claimed, limit })?;
                expected += length;
                if self.buffer.len() >= expected {
                    self.buffer.advance(PREFIX_BYTES);
                    return Ok(Some(self.buffer.split_to(length).freeze()));
                }
            }
            self.make_room(expected).await?;
            let (received, room) = (self.buffer.len(), self.buffer.capacity() - self.buffer.len());
            let read = self.read_some(expected).await?;
            if received == 0 {
                self.note_read(read, room);
            }
            if read == 0 {
                let between_frames = self.buffer.is_empty();
                let cut = io::Error::from(io::ErrorKind::UnexpectedEof);
                return if between_frames { Ok(None) } else { Err(cut.into()) };
            }
        }
    }

    /// Guesses how much arrives at once: twice as much where a read was full, half where most of it
    /// was empty.
    fn note_read(&mut self, read: usize, room: usize) {
        if read == room {
            self.likely = (self.likely * 2).min(UNCHARGED_BYTES);
        } else if read < room / 4 {
            self.likely = (self.likely / 2).max(IDLE_BUFFER_BYTES);
        }
    }

    /// Makes room for more of a frame of `expected` bytes, as much as what has arrived earns.
    async fn make_room(&mut self, expected: usize) -> Result<(), ConnectionError> {
        let received = self.buffer.len();
        if received == 0 {
            self.buffer.reserve(self.likely);
            return Ok(());
        }
        if self.buffer.capacity() > received {
            return Ok(());
        }
        let missing = expected - received;
        let more = missing.min(received.max(RESERVE_BYTES_MAX)).max(self.likely);
        if received + more > UNCHARGED_BYTES {
            let wait = self.limits.stall_short_max;
            let taken = timeout(wait, self.budget.take(more, &mut self.charge)).await;
            taken.map_err(|_| ConnectionError::Stalled { received, expected })?;
        }
        self.buffer.reserve(more);
        Ok(())
    }

    /// Reads what there is, or gives up on a peer that sends nothing.
    async fn read_some(&mut self, expected: usize) -> Result<usize, ConnectionError> {
        let received = self.buffer.len();
        let limits = self.limits;
        if received == 0 {
            if self.likely > IDLE_BUFFER_BYTES {
                match timeout(KEEP_BUFFER, self.reader.read_buf(&mut self.buffer)).await {
                    Ok(read) => return Ok(read?),
                    Err(_) => {
                        self.likely = IDLE_BUFFER_BYTES;
                        self.buffer = BytesMut::with_capacity(IDLE_BUFFER_BYTES);
                    }
                }
            }
            loop {
                match timeout(limits.idle_max, self.reader.read_buf(&mut self.buffer)).await {
                    Ok(read) => return Ok(read?),
                    // It waits for us, not we for it.
                    Err(_)
                        if self.slots.available_permits() + 1 < limits.requests_in_flight_max => {}
                    Err(_) => return Err(ConnectionError::Idle { idle: limits.idle_max }),
                }
            }
        }
        let mut waited = Duration::ZERO;
        while waited < limits.stall_max {
            let wait = limits.stall_short_max;
            match timeout(wait, self.reader.read_buf(&mut self.buffer)).await {
                Ok(read) => return Ok(read?),
                Err(_) if self.budget.is_short() => break,
                Err(_) => waited += wait,
            }
        }
        Err(ConnectionError::Stalled { received, expected })
    }
}

#[cfg(test)]
mod tests;
