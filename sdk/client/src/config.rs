//! How a client finds the cluster and how long it waits. Checked when it is made.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use brooklet_auth::Mechanism;
use brooklet_types::ScramHash;

use crate::password::Password;
use crate::transport::Way;

/// What carries the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum Transport {
    /// TCP, in the clear.
    #[default]
    Tcp,
    /// TLS over TCP.
    Tls,
    /// QUIC, over UDP.
    Quic,
}

impl Transport {
    /// What an address begins with.
    pub fn scheme(self) -> &'static str {
        match self {
            Transport::Tcp => "tcp",
            Transport::Tls => "tls",
            Transport::Quic => "quic",
        }
    }
}

/// SHA-256 of a broker's certificate (DER): the certificate is taken for that alone, whoever issued it, whatever
/// names are in it and until when it says it is good.
///
/// Behind a pointer: addresses are part of every error.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pin(Arc<[u8; 32]>);

impl fmt::Display for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for Pin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, formatter)
    }
}

impl Pin {
    /// The pin of a certificate with this digest.
    pub fn new(digest: [u8; 32]) -> Pin {
        Pin(Arc::new(digest))
    }

    /// Reads 64 hexadecimal digits, with colons between bytes as `openssl` writes them, or without.
    fn parse(text: &str) -> Option<Pin> {
        let digits: Vec<u8> = text.bytes().filter(|byte| *byte != b':').collect();
        let mut bytes = [0; 32];
        if digits.len() != 2 * bytes.len() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(digits.chunks(2)) {
            let pair = std::str::from_utf8(pair).ok().filter(|pair| !pair.contains('+'))?;
            *byte = u8::from_str_radix(pair, 16).ok()?;
        }
        Some(Pin::new(bytes))
    }
}

/// Where a broker listens.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Address {
    /// What carries the protocol there.
    pub transport: Transport,
    /// A name or an IP address; IPv6 without brackets.
    pub host: String,
    /// The port: of UDP for QUIC, else of TCP.
    pub port: u16,
    /// The certificate that is expected there. Whatever is pinned for one address that a client is given, it takes
    /// from every broker.
    pub pin: Option<Pin>,
    /// For QUIC, the port of TLS that is tried when UDP is not answered; none is the same number.
    pub tls_port: Option<u16>,
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
    #[error("address {text:?}: transport {scheme:?} is not known, use tcp://, tls:// or quic://")]
    UnknownTransport { text: String, scheme: String },
    /// Something behind the question mark that has no meaning there.
    #[error(
        "address {text:?}: {option:?} is no option of {}://; there are pin=SHA256 (tls, quic) and \
         tls=PORT (quic)",
        transport.scheme()
    )]
    BadOption { text: String, option: String, transport: Transport },
}

/// Kafka's port, taken when an address names none.
const PORT_DEFAULT: u16 = 9092;

impl FromStr for Address {
    type Err = AddressError;

