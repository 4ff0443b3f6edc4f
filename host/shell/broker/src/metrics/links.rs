//! What is counted of handshakes, certificates and logins.

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

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct MechanismLabels {
    mechanism: &'static str,
}

/// Handshakes by transport, certificates by listener: an operator names both.
#[derive(Debug, Default)]
pub struct LinkMetrics {
    handshake_failures: Family<TransportLabels, Counter>,
    certificate_failures: Family<ListenerLabels, Counter>,
    key_failures: Family<ListenerLabels, Counter>,
    authentications: Family<MechanismLabels, Counter>,
    authentication_failures: Family<MechanismLabels, Counter>,
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
        registry.register(
            "token_key_failures",
            "Keys for tokens that had changed and could not be used; the log has the reason",
            metrics.key_failures.clone(),
        );
        registry.register(
            "authentications",
            "Clients that have proved who they are, also if they did before",
            metrics.authentications.clone(),
        );
        registry.register(
            "authentication_failures",
            "Clients that were let go because they did not prove who they are",
            metrics.authentication_failures.clone(),
        );
        metrics
    }

    /// A client did not come in.
    pub fn handshake_failed(&self, transport: Transport) {
        let labels = TransportLabels { transport: transport.scheme() };
        self.handshake_failures.get_or_create(&labels).inc();
    }

    /// A client has proved who it is, by a mechanism of SASL or its `certificate`.
    pub fn authenticated(&self, mechanism: &'static str) {
        self.authentications.get_or_create(&MechanismLabels { mechanism }).inc();
    }

    /// A client has not; `none` where it has not come to prove anything.
    pub fn not_authenticated(&self, mechanism: &'static str) {
        self.authentication_failures.get_or_create(&MechanismLabels { mechanism }).inc();
    }

    /// A listener's keys for tokens have changed, and not for the better.
    pub fn keys_refused(&self, listener: &str) {
        let labels = ListenerLabels { listener: listener.to_owned() };
        self.key_failures.get_or_create(&labels).inc();
    }

    /// A listener's files have changed, and not for the better.
    pub fn certificate_refused(&self, listener: &str) {
        let labels = ListenerLabels { listener: listener.to_owned() };
        self.certificate_failures.get_or_create(&labels).inc();
    }
}
