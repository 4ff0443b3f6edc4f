//! What QUIC brings before its handshake is complete (0-RTT) may be a replay of what another client has sent.
//!
//! Between the client and the broker is a relay that can hold back the client's part of the handshake, as whoever
//! replays packets has to: it does not know the keys to make one. It can hold back the broker's part, too: a client that has
//! heard it says nothing early any more.

use std::sync::atomic::{AtomicBool, Ordering};

use rustls::version::TLS13;
use tokio::net::UdpSocket;

use super::scene::{Papers, SOON, Stream, endpoint, over_quic, quic_config, start_one, stream};
use super::*;

struct Relay {
    address: SocketAddr,
    holding: Arc<AtomicBool>,
    /// While it is set, nothing of the broker's is passed on; what waits is when `hear` is told.
    deaf: Arc<AtomicBool>,
    hear: Arc<tokio::sync::Notify>,
    sent: Arc<std::sync::Mutex<Vec<Vec<u8>>>>,
    task: JoinHandle<()>,
}

/// Whether a datagram carries a packet of the handshake. Several packets share a datagram: each with a long header says
/// how long it is, and names its type in two bits (RFC 9000, section 17.2).
fn is_handshake(mut datagram: &[u8]) -> bool {
    const INITIAL: u8 = 0;
    const HANDSHAKE: u8 = 2;
    while datagram.first().is_some_and(|first| first & 0x80 != 0) {
        let kind = (datagram[0] >> 4) & 3;
        if kind == HANDSHAKE {
            return true;
        }
        let mut rest = &datagram[5..];
        for _id in ["the receiver's", "the sender's"] {
            rest = &rest[1 + usize::from(rest[0])..];
        }
        if kind == INITIAL {
            let token = varint(&mut rest);
            rest = &rest[token..];
        }
        let length = varint(&mut rest);
        datagram = &rest[length..];
    }
    false
}

/// A number of one, two, four or eight bytes, as its first two bits say.
fn varint(bytes: &mut &[u8]) -> usize {
    let count = 1 << (bytes[0] >> 6);
    let (number, rest) = bytes.split_at(count);
    *bytes = rest;
    let first = usize::from(number[0] & 0x3f);
    number[1..].iter().fold(first, |number, byte| number << 8 | usize::from(*byte))
}

async fn relay(broker: SocketAddr) -> Relay {
    let front = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let back = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    back.connect(broker).await.unwrap();
    let address = front.local_addr().unwrap();
    let holding = Arc::new(AtomicBool::new(false));
    let sent: Arc<std::sync::Mutex<Vec<Vec<u8>>>> = Arc::default();
    let (held, kept) = (Arc::clone(&holding), Arc::clone(&sent));
    let (deaf, hear): (Arc<AtomicBool>, Arc<tokio::sync::Notify>) = Default::default();
    let (waits, told) = (Arc::clone(&deaf), Arc::clone(&hear));
    let task = tokio::spawn(async move {
        let (mut up, mut down) = (vec![0; 65_536], vec![0; 65_536]);
        let (mut client, mut waiting): (Option<SocketAddr>, Vec<Vec<u8>>) = Default::default();
        loop {
            tokio::select! {
                () = told.notified() => {
                    for datagram in waiting.drain(..) {
                        front.send_to(&datagram, client.unwrap()).await.unwrap();
                    }
                }
                received = front.recv_from(&mut up) => {
                    let (count, from) = received.unwrap();
                    client = Some(from);
                    let datagram = up[..count].to_vec();
                    let drop = held.load(Ordering::SeqCst) && is_handshake(&datagram);
                    if !drop {
                        back.send(&datagram).await.unwrap();
                        kept.lock().unwrap().push(datagram);
                    }
                }
                received = back.recv(&mut down) => {
                    let count = received.unwrap();
                    if waits.load(Ordering::SeqCst) {
                        waiting.push(down[..count].to_vec());
                    } else if let Some(client) = client {
                        front.send_to(&down[..count], client).await.unwrap();
                    }
                }
            }
        }
    });
    Relay { address, holding, deaf, hear, sent, task }
}

