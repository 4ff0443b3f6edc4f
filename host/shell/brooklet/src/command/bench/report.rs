//! What a measurement came to, and how it is shown.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::Plan;
use super::tracker::Tally;
use crate::Context;
use crate::failure::Failure;

/// The longest time told apart from longer ones: beyond ten minutes nobody waits.
const LATENCY_MAX_US: u64 = 600_000_000;

/// Digits that are right in every figure.
const DIGITS: u8 = 3;

/// How often progress is shown.
const TICK: Duration = Duration::from_millis(250);

/// Below this share of the rate that was asked for, the figures are of another experiment.
const RATE_SHARE_MIN: f64 = 0.99;

/// How long things took.
#[derive(Clone)]
pub(super) struct Latencies {
    micros: Histogram<u64>,
}

impl Default for Latencies {
    fn default() -> Latencies {
        let micros = Histogram::new_with_bounds(1, LATENCY_MAX_US, DIGITS);
        Latencies { micros: micros.expect("the bounds are far enough apart") }
    }
}

impl Latencies {
    pub(super) fn record(&mut self, time: Duration) {
        self.micros.saturating_record(u64::try_from(time.as_micros()).unwrap_or(u64::MAX));
    }

    pub(super) fn count(&self) -> u64 {
        self.micros.len()
    }

    #[expect(clippy::cast_precision_loss, reason = "microseconds of ten minutes fit in 53 bits")]
    pub(super) fn percentile_ms(&self, percentile: f64) -> f64 {
        self.micros.value_at_percentile(percentile) as f64 / 1000.0
    }

    fn as_json(&self) -> Value {
        let at = |percentile| self.micros.value_at_percentile(percentile);
        json!({
            "count": self.count(),
            "mean": self.micros.mean(),
            "p50": at(50.0),
            "p90": at(90.0),
            "p99": at(99.0),
            "p99.9": at(99.9),
            "p99.99": at(99.99),
            "max": self.micros.max(),
        })
    }
}

/// One measurement's figures.
pub(super) struct Run {
    workload: &'static str,
    bytes: usize,
    partitions: u32,
    rate: Option<u64>,
    seconds: f64,
    records: u64,
    latencies: Option<Latencies>,
    sender_late: Option<Latencies>,
}

impl Run {
    pub(super) fn new(workload: &'static str, plan: &Plan, seconds: f64, records: u64) -> Run {
        let Plan { bytes, partitions, rate, .. } = *plan;
        let (latencies, sender_late) = (None, None);
        Run { workload, bytes, partitions, rate, seconds, records, latencies, sender_late }
    }

    pub(super) fn latencies(self, latencies: Latencies) -> Run {
        Run { latencies: Some(latencies), ..self }
    }

    /// How late the benchmark itself was with its records. Of interest where it had a rate to keep.
    pub(super) fn sender_late(self, late: Latencies) -> Run {
        Run { sender_late: self.rate.map(|_| late), ..self }
    }

    #[expect(clippy::cast_precision_loss, reason = "nobody sends 2^53 records")]
    fn records_per_second(&self) -> f64 {
        self.records as f64 / self.seconds
    }

    #[expect(clippy::cast_precision_loss, reason = "a record has far fewer than 2^53 bytes")]
    fn megabytes_per_second(&self) -> f64 {
        self.records_per_second() * self.bytes as f64 / 1e6
    }

    pub(super) fn as_json(&self) -> Value {
        json!({
            "workload": self.workload,
            "bytes": self.bytes,
            "partitions": self.partitions,
            "rate": self.rate,
            "seconds": self.seconds,
            "records": self.records,
            "records_per_second": self.records_per_second(),
            "megabytes_per_second": self.megabytes_per_second(),
            "latency_us": self.latencies.as_ref().map(Latencies::as_json),
            "sender_late_us": self.sender_late.as_ref().map(Latencies::as_json),
        })
    }

    fn row(&self) -> Vec<String> {
        let ms = |percentile| match &self.latencies {
            Some(latencies) if latencies.count() > 0 => {
                format!("{:.2}", latencies.percentile_ms(percentile))
            }
            Some(_) | None => "-".to_owned(),
        };
        vec![
            self.workload.to_owned(),
            self.bytes.to_string(),
            self.partitions.to_string(),
            self.rate.map_or("-".to_owned(), |rate| rate.to_string()),
            format!("{:.0}", self.records_per_second()),
            format!("{:.1}", self.megabytes_per_second()),
            ms(50.0),
            ms(90.0),
            ms(99.0),
            ms(99.9),
            ms(100.0),
        ]
    }

