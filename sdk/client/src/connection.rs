//! One connection to one broker: requests go out as they come, answers come back in that order.
//!
//! Two tasks share nothing but a queue. The writer takes a request, first queues who waits for its
//! answer, then writes it; the reader takes a frame and gives it to the one who has waited longest.
//! Kafka answers in order, so a frame whose number is not the expected one ends the connection. So
//! does an answer that is late: everything behind it would be late too.
//!
//! **Invariants.** At most [`IN_FLIGHT_MAX`] answers are outstanding; the rest wait in [`QUEUE_MAX`]
//! places and then with their callers. When a task ends, everybody who waits learns why.

mod sasl;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    ApiVersionsRequest, ApiVersionsResponse, decode_response, encode_request, make,
};
use bytes::{Bytes, BytesMut};
use tokio::io::AsyncReadExt;
use tokio::sync::{RwLock, mpsc, oneshot, watch};
use tokio::task::AbortHandle;
use tokio::time::{Instant, timeout_at};

use crate::config::{ClientConfig, SaslConfig, Transport};
use crate::error::{Code, ConnectError, Peer, RequestError};
use crate::request::Call;
use crate::transport::{Dialer, Early, QUIC_ANSWER_MAX, Reader, Stream, Writer};

/// Requests that wait for their answer at once. Brokers work on few of one connection; more only
/// fills their sockets.
pub const IN_FLIGHT_MAX: usize = 64;

/// Requests that wait to be written at once.
const QUEUE_MAX: usize = 64;

/// How much is set aside for an answer before its bytes arrive, whatever it announces.
const READ_STEP: usize = 2 << 20;

/// An open connection; clones share it, and the last one to go closes it.
#[derive(Clone)]
pub struct Connection {
    shared: Arc<Shared>,
}

struct Shared {
    peer: Peer,
    transport: Transport,
    client_id: String,
    /// What the broker serves by API; set once, before anybody else sees the connection.
    versions: OnceLock<BTreeMap<i16, (i16, i16)>>,
    /// Who the client says it is.
    sasl: Option<SaslConfig>,
    /// When the broker has to be told again. Held for reading while a request is queued, and for writing while the client
    /// proves who it is: nothing else may be said in between.
    session: RwLock<Option<Instant>>,
    queue: mpsc::Sender<Outgoing>,
    correlation: AtomicI32,
    request_timeout: Duration,
    ended: Ended,
    /// Its other end is dropped when nothing more is read.
    gone: watch::Receiver<()>,
    tasks: [AbortHandle; 2],
}

/// Why a connection ended, once it has: for requests that neither task has taken.
type Ended = Arc<OnceLock<Arc<str>>>;

/// An answer that has not come yet. Dropping it ignores the answer.
pub struct Pending<R: Call> {
    connection: Connection,
    version: i16,
    deadline: Instant,
    after: Duration,
    reply: oneshot::Receiver<Result<Bytes, Arc<str>>>,
    request: std::marker::PhantomData<fn() -> R>,
}

struct Outgoing {
    frame: Bytes,
    waiter: Option<Waiter>,
}

struct Waiter {
    correlation: i32,
    reply: oneshot::Sender<Result<Bytes, Arc<str>>>,
}

impl Connection {
    /// Dials `peer`, agrees on versions and says who the client is, all within the configured time.
    pub async fn open(
        dialer: &Dialer,
        peer: Peer,
        config: &ClientConfig,
    ) -> Result<Connection, ConnectError> {
        let after = config.connect_timeout;
        let deadline = Instant::now() + after;
        let connection = Connection::agreed(dialer, peer.clone(), config, deadline).await?;
        match timeout_at(deadline, connection.introduce()).await {
            Ok(introduced) => introduced.map(|()| connection),
            Err(_) => Err(ConnectError::Timeout { peer, after }),
        }
    }

    /// Opens another stream in the QUIC connection that there is to `peer`; none where that has no more of them, or is gone.
    pub async fn beside(
        dialer: &Dialer,
        peer: Peer,
        config: &ClientConfig,
    ) -> Result<Option<Connection>, ConnectError> {
        let after = config.connect_timeout;
        let deadline = Instant::now() + after;
        let Some(stream) = dialer.beside(&peer).await? else { return Ok(None) };
        let connection = Connection::over(stream, peer.clone(), config, deadline).await?;
        match timeout_at(deadline, connection.introduce()).await {
            Ok(introduced) => introduced.map(|()| Some(connection)),
            Err(_) => Err(ConnectError::Timeout { peer, after }),
        }
    }

