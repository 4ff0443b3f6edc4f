//! Time for those who have none: plugins on the record path see a clock that stands still, so that what they
//! make of a record depends on the record.

use std::time::Duration;

use wasmtime_wasi::WasiCtxBuilder;
use wasmtime_wasi::{HostMonotonicClock, HostWallClock};

struct Still;

impl HostWallClock for Still {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        Duration::ZERO
    }
}

impl HostMonotonicClock for Still {
    fn resolution(&self) -> u64 {
        1_000_000_000
    }

    fn now(&self) -> u64 {
        0
    }
}

pub(super) fn stand_still(wasi: &mut WasiCtxBuilder) {
    wasi.wall_clock(Still).monotonic_clock(Still);
}
