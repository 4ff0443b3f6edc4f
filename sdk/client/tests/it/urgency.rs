//! What is urgent leaves before what was there first, on one QUIC connection.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use brooklet_client::connection::Connection;
use brooklet_client::transport::Dialer;
use brooklet_client::{Address, ClientConfig, Peer, Urgency};
use brooklet_wire::message::{
    MetadataRequest, encode_response, make, metadata_request::MetadataRequestTopic,
};
use tokio::io::AsyncReadExt;
use tokio::sync::mpsc;

use crate::lanes::soon;
use crate::transports::{Papers, quic_config, versions};

/// Far more than can be under way to a socket that nobody reads: the rest waits where its turn is decided.
const BYTES: usize = 6 << 20;

/// A request of about that many bytes.
fn large() -> MetadataRequest {
    const NAME: usize = 30_000;
    let topic = |_| make(|it: &mut MetadataRequestTopic| it.name = Some("t".repeat(NAME).into()));
    make(|it: &mut MetadataRequest| it.topics = Some((0..BYTES / NAME).map(topic).collect()))
}

/// Says what it can do on each stream, and counts what comes on it next. Which stream it was, and what had come of the first one, is
/// told when all of that has.
async fn count(endpoint: quinn::Endpoint, done: mpsc::Sender<(usize, usize)>) {
    let connection = endpoint.accept().await.unwrap().await.unwrap();
    let of_first = Arc::new(AtomicUsize::new(0));
    for number in 0.. {
        let Ok((mut writer, mut reader)) = connection.accept_bi().await else { return };
        let (of_first, done) = (Arc::clone(&of_first), done.clone());
        tokio::spawn(async move {
            let length = reader.read_u32().await.unwrap();
            let mut request = vec![0; usize::try_from(length).unwrap()];
            reader.read_exact(&mut request).await.unwrap();
            let version = i16::from_be_bytes([request[2], request[3]]);
            let correlation = i32::from_be_bytes(request[4..8].try_into().unwrap());
            let answer = encode_response(correlation, version, &versions()).unwrap();
            writer.write_all(&answer).await.unwrap();
            let mut left = usize::try_from(reader.read_u32().await.unwrap()).unwrap();
            while left > 0 {
                let chunk = reader.read_chunk(left, true).await.unwrap().unwrap();
                left -= chunk.bytes.len();
                if number == 0 {
                    of_first.fetch_add(chunk.bytes.len(), Ordering::SeqCst);
                }
            }
            done.send((number, of_first.load(Ordering::SeqCst))).await.unwrap();
        });
    }
}

#[tokio::test]
async fn what_is_urgent_overtakes_what_is_not_on_the_connection_that_they_share() {
    let papers = Papers::new();
    papers.issue("good", |_| {});
    let mut settings = quinn::TransportConfig::default();
    settings.stream_receive_window(16_000_000_u32.into());
    let mut server = quic_config(papers.server("good", false));
    server.transport_config(Arc::new(settings));
    let endpoint = quinn::Endpoint::server(server, "127.0.0.1:0".parse().unwrap()).unwrap();
    let port = endpoint.local_addr().unwrap().port();
    let (done, mut seen) = mpsc::channel(2);
    tokio::spawn(count(endpoint, done));

    let address: Address = format!("quic://127.0.0.1:{port}").parse().unwrap();
    let config = papers.client(&address.to_string());
    let dialer = Dialer::new(config.tls.clone(), BTreeSet::new());
    let peer = Peer { address, id: None };
    let mut open = Vec::new();
    for urgency in [Urgency::Bulk, Urgency::Urgent] {
        let config = ClientConfig { urgency, ..config.clone() };
        open.push(soon(Connection::open(&dialer, peer.clone(), &config)).await.unwrap());
    }
    let (request, limit) = (large(), Duration::from_secs(30));
    let mut waiting = Vec::new();
    for connection in &open {
        waiting.push(soon(connection.submit(&request, limit)).await.unwrap());
    }
    let (number, of_first) = soon(seen.recv()).await.unwrap();
    assert_eq!(number, 1, "the one that was urgent is there first");
    assert!(of_first < BYTES / 2, "{of_first} bytes of what was not went before it");
    let (number, _) = soon(seen.recv()).await.unwrap();
    assert_eq!(number, 0, "and the other one comes after it");
}
