//! QUIC in, TCP out to a broker: each stream is a connection there, and what is asked on it is looked at.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use brooklet_client::{Address, ClientConfig};
use brooklet_wire::frame::parse_header;
use brooklet_wire::message::{FetchRequest, ProduceRequest, decode_request};
use bytes::Bytes;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;

use crate::transports::{Papers, quic_config};

const PRODUCE: i16 = 0;
const FETCH: i16 = 1;

/// What goes wrong.
#[derive(Clone, Copy)]
pub(crate) enum Faults {
    None,
    /// Each so-many-th Produce ends its stream: in turn before the broker has it, and before the client has the answer.
    LoseEach(u32),
}

pub(crate) struct Bridge {
    pub(crate) address: Address,
    papers: Papers,
    seen: Arc<Mutex<Seen>>,
    open: watch::Receiver<u32>,
    _endpoint: quinn::Endpoint,
}

/// By stream, which partitions were named on it.
type Streams = BTreeMap<u32, BTreeSet<i32>>;

#[derive(Default)]
struct Seen {
    connections: u32,
    streams: u32,
    produced: Streams,
    fetched: Streams,
    produces: u32,
    killed: u32,
}

impl Bridge {
    /// To a broker, with so many streams for each connection.
    pub(crate) fn start(broker: Address, streams: Option<u32>, faults: Faults) -> Bridge {
        let papers = Papers::new();
        papers.issue("bridge", |_| {});
        let mut config = quic_config(papers.server("bridge", false));
        if let Some(streams) = streams {
            let mut transport = quinn::TransportConfig::default();
            transport.max_concurrent_bidi_streams(streams.into());
            config.transport_config(Arc::new(transport));
        }
        let endpoint = quinn::Endpoint::server(config, "127.0.0.1:0".parse().unwrap()).unwrap();
        let port = endpoint.local_addr().unwrap().port();
        let address = format!("quic://127.0.0.1:{port}").parse().unwrap();
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (count, open) = watch::channel(0);
        let (accepting, shared, count) = (endpoint.clone(), seen.clone(), Arc::new(count));
        tokio::spawn(async move {
            while let Some(incoming) = accepting.accept().await {
                let Ok(connection) = incoming.await else { continue };
                shared.lock().unwrap().connections += 1;
                let (shared, broker, count) = (shared.clone(), broker.clone(), count.clone());
                tokio::spawn(async move {
                    while let Ok((writer, reader)) = connection.accept_bi().await {
                        let carried = carry(reader, writer, broker.clone(), shared.clone(), faults);
                        let count = count.clone();
                        count.send_modify(|count| *count += 1);
                        tokio::spawn(async move {
                            carried.await;
                            count.send_modify(|count| *count -= 1);
                        });
                    }
                });
            }
        });
        Bridge { address, papers, seen, open, _endpoint: endpoint }
    }

    /// A client that believes it.
    pub(crate) fn client(&self) -> ClientConfig {
        self.papers.client("quic://127.0.0.1:1")
    }

    pub(crate) fn produced(&self) -> Streams {
        self.seen.lock().unwrap().produced.clone()
    }

    pub(crate) fn fetched(&self) -> Streams {
        self.seen.lock().unwrap().fetched.clone()
    }

    pub(crate) fn connections(&self) -> u32 {
        self.seen.lock().unwrap().connections
    }

    pub(crate) fn killed(&self) -> u32 {
        self.seen.lock().unwrap().killed
    }

    /// Returns when so many streams, or fewer, are open.
    pub(crate) async fn streams_fall_to(&self, count: u32) {
        self.open.clone().wait_for(|open| *open <= count).await.unwrap();
    }
}

impl Seen {
    /// Notes what is asked. Says whether the stream is to end: before the broker hears of it, or after.
    fn note(&mut self, stream: u32, mut frame: Bytes, faults: Faults) -> Option<End> {
        let header = parse_header(&mut frame).unwrap();
        if header.api == PRODUCE {
            let request: ProduceRequest = decode_request(frame, header.version).unwrap();
            let topics = request.topic_data.iter();
            let partitions = topics.flat_map(|topic| &topic.partition_data).map(|it| it.index);
            self.produced.entry(stream).or_default().extend(partitions);
            self.produces += 1;
            if let Faults::LoseEach(each) = faults
                && self.produces.is_multiple_of(each)
            {
                self.killed += 1;
                return Some(if self.killed.is_multiple_of(2) { End::After } else { End::Before });
            }
        } else if header.api == FETCH {
            let request: FetchRequest = decode_request(frame, header.version).unwrap();
            let topics = request.topics.iter();
            let partitions = topics.flat_map(|topic| &topic.partitions).map(|it| it.partition);
            self.fetched.entry(stream).or_default().extend(partitions);
        }
        None
    }
}

enum End {
    Before,
    After,
}

async fn carry(
    mut reader: quinn::RecvStream,
    mut writer: quinn::SendStream,
    broker: Address,
    seen: Arc<Mutex<Seen>>,
    faults: Faults,
) {
    let stream = {
        let mut seen = seen.lock().unwrap();
        seen.streams += 1;
        seen.streams
    };
    let there = TcpStream::connect((broker.host.as_str(), broker.port)).await.unwrap();
    let (mut answers, mut requests) = there.into_split();
    let ask = async {
        while let Ok(length) = reader.read_u32().await {
            let mut frame = vec![0; usize::try_from(length).unwrap()];
            if reader.read_exact(&mut frame).await.is_err() {
                return;
            }
            let frame = Bytes::from(frame);
            let end = seen.lock().unwrap().note(stream, frame.clone(), faults);
            if matches!(end, Some(End::Before)) {
                return;
            }
            requests.write_u32(length).await.unwrap();
            requests.write_all(&frame).await.unwrap();
            if matches!(end, Some(End::After)) {
                return;
            }
        }
    };
    tokio::select! {
        biased;
        () = ask => {}
        _ = tokio::io::copy(&mut answers, &mut writer) => {}
    }
    // Without another word, in either direction.
    let _ = writer.reset(0_u32.into());
    let _ = reader.stop(0_u32.into());
}
