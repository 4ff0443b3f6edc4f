//! What was taken, and when: Kafka's `Rate` over `SampledStat`, and its `TokenBucket`.

use std::time::Duration;

use brooklet_types::Instant;

/// Kafka's `quota.window.num`: 10 whole windows and the current one.
const WINDOWS: usize = 11;

/// The windows that are surely whole. What the rate is a rate over, at the least.
pub(super) const WHOLE_WINDOWS: f64 = 10.0;

const WHOLE_WINDOWS_MS: u64 = 10_000;

/// Kafka's `quota.window.size.seconds`.
const WINDOW_MS: u64 = 1000;

/// How far back a meter looks.
const HORIZON_MS: u64 = 11_000;

/// A sum over the last windows.
#[derive(Clone, Debug, Default)]
pub(super) struct Rate {
    /// One more than there are windows: the oldest may reach into what is looked back at.
    windows: Vec<Window>,
    /// The one that is being filled.
    current: usize,
}

#[derive(Clone, Copy, Debug)]
struct Window {
    began_ms: u64,
    /// When something was last noted in it.
    last_ms: u64,
    sum: f64,
}

impl Window {
    fn at(now_ms: u64) -> Window {
        Window { began_ms: now_ms, last_ms: now_ms, sum: 0.0 }
    }
}

impl Rate {
    /// Notes `amount`; how long until the rate is `limit` again.
    pub(super) fn take(&mut self, amount: f64, limit: f64, now: Instant) -> Duration {
        let now_ms = millis(now);
        let window = self.window(now_ms);
        window.sum += amount;
        window.last_ms = now_ms;
        for window in &mut self.windows {
            if now_ms.saturating_sub(window.last_ms) >= HORIZON_MS {
                *window = Window::at(now_ms);
            }
        }
        let span_ms = self.span_ms(now_ms);
        let sum: f64 = self.windows.iter().map(|window| window.sum).sum();
        let rate = sum / (span_ms / 1000.0);
        if rate <= limit {
            return Duration::ZERO;
        }
        wait((rate - limit) / limit * span_ms)
    }

    /// The window that `now_ms` belongs to: windows begin when something is noted, not by the clock.
    fn window(&mut self, now_ms: u64) -> &mut Window {
        let fresh = Window::at(now_ms);
        match self.windows.get(self.current) {
            None => {
                self.windows.push(fresh);
                self.current = self.windows.len().saturating_sub(1);
            }
            Some(window) if now_ms.saturating_sub(window.began_ms) >= WINDOW_MS => {
                self.current = self.current.saturating_add(1);
                if self.current > WINDOWS {
                    self.current = 0;
                }
                match self.windows.get_mut(self.current) {
                    Some(window) => *window = fresh,
                    None => self.windows.push(fresh),
                }
            }
            Some(_) => {}
        }
        match self.windows.get_mut(self.current) {
            Some(window) => window,
            None => unreachable!("it was just made"),
        }
    }

    /// What the sum is over: since the oldest window began, filled up to ten whole ones.
    fn span_ms(&self, now_ms: u64) -> f64 {
        let began = self.windows.iter().map(|window| window.began_ms).min().unwrap_or(now_ms);
        let elapsed = now_ms.saturating_sub(began);
        let whole = elapsed.saturating_sub(elapsed.checked_rem(WINDOW_MS).unwrap_or(0));
        let missing = WHOLE_WINDOWS_MS.saturating_sub(whole);
        let span = elapsed.saturating_add(missing).max(1);
        // At most some weeks: far within what a double counts exactly.
        Duration::from_millis(span).as_secs_f64() * 1000.0
    }

    /// Whether nothing that it remembers would count.
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        let last = self.windows.iter().map(|window| window.last_ms).max();
        last.is_none_or(|last| millis(now).saturating_sub(last) >= HORIZON_MS)
    }
}

/// Tokens that come at the quota's rate, at most as many as eleven seconds bring, and may be owed.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    tokens: f64,
    filled: Instant,
    limit: f64,
}

/// Seconds of tokens that a bucket holds.
const BURST_SECONDS: f64 = 11.0;

impl Bucket {
    pub(super) fn full(limit: f64, now: Instant) -> Bucket {
        Bucket { tokens: limit * BURST_SECONDS, filled: now, limit }
    }

    /// Takes `amount` if nothing is owed; else how long until nothing is.
    pub(super) fn take(&mut self, amount: f64, limit: f64, now: Instant) -> Result<(), Duration> {
        self.tokens = self.at(limit, now);
        (self.filled, self.limit) = (now, limit);
        if self.tokens < 0.0 {
            return Err(wait(-self.tokens / limit * 1000.0));
        }
        self.tokens -= amount;
        Ok(())
    }

    /// Takes `amount`, also of what is owed; how long until nothing is.
    pub(super) fn owe(&mut self, amount: f64, limit: f64, now: Instant) -> Duration {
        self.tokens = self.at(limit, now) - amount;
        (self.filled, self.limit) = (now, limit);
        wait((-self.tokens).max(0.0) / limit * 1000.0)
    }

    fn at(&self, limit: f64, now: Instant) -> f64 {
        let come = now.since(self.filled).as_secs_f64() * limit;
        (self.tokens + come).min(limit * BURST_SECONDS)
    }

    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.at(self.limit, now) >= self.limit * BURST_SECONDS
    }
}

/// Milliseconds, rounded, as a time; far too many are for ever, and a negative number is none.
fn wait(millis: f64) -> Duration {
    Duration::try_from_secs_f64(millis.round() / 1000.0).unwrap_or(if millis > 0.0 {
        Duration::MAX
    } else {
        Duration::ZERO
    })
}

fn millis(now: Instant) -> u64 {
    now.as_micros().checked_div(1000).unwrap_or(0)
}
