//! Peers that take places and say nothing.

use std::collections::BTreeSet;

use rustls::version::TLS13;

use super::scene::{Papers, SOON, endpoint, over_quic, over_tls, quic_config, start_one, stream};
use super::*;

/// More handshakes than there are at once.
const FLOOD: usize = 400;

#[tokio::test(flavor = "multi_thread")]
async fn an_honest_client_comes_in_through_a_crowd_that_says_nothing() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "tls://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    let mut crowd = Vec::new();
    for _ in 0..FLOOD {
        crowd.push(TcpStream::connect(address).await.unwrap());
    }
    // Behind all of them: twice the shortest time that a silent one has.
    let came_in = over_tls(address, papers.client(&[&TLS13], None));
    let stream = tokio::time::timeout(SOON * 2, came_in).await.unwrap().unwrap();
    let mut client = Client::over(stream);
    assert_eq!(client.metadata("flights").await.topics[0].error_code, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handshakes_of_quic_that_nobody_goes_on_with_keep_nobody_out() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, "").await;
    let address = running.ready.listeners[0].address;
    let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
    // The first packets of clients, brought here by somebody else: nobody goes on with them.
    let listening = tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap();
    let deaf = listening.local_addr().unwrap();
    let sender = Arc::new(tokio::net::UdpSocket::bind("127.0.0.1:0").await.unwrap());
    // The later ones are asked to prove that they are where they say: a Retry (RFC 9000, section 17.2.5).
    let answers = Arc::clone(&sender);
    let asked = tokio::spawn(async move {
        let mut answer = vec![0; 65_536];
        loop {
            let count = answers.recv(&mut answer).await.unwrap();
            if answer[..count].first().is_some_and(|first| first >> 4 & 0b1011 == 0b1011) {
                return;
            }
        }
    });
    let mut datagram = vec![0; 65_536];
    let (mut silent, mut seen) = (Vec::new(), BTreeSet::new());
    for _ in 0..FLOOD {
        let client = endpoint();
        let connecting = client.connect_with(config.clone(), deaf, "localhost").unwrap();
        // One that goes would say so.
        silent.push((connecting, client));
        let first = async {
            loop {
                let (count, from) = listening.recv_from(&mut datagram).await.unwrap();
                if seen.insert(from) {
                    return count;
                }
            }
        };
        let count = tokio::time::timeout(SOON, first).await.unwrap();
        sender.send_to(&datagram[..count], address).await.unwrap();
    }
    tokio::time::timeout(SOON, asked).await.unwrap().unwrap();
    let honest = endpoint();
    let connection = over_quic(&honest, address, config).await.unwrap();
    let mut client = stream(&connection).await;
    assert_eq!(client.metadata("flights").await.topics[0].error_code, 0);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_opened_and_say_nothing_are_few_and_end() {
    let (papers, data) = (Papers::new(), tempfile::tempdir().unwrap());
    let section = papers.section("none");
    let more = "quic: (streams_max: 20),";
    let running = start_one(data.path(), "quic://127.0.0.1:0", &section, more).await;
    let address = running.ready.listeners[0].address;
    let endpoint = endpoint();
    let config = quic_config(papers.client(&[&TLS13], None), &[b"kafka"]);
    let connection = over_quic(&endpoint, address, config).await.unwrap();
    let mut silent = Vec::new();
    for _ in 0..19 {
        silent.push(connection.open_bi().await.unwrap());
    }
    // Using the last opens all before it.
    let mut client = stream(&connection).await;
    client.metadata("flights").await;
    let more = tokio::time::timeout(Duration::from_millis(200), connection.open_bi()).await;
    assert!(more.is_err(), "more streams than may be");
    // One that is used stays; the others are ended, and make room.
    for (_writer, reader) in &mut silent {
        let ended = tokio::time::timeout(Duration::from_secs(15), reader.read_to_end(1)).await;
        let error = ended.unwrap().unwrap_err().to_string();
        assert!(error.contains('3'), "{error}");
    }
    drop(silent);
    tokio::time::timeout(SOON, connection.open_bi()).await.unwrap().unwrap();
    assert_eq!(client.produce("flights", "one").await, 0);
    running.stop().await;
}
