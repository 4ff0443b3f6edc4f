//! What is in the data folder survives us, and what is damaged there is found.

use std::fs;
use std::path::{Path, PathBuf};

use brooklet_cluster::{Broker, Raw};
use brooklet_wire::batch;
use brooklet_wire::message::{FetchRequest, FetchResponse, StrBytes, fetch_request, make};

const TOPIC: &str = "kept";

/// Everything that can be read of the topic's one partition, and the error that ended it.
fn read_all(raw: &mut Raw) -> (Vec<(u64, Vec<u8>)>, i16) {
    let mut records = Vec::new();
    loop {
        let next = records.last().map_or(0, |(offset, _): &(u64, _)| *offset as i64 + 1);
        let request = make(|request: &mut FetchRequest| {
            request.max_wait_ms = 0;
            request.max_bytes = 1 << 20;
            request.topics = vec![make(|topic: &mut fetch_request::FetchTopic| {
                topic.topic = StrBytes::from(TOPIC);
                topic.partitions = vec![make(|partition: &mut fetch_request::FetchPartition| {
                    partition.fetch_offset = next;
                    partition.partition_max_bytes = 1 << 20;
                })];
            })];
        });
        let response: FetchResponse = raw.ask(11, &request).unwrap();
        let partition = &response.responses[0].partitions[0];
        let bytes = partition.records.clone().unwrap_or_default();
        let before = records.len();
        for one in batch::split(&bytes) {
            let (_, bytes) = one.unwrap();
            batch::check_crc(bytes).unwrap();
            for record in batch::records(bytes).unwrap().iter() {
                let record = record.unwrap();
                records.push((record.offset.value(), record.value.unwrap().to_vec()));
            }
        }
        if partition.error_code != 0 || records.len() == before {
            return (records, partition.error_code);
        }
    }
}

fn value(number: i64) -> Vec<u8> {
    format!("record {number} {}", "x".repeat(200)).into_bytes()
}

fn fill(broker: &Broker, count: i64) {
    let mut raw = Raw::connect(broker.address()).unwrap();
    raw.create_topic(TOPIC, 1);
    for number in 0..count {
        assert_eq!(raw.produce(TOPIC, 0, &value(number)), Ok(number));
    }
}

fn segment(data: &Path) -> PathBuf {
    data.join(format!("topics/{TOPIC}-0/00000000000000000000.log"))
}

#[test]
fn acknowledged_records_survive_kills() {
    let data = tempfile::tempdir().unwrap();
    let mut stored = 0;
    for _ in 0..5 {
        let broker = Broker::builder().data(data.path()).start();
        let mut raw = Raw::connect(broker.address()).unwrap();
        raw.create_topic(TOPIC, 1);
        for _ in 0..50 {
            assert_eq!(raw.produce(TOPIC, 0, &value(stored)), Ok(stored));
            stored += 1;
        }
        broker.kill();
    }
    let broker = Broker::builder().data(data.path()).start();
    let (records, error) = read_all(&mut Raw::connect(broker.address()).unwrap());
    assert_eq!((records.len() as i64, error), (stored, 0));
    for (number, (offset, stored)) in records.iter().enumerate() {
        assert_eq!((*offset, stored), (number as u64, &value(number as i64)));
    }
    assert!(broker.stop().success());
}

#[test]
fn a_clean_stop_leaves_no_padding() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).start();
    fill(&broker, 10);
    assert!(broker.stop().success());
    let bytes = fs::read(segment(data.path())).unwrap();
    let batches: Vec<_> = batch::split(&bytes).collect();
    assert_eq!(batches.len(), 10);
    assert!(batches.iter().all(Result::is_ok), "nothing but batches, so Kafka's tools read it");
}

/// What a partition's `brooklet-checkpoint` says that counts: whether the log was closed in good order, and
/// how long its active segment was.
fn checkpoint(folder: &Path) -> (bool, u64) {
    const SLOT_DISTANCE: usize = 512;
    let bytes = fs::read(folder.join("brooklet-checkpoint")).unwrap();
    let number = |slot: &[u8], at: usize| u64::from_be_bytes(slot[at..at + 8].try_into().unwrap());
    let slots = [0, SLOT_DISTANCE].into_iter().filter_map(|at| bytes.get(at..));
    let slots = slots.filter(|slot| slot.starts_with(b"brkckpt2"));
    let newest = slots.max_by_key(|slot| number(slot, 8)).unwrap();
    (newest[75] == 1, number(newest, 40))
}

#[test]
fn a_stop_with_many_partitions_leaves_the_next_start_nothing_to_recover() {
    const PARTITIONS: i32 = 300;
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).start();
    let mut raw = Raw::connect(broker.address()).unwrap();
    raw.create_topic(TOPIC, PARTITIONS);
    for partition in 0..PARTITIONS {
        assert_eq!(raw.produce(TOPIC, partition, &value(0)), Ok(0));
    }
    assert!(broker.stop().success());
    assert!(data.path().join("journal/clean").exists());
    for partition in 0..PARTITIONS {
        let folder = data.path().join(format!("topics/{TOPIC}-{partition}"));
        let length = fs::metadata(folder.join("00000000000000000000.log")).unwrap().len();
        assert!((1..4096).contains(&length), "no padding in partition {partition}: {length}");
        assert_eq!(checkpoint(&folder), (true, length), "partition {partition}");
    }
    let broker = Broker::builder().data(data.path()).start();
    let mut raw = Raw::connect(broker.address()).unwrap();
    for partition in 0..PARTITIONS {
        assert_eq!(raw.produce(TOPIC, partition, &value(1)), Ok(1));
    }
    broker.kill();
    assert!(!data.path().join("journal/clean").exists(), "a kill is no clean stop");
}

#[test]
fn a_flipped_bit_is_never_served_and_what_lies_behind_it_is() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).start();
    fill(&broker, 30);
    assert!(broker.stop().success());
    let mut bytes = fs::read(segment(data.path())).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x04;
    fs::write(segment(data.path()), &bytes).unwrap();

    let broker = Broker::builder().data(data.path()).expect_log("no valid batch").start();
    let mut raw = Raw::connect(broker.address()).unwrap();
    let (before, error) = read_all(&mut raw);
    assert_eq!(error, 2, "CORRUPT_MESSAGE for the batch itself");
    assert!(before.len() < 30);
    for (offset, stored) in &before {
        assert_eq!(stored, &value(*offset as i64));
    }
    assert_eq!(raw.produce(TOPIC, 0, &value(30)), Ok(30), "writing goes on behind what was there");
    assert!(broker.stop().success());
}

#[test]
fn garbage_in_every_other_file_is_survived() {
    let data = tempfile::tempdir().unwrap();
    let broker = Broker::builder().data(data.path()).start();
    fill(&broker, 30);
    assert!(broker.stop().success());
    let folder = segment(data.path()).parent().unwrap().to_owned();
    for entry in fs::read_dir(&folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "log") {
            fs::write(&path, [0xa5; 333]).unwrap();
        }
    }
    let broker = Broker::builder().data(data.path()).expect_log("kept-0").start();
    let (records, error) = read_all(&mut Raw::connect(broker.address()).unwrap());
    assert_eq!((records.len(), error), (30, 0));
    assert!(broker.stop().success());
}
