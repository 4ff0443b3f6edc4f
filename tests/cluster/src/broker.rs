//! A `brooklet serve` as a test sees it: started on free ports, with its log collected, killed or
//! stopped by its own process id, never by name.
//!
//! Every wait has a deadline, and a broker that logs a `warn` or an `error` that the test did not
//! expect fails the test when it is stopped or dropped.
//!
//! ```no_run
//! use brooklet_cluster::Broker;
//! let broker = Broker::start();
//! let address = broker.address();
//! broker.stop();
//! ```

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex, OnceLock};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// From the start of the process to its `ready` line. Debug builds on a loaded machine are slow.
const READY_MAX: Duration = Duration::from_secs(30);
/// From SIGTERM to the end; the broker promises five seconds.
const STOP_MAX: Duration = Duration::from_secs(15);

/// What a broker is started with unless the test says otherwise.
const CONFIG_DEFAULT: &str = r#"(admin: "none")"#;

/// How a broker is to be started.
#[derive(Debug, Default)]
pub struct BrokerBuilder {
    data: Option<PathBuf>,
    config: Option<String>,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    expected: Vec<String>,
}

/// A running broker.
#[derive(Debug)]
pub struct Broker {
    child: Child,
    address: SocketAddr,
    ready_line: String,
    data: PathBuf,
    /// Removed with the broker, unless the test has given its own folder.
    _scratch: Option<tempfile::TempDir>,
    log: Log,
    expected: Vec<String>,
    checked: bool,
}

impl BrokerBuilder {
    /// Keeps the data in `folder`, which outlives the broker. Without this it is a scratch folder.
    #[must_use]
    pub fn data(mut self, folder: impl Into<PathBuf>) -> BrokerBuilder {
        self.data = Some(folder.into());
        self
    }

    /// Writes `text` to a configuration file and starts with it. Without this, probes and metrics
    /// are off: their port is fixed, and tests run beside each other.
    #[must_use]
    pub fn config(mut self, text: impl Into<String>) -> BrokerBuilder {
        self.config = Some(text.into());
        self
    }

    /// Adds an argument behind `brooklet serve --config … --data … --listen …`.
    #[must_use]
    pub fn argument(mut self, argument: impl Into<String>) -> BrokerBuilder {
        self.arguments.push(argument.into());
        self
    }

    /// Sets an environment variable for the broker.
    #[must_use]
    pub fn environment(
        mut self,
        name: impl Into<String>,
        value: impl Into<String>,
    ) -> BrokerBuilder {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Allows `warn` and `error` lines that contain `text`.
    #[must_use]
    pub fn expect_log(mut self, text: impl Into<String>) -> BrokerBuilder {
        self.expected.push(text.into());
        self
    }

    /// Starts it and waits until it serves.
    ///
    /// # Panics
    /// If it ends or is not ready in time; the message holds its log.
    pub fn start(self) -> Broker {
        let mut scratch = None;
        let data = self.data.unwrap_or_else(|| {
            let folder = tempfile::tempdir().expect("a scratch folder can be made");
            let path = folder.path().to_owned();
            scratch = Some(folder);
            path
        });
        let config = tempfile::Builder::new().suffix(".ron").tempfile();
        let config = config.expect("a scratch file can be made");
        let text = self.config.as_deref().unwrap_or(CONFIG_DEFAULT);
        fs::write(&config, text).expect("a scratch file can be written");
        let mut child = Command::new(program())
            .args(["serve", "--config"])
            .arg(config.path())
            .arg("--data")
            .arg(&data)
            .args(["--listen", "tcp://127.0.0.1:0"])
            .args(&self.arguments)
            .envs(self.environment)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let log = Log::collect(child.stderr.take().expect("stderr is a pipe"));
        let lines = lines(child.stdout.take().expect("stdout is a pipe"), log.clone());
        let ready = wait_until_ready(&lines);
        let Some((ready_line, address)) = ready else {
            let _ = child.kill();
            let status = child.wait().map(|status| status.to_string());
            log.finish();
            panic!("the broker is not ready ({status:?}); its log:\n{}", log.text());
        };
        let expected = self.expected;
        let checked = false;
        Broker { child, address, ready_line, data, _scratch: scratch, log, expected, checked }
    }
}

impl Broker {
    /// Starts a broker with an empty scratch folder and defaults.
    pub fn start() -> Broker {
        Broker::builder().start()
    }

