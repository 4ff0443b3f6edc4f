//! How a client finds the cluster and how long it waits. Checked when it is made.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

/// Why a text is not an address.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// Nothing before the colon.
    #[error("address {text:?} has no host")]
    NoHost { text: String },
    /// What follows the last colon is no port.
    #[error("address {text:?} has no port between 1 and 65535")]
    BadPort { text: String },
    /// A transport this client does not have.
    #[error("address {text:?}: transport {scheme:?} is not known, use tcp://")]
    UnknownTransport { text: String, scheme: String },
}

/// Kafka's port, taken when an address names none.
const PORT_DEFAULT: u16 = 9092;

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST`, `HOST:PORT`, `[V6]:PORT`, each with or without `tcp://` before it.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let rest = match text.split_once("://") {
            Some(("tcp", rest)) => rest,
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(AddressError::UnknownTransport { text: text.to_owned(), scheme });
            }
            None => text,
        };
        let (host, port) = match rest.rsplit_once(':') {
            // A bare IPv6 address has more than one colon and no brackets.
            Some((host, _)) if host.contains(':') && !host.starts_with('[') => (rest, None),
            Some((_, inside)) if inside.ends_with(']') => (rest, None),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(AddressError::NoHost { text: text.to_owned() });
        }
        let port = match port {
            None => PORT_DEFAULT,
            Some(port) => port
                .parse()
                .ok()
                .filter(|port| *port != 0)
                .ok_or_else(|| AddressError::BadPort { text: text.to_owned() })?,
        };
        Ok(Address { host: host.to_owned(), port })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Settings of a [`Client`](crate::Client).
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// Where to start; one that answers is enough.
    pub brokers: Vec<Address>,
    /// Whether a broker is dialled where it says it is. If not, the first of `brokers` stands for all: for a client
    /// beside the only broker, which may advertise an address that cannot be reached from there.
    pub follow_advertised: bool,
    /// Sent with every request, seen in the broker's logs and quotas.
    pub client_id: String,
    /// How long a connection may take to be made, versions included.
    pub connect_timeout: Duration,
    /// How long a broker may take over one request.
    pub request_timeout: Duration,
    /// How long an operation is tried again in total before it fails.
    pub retry_timeout: Duration,
    /// How old metadata may get before it is asked for again.
    pub metadata_age_max: Duration,
    /// The largest answer taken from a broker.
    pub response_bytes_max: usize,
}

impl ClientConfig {
    /// The defaults, most of them Kafka's.
    pub fn new(brokers: Vec<Address>) -> ClientConfig {
        ClientConfig {
            brokers,
            follow_advertised: true,
            client_id: "brooklet".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(60),
            metadata_age_max: Duration::from_secs(300),
            // Twice what a broker sends for one fetch, and far from exhausting a machine.
            response_bytes_max: 128 << 20,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_people_write_it() {
        let cases = [
            ("localhost", "localhost:9092"),
            ("localhost:1", "localhost:1"),
            ("tcp://10.0.0.1:19092", "10.0.0.1:19092"),
            ("::1", "[::1]:9092"),
            ("[::1]", "[::1]:9092"),
            ("[::1]:9093", "[::1]:9093"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), expected, "{text}");
        }
        for wrong in ["", ":9092", "host:", "host:0", "host:65536", "host:x", "udp://host:1"] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }
}
