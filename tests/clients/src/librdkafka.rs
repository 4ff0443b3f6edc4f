//! librdkafka's own test suite, out of the `rdkafka-sys` crate, which ships its sources.
//!
//! It is fetched by name, built once into `~/.cache/brooklet` and run test by test, each in a
//! process of its own with a deadline, so that one that hangs costs one deadline.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::way::{Target, Way};
use crate::{client, run};

/// The crate that carries the sources. The version is part of the folder's name in the cache.
const CRATE: &str = "rdkafka-sys";
const VERSION: &str = "4.10.0+2.12.1";

/// How the suite is configured; part of the folder's name too. TLS, and SCRAM with it, has to be there.
const OPTIONS: [&str; 4] = ["--disable-curl", "--disable-gssapi", "--disable-zstd", "--enable-ssl"];

/// The broker version whose features the suite expects of us.
const KAFKA_VERSION: &str = "4.1.0";

/// What the suite's summary says of a test that took less than half a millisecond.
const IDLE: &str = "0.000s";

/// The longest reason that is shown.
const REASON_MAX: usize = 160;

/// How a test of the suite ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It passed.
    Passed,
    /// It says that it passed, in no time: it has not asked a broker for anything.
    Idle,
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
        let cache = Path::new(&home).join(".cache/brooklet");
        let name = format!("librdkafka-{VERSION}{}", OPTIONS.concat());
        let folder = cache.join(&name);
        let tests = folder.join("tests");
        if !tests.join("test-runner").exists() {
            client::openssl()?;
            let sources = sources()?;
            fs::create_dir_all(&cache).map_err(|error| error.to_string())?;
            let staging = cache.join(format!("{name}.building"));
            let _ = fs::remove_dir_all(&staging);
            run(Command::new("cp").arg("-r").arg(&sources).arg(&staging))?;
            let options = OPTIONS.join(" ");
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

    /// Runs one test against the target's broker, over the way to it. Quickly, unless that leaves nothing of the
    /// test: in its quick mode the suite leaves out what takes long, and calls the rest passed.
    pub fn run(&self, name: &str, target: &Target, deadline: Duration) -> io::Result<Verdict> {
        let quick = self.attempt(name, target, deadline, &["-Q"])?;
        if quick == Verdict::Idle { self.attempt(name, target, deadline, &[]) } else { Ok(quick) }
    }

    fn attempt(
        &self,
        name: &str,
        target: &Target,
        deadline: Duration,
        mode: &[&str],
    ) -> io::Result<Verdict> {
        let conf = self.tests.join(format!("brooklet-{}.conf", std::process::id()));
        let Target { broker, librdkafka, .. } = target;
        let text = format!("bootstrap.servers={broker}\nbroker.address.family=v4\n{librdkafka}");
        fs::write(&conf, text)?;
        let number = name.split('_').next().unwrap_or(name);
        let log = self.tests.join(format!("brooklet-{}-{number}.log", target.way.name()));
        let output = fs::File::create(&log)?;
        let mut child = Command::new("./test-runner")
            // Without those that need no broker, beside it under the same number.
            .args(["-p1", "-L"])
            .args(mode)
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
    rows(list).map(str::to_owned).collect()
}

/// Those of them that cannot run over `way`, and why.
pub fn excepted(way: Way) -> BTreeMap<String, String> {
    let list = include_str!("../librdkafka.over");
    let exceptions = rows(list).map(|row| exception(row).expect("a name, ways and a reason"));
    let here = exceptions.filter(|(_, ways, _)| ways.contains(&way));
    here.map(|(name, _, reason)| (name.to_owned(), reason.to_owned())).collect()
}

/// `NAME WAY[,WAY…] REASON`.
fn exception(row: &str) -> Result<(&str, Vec<Way>, &str), String> {
    let mut parts = row.splitn(3, ' ');
    let [Some(name), Some(ways), Some(reason)] = [parts.next(), parts.next(), parts.next()] else {
        return Err(format!("{row}: no reason"));
    };
    Ok((name, ways.split(',').map(Way::named).collect::<Result<_, _>>()?, reason.trim()))
}

fn rows(list: &str) -> impl Iterator<Item = &str> {
    list.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'))
}

/// How a test ended, out of the suite's summary: `| NAME | STATE | SECONDS | WHY`.
fn verdict(name: &str, success: bool, log: &str) -> Verdict {
    let plain: String = log.split('\u{1b}').map(without_colour).collect();
    let rows = plain.lines().rev().map(|line| line.split('|').map(str::trim).collect::<Vec<_>>());
    let row = rows.into_iter().find(|row| row.get(1) == Some(&name)).unwrap_or_default();
    let said = || row.get(4).copied().unwrap_or_default().chars().take(REASON_MAX).collect();
    match (row.get(2).copied(), row.get(3).copied()) {
        (Some("PASSED"), Some(IDLE)) if success => Verdict::Idle,
        (Some("PASSED"), _) if success => Verdict::Passed,
        (Some("SKIPPED"), _) => Verdict::Skipped(said()),
        (Some(_) | None, _) => Verdict::Failed(said()),
    }
}

/// What is behind an escape character, without the colour that it begins with.
fn without_colour(part: &str) -> &str {
    let colour = part.strip_prefix('[').and_then(|rest| rest.split_once('m'));
    colour.filter(|(code, _)| code.bytes().all(|b| b.is_ascii_digit())).map_or(part, |it| it.1)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_verdict_is_the_one_on_the_row_of_that_name() {
        let log = "\
            |\u{1b}[32m 0045_x              |     PASSED |   0.100s \u{1b}[0m|\n\
            |\u{1b}[36m 0045_x_mock         |    SKIPPED |   0.000s \u{1b}[0m|\u{1b}[36m TCP only\u{1b}[0m\n\
            |\u{1b}[31m 0046_x              |     FAILED |   0.100s \u{1b}[0m|\u{1b}[31m No [x] came\u{1b}[0m\n\
            |\u{1b}[32m 0047_x              |     PASSED |   0.000s \u{1b}[0m|\n";
        let check = |name, success, expected| assert_eq!(verdict(name, success, log), expected);
        check("0045_x", true, Verdict::Passed);
        check("0045_x", false, Verdict::Failed(String::new()));
        check("0045_x_mock", true, Verdict::Skipped("TCP only".to_owned()));
        check("0046_x", false, Verdict::Failed("No [x] came".to_owned()));
        check("0047_x", true, Verdict::Idle);
        check("0048_x", true, Verdict::Failed(String::new()));
    }

    #[test]
    fn an_exception_names_its_ways_and_its_reason() {
        let row = "0001_x tls,sasl  its own cluster speaks TCP only";
        let expected = ("0001_x", vec![Way::Tls, Way::Sasl], "its own cluster speaks TCP only");
        assert_eq!(exception(row), Ok(expected));
        assert!(exception("0001_x tls").is_err() && exception("0001_x udp because").is_err());
    }

    #[test]
    fn only_tests_that_must_pass_are_excepted_and_none_over_tcp() {
        let allowed = allowed();
        for way in Way::ALL {
            let excepted = excepted(way);
            assert!(excepted.keys().all(|name| allowed.contains(name)), "{excepted:?}");
            assert!(way != Way::Tcp || excepted.is_empty(), "{excepted:?}");
        }
    }
}
