//! The time: monotonic for waits, of the day for records.
//!
//! **Decides** nothing; everyone else is told the time as an argument. **Invariant**: all clones of
//! one [`Clock`] agree on when they started.

use std::time::{SystemTime, UNIX_EPOCH};

use brooklet_types::{Instant, Timestamp};

/// Both kinds of time. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    start: std::time::Instant,
}

impl Clock {
    /// A clock that starts now.
    pub fn start() -> Clock {
        Clock { start: std::time::Instant::now() }
    }

    /// Time since the start.
    pub fn now(&self) -> Instant {
        let micros = u64::try_from(self.start.elapsed().as_micros());
        Instant::from_micros(micros.expect("half a million years of uptime"))
    }

    /// The time of the day. It may jump either way, as machines are set right.
    pub fn timestamp(&self) -> Timestamp {
        // A machine without a battery may believe that it is before 1970: zero is then as wrong
        // as anything, and does not read as Kafka's "no timestamp".
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Timestamp(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
    }
}
