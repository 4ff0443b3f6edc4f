//! librdkafka's own test suite, out of the `rdkafka-sys` crate, which ships its sources.
//!
//! It is fetched by name, built once into `~/.cache/brooklet` and run test by test, each in a
//! process of its own with a deadline, so that one that hangs costs one deadline.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The crate that carries the sources. The version is part of the folder's name in the cache.
const CRATE: &str = "rdkafka-sys";
const VERSION: &str = "4.10.0+2.12.1";

/// The broker version whose features the suite expects of us.
const KAFKA_VERSION: &str = "4.1.0";

/// How a test of the suite ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It says that it does not apply, and why.
    Skipped(String),
    /// It failed, and the last thing it said.
    Failed(String),
    /// It was still running at its deadline.
    TimedOut,
}

/// A built suite.
#[derive(Debug)]
pub struct Suite {
    tests: PathBuf,
}

impl Suite {
    /// Builds the suite, or finds it built. An error says what is missing on this machine.
    pub fn build() -> Result<Suite, String> {
        let home = std::env::var_os("HOME").ok_or("HOME is not set")?;
        let folder = Path::new(&home).join(format!(".cache/brooklet/librdkafka-{VERSION}"));
        let tests = folder.join("tests");
        if !tests.join("test-runner").exists() {
            let sources = sources()?;
            fs::create_dir_all(folder.parent().expect("joined above"))
                .map_err(|error| error.to_string())?;
            let staging = folder.with_extension("building");
            let _ = fs::remove_dir_all(&staging);
            run(Command::new("cp").arg("-r").arg(&sources).arg(&staging))?;
            let options = "--disable-curl --disable-sasl --disable-gssapi --disable-zstd";
            let script = format!(
                "chmod +x configure && ./configure {options} && make -j2 libs && \
                 make -j2 -C tests build"
            );
            run(Command::new("sh").arg("-c").arg(script).current_dir(&staging))?;
            // Renamed last, so that a build that was interrupted is not taken for one.
            fs::rename(&staging, &folder).map_err(|error| error.to_string())?;
        }
        Ok(Suite { tests })
    }

    /// The suite's tests that want a broker, in its own order: `0001_multiobj` and so on.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let source = fs::read_to_string(self.tests.join("test.c"))?;
        let table = source.split("struct test tests[] = {").nth(1).unwrap_or_default();
        let table = table.split("\n};").next().unwrap_or_default();
        let rows = table.split("_TEST(").skip(1);
        let named = rows.filter_map(|row| {
            let mut fields = row.split([',', ')']);
            let name = fields.next()?.trim();
            let flags = fields.next()?;
            (!flags.contains("TEST_F_LOCAL")).then(|| name.to_owned())
        });
        Ok(named.collect())
    }

    /// Runs one test against the broker at `address`.
    pub fn run(&self, name: &str, address: &str, deadline: Duration) -> io::Result<Verdict> {
        let conf = self.tests.join(format!("brooklet-{}.conf", std::process::id()));
        let text = format!("bootstrap.servers={address}\nbroker.address.family=v4\n");
        fs::write(&conf, text)?;
        let number = name.split('_').next().unwrap_or(name);
        let log = self.tests.join(format!("brooklet-{number}.log"));
        let output = fs::File::create(&log)?;
        let mut child = Command::new("./test-runner")
            .args(["-p1", "-Q", "-E"])
            .current_dir(&self.tests)
            .env("LD_LIBRARY_PATH", library_path())
            .env("TESTS", number)
            .env("TEST_KAFKA_VERSION", KAFKA_VERSION)
            .env("RDKAFKA_TEST_CONF", &conf)
            .env_remove("CI")
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()?;
        let began = Instant::now();
        let status = loop {
            if let Some(status) = child.try_wait()? {
                break Some(status);
            }
            if began.elapsed() > deadline {
                child.kill()?;
                child.wait()?;
                break None;
            }
            std::thread::sleep(Duration::from_millis(50)); // polls a foreign process
        };
        fs::remove_file(&conf)?;
        let text = String::from_utf8_lossy(&fs::read(&log)?).into_owned();
        Ok(match status {
            None => Verdict::TimedOut,
            Some(status) => verdict(name, status.success(), &text),
        })
    }
}

/// The list of tests that must pass. It may only grow.
pub fn allowed() -> BTreeSet<String> {
    let list = include_str!("../librdkafka.allow");
    let lines = list.lines().map(str::trim);
    lines.filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

fn verdict(name: &str, success: bool, log: &str) -> Verdict {
    let summary = log.lines().rev().find(|line| line.contains(name) && line.contains('|'));
    match summary {
        Some(line) if line.contains("PASSED") && success => Verdict::Passed,
        Some(line) if line.contains("SKIPPED") => Verdict::Skipped(reason(log, "SKIP")),
        Some(_) | None => Verdict::Failed(reason(log, "FAIL")),
    }
}

/// The line of `log` that says why, without its colours.
fn reason(log: &str, word: &str) -> String {
    let found = log.lines().find(|line| line.contains(word) && !line.contains('|'));
    let plain: String = found.unwrap_or("no reason given").replace("\u{1b}[", "\u{1b}");
    let without = plain
        .split('\u{1b}')
        .map(|part| part.trim_start_matches(['0', '3', '1', 'm', '5', '6', '2']));
    without.collect::<String>().chars().take(160).collect()
}

/// Where cargo keeps the sources of the crate, fetching them if need be.
fn sources() -> Result<PathBuf, String> {
    let scratch = std::env::temp_dir().join(format!("brooklet-fetch-{}", std::process::id()));
    fs::create_dir_all(scratch.join("src")).map_err(|error| error.to_string())?;
    let manifest = format!(
        "[package]\nname = \"fetch\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
         [dependencies]\n{CRATE} = \"={VERSION}\"\n[workspace]\n"
    );
    let written = fs::write(scratch.join("Cargo.toml"), manifest)
        .and_then(|()| fs::write(scratch.join("src/lib.rs"), ""));
    written.map_err(|error| error.to_string())?;
    let output = Command::new("cargo")
        .args(["metadata", "--format-version=1"])
        .current_dir(&scratch)
        .output()
        .map_err(|error| format!("cargo: {error}"))?;
    let _ = fs::remove_dir_all(&scratch);
    let metadata = String::from_utf8_lossy(&output.stdout).into_owned();
    let marker = format!("{CRATE}-{VERSION}/Cargo.toml\"");
    let end = metadata.find(&marker).ok_or_else(|| {
        format!("cargo cannot fetch {CRATE}: {}", String::from_utf8_lossy(&output.stderr))
    })?;
    let start = metadata[..end].rfind('"').map_or(0, |quote| quote + 1);
    Ok(Path::new(&metadata[start..end]).join(format!("{CRATE}-{VERSION}/librdkafka")))
}

fn library_path() -> OsString {
    "../src:../src-cpp".into()
}

fn run(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|error| format!("{command:?}: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let _ = io::stderr().write_all(&output.stderr);
    Err(format!("{command:?} ended with {}", output.status))
}