    /// To say more about how it is started.
    pub fn builder() -> BrokerBuilder {
        BrokerBuilder::default()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it printed when it was ready: `ready tcp://127.0.0.1:PORT node=1 cluster=…`.
    pub fn ready_line(&self) -> &str {
        &self.ready_line
    }

    /// Its data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What it has logged so far.
    pub fn log(&self) -> String {
        self.log.text()
    }

    /// Ends it at once, as a power cut would end the process (SIGKILL).
    ///
    /// # Panics
    /// If it logged something that the test did not expect.
    pub fn kill(mut self) {
        self.child.kill().expect("it is our child");
        self.child.wait().expect("it is our child");
        self.check();
    }

    /// Asks it to stop (SIGTERM), waits, and returns how it ended.
    ///
    /// # Panics
    /// If it does not end in time, or logged something that the test did not expect.
    pub fn stop(mut self) -> ExitStatus {
        self.signal("TERM");
        let deadline = Instant::now() + STOP_MAX;
        let status = self.wait_until(deadline);
        self.check();
        status
    }

    /// Sends it a signal by name: `TERM`, `INT`, `STOP`, `CONT`.
    ///
    /// # Panics
    /// If there is no such signal.
    pub fn signal(&self, name: &str) {
        // `kill` and not a system call: std has none for other signals than SIGKILL.
        let status = Command::new("kill")
            .args(["-s", name, &self.id().to_string()])
            .status()
            .expect("there is a kill command");
        assert!(status.success(), "kill -s {name} {}: {status}", self.id());
    }

    /// Waits for its end.
    ///
    /// # Panics
    /// At `deadline`; the message holds its log.
    pub fn wait_until(&mut self, deadline: Instant) -> ExitStatus {
        loop {
            if let Some(status) = self.child.try_wait().expect("it is our child") {
                return status;
            }
            if Instant::now() >= deadline {
                let _ = self.child.kill();
                let _ = self.child.wait();
                panic!("the broker does not end; its log:\n{}", self.log.text());
            }
            // The log's pipe closes when the process ends: that is the event to wait for.
            self.log.wait_for_end(deadline);
        }
    }

    /// Fails on `warn` and `error` lines that nobody expected.
    fn check(&mut self) {
        self.checked = true;
        self.log.finish();
        let unexpected: Vec<String> =
            self.log.troubles(&self.expected).iter().map(|line| format!("  {line}")).collect();
        assert!(unexpected.is_empty(), "the broker logged:\n{}", unexpected.join("\n"));
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        if !self.checked {
            let _ = self.child.kill();
            let _ = self.child.wait();
            if !thread::panicking() {
                self.check();
            }
        }
    }
}

/// The lines of stderr, collected by a thread that ends with the pipe.
#[derive(Clone, Debug)]
struct Log {
    /// Written by the collector, read by the test.
    lines: Arc<Mutex<Vec<String>>>,
    /// Taken by whoever joins the collector.
    collector: Arc<Mutex<Option<JoinHandle<()>>>>,
    ended: Arc<Mutex<Receiver<()>>>,
}

impl Log {
    fn collect(pipe: impl Read + Send + 'static) -> Log {
        let lines = Arc::new(Mutex::new(Vec::new()));
        let sink = lines.clone();
        let (alive, ended) = mpsc::channel();
        let collector = thread::spawn(move || {
            for line in BufReader::new(pipe).lines().map_while(Result::ok) {
                sink.lock().expect("nobody panics with the lines").push(line);
            }
            drop(alive);
        });
        let collector = Arc::new(Mutex::new(Some(collector)));
        Log { lines, collector, ended: Arc::new(Mutex::new(ended)) }
    }

    fn push(&self, line: String) {
        self.lines.lock().expect("nobody panics with the lines").push(line);
    }

    fn text(&self) -> String {
        self.lines.lock().expect("nobody panics with the lines").join("\n")
    }

    /// Returns when the pipe has closed, and a moment later the process has ended.
    fn wait_for_end(&self, deadline: Instant) {
        let ended = self.ended.lock().expect("nobody panics while waiting");
        let left = deadline.saturating_duration_since(Instant::now());
        match ended.recv_timeout(left) {
            Err(RecvTimeoutError::Disconnected) => thread::yield_now(),
            Ok(()) | Err(RecvTimeoutError::Timeout) => {}
        }
    }

    /// Waits for the collector, once the process has ended.
    fn finish(&self) {
        let collector = self.collector.lock().expect("nobody panics while joining").take();
        if let Some(collector) = collector {
            let _ = collector.join();
        }
    }

    /// Lines at the levels that need a person, without those that contain an expected text.
    fn troubles(&self, expected: &[String]) -> Vec<String> {
        let lines = self.lines.lock().expect("nobody panics with the lines");
        let trouble = |line: &&String| {
            [" WARN ", " ERROR ", "\"WARN\"", "\"ERROR\"", "panicked at"]
                .iter()
                .any(|level| line.contains(level))
        };
        let wanted = |line: &&String| !expected.iter().any(|text| line.contains(text));
        lines.iter().filter(trouble).filter(wanted).cloned().collect()
    }
}

/// Passes on the lines of stdout; those after the first reader has gone are kept in the log.
fn lines(pipe: impl Read + Send + 'static, log: Log) -> Receiver<String> {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        for line in BufReader::new(pipe).lines().map_while(Result::ok) {
            if let Err(unread) = sender.send(line) {
                log.push(unread.0);
            }
        }
    });
    receiver
}

fn wait_until_ready(lines: &Receiver<String>) -> Option<(String, SocketAddr)> {
    let deadline = Instant::now() + READY_MAX;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let line = lines.recv_timeout(left).ok()?;
        let Some(rest) = line.strip_prefix("ready tcp://") else { continue };
        let address = rest.split_whitespace().next()?.parse().ok()?;
        return Some((line, address));
    }
}

/// The program, built once for each test process.
///
/// Cargo tells a test the path of programs of its own package only. Building it here instead keeps
/// `cargo test -p …` right whatever was built before; cargo does nothing when nothing has changed.
/// `BROOKLET_PROGRAM` names another one, for example a release build.
///
/// # Panics
/// If it cannot be built.
pub fn program() -> PathBuf {
    static PROGRAM: OnceLock<PathBuf> = OnceLock::new();
    PROGRAM.get_or_init(build).clone()
}

fn build() -> PathBuf {
    if let Some(program) = std::env::var_os("BROOKLET_PROGRAM") {
        return PathBuf::from(program);
    }
    let test = std::env::current_exe().expect("a test knows its own path");
    // target/<profile>/deps/<test>
    let folder = test.ancestors().nth(2).expect("a test lies in target/<profile>/deps");
    let target = folder.parent().expect("a profile's folder lies in the target folder");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["build", "--quiet", "--package", "brooklet", "--target-dir"]).arg(target);
    if folder.file_name().is_some_and(|name| name == "release") {
        command.arg("--release");
    }
    let output = command
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .expect("cargo can be started by a test that cargo has built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    folder.join(format!("brooklet{}", std::env::consts::EXE_SUFFIX))
}
