//! Fetch answers, walked in pieces of every size.

use brooklet_wire::message::{fetch_response as wire, make};
use proptest::prelude::*;

use super::*;
use crate::answers::Answers;
use crate::requests::Expected;
use crate::rewrite::tests::doors;

/// Carries a whole frame through in pieces.
fn carry(frame: &[u8], version: i16, piece: usize) -> Bytes {
    let (mut answers, mut out) = (Answers::default(), BytesMut::new());
    let asked = Expected { api: Api::Fetch.key(), version, correlation: 9 };
    let mut asked = Some(asked);
    for piece in frame.chunks(piece) {
        answers.take(piece, || asked.take(), &mut doors, &mut out).unwrap();
    }
    assert!(!answers.is_within());
    out.freeze()
}

fn answer(topics: &[Vec<(usize, usize, bool)>], hosts: &[usize]) -> FetchResponse {
    make(|it: &mut FetchResponse| {
        (it.throttle_time_ms, it.session_id) = (5, 77);
        for partitions in topics {
            it.responses.push(make(|it: &mut wire::FetchableTopicResponse| {
                for (index, &(records, aborted, elsewhere)) in (0..).zip(partitions) {
                    it.partitions.push(partition(index, records, aborted, elsewhere));
                }
            }));
        }
        for (id, &length) in (1..).zip(hosts) {
            it.node_endpoints.push(make(|it: &mut wire::NodeEndpoint| {
                (it.node_id, it.host, it.port) = (id, "h".repeat(length).as_str().into(), 9092);
            }));
        }
    })
}

/// The number of records' bytes less one, none for zero; the same with aborted transactions; and with a leader elsewhere.
fn partition(index: i32, records: usize, aborted: usize, elsewhere: bool) -> wire::PartitionData {
    make(|it: &mut wire::PartitionData| {
        (it.partition_index, it.high_watermark) = (index, 70);
        it.records = records.checked_sub(1).map(|bytes| Bytes::from(vec![0xff; bytes]));
        it.aborted_transactions = aborted
            .checked_sub(1)
            .map(|count| vec![make(|it: &mut wire::AbortedTransaction| it.producer_id = 3); count]);
        if elsewhere {
            (it.error_code, it.current_leader.leader_id) = (6, 2);
            it.diverging_epoch.end_offset = 9;
        }
    })
}

/// Without what fills, and without addresses, which have been compared.
fn rest(mut answer: FetchResponse) -> FetchResponse {
    answer.node_endpoints.clear();
    answer.unknown_tagged_fields = Default::default();
    answer
}

fn check(answer: &FetchResponse, version: i16, piece: usize, kept: bool) {
    let frame = encode_response(9, version, answer).unwrap();
    let out = carry(&frame, version, piece);
    assert_eq!(out.len(), frame.len(), "its length had left already");
    let (correlation, found) = decode_response::<FetchResponse>(out.slice(4..), version).unwrap();
    assert_eq!(correlation, 9);
    let expected = answer.node_endpoints.iter().map(|it| (it.node_id, 20_000 + it.node_id));
    let expected: Vec<_> = if kept { expected.collect() } else { Vec::new() };
    let nodes: Vec<_> = found.node_endpoints.iter().map(|it| (it.node_id, it.port)).collect();
    assert_eq!(nodes, expected);
    assert!(found.node_endpoints.iter().all(|it| it.host.as_ref() as &str == "127.0.0.1"));
    assert_eq!(rest(found), rest(answer.clone()));
}

#[test]
fn an_answer_without_addresses_passes_byte_for_byte() {
    let topics =
        [vec![(0, 0, false), (1, 1, true), (70_000, 3, false)], vec![], vec![(2, 0, true)]];
    for version in 4..=18 {
        let mut answer = answer(&topics, &[]);
        answer.session_id = if version < 7 { 0 } else { 77 };
        for partition in answer.responses.iter_mut().flat_map(|it| &mut it.partitions) {
            if version < 12 {
                *partition = self::partition(partition.partition_index, 100, 2, false);
            }
        }
        let frame = encode_response(9, version, &answer).unwrap();
        for piece in [1, 3, 1000, frame.len()] {
            assert_eq!(carry(&frame, version, piece), frame, "{version} in pieces of {piece}");
        }
    }
}

