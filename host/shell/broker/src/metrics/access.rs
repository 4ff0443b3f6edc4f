//! What is counted of requests that clients may not make, and of what they take beyond their quotas.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use brooklet_types::{Operation, QuotaKey, ResourceType};
use brooklet_wire::version::Api;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    api: &'static str,
    operation: &'static str,
    resource: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct QuotaLabels {
    quota: &'static str,
}

/// Refusals by what was asked for: there are as many as rows in the table of `access`.
#[derive(Debug, Default)]
pub struct AccessMetrics {
    refusals: Family<RefusalLabels, Counter>,
    throttles: Family<QuotaLabels, Counter>,
    throttled: Family<QuotaLabels, Counter<f64, AtomicU64>>,
}

impl AccessMetrics {
    pub(super) fn register(registry: &mut Registry) -> AccessMetrics {
        let metrics = AccessMetrics::default();
        registry.register(
            "authorization_failures",
            "Resources that a client asked for by name and may not have",
            metrics.refusals.clone(),
        );
        registry.register(
            "quota_violations",
            "Requests and connections that took more than their quota, by what is limited",
            metrics.throttles.clone(),
        );
        registry.register_with_unit(
            "quota_throttle",
            "Time for which clients were told to wait, by what is limited",
            Unit::Seconds,
            metrics.throttled.clone(),
        );
        metrics
    }

    /// A client has to wait for having taken too much.
    pub fn throttled(&self, key: QuotaKey, wait: Duration) {
        let labels = QuotaLabels { quota: key.name() };
        self.throttles.get_or_create(&labels).inc();
        self.throttled.get_or_create(&labels).inc_by(wait.as_secs_f64());
    }

    /// A client may not do what it asked for.
    pub fn refused(&self, api: Api, operation: Operation, resource: ResourceType) {
        let (operation, resource) = (operation.name(), resource.name());
        let labels = RefusalLabels { api: api.name(), operation, resource };
        self.refusals.get_or_create(&labels).inc();
    }
}
