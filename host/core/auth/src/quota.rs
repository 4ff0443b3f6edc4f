//! How much somebody may take, and how long they wait when they took more.
//!
//! **Where it sits.** Beside the handlers, one for a broker: a client's quota is one number, whatever shards its
//! partitions lie on, and connections are counted before any shard hears of them. That is why it is not a part
//! of `shard`.
//!
//! **What it decides.** Which quota holds for a user and a client id, with Kafka's precedence; whether what was taken
//! is within it, measured as Kafka measures: a sum over the last 11 windows of a second, the current one
//! among them; and how long to wait, which is until the rate would be within the quota again.
//!
//! **What it never does.** Wait. Who is over is answered, and then not read from for that long (KIP-219).
//!
//! Memory is bounded: [`TRACKED_MAX`] are measured each by themselves, and those that find no place together. A
//! meter that has measured nothing for as long as it looks back is as good as a new one, and goes when room is needed.

mod meter;
mod table;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::Duration;

use brooklet_types::{Instant, QuotaKey};

use meter::{Bucket, Rate};
pub use table::QuotaTable;
use table::Whose;

/// How many users, client ids, pairs of them and addresses are measured each by itself. Some 400 bytes each.
pub const TRACKED_MAX: usize = 10_000;

/// Nobody waits longer for a request's time or a connection: Kafka's `quota.window.size.seconds`.
const THROTTLE_MAX: Duration = Duration::from_secs(1);

/// Those that have no quota any more, or long since done nothing, are looked for at most so often.
const TIDY_EVERY: Duration = Duration::from_secs(1);

/// Who takes something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taker<'a> {
    /// The principal's name, without its kind.
    pub user: &'a str,
    /// What the client calls itself; empty if it does not.
    pub client_id: &'a str,
}

/// Quotas, and what was taken.
#[derive(Clone, Debug, Default)]
pub struct Quotas {
    table: QuotaTable,
    meters: BTreeMap<(QuotaKey, Measured), Meter>,
    tidied: Option<Instant>,
}

/// What one meter is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Measured {
    One(Whose),
    /// All that found no place.
    Rest,
}

#[derive(Clone, Debug)]
enum Meter {
    Rate(Rate),
    Bucket(Bucket),
}

impl Quotas {
    /// Quotas of that table, nothing taken yet.
    pub fn new(table: QuotaTable) -> Quotas {
        Quotas { table, ..Quotas::default() }
    }

    /// The quotas are these from now on. What was taken stays taken.
    pub fn set(&mut self, table: QuotaTable) {
        self.table = table;
    }

    /// Notes that `amount` of `key` was taken; how long to wait for it, zero within the quota.
    ///
    /// Amounts are bytes, or, for [`QuotaKey::RequestPercentage`], a hundred for each second of a processor.
    /// A negative amount takes back what was noted and not given.
    pub fn take(&mut self, key: QuotaKey, taker: Taker<'_>, amount: f64, now: Instant) -> Duration {
        let Some((whose, limit)) = self.table.find(key, taker) else { return Duration::ZERO };
        let wait = self.rate(key, whose, now).take(amount, limit, now);
        match key {
            QuotaKey::RequestPercentage => wait.min(THROTTLE_MAX),
            QuotaKey::ProducerByteRate
            | QuotaKey::ConsumerByteRate
            | QuotaKey::ControllerMutationRate
            | QuotaKey::ConnectionCreationRate => wait,
        }
    }

    /// The most that may be taken within all windows together: a larger answer could never be paid for.
    /// None where no quota holds.
    pub fn most(&self, key: QuotaKey, taker: Taker<'_>) -> Option<f64> {
        let (_, limit) = self.table.find(key, taker)?;
        Some(limit * meter::WHOLE_WINDOWS)
    }

    /// Asks for `partitions` to be created or deleted (KIP-599). They are, unless more was done before than
    /// the quota allows: then none is, and the time to wait is told.
    ///
    /// # Errors
    /// How long to wait, for THROTTLING_QUOTA_EXCEEDED.
    pub fn change_partitions(
        &mut self,
        taker: Taker<'_>,
        partitions: u32,
        now: Instant,
    ) -> Result<(), Duration> {
        let Some((bucket, limit)) = self.bucket(taker, now) else { return Ok(()) };
        bucket.take(f64::from(partitions), limit, now)
    }

    /// The same for a client that does not know the error: they are created or deleted in any case, and the time to wait is
    /// told.
    pub fn owe_partitions(&mut self, taker: Taker<'_>, partitions: u32, now: Instant) -> Duration {
        let Some((bucket, limit)) = self.bucket(taker, now) else { return Duration::ZERO };
        bucket.owe(f64::from(partitions), limit, now)
    }

    /// Where changes of partitions are measured, and their quota, if there is one.
    fn bucket(&mut self, taker: Taker<'_>, now: Instant) -> Option<(&mut Bucket, f64)> {
        let key = QuotaKey::ControllerMutationRate;
        let (whose, limit) = self.table.find(key, taker)?;
        let place = self.place(key, whose, now);
        let fresh = || Meter::Bucket(Bucket::full(limit, now));
        match self.meters.entry(place).or_insert_with(fresh) {
            Meter::Bucket(bucket) => Some((bucket, limit)),
            // A key has meters of one kind.
            Meter::Rate(_) => None,
        }
    }

    /// Asks for a connection from `address` to be accepted (KIP-612).
    ///
    /// # Errors
    /// How long to leave it alone before it is closed. It does not count, then.
    pub fn connect(&mut self, address: &str, now: Instant) -> Result<(), Duration> {
        let key = QuotaKey::ConnectionCreationRate;
        let Some((whose, limit)) = self.table.find_ip(address) else { return Ok(()) };
        let rate = self.rate(key, whose, now);
        let wait = rate.take(1.0, limit, now).min(THROTTLE_MAX);
        if wait.is_zero() {
            return Ok(());
        }
        rate.take(-1.0, limit, now);
        Err(wait)
    }

    fn rate(&mut self, key: QuotaKey, whose: Whose, now: Instant) -> &mut Rate {
        let place = self.place(key, whose, now);
        let meter = self.meters.entry(place).or_insert_with(|| Meter::Rate(Rate::default()));
        if matches!(meter, Meter::Bucket(_)) {
            *meter = Meter::Rate(Rate::default());
        }
        match meter {
            Meter::Rate(rate) => rate,
            Meter::Bucket(_) => unreachable!("it was just replaced"),
        }
    }

    /// Where to measure: by itself if it is already, or there is room or some can be made.
    fn place(&mut self, key: QuotaKey, whose: Whose, now: Instant) -> (QuotaKey, Measured) {
        let own = (key, Measured::One(whose));
        if self.meters.len() >= TRACKED_MAX && !self.meters.contains_key(&own) {
            if self.tidied.is_none_or(|last| now.since(last) >= TIDY_EVERY) {
                self.tidied = Some(now);
                self.meters.retain(|_, meter| !meter.is_as_new(now));
            }
            if self.meters.len() >= TRACKED_MAX {
                return (key, Measured::Rest);
            }
        }
        own
    }
}

impl Meter {
    fn is_as_new(&self, now: Instant) -> bool {
        match self {
            Meter::Rate(rate) => rate.is_as_new(now),
            Meter::Bucket(bucket) => bucket.is_as_new(now),
        }
    }
}
