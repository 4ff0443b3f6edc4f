//! The engine that all plugins share: its settings, its heartbeat, compiling and the linker.
//!
//! **Invariants.** The ticker sleeps when no call has run for a moment: a broker whose plugins are idle wakes up
//! for none of them.

mod slots;
mod ticker;

use std::sync::Arc;

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
use slots::Slots;
pub(crate) use slots::{Occupied, Tenant};
use ticker::{Running, Ticker};

/// Some guests, those of interpreted languages, bring tables of many thousand entries.
const TABLE_ELEMENTS_MAX: usize = 30_000;
/// What such guests need for the description of one instance.
const INSTANCE_BYTES_MAX: usize = 4 << 20;
/// A component may consist of several modules: its own, adapters, and what its language brings.
const CORES_PER_COMPONENT: u32 = 8;
/// The guest's own stack; deep recursion traps here.
const STACK_BYTES: usize = 512 << 10;

/// Compiles and links plugins, and keeps time for them.
pub(crate) struct PluginEngine {
    engine: Engine,
    linker: Linker<Guest>,
    tasks_linker: Linker<Guest>,
    ceiling: Ceiling,
    cache: Cache,
    ticker: Arc<Ticker>,
    slots: Slots,
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
        let ticker = Ticker::start(engine.clone())?;
        let slots = Slots::new(ceiling.instances);
        let ceiling = *ceiling;
        Ok(PluginEngine { engine, linker: hot, tasks_linker, ceiling, cache, ticker, slots })
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
        let code = compile_apart(&config(&self.ceiling), bytes).map_err(problem)?;
        self.cache.store(&self.engine, digest, &code);
        match self.cached(digest) {
            Some(component) => Ok(component),
            // The disk is full, or somebody was at the cache: from memory, once more.
            None => Component::new(&self.engine, bytes).map_err(problem),
        }
    }

    /// Keeps the epoch ticking until the guard goes.
    pub(crate) fn running(&self) -> Running {
        Running::new(&self.ticker)
    }

    /// Room for instances.
    pub(crate) fn slots(&self) -> &Slots {
        &self.slots
    }
}

impl Drop for PluginEngine {
    fn drop(&mut self) {
        self.ticker.end();
    }
}

/// Compiles with an engine and on threads that go when it is done: a compiler keeps its tables for the next time, and
/// threads what they have freed. After a large component both are tens of megabytes.
fn compile_apart(config: &Config, bytes: &[u8]) -> wasmtime::Result<Vec<u8>> {
    let engine = Engine::new(config)?;
    let named = |number| format!("plugin-compiler-{number}");
    let threads = rayon::ThreadPoolBuilder::new().thread_name(named).build()?;
    threads.install(|| engine.precompile_component(bytes))
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
        // Instances are kept for the next call, so a slot is seldom taken again: what was in it goes back at once.
        .max_unused_warm_slots(8);
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
        // When an instance goes, so does what was on its stack: to the next one, and out of memory.
        .async_stack_zeroing(true)
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