    /// `HOST`, `HOST:PORT`, `[V6]:PORT`, each with or without `tcp://`, `tls://` or `quic://` before it and, with the
    /// latter two, `?pin=SHA256` behind it; with `quic://` also `?tls=PORT`.
    fn from_str(text: &str) -> Result<Address, AddressError> {
        let own = || text.to_owned();
        let (transport, rest) = match text.split_once("://") {
            Some(("tcp", rest)) => (Transport::Tcp, rest),
            Some(("tls", rest)) => (Transport::Tls, rest),
            Some(("quic", rest)) => (Transport::Quic, rest),
            Some((scheme, _)) => {
                let scheme = scheme.to_owned();
                return Err(AddressError::UnknownTransport { text: own(), scheme });
            }
            None => (Transport::Tcp, text),
        };
        let (rest, options) = rest.split_once('?').unwrap_or((rest, ""));
        let (host, port) = match rest.rsplit_once(':') {
            // A bare IPv6 address has more than one colon and no brackets.
            Some((host, _)) if host.contains(':') && !host.starts_with('[') => (rest, None),
            Some((_, inside)) if inside.ends_with(']') => (rest, None),
            Some((host, port)) => (host, Some(port)),
            None => (rest, None),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        if host.is_empty() {
            return Err(AddressError::NoHost { text: own() });
        }
        let read = |port: &str| port.parse().ok().filter(|port| *port != 0);
        let port = port.map_or(Some(PORT_DEFAULT), read);
        let port = port.ok_or_else(|| AddressError::BadPort { text: own() })?;
        let mut address = Address::new(transport, host, port);
        for option in options.split('&').filter(|option| !option.is_empty()) {
            let bad =
                || AddressError::BadOption { text: own(), option: option.to_owned(), transport };
            match (option.split_once('='), transport) {
                (Some(("pin", pin)), Transport::Tls | Transport::Quic) => {
                    address.pin = Some(Pin::parse(pin).ok_or_else(bad)?);
                }
                (Some(("tls", port)), Transport::Quic) => {
                    address.tls_port = Some(read(port).ok_or_else(bad)?);
                }
                _ => return Err(bad()),
            }
        }
        Ok(address)
    }
}

impl Address {
    /// An address with nothing more to it.
    pub fn new(transport: Transport, host: impl Into<String>, port: u16) -> Address {
        Address { transport, host: host.into(), port, pin: None, tls_port: None }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.transport {
            // As Kafka's own tools write it.
            Transport::Tcp => {}
            Transport::Tls | Transport::Quic => {
                write!(formatter, "{}://", self.transport.scheme())?
            }
        }
        if self.host.contains(':') {
            write!(formatter, "[{}]:{}", self.host, self.port)
        } else {
            write!(formatter, "{}:{}", self.host, self.port)
        }
    }
}

/// Whom a client believes over TLS and QUIC, and who it says it is.
#[derive(Clone, Debug, Default)]
pub struct TlsConfig {
    /// A file in PEM with the authorities whose brokers are believed; none for those that this machine trusts. Of no
    /// consequence where an address has a pin.
    pub authorities: Option<PathBuf>,
    /// What is shown to brokers that ask.
    pub identity: Option<IdentityFiles>,
    /// The name that a broker's certificate must have; none for the host that was dialled. For brokers whose addresses say
    /// nothing of who they are. Of no consequence where an address has a pin.
    pub server_name: Option<String>,
}

/// A client's certificate and its key, in PEM.
#[derive(Clone, Debug)]
pub struct IdentityFiles {
    /// The certificate, and behind it those between it and its authority.
    pub certificate: PathBuf,
    /// Its key, without a password.
    pub key: PathBuf,
}

/// How fast is sent over QUIC as the link answers. This is the client's side; a broker has a setting for its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Congestion {
    /// As almost everybody: a lost packet means that the link is full.
    #[default]
    Cubic,
    /// For links that lose packets without being full: goes by the rate at which packets arrive.
    Bbr,
}

/// Which requests are sent first of those that go to one broker over one QUIC connection. Over TCP and TLS it is of no
/// consequence: each connection has its own way there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Urgency {
    /// After all others.
    Bulk = -1,
    /// As everybody.
    #[default]
    Usual = 0,
    /// Before all others.
    Urgent = 1,
}

/// Who the client says it is, and how it proves it.
#[derive(Clone, Debug)]
pub struct SaslConfig {
    /// How. With PLAIN the broker is told the password: over TLS or QUIC, that is for its eyes alone.
    pub mechanism: SaslMechanism,
    /// The user.
    pub user: String,
    /// The user's password, or the token.
    pub password: Password,
}

/// A way to prove that one knows a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SaslMechanism {
    /// Tell it.
    Plain,
    /// Prove it, and have the broker prove that it knows the user too.
    ScramSha256,
    /// The same with a longer hash.
    ScramSha512,
    /// Show a token that somebody has signed whom the broker trusts: it stands in place of the password, and is told who
    /// the user is by it.
    OauthBearer,
}

/// A mechanism that this client does not have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "mechanism {0:?} is not known; there are PLAIN, SCRAM-SHA-256, SCRAM-SHA-512 and OAUTHBEARER"
)]
pub struct MechanismError(String);

impl SaslMechanism {
    const ALL: [SaslMechanism; 4] = [
        SaslMechanism::Plain,
        SaslMechanism::ScramSha256,
        SaslMechanism::ScramSha512,
        SaslMechanism::OauthBearer,
    ];

