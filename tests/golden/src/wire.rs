//! One TCP connection to a broker: frames out, frames in, each with a deadline.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long an answer may take: a rebalance waits for members, a session for its timeout.
const ANSWER_MAX: Duration = Duration::from_secs(12);
/// How long a broker may think about bytes that are no request before we say that it is silent.
const SILENCE: Duration = Duration::from_secs(2);

/// What came back.
#[derive(Debug)]
pub(crate) enum Reply {
    /// A frame without its length.
    Frame(Vec<u8>),
    Closed,
    Silent,
}

pub(crate) struct Connection {
    stream: TcpStream,
    correlation: i32,
    /// Answers that came while another was awaited.
    early: BTreeMap<i32, Vec<u8>>,
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> io::Result<Connection> {
        let stream = TcpStream::connect_timeout(&address, ANSWER_MAX)?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream, correlation: 0, early: BTreeMap::new() })
    }

    /// Sends one request and returns its correlation id. `body` is all that follows the client id.
    pub(crate) fn send(&mut self, api: i16, version: i16, body: &[u8]) -> i32 {
        const CLIENT: &[u8] = b"golden";
        self.correlation += 1;
        let mut frame = Vec::new();
        frame.extend(api.to_be_bytes());
        frame.extend(version.to_be_bytes());
        frame.extend(self.correlation.to_be_bytes());
        frame.extend((CLIENT.len() as i16).to_be_bytes());
        frame.extend(CLIENT);
        frame.extend(body);
        let mut whole = (frame.len() as i32).to_be_bytes().to_vec();
        whole.extend(frame);
        // A broken pipe shows as `Closed` when the answer is read.
        let _ = self.stream.write_all(&whole);
        self.correlation
    }

    /// Sends `bytes` and returns the frame that comes back.
    pub(crate) fn exchange(&mut self, bytes: &[u8]) -> Reply {
        let _ = self.stream.write_all(bytes);
        self.read(Instant::now() + SILENCE)
    }

    /// The answer to the request `correlation`, without its correlation id.
    pub(crate) fn await_answer(&mut self, correlation: i32) -> Reply {
        let deadline = Instant::now() + ANSWER_MAX;
        loop {
            if let Some(frame) = self.early.remove(&correlation) {
                return Reply::Frame(frame);
            }
            // Answers come in the order of the requests: a later one means that none will come.
            if self.early.keys().any(|later| *later > correlation) {
                return Reply::Silent;
            }
            let frame = match self.read(deadline) {
                Reply::Frame(frame) => frame,
                other => return other,
            };
            let Some((id, rest)) = frame.split_first_chunk() else { return Reply::Frame(frame) };
            self.early.insert(i32::from_be_bytes(*id), rest.to_vec());
        }
    }

    fn read(&mut self, deadline: Instant) -> Reply {
        let mut length = [0; 4];
        if let Err(reply) = self.fill(&mut length, deadline) {
            return reply;
        }
        let mut frame = vec![0; u32::from_be_bytes(length) as usize];
        match self.fill(&mut frame, deadline) {
            Ok(()) => Reply::Frame(frame),
            Err(reply) => reply,
        }
    }

    fn fill(&mut self, mut buffer: &mut [u8], deadline: Instant) -> Result<(), Reply> {
        while !buffer.is_empty() {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(Reply::Silent);
            }
            self.stream.set_read_timeout(Some(left)).expect("the timeout is not zero");
            match self.stream.read(buffer) {
                Ok(0) => return Err(Reply::Closed),
                Ok(count) => buffer = &mut buffer[count..],
                Err(error) => match error.kind() {
                    io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => {
                        return Err(Reply::Silent);
                    }
                    io::ErrorKind::Interrupted => {}
                    _ => return Err(Reply::Closed),
                },
            }
        }
        Ok(())
    }
}
