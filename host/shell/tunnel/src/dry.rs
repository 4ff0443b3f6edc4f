//! A connection through a tunnel without sockets, for fuzz targets and whoever wants to see what a tunnel would make of bytes.
//!
//! **Never** decides anything: it is [`requests`](crate::requests) and [`answers`](crate::answers), one after the other.

use std::collections::VecDeque;
use std::net::{Ipv4Addr, SocketAddr};

use bytes::BytesMut;

use crate::answers::Answers;
use crate::requests::Requests;
use crate::rewrite::Node;

/// What comes of a connection.
#[derive(Debug, PartialEq, Eq)]
pub struct Passed {
    /// The answers that were expected: API, version, correlation.
    pub expected: Vec<(i16, i16, i32)>,
    /// What a client is sent.
    pub answers: Vec<u8>,
    /// Why the connection ends before its bytes do.
    pub ended: Option<String>,
}

/// Follows `requests`, then passes on `answers`, each in pieces of so many bytes. Every door is at one port.
pub fn pass(requests: &[u8], answers: &[u8], piece_bytes: usize) -> Passed {
    let (mut follower, mut found) = (Requests::default(), Vec::new());
    let mut ended = None;
    for piece in requests.chunks(piece_bytes.max(1)) {
        if let Err(error) = follower.follow(piece, &mut found) {
            ended = Some(error.to_string());
            break;
        }
    }
    let expected = found.iter().map(|it| (it.api, it.version, it.correlation)).collect();
    let mut asked = VecDeque::from(found);
    let mut doors = |_: Node, _: &str, _: u16| Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, 9092)));
    let (mut passer, mut out) = (Answers::default(), BytesMut::new());
    for piece in answers.chunks(piece_bytes.max(1)) {
        if let Err(error) = passer.take(piece, || asked.pop_front(), &mut doors, &mut out) {
            ended = ended.or(Some(error.to_string()));
            break;
        }
    }
    Passed { expected, answers: out.to_vec(), ended }
}
