//! A tunnel's life: listen, ask who is there, take clients, stop.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use brooklet_client::transport::Dialer;
use brooklet_client::{Address, ApiError, Client, ClientConfig, TlsConfig};
use tokio::net::lookup_host;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::doors::Doors;
use crate::rewrite::Node;

/// How long the first question may take: a broker that can be asked answers at once, and one that wants to know first who asks
/// does not answer at all.
const FIRST_QUESTION_MAX: Duration = Duration::from_secs(5);
/// Longer than any client may take when the tunnel stops.
const CLOSE_MAX: Duration = Duration::from_secs(6);

/// Where a tunnel begins and where it leads.
#[derive(Clone, Debug)]
pub struct Config {
    /// `HOST:PORT` of the first door; port 0 takes a free one. Doors to brokers have the ports behind it, or free ones
    /// where those are taken or it was 0.
    pub listen: String,
    /// Brokers to begin with; with a pin, the certificate that is believed.
    pub to: Vec<Address>,
    /// Whom the tunnel believes, and who it says it is: to brokers, all clients are it.
    pub tls: TlsConfig,
    /// How long one way to a broker may take to be made.
    pub connect_timeout: Duration,
}

/// What there is once clients are taken.
#[derive(Clone, Debug)]
pub struct Ready {
    /// The doors so far, the one for beginners first.
    pub doors: Vec<SocketAddr>,
}

/// Why there is no tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelError {
    /// What to listen on is no address, or its name has none.
    #[error("listen on {listen}: {source}")]
    Resolve { listen: String, source: std::io::Error },
    /// The port is taken, or not ours to take.
    #[error("listen on {address}: {source}")]
    Listen { address: SocketAddr, source: std::io::Error },
}

/// Carries clients' connections until `stop`, and then those answers that are owed. `ready` is called once clients are
/// taken.
///
/// A broker that cannot be reached or does not answer is no error: it may be there later, and its clients find out as
/// they would without a tunnel.
pub async fn run(
    config: Config,
    stop: CancellationToken,
    ready: impl FnOnce(&Ready),
) -> Result<(), TunnelError> {
    let Config { listen, to, tls, connect_timeout } = config;
    let resolve = |source| TunnelError::Resolve { listen: listen.clone(), source };
    let address = lookup_host(&listen).await.map_err(resolve)?.next();
    let none = || resolve(std::io::ErrorKind::AddrNotAvailable.into());
    let address = address.ok_or_else(none)?;
    let listen = |source| TunnelError::Listen { address, source };
    // Not tokio's, as doors are opened where nothing may wait; for these nothing has to.
    let socket = TcpListener::bind(address).map_err(listen)?;
    if tls.identity.is_some() && !address.ip().is_loopback() {
        tracing::warn!(%address, "whoever reaches this address is taken for the tunnel by brokers");
    }
    let pins = to.iter().filter_map(|address| address.pin.clone()).collect();
    let dialer = Dialer::new(tls.clone(), pins);
    let consecutive = address.port() != 0;
    let (begin, stopping) = (to.clone(), stop.clone());
    let doors = Doors::open(socket, consecutive, to, dialer, connect_timeout, stopping);
    let doors = doors.map_err(listen)?;
    let learned = async {
        match timeout(FIRST_QUESTION_MAX, brokers(begin, tls)).await {
            Ok(Ok(brokers)) => {
                for (node, address) in brokers {
                    if let Err(error) = doors.port_to(node, address) {
                        tracing::warn!(?node, "{error}");
                    }
                }
            }
            Ok(Err(error)) => tracing::info!("brokers are known when a client asks: {error}"),
            Err(_) => tracing::info!(
                "brokers are known when a client asks: no answer within {FIRST_QUESTION_MAX:?}"
            ),
        }
    };
    let asked = tokio::select! {
        () = learned => true,
        () = stop.cancelled() => false,
    };
    if asked {
        ready(&Ready { doors: doors.all() });
    }
    stop.cancelled().await;
    doors.tasks.close();
    if timeout(CLOSE_MAX, doors.tasks.wait()).await.is_err() {
        tracing::warn!("connections did not end within {CLOSE_MAX:?}");
    }
    doors.close().await;
    Ok(())
}

/// Asks who is there, as a client that has not logged in.
async fn brokers(to: Vec<Address>, tls: TlsConfig) -> Result<Vec<(Node, Address)>, ApiError> {
    let mut config = ClientConfig::new(to);
    config.client_id = "brooklet-tunnel".to_owned();
    config.tls = tls;
    config.connect_timeout = FIRST_QUESTION_MAX;
    config.request_timeout = FIRST_QUESTION_MAX;
    config.retry_timeout = FIRST_QUESTION_MAX;
    let client = Client::new(config);
    let asked = client.metadata(Some(&[])).await;
    client.close().await;
    let brokers = asked?.brokers.into_values();
    Ok(brokers.map(|broker| (Node::Broker(broker.id.0), broker.address)).collect())
}
