//! What is counted of compaction, topic by topic.

use brooklet_log::compaction::Cleaned;
use brooklet_types::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::{Registry, Unit};

use super::TopicLabels;

/// Cleanings of partitions, counted for their topics.
#[derive(Debug, Default)]
pub(super) struct CompactionMetrics {
    runs: Family<TopicLabels, Counter>,
    failures: Family<TopicLabels, Counter>,
    bytes_in: Family<TopicLabels, Counter>,
    bytes_out: Family<TopicLabels, Counter>,
    records_removed: Family<TopicLabels, Counter>,
    last_run: Family<TopicLabels, Gauge>,
}

impl CompactionMetrics {
    pub(super) fn register(registry: &mut Registry) -> CompactionMetrics {
        let metrics = CompactionMetrics::default();
        registry.register(
            "compaction_runs",
            "Cleanings of one partition that came to their end",
            metrics.runs.clone(),
        );
        registry.register(
            "compaction_failures",
            "Cleanings that failed; the log has the reason",
            metrics.failures.clone(),
        );
        registry.register_with_unit(
            "compaction_in",
            "Bytes of the segments that were cleaned",
            Unit::Bytes,
            metrics.bytes_in.clone(),
        );
        registry.register_with_unit(
            "compaction_out",
            "Bytes that were left of them",
            Unit::Bytes,
            metrics.bytes_out.clone(),
        );
        registry.register(
            "compaction_removed_records",
            "Records that did not survive",
            metrics.records_removed.clone(),
        );
        registry.register_with_unit(
            "compaction_last_run_timestamp",
            "When a cleaning last came to its end, since 1970",
            Unit::Seconds,
            metrics.last_run.clone(),
        );
        metrics
    }

    pub(super) fn ran(&self, topic: &TopicLabels, cleaned: &Cleaned, now: Timestamp) {
        self.runs.get_or_create(topic).inc();
        self.bytes_in.get_or_create(topic).inc_by(cleaned.bytes_before);
        self.bytes_out.get_or_create(topic).inc_by(cleaned.bytes_after);
        self.records_removed.get_or_create(topic).inc_by(cleaned.records_removed);
        self.last_run.get_or_create(topic).set(now.0 / 1000);
    }

    pub(super) fn failed(&self, topic: &TopicLabels) {
        self.failures.get_or_create(topic).inc();
    }
}
