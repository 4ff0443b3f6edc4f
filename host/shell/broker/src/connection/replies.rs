//! The writing half of a connection: replies in the order of their requests, as many at once as are
//! ready.
//!
//! **What it decides.** Which replies leave with one system call. None waits for another that is not
//! there yet.

use std::io::{self, IoSlice};
use std::task::Poll;
use std::time::Duration;

use bytes::{Buf, Bytes};
use tokio::io::{AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::{Answer, ConnectionError, InFlight, Pending};

/// Replies wait for no others behind this many bytes: a large one is not kept back.
const TOGETHER_BYTES_MAX: usize = 64 << 10;
/// Pieces handed to one system call. Linux takes 1,024.
const PIECES_PER_WRITE_MAX: usize = 64;

/// Writes until no more is owed.
pub(super) async fn write_replies(
    mut writer: impl AsyncWrite + Unpin,
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
    writer: &mut (impl AsyncWrite + Unpin),
    mut pieces: Vec<Bytes>,
    stall_max: Duration,
) -> Result<(), ConnectionError> {
    let mut first = 0;
    loop {
        while pieces.get(first).is_some_and(Bytes::is_empty) {
            first += 1;
        }
        if first == pieces.len() {
            // TLS keeps what the socket did not take: here it has to.
            let flushed = timeout(stall_max, writer.flush()).await;
            return Ok(flushed.map_err(|_| ConnectionError::SlowReader { waited: stall_max })??);
        }
        let mut slices = [IoSlice::new(&[]); PIECES_PER_WRITE_MAX];
        let mut count = 0;
        for (slice, piece) in slices.iter_mut().zip(&pieces[first..]) {
            *slice = IoSlice::new(piece);
            count += 1;
        }
        let write = timeout(stall_max, writer.write_vectored(&slices[..count])).await;
        let mut written =
            write.map_err(|_| ConnectionError::SlowReader { waited: stall_max })??;
        if written == 0 {
            return Err(io::Error::from(io::ErrorKind::WriteZero).into());
        }
        while written > 0 {
            let step = written.min(pieces[first].len());
            pieces[first].advance(step);
            written -= step;
            if pieces[first].is_empty() {
                // Freed at once: a slow reader holds only what it has not taken.
                pieces[first] = Bytes::new();
                first += 1;
            }
        }
    }
}