    async fn agreed(
        dialer: &Dialer,
        peer: Peer,
        config: &ClientConfig,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let limit = config.connect_timeout;
        let stream = dialer.dial(&peer, limit, Early::Tried).await?;
        if !stream.early {
            return Connection::over(stream, peer, config, deadline).await;
        }
        let soon = deadline.min(Instant::now() + QUIC_ANSWER_MAX);
        match Connection::over(stream, peer.clone(), config, soon).await {
            Ok(connection) => Ok(connection),
            // A broker that was started anew takes nothing early, and where UDP has come to be blocked nobody answers.
            Err(_) => {
                let left = deadline.saturating_duration_since(Instant::now());
                let stream = dialer.dial(&peer, left, Early::NotTried).await?;
                Connection::over(stream, peer, config, deadline).await
            }
        }
    }

    async fn over(
        stream: Stream,
        peer: Peer,
        config: &ClientConfig,
        deadline: Instant,
    ) -> Result<Connection, ConnectError> {
        let limit = config.connect_timeout;
        let Stream { reader, writer, transport, .. } = stream;
        writer.urge(config.urgency);
        let (queue, outgoing) = mpsc::channel(QUEUE_MAX);
        let (waiting, waiters) = mpsc::channel(IN_FLIGHT_MAX);
        let ended = Ended::default();
        let writing = tokio::spawn(write_all(writer, outgoing, waiting, Arc::clone(&ended)));
        let bytes_max = config.response_bytes_max;
        let (alive, gone) = watch::channel(());
        let told = Arc::clone(&ended);
        let reading = tokio::spawn(async move {
            read_all(reader, waiters, bytes_max, told).await;
            drop(alive);
        });
        let connection = Connection {
            shared: Arc::new(Shared {
                peer: peer.clone(),
                transport,
                client_id: config.client_id.clone(),
                versions: OnceLock::new(),
                sasl: config.sasl.clone(),
                session: RwLock::default(),
                queue,
                correlation: AtomicI32::new(0),
                request_timeout: config.request_timeout,
                ended,
                gone,
                tasks: [writing.abort_handle(), reading.abort_handle()],
            }),
        };
        match timeout_at(deadline, connection.agree()).await {
            Ok(Ok(versions)) => {
                connection.shared.versions.set(versions).expect("nobody else has it yet");
                Ok(connection)
            }
            Ok(Err(error)) => Err(ConnectError::Handshake { peer, source: Box::new(error) }),
            Err(_) => Err(ConnectError::Timeout { peer, after: limit }),
        }
    }

    /// Asks for the versions the broker speaks: in our newest version, and when that is too new
    /// for the broker, in the oldest, as its answer then tells us to.
    async fn agree(&self) -> Result<BTreeMap<i16, (i16, i16)>, RequestError> {
        let request = make::<ApiVersionsRequest>(|request| {
            request.client_software_name = "brooklet".into();
            request.client_software_version = env!("CARGO_PKG_VERSION").into();
        });
        let newest = ApiVersionsRequest::VERSIONS.1;
        let answer: ApiVersionsResponse = {
            let frame = self.exchange(&request, newest).await?;
            // A broker that does not know the version answers in version 0.
            let unsupported = error_code(&frame) == ErrorCode::UnsupportedVersion;
            if unsupported {
                let frame = self.exchange(&ApiVersionsRequest::default(), 0).await?;
                self.decode::<ApiVersionsRequest>(frame, 0)?
            } else {
                self.decode::<ApiVersionsRequest>(frame, newest)?
            }
        };
        let ranges = answer.api_keys.iter();
        Ok(ranges.map(|range| (range.api_key, (range.min_version, range.max_version))).collect())
    }

    async fn exchange(
        &self,
        request: &ApiVersionsRequest,
        version: i16,
    ) -> Result<Bytes, RequestError> {
        let pending = self.enqueue(request, version, self.shared.request_timeout).await?;
        pending.frame().await
    }

    /// Who is at the other end.
    pub fn peer(&self) -> &Peer {
        &self.shared.peer
    }

    /// What carries it: not what was dialled, where QUIC was not answered.
    pub fn transport(&self) -> Transport {
        self.shared.transport
    }

    /// Whether no more requests can be sent.
    pub fn is_closed(&self) -> bool {
        self.shared.queue.is_closed()
    }

    /// Whether the broker or the way to it has gone: nothing more is read, whether or not that was noticed by sending.
    pub fn is_gone(&self) -> bool {
        self.shared.gone.has_changed().is_err()
    }

