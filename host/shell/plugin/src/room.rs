//! Where the instances of one plugin in one role live: made when needed, kept for the next call, thrown away
//! after any misbehaviour.
//!
//! **Invariants.** An instance is entered by one call at a time. One that trapped, ran out of time or memory,
//! or contradicted itself is never entered again. An instance that nobody has called for a while is let go.

mod instance;

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use wasmtime::component::{Component, InstancePre};
use wasmtime::{Store, Trap, UpdateDeadline};

use crate::bind::types::{Columns, PluginError};
use crate::engine::{PluginEngine, Tenant};
use crate::error::{Failure, cut};
use crate::guest::{Guest, Shared};
use crate::library::Image;
use crate::limits::Budget;
use crate::metrics::RoomMetrics;
use crate::role::{Introduction, Role};
use instance::Instance;

/// Who is let go says goodbye first, which takes longer than this only where something is wrong.
const GOODBYE_WAIT: Duration = Duration::from_secs(2);

/// How long an instance may have nothing to do.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Instances up to which one is kept that nobody has called yet.
const WARM_MAX: usize = 64;
/// How much longer than its budget a call is waited for: a host call can't be interrupted by the epoch.
const GRACE: Duration = Duration::from_millis(250);
/// An instance whose memory has grown beyond this part of its limit is let go after the call.
const RECYCLE_NUMERATOR: usize = 3;
const RECYCLE_DENOMINATOR: usize = 4;
/// Making an instance ready may take as long as so many calls, since interpreters have something to do here, but no
/// longer than this unless a call may.
const START_CALLS: u32 = 10;
const START_MAX: Duration = Duration::from_secs(10);

/// How long a call has the thread it began on for itself. Most are over by then; one that isn't goes on elsewhere, see
/// `workers`.
const FIRST_SLICE: Duration = Duration::from_micros(500);
/// What a call may hand over to the host, as a multiple of its output: columns come with their indexes.
const HANDED_OVER: usize = 2;
/// And at the least, for what is logged and the like.
const HANDED_OVER_MIN: usize = 1 << 20;
/// How the engine says that it was too much.
const TOO_MUCH: &str = "too much data is being copied";

/// A boxed future of a call, borrowed from the instance it runs in.
pub(crate) type Calling<'a, T> =
    std::pin::Pin<Box<dyn Future<Output = wasmtime::Result<Result<T, PluginError>>> + Send + 'a>>;

/// One plugin, in one role, with one configuration, for one purpose.
pub(crate) struct Room<R: Role> {
    engine: Arc<PluginEngine>,
    image: Arc<Image>,
    shared: Arc<Shared>,
    config: String,
    budget: Budget,
    metrics: RoomMetrics,
    /// Bounds how many instances work at once.
    places: Semaphore,
    /// Protects the instances that have nothing to do; held to take or give back one.
    state: Mutex<State<R>>,
    /// Which columns the plugin wants, once it has said so.
    columns: std::sync::OnceLock<Columns>,
}

struct State<R: Role> {
    /// Linked code, and the machine code it refers to; made with the first instance and let go with the last.
    pre: Option<(R::Pre, Arc<Component>)>,
    idle: Vec<Instance<R>>,
    /// Whether somebody is on the way to let idle instances go.
    sweeping: bool,
}

impl<R: Role> std::fmt::Debug for Room<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Room").field("shared", &self.shared).finish_non_exhaustive()
    }
}

impl<R: Role> Room<R> {
    pub(crate) fn new(
        engine: Arc<PluginEngine>,
        image: Arc<Image>,
        shared: Shared,
        config: &serde_json::Value,
        budget: Budget,
        at_once: usize,
    ) -> Arc<Room<R>> {
        let metrics = image.metrics.of(&shared.plugin, R::ROLE.name());
        let room = Arc::new(Room {
            engine,
            image,
            config: config.to_string(),
            budget,
            metrics,
            places: Semaphore::new(at_once),
            state: Mutex::new(State { pre: None, idle: Vec::new(), sweeping: false }),
            columns: std::sync::OnceLock::new(),
            shared: Arc::new(shared),
        });
        let tenant = Arc::downgrade(&room);
        room.engine.slots().admit(tenant as Weak<dyn Tenant>);
        room
    }

    pub(crate) fn plugin(&self) -> &str {
        &self.shared.plugin
    }

