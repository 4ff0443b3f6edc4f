//! Addresses: where clients come in, and what they are told.

use std::fmt;
use std::net::SocketAddr;

use brooklet_io::tls::TlsFiles;
use ron::Value;

use super::access::{self, SaslConfig};
use super::fields::Fields;
use super::{Problem, tls};

/// What carries the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Transport {
    /// TCP, in the clear.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// QUIC, over UDP.
    Quic,
}

impl Transport {
    /// All there are.
    pub const ALL: [Transport; 3] = [Transport::Tcp, Transport::Tls, Transport::Quic];

    /// What an address begins with.
    pub fn scheme(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Quic => "quic",
        }
    }

    /// What Kafka calls it. It has no QUIC.
    fn in_kafka(self, with_sasl: bool) -> &'static str {
        match (self, with_sasl) {
            (Transport::Tcp, false) => "PLAINTEXT",
            (Transport::Tcp, true) => "SASL_PLAINTEXT",
            (Transport::Tls, false) => "SSL",
            (Transport::Tls, true) => "SASL_SSL",
            (Transport::Quic, false) => "QUIC",
            (Transport::Quic, true) => "SASL_QUIC",
        }
    }
}

/// A transport, a host and a port. Port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// What carries the protocol.
    pub transport: Transport,
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Where clients come in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenerConfig {
    /// What is listened on.
    pub address: Address,
    /// What clients are told to use; none where it is the address that a client came in on.
    pub advertised: Option<Address>,
    /// The listener's own certificate; none where it is everybody's.
    pub tls: Option<TlsFiles>,
    /// How clients say who they are; none where they are not asked, or by their certificates.
    pub sasl: Option<SaslConfig>,
    /// Rules that make a user's name of a certificate's subject, as Kafka's `ssl.principal.mapping.rules`; none
    /// where the subject is the name.
    pub principals: Option<String>,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Another transport, or none.
    #[error("{text:?} does not start with tcp://, tls:// or quic://")]
    Transport { text: String },
    /// No port.
    #[error("{text:?} has no port; write tcp://HOST:PORT")]
    Port { text: String },
    /// No host.
    #[error("{text:?} has no host; write 0.0.0.0 for every IPv4 address of this machine")]
    Host { text: String },
}

impl Address {
    /// Reads `tcp://HOST:PORT`, and the same with `tls` and `quic`.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let own = || text.to_owned();
        let (scheme, rest) =
            text.split_once("://").ok_or_else(|| AddressError::Transport { text: own() })?;
        let transport = Transport::ALL.into_iter().find(|it| it.scheme() == scheme);
        let transport = transport.ok_or_else(|| AddressError::Transport { text: own() })?;
        let (host, port) =
            rest.rsplit_once(':').ok_or_else(|| AddressError::Port { text: own() })?;
        let port = port.parse().map_err(|_| AddressError::Port { text: own() })?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_odd = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '[' | ']');
        let is_unbracketed = bare == host && host.contains(':');
        if bare.is_empty() || bare.contains(is_odd) || is_unbracketed {
            return Err(AddressError::Host { text: own() });
        }
        Ok(Address { transport, host: bare.to_owned(), port })
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        let Address { host, port, .. } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }

    /// Whether both would take the same port.
    fn collides(&self, other: &Address) -> bool {
        let is_udp = |address: &Address| address.transport == Transport::Quic;
        let same_place = self.host == other.host && self.port == other.port;
        self.port != 0 && same_place && is_udp(self) == is_udp(other)
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}", self.transport.scheme(), self.authority())
    }
}

impl ListenerConfig {
    /// A listener that needs nothing more than its address.
    pub fn new(address: Address) -> ListenerConfig {
        ListenerConfig { address, advertised: None, tls: None, sasl: None, principals: None }
    }

    /// What Kafka calls a listener of the kind that clients are told to use.
    pub(crate) fn kafka_name(&self) -> &'static str {
        let told = self.advertised.as_ref().unwrap_or(&self.address);
        told.transport.in_kafka(self.sasl.is_some())
    }

    /// One of its addresses as Kafka writes it.
    pub(super) fn in_kafka(&self, address: &Address) -> String {
        let protocol = address.transport.in_kafka(self.sasl.is_some());
        format!("{protocol}://{}", address.authority())
    }
}

