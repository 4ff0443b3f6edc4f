//! A broker with its administration, and the program as a person uses it against them.

use std::path::Path;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use brooklet_cluster::broker::program;
use brooklet_cluster::{Broker, Raw};

/// What any command may take here.
const SECONDS_MAX: &str = "200";
/// What it may wait for one answer: the largest plugins are compiled meanwhile, on a machine that has other work.
pub(crate) const ANSWER_SECONDS_MAX: &str = "120";
/// How long something may take to come about.
const SOON: Duration = Duration::from_secs(120);

/// A broker with its administration on a port of its own.
pub(crate) struct Stage {
    pub(crate) broker: Broker,
    pub(crate) admin: String,
}

impl Stage {
    /// A broker on an empty folder whose log has these texts.
    pub(crate) fn new(expected: &[&str]) -> Stage {
        Stage::start(None, expected)
    }

    /// The same on a folder that may have something in it.
    pub(crate) fn on(folder: &Path, expected: &[&str]) -> Stage {
        Stage::start(Some(folder), expected)
    }

    fn start(folder: Option<&Path>, expected: &[&str]) -> Stage {
        let config = r#"(admin: "127.0.0.1:0", cleaner: (backoff_ms: 50))"#;
        let mut builder = Broker::builder().config(config);
        if let Some(folder) = folder {
            builder = builder.data(folder);
        }
        for text in expected {
            builder = builder.expect_log(*text);
        }
        let broker = builder.start();
        let admin = admin(&broker);
        Stage { broker, admin }
    }

    pub(crate) fn output(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new("timeout");
        command.arg(SECONDS_MAX).arg(program());
        command.args(["--timeout", ANSWER_SECONDS_MAX]).args(arguments);
        command.env("BROOKLET_BROKER", self.broker.address().to_string());
        command.env("BROOKLET_ADMIN_TOKEN", self.broker.data().join("admin-token"));
        command.env("BROOKLET_ADMIN", &self.admin).output().expect("the program can be run")
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{arguments:?}: {error}");
        String::from_utf8(output.stdout).expect("text")
    }

    /// Runs a command that must fail, and gives what it complains of.
    pub(crate) fn fails(&self, arguments: &[&str]) -> String {
        let output = self.output(arguments);
        assert!(!output.status.success(), "{arguments:?} should have failed");
        String::from_utf8(output.stderr).expect("text")
    }

    pub(crate) fn raw(&self) -> Raw {
        Raw::connect(self.broker.address()).expect("a connection")
    }

    /// The values of a topic, with their offsets.
    pub(crate) fn read(&self, topic: &str, count: usize) -> Vec<String> {
        let count = count.to_string();
        let text = self.run(&["consume", topic, "--count", &count, "--format", "json"]);
        let field = |line: &str| {
            let value: serde_json::Value = serde_json::from_str(line).expect("JSON lines");
            format!("{} {}", value["offset"], value["value"].as_str().unwrap_or("null"))
        };
        text.lines().map(field).collect()
    }
}

/// Where a broker is administrated.
pub(crate) fn admin(broker: &Broker) -> String {
    soon("the broker does not say where it is administrated", || {
        let log = broker.log();
        let (_, rest) = log.split_once("probes at http://")?;
        rest.split_whitespace().next().map(str::to_owned)
    })
}

/// What `look` finds, as soon as it finds something.
pub(crate) fn soon<T>(complaint: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "{complaint}");
        std::thread::sleep(Duration::from_millis(5)); // polls what is asked for
    }
}