    pub(crate) fn version(&self) -> &str {
        &self.image.manifest.version
    }

    pub(crate) fn about(&self) -> crate::dead::About<'_> {
        crate::dead::About { plugin: self.plugin(), version: self.version() }
    }

    pub(crate) fn budget(&self) -> Budget {
        self.budget
    }

    pub(crate) fn metrics(&self) -> &RoomMetrics {
        &self.metrics
    }

    /// Ends what its guests wait for.
    pub(crate) fn stopper(&self) -> brooklet_hook::task::Stopper {
        let shared = Arc::clone(&self.shared);
        Arc::new(move || shared.stop.stop())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// The columns the plugin wants. Known once an instance has been made.
    pub(crate) async fn columns(self: &Arc<Self>) -> Result<Columns, Failure> {
        match self.columns.get() {
            Some(columns) => Ok(*columns),
            None => {
                self.warm().await?;
                Ok(self.columns.get().copied().unwrap_or(Columns::empty()))
            }
        }
    }

    /// Makes an instance if there is none: shows that the plugin starts with its configuration. It is kept for the
    /// first call, unless many are kept for theirs: a broker of a thousand bindings is not to hold a thousand
    /// instances because they were all bound at once.
    pub(crate) async fn warm(self: &Arc<Self>) -> Result<(), Failure> {
        let _place = self.place().await?;
        let instance = self.take().await?;
        if self.engine.slots().taken() <= WARM_MAX {
            self.give_back(instance);
            return Ok(());
        }
        drop(instance);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if state.idle.is_empty() {
            state.pre = None;
        }
        Ok(())
    }

    /// Calls the plugin.
    pub(crate) async fn call<T: Send>(
        self: &Arc<Self>,
        call: impl for<'a> FnOnce(&'a R, &'a mut Store<Guest>) -> Calling<'a, T> + Send,
    ) -> Result<T, Failure> {
        let _place = self.place().await?;
        let mut instance = self.take().await?;
        let began = Instant::now();
        let result = self.run(&mut instance, self.budget.time, call).await;
        self.metrics.called(began.elapsed(), instance.high_water());
        if let Err(failure) = &result {
            self.metrics.failed(failure.kind());
            if failure.spoils_instance() {
                self.metrics.restarted();
                return result;
            }
        }
        self.give_back(instance);
        result
    }

    /// Takes an instance for a conversation of several calls: what it remembers of one is there in the next,
    /// and nobody else enters it.
    pub(crate) async fn lease(self: &Arc<Self>) -> Result<Lease<R>, Failure> {
        let instance = self.make().await?;
        Ok(Lease { room: Arc::clone(self), instance: Some(instance) })
    }

    /// Says that what a call gave back was wrong: whoever made it is not asked again.
    pub(crate) fn spoil(&self, failure: &Failure) {
        self.metrics.failed(failure.kind());
        self.metrics.restarted();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = std::mem::take(&mut state.idle);
        drop(state);
        idle.into_iter().for_each(Instance::abandon);
    }

    /// A place among those who call. Whoever has waited for a call's whole time without getting one is told to come
    /// again: an exchange of plugins waits for those who wait here.
    async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        let busy = || {
            let failure = Failure::Busy("others wait for it too".to_owned());
            self.metrics.failed(failure.kind());
            failure
        };
        let place = tokio::time::timeout(self.budget.time, self.places.acquire()).await;
        // The semaphore is never closed.
        place.map_err(|_| busy())?.map_err(|_closed| busy())
    }

    async fn run<T>(
        &self,
        instance: &mut Instance<R>,
        time: Duration,
        call: impl for<'a> FnOnce(&'a R, &'a mut Store<Guest>) -> Calling<'a, T>,
    ) -> Result<T, Failure> {
        let called = instance.enter(time, time + GRACE, call).await;
        let refused = instance.refused();
        let result = match called {
            Err(_) => Err(Failure::Timeout(time)),
            Ok(Ok(Ok(answer))) => Ok(answer),
            Ok(Ok(Err(error))) => Err(error.into()),
            Ok(Err(error)) => Err(self.classify(&error, refused, time)),
        };
        if result.as_ref().err().is_none_or(|failure| !failure.spoils_instance()) {
            instance.left();
        }
        result
    }

    fn classify(&self, error: &wasmtime::Error, refused: bool, time: Duration) -> Failure {
        match error.downcast_ref::<Trap>() {
            Some(Trap::Interrupt) => Failure::Timeout(time),
            // An allocation that failed ends in a trap of the guest's own making.
            _ if refused => Failure::Memory(self.budget.memory),
            Some(_) | None => match told(error) {
                text if text.contains(TOO_MUCH) => {
                    Failure::Output { bytes: self.handed_over(), limit: self.budget.output }
                }
                text => Failure::Trap(cut(text)),
            },
        }
    }

    /// Bytes that the host copies for one call.
    fn handed_over(&self) -> usize {
        self.budget.output.saturating_mul(HANDED_OVER).max(HANDED_OVER_MIN)
    }

    async fn take(self: &Arc<Self>) -> Result<Instance<R>, Failure> {
        let idle = self.state.lock().unwrap_or_else(PoisonError::into_inner).idle.pop();
        match idle {
            Some(instance) => Ok(instance),
            None => self.make().await,
        }
    }

    async fn make(self: &Arc<Self>) -> Result<Instance<R>, Failure> {
        let pre = self.pre().await?;
        let place = self.engine.slots().take(self.budget.time).await.inspect_err(|failure| {
            self.metrics.failed(failure.kind());
        })?;
        let guest = Guest::new(&self.shared, self.budget.memory).map_err(Failure::Unusable)?;
        let mut store = Store::new(self.engine.engine(), guest);
        store.limiter(|guest| &mut guest.limiter);
        store.set_hostcall_fuel(self.handed_over());
        store.epoch_deadline_callback(|context| {
            let (now, guest) = (Instant::now(), context.data());
            Ok(if now >= guest.deadline {
                UpdateDeadline::Interrupt
            } else if now < guest.undisturbed {
                UpdateDeadline::Continue(1)
            } else {
                // Others have this thread's next moment.
                UpdateDeadline::Yield(1)
            })
        });
        let time = (self.budget.time * START_CALLS).min(START_MAX.max(self.budget.time));
        store.data_mut().begin(time, FIRST_SLICE);
        store.set_epoch_deadline(1);
        let introduction = Introduction {
            plugin: self.shared.plugin.clone(),
            task: self.shared.task.clone(),
            config: self.config.clone(),
        };
        let _running = self.engine.running();
        let made = tokio::time::timeout(time + GRACE, async {
            let role = R::instantiate(&pre, &mut store).await?;
            let ready = role.init(&mut store, &introduction).await?;
            Ok::<_, wasmtime::Error>((role, ready))
        });
        let failed = |failure: Failure| {
            self.metrics.failed(failure.kind());
            Err(failure)
        };
        match made.await {
            Err(_) => failed(Failure::Timeout(time)),
            Ok(Err(error)) if error.is::<wasmtime::PoolConcurrencyLimitError>() => {
                failed(Failure::Busy("as many plugins run as may".to_owned()))
            }
            Ok(Err(error)) => {
                let refused = store.data().limiter.refused;
                failed(self.classify(&error, refused, time))
            }
            Ok(Ok((_, Err(error)))) => failed(error.into()),
            Ok(Ok((role, Ok(columns)))) => {
                // All instances of one component want the same.
                let _first = self.columns.set(columns);
                let (engine, metrics) = (Arc::clone(&self.engine), self.metrics.clone());
                Ok(Instance::new(engine, metrics, place, role, store))
            }
        }
    }

    async fn pre(&self) -> Result<R::Pre, Failure> {
        if let Some((pre, _)) = &self.state.lock().unwrap_or_else(PoisonError::into_inner).pre {
            return Ok(pre.clone());
        }
        let (engine, image) = (Arc::clone(&self.engine), Arc::clone(&self.image));
        let compiled = tokio::task::spawn_blocking(move || {
            let component = image.component(&engine)?;
            let linker = engine.linker(R::ROLE.is_task());
            let pre: InstancePre<Guest> = linker
                .instantiate_pre(&component)
                .map_err(|error| unlinkable(&error, R::ROLE.is_task()))?;
            let pre = R::prepare(pre).map_err(|error| format!("{error:#}"))?;
            Ok((pre, component))
        });
        let compiled = compiled.await.unwrap_or_else(|error| Err(error.to_string()));
        let linked = compiled.map_err(|error| Failure::Unusable(cut(error)))?;
        let pre = linked.0.clone();
        self.state.lock().unwrap_or_else(PoisonError::into_inner).pre = Some(linked);
        Ok(pre)
    }

    fn give_back(self: &Arc<Self>, mut instance: Instance<R>) {
        let limit = self.budget.memory / RECYCLE_DENOMINATOR * RECYCLE_NUMERATOR;
        if instance.high_water() > limit {
            self.metrics.recycled();
            return;
        }
        instance.used = Instant::now();
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.push(instance);
        if !std::mem::replace(&mut state.sweeping, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Lets go of what was idle for too long. False when nothing is left.
    fn let_go(&self) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.idle.retain(|instance| instance.used.elapsed() < IDLE_MAX);
        if state.idle.is_empty() {
            state.pre = None;
            state.sweeping = false;
        }
        state.sweeping
    }
}

