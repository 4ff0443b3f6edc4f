//! Figures of one run, and what becomes of several.

use std::fs;

/// What one run of one workload gave. What a workload does not measure is NaN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Figures {
    /// In the workload's unit; more is better, except for latencies.
    pub(crate) value: f64,
    /// User and system time of the server for each gigabyte (10^9 bytes) of payload.
    pub(crate) cpu_seconds_per_gb: f64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
}

/// The middle of `values`, NaN of none.
pub(crate) fn median(values: impl Iterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.filter(|value| !value.is_nan()).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The number behind `name=` in a line that kload printed.
pub(crate) fn field(line: &str, name: &str) -> Option<f64> {
    let marker = format!(" {name}=");
    let start = line.find(&marker)? + marker.len();
    line.get(start..)?.split_whitespace().next()?.parse().ok()
}

/// Seconds of processor time, user and system, that process `pid` has had.
pub(crate) fn cpu_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // The command's name may contain anything but ends with the last parenthesis.
    let fields = stat.rsplit(')').next().unwrap_or_default();
    let ticks = |index: usize| {
        fields.split_whitespace().nth(index).and_then(|field| field.parse::<f64>().ok())
    };
    // Linux counts these in hundredths of a second on every platform we run on.
    (ticks(11).unwrap_or(0.0) + ticks(12).unwrap_or(0.0)) / 100.0
}

/// Resident memory of process `pid`, in megabytes.
pub(crate) fn resident_mb(pid: u32) -> f64 {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap_or_default();
    let kib = line.split_whitespace().nth(1).and_then(|field| field.parse::<f64>().ok());
    kib.unwrap_or(f64::NAN) / 1024.0
}
