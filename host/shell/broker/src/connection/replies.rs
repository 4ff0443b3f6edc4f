//! The writing half of a connection: replies in the order of their requests, as many at once as are
//! ready.
//!
//! **What it decides.** Which replies leave with one system call. None waits for another that is not
//! there yet. What is handed to QUIC is not copied, but for what is small.

use std::future::Future;
use std::io::{self, IoSlice};
use std::task::Poll;
use std::time::Duration;

use brooklet_io::quic::SendStream;
use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Answer, ConnectionError, InFlight, Pending};

/// Replies wait for no others behind this many bytes: a large one is not kept back.
const TOGETHER_BYTES_MAX: usize = 64 << 10;
/// Pieces handed to one system call. Linux takes 1,024.
const PIECES_PER_WRITE_MAX: usize = 64;

/// A piece below this is copied for QUIC, which keeps it until it has arrived: a piece may be a small part of a large
/// allocation, and would keep all of that.
const KEPT_BYTES_MIN: usize = 16 << 10;

/// Where replies leave.
pub trait Outlet: Send {
    /// Sees each piece once, before it is written.
    fn take(&self, piece: &mut Bytes);

    /// Writes some of the pieces, from the first on, and takes it off them. None of them is empty. Cancel-safe.
    fn write(&mut self, pieces: &mut [Bytes]) -> impl Future<Output = io::Result<()>> + Send;

    /// Sees to it that what was written leaves.
    fn flush(&mut self) -> impl Future<Output = io::Result<()>> + Send;

    /// Says that nothing more comes.
    fn shutdown(&mut self) -> impl Future<Output = io::Result<()>> + Send;
}

/// A socket, with TLS or without.
#[derive(Debug)]
pub struct Socket<W>(pub W);

impl<W: AsyncWrite + Unpin + Send> Outlet for Socket<W> {
    /// Nothing is kept of it once it is written.
    fn take(&self, _piece: &mut Bytes) {}

    async fn write(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(pieces.iter()) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let mut written = self.0.write_vectored(&slices[..count]).await?;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero));
        }
        for piece in pieces {
            let step = written.min(piece.len());
            piece.advance(step);
            written -= step;
        }
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.0.flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl Outlet for &mut SendStream {
    fn take(&self, piece: &mut Bytes) {
        if piece.len() < KEPT_BYTES_MIN {
            *piece = Bytes::copy_from_slice(piece);
        }
    }

    async fn write(&mut self, pieces: &mut [Bytes]) -> io::Result<()> {
        self.write_chunks(pieces).await?;
        Ok(())
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        // One that has ended already is what is wanted.
        let _ = self.finish();
        Ok(())
    }
}

/// Writes until no more is owed.
pub(super) async fn write_replies(
    mut writer: impl Outlet,
    mut owed: mpsc::Receiver<InFlight>,
    stall_max: Duration,
) -> Result<(), ConnectionError> {
    let mut ready = Ready::default();
    let mut next = None;
    loop {
        let Some(mut in_flight) = (match next.take() {
            Some(in_flight) => Some(in_flight),
            None => owed.recv().await,
        }) else {
            break;
        };
        let answer = (&mut in_flight.pending).await;
        let mut then = ready.add(answer, in_flight);
        // What else is there already leaves with the same system call.
        while then == Then::GoOn
            && !ready.is_full()
            && let Ok(mut in_flight) = owed.try_recv()
        {
            match poll_once(&mut in_flight.pending).await {
                Some(answer) => then = ready.add(answer, in_flight),
                None => {
                    next = Some(in_flight);
                    break;
                }
            }
        }
        write_pieces(&mut writer, std::mem::take(&mut ready.pieces), stall_max).await?;
        ready = Ready::default();
        match then {
            Then::GoOn => {}
            Then::Part => break,
            Then::Close => return Err(ConnectionError::NoAnswer),
        }
    }
    // The client may have closed already; there is nothing left to tell it.
    let _ = timeout(stall_max, writer.shutdown()).await;
    Ok(())
}

/// What comes behind an answer.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    /// The next one.
    GoOn,
    /// The end, in good order: the client is to read what it was told.
    Part,
    /// The end.
    Close,
}

/// Replies that leave together.
#[derive(Default)]
struct Ready {
    pieces: Vec<Bytes>,
    bytes: usize,
    /// What their requests took is free again when they have left.
    requests: Vec<InFlight>,
}

impl Ready {
    /// Adds an answer, and says what comes behind it.
    fn add(&mut self, answer: Answer, request: InFlight) -> Then {
        let (pieces, then) = match answer {
            Answer::Reply(pieces) => (pieces, Then::GoOn),
            Answer::Last(pieces) => (pieces, Then::Part),
            Answer::Silence => return Then::GoOn,
            Answer::Close => return Then::Close,
        };
        self.bytes += pieces.iter().map(Bytes::len).sum::<usize>();
        self.pieces.extend(pieces);
        self.requests.push(request);
        then
    }

    fn is_full(&self) -> bool {
        self.bytes >= TOGETHER_BYTES_MAX || self.pieces.len() >= PIECES_PER_WRITE_MAX
    }
}

/// Looks whether an answer is there, and sees to it that it is worked on.
async fn poll_once(pending: &mut Pending) -> Option<Answer> {
    std::future::poll_fn(|context| match pending.as_mut().poll(context) {
        Poll::Ready(answer) => Poll::Ready(Some(answer)),
        Poll::Pending => Poll::Ready(None),
    })
    .await
}

/// Writes pieces without putting them together first. Each step has a deadline.
async fn write_pieces(
    writer: &mut impl Outlet,
    mut pieces: Vec<Bytes>,
    stall_max: Duration,
) -> Result<(), ConnectionError> {
    let slow = |_| ConnectionError::SlowReader { waited: stall_max };
    pieces.retain(|piece| !piece.is_empty());
    let (mut first, mut taken) = (0, 0);
    while first < pieces.len() {
        let end = pieces.len().min(first + PIECES_PER_WRITE_MAX);
        pieces[taken..end].iter_mut().for_each(|piece| writer.take(piece));
        taken = end;
        timeout(stall_max, writer.write(&mut pieces[first..end])).await.map_err(slow)??;
        while let Some(piece) = pieces.get_mut(first).filter(|piece| piece.is_empty()) {
            // Freed at once: a slow reader holds only what it has not taken.
            *piece = Bytes::new();
            first += 1;
        }
    }
    // TLS keeps what the socket did not take: here it has to.
    Ok(timeout(stall_max, writer.flush()).await.map_err(slow)??)
}
