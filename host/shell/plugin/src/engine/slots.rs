//! Room for instances: how many there may be altogether, and who gives one up when all are taken.
//!
//! **Invariants.** An instance that has nothing to do is in nobody's way: when there is no room left it goes, whoever's
//! it is.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::error::Failure;

/// Whoever keeps instances for later.
pub(crate) trait Tenant: Send + Sync {
    /// Lets go of those that have nothing to do.
    fn vacate(&self);
}

/// One place of an instance.
pub(crate) type Occupied = OwnedSemaphorePermit;

/// All places.
#[derive(Debug)]
pub(crate) struct Slots {
    count: usize,
    free: Arc<Semaphore>,
    /// Protects who may be keeping instances; taken when one comes and when there is no room.
    tenants: Mutex<Tenants>,
    /// Whether somebody has seen that all places are free, and none was taken since.
    at_rest: AtomicBool,
}

#[derive(Default)]
struct Tenants {
    all: Vec<Weak<dyn Tenant>>,
    /// At this number those that are gone are looked for.
    tidy_at: usize,
}

impl std::fmt::Debug for Tenants {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tenants").field("count", &self.all.len()).finish_non_exhaustive()
    }
}

impl Slots {
    pub(super) fn new(count: u32) -> Slots {
        let count = usize::try_from(count).unwrap_or(usize::MAX).min(Semaphore::MAX_PERMITS);
        let (free, tenants) = (Arc::new(Semaphore::new(count)), Mutex::default());
        Slots { count, free, tenants, at_rest: AtomicBool::new(true) }
    }

    /// From now on this one may keep instances.
    pub(crate) fn admit(&self, tenant: Weak<dyn Tenant>) {
        let mut tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner);
        if tenants.all.len() >= tenants.tidy_at {
            tenants.all.retain(|one| one.strong_count() > 0);
            tenants.tidy_at = (tenants.all.len() * 2).max(64);
        }
        tenants.all.push(tenant);
    }

    /// Instances that there are.
    pub(crate) fn taken(&self) -> usize {
        self.count.saturating_sub(self.free.available_permits())
    }

    /// Whether there is no instance any more. True once, until there has been one again.
    pub(crate) fn comes_to_rest(&self) -> bool {
        // Whoever takes a place meanwhile says so afterwards: at worst it is not seen that they rest again.
        self.taken() == 0 && !self.at_rest.swap(true, Ordering::Relaxed)
    }

    /// A place: a free one, one that somebody else can do without, or the first that becomes free within a time.
    pub(crate) async fn take(&self, patience: Duration) -> Result<Occupied, Failure> {
        self.at_rest.store(false, Ordering::Relaxed);
        if let Ok(place) = Arc::clone(&self.free).try_acquire_owned() {
            return Ok(place);
        }
        let tenants = self.tenants.lock().unwrap_or_else(PoisonError::into_inner).all.clone();
        for tenant in tenants {
            if let Some(tenant) = tenant.upgrade() {
                tenant.vacate();
            }
        }
        let busy = || Failure::Busy("as many plugins run as may".to_owned());
        let waited = tokio::time::timeout(patience, Arc::clone(&self.free).acquire_owned()).await;
        waited.map_err(|_| busy())?.map_err(|_closed| busy())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Keeps one place until it is asked to let it go.
    struct Keeper(Mutex<Option<Occupied>>);

    impl Tenant for Keeper {
        fn vacate(&self) {
            self.0.lock().unwrap().take();
        }
    }

    #[tokio::test]
    async fn what_is_idle_makes_room_and_what_is_busy_is_waited_for() {
        let slots = Slots::new(2);
        let moment = Duration::from_millis(10);
        let idle = Arc::new(Keeper(Mutex::new(Some(slots.take(moment).await.unwrap()))));
        slots.admit(Arc::downgrade(&idle) as Weak<dyn Tenant>);
        let busy = slots.take(moment).await.unwrap();
        let third = slots.take(moment).await.expect("the idle one goes");
        assert!(idle.0.lock().unwrap().is_none());
        assert!(matches!(slots.take(moment).await, Err(Failure::Busy(_))));
        drop(busy);
        assert!(slots.take(moment).await.is_ok());
        assert!(!slots.comes_to_rest(), "one is taken");
        drop(third);
        assert!(slots.comes_to_rest());
        assert!(!slots.comes_to_rest(), "it was at rest");
        drop(slots.take(moment).await.unwrap());
        assert!(slots.comes_to_rest());
    }
}
