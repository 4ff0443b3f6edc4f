//! Waits between attempts: they double, and differ between those who failed together.

use std::time::Duration;

/// The first wait is of this order.
const FIRST: Duration = Duration::from_millis(200);

/// The waits of something that fails again and again.
#[derive(Debug)]
pub(crate) struct Backoff {
    step: Duration,
    longest: Duration,
}

impl Backoff {
    pub(crate) fn up_to(longest: Duration) -> Backoff {
        Backoff { step: FIRST.min(longest), longest }
    }

    /// Between half and all of a step that doubles.
    pub(crate) fn next(&mut self) -> Duration {
        let step = self.step;
        self.step = (step * 2).min(self.longest);
        step / 2 + (step / 2).mul_f64(chance())
    }
}

/// From 0 to just below 1. Where the system has no randomness to give, all wait alike.
fn chance() -> f64 {
    let mut bytes = [0; 4];
    getrandom::fill(&mut bytes)
        .map_or(0.5, |()| f64::from(u32::from_le_bytes(bytes)) / 2_f64.powi(32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_to_their_longest_and_are_spread() {
        let mut backoff = Backoff::up_to(Duration::from_secs(1));
        for step in [200, 400, 800, 1000, 1000] {
            let step = Duration::from_millis(step);
            let wait = backoff.next();
            assert!(wait >= step / 2 && wait <= step, "{wait:?} of {step:?}");
        }
        let waits: std::collections::BTreeSet<Duration> =
            (0..20).map(|_| Backoff::up_to(Duration::from_secs(1)).next()).collect();
        assert!(waits.len() > 10, "{waits:?}");
    }
}
