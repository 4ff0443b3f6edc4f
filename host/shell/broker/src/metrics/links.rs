//! What is counted of handshakes and certificates.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use crate::config::Transport;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TransportLabels {
    transport: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

/// Handshakes by transport, certificates by listener: an operator names both.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    handshake_failures: Family<TransportLabels, Counter>,
    certificate_failures: Family<ListenerLabels, Counter>,
}

impl LinkMetrics {
    pub(super) fn register(registry: &mut Registry) -> LinkMetrics {
        let metrics = LinkMetrics::default();
        registry.register(
            "handshake_failures",
            "Clients that did not get through the handshake of TLS or QUIC",
            metrics.handshake_failures.clone(),
        );
        registry.register(
            "certificate_failures",
            "Certificates that had changed and could not be served with; the log has the reason",
            metrics.certificate_failures.clone(),
        );
        metrics
    }

    /// A client did not come in.
    pub fn handshake_failed(&self, transport: Transport) {
        let labels = TransportLabels { transport: transport.scheme() };
        self.handshake_failures.get_or_create(&labels).inc();
    }

    /// A listener's files have changed, and not for the better.
    pub fn certificate_refused(&self, listener: &str) {
        let labels = ListenerLabels { listener: listener.to_owned() };
        self.certificate_failures.get_or_create(&labels).inc();
    }
}
