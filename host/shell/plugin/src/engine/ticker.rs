//! What moves the epoch on, so that a guest that runs long is noticed.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::Engine;

use crate::error::UseError;

/// How often a running guest lets others have its thread.
const TICK: Duration = Duration::from_millis(1);
/// How long it ticks on when no call runs: to be woken up costs the next call more than a few ticks cost anybody.
const LINGER_TICKS: u32 = 50;

/// Drives the epoch while calls run, and sleeps when none does.
#[derive(Debug, Default)]
pub(super) struct Ticker {
    running: AtomicUsize,
    /// Set before the thread looks for the last time whether anything runs, and read after something has begun to:
    /// one of the two sees the other.
    asleep: AtomicBool,
    ended: AtomicBool,
    /// Protects nothing but the moment between looking and sleeping.
    looking: Mutex<()>,
    changed: Condvar,
}

/// A call is running.
#[derive(Debug)]
pub(crate) struct Running(Arc<Ticker>);

impl Running {
    pub(super) fn new(ticker: &Arc<Ticker>) -> Running {
        ticker.running.fetch_add(1, Ordering::SeqCst);
        if ticker.asleep.load(Ordering::SeqCst) {
            ticker.wake();
        }
        Running(Arc::clone(ticker))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Ticker {
    /// Starts the thread.
    pub(super) fn start(engine: Engine) -> Result<Arc<Ticker>, UseError> {
        let ticker = Arc::new(Ticker::default());
        let own = Arc::clone(&ticker);
        let thread = std::thread::Builder::new().name("plugin-ticker".to_owned());
        let spawned = thread.spawn(move || {
            while own.wait() {
                let mut idle = 0;
                while idle < LINGER_TICKS {
                    std::thread::sleep(TICK);
                    engine.increment_epoch();
                    idle = if own.is_idle() { idle + 1 } else { 0 };
                }
            }
        });
        spawned.map(drop).map_err(UseError::io("start the ticker of plugins"))?;
        Ok(ticker)
    }

    /// Ends the thread, at the latest when it would have gone to sleep.
    pub(super) fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
        self.wake();
    }

    fn wake(&self) {
        let _looked = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.changed.notify_one();
    }

    fn is_idle(&self) -> bool {
        self.running.load(Ordering::SeqCst) == 0
    }

    /// Sleeps until a call runs; false when it is over.
    fn wait(&self) -> bool {
        let looking = self.looking.lock().unwrap_or_else(PoisonError::into_inner);
        self.asleep.store(true, Ordering::SeqCst);
        let nothing = |_: &mut ()| self.is_idle() && !self.ended.load(Ordering::SeqCst);
        let _looked = self.changed.wait_while(looking, nothing);
        self.asleep.store(false, Ordering::SeqCst);
        !self.ended.load(Ordering::SeqCst)
    }
}