    /// Why the figures may not be what they seem.
    #[expect(clippy::cast_precision_loss, reason = "rates are far below 2^53")]
    fn doubt(&self) -> Option<String> {
        let rate = self.rate? as f64;
        let reached = self.records_per_second();
        (reached < rate * RATE_SHARE_MIN).then(|| {
            let late = self.sender_late.as_ref().map_or(0.0, |late| late.percentile_ms(99.0));
            format!(
                "{} at {} bytes, {} partitions: {reached:.0} of {rate} records/s were reached; \
                 latencies include the wait (the sender was up to {late:.1} ms late, p99)",
                self.workload, self.bytes, self.partitions
            )
        })
    }
}

/// All measurements as a table, and what it means.
pub(super) fn table(context: &mut Context, runs: &[Run]) -> Result<(), Failure> {
    const HEAD: [&str; 11] = [
        "WORKLOAD",
        "BYTES",
        "PARTITIONS",
        "RATE",
        "RECORDS/S",
        "MB/S",
        "P50 MS",
        "P90 MS",
        "P99 MS",
        "P99.9 MS",
        "MAX MS",
    ];
    context.output.table(&HEAD, runs.iter().map(Run::row).collect())?;
    context.output.line("")?;
    context.output.line(
        "MB are 10^6 bytes of values. Latencies run from the time a record was due (with a rate) \
         or handed over (without) until it was acknowledged; end-to-end, until a consumer had it.",
    )?;
    for doubt in runs.iter().filter_map(Run::doubt) {
        context.output.line(&doubt)?;
    }
    Ok(())
}

/// A bar on standard error while a measurement runs; nothing where that is no terminal.
pub(super) struct Progress {
    bar: ProgressBar,
    watched: Arc<Watched>,
    ticker: tokio::task::AbortHandle,
    seconds: u64,
}

/// What the bar counts.
struct Watched {
    records: AtomicU64,
    /// Set once, before the first tick that finds it.
    tally: std::sync::OnceLock<Tally>,
}

impl Progress {
    pub(super) fn start(workload: &str, plan: &Plan) -> Progress {
        let seconds = (plan.warm_up + plan.length).as_secs();
        let bar = if io::stderr().is_terminal() {
            ProgressBar::new(seconds)
        } else {
            ProgressBar::hidden()
        };
        let template = "{prefix} {bar:30} {pos}/{len} s {msg}";
        bar.set_style(ProgressStyle::with_template(template).expect("the template is well-formed"));
        bar.set_prefix(format!("{workload} {} B, {} partitions", plan.bytes, plan.partitions));
        let watched =
            Arc::new(Watched { records: AtomicU64::new(0), tally: std::sync::OnceLock::new() });
        let ticker = tokio::spawn(tick(bar.clone(), watched.clone())).abort_handle();
        Progress { bar, watched, ticker, seconds }
    }

    /// Counts what `tally` counts.
    pub(super) fn watch(&self, tally: Tally) {
        // A measurement has one tally; a second call would change nothing.
        let _ = self.watched.tally.set(tally);
    }

    /// Counts records one by one.
    pub(super) fn add(&self, records: u64) {
        self.watched.records.fetch_add(records, Ordering::Relaxed);
    }

    /// What happens now is no measurement and has no length.
    pub(super) fn fills(&self) {
        self.bar.set_length(0);
        self.bar.set_message("filling the topic");
    }

    /// The measurement begins now.
    pub(super) fn restart(&self) {
        self.bar.set_length(self.seconds);
        self.bar.reset();
    }

    pub(super) fn finish(&self) {
        self.ticker.abort();
        self.bar.finish_and_clear();
    }
}

async fn tick(bar: ProgressBar, watched: Arc<Watched>) {
    let (mut before, mut at) = (0, Instant::now());
    loop {
        tokio::time::sleep(TICK).await;
        let counted = watched.tally.get().map_or(0, Tally::acknowledged);
        let records = counted + watched.records.load(Ordering::Relaxed);
        let rate =
            u128::from(records.saturating_sub(before)) * 1000 / at.elapsed().as_millis().max(1);
        (before, at) = (records, Instant::now());
        if records > 0 {
            bar.set_message(format!("{rate} records/s"));
        }
        bar.set_position(bar.elapsed().as_secs().min(bar.length().unwrap_or(0)));
    }
}
