//! The client against a server that follows a script: what it makes of closed connections, garbage,
//! absurd lengths and silence. No broker is needed.

use std::time::Duration;

use brooklet_client::admin::NewTopic;
use brooklet_client::request::Call;
use brooklet_client::transport::Dialer;
use brooklet_client::{Address, Admin, ClientConfig, ConnectError, Peer, RequestError};
use brooklet_client::{Client, connection::Connection};
use brooklet_types::ErrorCode;
use brooklet_wire::message::{
    ApiVersionsRequest, ApiVersionsResponse, CreateTopicsRequest, CreateTopicsResponse,
    FetchRequest, MetadataRequest, MetadataResponse,
    api_versions_response::ApiVersion,
    create_topics_response::CreatableTopicResult,
    encode_response, make,
    metadata_response::{MetadataResponsePartition, MetadataResponseTopic},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Serves one connection: reads one request for each answer, and repeats its correlation number in
/// the place of `CORRELATION`.
async fn serve(answers: Vec<Vec<u8>>) -> Address {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string().parse().unwrap();
    tokio::spawn(play(listener, answers));
    address
}

/// Plays the script once and says how many of its answers were asked for.
async fn play(listener: TcpListener, answers: Vec<Vec<u8>>) -> usize {
    let (mut stream, _) = listener.accept().await.unwrap();
    let count = answers.len();
    for (given, answer) in answers.into_iter().enumerate() {
        let Ok(length) = stream.read_u32().await else { return given };
        let mut request = vec![0; usize::try_from(length).unwrap()];
        stream.read_exact(&mut request).await.unwrap();
        let mut frame = answer;
        if let Some(at) = frame.windows(4).position(|window| window == CORRELATION) {
            frame[at..at + 4].copy_from_slice(&request[4..8]);
        }
        stream.write_all(&frame).await.unwrap();
    }
    count
}

const CORRELATION: &[u8] = b"CORR";

async fn open(answers: Vec<Vec<u8>>) -> Result<Connection, ConnectError> {
    let address = serve(answers).await;
    let mut config = ClientConfig::new(vec![address.clone()]);
    config.connect_timeout = Duration::from_secs(5);
    Connection::open(&Dialer::default(), Peer { address, id: None }, &config).await
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
    let version = connection.version::<MetadataRequest>();
    assert_eq!(version.unwrap(), 12);
    let missing = connection.version::<FetchRequest>();
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

/// The body of a response in the highest version that this client speaks, framed.
fn answer<R: Call>(response: &R::Response) -> Vec<u8> {
    let frame = encode_response(0, R::VERSIONS.1, response).unwrap();
    // The length, then the correlation number.
    let mut frame = frame.to_vec();
    frame[4..8].copy_from_slice(CORRELATION);
    frame
}

/// As a cluster of Kafka does: the controller answers first, the others hear of the topic later.
#[tokio::test]
async fn a_topic_is_created_when_it_has_leaders() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let metadata = |code: ErrorCode, leader: Option<i32>| {
        answer::<MetadataRequest>(&make(|response: &mut MetadataResponse| {
            response.controller_id = -1;
            response.topics = vec![make(|topic: &mut MetadataResponseTopic| {
                topic.name = Some("t".into());
                topic.error_code = code.to_wire();
                let partition =
                    |leader| make(|one: &mut MetadataResponsePartition| one.leader_id = leader);
                topic.partitions = leader.into_iter().map(partition).collect();
            })];
        }))
    };
    let versions = answer::<ApiVersionsRequest>(&make(|response: &mut ApiVersionsResponse| {
        let range = |(key, (from, to))| {
            make(|range: &mut ApiVersion| {
                (range.api_key, range.min_version, range.max_version) = (key, from, to);
            })
        };
        let served = [
            (MetadataRequest::KEY, MetadataRequest::VERSIONS),
            (CreateTopicsRequest::KEY, CreateTopicsRequest::VERSIONS),
        ];
        response.api_keys = served.into_iter().map(range).collect();
    }));
    let created = answer::<CreateTopicsRequest>(&make(|response: &mut CreateTopicsResponse| {
        response.topics = vec![make(|topic: &mut CreatableTopicResult| topic.name = "t".into())];
    }));
    let cluster = answer::<MetadataRequest>(&make(|response: &mut MetadataResponse| {
        response.controller_id = -1;
    }));
    let answers = vec![
        versions,
        cluster,
        created,
        metadata(ErrorCode::UnknownTopicOrPartition, None),
        metadata(ErrorCode::None, None),
        metadata(ErrorCode::None, Some(-1)),
        metadata(ErrorCode::None, Some(7)),
    ];
    let asked = tokio::spawn(play(listener, answers));
    let client = Client::new(ClientConfig::new(vec![address.to_string().parse().unwrap()]));
    let topic = NewTopic { name: "t".to_owned(), ..NewTopic::default() };
    Admin::new(client).create_topic(&topic, false).await.unwrap();
    assert_eq!(asked.await.unwrap(), 7, "it asked until there was a leader");
}
