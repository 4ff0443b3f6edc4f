//! Reaching for what was not granted: files, sockets, names, the environment, HTTP, the time.
//!
//! Says in words what came of each, so that a test sees all of them at once.

use std::fs;
use std::net::{TcpListener, TcpStream, ToSocketAddrs as _, UdpSocket};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use wasip2::http::outgoing_handler;
use wasip2::http::types::{Fields, OutgoingRequest, Scheme};

/// One word for each thing that was tried: what it is, and `refused` or what was there.
pub(crate) fn report() -> String {
    let mut words = Vec::new();
    let mut tried = |what: &str, refused: bool| {
        words.push(format!("{what}={}", if refused { "refused" } else { "GRANTED" }));
    };
    tried("read", fs::read("/etc/passwd").is_err());
    tried("list", fs::read_dir("/").is_err() && fs::read_dir(".").is_err());
    tried("write", fs::write("hostile", b"x").is_err() && fs::write("/tmp/hostile", b"x").is_err());
    tried("connect", TcpStream::connect(("127.0.0.1", 9092)).is_err());
    tried("listen", TcpListener::bind(("127.0.0.1", 0)).is_err());
    tried("udp", UdpSocket::bind(("127.0.0.1", 0)).is_err());
    tried("resolve", ("localhost", 80).to_socket_addrs().is_err());
    tried("environment", std::env::vars().next().is_none() && std::env::args().next().is_none());
    tried("http", http().is_err());
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let began = Instant::now();
    assert!((0..1_000_000_u32).all(|number| std::hint::black_box(number) < 1_000_000));
    tried("time", since.is_zero() && began.elapsed().is_zero());
    words.join(" ")
}

fn http() -> Result<(), ()> {
    let request = OutgoingRequest::new(Fields::new());
    request.set_scheme(Some(&Scheme::Http))?;
    request.set_authority(Some("127.0.0.1:9644"))?;
    request.set_path_with_query(Some("/metrics"))?;
    let answer = outgoing_handler::handle(request, None).map_err(drop)?;
    answer.subscribe().block();
    answer.get().ok_or(())??.map(drop).map_err(drop)
}
