//! What becomes of answers, asked for or not.

use brooklet_wire::message::{
    HeartbeatResponse, MetadataResponse, encode_response, make, metadata_response as wire,
};

use super::*;
use crate::rewrite::tests::doors;

const METADATA: i16 = 3;
const HEARTBEAT: i16 = 12;

fn expected(api: i16, version: i16, correlation: i32) -> Expected {
    Expected { api, version, correlation }
}

/// Carries `bytes` through in pieces; what came out, and how it ended.
fn carry(bytes: &[u8], piece: usize, asked: &[Expected]) -> (Vec<u8>, Result<(), AnswersError>) {
    let (mut answers, mut out) = (Answers::default(), BytesMut::new());
    let mut asked = asked.iter().copied();
    let outcome = bytes
        .chunks(piece)
        .try_for_each(|piece| answers.take(piece, || asked.next(), &mut doors, &mut out));
    (out.to_vec(), outcome)
}

#[test]
fn answers_pass_in_order_and_those_with_addresses_are_rewritten() {
    let heartbeat = encode_response(1, 4, &HeartbeatResponse::default()).unwrap();
    let metadata = |host: &str, port| {
        let answer = make(|it: &mut MetadataResponse| {
            it.brokers.push(make(|it: &mut wire::MetadataResponseBroker| {
                (it.node_id, it.host, it.port) = (4, host.into(), port);
            }));
        });
        encode_response(2, 9, &answer).unwrap()
    };
    // An API that is not known, whose answer is nothing but its correlation id.
    let empty = [0, 0, 0, 4, 0, 0, 0, 3];
    let before = [&heartbeat[..], &metadata("four.example", 9092), &empty, &heartbeat].concat();
    let after = [&heartbeat[..], &metadata("127.0.0.1", 20_004), &empty, &heartbeat].concat();
    let asked = [
        expected(HEARTBEAT, 4, 1),
        expected(METADATA, 9, 2),
        expected(3000, 0, 3),
        expected(HEARTBEAT, 4, 1),
    ];
    for piece in [1, 2, 5, 11, before.len()] {
        let (out, outcome) = carry(&before, piece, &asked);
        outcome.unwrap();
        assert_eq!(out, after, "pieces of {piece}");
    }
}

#[test]
fn what_was_not_asked_for_ends_the_connection_and_what_came_before_it_is_passed_on() {
    let good = encode_response(1, 4, &HeartbeatResponse::default()).unwrap();
    let asked = expected(HEARTBEAT, 4, 1);
    let table: [(&[u8], &[Expected], &str); 4] = [
        (&good, &[asked], "answer 1 to nothing"),
        (&good, &[asked, expected(HEARTBEAT, 4, 2)], "answer 1 where 2 is due"),
        (&[0xff, 0, 0, 0, 0, 0, 0, 1], &[asked, asked], "answer of -16777216 bytes"),
        (&[0, 0, 0, 3, 0, 0, 0, 1], &[asked, asked], "answer of 3 bytes"),
    ];
    for (bad, asked, reason) in table {
        let (out, outcome) = carry(&[&good, bad].concat(), 5, asked);
        assert_eq!(outcome.unwrap_err().to_string(), reason);
        assert_eq!(out, good);
    }
}

#[test]
fn an_answer_that_would_be_too_much_to_keep_is_refused_by_its_length() {
    let start = [&(17_i32 << 20).to_be_bytes()[..], &[0, 0, 0, 2]].concat();
    let (out, outcome) = carry(&start, 3, &[expected(METADATA, 9, 2)]);
    let reason =
        "17825788 bytes of an answer to API 3 would have to be rewritten, the limit is 16777216";
    assert_eq!(outcome.unwrap_err().to_string(), reason);
    assert!(out.is_empty());
    // Of a Fetch answer it is only the end that counts, here of one without topics.
    let head = [&(17_i32 << 20).to_be_bytes()[..], &[0, 0, 0, 2], &[0; 11], &[1]].concat();
    let (_, outcome) = carry(&head, 3, &[expected(1, 17, 2)]);
    let error = outcome.unwrap_err().to_string();
    assert!(error.contains("of an answer to API 1 would have to be rewritten"), "{error}");
    // Every other answer passes, however long.
    let (out, outcome) = carry(&start, 3, &[expected(HEARTBEAT, 4, 2)]);
    outcome.unwrap();
    assert_eq!(out, start);
}

#[test]
fn an_answer_that_is_malformed_is_not_passed_on() {
    let bad = [0, 0, 0, 8, 0, 0, 0, 2, 1, 2, 3, 4];
    let (out, outcome) = carry(&bad, 4, &[expected(METADATA, 9, 2)]);
    let error = outcome.unwrap_err().to_string();
    assert!(error.starts_with("rewrite: malformed MetadataResponse v9"), "{error}");
    assert!(out.is_empty());
}