    /// Its registered name.
    pub fn name(self) -> &'static str {
        let mechanism = match self {
            SaslMechanism::Plain => Mechanism::Plain,
            SaslMechanism::ScramSha256 => Mechanism::Scram(ScramHash::Sha256),
            SaslMechanism::ScramSha512 => Mechanism::Scram(ScramHash::Sha512),
            SaslMechanism::OauthBearer => Mechanism::OauthBearer,
        };
        mechanism.name()
    }
}

impl FromStr for SaslMechanism {
    type Err = MechanismError;

    /// Its name, in letters of either case: it is people who write it.
    fn from_str(text: &str) -> Result<SaslMechanism, MechanismError> {
        let found = SaslMechanism::ALL.into_iter().find(|it| it.name().eq_ignore_ascii_case(text));
        found.ok_or_else(|| MechanismError(text.to_owned()))
    }
}

impl fmt::Display for SaslMechanism {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
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
    /// How brokers are reached, if not over the network; `brokers` then name them and no more.
    pub way: Option<Arc<dyn Way>>,
    /// Whom the client believes over TLS and QUIC.
    pub tls: TlsConfig,
    /// How sending over QUIC adapts to the link.
    pub congestion: Congestion,
    /// Which of the connections that share one over QUIC are sent first.
    pub urgency: Urgency,
    /// Who the client says it is; none where brokers do not ask, or its certificate says it.
    pub sasl: Option<SaslConfig>,
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
    /// Over QUIC, over how many streams to one broker a producer, and a consumer, spreads its partitions: a lost packet
    /// holds up those of one stream only. Where a broker gives fewer, some partitions share one.
    pub partition_lanes: u32,
}

impl ClientConfig {
    /// The defaults, most of them Kafka's.
    pub fn new(brokers: Vec<Address>) -> ClientConfig {
        ClientConfig {
            brokers,
            follow_advertised: true,
            way: None,
            tls: TlsConfig::default(),
            congestion: Congestion::default(),
            urgency: Urgency::default(),
            sasl: None,
            client_id: "brooklet".to_owned(),
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(30),
            retry_timeout: Duration::from_secs(60),
            metadata_age_max: Duration::from_secs(300),
            // Twice what a broker sends for one fetch, and far from exhausting a machine.
            response_bytes_max: 128 << 20,
            // A stream for each of a machine's partitions, most often; a broker of ours gives four times as many.
            partition_lanes: 64,
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
            ("tls://a:9093", "tls://a:9093"),
            ("quic://[::1]?tls=9093", "quic://[::1]:9092"),
        ];
        for (text, expected) in cases {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), expected, "{text}");
        }
        for wrong in [
            "",
            ":9092",
            "host:",
            "host:0",
            "host:65536",
            "host:x",
            "udp://host:1",
            "tcp://a:1?pin=00",
            "tls://a:1?pin=00",
            "tls://a:1?tls=1",
            "quic://a:1?tls=0",
            "quic://a:1?pins=1",
        ] {
            assert!(wrong.parse::<Address>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_mechanism_is_read_in_either_case() {
        for mechanism in SaslMechanism::ALL {
            assert_eq!(mechanism.name().to_lowercase().parse(), Ok(mechanism));
        }
        assert!("SCRAM-SHA-1".parse::<SaslMechanism>().is_err());
    }

    #[test]
    fn a_pin_is_read_as_openssl_writes_it_too() {
        let plain = "0123456789abcdef".repeat(4);
        let pairs = plain.as_bytes().chunks(2).map(|pair| String::from_utf8_lossy(pair));
        let colons = pairs.collect::<Vec<_>>().join(":").to_uppercase();
        for text in [&plain, &colons] {
            let address: Address = format!("quic://a:1?pin={text}&tls=2").parse().unwrap();
            assert_eq!(address.pin.unwrap().to_string(), plain);
            assert_eq!(address.tls_port, Some(2));
        }
        for wrong in ["", "0", &plain[1..], &plain.replace('0', "+"), &plain.replace('a', "g")] {
            assert!(Pin::parse(wrong).is_none(), "{wrong}");
        }
    }
}