impl<R: Role> Tenant for Room<R> {
    fn vacate(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = std::mem::take(&mut state.idle);
        state.pre = None;
        // Whoever comes in the meantime does not wait for them to be taken apart.
        drop(state);
        drop(idle);
    }
}

/// An instance of one's own.
pub(crate) struct Lease<R: Role> {
    room: Arc<Room<R>>,
    /// None after a failure that spoiled it.
    instance: Option<Instance<R>>,
}

impl<R: Role> std::fmt::Debug for Lease<R> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Lease").field("room", &self.room).finish_non_exhaustive()
    }
}

impl<R: Role> Lease<R> {
    /// Drops an instance whose answer was none. One that failed in a call was counted there.
    pub(crate) fn spoil(&mut self, failure: &Failure) {
        if failure.spoils_instance()
            && let Some(instance) = self.instance.take()
        {
            instance.abandon();
            self.room.metrics.failed(failure.kind());
            self.room.metrics.restarted();
        }
    }

    /// Calls the instance. After a failure that spoils it, it is gone, and with it what it remembered.
    pub(crate) async fn call<T: Send>(
        &mut self,
        call: impl for<'a> FnOnce(&'a R, &'a mut Store<Guest>) -> Calling<'a, T> + Send,
    ) -> Result<T, Failure> {
        let Some(mut instance) = self.instance.take() else {
            return Err(Failure::Fatal("its instance is gone after a failure".to_owned()));
        };
        let room = &self.room;
        let began = Instant::now();
        let result = room.run(&mut instance, room.budget.time, call).await;
        room.metrics.called(began.elapsed(), instance.high_water());
        if let Err(failure) = &result {
            room.metrics.failed(failure.kind());
            if failure.spoils_instance() {
                room.metrics.restarted();
                return result;
            }
        }
        self.instance = Some(instance);
        result
    }
}

