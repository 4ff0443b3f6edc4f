//! Tunnels in this process, to whole brokers and to scripted ones.

#![expect(clippy::unwrap_used, reason = "helpers of tests may panic; that is how they speak")]

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use brooklet_broker::config::Config as BrokerConfig;
use brooklet_client::TlsConfig;
use brooklet_hook::NoHooks;
use brooklet_tunnel::{Config, Ready, run};
use brooklet_wire::message::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

mod brokers;
mod links;
mod scripted;

/// A deadline for whatever must not take long.
const SOON: Duration = Duration::from_secs(20);

/// Waits for what must not take long.
async fn soon<T>(what: impl Future<Output = T>) -> T {
    tokio::time::timeout(SOON, what).await.expect("it takes too long")
}

/// A tunnel or a broker that runs.
struct Running<R> {
    ready: R,
    stop: CancellationToken,
    done: JoinHandle<()>,
}

impl<R> Running<R> {
    async fn stop(self) {
        self.stop.cancel();
        soon(self.done).await.unwrap();
    }
}

type Tunnel = Running<Ready>;
type Broker = Running<brooklet_broker::Ready>;

async fn tunnel(to: &str) -> Tunnel {
    tunnel_as(&[to], TlsConfig::default()).await
}

async fn tunnel_as(to: &[&str], tls: TlsConfig) -> Tunnel {
    let config = Config {
        listen: "127.0.0.1:0".to_owned(),
        to: to.iter().map(|to| to.parse().unwrap()).collect(),
        tls,
        connect_timeout: Duration::from_secs(5),
    };
    let (tell, ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let done = tokio::spawn(async move {
        run(config, stopping, |ready| tell.send(ready.clone()).unwrap()).await.unwrap();
    });
    Running { ready: soon(ready).await.unwrap(), stop, done }
}

/// A broker with these listeners, and nothing else.
async fn broker(folder: &Path, listeners: &str) -> Broker {
    let folder = folder.display().to_string();
    let text = format!("(data: {folder:?}, listeners: {listeners}, admin: \"none\")");
    let config = BrokerConfig::read("test.ron", &text).unwrap();
    let (tell, ready) = oneshot::channel();
    let stop = CancellationToken::new();
    let stopping = stop.clone();
    let done = tokio::spawn(async move {
        let told = |ready: &brooklet_broker::Ready| tell.send(ready.clone()).unwrap();
        brooklet_broker::run(config, Arc::new(NoHooks), stopping, told).await.unwrap();
    });
    Running { ready: soon(ready).await.unwrap(), stop, done }
}

/// A client that knows TCP, and bytes.
struct Raw {
    stream: TcpStream,
}

impl Raw {
    async fn connect(address: SocketAddr) -> Raw {
        Raw { stream: TcpStream::connect(address).await.unwrap() }
    }

    async fn send(&mut self, frame: &[u8]) {
        soon(self.stream.write_all(frame)).await.unwrap();
    }

    async fn receive(&mut self) -> Bytes {
        let length = soon(self.stream.read_u32()).await.unwrap();
        let mut frame = vec![0; length as usize];
        soon(self.stream.read_exact(&mut frame)).await.unwrap();
        frame.into()
    }

    async fn answer<A: KafkaResponse>(&mut self, correlation: i32, version: i16) -> A {
        let (found, answer) = decode_response(self.receive().await, version).unwrap();
        assert_eq!(found, correlation);
        answer
    }

    async fn ask<Q: KafkaRequest, A: KafkaResponse>(&mut self, version: i16, request: &Q) -> A {
        self.send(&encode_request(7, version, Some("it"), request).unwrap()).await;
        self.answer(7, version).await
    }

    /// Creates a topic where there is none.
    async fn metadata(&mut self, topic: &str) -> MetadataResponse {
        let request = metadata_of(topic);
        self.ask(12, &request).await
    }

    /// Sees that the connection is closed, with nothing more said.
    async fn closes(mut self) -> bool {
        let mut rest = Vec::new();
        soon(self.stream.read_to_end(&mut rest)).await.is_err() || rest.is_empty()
    }
}

fn metadata_of(topic: &str) -> MetadataRequest {
    make(|it: &mut MetadataRequest| {
        it.allow_auto_topic_creation = true;
        it.topics = Some(vec![make(|it: &mut metadata_request::MetadataRequestTopic| {
            it.name = Some(topic.into());
        })]);
    })
}