#[test]
fn addresses_become_doors_where_they_fit_and_are_left_out_where_not() {
    let topics = [vec![(500, 0, false), (0, 0, true)]];
    for version in 16..=18 {
        // "127.0.0.1" has nine bytes. One byte less than that had cannot be filled.
        for length in (1..=400).chain(16_380..16_420) {
            let kept = length == 9 || length > 10;
            check(&answer(&topics, &[length]), version, 64, kept);
        }
        check(&answer(&topics, &[1, 30, 9]), version, 7, true);
    }
}

#[test]
fn unknown_fields_stay_and_where_nothing_fits_the_answer_ends() {
    let tail = |tag: u8, host: &[u8]| {
        let node =
            [&[0, 0, 0, 1][..], &[host.len() as u8 + 1], host, &[0, 0, 35, 132, 0, 0]].concat();
        let nodes = [&[2][..], &node].concat();
        let head = [2, 0, nodes.len() as u8];
        Bytes::from([&head[..], &nodes, &[tag, 1, 0xaa]].concat())
    };
    let read = |tail: &Bytes| {
        let head = [&[0; HEAD_BYTES][..], &[1], tail].concat();
        let (_, answer) = decode_response::<FetchResponse>(head.into(), 16).unwrap();
        let unknown: Vec<u32> = answer.unknown_tagged_fields.iter().map(|it| it.tag()).collect();
        (answer.node_endpoints.len(), unknown)
    };
    let rewritten = rewrite_tail(tail(5, b"one.example.org"), 16, &mut doors).unwrap();
    assert_eq!(read(&rewritten), (1, vec![5, 120]));
    // Behind a field of 125, it is filled by the next one.
    let rewritten = rewrite_tail(tail(125, b"one.example.org"), 16, &mut doors).unwrap();
    assert_eq!(read(&rewritten), (1, vec![125, 16_000]));
    let rewritten = rewrite_tail(tail(5, b"a"), 16, &mut doors).unwrap();
    assert_eq!(read(&rewritten), (0, vec![5, 120]));
    for length in 0..tail(5, b"a").len() {
        assert!(rewrite_tail(tail(5, b"a").slice(..length), 16, &mut doors).is_err(), "{length}");
    }
}

#[test]
fn a_walk_keeps_nothing_whatever_counts_say() {
    // Two thousand million topics of as many partitions.
    let head = [&[0; 11][..], &[0xff, 0xff, 0xff, 0xff, 0x07]].concat();
    let mut walk = Walk::new();
    assert_eq!(walk.pass(&head), Ok(head.len()));
    for _ in 0..1000 {
        assert_eq!(walk.pass(&[0; 1000]), Ok(1000));
    }
    assert!(!walk.has_arrived());
    assert_eq!(Walk::new().pass(&[0xff; 10]), Err(WalkError));
}

proptest! {
    #[test]
    fn every_answer_arrives_as_it_was_in_pieces_of_any_size(
        topics in prop::collection::vec(
            prop::collection::vec((0_usize..300, 0_usize..4, any::<bool>()), 0..5), 0..5),
        hosts in prop::collection::vec(12_usize..60, 0..4),
        version in 16_i16..=18,
        piece in 1_usize..200,
    ) {
        check(&answer(&topics, &hosts), version, piece, true);
    }

    #[test]
    fn no_bytes_make_a_walk_panic(bytes in prop::collection::vec(any::<u8>(), 0..500)) {
        let mut walk = Walk::new();
        if let Ok(passed) = walk.pass(&bytes) {
            prop_assert!(passed == bytes.len() || walk.has_arrived());
        }
        let _ = rewrite_tail(bytes.into(), 17, &mut doors);
    }
}
