//! One instance: entered by one call at a time, and asked to say goodbye before it goes.
//!
//! **Invariant.** One that was entered and not left as it should be, because it trapped, ran out of time or was given up in
//! the middle, is never entered again, and that includes its goodbye.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;
use tokio::time::error::Elapsed;
use tokio::time::timeout;
use wasmtime::Store;

use super::{Calling, FIRST_SLICE, GRACE};
use crate::bind::types::PluginError;
use crate::engine::{Occupied, PluginEngine};
use crate::guest::Guest;
use crate::metrics::RoomMetrics;
use crate::role::Role;

/// How long a goodbye may take: whoever has something to finish does it when it is told to flush.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

pub(super) struct Instance<R: Role> {
    /// None once it is gone.
    alive: Option<Alive<R>>,
    /// Whether it has been left as it should be.
    fit: bool,
    /// When it last was.
    pub(super) used: Instant,
}

struct Alive<R: Role> {
    engine: Arc<PluginEngine>,
    metrics: RoomMetrics,
    role: R,
    store: Store<Guest>,
    /// Given back when the store is gone: fields are dropped in their order.
    _place: Occupied,
}

impl<R: Role> Instance<R> {
    /// One that has been introduced.
    pub(super) fn new(
        engine: Arc<PluginEngine>,
        metrics: RoomMetrics,
        place: Occupied,
        role: R,
        store: Store<Guest>,
    ) -> Instance<R> {
        metrics.alive(1);
        let alive = Some(Alive { engine, metrics, role, store, _place: place });
        Instance { alive, fit: true, used: Instant::now() }
    }

    /// Calls it, for `time` of its own and until `limit` in all. It is not fit for another call before it is
    /// [`left`](Instance::left).
    pub(super) async fn enter<T>(
        &mut self,
        time: Duration,
        limit: Duration,
        call: impl for<'a> FnOnce(&'a R, &'a mut Store<Guest>) -> Calling<'a, T>,
    ) -> Result<wasmtime::Result<Result<T, PluginError>>, Elapsed> {
        self.fit = false;
        let Alive { engine, role, store, .. } = self.alive();
        store.data_mut().begin(time, FIRST_SLICE);
        store.set_epoch_deadline(1);
        let _running = engine.running();
        timeout(limit, call(role, store)).await
    }

    /// The call is over, and nothing speaks against another.
    pub(super) fn left(&mut self) {
        self.fit = true;
    }

    /// The most memory it has had, in bytes.
    pub(super) fn high_water(&mut self) -> usize {
        self.alive().store.data().limiter.high_water
    }

    /// Whether it was refused memory.
    pub(super) fn refused(&mut self) -> bool {
        self.alive().store.data().limiter.refused
    }

    /// Lets go of one that is not to be asked anything, a goodbye included.
    pub(super) fn abandon(mut self) {
        self.fit = false;
    }

    fn alive(&mut self) -> &mut Alive<R> {
        self.alive.as_mut().expect("only a drop takes it")
    }
}

impl<R: Role> Drop for Instance<R> {
    fn drop(&mut self) {
        let Some(alive) = self.alive.take().filter(|_| self.fit) else { return };
        // Without a runtime the process is about to end, and there is nobody left to say goodbye to.
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(goodbye(alive));
        }
    }
}

impl<R: Role> Drop for Alive<R> {
    fn drop(&mut self) {
        self.metrics.alive(-1);
    }
}

/// Gives an instance the chance to say goodbye. What comes of it changes nothing.
async fn goodbye<R: Role>(mut alive: Alive<R>) {
    let Alive { engine, role, store, .. } = &mut alive;
    store.data_mut().begin(GOODBYE_MAX, FIRST_SLICE);
    store.set_epoch_deadline(1);
    let _running = engine.running();
    let plugin = store.data().shared.plugin.clone();
    match timeout(GOODBYE_MAX + GRACE, role.shutdown(store)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(plugin, %error, "no goodbye"),
        Err(_) => tracing::debug!(plugin, "no goodbye within {GOODBYE_MAX:?}"),
    }
}