    /// Returns when the broker or the way to it has gone.
    pub async fn gone(&self) {
        // Nothing is ever sent: it ends when the other end is dropped.
        let _ = self.shared.gone.clone().changed().await;
    }

    /// Ends the connection; everybody who waits for an answer is told.
    pub fn close(&self) {
        self.shared.tasks.iter().for_each(AbortHandle::abort);
    }

    /// The version of `R` both sides speak.
    pub fn version<R: Call>(&self) -> Result<i16, RequestError> {
        let (ours_from, ours_to) = R::VERSIONS;
        let served = self.shared.versions.get();
        let theirs = served.and_then(|served| served.get(&R::KEY)).copied();
        let agreed = theirs.map(|(from, to)| (from.max(ours_from), to.min(ours_to)));
        match agreed {
            Some((from, to)) if from <= to => Ok(to),
            Some(_) | None => Err(RequestError::NoCommonVersion {
                peer: self.shared.peer.clone(),
                api: R::API,
                ours: format!("{ours_from} to {ours_to}"),
                theirs: theirs
                    .map_or("none".to_owned(), |(from, to)| format!("versions {from} to {to}")),
            }),
        }
    }

    /// Sends a request and waits for its answer.
    pub async fn call<R: Call>(&self, request: &R) -> Result<R::Response, RequestError> {
        self.submit(request, self.shared.request_timeout).await?.answer().await
    }

    /// Queues a request; its answer may be waited for later, until `within` from now. Requests
    /// leave in the order in which this returned.
    pub async fn submit<R: Call>(
        &self,
        request: &R,
        within: Duration,
    ) -> Result<Pending<R>, RequestError> {
        let version = self.version::<R>()?;
        let _session = self.in_session().await?;
        self.enqueue(request, version, within).await
    }

    async fn enqueue<R: Call>(
        &self,
        request: &R,
        version: i16,
        within: Duration,
    ) -> Result<Pending<R>, RequestError> {
        let deadline = Instant::now() + within;
        let (correlation, frame) = self.encode(request, version)?;
        let (sender, reply) = oneshot::channel();
        let waiter = Some(Waiter { correlation, reply: sender });
        self.push::<R>(Outgoing { frame, waiter }, deadline, within).await?;
        let request = std::marker::PhantomData;
        let connection = self.clone();
        Ok(Pending { connection, version, deadline, after: within, reply, request })
    }

    /// Sends a request that has no answer, as Produce with `acks=0`.
    pub async fn tell<R: Call>(&self, request: &R) -> Result<(), RequestError> {
        let version = self.version::<R>()?;
        let (_, frame) = self.encode(request, version)?;
        let within = self.shared.request_timeout;
        let _session = self.in_session().await?;
        self.push::<R>(Outgoing { frame, waiter: None }, Instant::now() + within, within).await
    }

    async fn push<R: Call>(
        &self,
        outgoing: Outgoing,
        deadline: Instant,
        after: Duration,
    ) -> Result<(), RequestError> {
        match timeout_at(deadline, self.shared.queue.send(outgoing)).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(_)) => Err(self.lost_untold::<R>()),
            Err(_) => {
                self.close();
                let peer = self.shared.peer.clone();
                Err(RequestError::Timeout { peer, api: R::API, after })
            }
        }
    }

    fn encode<R: Call>(&self, request: &R, version: i16) -> Result<(i32, Bytes), RequestError> {
        let correlation = self.shared.correlation.fetch_add(1, Ordering::Relaxed);
        let client_id = Some(self.shared.client_id.as_str());
        match encode_request(correlation, version, client_id, request) {
            Ok(frame) => Ok((correlation, frame)),
            Err(error) => {
                let peer = self.shared.peer.clone();
                let reason = error.to_string();
                Err(RequestError::Unencodable { peer, api: R::API, reason })
            }
        }
    }

    fn decode<R: Call>(&self, frame: Bytes, version: i16) -> Result<R::Response, RequestError> {
        match decode_response::<R::Response>(frame, version) {
            Ok((_, response)) => Ok(response),
            Err(error) => {
                // Whoever sends one malformed answer is not trusted with the next.
                self.close();
                let peer = self.shared.peer.clone();
                Err(RequestError::Malformed { peer, api: R::API, reason: error.to_string() })
            }
        }
    }

    /// The request was not sent, or nobody was left to hear of its answer.
    fn lost_untold<R: Call>(&self) -> RequestError {
        let reason = self.shared.ended.get().cloned();
        self.lost::<R>(reason.unwrap_or_else(|| "it was closed".into()))
    }

    fn lost<R: Call>(&self, reason: Arc<str>) -> RequestError {
        RequestError::Lost { peer: self.shared.peer.clone(), api: R::API, reason }
    }
}

