//! A connection over a pipe, with frames as no honest client cuts them.

use std::sync::Mutex;

use tokio::io::{AsyncWriteExt, DuplexStream, duplex, split};
use tokio::sync::Notify;

use super::*;

/// Answers each frame with itself; the first byte of a frame says what else happens.
#[derive(Default)]
struct Echo {
    begun: Mutex<Vec<Bytes>>,
    gate: Arc<Notify>,
    /// Whether it is asked of clients to begin with `k`, in small frames and soon.
    is_wary: bool,
}

impl Dispatch for Echo {
    async fn dispatch(
        &self,
        frame: Bytes,
        started: Started,
    ) -> Result<Dispatched, CloseConnection> {
        if frame.first() == Some(&b'!') {
            return Err(CloseConnection { reason: "bang".to_owned() });
        }
        let in_line = frame.first() == Some(&b'p') && started == Started::Now;
        self.begun.lock().unwrap().push(frame.clone());
        let gate = Arc::clone(&self.gate);
        let pending = Box::pin(async move {
            match frame.first() {
                Some(b's') => Answer::Silence,
                Some(b'c') => Answer::Close,
                Some(b'l') => {
                    let Answer::Reply(pieces) = reply(&frame) else { unreachable!("it replies") };
                    Answer::Last(pieces)
                }
                Some(b'w') => {
                    gate.notified().await;
                    reply(&frame)
                }
                _ => reply(&frame),
            }
        });
        Ok(Dispatched { pending, in_line })
    }

    fn frame_bytes_max(&self) -> usize {
        if self.is_known() { usize::MAX } else { 10 }
    }

    async fn overdue(&self) {
        if self.is_known() {
            return std::future::pending().await;
        }
        let soon = tokio::time::Instant::now() + Duration::from_secs(30);
        tokio::time::sleep_until(soon).await;
    }
}

impl Echo {
    fn is_known(&self) -> bool {
        let begun = self.begun.lock().unwrap();
        !self.is_wary || begun.first().is_some_and(|frame| frame.first() == Some(&b'k'))
    }
}

fn reply(frame: &Bytes) -> Answer {
    let length = u32::try_from(frame.len()).unwrap().to_be_bytes();
    let middle = frame.len() / 2;
    let pieces = vec![Bytes::copy_from_slice(&length), Bytes::new(), frame.slice(..middle)];
    Answer::Reply([pieces, vec![frame.slice(middle..)]].concat())
}

fn framed(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes(), body].concat()
}

struct Bench {
    client: DuplexStream,
    echo: Arc<Echo>,
    shutdown: CancellationToken,
    done: tokio::task::JoinHandle<Result<(), ConnectionError>>,
}

fn start(limits: ConnectionLimits, budget: Budget, pipe: usize) -> Bench {
    start_echo(Echo::default(), limits, budget, pipe)
}

fn wary() -> Bench {
    let echo = Echo { is_wary: true, ..Echo::default() };
    start_echo(echo, ConnectionLimits::default(), Budget::new(1 << 30), 64 << 10)
}

fn start_echo(echo: Echo, limits: ConnectionLimits, budget: Budget, pipe: usize) -> Bench {
    let (client, server) = duplex(pipe);
    let echo = Arc::new(echo);
    let shutdown = CancellationToken::new();
    let (dispatch, stop) = (Arc::clone(&echo), shutdown.clone());
    let done = tokio::spawn(async move {
        let (reader, writer) = split(server);
        serve(reader, Socket(writer), &*dispatch, &limits, &budget, &stop).await
    });
    Bench { client, echo, shutdown, done }
}

fn plain() -> Bench {
    start(ConnectionLimits::default(), Budget::new(1 << 30), 64 << 10)
}

