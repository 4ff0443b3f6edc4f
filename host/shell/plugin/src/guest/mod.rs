//! What one instance has of the host: its limits, its capabilities, and the functions it imports.

mod clocks;
pub(crate) mod instruments;
mod stdio;
mod web;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use wasmtime::component::{Resource, ResourceTable};
use wasmtime_wasi::{WasiCtx, WasiCtxView, WasiView};
use wasmtime_wasi_http::{WasiHttpCtx, WasiHttpCtxView, WasiHttpView};

use crate::bind::host::brooklet::plugin as imports;
use crate::bind::types::PluginError;
use crate::error::cut;
use crate::grant::Grants;
use crate::journal::{Journal, Level};
use crate::metrics::Custom;
use crate::spec::SchemaSpec;
use web::Gate;

/// Metrics, secrets, streams, files and whatever else one instance may hold of the host at once: each is some memory
/// of ours.
const HANDLES_MAX: usize = 4096;
/// Random bytes that may be asked for at once: they are made in the host, where nobody interrupts it.
const ENTROPY_BYTES_MAX: u64 = 64 << 10;
/// Fields of one log line.
const FIELDS_MAX: usize = 16;

/// What a guest's store holds.
pub(crate) struct Guest {
    wasi: WasiCtx,
    http: WasiHttpCtx,
    gate: Gate,
    table: ResourceTable,
    pub(crate) limiter: Limiter,
    pub(crate) shared: Arc<Shared>,
    /// Until when the running call may run.
    pub(crate) deadline: Instant,
    /// Until when it has its thread for itself.
    pub(crate) undisturbed: Instant,
}

/// What all instances of one plugin in one place have in common.
#[derive(Debug)]
pub(crate) struct Shared {
    /// Name it is installed under.
    pub(crate) plugin: String,
    /// What it works for.
    pub(crate) task: String,
    pub(crate) grants: Grants,
    pub(crate) schemas: Vec<SchemaSpec>,
    pub(crate) journal: Arc<Journal>,
    pub(crate) custom: Arc<Custom>,
    /// May tell the time and use what is granted: sources and sinks.
    pub(crate) is_task: bool,
    pub(crate) stop: Stop,
}

/// Tells a task's guest that it is to end.
#[derive(Debug, Default)]
pub(crate) struct Stop {
    stopping: AtomicBool,
    changed: Notify,
}

impl Stop {
    /// Wakes whoever sleeps; nobody sleeps after that.
    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.changed.notify_waiters();
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    async fn sleep(&self, time: Duration) {
        let changed = self.changed.notified();
        tokio::pin!(changed);
        // From here on no call of `stop` is missed.
        changed.as_mut().enable();
        if self.is_stopping() {
            return;
        }
        // Whichever comes first; nobody asks which it was.
        let _timed_out = tokio::time::timeout(time, changed).await;
    }
}

/// Keeps an instance within its memory and remembers that it wanted more.
#[derive(Debug)]
pub(crate) struct Limiter {
    limit: usize,
    pub(crate) high_water: usize,
    pub(crate) refused: bool,
}

impl wasmtime::ResourceLimiter for Limiter {
    fn memory_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let fits = desired <= self.limit;
        self.refused |= !fits;
        if fits {
            self.high_water = self.high_water.max(desired);
        }
        Ok(fits)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        /// Far beyond any interpreter's.
        const ELEMENTS_MAX: usize = 100_000;
        Ok(desired <= ELEMENTS_MAX)
    }
}

impl Guest {
    pub(crate) fn new(shared: &Arc<Shared>, memory: usize) -> Result<Guest, String> {
        let mut wasi = WasiCtx::builder();
        wasi.max_random_size(ENTROPY_BYTES_MAX);
        wasi.stdout(stdio::Lines::new(&shared.journal)).stderr(stdio::Lines::new(&shared.journal));
        if shared.is_task {
            for (name, value) in &shared.grants.environment {
                wasi.env(name, value);
            }
            shared.grants.open_directories(&mut wasi)?;
        } else {
            clocks::stand_still(&mut wasi);
        }
        let hosts = if shared.is_task { shared.grants.hosts.clone() } else { Vec::new() };
        let mut table = ResourceTable::new();
        table.set_max_capacity(HANDLES_MAX);
        Ok(Guest {
            wasi: wasi.build(),
            http: WasiHttpCtx::new(),
            gate: Gate::new(hosts),
            table,
            limiter: Limiter { limit: memory, high_water: 0, refused: false },
            shared: Arc::clone(shared),
            deadline: Instant::now(),
            undisturbed: Instant::now(),
        })
    }

