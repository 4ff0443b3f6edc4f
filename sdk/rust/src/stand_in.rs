//! The host's place in native tests: what a plugin asks of it is answered from here, and what it tells
//! it can be read here. Each thread, and so each test, has its own.
//!
//! Time is virtual: it stands still but for [`task::sleep`](crate::task::sleep) and [`advance`].

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use crate::error::Error;
use crate::http;
use crate::log::Level;
use crate::schemas::Schema;

/// A day in November 2023, where the time of day begins.
const TIMESTAMP_START: i64 = 1_700_000_000_000;
/// Time a call has.
const CALL_MS: u32 = 60_000;

type Responder = Box<dyn FnMut(&http::Request) -> Result<http::Response, http::Error>>;

#[derive(Default)]
struct Host {
    lines: Vec<Line>,
    metrics: BTreeMap<String, f64>,
    secrets: BTreeMap<String, Vec<u8>>,
    schemas: Vec<(String, Schema)>,
    elapsed: Duration,
    stopping: bool,
    responder: Option<Responder>,
}

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// How much it matters.
    pub level: Level,
    /// Its text.
    pub message: String,
    /// Its fields.
    pub fields: Vec<(String, String)>,
}

thread_local! {
    static HOST: RefCell<Host> = RefCell::default();
}

fn with<R>(f: impl FnOnce(&mut Host) -> R) -> R {
    HOST.with(|host| f(&mut host.borrow_mut()))
}

/// What was logged so far; forgets it.
pub fn take_log() -> Vec<Line> {
    with(|host| std::mem::take(&mut host.lines))
}

/// What a metric shows: the sum of a counter, the value of a gauge, the number of a histogram's
/// observations. `name{label="value"}`.
pub fn metric(name: &str) -> Option<f64> {
    with(|host| host.metrics.get(name).copied())
}

/// Grants a secret.
pub fn grant_secret(name: &str, value: &[u8]) {
    with(|host| host.secrets.insert(name.to_owned(), value.to_owned()));
}

/// Brings a schema along. The last one of a subject is the latest.
pub fn add_schema(subject: &str, schema: Schema) {
    with(|host| host.schemas.push((subject.to_owned(), schema)));
}

/// Answers HTTP requests from now on.
pub fn answer_http(
    responder: impl FnMut(&http::Request) -> Result<http::Response, http::Error> + 'static,
) {
    with(|host| host.responder = Some(Box::new(responder)));
}

/// Lets time pass.
pub fn advance(time: Duration) {
    with(|host| host.elapsed += time);
}

/// Tells the task to stop, or not to.
pub fn stop(stopping: bool) {
    with(|host| host.stopping = stopping);
}

pub(crate) fn keeps(level: Level) -> bool {
    level >= Level::Debug
}

pub(crate) fn log(level: Level, message: &str, fields: Vec<(String, String)>) {
    with(|host| host.lines.push(Line { level, message: message.to_owned(), fields }));
}

pub(crate) fn secret(name: &str) -> Result<Vec<u8>, Error> {
    let found = with(|host| host.secrets.get(name).cloned());
    found.ok_or_else(|| Error::Denied(format!("the secret {name} was not granted")))
}

pub(crate) fn schema_by_id(id: u32) -> Result<Schema, Error> {
    let found = with(|host| host.schemas.iter().find(|(_, schema)| schema.id == id).cloned());
    found.map(|(_, schema)| schema).ok_or_else(|| Error::BadInput(format!("no schema has id {id}")))
}

pub(crate) fn latest_schema(subject: &str) -> Result<Schema, Error> {
    let named = |entry: &&(String, Schema)| entry.0 == subject;
    let found = with(|host| host.schemas.iter().rev().find(named).cloned());
    let found = found.map(|(_, schema)| schema);
    found.ok_or_else(|| Error::BadInput(format!("no schema for the subject {subject}")))
}

pub(crate) fn remaining_ms() -> u32 {
    CALL_MS
}

pub(crate) fn slept(millis: u32) {
    with(|host| {
        if !host.stopping {
            host.elapsed += Duration::from_millis(millis.into());
        }
    });
}

pub(crate) fn is_stopping() -> bool {
    with(|host| host.stopping)
}

pub(crate) fn now() -> Duration {
    with(|host| host.elapsed)
}

pub(crate) fn timestamp() -> i64 {
    let elapsed = i64::try_from(now().as_millis()).expect("tests end sooner than that");
    TIMESTAMP_START + elapsed
}

pub(crate) fn send(request: &http::Request) -> Result<http::Response, http::Error> {
    // Taken out while it runs: it may log, and let time pass.
    let Some(mut responder) = with(|host| host.responder.take()) else {
        return Err(http::Error::Denied("nobody answers HTTP in this test".to_owned()));
    };
    let answer = responder(request);
    with(|host| {
        // Unless the answer was that somebody else answers from now on.
        host.responder.get_or_insert(responder);
    });
    answer
}

/// The same handles as the host's.
pub(crate) mod instruments {
    use super::with;

    fn key(name: &str, labels: &[(String, String)]) -> String {
        if labels.is_empty() {
            return name.to_owned();
        }
        let labels: Vec<_> =
            labels.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{name}{{{}}}", labels.join(","))
    }

    macro_rules! instrument {
        ($name:ident) => {
            #[derive(Debug)]
            pub(crate) struct $name(String);

            impl $name {
                pub(crate) fn new(name: &str, labels: &[(String, String)]) -> $name {
                    $name(key(name, labels))
                }

                fn change(&self, change: impl FnOnce(f64) -> f64) {
                    with(|host| {
                        let value = host.metrics.entry(self.0.clone()).or_default();
                        *value = change(*value);
                    });
                }
            }
        };
    }

    instrument!(Counter);
    instrument!(Gauge);
    instrument!(Histogram);

    impl Counter {
        #[expect(clippy::cast_precision_loss, reason = "tests count to less than 2^52")]
        pub(crate) fn add(&self, n: u64) {
            self.change(|value| value + n as f64);
        }
    }

    impl Gauge {
        pub(crate) fn set(&self, v: f64) {
            self.change(|_| v);
        }
    }

    impl Histogram {
        pub(crate) fn observe(&self, v: f64) {
            self.observe_many(&[v]);
        }

        #[expect(clippy::cast_precision_loss, reason = "tests observe less than 2^52 values")]
        pub(crate) fn observe_many(&self, v: &[f64]) {
            self.change(|count| count + v.len() as f64);
        }
    }
}
