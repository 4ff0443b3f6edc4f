//! What is counted about plugins, and what they count themselves.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::{Family, MetricConstructor};
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

/// Names and label sets that one plugin may make; beyond them everything goes into one.
const SERIES_MAX: usize = 200;
/// Labels of one series, and the length of each word.
const LABELS_MAX: usize = 8;
const WORD_BYTES_MAX: usize = 64;
/// What is counted where there is no room for a name of its own.
const OVERFLOW: &str = "overflow";

/// 10 µs to 80 s.
const LATENCY_BUCKETS: [f64; 12] =
    [1e-5, 4e-5, 1.6e-4, 6.4e-4, 2.5e-3, 1e-2, 4e-2, 0.16, 0.64, 2.5, 10.0, 80.0];

/// Which plugin, in what role.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Who {
    plugin: String,
    role: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Failed {
    plugin: String,
    role: String,
    kind: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Series1 {
    plugin: String,
    name: String,
    labels: String,
}

#[derive(Clone)]
struct Latencies;

impl MetricConstructor<Histogram> for Latencies {
    fn new_metric(&self) -> Histogram {
        Histogram::new(LATENCY_BUCKETS)
    }
}

/// The families of all plugins.
#[derive(Clone, Debug)]
pub struct PluginMetrics {
    latency: Family<Who, Histogram, Latencies>,
    failures: Family<Failed, Counter>,
    records: Family<Who, Counter>,
    rejected: Family<Who, Counter>,
    restarts: Family<Who, Counter>,
    recycled: Family<Who, Counter>,
    memory: Family<Who, Gauge>,
    instances: Family<Who, Gauge>,
    counters: Family<Series1, Counter>,
    gauges: Family<Series1, Gauge<f64, AtomicU64>>,
    histograms: Family<Series1, Histogram, Latencies>,
}

impl std::fmt::Debug for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Latencies")
    }
}

impl Default for PluginMetrics {
    fn default() -> PluginMetrics {
        PluginMetrics {
            latency: Family::new_with_constructor(Latencies),
            failures: Family::default(),
            records: Family::default(),
            rejected: Family::default(),
            restarts: Family::default(),
            recycled: Family::default(),
            memory: Family::default(),
            instances: Family::default(),
            counters: Family::default(),
            gauges: Family::default(),
            histograms: Family::new_with_constructor(Latencies),
        }
    }
}

impl PluginMetrics {
    /// Adds the families to what the broker exposes.
    pub fn register(&self, registry: &mut Registry) {
        let own = |name: &str| format!("brooklet_plugin_{name}");
        registry.register(own("call_seconds"), "Time of calls", self.latency.clone());
        registry.register(own("failures"), "Calls without an answer", self.failures.clone());
        registry.register(own("records"), "Records shown", self.records.clone());
        registry.register(own("rejected_records"), "Records not handled", self.rejected.clone());
        registry.register(own("restarts"), "Instances thrown away", self.restarts.clone());
        let help = "Instances let go because their memory had grown";
        registry.register(own("recycled"), help, self.recycled.clone());
        let help = "The most memory an instance had, bytes";
        registry.register(own("memory_bytes"), help, self.memory.clone());
        registry.register(own("instances"), "Instances alive", self.instances.clone());
        registry.register(own("custom"), "Counted by plugins", self.counters.clone());
        registry.register(own("custom_value"), "Set by plugins", self.gauges.clone());
        let help = "Observed by plugins";
        registry.register(own("custom_observed"), help, self.histograms.clone());
    }

    pub(crate) fn of(&self, plugin: &str, role: &str) -> RoomMetrics {
        let who = Who { plugin: plugin.to_owned(), role: role.to_owned() };
        RoomMetrics {
            latency: self.latency.get_or_create(&who).clone(),
            records: self.records.get_or_create(&who).clone(),
            rejected: self.rejected.get_or_create(&who).clone(),
            restarts: self.restarts.get_or_create(&who).clone(),
            recycled: self.recycled.get_or_create(&who).clone(),
            memory: self.memory.get_or_create(&who).clone(),
            instances: self.instances.get_or_create(&who).clone(),
            failures: self.failures.clone(),
            who,
        }
    }

    pub(crate) fn custom(&self, plugin: &str) -> Custom {
        Custom { plugin: plugin.to_owned(), all: self.clone(), known: Mutex::default() }
    }
}

