//! A broker with the hostile plugin installed, and a client that sees every code.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use brooklet_cluster::broker::program;
use brooklet_cluster::raw::PATIENCE;
use brooklet_cluster::{Broker, Raw};
use brooklet_types::{ErrorCode, Timestamp};
use brooklet_wire::batch::{BatchBuilder, check_crc, records, split};
use brooklet_wire::compress::Codec;
use brooklet_wire::message::{
    CreateTopicsRequest, FetchRequest, ProduceRequest, StrBytes, create_topics_request,
    fetch_request, make, produce_request,
};
use serde_json::{Value, json};

use crate::stage::Stage;

/// What a call may take that takes whatever it may: there are many of them.
const ENDLESS_MS: u64 = 60;
/// What others may take, on a machine that has other things to do.
const CALL_MS: u64 = 20_000;

/// A broker, and on it what no broker wants to have.
pub(super) struct Scene {
    pub(super) stage: Stage,
    pub(super) raw: Raw,
}

/// What a producer is told.
#[derive(Debug)]
pub(super) struct Told {
    pub(super) result: Result<i64, ErrorCode>,
    pub(super) message: String,
}

/// A record as a consumer sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    pub(super) offset: u64,
    pub(super) value: String,
    pub(super) headers: Vec<(String, String)>,
}

impl Scene {
    /// Starts a broker; `expected` are texts of the warnings that are due.
    pub(super) fn new(expected: &[&str]) -> Scene {
        let own = ["plugin=\"hostile\""];
        let stage = Stage::new(&[&own, expected].concat());
        stage.run(&["plugin", "install", &component().display().to_string()]);
        let raw = stage.raw();
        Scene { stage, raw }
    }

    pub(super) fn broker(&self) -> &Broker {
        &self.stage.broker
    }

    /// Creates a topic with settings, or says why there is none.
    pub(super) fn create(
        &mut self,
        name: &str,
        partitions: i32,
        settings: &[(&str, &str)],
    ) -> Result<(), String> {
        create(&mut self.raw, name, partitions, settings)
    }

    /// Creates a topic that has the hostile plugin.
    pub(super) fn bind(&mut self, name: &str, binding: &Value) -> Result<(), String> {
        self.create(name, 1, &[("brooklet.plugins", &json!([binding]).to_string())])
    }

    /// Creates a view that has it.
    pub(super) fn view(&mut self, name: &str, of: &str, binding: &Value) -> Result<(), String> {
        let plugins = json!([binding]).to_string();
        self.create(name, -1, &[("brooklet.view.of", of), ("brooklet.plugins", &plugins)])
    }

    /// Sends one batch.
    pub(super) fn send(&mut self, topic: &str, partition: i32, values: &[&str]) -> Told {
        send(&mut self.raw, topic, partition, values)
    }

    /// Everything that a topic shows.
    pub(super) fn read(&mut self, topic: &str) -> Result<Vec<Seen>, ErrorCode> {
        let (mut all, mut next) = (Vec::new(), 0);
        loop {
            let (seen, end) = fetch(&mut self.raw, topic, next)?;
            if end == next {
                return Ok(all);
            }
            all.extend(seen);
            next = end;
        }
    }

    /// The values that a topic shows, with their offsets.
    pub(super) fn values(&mut self, topic: &str) -> Result<Vec<(u64, String)>, ErrorCode> {
        let seen = self.read(topic)?;
        Ok(seen.into_iter().map(|it| (it.offset, it.value)).collect())
    }

    /// The text of all metrics.
    pub(super) fn metrics(&self) -> String {
        let mut stream = TcpStream::connect(&self.stage.admin).expect("the administration");
        stream.set_read_timeout(Some(PATIENCE)).expect("a deadline");
        let request = "GET /metrics HTTP/1.1\r\nhost: brooklet\r\nconnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("text");
        text
    }
}

/// How the hostile plugin is bound.
pub(super) fn binding(role: &str, deed: &str, on_failure: &str) -> Value {
    let is_endless = ["loop", "sleep", "realloc-loop", "init-loop", "init-sleep"].contains(&deed);
    let mut binding = json!({
        "plugin": "hostile",
        "role": role,
        "config": { "do": deed, "ms": 60_000 },
        "on_failure": on_failure,
        "limits": { "time_ms": if is_endless { ENDLESS_MS } else { CALL_MS } },
    });
    if on_failure == "dead-letter" {
        binding["dead_letters"] = "letters".into();
    }
    binding
}