async fn sweep<R: Role>(room: Weak<Room<R>>) {
    loop {
        tokio::time::sleep(IDLE_MAX).await;
        match room.upgrade() {
            Some(room) if room.let_go() => {}
            Some(room) => {
                let engine = Arc::clone(&room.engine);
                drop(room);
                tokio::time::sleep(GOODBYE_WAIT).await;
                if engine.slots().comes_to_rest() {
                    // Nobody runs: most of what is left of plugins is the code that runs and compiles them.
                    tokio::task::spawn_blocking(brooklet_io::memory::give_back_program);
                }
                return;
            }
            None => return,
        }
    }
}

/// What the engine says of a call that broke off, in one line: first the reason, which must not be cut off behind a
/// thousand frames, then where the guest was.
fn told(error: &wasmtime::Error) -> String {
    let mut text = error.root_cause().to_string();
    if error.is::<wasmtime::WasmBacktrace>() {
        let whole = error.to_string();
        for line in whole.lines().skip(1).take(FRAMES_MAX) {
            text = text + ", " + line.trim();
        }
    }
    text
}

/// Frames of a guest's stack that are told.
const FRAMES_MAX: usize = 8;

/// What the engine says about an import that is not there, in words that help.
fn unlinkable(error: &wasmtime::Error, is_task: bool) -> String {
    let text = format!("{error:#}");
    let only_tasks = ["brooklet:plugin/secrets", "brooklet:plugin/task-control"];
    if !is_task && only_tasks.iter().any(|name| text.contains(name)) {
        return format!("it imports what only sources and sinks have: {text}");
    }
    format!("it imports what this broker does not offer: {text}")
}
