//! What a leader tells, over the wire, as its follower hears it.

use brooklet_io::DataFolder;
use brooklet_shard::FetchId;
use brooklet_shard::output::EpochEnd;
use brooklet_types::{PartitionIndex, TopicId};
use brooklet_wire::fetch as wire_fetch;
use brooklet_wire::message::decode_response;
use brooklet_wire::version::Api;

use super::*;

fn partition(topic: u8, partition: u32) -> TopicPartition {
    TopicPartition { topic: TopicId([topic; 16]), partition: PartitionIndex(partition) }
}

fn copy(partition: TopicPartition, fetch: u64) -> CopyFetch {
    CopyFetch {
        partition,
        fetch: FetchId(fetch),
        leader_epoch: LeaderEpoch(7),
        offset: Offset::new(100),
        last_epoch: Some(LeaderEpoch(6)),
        log_start: Offset::new(3),
        high_watermark: Offset::new(90),
    }
}

fn nothing() -> Fetched<DataFolder> {
    let (error, high_watermark, log_start, diverging, plan) = (None, None, None, None, None);
    Fetched { error, high_watermark, log_start, diverging, plan, nearer: None }
}

fn served(high_watermark: u64) -> Fetched<DataFolder> {
    let high_watermark = Some(Offset::new(high_watermark));
    Fetched { high_watermark, log_start: Some(Offset::new(3)), ..nothing() }
}

fn end(epoch: u32, end: u64) -> Option<EpochEnd> {
    Some(EpochEnd { epoch: Some(LeaderEpoch(epoch)), end: Some(Offset::new(end)) })
}

/// A response as its follower gets it.
fn carried(told: Vec<Told>) -> FetchResponse {
    let (_, version) = Api::Fetch.versions();
    let (response, pieces) = answer(told);
    let frame = wire_fetch::encode(1, version, &response, pieces).unwrap().concat();
    decode_response(Bytes::from(frame).slice(4..), version).unwrap().1
}

fn said(answers: &[CopyAnswer]) -> Vec<String> {
    let said = answers.iter().map(|it| format!("{} {:?}", it.fetch.0, it.found));
    said.collect()
}

#[test]
fn what_is_found_is_what_is_heard_of_each_in_the_order_asked() {
    let asked: Vec<CopyFetch> = [(1, 0), (1, 1), (2, 0), (1, 2), (1, 3), (2, 7)]
        .into_iter()
        .zip(10..)
        .map(|((topic, index), fetch)| copy(partition(topic, index), fetch))
        .collect();
    let diverging = Fetched { diverging: end(5, 80), ..served(90) };
    let log_start = Some(Offset::new(120));
    let out_of_range = Fetched {
        error: Some(ErrorCode::OffsetOutOfRange),
        diverging: end(7, 200),
        log_start,
        ..nothing()
    };
    let records = vec![Bytes::from_static(b"bat"), Bytes::from_static(b"ches")];
    let told = vec![
        Told::new(partition(1, 2), &out_of_range),
        Told::new(partition(1, 0), &served(95)).with(records),
        Told::refused(partition(1, 3), ErrorCode::KafkaStorageError),
        Told::new(partition(2, 0), &diverging),
        Told::new(partition(1, 1), &served(0)),
        Told::new(partition(9, 9), &served(0)),
    ];
    let answers = answered(&asked, carried(told)).unwrap();
    let expected = [
        "10 Served { high_watermark: 95, log_start: 3, records: b\"batches\" }",
        "11 Served { high_watermark: 0, log_start: 3, records: b\"\" }",
        "12 Diverging { epoch: LeaderEpoch(5), end: 80 }",
        "13 OutOfRange { log_start: 120, log_end: 200 }",
        "14 Refused(KafkaStorageError)",
        "15 Lost",
    ];
    assert_eq!(said(&answers), expected);
    assert!(answers.iter().zip(&asked).all(|(answer, asked)| answer.partition == asked.partition));
}

#[test]
fn an_offset_out_of_range_without_the_logs_end_is_a_refusal() {
    let asked = [copy(partition(1, 0), 10)];
    let fetched = Fetched { error: Some(ErrorCode::OffsetOutOfRange), ..served(90) };
    let answers = answered(&asked, carried(vec![Told::new(partition(1, 0), &fetched)])).unwrap();
    assert_eq!(said(&answers), ["10 Refused(OffsetOutOfRange)"]);
}

#[test]
fn a_response_that_refuses_all_refuses_each() {
    let asked = [copy(partition(1, 0), 10), copy(partition(1, 1), 11)];
    let answers = answered(&asked, refuse(ErrorCode::InvalidRequest)).unwrap();
    assert_eq!(said(&answers), ["10 Refused(InvalidRequest)", "11 Refused(InvalidRequest)"]);
    assert_eq!(said(&lost(&asked)), ["10 Lost", "11 Lost"]);
    assert_eq!(said(&answered(&asked, FetchResponse::default()).unwrap()), ["10 Lost", "11 Lost"]);
}

type Spoil = fn(&mut FetchResponse);

#[test]
fn a_response_that_means_nothing_is_not_believed() {
    let table: &[(Spoil, Malformed)] = &[
        (|it| it.error_code = 999, Malformed::Code(999)),
        (|it| it.responses[0].topic_id = Uuid::ZERO, Malformed::Missing { field: "topic_id" }),
        (|it| part(it).partition_index = -1, number("partition_index", -1)),
        (|it| part(it).error_code = i16::MIN, Malformed::Code(i16::MIN)),
        (|it| part(it).high_watermark = -1, number("high_watermark", -1)),
        (|it| part(it).log_start_offset = -7, number("log_start_offset", -7)),
        (|it| part(it).diverging_epoch.epoch = 3, number("diverging_epoch.end_offset", -1)),
        (|it| part(it).diverging_epoch.end_offset = 3, number("diverging_epoch.epoch", -1)),
        (
            |it| {
                let again = part(it).clone();
                it.responses[0].partitions.push(again);
            },
            Malformed::Repeated { field: "partition", count: 2 },
        ),
    ];
    let asked = [copy(partition(1, 0), 10), copy(partition(1, 1), 11)];
    let told: Vec<Told> =
        asked.iter().map(|asked| Told::new(asked.partition, &served(90))).collect();
    for (spoil, malformed) in table {
        let mut response = carried(told.clone());
        spoil(&mut response);
        assert_eq!(answered(&asked, response).unwrap_err(), malformed.clone());
    }
}

#[test]
fn a_log_without_a_start_is_not_out_of_range_of_anything() {
    let asked = [copy(partition(1, 0), 10)];
    let error = Some(ErrorCode::OffsetOutOfRange);
    let fetched = Fetched { error, diverging: end(7, 200), ..nothing() };
    let response = carried(vec![Told::new(partition(1, 0), &fetched)]);
    assert_eq!(answered(&asked, response).unwrap_err(), number("log_start_offset", -1));
}

fn part(response: &mut FetchResponse) -> &mut PartitionData {
    &mut response.responses[0].partitions[1]
}