#[tokio::test(start_paused = true)]
async fn frames_cut_anywhere_are_answered_in_order() {
    let bench = plain();
    let bodies: Vec<Vec<u8>> = (0..40).map(|size| vec![b'x'; size * size * 40]).collect();
    let sent: Vec<u8> = bodies.iter().flat_map(|body| framed(body)).collect();
    let (mut from, mut to) = split(bench.client);
    let expected = sent.clone();
    let writing = tokio::spawn(async move {
        for (index, piece) in sent.chunks(977).enumerate() {
            to.write_all(piece).await.unwrap();
            if index % 3 == 0 {
                tokio::task::yield_now().await;
            }
        }
        to.shutdown().await.unwrap();
    });
    let mut received = Vec::new();
    from.read_to_end(&mut received).await.unwrap();
    assert!(received == expected, "the replies are the requests, in order");
    writing.await.unwrap();
    bench.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_a_request_closes_the_connection() {
    let table: &[(&[u8], &str)] = &[
        (&[0xff, 0xff, 0xff, 0xff], "frame of -1 bytes, the limit is 104857600"),
        (&[0x7f, 0, 0, 0], "frame of 2130706432 bytes, the limit is 104857600"),
        (&[0, 0, 0, 1, b'!'], "request refused: bang"),
        (&[0, 0, 0, 1, b'c'], "request without an answer"),
        (&[0, 0, 0, 9, b'x'], "frame stalled after 5 of 13 bytes"),
        (&[], "idle for 600s"),
    ];
    for (bytes, expected) in table {
        let mut bench = plain();
        bench.client.write_all(bytes).await.unwrap();
        let error = bench.done.await.unwrap().unwrap_err();
        assert_eq!(error.to_string(), *expected);
    }
}

#[tokio::test(start_paused = true)]
async fn behind_a_last_answer_nothing_is_said_and_nothing_is_wrong() {
    let mut bench = plain();
    let sent = [framed(b"w1"), framed(b"last"), framed(b"more")].concat();
    bench.client.write_all(&sent).await.unwrap();
    bench.echo.gate.notify_one();
    let mut received = Vec::new();
    bench.client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, [framed(b"w1"), framed(b"last")].concat());
    bench.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn strangers_are_kept_short_until_they_are_known() {
    let mut bench = wary();
    bench.client.write_all(&[0, 0, 0, 11]).await.unwrap();
    let error = bench.done.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "frame of 11 bytes, the limit is 10");
    // Who sends half a frame is not waited for longer than who sends none.
    for bytes in [&b""[..], &[0, 0, 0, 9, b'x']] {
        let mut bench = wary();
        let began = tokio::time::Instant::now();
        bench.client.write_all(bytes).await.unwrap();
        let error = bench.done.await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectionError::Unauthenticated), "{error}");
        assert_eq!(began.elapsed().as_secs(), 30);
    }
    let mut bench = wary();
    bench.client.write_all(&framed(b"know me")).await.unwrap();
    bench.client.read_exact(&mut [0; 11]).await.unwrap();
    tokio::time::advance(Duration::from_secs(60)).await;
    bench.client.write_all(&framed(&[b'x'; 5000])).await.unwrap();
    bench.client.read_exact(&mut [0; 5004]).await.unwrap();
    drop(bench.client);
    bench.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_half_frame_at_the_end_is_an_error_and_none_is_not() {
    let mut bench = plain();
    bench.client.write_all(&[0, 0]).await.unwrap();
    drop(bench.client);
    assert!(matches!(bench.done.await.unwrap(), Err(ConnectionError::Socket(_))));
    let bench = plain();
    drop(bench.client);
    bench.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn only_produce_starts_before_its_turn_and_not_past_others() {
    let mut bench = plain();
    for body in [b"p1", b"w2", b"p3"] {
        bench.client.write_all(&framed(body)).await.unwrap();
    }
    let mut first = [0; 6];
    bench.client.read_exact(&mut first).await.unwrap();
    bench.echo.gate.notify_one();
    let mut rest = [0; 12];
    bench.client.read_exact(&mut rest).await.unwrap();
    assert_eq!(&rest, [framed(b"w2"), framed(b"p3")].concat().as_slice());
    assert_eq!(bench.echo.begun.lock().unwrap().len(), 3);
}

#[tokio::test(start_paused = true)]
async fn what_was_accepted_is_answered_after_a_stop() {
    let mut bench = plain();
    bench.client.write_all(&framed(b"w1")).await.unwrap();
    while bench.echo.begun.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    bench.shutdown.cancel();
    bench.echo.gate.notify_one();
    let mut reply = Vec::new();
    bench.client.read_to_end(&mut reply).await.unwrap();
    assert_eq!(reply, framed(b"w1"));
    bench.done.await.unwrap().unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_never_comes_does_not_hold_up_a_stop() {
    let mut bench = plain();
    bench.client.write_all(&framed(b"w1")).await.unwrap();
    while bench.echo.begun.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    bench.shutdown.cancel();
    let error = bench.done.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectionError::Undrained { .. }));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_no_replies_is_let_go() {
    let mut bench = start(ConnectionLimits::default(), Budget::new(1 << 30), 64);
    bench.client.write_all(&framed(&[b'x'; 500])).await.unwrap();
    let error = bench.done.await.unwrap().unwrap_err();
    assert!(matches!(error, ConnectionError::SlowReader { .. }), "{error}");
}

#[tokio::test(start_paused = true)]
async fn requests_in_flight_are_bounded() {
    let limits = ConnectionLimits { requests_in_flight_max: 4, ..ConnectionLimits::default() };
    let mut bench = start(limits, Budget::new(1 << 30), 1 << 20);
    for _ in 0..10_000 {
        bench.client.write_all(&framed(b"w")).await.unwrap();
    }
    while bench.echo.begun.lock().unwrap().len() < 4 {
        tokio::task::yield_now().await;
    }
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    assert_eq!(bench.echo.begun.lock().unwrap().len(), 4);
}

#[tokio::test(start_paused = true)]
async fn peers_with_big_unfinished_frames_go_and_small_requests_pass() {
    let budget = Budget::new(128 << 20);
    let mut hoarders = Vec::new();
    for _ in 0..50 {
        let mut bench = start(ConnectionLimits::default(), budget.clone(), 1 << 20);
        bench.client.write_all(&(99u32 << 20).to_be_bytes()).await.unwrap();
        // Enough to be charged twice over, so that together they want more than there is.
        let sending = tokio::spawn(async move {
            let _ = bench.client.write_all(&vec![b'x'; 3 << 20]).await;
            bench.done.await.unwrap()
        });
        hoarders.push(sending);
    }
    let mut honest = start(ConnectionLimits::default(), budget.clone(), 64 << 10);
    honest.client.write_all(&framed(b"metadata")).await.unwrap();
    let mut reply = [0; 12];
    honest.client.read_exact(&mut reply).await.unwrap();
    assert!(budget.taken() <= 128 << 20);
    for hoarder in hoarders {
        let error = hoarder.await.unwrap().unwrap_err();
        assert!(matches!(error, ConnectionError::Stalled { .. }), "{error}");
    }
    assert_eq!(budget.taken(), 0);
}
