//! What can go wrong between a request and its answer, and who was wrong.
//!
//! Three layers: a connection could not be made ([`ConnectError`]), a request was not answered
//! ([`RequestError`]), or it was answered with a Kafka error code ([`ApiError`]). Each names the
//! broker and the API. Producer and consumer have their own enums on top.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use brooklet_types::{BrokerId, ErrorCode};

use crate::config::Address;

/// The broker a request went to, as people know it: its address, and its number once known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Where it was dialled.
    pub address: Address,
    /// Its `node.id`; none for an address the user gave.
    pub id: Option<BrokerId>,
}

/// A Kafka error code as received, known to us or not.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Code(pub i16);

/// Why there is no connection.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ConnectError {
    /// The name has no address.
    #[error("resolve {peer}: {source}")]
    Resolve { peer: Peer, source: Arc<io::Error> },
    /// Nobody answers there, or the network refuses.
    #[error("connect to {peer}: {source}")]
    Unreachable { peer: Peer, source: Arc<io::Error> },
    /// Nobody answered in time.
    #[error("connect to {peer}: no answer within {after:?}")]
    Timeout { peer: Peer, after: Duration },
    /// The files with authorities, or with our own certificate or password, cannot be used.
    #[error("connect to {peer}: {reason}")]
    Unusable { peer: Peer, reason: Arc<str> },
    /// Somebody answers, and is not believed, or does not believe us.
    #[error("connect to {peer}: handshake: {reason}")]
    NotTrusted { peer: Peer, reason: Arc<str> },
    /// The broker does not take it that the client is who it says, or the client not that the broker is.
    #[error("authenticate to {peer}: {reason}")]
    NotAuthenticated { peer: Peer, reason: Arc<str> },
    /// The connection ended while the client said who it is.
    #[error("authenticate to {peer}: {source}")]
    Introduction { peer: Peer, source: Box<RequestError> },
    /// QUIC was not answered, and TLS did not work either.
    #[error("{quic}; over TLS instead: {tls}")]
    NeitherNor { quic: Box<ConnectError>, tls: Box<ConnectError> },
    /// Somebody answers, but does not speak Kafka or closes at once.
    #[error("agree on versions with {peer}: {source}")]
    Handshake { peer: Peer, source: Box<RequestError> },
}

