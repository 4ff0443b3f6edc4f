//! `brooklet plugin test`: a component under the broker's own plugin host, without a broker. Whatever language it
//! was written in, it is compiled, limited and checked here as it will be there.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use brooklet_golden::Rec;
use brooklet_plugin::LimitsSpec;
use brooklet_runner::{Case, CaseError, RunError, Runner};
use serde_json::{Value, json};

use crate::Context;
use crate::failure::Failure;

/// How many records a batch has that is measured: what a producer with some traffic sends at once.
const BENCH_BATCH: usize = 100;

#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The component
    file: PathBuf,
    /// Folders with config.json, input.jsonl and expected.jsonl
    #[arg(required = true)]
    folders: Vec<PathBuf>,
    /// Write expected.jsonl instead of comparing with it; the same as UPDATE_EXPECT=1
    #[arg(long)]
    update: bool,
    /// Show what the plugin logged and what it counted
    #[arg(long)]
    logs: bool,
    /// Measure for so many seconds in each folder what records cost
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3600))]
    bench: Option<u64>,
    /// Bytes of memory that an instance may have
    #[arg(long, value_name = "BYTES")]
    memory: Option<u64>,
    /// Milliseconds that a call may take
    #[arg(long, value_name = "MS")]
    time_ms: Option<u64>,
}

impl Arguments {
    fn limits(&self) -> LimitsSpec {
        LimitsSpec { time_ms: self.time_ms, memory: self.memory, output: None }
    }
}

pub(crate) async fn run(context: &mut Context, arguments: &Arguments) -> Result<(), Failure> {
    let file = &arguments.file;
    let bytes = std::fs::read(file).map_err(|error| Failure::file("read", file, &error))?;
    let opened = Runner::open(bytes).await;
    let runner = opened.map_err(|error| Failure::new(format!("{}: {error}", file.display())))?;
    let update = arguments.update || std::env::var_os("UPDATE_EXPECT").is_some();
    let mut failed = 0;
    for folder in &arguments.folders {
        let outcome = test(&runner, folder, arguments.limits(), update).await;
        if arguments.logs {
            show_log(context, &runner)?;
        }
        match outcome {
            Ok(records) => {
                let what = if update { "written" } else { "as expected" };
                say(context, folder, what, records)?;
            }
            Err(error) => {
                failed += 1;
                complain(context, folder, &error)?;
            }
        }
    }
    if failed > 0 {
        let all = arguments.folders.len();
        return Err(Failure::new(format!("{failed} of {all} folders failed")));
    }
    if let Some(seconds) = arguments.bench {
        for folder in &arguments.folders {
            let measured = bench(&runner, folder, arguments.limits(), seconds).await;
            let measured = measured.map_err(|error| Failure::new(error.to_string()))?;
            report(context, folder, &runner, &measured)?;
        }
    }
    Ok(())
}

/// All records as one batch, and once more one by one: what becomes of a record must not depend on its
/// neighbours.
async fn test(
    runner: &Runner,
    folder: &Path,
    limits: LimitsSpec,
    update: bool,
) -> Result<usize, CaseError> {
    let case = Case::read(folder)?;
    let all = case.records().len();
    case.run(runner, limits, all, update).await?;
    case.run(runner, limits, 1, false).await?;
    Ok(all)
}

/// What records cost.
struct Measured {
    records: u64,
    calls: u64,
    /// Seconds within calls, what crosses the border included.
    seconds: f64,
    /// Until an instance was linked and initialised.
    start: Duration,
    /// Bytes of linear memory after the first call, and the most there ever were.
    memory: (f64, f64),
    /// Instances that were let go because their memory had grown too near to the limit.
    recycled: f64,
}

async fn bench(
    runner: &Runner,
    folder: &Path,
    limits: LimitsSpec,
    seconds: u64,
) -> Result<Measured, CaseError> {
    let case = Case::read(folder)?;
    let failed = |error: RunError| CaseError::Run { folder: folder.to_owned(), error };
    let began = Instant::now();
    let mut view = runner.view(case.config(), limits).await.map_err(failed)?;
    // `view` makes an instance to check the binding and one to use.
    let start = began.elapsed() / 2;
    let batch: Vec<Rec> = case.records().iter().cycle().take(BENCH_BATCH).cloned().collect();
    let metric = |name: &str| runner.metric(&format!("brooklet_plugin_{name}")).unwrap_or(0.0);
    view.show(&batch).await.map_err(failed)?;
    let memory_first = metric("memory_bytes");
    let (seconds_before, recycled_before) = (metric("call_seconds_sum"), metric("recycled_total"));
    let mut calls = 0;
    let until = Instant::now() + Duration::from_secs(seconds);
    while Instant::now() < until {
        view.show(&batch).await.map_err(failed)?;
        calls += 1;
    }
    Ok(Measured {
        records: calls * u64::try_from(batch.len()).unwrap_or(u64::MAX),
        calls,
        seconds: metric("call_seconds_sum") - seconds_before,
        start,
        memory: (memory_first, metric("memory_bytes")),
        recycled: metric("recycled_total") - recycled_before,
    })
}

fn say(context: &mut Context, folder: &Path, what: &str, records: usize) -> Result<(), Failure> {
    let folder = folder.display().to_string();
    if context.is_json() {
        let value = json!({ "folder": folder, "result": what, "records": records });
        return context.output.json(&value);
    }
    context.output.line(&format!("{folder}: {what}, {records} records"))
}

