//! A whole broker in this process, asked over TCP in Kafka's bytes.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic; that is how they speak")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use brooklet_broker::config::Config;
use brooklet_broker::{Ready, run};
use brooklet_hook::{Hooks, NoHooks};
use brooklet_wire::batch::BatchBuilder;
use brooklet_wire::compress::Codec;
use brooklet_wire::message::*;
use brooklet_wire::version::{Api, Audience};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod access;
mod admin;
mod compaction;
mod early;
mod hostile;
mod links;
mod login;
mod quotas;
mod sasl;
mod scene;
mod tokens;

struct Running {
    ready: Ready,
    stop: CancellationToken,
    done: JoinHandle<()>,
}

async fn start(folder: &std::path::Path) -> Running {
    start_with(folder, "", Arc::new(NoHooks)).await
}

/// With some more of a configuration, and somebody at the door for plugins.
async fn start_with(folder: &std::path::Path, more: &str, hooks: Arc<dyn Hooks>) -> Running {
    start_on(folder, r#"["tcp://127.0.0.1:0"]"#, more, hooks).await
}

/// On other listeners.
async fn start_on(
    folder: &std::path::Path,
    listeners: &str,
    more: &str,
    hooks: Arc<dyn Hooks>,
) -> Running {
    let folder = folder.display().to_string();
    let text =
        format!("(data: {folder:?}, listeners: {listeners}, admin: \"127.0.0.1:0\", {more})");
    let config = Config::read("test.ron", &text).unwrap();
    let stop = CancellationToken::new();
    let (tell, ready) = oneshot::channel();
    let stopping = stop.clone();
    let done = tokio::spawn(async move {
        let told = |ready: &Ready| tell.send(ready.clone()).unwrap();
        run(config, hooks, stopping, told).await.unwrap();
    });
    Running { ready: ready.await.unwrap(), stop, done }
}

impl Running {
    async fn stop(self) {
        self.stop.cancel();
        tokio::time::timeout(Duration::from_secs(5), self.done).await.unwrap().unwrap();
    }
}

struct Client<S = TcpStream> {
    stream: S,
    correlation: i32,
}

impl Client {
    async fn connect(address: SocketAddr) -> Client {
        Client::over(TcpStream::connect(address).await.unwrap())
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Client<S> {
    fn over(stream: S) -> Client<S> {
        Client { stream, correlation: 0 }
    }

    async fn send(&mut self, frame: &[u8]) {
        self.stream.write_all(frame).await.unwrap();
    }

    async fn receive(&mut self) -> Bytes {
        let length = self.stream.read_u32().await.unwrap();
        let mut frame = vec![0; length as usize];
        self.stream.read_exact(&mut frame).await.unwrap();
        frame.into()
    }

    async fn ask<Q: KafkaRequest, A: KafkaResponse>(&mut self, version: i16, request: &Q) -> A {
        self.correlation += 1;
        let frame = encode_request(self.correlation, version, Some("it"), request).unwrap();
        self.send(&frame).await;
        let (correlation, answer) = decode_response(self.receive().await, version).unwrap();
        assert_eq!(correlation, self.correlation);
        answer
    }

    async fn metadata(&mut self, topic: &str) -> MetadataResponse {
        let request = make(|it: &mut MetadataRequest| {
            it.allow_auto_topic_creation = true;
            it.topics = Some(vec![make(|it: &mut metadata_request::MetadataRequestTopic| {
                it.name = Some(topic.into());
            })]);
        });
        self.ask(9, &request).await
    }

    /// The names of all topics.
    async fn topics(&mut self) -> Vec<String> {
        let request = make(|it: &mut MetadataRequest| it.topics = None);
        let answer: MetadataResponse = self.ask(9, &request).await;
        answer.topics.iter().map(|topic| topic.name.clone().unwrap().to_string()).collect()
    }

    async fn produce(&mut self, topic: &str, value: &str) -> i64 {
        let request = produce(topic, value, -1);
        let answer: ProduceResponse = self.ask(9, &request).await;
        let partition = &answer.responses[0].partition_responses[0];
        assert_eq!(partition.error_code, 0, "{:?}", partition.error_message);
        partition.base_offset
    }

    async fn fetch(&mut self, topic: &str, offset: i64) -> Vec<Vec<u8>> {
        let request = fetch(topic, offset);
        let answer: FetchResponse = self.ask(12, &request).await;
        assert_eq!(answer.error_code, 0);
        let partition = &answer.responses[0].partitions[0];
        assert_eq!(partition.error_code, 0);
        let records = partition.records.clone().unwrap_or_default();
        let batches = brooklet_wire::batch::split(&records);
        batches
            .flat_map(|batch| {
                let (_, batch) = batch.unwrap();
                let records = brooklet_wire::batch::records(batch).unwrap();
                let mut values = Vec::new();
                for record in records.iter() {
                    values.push(record.unwrap().value.unwrap().to_vec());
                }
                values
            })
            .collect()
    }
}

fn produce(topic: &str, value: &str, acks: i16) -> ProduceRequest {
    let mut builder = BatchBuilder::new(Codec::None);
    let now = brooklet_io::Clock::start().timestamp();
    builder.push(now, None, Some(value.as_bytes()), &[]).unwrap();
    let batch = builder.build().unwrap();
    make(|it: &mut ProduceRequest| {
        it.acks = acks;
        it.timeout_ms = 1000;
        it.topic_data = vec![make(|it: &mut produce_request::TopicProduceData| {
            it.name = topic.into();
            it.partition_data = vec![make(|it: &mut produce_request::PartitionProduceData| {
                it.index = 0;
                it.records = Some(batch);
            })];
        })];
    })
}

fn fetch(topic: &str, offset: i64) -> FetchRequest {
    make(|it: &mut FetchRequest| {
        it.replica_id = -1;
        it.replica_state.replica_id = -1;
        it.max_wait_ms = 50;
        it.min_bytes = 1;
        it.max_bytes = 1 << 20;
        it.session_epoch = -1;
        it.topics = vec![make(|it: &mut fetch_request::FetchTopic| {
            it.topic = topic.into();
            it.partitions = vec![make(|it: &mut fetch_request::FetchPartition| {
                it.fetch_offset = offset;
                it.current_leader_epoch = -1;
                it.last_fetched_epoch = -1;
                it.partition_max_bytes = 1 << 20;
            })];
        })];
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_produced_is_fetched_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let cluster = running.ready.cluster_id.clone();
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    let versions: ApiVersionsResponse = client
        .ask(
            3,
            &make(|it: &mut ApiVersionsRequest| {
                it.client_software_name = "it".into();
                it.client_software_version = "1".into();
            }),
        )
        .await;
    assert_eq!((versions.error_code, versions.api_keys.len()), (0, 47));
    let metadata = client.metadata("flights").await;
    assert_eq!(metadata.topics[0].error_code, 0);
    assert_eq!(metadata.brokers[0].port, i32::from(running.ready.listeners[0].address.port()));
    assert_eq!(client.produce("flights", "one").await, 0);
    assert_eq!(client.produce("flights", "two").await, 1);
    assert_eq!(client.fetch("flights", 0).await, [b"one", b"two"]);
    assert!(client.fetch("flights", 2).await.is_empty());
    running.stop().await;

    let running = start(folder.path()).await;
    assert_eq!(running.ready.cluster_id, cluster);
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    assert_eq!(client.fetch("flights", 1).await, [b"two"]);
    assert_eq!(client.produce("flights", "three").await, 2);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn pipelined_requests_are_answered_in_order_and_acks_zero_is_silent() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    client.metadata("flights").await;
    let mut frames = Vec::new();
    for number in 1..=200 {
        let acks = if number % 10 == 0 { 0 } else { -1 };
        let request = produce("flights", &number.to_string(), acks);
        frames.extend(encode_request(number, 9, None, &request).unwrap());
    }
    client.send(&frames).await;
    for number in (1..=200).filter(|number| number % 10 != 0) {
        let (correlation, answer) =
            decode_response::<ProduceResponse>(client.receive().await, 9).unwrap();
        assert_eq!(correlation, number);
        let base = answer.responses[0].partition_responses[0].base_offset;
        assert_eq!(base, i64::from(number) - 1);
    }
    running.stop().await;
}

async fn get(admin: SocketAddr, path: &str) -> String {
    let mut stream = TcpStream::connect(admin).await.unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nHost: it\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_and_metrics_answer() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let mut client = Client::connect(running.ready.listeners[0].address).await;
    client.metadata("flights").await;
    client.produce("flights", "one").await;
    let admin = running.ready.admin.unwrap();
    for (path, expected) in [
        ("livez", "alive"),
        ("readyz", "ready"),
        ("metrics", "brooklet_topic_produced_records_total{topic=\"flights\"} 1"),
        ("metrics", "brooklet_log_size_bytes{topic=\"flights\",partition=\"0\"}"),
    ] {
        let answer = get(admin, path).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.contains(expected), "{answer}");
    }
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_brokers_ask_each_other_does_not_exist_for_clients() {
    let folder = tempfile::tempdir().unwrap();
    let running = start(folder.path()).await;
    let address = running.ready.listeners[0].address;
    let mut client = Client::connect(address).await;
    // Later versions want the client's name.
    let served: ApiVersionsResponse = client.ask(2, &ApiVersionsRequest::default()).await;
    let is_served = |api: Api| served.api_keys.iter().any(|it| it.api_key == api.key());
    for api in Api::all() {
        assert_eq!(is_served(api), api.audience() == Audience::Everybody, "{api:?}");
    }
    for api in Api::all().filter(|api| api.audience() == Audience::Brokers) {
        let mut client = Client::connect(address).await;
        let (key, version) = (api.key().to_be_bytes(), api.versions().1.to_be_bytes());
        // A header with no name and no tagged fields, and a body of zeroes.
        let frame = [&[0, 0, 0, 75][..], &key, &version, &[0, 0, 0, 1, 255, 255], &[0; 65]];
        client.send(&frame.concat()).await;
        let mut answer = [0];
        let read = client.stream.read(&mut answer);
        let closed = tokio::time::timeout(Duration::from_secs(5), read).await;
        assert!(matches!(closed.unwrap(), Ok(0) | Err(_)), "{api:?}");
    }
    running.stop().await;
}