/// Why a request has no answer.
#[derive(Clone, Debug, thiserror::Error)]
pub enum RequestError {
    /// There is no connection to send it on.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// The connection ended first. Whether the broker carried the request out is unknown.
    #[error("{api} to {peer}: connection lost: {reason}")]
    Lost { peer: Peer, api: &'static str, reason: Arc<str> },
    /// The broker did not answer in time; the connection is closed, as its answers are in order.
    #[error("{api} to {peer}: no answer within {after:?}")]
    Timeout { peer: Peer, api: &'static str, after: Duration },
    /// There is no version of the API that both sides speak.
    #[error("{api} to {peer}: it serves {theirs}, this client speaks {ours}")]
    NoCommonVersion { peer: Peer, api: &'static str, ours: String, theirs: String },
    /// The request cannot be expressed in the agreed version, or is too large.
    #[error("{api} to {peer}: encode: {reason}")]
    Unencodable { peer: Peer, api: &'static str, reason: String },
    /// The answer is not what the protocol says; the connection is closed.
    #[error("{api} to {peer}: answer is malformed: {reason}")]
    Malformed { peer: Peer, api: &'static str, reason: String },
}

/// Why an operation on the cluster did not succeed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer came.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The broker answered with an error.
    #[error("{api} of {subject} by {peer}: {code}{}", detail(.message))]
    Refused { peer: Peer, api: &'static str, subject: String, code: Code, message: Option<String> },
    /// None of the addresses the user gave could be reached.
    #[error("no broker reachable: {}", join(.tried))]
    NoBroker { tried: Vec<ConnectError> },
    /// The cluster told us an address that cannot be reached from here.
    #[error("broker {id} advertises {address}, which cannot be reached from here: {source}")]
    AdvertisedUnreachable { id: BrokerId, address: Address, source: ConnectError },
    /// The partition has no leader, or the topic no such partition.
    #[error("partition {partition} of {topic} {why}")]
    NoLeader { topic: String, partition: u32, why: &'static str },
    /// The cluster's metadata names a broker it does not list.
    #[error("broker {id} is not in the cluster's metadata")]
    UnknownBroker { id: BrokerId },
    /// The answer leaves out what was asked for.
    #[error("{api} by {peer}: answer leaves out {subject}")]
    Incomplete { peer: Peer, api: &'static str, subject: String },
    /// It was tried again until its time was over; `last` is what happened last.
    #[error("given up after {after:?}: {last}")]
    Deadline { after: Duration, last: Box<ApiError> },
}

impl ApiError {
    /// The Kafka error code, if a broker gave one.
    pub fn code(&self) -> Option<ErrorCode> {
        match self {
            ApiError::Refused { code, .. } => code.known(),
            ApiError::Deadline { last, .. } => last.code(),
            ApiError::Request(_)
            | ApiError::NoBroker { .. }
            | ApiError::AdvertisedUnreachable { .. }
            | ApiError::NoLeader { .. }
            | ApiError::UnknownBroker { .. }
            | ApiError::Incomplete { .. } => None,
        }
    }

    /// Whether the same request may succeed a little later.
    pub fn is_retriable(&self) -> bool {
        match self {
            ApiError::Request(error) => error.is_retriable(),
            ApiError::Refused { code, .. } => code.is_retriable(),
            ApiError::AdvertisedUnreachable { source, .. } => !source.is_final(),
            ApiError::NoLeader { .. } | ApiError::UnknownBroker { .. } => true,
            // An address nobody listens on will not start to while a person waits at a prompt.
            ApiError::NoBroker { .. } | ApiError::Incomplete { .. } | ApiError::Deadline { .. } => {
                false
            }
        }
    }

    /// Whether what we remember of leaders and coordinators may be out of date.
    pub fn suggests_stale_metadata(&self) -> bool {
        match self {
            ApiError::Request(_)
            | ApiError::AdvertisedUnreachable { .. }
            | ApiError::NoLeader { .. }
            | ApiError::UnknownBroker { .. } => true,
            ApiError::Refused { code, .. } => code.is_retriable(),
            ApiError::NoBroker { .. } | ApiError::Incomplete { .. } | ApiError::Deadline { .. } => {
                false
            }
        }
    }
}

impl ConnectError {
    /// Whether it makes no sense to try again: a password that is wrong stays wrong, and somebody counts.
    pub fn is_final(&self) -> bool {
        matches!(self, ConnectError::NotAuthenticated { .. })
    }
}

impl RequestError {
    /// Whether the same request may succeed on a new connection.
    pub fn is_retriable(&self) -> bool {
        match self {
            RequestError::Connect(error) => !error.is_final(),
            RequestError::Lost { .. } | RequestError::Timeout { .. } => true,
            RequestError::NoCommonVersion { .. }
            | RequestError::Unencodable { .. }
            | RequestError::Malformed { .. } => false,
        }
    }
}

impl Code {
    /// Success.
    pub const NONE: Code = Code(0);

    /// The code, if Kafka 4.3 knows it.
    pub fn known(self) -> Option<ErrorCode> {
        ErrorCode::from_wire(self.0)
    }

    /// `Ok` for 0.
    pub fn check(self) -> Result<(), Code> {
        if self == Code::NONE { Ok(()) } else { Err(self) }
    }

    /// Whether Kafka's clients try again. The group codes in the list are not retriable as such
    /// but heal when the client finds the coordinator again.
    pub fn is_retriable(self) -> bool {
        self.known().is_some_and(ErrorCode::is_retriable)
    }
}

impl From<ErrorCode> for Code {
    fn from(code: ErrorCode) -> Code {
        Code(code.to_wire())
    }
}

impl PartialEq<ErrorCode> for Code {
    fn eq(&self, other: &ErrorCode) -> bool {
        self.0 == other.to_wire()
    }
}

impl fmt::Display for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.known() {
            Some(code) => formatter.write_str(code.name()),
            None => write!(formatter, "error code {}", self.0),
        }
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.id {
            Some(id) => write!(formatter, "broker {id} ({})", self.address),
            None => self.address.fmt(formatter),
        }
    }
}

fn detail(message: &Option<String>) -> String {
    message.as_ref().map(|text| format!(": {text}")).unwrap_or_default()
}

fn join(errors: &[ConnectError]) -> String {
    let texts: Vec<String> = errors.iter().map(ToString::to_string).collect();
    texts.join("; ")
}
