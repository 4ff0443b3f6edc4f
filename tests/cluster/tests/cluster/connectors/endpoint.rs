//! An HTTP endpoint with its moods: every tenth request fails, `refuse` in a body is refused, and at times nobody
//! is there.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::stage::soon;

#[derive(Default)]
struct Seen {
    requests: usize,
    /// Idempotency key and body of each request that was accepted.
    arrived: Vec<(String, String)>,
    keys: BTreeSet<String>,
    away_until: Option<Instant>,
}

pub(super) struct Endpoint {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Endpoint {
    /// Serves until the test ends.
    pub(super) fn start() -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let seen: Arc<Mutex<Seen>> = Arc::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Endpoint { address, seen }
    }

    pub(super) fn address(&self) -> String {
        self.address.to_string()
    }

    pub(super) fn url(&self) -> String {
        format!("http://{}/hook", self.address)
    }

    /// Waits until so many different records have arrived: however long that takes, as long as more come.
    pub(super) fn until(&self, count: usize) {
        let different = || self.seen.lock().unwrap().keys.len();
        let mut before = different();
        while before < count {
            before = soon(&format!("{count} records, {before} have come"), || {
                let now = different();
                (now > before).then_some(now)
            });
        }
    }

    pub(super) fn arrived(&self) -> Vec<(String, String)> {
        self.seen.lock().unwrap().arrived.clone()
    }

    /// Closes connections without a word for so long.
    pub(super) fn away(&self, time: Duration) {
        self.seen.lock().unwrap().away_until = Some(Instant::now() + time);
    }
}

/// Answers the requests of one connection; a client that is gone is no trouble.
fn serve(stream: TcpStream, seen: &Mutex<Seen>) -> Option<()> {
    stream.set_read_timeout(Some(Duration::from_secs(60))).ok()?;
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut writer = stream;
    loop {
        let (mut length, mut key) = (0, String::new());
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).ok()? == 0 {
                return None;
            }
            let Some((name, value)) = line.split_once(':') else {
                if line.trim().is_empty() {
                    break;
                }
                continue;
            };
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = value.trim().parse().ok()?,
                "idempotency-key" => value.trim().clone_into(&mut key),
                _ => {}
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).ok()?;
        let body = String::from_utf8(body).ok()?;
        let mut seen = seen.lock().unwrap();
        if seen.away_until.is_some_and(|until| Instant::now() < until) {
            return None;
        }
        seen.requests += 1;
        let status = if seen.requests.is_multiple_of(10) {
            "503 Service Unavailable"
        } else if body.contains("refuse") {
            "422 Unprocessable Content"
        } else {
            seen.keys.insert(key.clone());
            seen.arrived.push((key, body));
            "204 No Content"
        };
        drop(seen);
        write!(writer, "HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n").ok()?;
    }
}
