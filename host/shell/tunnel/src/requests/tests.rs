//! What is found among requests, however they are cut into pieces.

use brooklet_wire::message::{
    ApiVersionsRequest, FetchRequest, MetadataRequest, ProduceRequest, encode_request, make,
};

use super::*;

/// Follows `bytes` in pieces of each of several sizes.
#[track_caller]
fn check(bytes: &[u8], expected: Result<&[(i16, i16, i32)], RequestsError>) {
    for size in [1, 2, 7, 64, usize::MAX] {
        let (mut requests, mut found) = (Requests::default(), Vec::new());
        let size = size.min(bytes.len());
        let outcome = bytes.chunks(size).try_for_each(|piece| requests.follow(piece, &mut found));
        let found: Vec<_> = found.iter().map(|it| (it.api, it.version, it.correlation)).collect();
        match &expected {
            Ok(expected) => {
                assert_eq!((found.as_slice(), &outcome), (*expected, &Ok(())), "{size}")
            }
            Err(error) => assert_eq!(outcome.as_ref(), Err(error), "pieces of {size}"),
        }
    }
}

fn produce(correlation: i32, version: i16, acks: i16, transaction: Option<&str>) -> Vec<u8> {
    let request = make(|it: &mut ProduceRequest| {
        it.acks = acks;
        it.transactional_id = transaction.map(Into::into);
    });
    encode_request(correlation, version, Some("client"), &request).unwrap().to_vec()
}

/// A frame that begins as a request does.
fn raw(api: i16, version: i16, rest: &[u8]) -> Vec<u8> {
    let length = i32::try_from(START_BYTES + rest.len()).unwrap();
    let start = [&api.to_be_bytes()[..], &version.to_be_bytes(), &[0, 0, 0, 9]].concat();
    [&length.to_be_bytes()[..], &start, rest].concat()
}

#[test]
fn every_request_is_found_but_those_that_nobody_answers() {
    let mut bytes = Vec::new();
    bytes.extend(encode_request(1, 4, None, &ApiVersionsRequest::default()).unwrap());
    bytes.extend(encode_request(2, 13, Some("client"), &MetadataRequest::default()).unwrap());
    bytes.extend(encode_request(3, 17, Some(""), &FetchRequest::default()).unwrap());
    for (at, version) in (3..=13).enumerate() {
        let at = 10 * i32::try_from(at + 1).unwrap();
        bytes.extend(produce(at, version, 0, None));
        bytes.extend(produce(at + 1, version, -1, None));
        bytes.extend(produce(at + 2, version, 0, Some(&"t".repeat(300))));
        bytes.extend(produce(at + 3, version, 1, Some("")));
    }
    // Of an API that nobody knows, with nothing behind its start.
    bytes.extend(raw(3000, 99, &[]));
    // A header with tagged fields, and version 2 of Produce, which has no transactional id.
    bytes.extend(raw(0, 9, &[0, 1, b'c', 2, 5, 1, 7, 6, 0, 0, 0, 0]));
    bytes.extend(raw(0, 9, &[0xff, 0xff, 1, 5, 2, 7, 7, 0, 0xff, 0xff]));
    bytes.extend(raw(0, 2, &[0xff, 0xff, 0, 1]));
    let mut expected = vec![(18, 4, 1), (3, 13, 2), (1, 17, 3)];
    for (at, version) in (3..=13).enumerate() {
        let at = 10 * i32::try_from(at + 1).unwrap();
        expected.extend([(0, version, at + 1), (0, version, at + 3)]);
    }
    expected.extend([(3000, 99, 9), (0, 9, 9), (0, 2, 9)]);
    check(&bytes, Ok(&expected));
}

#[test]
fn what_stands_before_a_refused_request_is_known_wherever_that_begins() {
    let good = raw(12, 4, &[0xff, 0xff, 0]);
    let bytes = [&good[..], &good, &[0xff; 6]].concat();
    for piece in 1..=bytes.len() {
        let (mut requests, mut found, mut passed) = (Requests::default(), Vec::new(), 0);
        for piece in bytes.chunks(piece) {
            if requests.follow(piece, &mut found).is_err() {
                passed += requests.before_refused();
                break;
            }
            passed += piece.len();
        }
        // Pieces of its length field may have passed already.
        let until = 2 * good.len()..2 * good.len() + size_of::<i32>();
        assert!(until.contains(&passed), "{passed} in pieces of {piece}");
        assert_eq!(found.len(), 2);
    }
}

#[test]
fn what_cannot_be_followed_is_refused_and_named() {
    let length = |claimed: i32| {
        let error = RequestsError::Length { claimed };
        check(&claimed.to_be_bytes(), Err(error));
    };
    for claimed in [-1, 0, 7, i32::MIN, i32::MAX, (100 << 20) + 1] {
        length(claimed);
    }
    let http = i32::from_be_bytes(*b"GET ");
    check(b"GET / HTTP/1.1\r\n\r\n", Err(RequestsError::Length { claimed: http }));
    check(&raw(17, 0, &[]), Err(RequestsError::OldSasl));
    check(&raw(17, 1, &[0xff, 0xff]), Ok(&[(17, 1, 9)]));
    for (api, known) in [
        (Api::Metadata, 13),
        (Api::FindCoordinator, 6),
        (Api::DescribeCluster, 2),
        (Api::Produce, 13),
        (Api::Fetch, 18),
    ] {
        let version = known + 1;
        let error = RequestsError::Version { api, version, known };
        check(&raw(api.key(), version, &[]), Err(error));
    }
    // Too short for acks, and with lengths that lead behind its end.
    for rest in [&[][..], &[0xff, 0xff, 0], &[0x7f, 0xff, 0], &[0xff, 0xff, 0, 0x90, 0x4e, 0]] {
        check(&raw(0, 9, rest), Err(RequestsError::Head { version: 9 }));
    }
    // A head that goes on and on is given up long before the request is over.
    let mut endless = raw(0, 9, &[0xff, 0xff, 1, 5, 0xff, 0xff, 0xff, 0x01]);
    endless[..4].copy_from_slice(&(90_i32 << 20).to_be_bytes());
    endless.resize(2 * HEAD_BYTES_MAX, 0);
    let (mut requests, mut found) = (Requests::default(), Vec::new());
    let outcome = requests.follow(&endless, &mut found);
    assert_eq!(outcome, Err(RequestsError::Head { version: 9 }));
    assert!(requests.head.capacity() <= 2 * HEAD_BYTES_MAX);
}