fn complain(context: &mut Context, folder: &Path, error: &CaseError) -> Result<(), Failure> {
    if context.is_json() {
        let value = json!({ "folder": folder.display().to_string(), "error": error.to_string() });
        return context.output.json(&value);
    }
    context.output.line(&error.to_string())
}

fn show_log(context: &mut Context, runner: &Runner) -> Result<(), Failure> {
    for line in runner.log() {
        let line = serde_json::to_value(&line).unwrap_or(Value::Null);
        context.output.json(&line)?;
    }
    let metrics = runner.metrics();
    let mut custom = metrics.lines().filter(|line| line.starts_with("brooklet_plugin_custom"));
    custom.try_for_each(|line| context.output.line(line))
}

fn report(
    context: &mut Context,
    folder: &Path,
    runner: &Runner,
    measured: &Measured,
) -> Result<(), Failure> {
    #[expect(clippy::cast_precision_loss, reason = "shown with three digits")]
    let micros = measured.seconds * 1e6 / measured.records.max(1) as f64;
    let (first, most) = measured.memory;
    let value = json!({
        "folder": folder.display().to_string(),
        "component_bytes": runner.inspected().bytes,
        "compile_ms": millis(runner.compiled_in()),
        "start_ms": millis(measured.start),
        "records": measured.records,
        "calls": measured.calls,
        "micros_per_record": (micros * 1000.0).round() / 1000.0,
        "memory_bytes_first": first,
        "memory_bytes": most,
        "instances_recycled": measured.recycled,
    });
    if context.is_json() {
        return context.output.json(&value);
    }
    context.output.line(&format!(
        "{}: {:.1} KB, compiled in {} ms, started in {} ms; {micros:.3} µs per record in batches of \
         {BENCH_BATCH}; memory {:.1} MiB after the first batch, {:.1} MiB after {}, {} instances recycled",
        folder.display(),
        as_kilo(runner.inspected().bytes),
        millis(runner.compiled_in()),
        millis(measured.start),
        first / 1_048_576.0,
        most / 1_048_576.0,
        measured.calls,
        measured.recycled,
    ))
}

fn millis(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}

#[expect(clippy::cast_precision_loss, reason = "shown with one digit behind the point")]
fn as_kilo(bytes: usize) -> f64 {
    bytes as f64 / 1e3
}

#[cfg(test)]
mod tests {
    use super::*;

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap()
    }

    fn golden(plugin: &str) -> PathBuf {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../..");
        root.join("plugins").join(plugin).join("tests/flights")
    }

    #[test]
    fn the_real_host_shows_what_the_native_one_does() {
        // Their own tests run the same files without wasm.
        for plugin in ["mask", "filter", "project", "flatten"] {
            runtime().block_on(async {
                let component = crate::stock::component(plugin).unwrap();
                let runner = Runner::open(component).await.unwrap();
                let tested = test(&runner, &golden(plugin), LimitsSpec::default(), false).await;
                assert!(tested.unwrap() > 2, "{plugin}");
            });
        }
    }

    #[test]
    fn what_is_different_is_said_and_can_be_written_anew() {
        runtime().block_on(async {
            let runner = Runner::open(crate::stock::component("filter").unwrap()).await.unwrap();
            let folder = tempfile::tempdir().unwrap();
            for file in ["config.json", "input.jsonl"] {
                std::fs::copy(golden("filter").join(file), folder.path().join(file)).unwrap();
            }
            std::fs::write(folder.path().join("expected.jsonl"), "{\"dropped\":true}\n").unwrap();
            let limits = LimitsSpec::default();
            let different = test(&runner, folder.path(), limits, false).await.unwrap_err();
            assert!(matches!(&different, CaseError::Different { .. }), "{different}");
            assert!(different.to_string().contains("expected.jsonl:2"), "{different}");
            test(&runner, folder.path(), limits, true).await.unwrap();
            test(&runner, folder.path(), limits, false).await.unwrap();
        });
    }

    #[test]
    fn what_the_host_would_refuse_is_refused_here() {
        runtime().block_on(async {
            let not_one = Runner::open(b"\0asm\x01\0\0\0".to_vec()).await.unwrap_err();
            assert!(not_one.to_string().contains("not a component"), "{not_one}");
            let runner = Runner::open(crate::stock::component("mask").unwrap()).await.unwrap();
            let limits = LimitsSpec::default();
            let wrong = runner.view(r#"{"fields":3}"#, limits).await.unwrap_err();
            assert!(wrong.to_string().contains("/fields"), "{wrong}");
            let small = LimitsSpec { memory: Some(1 << 16), ..limits };
            let small = runner.view(r#"{"fields":{"a":"null"}}"#, small).await.unwrap_err();
            assert!(small.to_string().contains("memory"), "{small}");
        });
    }

    #[test]
    fn what_records_cost_is_measured() {
        runtime().block_on(async {
            let runner = Runner::open(crate::stock::component("mask").unwrap()).await.unwrap();
            let measured = bench(&runner, &golden("mask"), LimitsSpec::default(), 1).await.unwrap();
            assert!(measured.calls > 0 && measured.seconds > 0.0);
            assert_eq!(measured.records, measured.calls * 100);
            assert!(measured.memory.1 >= measured.memory.0 && measured.memory.0 > 65_536.0);
        });
    }
}