/// Creates a topic with settings, or says why there is none.
pub(super) fn create(
    raw: &mut Raw,
    name: &str,
    partitions: i32,
    settings: &[(&str, &str)],
) -> Result<(), String> {
    let request = make(|request: &mut CreateTopicsRequest| {
        request.timeout_ms = 10_000;
        request.topics = vec![make(|topic: &mut create_topics_request::CreatableTopic| {
            topic.name = StrBytes::from(name);
            topic.num_partitions = partitions;
            topic.replication_factor = -1;
            for (name, value) in settings {
                topic.configs.push(make(
                    |config: &mut create_topics_request::CreatableTopicConfig| {
                        config.name = StrBytes::from(*name);
                        config.value = Some(StrBytes::from(*value));
                    },
                ));
            }
        })];
    });
    let response = raw.ask(5, &request).expect("an answer");
    let topic = &response.topics[0];
    match topic.error_code {
        0 => Ok(()),
        code => Err(format!("{code}: {}", topic.error_message.as_deref().unwrap_or_default())),
    }
}

/// Sends one batch with `acks=all`.
pub(super) fn send(raw: &mut Raw, topic: &str, partition: i32, values: &[&str]) -> Told {
    let mut batch = BatchBuilder::new(Codec::None);
    for value in values {
        batch.push(Timestamp(1), Some(b"key"), Some(value.as_bytes()), &[]).expect("a record");
    }
    let records = batch.build().expect("some records");
    let request = make(|request: &mut ProduceRequest| {
        request.acks = -1;
        request.timeout_ms = 10_000;
        request.topic_data = vec![make(|data: &mut produce_request::TopicProduceData| {
            data.name = StrBytes::from(topic);
            data.partition_data = vec![make(|data: &mut produce_request::PartitionProduceData| {
                data.index = partition;
                data.records = Some(records);
            })];
        })];
    });
    let response = raw.ask(9, &request).expect("an answer");
    let stored = &response.responses[0].partition_responses[0];
    let code = ErrorCode::from_wire(stored.error_code).expect("a code that Kafka has");
    let result = if code == ErrorCode::None { Ok(stored.base_offset) } else { Err(code) };
    Told { result, message: stored.error_message.as_deref().unwrap_or_default().to_owned() }
}

/// What partition 0 shows from an offset on, and which offset comes next.
pub(super) fn fetch(raw: &mut Raw, topic: &str, from: u64) -> Result<(Vec<Seen>, u64), ErrorCode> {
    let request = make(|request: &mut FetchRequest| {
        request.replica_id = -1;
        request.max_wait_ms = 0;
        request.min_bytes = 0;
        request.max_bytes = 1 << 20;
        request.session_epoch = -1;
        request.topics = vec![make(|topic_data: &mut fetch_request::FetchTopic| {
            topic_data.topic = StrBytes::from(topic);
            topic_data.partitions = vec![make(|partition: &mut fetch_request::FetchPartition| {
                partition.current_leader_epoch = -1;
                partition.fetch_offset = i64::try_from(from).expect("an offset");
                partition.partition_max_bytes = 1 << 20;
            })];
        })];
    });
    let response = raw.ask(11, &request).expect("an answer");
    let data = &response.responses[0].partitions[0];
    let code = ErrorCode::from_wire(data.error_code).expect("a code that Kafka has");
    if code != ErrorCode::None {
        return Err(code);
    }
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let (mut all, mut next) = (Vec::new(), from);
    for batch in split(data.records.as_deref().unwrap_or_default()) {
        let (header, bytes) = batch.expect("whole batches");
        check_crc(bytes).expect("a true checksum");
        assert!(header.last_offset().value() >= next, "batches go on");
        for record in records(bytes).expect("records").iter() {
            let record = record.expect("a record");
            let headers = record.headers.clone();
            let headers = headers.map(|(name, value)| (text(name), text(value.unwrap_or(b""))));
            let headers = headers.collect();
            let value = text(record.value.unwrap_or(b"null"));
            all.push(Seen { offset: record.offset.value(), value, headers });
        }
        next = header.last_offset().value() + 1;
    }
    Ok((all, next))
}

/// The hostile component, built once for each test process by the cargo that builds the tests.
fn component() -> PathBuf {
    static COMPONENT: OnceLock<PathBuf> = OnceLock::new();
    COMPONENT.get_or_init(build).clone()
}

fn build() -> PathBuf {
    // The program's build has brought Rust's standard library for wasm, and what both depend on.
    let target = program().ancestors().nth(2).expect("target/PROFILE/brooklet").join("plugins");
    let workspace = Path::new(env!("CARGO_MANIFEST_DIR")).join("../hostile");
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.current_dir(workspace).args(["build", "--quiet", "--release", "--locked"]);
    command.args(["--target", "wasm32-wasip2", "--target-dir"]).arg(&target);
    let of_tests = |name: &str| name.starts_with("CARGO_PKG") || name.contains("RUSTFLAGS");
    for (name, _) in std::env::vars().filter(|(name, _)| of_tests(name)) {
        command.env_remove(name);
    }
    let output = command.output().expect("cargo can be started by a test that cargo has built");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("wasm32-wasip2/release/hostile_guest.wasm")
}
