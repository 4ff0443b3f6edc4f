//! Memory for requests, shared by all connections.
//!
//! **Decides** who may buffer more. Big frames are charged here, by what is reserved for them and
//! not by what their length field says; small ones are not, so that heartbeats and metadata pass
//! even when the budget is spent. **Invariant**: charges never exceed the budget.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Permits are counted in KiB: a frame fits an `u32` either way, and the semaphore stays small.
const UNIT_BYTES: usize = 1024;

/// The broker-wide budget. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Budget {
    units: Arc<Semaphore>,
    total: usize,
}

/// Bytes taken from the budget; they return when this is dropped.
#[derive(Debug, Default)]
pub struct Charge {
    permit: Option<OwnedSemaphorePermit>,
}

impl Budget {
    /// A budget of `bytes`.
    pub fn new(bytes: usize) -> Budget {
        let total = bytes / UNIT_BYTES;
        Budget { units: Arc::new(Semaphore::new(total)), total }
    }

    /// Takes `bytes` more into `charge`, waiting until others have returned enough. Whoever calls
    /// has a deadline: two that hold half of the budget each would wait for ever.
    ///
    /// Cancel-safe: dropped while waiting, it has taken nothing.
    pub async fn take(&self, bytes: usize, charge: &mut Charge) {
        // More than there is would wait for ever; the frame limit lies below the budget.
        let units = bytes.div_ceil(UNIT_BYTES).min(self.total);
        let units = u32::try_from(units).expect("a frame is limited to 100 MiB");
        let permit = Arc::clone(&self.units).acquire_many_owned(units).await;
        let permit = permit.expect("the budget is never closed");
        match &mut charge.permit {
            Some(held) => held.merge(permit),
            none => *none = Some(permit),
        }
    }

    /// Whether most of it is taken, so that those who hold without using it should be let go.
    pub fn is_short(&self) -> bool {
        self.units.available_permits() < self.total / 2
    }

    /// Bytes taken at present.
    pub fn taken(&self) -> usize {
        (self.total - self.units.available_permits().min(self.total)) * UNIT_BYTES
    }
}
