//! One client at a door, and its stream to the broker behind it.
//!
//! Two directions share nothing but a queue of what was asked. One reads requests, queues each before it passes it on, and so
//! before its answer can be there; the other reads answers and takes from the queue what they answer.
//!
//! **What it decides.** When it ends. A client that has said all it had to is answered what it is owed, and so is every client
//! when the tunnel stops; a broker that is gone ends its clients' connections, and they come again.
//!
//! **Invariants.** Each direction holds one buffer, which is written before more is read. At most [`ASKED_MAX`] requests wait
//! for answers. Every wait but that for a next request has a deadline of its own.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use brooklet_client::transport::{Reader, Stream, Writer};
use bytes::{BufMut, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::answers::{Answers, AnswersError};
use crate::requests::{Expected, Requests, RequestsError};
use crate::rewrite::Local;

/// What is read at once, in either direction.
const BUFFER_BYTES: usize = 32 << 10;
/// Requests that wait for an answer. More than one buffer can hold, so that a full queue waits only for what was passed on.
const ASKED_MAX: usize = 4096;
const _: () = assert!(ASKED_MAX > BUFFER_BYTES / 12, "a request has twelve bytes at least");
/// A client that asks nothing for so long is closed: longer than brokers wait, whose business it is.
const IDLE_MAX: Duration = Duration::from_secs(15 * 60);
/// Half an answer, and nothing more for so long: close.
const STALL_MAX: Duration = Duration::from_secs(60);
/// Of what was written, nothing taken for so long: close.
const WRITE_STALL_MAX: Duration = Duration::from_secs(60);
/// Answers that are owed when asking has ended come within this, or not at all: as long as clients wait for one.
const DRAIN_MAX: Duration = Duration::from_secs(30);
/// The same when the tunnel stops: as long as a broker takes over it.
const STOP_MAX: Duration = Duration::from_secs(4);
/// How long a client that was closed may still send: closing on it at once could take from it what it was sent last.
const LINGER_MAX: Duration = Duration::from_secs(1);

/// Why a connection ended other than by its client's or its broker's leaving.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectionError {
    /// The client's socket failed, or was closed in the middle of a request.
    #[error("client: {0}")]
    Client(io::Error),
    /// The way to the broker failed.
    #[error("broker: {0}")]
    Broker(io::Error),
    /// What the client sends cannot be followed.
    #[error("client: {0}")]
    Requests(#[from] RequestsError),
    /// What the broker sends cannot be followed.
    #[error("broker: {0}")]
    Answers(#[from] AnswersError),
    /// The client asks nothing.
    #[error("client: nothing asked for {0:?}")]
    Idle(Duration),
    /// The broker does not go on.
    #[error("broker: half an answer, and nothing more for {0:?}")]
    Stalled(Duration),
    /// Asking has ended, and there are no answers.
    #[error("broker: answers still owed after the client has ended")]
    Undrained,
}

/// Passes on what both sides say until one of them ends it, or `stop` does.
pub(crate) async fn serve(
    client: TcpStream,
    broker: Stream,
    local: &mut Local<'_>,
    stop: &CancellationToken,
) -> Result<(), ConnectionError> {
    let (mut client_reader, mut client_writer) = client.into_split();
    let (ask, asked) = mpsc::channel(ASKED_MAX);
    let ended = CancellationToken::new();
    let asking = async {
        let result = ask_all(&mut client_reader, broker.writer, ask, stop).await;
        ended.cancel();
        match result {
            // Nobody is there to be answered.
            Err(ConnectionError::Client(error)) => Err(ConnectionError::Client(error)),
            result => Ok(result),
        }
    };
    let late = async {
        ended.cancelled().await;
        let stopped = async {
            stop.cancelled().await;
            sleep(STOP_MAX).await;
        };
        tokio::select! {
            () = sleep(DRAIN_MAX) => {}
            () = stopped => {}
        }
    };
    let answering = async {
        // Dropped half way it loses nothing that matters: the connection ends.
        tokio::select! {
            result = answer_all(broker.reader, &mut client_writer, asked, local) => result,
            () = late => Err(ConnectionError::Undrained),
        }
    };
    let (result, ()) = tokio::try_join!(asking, answering)?;
    linger(&mut client_reader, &mut client_writer).await;
    result
}

/// Passes on requests until there are no more, then says so to the broker.
async fn ask_all(
    reader: &mut OwnedReadHalf,
    mut writer: Writer,
    ask: mpsc::Sender<Expected>,
    stop: &CancellationToken,
) -> Result<(), ConnectionError> {
    let queue = ask.clone();
    let asking = async {
        let mut buffer = BytesMut::new();
        let (mut requests, mut found) = (Requests::default(), Vec::new());
        loop {
            match read(reader, &mut buffer, IDLE_MAX).await.map_err(ConnectionError::Client)? {
                None => return Err(ConnectionError::Idle(IDLE_MAX)),
                Some(0) => return Ok(()),
                Some(_) => {}
            }
            let followed = requests.follow(&buffer, &mut found);
            for expected in found.drain(..) {
                if queue.send(expected).await.is_err() {
                    return Ok(());
                }
            }
            // What was asked before a request that is refused is answered.
            let passed = if followed.is_ok() { buffer.len() } else { requests.before_refused() };
            write(&mut writer, &buffer[..passed]).await.map_err(ConnectionError::Broker)?;
            followed?;
            buffer.clear();
        }
    };
    let result = tokio::select! {
        biased;
        // The broker has ended it, and nothing that is asked now is answered.
        () = ask.closed() => return Ok(()),
        // Half a request that was passed on is none.
        () = stop.cancelled() => Ok(()),
        result = asking => result,
    };
    // A broker that cannot be told is gone, which its answers will show.
    let _ = timeout(WRITE_STALL_MAX, writer.shutdown()).await;
    result
}

/// Passes on answers until there are no more, then says so to the client.
async fn answer_all(
    mut reader: Reader,
    writer: &mut OwnedWriteHalf,
    mut asked: mpsc::Receiver<Expected>,
    local: &mut Local<'_>,
) -> Result<(), ConnectionError> {
    let (mut buffer, mut out) = (BytesMut::new(), BytesMut::new());
    let mut answers = Answers::default();
    loop {
        let limit = if answers.is_within() { STALL_MAX } else { Duration::MAX };
        let read = read(&mut reader, &mut buffer, limit).await.map_err(ConnectionError::Broker)?;
        let read = read.ok_or(ConnectionError::Stalled(limit))?;
        if read == 0 {
            if answers.is_within() {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "closed within an answer");
                return Err(ConnectionError::Broker(cut));
            }
            return Ok(());
        }
        let taken = answers.take(&buffer, || asked.try_recv().ok(), local, &mut out);
        // What came before is whole, and the client's.
        write(writer, &out).await.map_err(ConnectionError::Client)?;
        taken?;
        buffer.clear();
        out.clear();
        if out.capacity() > 4 * BUFFER_BYTES {
            out = BytesMut::new();
        }
    }
}

/// Reads what there is into an empty buffer: how much, zero at the end, or none where nothing came in time.
async fn read(
    reader: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: Duration,
) -> io::Result<Option<usize>> {
    buffer.reserve(BUFFER_BYTES);
    // What has grown beyond it is not read into: a full queue could wait for what is not passed on.
    let mut room = (&mut *buffer).limit(BUFFER_BYTES);
    timeout(limit, reader.read_buf(&mut room)).await.ok().transpose()
}

/// Writes all of it, as long as some of it is taken.
async fn write(writer: &mut (impl AsyncWrite + Unpin), mut bytes: &[u8]) -> io::Result<()> {
    let stalled = |_| {
        let text = format!("nothing taken for {WRITE_STALL_MAX:?}");
        io::Error::new(io::ErrorKind::TimedOut, text)
    };
    while !bytes.is_empty() {
        let written = timeout(WRITE_STALL_MAX, writer.write(bytes)).await.map_err(stalled)??;
        if written == 0 {
            return Err(io::ErrorKind::WriteZero.into());
        }
        bytes = &bytes[written..];
    }
    timeout(WRITE_STALL_MAX, writer.flush()).await.map_err(stalled)?
}

/// Lets a client read to the end of what it was sent.
async fn linger(reader: &mut OwnedReadHalf, writer: &mut OwnedWriteHalf) {
    if writer.shutdown().await.is_err() {
        return;
    }
    let mut buffer = [0; 1024];
    let rest = async { while reader.read(&mut buffer).await.is_ok_and(|read| read > 0) {} };
    let _ = timeout(LINGER_MAX, rest).await;
}

/// Where a client reached us: what it is told to reach again.
pub(crate) fn reached_at(client: &TcpStream) -> io::Result<IpAddr> {
    Ok(client.local_addr()?.ip())
}