/// Has the client hear the broker once that has answered a Fetch.
async fn heard_when_answered(relay: &Relay, admin: SocketAddr) {
    let answered = "brooklet_request_latency_seconds_count{api=\"Fetch\"} 1";
    // It is answered on another connection, of which nothing is heard here.
    while !get(admin, "metrics").await.contains(answered) {
        tokio::task::yield_now().await;
    }
    relay.deaf.store(false, Ordering::SeqCst);
    relay.hear.notify_one();
}

/// Where the log of `flights` ends.
async fn end_of_log(client: &mut Client<Stream>) -> i64 {
    let request = fetch("flights", 0);
    let answer: FetchResponse = client.ask(12, &request).await;
    answer.responses[0].partitions[0].high_watermark
}

#[tokio::test(flavor = "multi_thread")]
async fn a_produce_that_may_be_a_replay_waits_for_the_handshake_and_reading_does_not() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, "").await;
    let broker = running.ready.listeners[0].address;
    let relay = relay(broker).await;
    let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
    let (endpoint, witness) = (endpoint(), endpoint());
    let watching = over_quic(&witness, broker, config.clone()).await.unwrap();
    let mut watching = stream(&watching).await;
    watching.metadata("flights").await;

    // The first connection brings the ticket that the second begins with.
    let first = over_quic(&endpoint, relay.address, config.clone()).await.unwrap();
    assert_eq!(stream(&first).await.produce("flights", "one").await, 0);
    first.close(0u32.into(), b"");

    relay.holding.store(true, Ordering::SeqCst);
    relay.deaf.store(true, Ordering::SeqCst);
    relay.sent.lock().unwrap().clear();
    let connecting = endpoint.connect_with(config, relay.address, "localhost").unwrap();
    let Ok((early, accepted)) = connecting.into_0rtt() else { panic!("there is no ticket") };
    let mut producing = stream(&early).await;
    producing.send(&encode_request(1, 9, None, &produce("flights", "two", -1)).unwrap()).await;
    // Asking is answered, and creates nothing.
    let mut asking = stream(&early).await;
    let request = make(|it: &mut MetadataRequest| {
        it.allow_auto_topic_creation = true;
        it.topics = Some(vec![make(|it: &mut metadata_request::MetadataRequestTopic| {
            it.name = Some("made".into());
        })]);
    });
    asking.send(&encode_request(1, 9, None, &request).unwrap()).await;
    // An answer to what came behind them says that both have come.
    let mut reading = stream(&early).await;
    let admin = running.ready.admin.unwrap();
    let reads = reading.fetch("flights", 0);
    let both = async { tokio::join!(reads, heard_when_answered(&relay, admin)) };
    let (known, ()) = tokio::time::timeout(SOON, both).await.unwrap();
    assert_eq!(known, [b"one"]);
    assert!(accepted.await, "the broker did not take what came early");
    assert_eq!(end_of_log(&mut watching).await, 1, "a possible replay was carried out");
    assert_eq!(watching.topics().await, ["flights"]);

    // The client's own is carried out as soon as the handshake is let through.
    relay.holding.store(false, Ordering::SeqCst);
    let frame = tokio::time::timeout(SOON, producing.receive()).await.unwrap();
    let (_, answer) = decode_response::<ProduceResponse>(frame, 9).unwrap();
    assert_eq!(answer.responses[0].partition_responses[0].base_offset, 1);
    tokio::time::timeout(SOON, asking.receive()).await.unwrap();
    assert_eq!(end_of_log(&mut watching).await, 2);
    assert_eq!(watching.topics().await, ["flights", "made"]);

    // Whoever has recorded all of it and sends it again, from elsewhere and when the connection is over, gets an answer to
    // the first packet; what came early is not even read, because the ticket has been used.
    let recorded = relay.sent.lock().unwrap().clone();
    early.close(0u32.into(), b"");
    let replaying = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let mut answer = vec![0; 65_536];
    let answered = async {
        loop {
            for datagram in &recorded {
                replaying.send_to(datagram, broker).await.unwrap();
            }
            // Until the connection is forgotten, its packets are taken for late ones.
            let wait = Duration::from_millis(100);
            if tokio::time::timeout(wait, replaying.recv(&mut answer)).await.is_ok() {
                return;
            }
        }
    };
    tokio::time::timeout(SOON * 2, answered).await.unwrap();
    assert_eq!(end_of_log(&mut watching).await, 2, "a replay was carried out");
    relay.task.abort();
    running.stop().await;
}
