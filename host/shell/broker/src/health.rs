//! Probes and metrics over HTTP, for supervisors and dashboards.
//!
//! | path       | answer                                                             |
//! |------------|--------------------------------------------------------------------|
//! | `/livez`   | 200 while the process can answer at all                            |
//! | `/readyz`  | 200 when clients are served, 503 with the reasons when they are not |
//! | `/metrics` | Prometheus' text format                                            |
//!
//! What is served beside them is administration, and has a guard of its own (`admin.rs`).
//!
//! **Decides** when the broker is ready. **Never** runs by itself: log sizes and lag are asked of the
//! shards when they are scraped, so an idle broker stays asleep.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, PoisonError};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use brooklet_io::tls::credentials::Credentials;
use brooklet_types::TopicPartition;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::admin::Reached;
use crate::budget::Budget;
use crate::context::Context;

/// Prometheus' text, as `prometheus-client` writes it.
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What the answers are made of.
#[derive(Debug)]
pub(crate) struct Health {
    pub(crate) context: Arc<Context>,
    pub(crate) registry: Registry,
    pub(crate) budget: Budget,
    /// What listeners are served with, by the listener's address.
    pub(crate) certificates: Vec<(String, Credentials)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct PartitionLabels {
    topic: String,
    partition: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct LagLabels {
    group: String,
    topic: String,
    partition: u32,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ListenerLabels {
    listener: String,
}

/// Serves until `shutdown` fires.
pub(crate) async fn serve(
    listener: TcpListener,
    health: Arc<Health>,
    routes: Router,
    shutdown: CancellationToken,
) -> std::io::Result<()> {
    let app = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .with_state(health)
        .merge(routes);
    let stop = async move { shutdown.cancelled().await };
    let app = app.into_make_service_with_connect_info::<Reached>();
    axum::serve(listener, app).with_graceful_shutdown(stop).await
}

async fn readyz(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let reasons = health.reasons();
    if reasons.is_empty() {
        return (StatusCode::OK, "ready\n".to_owned());
    }
    (StatusCode::SERVICE_UNAVAILABLE, format!("not ready:\n  {}\n", reasons.join("\n  ")))
}

async fn metrics(State(health): State<Arc<Health>>) -> impl IntoResponse {
    let scraped = health.scrape().await;
    let mut text = String::new();
    let written = encode(&mut text, &health.registry).and_then(|()| {
        // One exposition has one end: that of the second part.
        let end = text.len() - "# EOF\n".len();
        text.truncate(end);
        encode(&mut text, &scraped)
    });
    written.expect("writing to a string does not fail");
    ([(header::CONTENT_TYPE, METRICS_TYPE)], text)
}

impl Health {
    /// Why clients are not served; empty when they are.
    fn reasons(&self) -> Vec<String> {
        let mut reasons = Vec::new();
        if self.context.shutdown.is_cancelled() {
            reasons.push("the broker is stopping".to_owned());
        }
        if self.context.disk_is_full() {
            reasons.push("the disk has reached its reserve: producers are refused".to_owned());
        }
        reasons
    }

    /// How long each certificate is still good: negative when it no longer is.
    fn show_certificates(&self, registry: &mut Registry) {
        const DAY: f64 = 86_400_000.0;
        let left = Family::<ListenerLabels, Gauge<f64, AtomicU64>>::default();
        registry.register("certificate_days", "Days until it expires", left.clone());
        let now = self.context.clock.timestamp().0;
        for (listener, credentials) in &self.certificates {
            let labels = ListenerLabels { listener: listener.clone() };
            let millis = credentials.current().expires.saturating_mul(1000).saturating_sub(now);
            left.get_or_create(&labels).set(millis as f64 / DAY);
        }
    }

    /// What is known only by asking.
    async fn scrape(&self) -> Registry {
        let mut registry = Registry::default();
        let sizes = Family::<PartitionLabels, Gauge>::default();
        let lags = Family::<LagLabels, Gauge>::default();
        let (sessions, taken) = (Gauge::<i64>::default(), Gauge::<i64>::default());
        let brooklet = registry.sub_registry_with_prefix("brooklet");
        brooklet.register_with_unit("log_size", "Size of a log", Unit::Bytes, sizes.clone());
        brooklet.register("group_lag", "Records a group has yet to read", lags.clone());
        brooklet.register("fetch_sessions", "Fetch sessions", sessions.clone());
        brooklet.register_with_unit(
            "request_buffers",
            "Memory that large requests have taken from their budget",
            Unit::Bytes,
            taken.clone(),
        );
        self.show_certificates(brooklet);
        let count = self.context.sessions.lock().unwrap_or_else(PoisonError::into_inner).count();
        sessions.set(i64::try_from(count).unwrap_or(i64::MAX));
        taken.set(i64::try_from(self.budget.taken()).unwrap_or(i64::MAX));
        let shards = &self.context.shards;
        // A broker that is stopping shows what it still knows.
        let (Ok(logs), Ok(committed)) = (shards.describe_logs().await, shards.committed().await)
        else {
            return registry;
        };
        let cluster = shards.cluster();
        let mut ends = BTreeMap::new();
        for log in &logs {
            ends.insert(log.partition, log.high_watermark);
            let Some(topic) = cluster.topic_by_id(log.partition.topic) else { continue };
            let partition = log.partition.partition.0;
            let labels = PartitionLabels { topic: topic.name.to_string(), partition };
            sizes.get_or_create(&labels).set(i64::try_from(log.bytes).unwrap_or(i64::MAX));
        }
        for one in committed {
            let Some(topic) = cluster.topic(one.topic.as_str()) else { continue };
            let place = TopicPartition { topic: topic.stored_in(), partition: one.partition };
            let Some(end) = ends.get(&place) else { continue };
            let lag = end.distance_from(one.offset);
            let labels = LagLabels {
                group: one.group.to_string(),
                topic: one.topic.to_string(),
                partition: one.partition.0,
            };
            lags.get_or_create(&labels).set(i64::try_from(lag).unwrap_or(i64::MAX));
        }
        registry
    }
}