impl<R: Call> Pending<R> {
    /// Waits for the answer.
    pub async fn answer(self) -> Result<R::Response, RequestError> {
        let (connection, version) = (self.connection.clone(), self.version);
        let frame = self.frame().await?;
        connection.decode::<R>(frame, version)
    }

    async fn frame(self) -> Result<Bytes, RequestError> {
        match timeout_at(self.deadline, self.reply).await {
            Ok(Ok(Ok(frame))) => Ok(frame),
            Ok(Ok(Err(reason))) => Err(self.connection.lost::<R>(reason)),
            Ok(Err(_)) => Err(self.connection.lost_untold::<R>()),
            Err(_) => {
                self.connection.close();
                let peer = self.connection.shared.peer.clone();
                Err(RequestError::Timeout { peer, api: R::API, after: self.after })
            }
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Writes requests until the connection is given up or the socket fails.
async fn write_all(
    mut writer: Writer,
    mut outgoing: mpsc::Receiver<Outgoing>,
    waiting: mpsc::Sender<Waiter>,
    ended: Ended,
) {
    while let Some(Outgoing { frame, waiter }) = outgoing.recv().await {
        if let Some(waiter) = waiter
            && waiting.send(waiter).await.is_err()
        {
            return;
        }
        let written = writer.write_frame(frame).await;
        // The reader notices it too, and tells those who wait.
        if let Err(error) = written {
            ended.get_or_init(|| error.to_string().into());
            return;
        }
    }
}

/// Hands each answer to whoever has waited longest, and the reason for the end to all the others.
async fn read_all(
    mut reader: Reader,
    mut waiters: mpsc::Receiver<Waiter>,
    bytes_max: usize,
    ended: Ended,
) {
    let reason: Arc<str> = loop {
        let frame = match read_frame(&mut reader, bytes_max).await {
            Ok(frame) => frame,
            Err(reason) => break reason.into(),
        };
        let Ok(waiter) = waiters.try_recv() else {
            break "the broker sent an answer nobody asked for".into();
        };
        let answered = be_i32(&frame);
        if answered != Some(waiter.correlation) {
            let reason: Arc<str> =
                format!("answer {answered:?} came instead of {}", waiter.correlation).into();
            // Whoever gave up waiting needs no reason.
            let _ = waiter.reply.send(Err(reason.clone()));
            break reason;
        }
        let _ = waiter.reply.send(Ok(frame));
    };
    ended.get_or_init(|| Arc::clone(&reason));
    waiters.close();
    while let Some(waiter) = waiters.recv().await {
        let _ = waiter.reply.send(Err(reason.clone()));
    }
}

/// Reads one frame, without its length. Memory grows with what arrives, not with what is announced.
async fn read_frame(reader: &mut Reader, bytes_max: usize) -> Result<Bytes, String> {
    let mut prefix = [0; 4];
    reader.read_exact(&mut prefix).await.map_err(|error| {
        let ended = error.kind() == std::io::ErrorKind::UnexpectedEof;
        if ended { "the broker closed it".to_owned() } else { error.to_string() }
    })?;
    let announced = i32::from_be_bytes(prefix);
    let length = usize::try_from(announced).unwrap_or(usize::MAX);
    if length > bytes_max {
        return Err(format!("answer of {announced} bytes, the limit is {bytes_max}"));
    }
    let mut frame = BytesMut::with_capacity(length.min(READ_STEP));
    while frame.len() < length {
        let missing = length - frame.len();
        if frame.len() == frame.capacity() {
            frame.reserve(missing.min(frame.len()));
        }
        let mut limited = reader.take(u64::try_from(missing).expect("a frame fits in memory"));
        match limited.read_buf(&mut frame).await {
            Ok(0) => return Err(format!("the broker closed it {missing} bytes before the end")),
            Ok(_) => {}
            Err(error) => return Err(error.to_string()),
        }
    }
    Ok(frame.freeze())
}

/// The error code of an ApiVersions answer, which stands behind the correlation number in every
/// version.
fn error_code(frame: &[u8]) -> Code {
    let bytes = frame.get(4..6).and_then(|bytes| bytes.try_into().ok());
    Code(bytes.map_or(0, i16::from_be_bytes))
}

fn be_i32(frame: &[u8]) -> Option<i32> {
    frame.get(..4).and_then(|bytes| bytes.try_into().ok()).map(i32::from_be_bytes)
}
