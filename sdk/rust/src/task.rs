//! Time, and waiting that the host can account for and end. For sources and sinks: elsewhere clocks stand still.

use std::time::Duration;

/// Time left of this call.
pub fn remaining() -> Duration {
    #[cfg(target_family = "wasm")]
    let millis = crate::bindings::brooklet::plugin::task_control::remaining_ms();
    #[cfg(not(target_family = "wasm"))]
    let millis = crate::stand_in::remaining_ms();
    Duration::from_millis(millis.into())
}

/// Waits; returns early when the task is to stop.
pub fn sleep(time: Duration) {
    // Rounded up, so that whoever waits for a moment does not arrive just before it, again and again.
    let millis = u32::try_from(time.as_nanos().div_ceil(1_000_000)).unwrap_or(u32::MAX);
    #[cfg(target_family = "wasm")]
    crate::bindings::brooklet::plugin::task_control::sleep_ms(millis);
    #[cfg(not(target_family = "wasm"))]
    crate::stand_in::slept(millis);
}

/// Whether the task is to stop: return soon.
pub fn stopping() -> bool {
    #[cfg(target_family = "wasm")]
    return crate::bindings::brooklet::plugin::task_control::stopping();
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::is_stopping();
}

/// Time that has passed since some moment in the past; never goes backwards.
pub fn now() -> Duration {
    #[cfg(target_family = "wasm")]
    return Duration::from_nanos(wasip2::clocks::monotonic_clock::now());
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::now();
}

/// The time of day, milliseconds since the epoch, UTC.
pub fn timestamp() -> i64 {
    #[cfg(target_family = "wasm")]
    {
        let now = wasip2::clocks::wall_clock::now();
        let millis = now.seconds.saturating_mul(1000) + u64::from(now.nanoseconds / 1_000_000);
        i64::try_from(millis).unwrap_or(i64::MAX)
    }
    #[cfg(not(target_family = "wasm"))]
    return crate::stand_in::timestamp();
}
