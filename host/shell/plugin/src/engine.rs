//! The engine that all plugins share: its settings, its heartbeat, compiling and the linker.
//!
//! **Invariants.** The ticker runs only while some call does: a broker whose plugins are idle wakes up for
//! none of them.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{
    Config, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
    WasmBacktraceDetails,
};

use crate::bind::host::brooklet::plugin as imports;
use crate::cache::Cache;
use crate::error::UseError;
use crate::guest::Guest;
use crate::limits::Ceiling;

/// How often a running guest lets others have its thread.
const TICK: Duration = Duration::from_millis(1);
/// Some guests, those of interpreted languages, bring tables of many thousand entries.
const TABLE_ELEMENTS_MAX: usize = 30_000;
/// What such guests need for the description of one instance.
const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// Memory of an instance that is kept warm for the next one in its slot.
const RESIDENT_BYTES: usize = 128 << 10;
/// A component may consist of several modules: its own, adapters, and what its language brings.
const CORES_PER_COMPONENT: u32 = 8;
/// The guest's own stack; deep recursion traps here.
const STACK_BYTES: usize = 512 << 10;

/// Compiles and links plugins, and keeps time for them.
pub(crate) struct PluginEngine {
    engine: Engine,
    linker: Linker<Guest>,
    tasks_linker: Linker<Guest>,
    cache: Cache,
    ticker: Arc<Ticker>,
}

impl std::fmt::Debug for PluginEngine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PluginEngine").field("cache", &self.cache).finish_non_exhaustive()
    }
}

impl PluginEngine {
    pub(crate) fn new(ceiling: &Ceiling, cache: Cache) -> Result<PluginEngine, UseError> {
        let failed =
            |error: wasmtime::Error| UseError::Component(format!("plugin engine: {error:#}"));
        let engine = Engine::new(&config(ceiling)).map_err(failed)?;
        let hot = linker(&engine, false).map_err(failed)?;
        let tasks_linker = linker(&engine, true).map_err(failed)?;
        let ticker = Arc::new(Ticker::default());
        start_ticker(engine.clone(), &ticker)?;
        Ok(PluginEngine { engine, linker: hot, tasks_linker, cache, ticker })
    }

    pub(crate) fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The functions a plugin finds: more for sources and sinks than for those on the record path.
    pub(crate) fn linker(&self, is_task: bool) -> &Linker<Guest> {
        if is_task { &self.tasks_linker } else { &self.linker }
    }

    /// Machine code of a component that was compiled before.
    pub(crate) fn cached(&self, digest: &str) -> Option<Component> {
        self.cache.load(&self.engine, digest)
    }

    /// Forgets what was compiled.
    pub(crate) fn forget(&self, digest: &str) {
        self.cache.remove(digest);
    }

    /// Machine code of a component. May take seconds: never call it where others wait.
    pub(crate) fn compile(&self, digest: &str, bytes: &[u8]) -> Result<Component, UseError> {
        let problem = |error: wasmtime::Error| {
            UseError::Component(format!("not a component that can be run here: {error:#}"))
        };
        let component = Component::new(&self.engine, bytes).map_err(problem)?;
        match component.serialize() {
            Ok(code) => self.cache.store(&self.engine, digest, &code),
            Err(error) => tracing::warn!(%error, digest, "compiled plugin not cached"),
        }
        Ok(component)
    }

    /// Keeps the epoch ticking until the guard goes.
    pub(crate) fn running(&self) -> Running {
        self.ticker.enter();
        Running(Arc::clone(&self.ticker))
    }
}

impl Drop for PluginEngine {
    fn drop(&mut self) {
        self.ticker.end();
    }
}

fn config(ceiling: &Ceiling) -> Config {
    let mut pool = PoolingAllocationConfig::new();
    let cores = ceiling.instances.saturating_mul(CORES_PER_COMPONENT);
    pool.total_component_instances(ceiling.instances)
        .total_core_instances(cores)
        .total_memories(ceiling.instances)
        .total_tables(cores)
        .total_stacks(ceiling.instances)
        .max_memories_per_component(2)
        .max_core_instances_per_component(CORES_PER_COMPONENT * 4)
        .max_tables_per_component(CORES_PER_COMPONENT * 4)
        .table_elements(TABLE_ELEMENTS_MAX)
        .max_component_instance_size(INSTANCE_BYTES_MAX)
        .max_core_instance_size(INSTANCE_BYTES_MAX)
        .max_memory_size(ceiling.memory)
        .max_unused_warm_slots(8)
        .linear_memory_keep_resident(RESIDENT_BYTES)
        .table_keep_resident(64 << 10);
    let mut config = Config::new();
    config
        .wasm_component_model(true)
        .concurrency_support(false)
        .epoch_interruption(true)
        .memory_init_cow(true)
        .wasm_threads(false)
        .wasm_memory64(false)
        .wasm_gc(false)
        .wasm_exceptions(false)
        .cranelift_opt_level(OptLevel::Speed)
        .max_wasm_stack(STACK_BYTES)
        .async_stack_size(STACK_BYTES + (512 << 10))
        .wasm_backtrace_details(WasmBacktraceDetails::Enable)
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool));
    config
}

/// WASI for everybody, since every toolchain's runtime asks for some of it; what it may do is decided per
/// instance, and that is nothing unless granted.
fn linker(engine: &Engine, is_task: bool) -> wasmtime::Result<Linker<Guest>> {
    let mut linker = Linker::new(engine);
    wasmtime_wasi::p2::add_to_linker_async(&mut linker)?;
    wasmtime_wasi_http::p2::add_only_http_to_linker_async(&mut linker)?;
    imports::types::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    imports::log::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    imports::metrics::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    imports::schemas::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    if is_task {
        imports::secrets::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
        imports::task_control::add_to_linker::<_, HasSelf<Guest>>(&mut linker, |guest| guest)?;
    }
    Ok(linker)
}

/// Drives the epoch while calls run, and sleeps when none does.
#[derive(Debug, Default)]
struct Ticker {
    /// Protects the number of running calls; held for a few instructions.
    state: Mutex<TickerState>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct TickerState {
    running: usize,
    ended: bool,
}

/// A call is running.
#[derive(Debug)]
pub(crate) struct Running(Arc<Ticker>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner).running -= 1;
    }
}

impl Ticker {
    fn enter(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.running += 1;
        if state.running == 1 {
            self.changed.notify_one();
        }
    }

    fn end(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).ended = true;
        self.changed.notify_one();
    }

    /// Waits until a call runs; false when it is over.
    fn wait(&self) -> bool {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let idle = |state: &mut TickerState| state.running == 0 && !state.ended;
        let state = self.changed.wait_while(state, idle);
        !state.unwrap_or_else(PoisonError::into_inner).ended
    }
}

fn start_ticker(engine: Engine, ticker: &Arc<Ticker>) -> Result<(), UseError> {
    let ticker = Arc::clone(ticker);
    let thread = std::thread::Builder::new().name("plugin-ticker".to_owned());
    let spawned = thread.spawn(move || {
        while ticker.wait() {
            std::thread::sleep(TICK);
            engine.increment_epoch();
        }
    });
    spawned.map(drop).map_err(UseError::io("start the ticker of plugins"))
}
