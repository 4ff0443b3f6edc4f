//! Brokers that say what they are told to, over TCP: a cluster of several, and one that never stops.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::net::TcpListener;

use super::*;

/// Who is in the cluster: numbers and ports, as all of its brokers say.
type Members = Arc<Mutex<Vec<(i32, u16)>>>;

/// Serves Metadata, FindCoordinator, and, as an answer to Heartbeat, its own number.
async fn member(id: i32, members: &Members) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let members = Arc::clone(members);
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let members = Arc::clone(&members);
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u32().await {
                    let mut request = vec![0; length as usize];
                    stream.read_exact(&mut request).await.unwrap();
                    let frame = answer(id, &request, &members.lock().unwrap());
                    stream.write_all(&frame).await.unwrap();
                }
            });
        }
    });
    port
}

fn answer(id: i32, request: &[u8], members: &[(i32, u16)]) -> Bytes {
    let api = i16::from_be_bytes([request[0], request[1]]);
    let version = i16::from_be_bytes([request[2], request[3]]);
    let correlation = i32::from_be_bytes(request[4..8].try_into().unwrap());
    let encoded = match api {
        3 => encode_response(
            correlation,
            version,
            &make(|it: &mut MetadataResponse| {
                it.brokers.extend(members.iter().map(|(id, port)| {
                    make(|it: &mut metadata_response::MetadataResponseBroker| {
                        (it.node_id, it.host, it.port) = (*id, "localhost".into(), (*port).into());
                    })
                }));
            }),
        ),
        10 => encode_response(
            correlation,
            version,
            &make(|it: &mut FindCoordinatorResponse| {
                let (id, port) = *members.last().unwrap();
                (it.node_id, it.host, it.port) = (id, "localhost".into(), port.into());
            }),
        ),
        18 => encode_response(
            correlation,
            version,
            &make(|it: &mut ApiVersionsResponse| {
                it.api_keys = vec![make(|it: &mut api_versions_response::ApiVersion| {
                    (it.api_key, it.max_version) = (3, 12);
                })];
            }),
        ),
        12 => {
            let said = make(|it: &mut HeartbeatResponse| it.throttle_time_ms = id);
            encode_response(correlation, version, &said)
        }
        api => panic!("nobody asks for {api}"),
    };
    encoded.unwrap()
}

/// The broker that a door leads to.
async fn behind(port: i32) -> i32 {
    let port = u16::try_from(port).unwrap();
    let mut client = Raw::connect(SocketAddr::new([127, 0, 0, 1].into(), port)).await;
    let said: HeartbeatResponse = client.ask(4, &HeartbeatRequest::default()).await;
    said.throttle_time_ms
}

fn ports(metadata: &MetadataResponse) -> Vec<(i32, i32)> {
    metadata.brokers.iter().map(|it| (it.node_id, it.port)).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn each_broker_of_a_cluster_has_a_door_that_stays_its_own_when_it_moves() {
    let members = Members::default();
    let (one, two) = (member(1, &members).await, member(2, &members).await);
    *members.lock().unwrap() = vec![(1, one), (2, two)];
    let tunnel = tunnel(&format!("tcp://localhost:{one}")).await;
    // The first is the one that we were told to reach; both were known at the start.
    assert_eq!(tunnel.ready.doors.len(), 2);
    let mut client = Raw::connect(tunnel.ready.doors[0]).await;
    let doors = ports(&client.metadata("flights").await);
    let expected = [0, 1].map(|at| i32::from(tunnel.ready.doors[at].port()));
    assert_eq!(doors, [(1, expected[0]), (2, expected[1])]);
    assert_eq!((behind(doors[0].1).await, behind(doors[1].1).await), (1, 2));

    // A third is heard of from a coordinator, and found in metadata from another door.
    let three = member(3, &members).await;
    members.lock().unwrap().push((3, three));
    let found: FindCoordinatorResponse = client.ask(3, &FindCoordinatorRequest::default()).await;
    assert_eq!((found.node_id, behind(found.port).await), (3, 3));
    assert!(doors.iter().all(|(_, port)| *port != found.port));
    let mut other = Raw::connect(tunnel.ready.doors[1]).await;
    assert_eq!(ports(&other.metadata("flights").await)[2], (3, found.port));

    // The second is somewhere else by now, and its place is the fourth's.
    let moved = member(22, &members).await;
    *members.lock().unwrap() = vec![(1, one), (2, moved), (4, two)];
    let later = ports(&client.metadata("flights").await);
    assert_eq!(later[..2], doors[..2]);
    assert_eq!((behind(later[1].1).await, behind(later[2].1).await), (22, 2));
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_beginnings_the_first_that_answers_is_taken_and_each_broker_has_its_own_door() {
    let members = Members::default();
    let one = member(1, &members).await;
    *members.lock().unwrap() = vec![(1, one)];
    let nobody = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let to = [format!("tcp://{nobody}"), format!("tcp://localhost:{one}")];
    let tunnel = tunnel_as(&[&to[0], &to[1]], TlsConfig::default()).await;
    let [begin, door] = tunnel.ready.doors[..] else { panic!("{:?}", tunnel.ready) };
    let metadata = Raw::connect(begin).await.metadata("flights").await;
    assert_eq!(ports(&metadata), [(1, i32::from(door.port()))]);
    assert_eq!(behind(begin.port().into()).await, 1);
    tunnel.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_that_does_not_read_holds_up_its_broker_and_costs_no_memory() {
    /// What sockets of two connections and the tunnel's buffers may take, by far.
    const HELD_MAX: usize = 64 << 20;
    const ANSWER: usize = 128 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let written = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&written);
    tokio::spawn(async move {
        loop {
            // One that asks first who is there is not answered.
            let (mut stream, _) = listener.accept().await.unwrap();
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let mut request = vec![0; stream.read_u32().await.unwrap() as usize];
                stream.read_exact(&mut request).await.unwrap();
                if request[1] != 12 {
                    return;
                }
                let start = [&(ANSWER as u32).to_be_bytes()[..], &request[4..8]].concat();
                stream.write_all(&start).await.unwrap();
                let mut left = ANSWER - 4;
                while left > 0 {
                    let piece = vec![7; left.min(64 << 10)];
                    stream.write_all(&piece).await.unwrap();
                    left -= piece.len();
                    count.fetch_add(piece.len(), Ordering::SeqCst);
                }
            });
        }
    });
    let tunnel = tunnel(&format!("tcp://localhost:{port}")).await;
    let mut client = Raw::connect(tunnel.ready.doors[0]).await;
    let request = HeartbeatRequest::default();
    client.send(&encode_request(3, 4, None, &request).unwrap()).await;
    // Until nothing more is written for a while.
    let settled = async {
        let mut last = (usize::MAX, 0);
        while last.1 < 5 {
            tokio::time::sleep(Duration::from_millis(100)).await; // polls
            let now = written.load(Ordering::SeqCst);
            last = if now == last.0 && now > 0 { (now, last.1 + 1) } else { (now, 0) };
        }
        last.0
    };
    let held = soon(settled).await;
    assert!(held < HELD_MAX, "{held} bytes were taken for a client that reads none");
    assert_eq!(client.receive().await.len(), ANSWER);
    tunnel.stop().await;
}