/// What is counted about one plugin in one role.
#[derive(Clone, Debug)]
pub(crate) struct RoomMetrics {
    latency: Histogram,
    records: Counter,
    rejected: Counter,
    restarts: Counter,
    recycled: Counter,
    memory: Gauge,
    instances: Gauge,
    failures: Family<Failed, Counter>,
    who: Who,
}

impl RoomMetrics {
    pub(crate) fn called(&self, took: Duration, memory: usize) {
        self.latency.observe(took.as_secs_f64());
        let memory = i64::try_from(memory).unwrap_or(i64::MAX);
        self.memory.inner().fetch_max(memory, Ordering::Relaxed);
    }

    pub(crate) fn failed(&self, kind: &'static str) {
        let Who { plugin, role } = self.who.clone();
        self.failures.get_or_create(&Failed { plugin, role, kind }).inc();
    }

    pub(crate) fn shown(&self, records: u32, rejected: usize) {
        self.records.inc_by(records.into());
        if rejected > 0 {
            self.rejected.inc_by(u64::try_from(rejected).unwrap_or(u64::MAX));
        }
    }

    pub(crate) fn restarted(&self) {
        self.restarts.inc();
    }

    pub(crate) fn recycled(&self) {
        self.recycled.inc();
    }

    pub(crate) fn alive(&self, more: i64) {
        self.instances.inner().fetch_add(more, Ordering::Relaxed);
    }
}

/// The series that one plugin made.
#[derive(Debug)]
pub(crate) struct Custom {
    plugin: String,
    all: PluginMetrics,
    /// Protects the names that are known; held for a look-up when a guest makes a handle.
    known: Mutex<BTreeMap<(String, String), ()>>,
}

/// One of them.
#[derive(Clone, Debug)]
pub(crate) enum Series {
    Counter(Counter),
    Gauge(Gauge<f64, AtomicU64>),
    Histogram(Histogram),
}

impl Series {
    pub(crate) fn add(&self, n: u64) {
        if let Series::Counter(counter) = self {
            counter.inc_by(n);
        }
    }

    pub(crate) fn set(&self, value: f64) {
        if let Series::Gauge(gauge) = self {
            gauge.set(value);
        }
    }

    pub(crate) fn observe(&self, value: f64) {
        if let Series::Histogram(histogram) = self {
            histogram.observe(value);
        }
    }
}

impl Custom {
    pub(crate) fn counter(&self, name: &str, labels: &[(String, String)]) -> Series {
        let key = self.key(name, labels);
        Series::Counter(self.all.counters.get_or_create(&key).clone())
    }

    pub(crate) fn gauge(&self, name: &str, labels: &[(String, String)]) -> Series {
        let key = self.key(name, labels);
        Series::Gauge(self.all.gauges.get_or_create(&key).clone())
    }

    pub(crate) fn histogram(&self, name: &str, labels: &[(String, String)]) -> Series {
        let key = self.key(name, labels);
        Series::Histogram(self.all.histograms.get_or_create(&key).clone())
    }

    fn key(&self, name: &str, labels: &[(String, String)]) -> Series1 {
        let word = |text: &str| text.chars().take(WORD_BYTES_MAX).collect::<String>();
        let pair = |(name, value): &(String, String)| format!("{}={}", word(name), word(value));
        let labels: Vec<String> = labels.iter().take(LABELS_MAX).map(pair).collect();
        let key = (word(name), labels.join(","));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let room = known.len() < SERIES_MAX;
        let (name, labels) = if known.contains_key(&key) || room {
            known.insert(key.clone(), ());
            key
        } else {
            (OVERFLOW.to_owned(), String::new())
        };
        Series1 { plugin: self.plugin.clone(), name, labels }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_names_ends_in_one_series() {
        let custom = PluginMetrics::default().custom("noisy");
        for number in 0..10_000 {
            custom.counter(&format!("name{number}"), &[]).add(1);
        }
        assert_eq!(custom.known.lock().unwrap().len(), SERIES_MAX);
        let Series::Counter(overflow) = custom.counter("one more", &[]) else { unreachable!() };
        assert_eq!(overflow.get(), 10_000 - u64::try_from(SERIES_MAX).unwrap());
    }
}
