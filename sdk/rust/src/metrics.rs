//! Metrics of the plugin, exposed as `brooklet_plugin_custom_…{plugin="…"}`.
//!
//! Make the handles once, when the instance is made: counting is then one call with one number.

#[cfg(target_family = "wasm")]
use crate::bindings::brooklet::plugin::metrics as host;
#[cfg(not(target_family = "wasm"))]
use crate::stand_in::instruments as host;

/// Counts what only grows.
#[derive(Debug)]
pub struct Counter(host::Counter);

/// Shows what goes up and down.
#[derive(Debug)]
pub struct Gauge(host::Gauge);

/// Shows how observations are distributed.
#[derive(Debug)]
pub struct Histogram(host::Histogram);

impl Counter {
    /// The counter of this name and these labels.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Counter {
        Counter(host::Counter::new(name, &owned(labels)))
    }

    /// Counts `n` more.
    pub fn add(&self, n: u64) {
        self.0.add(n);
    }
}

impl Gauge {
    /// The gauge of this name and these labels.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Gauge {
        Gauge(host::Gauge::new(name, &owned(labels)))
    }

    /// Shows this value from now on.
    pub fn set(&self, value: f64) {
        self.0.set(value);
    }
}

impl Histogram {
    /// The histogram of this name and these labels.
    pub fn new(name: &str, labels: &[(&str, &str)]) -> Histogram {
        Histogram(host::Histogram::new(name, &owned(labels)))
    }

    /// Adds an observation.
    pub fn observe(&self, value: f64) {
        self.0.observe(value);
    }

    /// Adds several in one call.
    pub fn observe_many(&self, values: &[f64]) {
        self.0.observe_many(values);
    }
}

fn owned(labels: &[(&str, &str)]) -> Vec<(String, String)> {
    labels.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}
