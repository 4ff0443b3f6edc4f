//! What was measured, round by round, and the medians that are shown of it.

use std::time::Duration;

/// What carries the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// TCP in the clear.
    Tcp = 0,
    /// TLS 1.3.
    Tls = 1,
    /// QUIC.
    Quic = 2,
}

impl Way {
    /// In the order in which they take their turns.
    pub const ALL: [Way; 3] = [Way::Tcp, Way::Tls, Way::Quic];

    fn index(self) -> usize {
        self as usize
    }

    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Way::Tcp => "tcp",
            Way::Tls => "tls",
            Way::Quic => "quic",
        }
    }
}

/// In which direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Workload {
    /// Records in, until they are acknowledged.
    Produce,
    /// Records out.
    Consume,
}

impl Workload {
    /// As it is shown.
    pub fn name(self) -> &'static str {
        match self {
            Workload::Produce => "produce",
            Workload::Consume => "consume",
        }
    }
}

/// All of it.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    /// For each number of partitions, one for each direction.
    pub throughputs: Vec<Throughput>,
    /// One for each number of partitions.
    pub latencies: Vec<Latency>,
}

/// 10^6 bytes of values a second, in each round.
#[derive(Clone, Debug)]
pub struct Throughput {
    /// In which direction.
    pub workload: Workload,
    /// Over how many partitions, and streams of the bare connection.
    pub partitions: u32,
    ways: [Vec<f64>; 3],
    bare: Vec<f64>,
}

impl Throughput {
    pub(crate) fn new(workload: Workload, partitions: u32) -> Throughput {
        Throughput { workload, partitions, ways: Default::default(), bare: Vec::new() }
    }

    pub(crate) fn add(&mut self, way: Way, megabytes: f64) {
        self.ways[way.index()].push(megabytes);
    }

    pub(crate) fn add_bare(&mut self, megabytes: f64) {
        self.bare.push(megabytes);
    }

    /// The median of one transport.
    pub fn of(&self, way: Way) -> f64 {
        median(self.ways[way.index()].clone())
    }

    /// The median of QUIC alone.
    pub fn bare(&self) -> f64 {
        median(self.bare.clone())
    }

    /// The median of what a transport reached in a round, as a share of what QUIC alone did in the same.
    pub fn share(&self, way: Way) -> f64 {
        let pairs = self.ways[way.index()].iter().zip(&self.bare);
        median(pairs.map(|(with, alone)| with / alone).collect())
    }
}

/// Microseconds until a record is acknowledged, in each round.
#[derive(Clone, Debug)]
pub struct Latency {
    /// Over how many partitions.
    pub partitions: u32,
    p50: [Vec<f64>; 3],
    p99: [Vec<f64>; 3],
}

impl Latency {
    pub(crate) fn new(partitions: u32) -> Latency {
        Latency { partitions, p50: Default::default(), p99: Default::default() }
    }

    pub(crate) fn add(&mut self, way: Way, mut times: Vec<Duration>) {
        times.sort_unstable();
        self.p50[way.index()].push(percentile(&times, 50));
        self.p99[way.index()].push(percentile(&times, 99));
    }

    /// The median of a transport's medians.
    pub fn p50(&self, way: Way) -> f64 {
        median(self.p50[way.index()].clone())
    }

    /// The median of a transport's 99th percentiles.
    pub fn p99(&self, way: Way) -> f64 {
        median(self.p99[way.index()].clone())
    }

    /// By how much a transport's median lies above TCP's: the median over rounds.
    pub fn above_tcp(&self, way: Way) -> f64 {
        let pairs = self.p50[way.index()].iter().zip(&self.p50[Way::Tcp.index()]);
        median(pairs.map(|(other, tcp)| other - tcp).collect())
    }
}

/// Of sorted times, in microseconds.
fn percentile(sorted: &[Duration], percent: usize) -> f64 {
    let at = (sorted.len() * percent).div_ceil(100).saturating_sub(1);
    sorted.get(at).map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_the_median_of_ratios_within_a_round() {
        let mut throughput = Throughput::new(Workload::Produce, 1);
        for (quic, alone) in [(80.0, 100.0), (50.0, 50.0), (10.0, 100.0)] {
            throughput.add(Way::Quic, quic);
            throughput.add_bare(alone);
        }
        let close = |value: f64, expected: f64| (value - expected).abs() < 1e-9;
        assert!(close(throughput.share(Way::Quic), 0.8));
        assert!(close(throughput.of(Way::Quic), 50.0) && close(throughput.bare(), 100.0));
        assert!(throughput.of(Way::Tcp).is_nan(), "never measured");
    }

    #[test]
    fn percentiles_are_times_that_occurred() {
        let mut latency = Latency::new(1);
        let times = |from: u64| (from..from + 100).rev().map(Duration::from_micros).collect();
        latency.add(Way::Tcp, times(1));
        latency.add(Way::Quic, times(21));
        let close = |value: f64, expected: f64| (value - expected).abs() < 1e-6;
        assert!(close(latency.p50(Way::Tcp), 50.0) && close(latency.p99(Way::Tcp), 99.0));
        assert!(close(latency.above_tcp(Way::Quic), 20.0));
    }
}
