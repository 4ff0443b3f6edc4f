//! What the benchmark is made of, found or built: the load generator, the stub, the systems.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Paths of everything that is run.
#[derive(Debug)]
pub(crate) struct Tools {
    pub(crate) kload: PathBuf,
    pub(crate) limitbroker: PathBuf,
    pub(crate) brooklet: PathBuf,
    pub(crate) kafka: PathBuf,
    /// Where the systems keep their data.
    pub(crate) scratch: PathBuf,
}

impl Tools {
    pub(crate) fn find() -> Result<Tools, String> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).expect("two below");
        let shared = std::env::var_os("BROOKLET_SHARED")
            .map_or_else(|| root.join("../shared"), PathBuf::from);
        let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
        let cache = Path::new(&home).join(".cache/brooklet");
        let perf = shared.join("tools/perf");
        if !perf.exists() {
            return Err(format!("no load generator under {}", perf.display()));
        }
        let target = std::env::current_exe().map_err(|error| error.to_string())?;
        let brooklet = target.with_file_name("brooklet");
        if !brooklet.exists() {
            return Err(format!("{}: cargo build --release -p brooklet first", brooklet.display()));
        }
        let scratch = std::env::temp_dir().join(format!("brooklet-bench-{}", std::process::id()));
        std::fs::create_dir_all(&scratch).map_err(|error| error.to_string())?;
        Ok(Tools {
            kload: kload(&perf, &cache)?,
            limitbroker: limitbroker(&perf, &cache)?,
            brooklet,
            kafka: shared.join("tools/kafka/kafka"),
            scratch,
        })
    }
}

impl Drop for Tools {
    fn drop(&mut self) {
        // Only what this run made; a leftover is no more than wasted space.
        let _ = std::fs::remove_dir_all(&self.scratch);
    }
}

/// Links the load generator against the librdkafka that the client tests build: Debian's is too
/// old for it.
fn kload(perf: &Path, cache: &Path) -> Result<PathBuf, String> {
    let libraries = std::fs::read_dir(cache).map_err(|error| error.to_string())?;
    let mut folders = libraries.filter_map(Result::ok).map(|entry| entry.path());
    let library = folders
        .find(|path| path.join("src/librdkafka.a").exists())
        .ok_or("librdkafka is not built: cargo run -p brooklet-clients --bin librdkafka first")?;
    // Named after the library: one that was linked against another is not taken for it.
    let version = library.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let program = cache.join(format!("kload-{version}"));
    if program.exists() {
        return Ok(program);
    }
    let script = format!(
        "mkdir -p {cache}/include/librdkafka && ln -sf {library}/src/rdkafka.h \
         {cache}/include/librdkafka/ && cc -O2 -I {cache}/include -o {program} {perf}/kload.c \
         {library}/src/librdkafka.a -lpthread -lm -lz -lssl -lcrypto -ldl -lrt",
        cache = cache.display(),
        library = library.display(),
        program = program.display(),
        perf = perf.display(),
    );
    shell(&script)?;
    Ok(program)
}

fn limitbroker(perf: &Path, cache: &Path) -> Result<PathBuf, String> {
    let program = cache.join("limits/release/limitbroker");
    if !program.exists() {
        let sources = cache.join("limits-sources");
        let script = format!(
            "rm -rf {sources} && cp -r {perf}/limits {sources} && cd {sources} && \
             CARGO_TARGET_DIR={cache}/limits cargo build --release --bin limitbroker",
            sources = sources.display(),
            perf = perf.display(),
            cache = cache.display(),
        );
        shell(&script)?;
    }
    Ok(program)
}

fn shell(script: &str) -> Result<(), String> {
    let status = Command::new("sh").arg("-c").arg(script).status();
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("{status}: {script}")),
        Err(error) => Err(format!("sh: {error}")),
    }
}
