//! Addresses: where clients come in, and what they are told.

use std::fmt;
use std::net::SocketAddr;

use super::Problem;
use super::fields::Fields;

/// A host and a port. Port 0 lets the system choose.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// A name or an address, without the brackets of IPv6.
    pub host: String,
    /// The port.
    pub port: u16,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Something else than TCP, or nothing.
    #[error("{text:?} does not start with tcp://, the only transport there is")]
    Transport { text: String },
    /// No port.
    #[error("{text:?} has no port; write tcp://HOST:PORT")]
    Port { text: String },
    /// No host.
    #[error("{text:?} has no host; write 0.0.0.0 for every IPv4 address of this machine")]
    Host { text: String },
}

impl Address {
    /// Reads `tcp://HOST:PORT`.
    pub fn parse(text: &str) -> Result<Address, AddressError> {
        let own = || text.to_owned();
        let rest = text.strip_prefix("tcp://");
        let rest = rest.ok_or_else(|| AddressError::Transport { text: own() })?;
        let (host, port) =
            rest.rsplit_once(':').ok_or_else(|| AddressError::Port { text: own() })?;
        let port = port.parse().map_err(|_| AddressError::Port { text: own() })?;
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        let is_odd = |letter: char| letter.is_whitespace() || matches!(letter, '/' | '[' | ']');
        let is_unbracketed = bare == host && host.contains(':');
        if bare.is_empty() || bare.contains(is_odd) || is_unbracketed {
            return Err(AddressError::Host { text: own() });
        }
        Ok(Address { host: bare.to_owned(), port })
    }

    /// `HOST:PORT`, with brackets around an IPv6 address.
    pub fn authority(&self) -> String {
        let Address { host, port } = self;
        if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "tcp://{}", self.authority())
    }
}

pub(super) fn listeners(
    fields: &mut Fields,
    default: &str,
    problems: &mut Vec<Problem>,
) -> Vec<Address> {
    let texts = fields.take("listeners", vec![default.to_owned()], problems);
    if texts.is_empty() {
        problems.push(Problem::at("listeners", "is empty; nobody could connect"));
    }
    let mut listeners: Vec<Address> = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let path = format!("listeners[{place}]");
        match Address::parse(text) {
            Ok(address) if address.port != 0 && listeners.contains(&address) => {
                problems.push(Problem::at(path, format!("{address} stands here twice")));
            }
            Ok(address) => listeners.push(address),
            Err(error) => problems.push(Problem::at(path, error.to_string())),
        }
    }
    listeners
}

pub(super) fn advertised(
    fields: &mut Fields,
    listeners: usize,
    problems: &mut Vec<Problem>,
) -> Vec<Option<Address>> {
    let texts = fields.take("advertised", Vec::<String>::new(), problems);
    if texts.is_empty() {
        return vec![None; listeners];
    }
    if texts.len() != listeners {
        let count = texts.len();
        let message = format!("{count} addresses for {listeners} listeners; give one for each");
        problems.push(Problem::at("advertised", message));
    }
    let mut advertised = Vec::new();
    for (place, text) in texts.iter().enumerate() {
        let path = format!("advertised[{place}]");
        if text == "auto" {
            advertised.push(None);
            continue;
        }
        match Address::parse(text) {
            Ok(address) if address.port == 0 => {
                problems.push(Problem::at(path, "port 0 cannot be connected to"));
            }
            Ok(address) => advertised.push(Some(address)),
            Err(error) => problems.push(Problem::at(path, error.to_string())),
        }
    }
    advertised
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
