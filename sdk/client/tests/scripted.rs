//! The client against a server that follows a script: what it makes of closed connections, garbage,
//! absurd lengths and silence. No broker is needed.

#![expect(clippy::unwrap_used, reason = "a script that cannot be played is a failed test")]

use std::time::Duration;

use brooklet_client::transport::Transport;
use brooklet_client::{Address, ClientConfig, ConnectError, Peer, RequestError};
use brooklet_client::{Client, connection::Connection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves one connection: reads one request for each answer, and repeats its correlation number in
/// the place of `CORRELATION`.
async fn serve(answers: Vec<Vec<u8>>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        for answer in answers {
            let length = stream.read_u32().await.unwrap();
            let mut request = vec![0; usize::try_from(length).unwrap()];
            stream.read_exact(&mut request).await.unwrap();
            let mut frame = answer;
            if let Some(at) = frame.windows(4).position(|window| window == CORRELATION) {
                frame[at..at + 4].copy_from_slice(&request[4..8]);
            }
            stream.write_all(&frame).await.unwrap();
        }
    });
    address
}

const CORRELATION: &[u8] = b"CORR";

async fn open(answers: Vec<Vec<u8>>) -> Result<Connection, ConnectError> {
    let address = serve(answers).await;
    let mut config = ClientConfig::new(vec![address.clone()]);
    config.connect_timeout = Duration::from_secs(5);
    Connection::open(Transport::Tcp, Peer { address, id: None }, &config).await
}

fn framed(body: &[&[u8]]) -> Vec<u8> {
    let body = body.concat();
    let mut frame = u32::try_from(body.len()).unwrap().to_be_bytes().to_vec();
    frame.extend_from_slice(&body);
    frame
}

fn reason(outcome: Result<Connection, ConnectError>) -> String {
    match outcome.map(|_| ()) {
        Err(ConnectError::Handshake { source, .. }) => source.to_string(),
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn what_is_no_answer_is_a_named_error() {
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (Vec::new(), "the broker closed it"),
        (vec![0xff, 0xff, 0xff, 0xff], "answer of -1 bytes"),
        (vec![0x7f, 0xff, 0xff, 0xff], "answer of 2147483647 bytes"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n".to_vec(), "answer of 1213486160 bytes"),
        (vec![0, 0, 1, 0, 1, 2, 3], "before the end"),
        (framed(&[&[0, 0, 0, 99]]), "answer Some(99) came instead of 0"),
        (framed(&[&[1]]), "answer None came instead of 0"),
        // An array of 2^31 entries, announced in ten bytes.
        (framed(&[CORRELATION, &[0, 0, 0xff, 0xff, 0xff, 0xff, 0x0f]]), "malformed"),
    ];
    for (answer, expected) in cases {
        let text = reason(open(vec![answer.clone()]).await);
        assert!(text.contains(expected), "{answer:?}: {text}");
    }
}

#[tokio::test]
async fn an_old_broker_is_asked_again_in_version_0() {
    let unsupported = framed(&[CORRELATION, &[0, 35], &[0, 0, 0, 0]]);
    // One API: Metadata (3), versions 0 to 12.
    let versions = framed(&[CORRELATION, &[0, 0], &[0, 0, 0, 1], &[0, 3, 0, 0, 0, 12]]);
    let connection = open(vec![unsupported, versions]).await.unwrap();
    let version = connection.version::<brooklet_wire::message::MetadataRequest>();
    assert_eq!(version.unwrap(), 12);
    let missing = connection.version::<brooklet_wire::message::FetchRequest>();
    assert!(matches!(missing, Err(RequestError::NoCommonVersion { api: "Fetch", .. })));
}

#[tokio::test]
async fn an_address_where_nobody_listens_fails_at_once() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address: Address = listener.local_addr().unwrap().to_string().parse().unwrap();
    drop(listener);
    let client = Client::new(ClientConfig::new(vec![address]));
    let error = client.metadata(None).await.unwrap_err();
    assert!(error.to_string().starts_with("no broker reachable: connect to 127.0.0.1:"), "{error}");
}
