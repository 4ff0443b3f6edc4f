//! Metrics that a plugin makes for itself.

use wasmtime::component::Resource;

use super::Guest;
use crate::bind::host::brooklet::plugin::metrics::{Host, HostCounter, HostGauge, HostHistogram};
use crate::metrics::Series;

/// A guest's handle of a counter.
#[expect(
    unreachable_pub,
    reason = "the generated bindings name it in a public module of their own"
)]
pub struct Counter(Series);
/// A guest's handle of a gauge.
#[expect(
    unreachable_pub,
    reason = "the generated bindings name it in a public module of their own"
)]
pub struct Gauge(Series);
/// A guest's handle of a histogram.
#[expect(
    unreachable_pub,
    reason = "the generated bindings name it in a public module of their own"
)]
pub struct Histogram(Series);

type Labels = Vec<(String, String)>;

impl Host for Guest {}

impl Guest {
    fn handle<T: Send + 'static>(
        &mut self,
        make: impl FnOnce() -> T,
    ) -> wasmtime::Result<Resource<T>> {
        Ok(self.table.push(make())?)
    }
}

impl HostCounter for Guest {
    fn new(&mut self, name: String, labels: Labels) -> wasmtime::Result<Resource<Counter>> {
        let series = self.shared.custom.counter(&name, &labels);
        self.handle(|| Counter(series))
    }

    fn add(&mut self, counter: Resource<Counter>, n: u64) -> wasmtime::Result<()> {
        self.table.get(&counter)?.0.add(n);
        Ok(())
    }

    fn drop(&mut self, counter: Resource<Counter>) -> wasmtime::Result<()> {
        self.table.delete(counter)?;
        Ok(())
    }
}

impl HostGauge for Guest {
    fn new(&mut self, name: String, labels: Labels) -> wasmtime::Result<Resource<Gauge>> {
        let series = self.shared.custom.gauge(&name, &labels);
        self.handle(|| Gauge(series))
    }

    fn set(&mut self, gauge: Resource<Gauge>, value: f64) -> wasmtime::Result<()> {
        self.table.get(&gauge)?.0.set(value);
        Ok(())
    }

    fn drop(&mut self, gauge: Resource<Gauge>) -> wasmtime::Result<()> {
        self.table.delete(gauge)?;
        Ok(())
    }
}

impl HostHistogram for Guest {
    fn new(&mut self, name: String, labels: Labels) -> wasmtime::Result<Resource<Histogram>> {
        let series = self.shared.custom.histogram(&name, &labels);
        self.handle(|| Histogram(series))
    }

    fn observe(&mut self, histogram: Resource<Histogram>, value: f64) -> wasmtime::Result<()> {
        self.table.get(&histogram)?.0.observe(value);
        Ok(())
    }

    fn observe_many(
        &mut self,
        histogram: Resource<Histogram>,
        values: Vec<f64>,
    ) -> wasmtime::Result<()> {
        let series = &self.table.get(&histogram)?.0;
        values.into_iter().for_each(|value| series.observe(value));
        Ok(())
    }

    fn drop(&mut self, histogram: Resource<Histogram>) -> wasmtime::Result<()> {
        self.table.delete(histogram)?;
        Ok(())
    }
}