    /// A call begins that may take so long, and has its thread for itself for the first slice of it.
    pub(crate) fn begin(&mut self, time: Duration, slice: Duration) {
        let now = Instant::now();
        self.deadline = now + time;
        self.undisturbed = now + slice.min(time);
        self.limiter.refused = false;
    }
}

impl WasiView for Guest {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

impl WasiHttpView for Guest {
    fn http(&mut self) -> WasiHttpCtxView<'_> {
        WasiHttpCtxView { hooks: &mut self.gate, table: &mut self.table, ctx: &mut self.http }
    }
}

impl imports::types::Host for Guest {}

impl imports::log::Host for Guest {
    fn enabled(&mut self, level: imports::log::Level) -> wasmtime::Result<bool> {
        Ok(self.shared.journal.keeps(level.into()))
    }

    fn log(
        &mut self,
        level: imports::log::Level,
        message: String,
        fields: Vec<(String, String)>,
    ) -> wasmtime::Result<()> {
        let fields = fields.into_iter().take(FIELDS_MAX);
        let fields: BTreeMap<String, String> =
            fields.map(|(name, value)| (cut(name), cut(value))).collect();
        self.shared.journal.add(level.into(), &self.shared.task, cut(message), fields);
        Ok(())
    }
}

impl From<imports::log::Level> for Level {
    fn from(level: imports::log::Level) -> Level {
        match level {
            imports::log::Level::Trace => Level::Trace,
            imports::log::Level::Debug => Level::Debug,
            imports::log::Level::Info => Level::Info,
            imports::log::Level::Warn => Level::Warn,
            imports::log::Level::Error => Level::Error,
        }
    }
}

/// A secret's bytes, in the host until they are revealed.
#[expect(
    unreachable_pub,
    reason = "the generated bindings name it in a public module of their own"
)]
pub struct Secret(Vec<u8>);

impl imports::secrets::Host for Guest {
    fn get(&mut self, name: String) -> wasmtime::Result<Result<Resource<Secret>, PluginError>> {
        match self.shared.grants.secret(&name) {
            Ok(bytes) => Ok(Ok(self.table.push(Secret(bytes))?)),
            Err(problem) => Ok(Err(PluginError::Denied(problem))),
        }
    }
}

impl imports::secrets::HostSecret for Guest {
    fn reveal(&mut self, secret: Resource<Secret>) -> wasmtime::Result<Vec<u8>> {
        Ok(self.table.get(&secret)?.0.clone())
    }

    fn drop(&mut self, secret: Resource<Secret>) -> wasmtime::Result<()> {
        self.table.delete(secret)?;
        Ok(())
    }
}

impl imports::schemas::Host for Guest {
    fn by_id(
        &mut self,
        id: u32,
    ) -> wasmtime::Result<Result<imports::schemas::Schema, PluginError>> {
        let found = self.shared.schemas.iter().find(|schema| schema.id == id);
        Ok(found.map(schema).ok_or_else(|| PluginError::BadInput(format!("no schema has id {id}"))))
    }

    fn latest(
        &mut self,
        subject: String,
    ) -> wasmtime::Result<Result<imports::schemas::Schema, PluginError>> {
        let of_subject = self.shared.schemas.iter().filter(|schema| schema.subject == subject);
        let found = of_subject.max_by_key(|schema| schema.version);
        let none = || PluginError::BadInput(format!("no schema for {:?}", cut(subject.clone())));
        Ok(found.map(schema).ok_or_else(none))
    }
}

fn schema(spec: &SchemaSpec) -> imports::schemas::Schema {
    use crate::spec::SchemaFormat;
    use imports::schemas::Format;
    imports::schemas::Schema {
        id: spec.id,
        version: spec.version,
        kind: match spec.format {
            SchemaFormat::Avro => Format::Avro,
            SchemaFormat::JsonSchema => Format::JsonSchema,
            SchemaFormat::Protobuf => Format::Protobuf,
        },
        definition: spec.definition.clone(),
    }
}

impl imports::task_control::Host for Guest {
    fn remaining_ms(&mut self) -> wasmtime::Result<u32> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        Ok(u32::try_from(left.as_millis()).unwrap_or(u32::MAX))
    }

    async fn sleep_ms(&mut self, ms: u32) -> wasmtime::Result<()> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        self.shared.stop.sleep(Duration::from_millis(ms.into()).min(left)).await;
        Ok(())
    }

    fn stopping(&mut self) -> wasmtime::Result<bool> {
        Ok(self.shared.stop.is_stopping())
    }
}
