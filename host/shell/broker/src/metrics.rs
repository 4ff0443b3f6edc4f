//! What the broker counts. One struct, built once, handed down by reference.
//!
//! Names are `brooklet_<subsystem>_<thing>_<unit>`, with `_total` added by the encoder for counters.
//! Labels are closed sets: APIs, error codes, and topics, which only exist by an operator's leave.
//! Beyond [`TOPICS_MAX`] topics the rest is counted together: a label is for ever.

use std::collections::BTreeSet;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use brooklet_shard::output::Event;
use brooklet_types::{ErrorCode, Timestamp, TopicName};
use brooklet_wire::version::Api;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

mod access;
mod compaction;
mod links;

pub use access::AccessMetrics;
use compaction::CompactionMetrics;
pub use links::LinkMetrics;

/// Topics that are counted by name.
const TOPICS_MAX: usize = 1000;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ApiLabels {
    api: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ErrorLabels {
    api: &'static str,
    error: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct TopicLabels {
    topic: String,
}

/// Everything that is counted while the broker runs.
#[derive(Debug)]
pub struct Metrics {
    request_latency: Family<ApiLabels, Histogram, fn() -> Histogram>,
    request_errors: Family<ErrorLabels, Counter>,
    received: Counter,
    connections: Gauge,
    connections_opened: Counter,
    produced_bytes: Family<TopicLabels, Counter>,
    produced_records: Family<TopicLabels, Counter>,
    fetched_bytes: Family<TopicLabels, Counter>,
    sync_latency: Histogram,
    compaction: CompactionMetrics,
    /// Handshakes and certificates.
    pub links: LinkMetrics,
    /// What clients may not do.
    pub access: AccessMetrics,
    /// Protects the names that have a label; held for a look-up, never over an await.
    topics: Mutex<BTreeSet<TopicName>>,
}

/// 50 µs to 13 s, doubling: from a page-cache append to a dying disk.
fn latency() -> Histogram {
    Histogram::new(exponential_buckets(0.00005, 2.0, 19))
}

impl Metrics {
    /// Registers every metric; the help texts are the only documentation an operator will see.
    pub fn register(registry: &mut Registry) -> Metrics {
        let metrics = Metrics {
            request_latency: Family::new_with_constructor(latency),
            request_errors: Family::default(),
            received: Counter::default(),
            connections: Gauge::default(),
            connections_opened: Counter::default(),
            produced_bytes: Family::default(),
            produced_records: Family::default(),
            fetched_bytes: Family::default(),
            sync_latency: latency(),
            compaction: CompactionMetrics::register(registry.sub_registry_with_prefix("brooklet")),
            links: LinkMetrics::register(registry.sub_registry_with_prefix("brooklet")),
            access: AccessMetrics::register(registry.sub_registry_with_prefix("brooklet")),
            topics: Mutex::default(),
        };
        metrics.register_requests(registry.sub_registry_with_prefix("brooklet"));
        metrics.register_records(registry.sub_registry_with_prefix("brooklet"));
        metrics
    }

    fn register_requests(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "request_latency",
            "From a request's turn to its reply",
            Unit::Seconds,
            self.request_latency.clone(),
        );
        registry.register(
            "request_errors",
            "Errors in responses, by Kafka's name; one response may have several",
            self.request_errors.clone(),
        );
        registry.register_with_unit(
            "request_received",
            "Bytes of requests",
            Unit::Bytes,
            self.received.clone(),
        );
        registry.register("connections", "Open connections", self.connections.clone());
        registry.register(
            "connections_opened",
            "Connections that were accepted",
            self.connections_opened.clone(),
        );
    }

    fn register_records(&self, registry: &mut Registry) {
        registry.register_with_unit(
            "topic_produced",
            "Bytes of batches that were stored",
            Unit::Bytes,
            self.produced_bytes.clone(),
        );
        registry.register(
            "topic_produced_records",
            "Records that were stored",
            self.produced_records.clone(),
        );
        registry.register_with_unit(
            "topic_fetched",
            "Bytes of batches that were read",
            Unit::Bytes,
            self.fetched_bytes.clone(),
        );
        registry.register_with_unit(
            "log_sync_latency",
            "One sync of the disk, which covers everything a turn has written",
            Unit::Seconds,
            self.sync_latency.clone(),
        );
    }

    /// A request has come in whole.
    pub fn received(&self, bytes: usize) {
        self.received.inc_by(bytes as u64);
    }

    /// A request was answered, or closed the connection.
    pub fn answered(&self, api: Api, took: Duration) {
        self.request_latency
            .get_or_create(&ApiLabels { api: api.name() })
            .observe(took.as_secs_f64());
    }

    /// A response has an error in it.
    pub fn refused(&self, api: Api, code: ErrorCode) {
        let labels = ErrorLabels { api: api.name(), error: code.name() };
        self.request_errors.get_or_create(&labels).inc();
    }

    /// A connection was accepted; dropping the guard says that it has ended.
    pub fn connected(&self) -> Connected {
        self.connections_opened.inc();
        self.connections.inc();
        Connected { connections: self.connections.clone() }
    }

    /// A batch was stored.
    pub fn produced(&self, topic: &TopicName, records: u32, bytes: usize) {
        let labels = self.topic(topic);
        self.produced_bytes.get_or_create(&labels).inc_by(bytes as u64);
        self.produced_records.get_or_create(&labels).inc_by(u64::from(records));
    }

    /// Batches were read.
    pub fn fetched(&self, topic: &TopicName, bytes: usize) {
        self.fetched_bytes.get_or_create(&self.topic(topic)).inc_by(bytes as u64);
    }

    /// A sync is through.
    pub fn synced(&self, took: Duration) {
        self.sync_latency.observe(took.as_secs_f64());
    }

    /// A shard has reported something.
    pub fn happened(&self, event: &Event, now: Timestamp) {
        match event {
            Event::Compacted { topic, cleaned, .. } => {
                self.compaction.ran(&self.topic(topic), cleaned, now);
            }
            Event::NotCompacted { topic, .. } => self.compaction.failed(&self.topic(topic)),
            Event::Recovered { .. }
            | Event::PartitionFailed { .. }
            | Event::CopiesDiffer { .. }
            | Event::DiskFull { .. }
            | Event::QuorumMessageRefused { .. }
            | Event::GroupsLoaded { .. } => {}
        }
    }

    fn topic(&self, topic: &TopicName) -> TopicLabels {
        let mut topics = self.topics.lock().unwrap_or_else(PoisonError::into_inner);
        if !topics.contains(topic) {
            if topics.len() == TOPICS_MAX {
                return TopicLabels { topic: "(other)".to_owned() };
            }
            topics.insert(topic.clone());
        }
        TopicLabels { topic: topic.as_str().to_owned() }
    }
}

/// An open connection.
#[derive(Debug)]
pub struct Connected {
    connections: Gauge,
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.connections.dec();
    }
}

