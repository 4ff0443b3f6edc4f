//! When records were acknowledged, counted by batch: a batch is acknowledged at once, so one waiting
//! task stands for all its records.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use brooklet_client::{Delivery, ProduceError, Target};

use super::Window;
use super::report::Latencies;

/// What became of everything sent. Clones share it.
#[derive(Clone)]
pub(super) struct Tally {
    window: Window,
    counts: Arc<Mutex<Counts>>,
}

/// Held for a batch of acknowledgements, or to look.
#[derive(Default)]
struct Counts {
    acknowledged: u64,
    /// Of those, the ones whose acknowledgement fell into the window.
    in_window: u64,
    latencies: Latencies,
    failure: Option<ProduceError>,
}

/// Groups deliveries by batch; owned by whoever sends.
pub(super) struct Tracker {
    tally: Tally,
    runtime: tokio::runtime::Handle,
    open: BTreeMap<Target, (Delivery, Batch)>,
}

/// The records of a batch, shared by the sender and the task that waits for the acknowledgement.
/// The lock is held for one record, or to close it.
type Batch = Arc<Mutex<State>>;

enum State {
    /// When each record was due.
    Open(Vec<Instant>),
    /// When it was acknowledged.
    Acknowledged(Instant),
    Failed,
}

impl Tally {
    pub(super) fn new(window: Window) -> Tally {
        Tally { window, counts: Arc::default() }
    }

    /// How many records were acknowledged so far.
    pub(super) fn acknowledged(&self) -> u64 {
        self.look(|counts| counts.acknowledged)
    }

    /// The first failure, if there was one.
    pub(super) fn failure(&self) -> Option<ProduceError> {
        self.look(|counts| counts.failure.clone())
    }

    /// Records acknowledged within the window, and how long those took that were due in it.
    pub(super) fn result(&self) -> (u64, Latencies) {
        self.look(|counts| (counts.in_window, counts.latencies.clone()))
    }

    fn look<T>(&self, act: impl FnOnce(&mut Counts) -> T) -> T {
        // Counts are complete after each batch, so a panic elsewhere leaves nothing half done.
        act(&mut self.counts.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn acknowledge(&self, due: &[Instant], at: Instant) {
        let records = u64::try_from(due.len()).unwrap_or(u64::MAX);
        self.look(|counts| {
            counts.acknowledged += records;
            if self.window.contains(at) {
                counts.in_window += records;
            }
            for due in due.iter().filter(|due| self.window.contains(**due)) {
                counts.latencies.record(at.saturating_duration_since(*due));
            }
        });
    }
}

impl Tracker {
    pub(super) fn new(tally: Tally) -> Tracker {
        let runtime = tokio::runtime::Handle::current();
        Tracker { tally, runtime, open: BTreeMap::new() }
    }

    /// Notes a record that was due at `due` and is on its way now.
    pub(super) fn sent(&mut self, delivery: Delivery, due: Instant) {
        if let Some((first, batch)) = self.open.get(&delivery.target())
            && delivery.is_of_same_batch(first)
        {
            let mut state = batch.lock().unwrap_or_else(PoisonError::into_inner);
            match &mut *state {
                State::Open(records) => records.push(due),
                // The broker was faster than we are.
                State::Acknowledged(at) => self.tally.acknowledge(&[due], *at),
                State::Failed => {}
            }
            return;
        }
        let batch = Arc::new(Mutex::new(State::Open(vec![due])));
        self.open.insert(delivery.target(), (delivery.clone(), batch.clone()));
        self.runtime.spawn(watch(delivery, batch, self.tally.clone()));
    }
}

async fn watch(mut delivery: Delivery, batch: Batch, tally: Tally) {
    let outcome = delivery.wait().await;
    let now = Instant::now();
    let new = if outcome.is_ok() { State::Acknowledged(now) } else { State::Failed };
    let before = {
        let mut state = batch.lock().unwrap_or_else(PoisonError::into_inner);
        std::mem::replace(&mut *state, new)
    };
    match (before, outcome) {
        (State::Open(due), Ok(_)) => tally.acknowledge(&due, now),
        (_, Err(error)) => tally.look(|counts| {
            counts.failure.get_or_insert(error);
        }),
        (State::Acknowledged(_) | State::Failed, Ok(_)) => {}
    }
}
