//! What is counted of requests that clients may not make.

use brooklet_types::{Operation, ResourceType};
use brooklet_wire::version::Api;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusalLabels {
    api: &'static str,
    operation: &'static str,
    resource: &'static str,
}

/// Refusals by what was asked for: there are as many as rows in the table of `access`.
#[derive(Debug, Default)]
pub struct AccessMetrics {
    refusals: Family<RefusalLabels, Counter>,
}

impl AccessMetrics {
    pub(super) fn register(registry: &mut Registry) -> AccessMetrics {
        let metrics = AccessMetrics::default();
        registry.register(
            "authorization_failures",
            "Resources that a client asked for by name and may not have",
            metrics.refusals.clone(),
        );
        metrics
    }

    /// A client may not do what it asked for.
    pub fn refused(&self, api: Api, operation: Operation, resource: ResourceType) {
        let (operation, resource) = (operation.name(), resource.name());
        let labels = RefusalLabels { api: api.name(), operation, resource };
        self.refusals.get_or_create(&labels).inc();
    }
}