#[cfg(test)]
mod tests {
    use brooklet_log::compaction::{Cleaned, CompactError};
    use brooklet_types::{Operation, QuotaKey, ResourceType};
    use prometheus_client::encoding::text::encode;

    use super::*;
    use crate::config::Transport;

    #[test]
    fn the_names_stay_because_dashboards_are_clients_too() {
        let mut registry = Registry::default();
        let metrics = Metrics::register(&mut registry);
        let topic = TopicName::new("flights").unwrap();
        metrics.produced(&topic, 3, 100);
        metrics.fetched(&topic, 200);
        metrics.received(10);
        metrics.answered(Api::Fetch, Duration::from_millis(1));
        metrics.refused(Api::Fetch, ErrorCode::OffsetOutOfRange);
        metrics.synced(Duration::from_micros(90));
        let folder = || "topics/flights-0".to_owned();
        let cleaned = Cleaned { records_removed: 4, bytes_before: 500, bytes_after: 300 };
        let ran = Event::Compacted { folder: folder(), topic: topic.clone(), cleaned };
        metrics.happened(&ran, Timestamp(7_000));
        metrics.happened(&ran, Timestamp(9_999));
        let error = CompactError::Full { folder: folder() };
        let failed = Event::NotCompacted { folder: folder(), topic, error, again: None };
        metrics.happened(&failed, Timestamp(20_000));
        let _connected = metrics.connected();
        metrics.links.handshake_failed(Transport::Quic);
        metrics.links.certificate_refused("tls://[::]:9093");
        metrics.links.authenticated("PLAIN");
        metrics.links.not_authenticated("certificate");
        metrics.access.refused(Api::Fetch, Operation::Read, ResourceType::Topic);
        metrics.access.throttled(QuotaKey::ProducerByteRate, Duration::from_millis(1500));
        let mut text = String::new();
        encode(&mut text, &registry).unwrap();
        for line in [
            "brooklet_request_latency_seconds_count{api=\"Fetch\"} 1",
            "brooklet_request_errors_total{api=\"Fetch\",error=\"OFFSET_OUT_OF_RANGE\"} 1",
            "brooklet_request_received_bytes_total 10",
            "brooklet_connections 1",
            "brooklet_connections_opened_total 1",
            "brooklet_handshake_failures_total{transport=\"quic\"} 1",
            "brooklet_certificate_failures_total{listener=\"tls://[::]:9093\"} 1",
            "brooklet_authentications_total{mechanism=\"PLAIN\"} 1",
            "brooklet_authentication_failures_total{mechanism=\"certificate\"} 1",
            "brooklet_authorization_failures_total{api=\"Fetch\",operation=\"READ\",resource=\"TOPIC\"} 1",
            "brooklet_quota_violations_total{quota=\"producer_byte_rate\"} 1",
            "brooklet_quota_throttle_seconds_total{quota=\"producer_byte_rate\"} 1.5",
            "brooklet_topic_produced_bytes_total{topic=\"flights\"} 100",
            "brooklet_topic_produced_records_total{topic=\"flights\"} 3",
            "brooklet_topic_fetched_bytes_total{topic=\"flights\"} 200",
            "brooklet_log_sync_latency_seconds_count 1",
            "brooklet_compaction_runs_total{topic=\"flights\"} 2",
            "brooklet_compaction_failures_total{topic=\"flights\"} 1",
            "brooklet_compaction_in_bytes_total{topic=\"flights\"} 1000",
            "brooklet_compaction_out_bytes_total{topic=\"flights\"} 600",
            "brooklet_compaction_removed_records_total{topic=\"flights\"} 8",
            "brooklet_compaction_last_run_timestamp_seconds{topic=\"flights\"} 9",
        ] {
            assert!(text.lines().any(|it| it == line), "{line} is missing in\n{text}");
        }
    }
}