pub(super) fn listeners(
    fields: &mut Fields,
    defaults: &[&str],
    problems: &mut Vec<Problem>,
) -> Vec<ListenerConfig> {
    let defaults = defaults.iter().map(|text| Value::String((*text).to_owned())).collect();
    let values: Vec<Value> = fields.take("listeners", defaults, problems);
    if values.is_empty() {
        problems.push(Problem::at("listeners", "is empty; nobody could connect"));
    }
    let mut listeners: Vec<ListenerConfig> = Vec::new();
    for (place, value) in values.into_iter().enumerate() {
        let path = format!("listeners[{place}]");
        let Some(listener) = listener(&path, value, problems) else { continue };
        let address = &listener.address;
        if let Some(other) = listeners.iter().find(|it| it.address.collides(address)) {
            let message = if other.address == *address {
                format!("{address} stands here twice")
            } else {
                format!("{address} needs the port of {}", other.address)
            };
            problems.push(Problem::at(path, message));
        } else {
            listeners.push(listener);
        }
    }
    listeners
}

/// An address, or `(url: …, tls: (…), sasl: (…), principals: …)`.
fn listener(path: &str, value: Value, problems: &mut Vec<Problem>) -> Option<ListenerConfig> {
    let (text, tls, sasl, principals, url) = if let Value::String(text) = value {
        (text, None, None, None, path.to_owned())
    } else {
        let Some(mut fields) = Fields::of(format!("{path}."), value) else {
            let message = "is neither an address nor (url: ADDRESS, tls: (…))";
            problems.push(Problem::at(path, message));
            return None;
        };
        let text = fields.take("url", String::new(), problems);
        let tls = tls::files(fields.section("tls", problems), problems);
        let sasl = access::sasl(fields.section("sasl", problems), problems);
        let principals = access::principals(&mut fields, problems);
        fields.finish(problems);
        (text, tls, sasl, principals, format!("{path}.url"))
    };
    match Address::parse(&text) {
        Ok(address) if address.transport == Transport::Tcp && tls.is_some() => {
            let message = "tcp:// has no certificate; write tls:// for one that has";
            problems.push(Problem::at(url, message));
            None
        }
        Ok(address) => {
            Some(ListenerConfig { tls, sasl, principals, ..ListenerConfig::new(address) })
        }
        Err(error) => {
            problems.push(Problem::at(url, error.to_string()));
            None
        }
    }
}

pub(super) fn advertised(
    fields: &mut Fields,
    listeners: &mut [ListenerConfig],
    problems: &mut Vec<Problem>,
) {
    let texts = fields.take("advertised", Vec::<String>::new(), problems);
    if texts.is_empty() {
        return;
    }
    if texts.len() != listeners.len() {
        let (count, listeners) = (texts.len(), listeners.len());
        let message = format!("{count} addresses for {listeners} listeners; give one for each");
        problems.push(Problem::at("advertised", message));
    }
    let mut listeners = listeners.iter_mut();
    for (place, text) in texts.iter().enumerate() {
        let path = format!("advertised[{place}]");
        let listener = listeners.next();
        if text == "auto" {
            continue;
        }
        match (Address::parse(text), listener) {
            (Ok(address), _) if address.port == 0 => {
                problems.push(Problem::at(path, "port 0 cannot be connected to"));
            }
            (Ok(address), Some(listener)) if address.transport != listener.address.transport => {
                let message = format!("{address} is not reached through {}", listener.address);
                problems.push(Problem::at(path, message));
            }
            (Ok(address), Some(listener)) => listener.advertised = Some(address),
            // That there are too many has been said.
            (Ok(_), None) => {}
            (Err(error), _) => problems.push(Problem::at(path, error.to_string())),
        }
    }
}

pub(super) fn admin(
    fields: &mut Fields,
    default: &str,
    problems: &mut Vec<Problem>,
) -> Option<SocketAddr> {
    let text = fields.take("admin", default.to_owned(), problems);
    if text == "none" {
        return None;
    }
    match text.parse() {
        Ok(address) => Some(address),
        Err(_) => {
            let message = format!("{text:?} is neither ADDRESS:PORT nor \"none\"");
            problems.push(Problem::at("admin", message));
            None
        }
    }
}
