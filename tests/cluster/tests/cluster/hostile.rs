//! Bytes that no client sends: everyone else goes on, and memory stays where it was.

use std::net::SocketAddr;
use std::time::Instant;

use brooklet_cluster::raw::PATIENCE;
use brooklet_cluster::{Broker, Raw};
use brooklet_wire::message::ApiVersionsRequest;

/// Announced by fifty peers, of which each sends a little.
const LARGE_FRAME_BYTES: i32 = 99 << 20;

fn is_alive(address: SocketAddr) {
    let mut raw = Raw::connect(address).unwrap();
    let answer = raw.ask(0, &ApiVersionsRequest::default()).unwrap();
    assert_eq!(answer.error_code, 0);
}

/// Resident memory of a process, in MiB.
pub(crate) fn resident_mib(id: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

/// A generator that is the same in every run (Marsaglia's xorshift).
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn random_bytes_end_only_their_own_connection() {
    let broker = Broker::start();
    let before = resident_mib(broker.id());
    let mut state = 88_172_645_463_325_252;
    for round in 0..300 {
        let mut raw = Raw::connect(broker.address()).unwrap();
        let length = random(&mut state) % 2000;
        let bytes: Vec<u8> = (0..length).map(|_| random(&mut state).to_le_bytes()[0]).collect();
        // Every other time as a well-formed frame, so that what is inside is looked at. A broker
        // that has already hung up is an answer too.
        let _ = if round % 2 == 0 { raw.send(&bytes) } else { raw.send_frame(&bytes) };
    }
    is_alive(broker.address());
    let after = resident_mib(broker.id());
    assert!(after < before + 64, "{before} MiB before, {after} MiB after");
    assert!(broker.stop().success());
}

#[test]
fn lengths_that_no_frame_can_have_end_the_connection() {
    let broker = Broker::start();
    for length in [-1, i32::MIN, i32::MAX, (100 << 20) + 1] {
        let mut raw = Raw::connect(broker.address()).unwrap();
        raw.send(&length.to_be_bytes()).unwrap();
        assert!(raw.is_closed(), "{length}");
    }
    is_alive(broker.address());
    assert!(broker.stop().success());
}

#[test]
fn an_array_that_announces_four_billion_topics_is_refused() {
    let broker = Broker::start();
    let mut raw = Raw::connect(broker.address()).unwrap();
    // Metadata 9: header with correlation 1, no client id, no tagged fields; then the length.
    let header = [0, 3, 0, 9, 0, 0, 0, 1, 0xff, 0xff, 0];
    raw.send_frame(&[&header[..], &[0xff, 0xff, 0xff, 0xff, 0x0f]].concat()).unwrap();
    assert!(raw.is_closed());
    is_alive(broker.address());
    assert!(resident_mib(broker.id()) < 200);
    assert!(broker.stop().success());
}

#[test]
fn unknown_requests_end_the_connection() {
    let broker = Broker::start();
    // An API nobody has, one we do not serve, and a Fetch from the future.
    for (api, version) in [(999i16, 0i16), (4, 0), (1, 99)] {
        let mut raw = Raw::connect(broker.address()).unwrap();
        let mut frame = [api.to_be_bytes(), version.to_be_bytes()].concat();
        frame.extend([0, 0, 0, 1, 0xff, 0xff, 0, 0, 0]);
        raw.send_frame(&frame).unwrap();
        assert!(raw.is_closed(), "api {api} version {version}");
    }
    assert!(broker.stop().success());
}

#[test]
fn fifty_peers_with_half_a_large_frame_stop_nobody() {
    let broker = Broker::start();
    let before = resident_mib(broker.id());
    let mut halves = Vec::new();
    for _ in 0..50 {
        let mut raw = Raw::connect(broker.address()).unwrap();
        raw.send(&LARGE_FRAME_BYTES.to_be_bytes()).unwrap();
        raw.send(&vec![0; 64 << 10]).unwrap();
        halves.push(raw);
    }
    let began = Instant::now();
    let mut raw = Raw::connect(broker.address()).unwrap();
    raw.create_topic("others", 1);
    for offset in 0..20 {
        assert_eq!(raw.produce("others", 0, b"goes on"), Ok(offset));
    }
    assert!(began.elapsed() < PATIENCE / 2, "it took {:?}", began.elapsed());
    let after = resident_mib(broker.id());
    assert!(after < before + 100, "{before} MiB before, {after} MiB after");
    assert!(broker.stop().success());
}

#[test]
fn ten_thousand_pipelined_requests_are_answered_in_order() {
    const REQUESTS: i32 = 10_000;
    let broker = Broker::start();
    let mut reader = Raw::connect(broker.address()).unwrap();
    let mut frames = Vec::new();
    for correlation in 0..REQUESTS {
        frames.extend(10i32.to_be_bytes());
        frames.extend([0, 18, 0, 0]);
        frames.extend(correlation.to_be_bytes());
        frames.extend([0xff, 0xff]);
    }
    // Written by another thread, because a broker that pushes back would block us.
    let mut writer = reader.try_clone().unwrap();
    let writing = std::thread::spawn(move || writer.send(&frames));
    for correlation in 0..REQUESTS {
        let reply = reader.receive().unwrap();
        assert_eq!(reply[..4], correlation.to_be_bytes());
    }
    writing.join().unwrap().unwrap();
    assert!(broker.stop().success());
}

#[test]
fn ten_thousand_idle_connections_fit_into_300_mib() {
    let broker = Broker::start();
    let mut idle = Vec::new();
    for number in 0..10_000 {
        match Raw::connect(broker.address()) {
            Ok(raw) => idle.push(raw),
            // The test's own limit of open files; what there is has been shown.
            Err(error) if number >= 900 => {
                eprintln!("{number} connections, then {error}");
                break;
            }
            Err(error) => panic!("{number} connections, then {error}"),
        }
    }
    for raw in idle.iter_mut().step_by(1000) {
        raw.ask(0, &ApiVersionsRequest::default()).unwrap();
    }
    is_alive(broker.address());
    let resident = resident_mib(broker.id());
    assert!(resident < 300, "{resident} MiB for {} connections", idle.len());
    assert!(broker.stop().success());
}
